/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deadline that only moves out, a flag that is only ever set, and a condition on which
 * pauses end early. The two words are atomic so that a transfer's inner loop can look at
 * them without taking the lock.
 */
#include "cancellation.h"

#include "condition.h"
#include "error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct hc_cancellation {
    atomic_bool cancelled;
    atomic_int_least64_t deadline_ms;
    pthread_mutex_t lock; /* only for `changed` */
    pthread_cond_t changed;
};

int64_t hc_monotonic_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct hc_cancellation *hc_cancellation_new(int64_t deadline_ms)
{
    struct hc_cancellation *cancellation = calloc(1, sizeof *cancellation);

    if (!cancellation)
        return NULL;
    atomic_init(&cancellation->cancelled, false);
    atomic_init(&cancellation->deadline_ms, deadline_ms);
    (void)pthread_mutex_init(&cancellation->lock, NULL);
    hc_condition_init(&cancellation->changed);
    return cancellation;
}

void hc_cancellation_free(struct hc_cancellation *cancellation)
{
    if (!cancellation)
        return;
    (void)pthread_cond_destroy(&cancellation->changed);
    (void)pthread_mutex_destroy(&cancellation->lock);
    free(cancellation);
}

void hc_cancellation_cancel(struct hc_cancellation *cancellation)
{
    (void)pthread_mutex_lock(&cancellation->lock);
    atomic_store(&cancellation->cancelled, true);
    (void)pthread_cond_broadcast(&cancellation->changed);
    (void)pthread_mutex_unlock(&cancellation->lock);
}

void hc_cancellation_extend(struct hc_cancellation *cancellation, int64_t deadline_ms)
{
    int64_t old = atomic_load(&cancellation->deadline_ms);

    while (old < deadline_ms &&
           !atomic_compare_exchange_weak(&cancellation->deadline_ms, &old, deadline_ms))
        continue;
}

int64_t hc_cancellation_remaining_ms(struct hc_cancellation *cancellation)
{
    int64_t deadline =
        cancellation ? atomic_load(&cancellation->deadline_ms) : HC_NO_DEADLINE;
    int64_t now;

    if (deadline == HC_NO_DEADLINE)
        return HC_NO_DEADLINE;
    now = hc_monotonic_ms();
    return deadline > now ? deadline - now : 0;
}

bool hc_cancellation_is_set(struct hc_cancellation *cancellation)
{
    return cancellation && (atomic_load(&cancellation->cancelled) ||
                            hc_cancellation_remaining_ms(cancellation) == 0);
}

int hc_cancellation_check(struct hc_cancellation *cancellation, struct hc_error *err)
{
    if (!cancellation)
        return 0;
    if (atomic_load(&cancellation->cancelled))
        return hc_fail(err, HC_CANCELLED, "the caller gave up");
    if (hc_cancellation_remaining_ms(cancellation) == 0)
        return hc_fail(err, HC_DEADLINE_EXCEEDED, "the caller's deadline passed");
    return 0;
}

static struct timespec timespec_from_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

static void monotonic_sleep_until(int64_t until_ms)
{
    struct timespec until = timespec_from_ms(until_ms);

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        continue;
}

int hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                          struct hc_error *err)
{
    int64_t until_ms = hc_monotonic_ms() + ms;

    if (!cancellation) {
        monotonic_sleep_until(until_ms);
        return 0;
    }
    (void)pthread_mutex_lock(&cancellation->lock);
    while (!hc_cancellation_is_set(cancellation) && hc_monotonic_ms() < until_ms) {
        int64_t deadline_ms = atomic_load(&cancellation->deadline_ms);
        struct timespec until =
            timespec_from_ms(deadline_ms < until_ms ? deadline_ms : until_ms);

        (void)pthread_cond_timedwait(&cancellation->changed, &cancellation->lock, &until);
    }
    (void)pthread_mutex_unlock(&cancellation->lock);
    return hc_cancellation_check(cancellation, err);
}
