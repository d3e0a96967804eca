/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP exchange, and the pool of connections it runs on. What is asked here is asked
 * once, of one URL: redirects, retries and the meaning of answers are ask.h's. Every
 * exchange ends: a server that sends a byte now and then is as good as a silent one.
 * Callable from any thread.
 */
#ifndef HC_HUB_HTTP_EXCHANGE_H
#define HC_HUB_HTTP_EXCHANGE_H

#include "buffer.h"
#include "response.h"

struct hc_http_request {
    bool is_head;
    const char *token;       /* Optional: sent to this URL, whatever its host */
    bool is_redirect_target; /* by an answer: not to a private address, see below */
    uint64_t offset;         /* Optional: asks for the bytes from here on */
    uint64_t until;          /* Optional: and before this one */
    unsigned timeout_s;      /* see below */
    unsigned total_s;        /* Optional: of the whole exchange */
    struct hc_cancellation *cancellation;
    /* Gets the body of a 2xx answer; -1 ends the exchange with that error. */
    int (*write)(void *ctx, const struct hc_hub_response *response, const void *bytes,
                 size_t count, struct hc_error *err);
    /* Optional: called again and again while the server is waited for, which it was for
       `waited_ms` in all; -1 ends the exchange with that error. */
    int (*watch)(void *ctx, int64_t waited_ms, struct hc_error *err);
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

struct hc_http_pool; /* connections, idle ones kept alive */

/*
 * Texts are copied. `ca_file`, unless NULL, is whom to trust instead of the system's
 * authorities; INVALID_OPTIONS when it is not there. All exchanges together get
 * `bytes_per_second`, 0: no limit.
 */
struct hc_http_pool *hc_http_pool_open(const char *user_agent, const char *ca_file,
                                       uint64_t bytes_per_second, struct hc_error *err);

/*
 * Lets answers lead to private addresses (address.h) from now on. So does the first request
 * that was not led to by an answer and connects to one: a Hub that is at a private address
 * itself may have its storage at another one. Before that, BAD_HUB_REPLY is what becomes of
 * requests with `is_led_to` to such an address; it is the one that is connected to that
 * counts, whatever its name meant before. Through a proxy only addresses in URLs are seen.
 */
void hc_http_pool_allow_private(struct hc_http_pool *pool);

/* No exchange may be running. */
void hc_http_pool_close(struct hc_http_pool *pool);
HC_DEFINE_AUTO(hc_http_pool, hc_http_pool_close)

/*
 * 0 when the answer came and ended as HTTP says it should, whatever its status. -1 with
 * HUB_UNREACHABLE (`is_final` when a proxy refuses to let us out), CANCELLED,
 * DEADLINE_EXCEEDED, or what `write` failed with.
 */
int hc_http_perform(struct hc_http_pool *pool, const struct hc_http_request *request,
                    struct hc_hub_response *response, struct hc_error *err);

#endif
