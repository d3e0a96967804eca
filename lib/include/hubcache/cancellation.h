/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is the patience of those who wait for an answer: a deadline and a way to give
 * up. Everything that may block takes one and returns early, with HC_DEADLINE_EXCEEDED or
 * HC_CANCELLED, when patience ends. A NULL call waits for ever. All functions may be
 * called from any thread, also while another thread works on the call's behalf.
 */
#ifndef HUBCACHE_CANCELLATION_H
#define HUBCACHE_CANCELLATION_H

#include <hubcache/error.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_cancellation;

#define HC_NO_DEADLINE INT64_MAX

/* Milliseconds of the monotonic clock, the clock of deadlines. */
HC_PUBLIC int64_t hc_monotonic_ms(void);

/* `deadline_ms` on the monotonic clock, or HC_NO_DEADLINE. NULL: out of memory. */
HC_PUBLIC struct hc_cancellation *hc_cancellation_new(int64_t deadline_ms);
HC_PUBLIC void hc_cancellation_free(struct hc_cancellation *cancellation);

/* Wakes whoever waits on the call's behalf. */
HC_PUBLIC void hc_cancellation_cancel(struct hc_cancellation *cancellation);

/* Moves the deadline out to `deadline_ms`; never in. */
HC_PUBLIC void hc_cancellation_extend(struct hc_cancellation *cancellation,
                                      int64_t deadline_ms);

#ifdef __cplusplus
}
#endif

#endif
