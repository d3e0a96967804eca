/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deadline that only moves out, a flag that is only ever set, and a condition on which
 * pauses end early. The two words are atomic so that a transfer's inner loop can look at
 * them without taking the lock.
 */
#include "call.h"

#include "condition.h"
#include "error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct hc_call {
    atomic_bool cancelled;
    atomic_int_least64_t deadline_ms;
    pthread_mutex_t lock; /* only for `over` */
    pthread_cond_t over;
};

int64_t hc_monotonic_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct hc_call *hc_call_new(int64_t deadline_ms)
{
    struct hc_call *call = calloc(1, sizeof *call);

    if (!call)
        return NULL;
    atomic_init(&call->cancelled, false);
    atomic_init(&call->deadline_ms, deadline_ms);
    (void)pthread_mutex_init(&call->lock, NULL);
    hc_condition_init(&call->over);
    return call;
}

void hc_call_free(struct hc_call *call)
{
    if (!call)
        return;
    (void)pthread_cond_destroy(&call->over);
    (void)pthread_mutex_destroy(&call->lock);
    free(call);
}

void hc_call_cancel(struct hc_call *call)
{
    (void)pthread_mutex_lock(&call->lock);
    atomic_store(&call->cancelled, true);
    (void)pthread_cond_broadcast(&call->over);
    (void)pthread_mutex_unlock(&call->lock);
}

void hc_call_extend(struct hc_call *call, int64_t deadline_ms)
{
    int64_t old = atomic_load(&call->deadline_ms);

    while (old < deadline_ms &&
           !atomic_compare_exchange_weak(&call->deadline_ms, &old, deadline_ms))
        continue;
}

int64_t hc_call_remaining_ms(struct hc_call *call)
{
    int64_t deadline = call ? atomic_load(&call->deadline_ms) : HC_NO_DEADLINE;
    int64_t now;

    if (deadline == HC_NO_DEADLINE)
        return HC_NO_DEADLINE;
    now = hc_monotonic_ms();
    return deadline > now ? deadline - now : 0;
}

bool hc_call_is_over(struct hc_call *call)
{
    return call && (atomic_load(&call->cancelled) || hc_call_remaining_ms(call) == 0);
}

int hc_call_check(struct hc_call *call, struct hc_error *err)
{
    if (!call)
        return 0;
    if (atomic_load(&call->cancelled))
        return hc_fail(err, HC_CANCELLED, "the caller gave up");
    if (hc_call_remaining_ms(call) == 0)
        return hc_fail(err, HC_DEADLINE_EXCEEDED, "the caller's deadline passed");
    return 0;
}

static struct timespec timespec_of(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

static void sleep_until(int64_t until_ms)
{
    struct timespec until = timespec_of(until_ms);

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        continue;
}

int hc_call_pause(struct hc_call *call, int64_t ms, struct hc_error *err)
{
    int64_t until_ms = hc_monotonic_ms() + ms;

    if (!call) {
        sleep_until(until_ms);
        return 0;
    }
    (void)pthread_mutex_lock(&call->lock);
    while (!hc_call_is_over(call) && hc_monotonic_ms() < until_ms) {
        int64_t deadline_ms = atomic_load(&call->deadline_ms);
        struct timespec until =
            timespec_of(deadline_ms < until_ms ? deadline_ms : until_ms);

        (void)pthread_cond_timedwait(&call->over, &call->lock, &until);
    }
    (void)pthread_mutex_unlock(&call->lock);
    return hc_call_check(call, err);
}
