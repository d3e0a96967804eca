/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An endpoint: where a Hub is, and what all callers that ask it share: its health, and the
 * budget of requests a second. A caller enters before it asks, and says afterwards what it
 * has heard. Callable from any thread.
 */
#ifndef HC_HUB_ENDPOINT_H
#define HC_HUB_ENDPOINT_H

#include "breaker.h"
#include "response.h"

struct hc_endpoint;

/* `url` is checked, and copied without slashes at its end. INVALID_OPTIONS when it is no
 * URL of a Hub. */
struct hc_endpoint *hc_endpoint_new(const char *url, unsigned requests_per_second,
                                    struct hc_error *err);
void hc_endpoint_free(struct hc_endpoint *endpoint);
HC_DEFINE_AUTO(hc_endpoint, hc_endpoint_free)

const char *hc_endpoint_url(const struct hc_endpoint *endpoint);

/* One request to an endpoint. Zero but for what is required; used for one thing after the
 * other: hc_endpoint_acquire, and if that allowed it hc_endpoint_report. */
struct hc_endpoint_permit {
    struct hc_breaker_key key;            /* Required */
    struct hc_cancellation *cancellation; /* Optional: who waits, and until when */
    unsigned pause_base_ms; /* the first pause of an outage; doubles, see retry.h, … */
    unsigned doublings;     /* … so often at most, and to HC_BREAKER_OPEN_MS */
    bool may_wait;     /* waits while the endpoint wants to be left alone, or is down */
    bool is_trial;     /* set: finds out for all others whether an outage is over */
    int64_t waited_ms; /* set: for the end of an outage */
};

/*
 * Waits until a request may be sent. -1 at once with HUB_RATE_LIMITED or HUB_UNREACHABLE,
 * and when to come back, if that would outlast the deadline, or if the visitor is not patient
 * and the endpoint wants to be left alone. In an outage, patient visitors wait for each
 * other: one of them asks at the end of each pause, and when that fails it is the failure
 * of all.
 */
int hc_endpoint_acquire(struct hc_endpoint *endpoint, struct hc_endpoint_permit *permit,
                        struct hc_error *err);

/* What became of the request: an answer, whatever it says, or `failure`. */
void hc_endpoint_report(struct hc_endpoint *endpoint, struct hc_endpoint_permit *permit,
                        const struct hc_hub_response *response,
                        const struct hc_error *failure);

/* For how long it wants to be left alone by the asker. */
int64_t hc_endpoint_throttled_ms(struct hc_endpoint *endpoint,
                                 const struct hc_breaker_key *key);

/* How good it would be to ask another one first; see health.h. */
int64_t hc_endpoint_unavailable_ms(struct hc_endpoint *endpoint,
                                   const struct hc_breaker_key *key);

/* How many pauses an outage has lasted for, the present one included; 0: there is none. */
unsigned hc_endpoint_pauses(struct hc_endpoint *endpoint,
                            const struct hc_breaker_key *key);

/*
 * For how long it still counts as down; 0 when it may be asked. To one of the callers with
 * an older answer it is 0 now and then: that one is to find out.
 */
int64_t hc_endpoint_try(struct hc_endpoint *endpoint, const struct hc_breaker_key *key);

/* HUB_UNREACHABLE, for a caller that does not ask since it is down for `left_ms`; -1. */
int hc_endpoint_fail_open(const struct hc_endpoint *endpoint, int64_t left_ms,
                          struct hc_error *err);

#endif
