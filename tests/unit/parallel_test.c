/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: each number is worked on once, by many threads if the pool has them and by
 * the caller alone if it has none; the first failure ends the work, and so does the
 * caller's cancellation; and when the call returns, no thread works for it any more.
 */
#include <base/error.h>
#include <base/parallel.h>

#include <test.h>

#include <semaphore.h>
#include <stdatomic.h>

enum { NUMBERS = 5000, THREADS = 8 };

struct work {
    struct hc_workers *workers;
    atomic_uint done[NUMBERS];
    atomic_uint calls;
    pthread_barrier_t together; /* of the caller and the helpers that a test expects */
    sem_t begun, may_end;
    struct hc_cancellation *cancellation;
};

static int work_setup(void **state)
{
    struct work *work = calloc(1, sizeof *work);
    struct hc_error err;

    assert_non_null(work);
    work->workers = hc_workers_open(THREADS, 100, &err);
    assert_non_null(work->workers);
    (void)sem_init(&work->begun, 0, 0);
    (void)sem_init(&work->may_end, 0, 0);
    *state = work;
    return 0;
}

static int work_teardown(void **state)
{
    struct work *work = *state;

    hc_workers_close(work->workers);
    (void)sem_destroy(&work->begun);
    (void)sem_destroy(&work->may_end);
    free(work);
    return 0;
}

static int count_number(void *ctx, size_t number, struct hc_error *err)
{
    struct work *work = ctx;

    (void)err;
    atomic_fetch_add(&work->done[number], 1);
    atomic_fetch_add(&work->calls, 1);
    return 0;
}

static struct hc_parallel parallel_of(struct work *work,
                                      int (*run)(void *, size_t, struct hc_error *))
{
    return (struct hc_parallel){.workers = work->workers,
                                .run = run,
                                .ctx = work,
                                .repo = 1,
                                .cancellation = work->cancellation};
}

static void assert_each_once(struct work *work)
{
    for (size_t i = 0; i < NUMBERS; i++)
        assert_int_equal(atomic_load(&work->done[i]), 1);
}

static void each_number_is_worked_on_once(void **state)
{
    struct work *work = *state;
    const struct hc_parallel parallel = parallel_of(work, count_number);
    struct hc_error err;

    assert_int_equal(hc_parallel_run(&parallel, 0, &err), 0);
    assert_int_equal(atomic_load(&work->calls), 0);
    assert_int_equal(hc_parallel_run(&parallel, NUMBERS, &err), 0);
    assert_each_once(work);
}

static int meet_the_others(void *ctx, size_t number, struct hc_error *err)
{
    struct work *work = ctx;

    (void)number;
    (void)err;
    (void)pthread_barrier_wait(&work->together);
    return 0;
}

/* One repo has half of a pool. */
static void numbers_are_worked_on_side_by_side(void **state)
{
    struct work *work = *state;
    const struct hc_parallel parallel = parallel_of(work, meet_the_others);
    struct hc_error err;

    (void)pthread_barrier_init(&work->together, NULL, 1 + THREADS / 2);
    assert_int_equal(hc_parallel_run(&parallel, 1 + THREADS / 2, &err), 0);
    (void)pthread_barrier_destroy(&work->together);
}

struct blocker {
    struct hc_task task;
    struct work *work;
};

static bool block(struct hc_task *task)
{
    struct work *work = ((struct blocker *)task)->work;

    (void)sem_post(&work->begun);
    (void)sem_wait(&work->may_end);
    return false;
}

static void a_busy_pool_leaves_the_work_to_the_caller(void **state)
{
    struct work *work = *state;
    const struct hc_parallel parallel = parallel_of(work, count_number);
    struct blocker blockers[THREADS];
    struct hc_error err;

    for (size_t i = 0; i < THREADS; i++) {
        blockers[i] = (struct blocker){.task = {.run = block, .caller = i, .repo = i},
                                       .work = work};
        assert_int_equal(hc_workers_submit(work->workers, &blockers[i].task, &err), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        (void)sem_wait(&work->begun);
    assert_int_equal(hc_parallel_run(&parallel, NUMBERS, &err), 0);
    assert_each_once(work);
    for (size_t i = 0; i < THREADS; i++)
        (void)sem_post(&work->may_end);
}

/* Threads of the pool that ask for helpers get what is left, or do all themselves. */
struct asker {
    struct hc_task task;
    struct work *work;
};

static bool ask(struct hc_task *task)
{
    struct work *work = ((struct asker *)task)->work;
    const struct hc_parallel parallel = parallel_of(work, count_number);
    struct hc_error err;

    assert_int_equal(hc_parallel_run(&parallel, NUMBERS, &err), 0);
    (void)sem_post(&work->begun);
    return false;
}

static void threads_of_the_pool_may_ask_too(void **state)
{
    struct work *work = *state;
    struct asker askers[THREADS * 2];
    struct hc_error err;

    for (size_t i = 0; i < THREADS * 2; i++) {
        askers[i] =
            (struct asker){.task = {.run = ask, .caller = i, .repo = i}, .work = work};
        assert_int_equal(hc_workers_submit(work->workers, &askers[i].task, &err), 0);
    }
    for (size_t i = 0; i < THREADS * 2; i++)
        (void)sem_wait(&work->begun);
    assert_int_equal(atomic_load(&work->calls), NUMBERS * THREADS * 2);
}

static int fail_at_100(void *ctx, size_t number, struct hc_error *err)
{
    (void)count_number(ctx, number, err);
    return number == 100 ? hc_fail(err, HC_CACHE_IO, "number 100") : 0;
}

static void the_first_failure_ends_the_work(void **state)
{
    struct work *work = *state;
    const struct hc_parallel parallel = parallel_of(work, fail_at_100);
    struct hc_error err;

    assert_int_equal(hc_parallel_run(&parallel, NUMBERS, &err), -1);
    assert_int_equal(err.reason, HC_CACHE_IO);
    assert_string_equal(err.message, "number 100");
    for (size_t i = 0; i <= 100; i++)
        assert_int_equal(atomic_load(&work->done[i]), 1);
}

static int cancel_from_100_on(void *ctx, size_t number, struct hc_error *err)
{
    struct work *work = ctx;

    (void)count_number(ctx, number, err);
    if (number >= 100)
        hc_cancellation_cancel(work->cancellation);
    return 0;
}

static void a_cancellation_ends_the_work(void **state)
{
    struct work *work = *state;
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_parallel parallel;
    struct hc_error err;

    work->cancellation = cancellation;
    parallel = parallel_of(work, cancel_from_100_on);
    assert_int_equal(hc_parallel_run(&parallel, NUMBERS, &err), -1);
    assert_int_equal(err.reason, HC_CANCELLED);
    assert_true(atomic_load(&work->calls) <= 100 + 1 + THREADS);
}

#define test(name) cmocka_unit_test_setup_teardown(name, work_setup, work_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(each_number_is_worked_on_once),
        test(numbers_are_worked_on_side_by_side),
        test(a_busy_pool_leaves_the_work_to_the_caller),
        test(threads_of_the_pool_may_ask_too),
        test(the_first_failure_ends_the_work),
        test(a_cancellation_ends_the_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
