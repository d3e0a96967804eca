/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The response of a Hub and what it means: status, X-Error-Code, X-Error-Message and body
 * become one struct hc_error (spec/hub-cache.md §2.3, spec/hub-wire.md "Errors"), as
 * hf_raise_for_status() of the reference client does. Parsing only, no I/O; everything
 * here may be fed hostile bytes. For one thread at a time.
 */
#ifndef HC_HUB_RESPONSE_H
#define HC_HUB_RESPONSE_H

#include "hub.h"

#include <stdbool.h>

/* The headers of one response that matter, each "" or 0 when absent. */
struct hc_hub_response {
    long status;
    bool was_sent;    /* the request reached a server, also if that did not answer */
    const char *flaw; /* why the headers cannot be trusted, "with a …"; NULL: they can */
    bool is_kept;     /* the last header line is one of those below */
    bool has_length;
    uint64_t content_length;
    bool has_linked_size;
    uint64_t linked_size;
    unsigned retry_after_ms;     /* from Retry-After, or RateLimit with r=0 */
    char commit[HC_COMMIT_SIZE]; /* X-Repo-Commit, only when it is one */
    bool has_bad_commit;         /* X-Repo-Commit was there and was none */
    char etag[512];              /* ETag, raw */
    char linked_etag[512];       /* X-Linked-Etag, raw */
    bool has_bad_link;   /* Link was there and cannot be understood; see hc_link_next() */
    char error_code[64]; /* X-Error-Code */
    char error_message[256]; /* X-Error-Message, printable */
    char request_id[128];    /* X-Request-Id, X-Amzn-Trace-Id or X-Amz-Cf-Id */
    bool has_range;          /* Content-Range, well-formed */
    bool has_bad_range;      /* Content-Range was there and was not */
    uint64_t range_start;
    uint64_t range_end;         /* the byte after the last one */
    uint64_t range_total;       /* of the whole file; 0: the server does not say ("*") */
    char location[HC_URL_MAX];  /* last, so that hc_hub_response_clear() is cheap */
    char next_page[HC_URL_MAX]; /* Link: <…>; rel="next" */
};

/* No response yet. Costs less than zeroing all, for URLs may be long. */
void hc_hub_response_clear(struct hc_hub_response *response);

/*
 * Takes one raw header line "Name: value\r\n"; unknown and malformed ones are ignored.
 * Sets `flaw` for one that leaves open what the response says.
 */
void hc_hub_response_header(struct hc_hub_response *response, const char *line,
                            size_t length);

/*
 * The target of the link with the relation "next" among those of one header value. Found:
 * 1, and `target`, as it was sent. Absent: 0. -1 when the value is no list of links, so
 * that nothing is known of the next page, and when a next page is named that cannot be
 * asked for: without a target, with one that does not fit in `size` bytes, two that
 * differ, or one for another resource (`anchor`).
 */
int hc_link_next(const char *value, char *target, size_t size);

/* Takes an error's body, {"error": "…"}, for its text when X-Error-Message had none. */
void hc_hub_response_body(struct hc_hub_response *response, const char *bytes,
                          size_t count);

/* What a request is about, for messages. Strings are borrowed. */
struct hc_hub_target {
    const struct hc_repo *repo;
    const char *revision;
    const char *path; /* NULL: the repo itself */
    const char *endpoint;
    const char
        *storage; /* the base URL of the host that answered for it; NULL: none did */
    bool had_token;
};

enum { HC_TARGET_TEXT_SIZE = 400 };

/* "file 'x' of model 'org/name' at revision 'main'", long names cut. */
void hc_hub_target_describe(const struct hc_hub_target *target,
                            char text[HC_TARGET_TEXT_SIZE]);

/*
 * Fills `err` from a response that is an error; always -1. `retry_after_ms` is what the
 * Hub said, 0 when it said nothing.
 */
int hc_hub_response_fail(const struct hc_hub_response *response,
                         const struct hc_hub_target *target, struct hc_error *err);

/*
 * BAD_HUB_REPLY when the target names a commit and the response is about another one:
 * what that says of files, sizes and absences does not count.
 */
int hc_hub_response_check_commit(const struct hc_hub_response *response,
                                 const struct hc_hub_target *target,
                                 struct hc_error *err);

/* Fills `err` with REPO_NOT_FOUND, REVISION_NOT_FOUND or ENTRY_NOT_FOUND; always -1. */
int hc_hub_target_fail_absent(const struct hc_hub_target *target, enum hc_reason reason,
                              struct hc_error *err);

/* Whether the same request may succeed later: 408, 429, 5xx but 501. */
bool hc_hub_response_is_transient(const struct hc_hub_response *response);

/* Commit, etag and size of a file from the last response to a HEAD; BAD_HUB_REPLY when
 * commit or etag is missing. */
int hc_hub_response_metadata(const struct hc_hub_response *response,
                             const struct hc_hub_target *target,
                             struct hc_metadata *metadata, struct hc_error *err);

#endif
