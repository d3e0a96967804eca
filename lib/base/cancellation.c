/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cancellation is a deadline that only moves out, a flag that is only ever set, and a
 * condition on which sleeps end early. Flag and deadline are atomic, so that the inner
 * loop of a transfer reads them without the lock.
 *
 *     waiting --hc_cancellation_cancel--> cancelled      for good
 *     waiting --the deadline passes-----> expired
 *     expired --hc_cancellation_extend--> waiting        another caller waits longer
 *
 * A wait on a condition of another object cannot be woken by the cancellation: that would
 * need both locks, in an order that the waiter has already chosen. It looks at the
 * cancellation every WAIT_SLICE_MS instead.
 */
#include "cancellation.h"

#include "error.h"

#include <stdatomic.h>
#include <time.h>

enum { WAIT_SLICE_MS = 100 };

struct hc_cancellation {
    atomic_bool cancelled;
    atomic_int_least64_t deadline_ms;
    pthread_mutex_t lock; /* only for `changed` */
    pthread_cond_t changed;
};

int64_t hc_monotonic_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t hc_epoch_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t hc_monotonic_ms(void)
{
    return hc_monotonic_ns() / 1000000;
}

static struct timespec timespec_from_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

/* ---- conditions -------------------------------------------------------------------- */

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
    struct timespec until = timespec_from_ms(hc_monotonic_ms() + ms);

    (void)pthread_cond_timedwait(condition, lock, &until);
}

/* ---- cancellations ----------------------------------------------------------------- */

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
    HC_LOCKED(&cancellation->lock);

    atomic_store(&cancellation->cancelled, true);
    (void)pthread_cond_broadcast(&cancellation->changed);
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

/* ---- waits ------------------------------------------------------------------------- */

static void monotonic_sleep_until(int64_t until_ms)
{
    struct timespec until = timespec_from_ms(until_ms);

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        continue;
}

static int64_t ms_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The deadline is read anew each time round: another thread may have moved it out. */
int hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                          struct hc_error *err)
{
    const int64_t until_ms = hc_monotonic_ms() + ms;
    int64_t left_ms = ms;

    if (!cancellation) {
        monotonic_sleep_until(until_ms);
        return 0;
    }
    HC_LOCKED(&cancellation->lock);

    while (left_ms > 0 && !hc_cancellation_is_set(cancellation)) {
        int64_t remaining_ms = hc_cancellation_remaining_ms(cancellation);

        hc_condition_wait(&cancellation->changed, &cancellation->lock,
                          ms_min(left_ms, remaining_ms));
        left_ms = until_ms - hc_monotonic_ms();
    }
    return hc_cancellation_check(cancellation, err);
}

/* Checked before the wait only: news that came with the end are better than the end. */
int hc_cancellation_wait(struct hc_cancellation *cancellation, pthread_cond_t *condition,
                         pthread_mutex_t *lock, int64_t ms, struct hc_error *err)
{
    if (hc_cancellation_check(cancellation, err) < 0)
        return -1;
    if (cancellation)
        ms =
            ms_min(ms_min(ms, hc_cancellation_remaining_ms(cancellation)), WAIT_SLICE_MS);
    if (ms == HC_NO_DEADLINE)
        (void)pthread_cond_wait(condition, lock);
    else
        hc_condition_wait(condition, lock, ms);
    return 0;
}
