/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library itself asks of a cancellation (see <hubcache/cancellation.h>), and the
 * waits that it ends: for a time, or for news on a condition. All waits and deadlines are
 * on the monotonic clock, so setting the wall clock neither shortens nor prolongs them.
 * Callable from any thread.
 */
#ifndef HC_BASE_CANCELLATION_H
#define HC_BASE_CANCELLATION_H

#include <hubcache/cancellation.h>

#include "auto.h"

#include <pthread.h>
#include <stdbool.h>

HC_DEFINE_AUTO(hc_cancellation, hc_cancellation_free)

/* As hc_monotonic_ms(), for what takes less. */
int64_t hc_monotonic_ns(void);

/* Milliseconds since the epoch by the wall clock, which may be set: for time stamps. */
int64_t hc_epoch_ms(void);

/* 0 while the caller waits; else -1 with HC_CANCELLED or HC_DEADLINE_EXCEEDED. */
int hc_cancellation_check(struct hc_cancellation *cancellation, struct hc_error *err);

/* The same as a question, for callbacks that have no error to fill. */
bool hc_cancellation_is_set(struct hc_cancellation *cancellation);

/* Milliseconds until the deadline, 0 when past; HC_NO_DEADLINE when there is none. */
int64_t hc_cancellation_remaining_ms(struct hc_cancellation *cancellation);

/* Sleeps `ms`; -1 as hc_cancellation_check as soon as the cancellation is set. */
int hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                          struct hc_error *err);

/*
 * Waits for news on `condition`, with `lock` held, for `ms` at most (HC_NO_DEADLINE: as
 * long as it takes); -1 as hc_cancellation_check when the cancellation is set before.
 * Wakes within a tenth of a second after it is set, and may wake for no reason, as
 * conditions do:
 *
 *     while (!has_news) {
 *         if (hc_cancellation_wait(cancellation, &changed, &lock, 1000, err) < 0)
 *             return -1;
 *     }
 */
int hc_cancellation_wait(struct hc_cancellation *cancellation, pthread_cond_t *condition,
                         pthread_mutex_t *lock, int64_t ms, struct hc_error *err);

/* Makes a condition for the waits here; the caller ends it with
 * pthread_cond_destroy(). */
void hc_condition_init(pthread_cond_t *condition);

/* Waits for news, for `ms` at most, with `lock` held; may wake early. */
void hc_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t ms);

#endif
