/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An endpoint: the base URL of a Hub, of a mirror or of a storage host, and what all
 * callers that send requests to it share: its circuit breaker (breaker.h), and the budget
 * of requests a second. A caller acquires a permit before each request, and reports
 * afterwards what came of it. Callable from any thread.
 */
#ifndef HC_HUB_ENDPOINT_H
#define HC_HUB_ENDPOINT_H

#include "breaker.h"
#include "response.h"

#include <stdatomic.h>

struct hc_endpoint;

/* `url` is checked, and copied without slashes at its end. INVALID_OPTIONS when it is no
 * URL of a Hub. */
struct hc_endpoint *hc_endpoint_new(const char *url, unsigned requests_per_second,
                                    struct hc_error *err);
void hc_endpoint_free(struct hc_endpoint *endpoint);
HC_DEFINE_AUTO(hc_endpoint, hc_endpoint_free)

/* From any thread; 0: no limit. */
void hc_endpoint_set_budget(struct hc_endpoint *endpoint, unsigned requests_per_second);

const char *hc_endpoint_url(const struct hc_endpoint *endpoint);

/* Whether that is its URL, but for slashes at the end. */
bool hc_endpoint_has_url(const struct hc_endpoint *endpoint, const char *url);

/* Whether it is at a private address, so that it may lead to others; see
 * hc_http_pool_allow_private(). */
atomic_bool *hc_endpoint_private_flag(struct hc_endpoint *endpoint);

/* For one request: hc_endpoint_acquire(), and if that returns 0 hc_endpoint_report().
 * Zero but for what is required; used for one request after the other. */
struct hc_endpoint_permit {
    struct hc_breaker_key key;            /* Required */
    struct hc_cancellation *cancellation; /* Optional */
    unsigned
        pause_base_ms;  /* the first pause of an open circuit; doubles, see retry.h, … */
    unsigned doublings; /* … so often at most, and to HC_BREAKER_OPEN_MS */
    bool may_wait; /* while the endpoint throttles its callers, or the circuit is open */
    int64_t waited_ms; /* set: for an open circuit, in all */
    bool is_trial; /* set: this request finds out for all whether the circuit can close */
    uint64_t ticket; /* set: the request's place in the queue for the budget */
    struct hc_breaker_wait wait; /* set */
};

/*
 * Waits until a request may be sent. -1 at once with HUB_RATE_LIMITED or HUB_UNREACHABLE,
 * and when to come back, if that would outlast the caller's deadline, or if the caller
 * may not wait and the endpoint throttles it. While the circuit is open, callers that may
 * wait wait for each other: one of them sends a trial request at the end of each pause,
 * and its failure is the failure of all.
 */
int hc_endpoint_acquire(struct hc_endpoint *endpoint, struct hc_endpoint_permit *permit,
                        struct hc_error *err);

/* What came of the request: a response, whatever it says, or `failure`. */
void hc_endpoint_report(struct hc_endpoint *endpoint, struct hc_endpoint_permit *permit,
                        const struct hc_hub_response *response,
                        const struct hc_error *failure);

/* For how long the endpoint wants no request with the key. */
int64_t hc_endpoint_throttled_ms(struct hc_endpoint *endpoint,
                                 const struct hc_breaker_key *key);

/* As hc_breaker_unavailable_ms(), hc_breaker_pauses() and hc_breaker_try(). */
int64_t hc_endpoint_unavailable_ms(struct hc_endpoint *endpoint,
                                   const struct hc_breaker_key *key);
unsigned hc_endpoint_pauses(struct hc_endpoint *endpoint,
                            const struct hc_breaker_key *key);
int64_t hc_endpoint_try(struct hc_endpoint *endpoint, const struct hc_breaker_key *key);

/* See <hubcache/hub_counts.h>. */
void hc_endpoint_state(struct hc_endpoint *endpoint, struct hc_endpoint_state *state);

/* HUB_UNREACHABLE, for a caller that does not ask since the circuit is open for
 * `left_ms`; always -1. */
int hc_endpoint_fail_open(const struct hc_endpoint *endpoint, int64_t left_ms,
                          struct hc_error *err);

#endif
