/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a request is repeated: how often, after which pause, and when to stop for the
 * caller's sake. One value per request; zero-initialise it, and again when there was
 * progress. The statuses and pauses are those of the reference client's http_backoff()
 * (utils/_http.py), with jitter added and the deadline heeded.
 */
#ifndef HC_HUB_RETRY_H
#define HC_HUB_RETRY_H

#include "hub.h"

#include <stdbool.h>

struct hc_retry {
    unsigned attempt;        /* pauses so far */
    int64_t waited_ms;       /* and their length */
    unsigned max_pauses;     /* Optional: fewer pauses than the hub's settings allow */
    bool is_endpoint_paused; /* Optional: the pause is that of the open circuit */
};

enum {
    HC_BACKOFF_MAX_MS = 8000, /* between two attempts, when no response says how long */
    HC_RETRY_AFTER_MAX_MS = 120000, /* of Retry-After */
    HC_RETRY_TOTAL_MAX_MS = 30000,  /* in all, for a caller without a deadline */
    HC_RETRY_ADVICE_MS = 5000       /* told to callers when the Hub did not say */
};

/* Whether the same request may succeed later, or at another endpoint. */
bool hc_retry_may_help(const struct hc_error *err);

/* How long a caller may wait for the next attempt: to its deadline, or
 * HC_RETRY_TOTAL_MAX_MS without one. */
int64_t hc_retry_remaining_ms(struct hc_cancellation *cancellation);

/* Up to an eighth of `ms`, at most a second, at random: added to a pause that all
 * callers were told, so that they do not all come back together. */
int64_t hc_retry_jitter_ms(int64_t ms);

/* The pause before attempt `attempt` + 1: doubles from `base_ms` to HC_BACKOFF_MAX_MS,
 * jittered. */
int64_t hc_retry_backoff_ms(unsigned base_ms, unsigned attempt);

/*
 * After `err` (whose `retry_after_ms` is what the Hub said, or 0): pauses and returns 0
 * when the request is to be repeated; else -1 with the failure in `err`, which says when
 * to come back, or with CANCELLED or DEADLINE_EXCEEDED.
 */
int hc_retry_wait(struct hc_retry *retry, const struct hc_hub *hub,
                  struct hc_cancellation *cancellation, struct hc_error *err);

#endif
