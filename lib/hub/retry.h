/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When something is asked again: how often, after which pause, and when to stop for the
 * caller's sake. One value per question; zero-initialise it, and again when there was
 * progress.
 */
#ifndef HC_HUB_RETRY_H
#define HC_HUB_RETRY_H

#include "hub.h"

#include <stdbool.h>

struct hc_retry {
    unsigned attempt;    /* pauses so far */
    int64_t waited_ms;   /* and their length */
    unsigned max_pauses; /* Optional: fewer pauses than the hub's settings allow */
    bool
        is_endpoint_paused; /* Optional: the endpoint is down, and entering it is the pause */
};

enum {
    HC_BACKOFF_MAX_MS = 8000,       /* of our own choosing */
    HC_RETRY_AFTER_MAX_MS = 120000, /* of Retry-After */
    HC_RETRY_TOTAL_MAX_MS = 30000,  /* in all, for a caller without a deadline */
    HC_RETRY_ADVICE_MS = 5000       /* what callers are told when the Hub did not say */
};

/* Whether it may be different later, or elsewhere. */
bool hc_retry_may_help(const struct hc_error *err);

/* How long a caller waits for the Hub to be asked again. */
int64_t hc_retry_remaining_ms(struct hc_cancellation *cancellation);

/* Up to an eighth of `ms`, at most a second, by chance: what is added to a pause that all
 * were told, lest they all come back together. */
int64_t hc_retry_jitter_ms(int64_t ms);

/* The pause before attempt `attempt` + 1: doubles from `base_ms` to HC_BACKOFF_MAX_MS,
 * jittered. */
int64_t hc_retry_backoff_ms(unsigned base_ms, unsigned attempt);

/*
 * After `err` (whose `retry_after_ms` is what the Hub said, or 0): pauses and returns 0
 * when it is worth asking again, else -1 with the last word in `err`: what it was, with
 * advice when to come back, or that the caller left.
 */
int hc_retry_wait(struct hc_retry *retry, const struct hc_hub *hub,
                  struct hc_cancellation *cancellation, struct hc_error *err);

#endif
