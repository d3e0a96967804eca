/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What POSIX wants five lines for.
 */
#include "condition.h"

#include <hubcache/cancellation.h>

#include <time.h>

void hc_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;

    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

void hc_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t ms)
{
    int64_t until = hc_monotonic_ms() + ms;
    struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    (void)pthread_cond_timedwait(condition, lock, &time);
}
