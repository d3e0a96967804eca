/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cancellation ends calls early: it has a deadline, and any thread can cancel it. Every
 * function that may block takes one and fails with HC_DEADLINE_EXCEEDED once the deadline
 * has passed, or with HC_CANCELLED once it is cancelled, whichever comes first. A NULL
 * cancellation never ends a call. One cancellation may serve any number of calls, one
 * after the other or at once; it has to outlive them.
 *
 * Callable from any thread, also while calls with the cancellation are running.
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

/* Milliseconds of the monotonic clock, CLOCK_MONOTONIC, which deadlines are on. */
HC_PUBLIC int64_t hc_monotonic_ms(void);

/* `deadline_ms` is on the monotonic clock, or HC_NO_DEADLINE. NULL: out of memory. */
HC_PUBLIC struct hc_cancellation *hc_cancellation_new(int64_t deadline_ms);
HC_PUBLIC void hc_cancellation_free(struct hc_cancellation *cancellation);

/* For good. Running calls fail soon after, wherever they wait. */
HC_PUBLIC void hc_cancellation_cancel(struct hc_cancellation *cancellation);

/* Moves the deadline to `deadline_ms` when that is later; never to an earlier time. */
HC_PUBLIC void hc_cancellation_extend(struct hc_cancellation *cancellation,
                                      int64_t deadline_ms);

#ifdef __cplusplus
}
#endif

#endif
