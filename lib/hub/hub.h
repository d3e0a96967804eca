/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's HTTP API, as much of it as resolving needs: metadata of a file, the commit of
 * a revision, the tree of a commit, the bytes of a file. A hub is one endpoint and its
 * mirrors, with time-outs and a pool of kept-alive connections. Callable from any thread.
 *
 *     hub_request   one request to one endpoint: redirects, the token, retries
 *     mirror        a query: the endpoints, one after the other
 *     shared_query  the same query of many callers is made once
 *     endpoint      what all callers of an endpoint share: circuit breaker, budget
 *     http_exchange one HTTP request and its response; response says what it means
 *
 * A request is repeated after a failure that may pass (connect, DNS, TLS, timeout, a
 * connection closed or reset, 408, 429, 5xx) with growing pauses and jitter, or when
 * Retry-After or RateLimit says; never past the caller's deadline: when the next pause
 * would outlast it, the failure is reported at once.
 *
 * An endpoint that cannot be reached, or that throttles its callers, is passed over for a
 * mirror, whose answers are marked: what a name means is the Hub's to say, and a mirror
 * that names a blob must name its hash.
 *
 * A token goes to the endpoint's host and port only, never to where a redirect leads
 * beyond, and never to a mirror.
 *
 * Credentials may name another endpoint (hc_hub_find_endpoint), which is then asked in
 * place of the Hub. It shares the connections and the time-outs with the Hub, and nothing
 * else: circuit breaker, budget and the callers of a shared query are its own.
 */
#ifndef HC_HUB_HUB_H
#define HC_HUB_HUB_H

#include <base/auto.h>
#include <base/cancellation.h>
#include <hubcache/hub_counts.h>
#include <hubcache/settings.h>
#include <repo/blob_request.h>
#include <repo/name.h>
#include <repo/repo.h>
#include <repo/tree.h>

#include <stddef.h>
#include <stdint.h>

struct hc_endpoint;
struct hc_hub;

enum { HC_TRACEPARENT_MAX = 55, HC_OTHER_ENDPOINTS_MAX = 64 };

/* With what the Hub is asked for one caller, and for how long. Borrowed. */
struct hc_hub_credentials {
    const char *token;                    /* sent as a bearer token; NULL or "": none */
    struct hc_cancellation *cancellation; /* may be NULL */
    bool no_retry; /* the caller has an older answer to fall back on: send it once */
    bool hub_only; /* the mirrors are not asked */
    struct hc_endpoint *endpoint; /* NULL: the Hub and its mirrors; else this one, in
                                     place of all of them */
    uint64_t key;       /* of the caller: its share of the connections is used */
    bool is_background; /* the caller's transfers give way to those of others */
    char traceparent[HC_TRACEPARENT_MAX + 1]; /* "": none */
};

enum {
    HC_URL_MAX = 32768,
    HC_REDIRECTS_MAX = 10,
    HC_HEADERS_MAX = 256 * 1024 /* bytes of all headers of one response */
};

/* Of one file. */
struct hc_metadata {
    char commit[HC_COMMIT_SIZE];
    char etag[HC_ETAG_MAX + 1]; /* what the blob is called: see hc_etag_make_unique() */
    uint64_t size;              /* or HC_SIZE_UNKNOWN */
    char location[HC_URL_MAX];  /* where the bytes are; signed, never to be logged */
    bool is_of_mirror;          /* a mirror says so, not the Hub itself */
};

/* What a revision means. */
struct hc_revision {
    char commit[HC_COMMIT_SIZE];   /* "" when that is not known */
    bool is_of_mirror;             /* a mirror says so, not the Hub itself */
    enum hc_visibility visibility; /* of the repo; UNKNOWN: the answer does not tell */
};

/* That, and which files the commit has. */
struct hc_repo_info {
    struct hc_revision revision;
    struct hc_tree *siblings; /* their names alone, sorted; NULL: not told */
};

void hc_repo_info_clear(struct hc_repo_info *info);
HC_DEFINE_AUTO_VALUE(hc_repo_info, hc_repo_info_clear)

/* Borrows nothing: copies what it needs of `settings`. */
struct hc_hub *hc_hub_open(const struct hc_settings *settings, struct hc_error *err);
void hc_hub_close(struct hc_hub *hub);
HC_DEFINE_AUTO(hc_hub, hc_hub_close)

/*
 * Another endpoint than the settings', of that URL: a mirror, or one that is made at the
 * first call, and is there until the close. 0, and NULL when it is the endpoint of the
 * settings; -1 INVALID_OPTIONS: it is no URL of a Hub, or it is one more than
 * HC_OTHER_ENDPOINTS_MAX.
 */
int hc_hub_find_endpoint(struct hc_hub *hub, const char *url,
                         struct hc_endpoint **endpoint, struct hc_error *err);

/* Whether the endpoint of the settings has that URL. */
bool hc_hub_has_endpoint(const struct hc_hub *hub, const char *url);

/* The limits of the settings, from any thread, while requests run; 0: none. */
void hc_hub_set_rates(struct hc_hub *hub, unsigned requests_per_second,
                      uint64_t bytes_per_second);

/*
 * HEAD …/resolve/<revision>/<path> (spec/hub-cache.md §2.2), following redirects (to
 * other hosts without the token, and only until commit and etag are known): commit, etag
 * and size of a file, and where it is. BAD_HUB_REPLY when commit or etag is missing or
 * unsafe; the size may be HC_SIZE_UNKNOWN. On ENTRY_NOT_FOUND `metadata->commit` is the
 * commit that the response named, or "". A response that leaves open what is missing
 * costs one more request; see metadata.h.
 */
int hc_hub_head(struct hc_hub *hub, const struct hc_repo_file *file,
                const struct hc_hub_credentials *credentials,
                struct hc_metadata *metadata, struct hc_error *err);

/* GET /api/<collection>/<id>/revision/<revision>: the commit a name means now. */
int hc_hub_revision(struct hc_hub *hub, const struct hc_repo *repo, const char *revision,
                    const struct hc_hub_credentials *credentials,
                    struct hc_revision *answer, struct hc_error *err);

/* The same, with the names of its files. `file->path` is not used. */
int hc_hub_repo_info(struct hc_hub *hub, const struct hc_repo_file *file,
                     const struct hc_hub_credentials *credentials,
                     struct hc_repo_info *info, struct hc_error *err);

/*
 * GET /api/<collection>/<id>/tree/<commit>, all pages of it; the caller frees.
 * BAD_HUB_REPLY when a row cannot be understood, or when the rows show that others are
 * missing.
 */
struct hc_tree *hc_hub_tree(struct hc_hub *hub, const struct hc_repo *repo,
                            const char *commit,
                            const struct hc_hub_credentials *credentials,
                            struct hc_error *err);

/* One attempt at the bytes of a file; transfer/ decides what to do when it fails. */
struct hc_hub_download {
    const struct hc_blob_request *request;
    const char *location; /* Optional: from here, not …/resolve/<commit>/<path> */
    uint64_t offset;      /* with 0, and no `until`, no Range is sent */
    uint64_t until;       /* Optional: ask for the bytes before this one only */
    uint64_t size;        /* the whole file's, or HC_SIZE_UNKNOWN */
    char *came_from;      /* Optional: HC_URL_MAX bytes, set before the first byte to the
                             address that sends them; signed, never to be logged */
    bool *was_redirected; /* Optional: set to whether the last response came from where a
                             redirect led, not from the endpoint */

    /* With HC_SIZE_UNKNOWN: called before the first byte with the size of the whole file,
     * when the response tells it. */
    int (*learn_size)(void *ctx, uint64_t size, struct hc_error *err);
    /* Called before the first byte when the server sends all from 0 instead of a range.
     */
    int (*restart)(void *ctx, struct hc_error *err);
    /* Called with the bytes, in order. 1 ends the download: the receiver has enough; -1
     * ends it with that error. */
    int (*write)(void *ctx, const void *bytes, size_t count, struct hc_error *err);
    /* Optional: see struct hc_http_request. */
    bool (*watch)(void *ctx, int64_t waited_ms);
    void *ctx;
};

/*
 * GET, following redirects anywhere (at most HC_REDIRECTS_MAX; without the token). 0 when
 * the response ended as HTTP says it should, or its receiver has enough. -1 with, beside
 * the reasons of response.h, HUB_UNREACHABLE for a connection that broke or stalled in
 * mid-body: what was written before stays written. A response whose Content-Range or
 * Content-Length contradicts the size or the range that was asked for is BAD_HUB_REPLY,
 * before a byte of it is written. When a 206 does not say which part it is, the whole
 * file is requested from the same URL.
 */
int hc_hub_get(struct hc_hub *hub, const struct hc_hub_download *download,
               const struct hc_hub_credentials *credentials, struct hc_error *err);

/* See <hubcache/hub_counts.h>. */
void hc_hub_counts(const struct hc_hub *hub, struct hc_hub_counts *counts);
bool hc_hub_endpoint_state(struct hc_hub *hub, size_t number,
                           struct hc_endpoint_state *state);

/* The endpoint, borrowed. */
const char *hc_hub_endpoint(const struct hc_hub *hub);

#endif
