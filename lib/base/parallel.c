/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each thread takes the next number until there is none. Helpers are tasks of the pool;
 * one that has not begun when the numbers are used up is withdrawn, and the thread that
 * asked waits for the others. All of it lives on the stack of that thread.
 */
#include "parallel.h"

#include "error.h"

#include <stdatomic.h>

struct parallel_run;

struct parallel_helper {
    struct hc_task task; /* first: the task is cast to it */
    struct parallel_run *run;
    bool is_submitted;
};

struct parallel_run {
    const struct hc_parallel *parallel;
    size_t count;
    atomic_size_t next;
    atomic_bool is_over; /* a call has failed */
    struct parallel_helper helpers[HC_PARALLEL_MAX - 1];
    struct {
        pthread_mutex_t lock;
        pthread_cond_t ended;
        unsigned helpers; /* that have not ended */
        bool has_failed;
        struct hc_error failure; /* the first */
    } shared;
};

static void run_fail(struct parallel_run *run, const struct hc_error *err)
{
    HC_LOCKED(&run->shared.lock);

    atomic_store(&run->is_over, true);
    if (run->shared.has_failed)
        return;
    run->shared.has_failed = true;
    run->shared.failure = *err;
}

static void run_work(struct parallel_run *run)
{
    const struct hc_parallel *parallel = run->parallel;
    struct hc_error err;
    size_t number;

    while (!atomic_load_explicit(&run->is_over, memory_order_relaxed) &&
           (number = atomic_fetch_add(&run->next, 1)) < run->count) {
        if (hc_cancellation_check(parallel->cancellation, &err) < 0 ||
            parallel->run(parallel->ctx, number, &err) < 0)
            run_fail(run, &err);
    }
}

static void run_end_helper(struct parallel_run *run)
{
    HC_LOCKED(&run->shared.lock);

    run->shared.helpers--;
    (void)pthread_cond_signal(&run->shared.ended);
}

static bool helper_run(struct hc_task *task)
{
    struct parallel_run *run = ((struct parallel_helper *)task)->run;

    run_work(run);
    run_end_helper(run); /* from here on the helper may be gone */
    return false;
}

/* As many as there are further numbers; a pool that is full gives fewer. */
static void run_start_helpers(struct parallel_run *run)
{
    struct hc_error ignored;

    for (size_t i = 0; i < HC_PARALLEL_MAX - 1 && i + 1 < run->count; i++) {
        struct parallel_helper *helper = &run->helpers[i];

        *helper = (struct parallel_helper){.task = {.run = helper_run,
                                                    .caller = run->parallel->repo,
                                                    .repo = run->parallel->repo},
                                           .run = run};
        {
            HC_LOCKED(&run->shared.lock);

            run->shared.helpers++;
        }
        helper->is_submitted =
            hc_workers_submit(run->parallel->workers, &helper->task, &ignored) == 0;
        if (helper->is_submitted)
            continue;
        run_end_helper(run);
        break;
    }
}

static void run_await_helpers(struct parallel_run *run)
{
    for (size_t i = 0; i < HC_PARALLEL_MAX - 1 && run->helpers[i].is_submitted; i++) {
        if (hc_workers_withdraw(run->parallel->workers, &run->helpers[i].task))
            run_end_helper(run);
    }
    HC_LOCKED(&run->shared.lock);

    while (run->shared.helpers > 0)
        (void)pthread_cond_wait(&run->shared.ended, &run->shared.lock);
}

int hc_parallel_run(const struct hc_parallel *parallel, size_t count,
                    struct hc_error *err)
{
    struct parallel_run run = {.parallel = parallel, .count = count};

    (void)pthread_mutex_init(&run.shared.lock, NULL);
    (void)pthread_cond_init(&run.shared.ended, NULL);
    run_start_helpers(&run);
    run_work(&run);
    run_await_helpers(&run);
    (void)pthread_mutex_destroy(&run.shared.lock);
    (void)pthread_cond_destroy(&run.shared.ended);
    if (!run.shared.has_failed)
        return 0;
    *err = run.shared.failure;
    return -1;
}
