/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to one endpoint of the Hub: with its redirects followed, repeated while
 * that may help, and with failures told in terms of what was asked. For the files of this
 * folder.
 */
#ifndef HC_HUB_HUB_REQUEST_H
#define HC_HUB_HUB_REQUEST_H

#include "endpoint.h"
#include "http_exchange.h"
#include "response.h"
#include "shared_query.h"
#include "tally.h"

enum { HC_ENDPOINTS_MAX = 16, HC_STORAGE_HOSTS_MAX = 32 };

struct hc_hub {
    struct hc_endpoint *endpoints[HC_ENDPOINTS_MAX]; /* the Hub, then its mirrors */
    size_t endpoint_count;
    struct hc_single_flights queries; /* about a file or a revision; shared_query.h */
    struct hc_http_pool *pool;
    struct hc_hub_tally tally;
    unsigned metadata_timeout_s;
    unsigned download_timeout_s;
    unsigned retries;
    unsigned retry_base_ms;
    struct {
        pthread_mutex_t lock;
        struct hc_endpoint *storage_hosts[HC_STORAGE_HOSTS_MAX];
        size_t storage_host_count;
        struct hc_endpoint *others[HC_OTHER_ENDPOINTS_MAX]; /* of credentials */
        size_t other_count;
        unsigned requests_per_second; /* the budget of each endpoint */
    } shared;
};

/*
 * The host of a URL that redirects lead to, until the hub is closed; NULL when there are
 * too many. What a storage host tells one caller (Retry-After, RateLimit) holds for all,
 * as with the Hub itself.
 */
struct hc_endpoint *hc_hub_find_storage_host(struct hc_hub *hub, const char *url);

enum {
    HC_PAGE_BYTES_MAX = 64 * 1024 * 1024, /* of one JSON answer */
    HC_PAGES_MAX = 20000                  /* of one listing */
};

struct hc_hub_request {
    struct hc_hub *hub;
    const struct hc_hub_credentials *credentials;
    struct hc_endpoint *endpoint;
    bool is_trusted; /* it is the first endpoint, which may see the token */
    bool has_mirror; /* another endpoint is left, so do not wait for this one */
    const struct hc_hub_download *download; /* NULL: of metadata or JSON */
    bool has_begun;                         /* some of the file was passed on */
    bool has_enough;                        /* the receiver has, and ended the exchange */
    bool is_part_unnamed;      /* a part came that does not say which one it is */
    enum hc_hub_host host;     /* of the last URL */
    bool was_redirected;       /* the last URL is one that a redirect led to */
    struct hc_breaker_key key; /* with the token, if that is sent */
    int64_t waited_ms;         /* for an open circuit, in all */
    struct hc_hub_target target;
    struct hc_http_request http;     /* the last exchange's; set its URL first */
    struct hc_hub_response response; /* of that; see hc_hub_request_attempt */
};

/* The endpoints that may be asked with these credentials, and the first of them. */
size_t hc_hub_endpoint_count(const struct hc_hub *hub,
                             const struct hc_hub_credentials *credentials);
struct hc_endpoint *hc_hub_first_endpoint(const struct hc_hub *hub,
                                          const struct hc_hub_credentials *credentials);

/* To the first endpoint; a target that is a whole repo has no `path`. */
void hc_hub_request_init(struct hc_hub_request *request, struct hc_hub *hub,
                         const struct hc_hub_credentials *credentials,
                         const struct hc_hub_target *target);

/* The key of such requests for the circuit breaker of an endpoint. */
struct hc_breaker_key
hc_hub_request_breaker_key(const struct hc_hub_credentials *credentials,
                           const struct hc_repo *repo, bool is_trusted);

/* To another endpoint; not after an attempt. */
void hc_hub_request_set_endpoint(struct hc_hub_request *request,
                                 struct hc_endpoint *endpoint);

/* Puts the target and the answering host before a message that names neither; always
 * -1. */
int hc_hub_request_fail(const struct hc_hub_request *request, struct hc_error *err);

/*
 * Sends `request->http`, and follows redirects to any host. But a HEAD ends with a status
 * 3xx, and its URL set to where the redirect leads, when that is another origin than the
 * endpoint's and commit and etag are known; and HEAD and JSON are not followed from https
 * to http. The token goes to the endpoint only. Commit, linked etag and linked size are
 * those of the first response on the way that had them. 0 with any status but an error's;
 * else -1.
 */
int hc_hub_request_attempt(struct hc_hub_request *request, struct hc_error *err);

/* The same, repeated as hc_retry_wait() says. `body` gets the bytes of the last response,
 * at most HC_PAGE_BYTES_MAX; NULL when there will be none. */
int hc_hub_request_perform(struct hc_hub_request *request, struct hc_buffer *body,
                           struct hc_error *err);

/*
 * After a response with a page of a tree: 1, and the URL is that of the next page, always
 * on the same endpoint, whichever host the Link header names; 0 when it was the last one.
 * BAD_HUB_REPLY when the Link header cannot be understood, or leads to another listing.
 */
int hc_hub_request_next_page(struct hc_hub_request *request, struct hc_error *err);

#endif
