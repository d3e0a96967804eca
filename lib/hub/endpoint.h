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

/* `url` is checked and copied. INVALID_OPTIONS when it is no URL of a Hub. */
struct hc_endpoint *hc_endpoint_new(const char *url, unsigned requests_per_second,
                                    struct hc_error *err);
void hc_endpoint_free(struct hc_endpoint *endpoint);
HC_DEFINE_AUTO(hc_endpoint, hc_endpoint_free)

const char *hc_endpoint_url(const struct hc_endpoint *endpoint);

/*
 * Waits until a question may be asked. -1 at once with HUB_RATE_LIMITED or
 * HUB_UNREACHABLE, and when to come back, if that would outlast the caller, or if the
 * caller asks once and the endpoint is down or wants to be left alone.
 */
int hc_endpoint_enter(struct hc_endpoint *endpoint, const struct hc_caller *caller,
                      struct hc_error *err);

/* What became of a question: an answer, whatever it says, or `failure`. */
void hc_endpoint_hear(struct hc_endpoint *endpoint, const struct hc_reply *reply,
                      const struct hc_error *failure);

/* Whether it counts as down. */
bool hc_endpoint_is_down(struct hc_endpoint *endpoint);

#endif
