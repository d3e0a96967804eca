/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditions on the monotonic clock, the clock of deadlines: setting the wall clock neither
 * shortens nor prolongs a wait.
 */
#ifndef HC_BASE_CONDITION_H
#define HC_BASE_CONDITION_H

#include <pthread.h>
#include <stdint.h>

/* Ended with pthread_cond_destroy(). */
void hc_condition_init(pthread_cond_t *condition);

/* Waits for news, for `ms` at most, with `lock` held; may wake early, as conditions do. */
void hc_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t ms);

#endif
