/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread: it waits until the next sweep is due or the close begins, and sweeps. The
 * lock guards is_closing and is not held during a sweep, so a close only waits for it.
 */
#include "sweeper.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <malloc.h>
#include <stdbool.h>

struct hc_sweeper {
    struct hc_resolver *resolver;
    int64_t every_ms;
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        bool is_closing;
    } shared;
};

/* Waits until the next sweep is due. False: the sweeper closes, and none is. */
static bool sweeper_await_next(struct hc_sweeper *sweeper)
{
    int64_t due_ms = hc_monotonic_ms() + sweeper->every_ms;
    HC_LOCKED(&sweeper->shared.lock);

    while (!sweeper->shared.is_closing && hc_monotonic_ms() < due_ms)
        hc_condition_wait(&sweeper->shared.news, &sweeper->shared.lock,
                          due_ms - hc_monotonic_ms());
    return !sweeper->shared.is_closing;
}

/*
 * A sweep reports nothing: what it cannot remove, the next one tries again. Each thread
 * has an arena of the allocator, which keeps what a busy time took.
 */
static void *sweeper_run(void *ctx)
{
    struct hc_sweeper *sweeper = ctx;

    while (sweeper_await_next(sweeper)) {
        hc_resolver_sweep(sweeper->resolver);
        (void)malloc_trim(0);
    }
    return NULL;
}

static void sweeper_release(struct hc_sweeper *sweeper)
{
    (void)pthread_cond_destroy(&sweeper->shared.news);
    (void)pthread_mutex_destroy(&sweeper->shared.lock);
    free(sweeper);
}

struct hc_sweeper *hc_sweeper_open(struct hc_resolver *resolver, int64_t every_ms,
                                   struct hc_error *err)
{
    struct hc_sweeper *sweeper = calloc(1, sizeof *sweeper);

    if (!sweeper) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    sweeper->resolver = resolver;
    sweeper->every_ms = every_ms;
    (void)pthread_mutex_init(&sweeper->shared.lock, NULL);
    hc_condition_init(&sweeper->shared.news);
    if (pthread_create(&sweeper->thread, NULL, sweeper_run, sweeper) == 0)
        return sweeper;
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to sweep the cache");
    sweeper_release(sweeper);
    return NULL;
}

void hc_sweeper_close(struct hc_sweeper *sweeper)
{
    if (!sweeper)
        return;
    {
        HC_LOCKED(&sweeper->shared.lock);

        sweeper->shared.is_closing = true;
        (void)pthread_cond_signal(&sweeper->shared.news);
    }
    (void)pthread_join(sweeper->thread, NULL);
    sweeper_release(sweeper);
}
