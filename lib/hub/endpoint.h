/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An endpoint: where a Hub is, and what all who ask it share: its health, and the budget
 * of requests a second. Whoever asks enters first, and says afterwards what was heard.
 * Callable from any thread.
 */
#ifndef HC_HUB_ENDPOINT_H
#define HC_HUB_ENDPOINT_H

#include "reply.h"

struct hc_endpoint;

/* `url` is checked, and copied without slashes at its end. INVALID_OPTIONS when it is no
 * URL of a Hub. */
struct hc_endpoint *hc_endpoint_new(const char *url, unsigned requests_per_second,
                                    struct hc_error *err);
void hc_endpoint_free(struct hc_endpoint *endpoint);
HC_DEFINE_AUTO(hc_endpoint, hc_endpoint_free)

const char *hc_endpoint_url(const struct hc_endpoint *endpoint);

/*
 * Waits until a request may be sent. -1 at once with HUB_RATE_LIMITED or HUB_UNREACHABLE,
 * and when to come back, if that would outlast the call, or if who asks is not patient
 * and the endpoint wants to be left alone.
 */
int hc_endpoint_enter(struct hc_endpoint *endpoint, struct hc_call *call, bool is_patient,
                      struct hc_error *err);

/* What became of a request: an answer, whatever it says, or `failure`. */
void hc_endpoint_hear(struct hc_endpoint *endpoint, const struct hc_reply *reply,
                      const struct hc_error *failure);

/* For how long it wants to be left alone. */
int64_t hc_endpoint_held_ms(struct hc_endpoint *endpoint);

/* How good it would be to ask another one first; see health.h. */
int64_t hc_endpoint_away_ms(struct hc_endpoint *endpoint);

/*
 * For how long it still counts as down; 0 when it may be asked. To one of those who might
 * ask what is down it is 0 now and then: it is for them to find out.
 */
int64_t hc_endpoint_probe(struct hc_endpoint *endpoint);

/* HUB_UNREACHABLE, for who does not ask since it is down for `left_ms`; -1. */
int hc_endpoint_fail_down(const struct hc_endpoint *endpoint, int64_t left_ms,
                          struct hc_error *err);

#endif
