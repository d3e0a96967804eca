/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP exchange: one request to one URL and its response. Redirects, retries and what
 * a response means are hub_request.h's. Every exchange ends, also with a server that
 * sends a byte now and then: see HC_RATE_MIN. Callable from any thread.
 */
#ifndef HC_HUB_HTTP_EXCHANGE_H
#define HC_HUB_HTTP_EXCHANGE_H

#include "http_pool.h"
#include "response.h"

/* Bytes that grow, as those of a response do; zero-initialise it. NUL-terminated once
 * something was added. For one thread at a time. */
struct hc_buffer {
    char *bytes;
    size_t used;
    size_t capacity;
};

int hc_buffer_add(struct hc_buffer *buffer, const void *bytes, size_t count,
                  struct hc_error *err);
void hc_buffer_clear(struct hc_buffer *buffer);
HC_DEFINE_AUTO_VALUE(hc_buffer, hc_buffer_clear)

struct hc_http_request {
    bool is_head;
    const char *token;       /* Optional: sent to this URL, whatever its host */
    const char *traceparent; /* Optional: a header */
    bool is_redirect_target; /* a response led here: refuse a private address, unless the
                                pool allows it */
    atomic_bool *allows_private; /* Optional: of the endpoint that is asked, and set when
                                    that is at a private address; NULL: the pool's */
    uint64_t offset;             /* Optional: asks for the bytes from here on */
    uint64_t until;              /* Optional: and before this one */
    unsigned timeout_s;          /* see HC_RATE_MIN */
    unsigned total_s;            /* Optional: of the whole exchange */
    struct hc_cancellation *cancellation;
    /* Gets the body of a 2xx response. 1 ends the exchange: the receiver has enough; -1
     * ends it with that error. */
    int (*write)(void *ctx, const struct hc_hub_response *response, const void *bytes,
                 size_t count, struct hc_error *err);
    /* Optional: called ten times a second or more while the server is waited for, with
       the length of that wait in all; true ends the exchange: the receiver has enough. */
    bool (*watch)(void *ctx, int64_t waited_ms);
    void *ctx;
    char url[HC_URL_MAX]; /* last, as in hc_hub_response */
};

/*
 * What `timeout_s` bounds: connecting; silence at any time; twice as much, all that comes
 * before the first byte of the body; and each stretch of the body in which fewer than
 * HC_RATE_MIN bytes a second come. A HEAD has no more than `timeout_s` in all. The time
 * in which the caller's `write` is at work is not the server's.
 */
enum { HC_RATE_MIN = 1024 };

/*
 * 0 when the response came and ended as HTTP says it should, whatever its status; 1 when
 * the receiver has enough of it. -1 with HUB_UNREACHABLE (`is_final` when a proxy refuses
 * to connect), BAD_HUB_REPLY for what is no HTTP and for a private address that is
 * refused, CANCELLED, DEADLINE_EXCEEDED, or what `write` failed with.
 */
int hc_http_perform(struct hc_http_pool *pool, const struct hc_http_request *request,
                    struct hc_hub_response *response, struct hc_error *err);

#endif
