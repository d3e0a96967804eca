/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: threads are started only when there is work for them, never more than allowed.
 * A queued task runs; a task that does not fit is BUSY at once; a task that is withdrawn
 * leaves the queue at once. No repo has more than half of the threads, no caller more
 * than three quarters of threads and queue, and tasks that wait take turns.
 */
#include <base/auto.h>
#include <base/workers.h>

#include <hubcache/error.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <test.h>
#include <time.h>

/* A task that reports that it has begun and waits until it may end. */
struct blocking_job {
    struct hc_task task;
    pthread_barrier_t *begun, *may_end;
};

static bool run_blocking_job(struct hc_task *task)
{
    struct blocking_job *blocking_job = (struct blocking_job *)task;

    (void)pthread_barrier_wait(blocking_job->begun);
    (void)pthread_barrier_wait(blocking_job->may_end);
    return false;
}

struct job_fixture {
    pthread_barrier_t begun, may_end;
    struct blocking_job blocking;
};

/* Both barriers are for the job and the test. */
static void job_fixture_setup(struct job_fixture *job_fixture)
{
    (void)pthread_barrier_init(&job_fixture->begun, NULL, 2);
    (void)pthread_barrier_init(&job_fixture->may_end, NULL, 2);
    job_fixture->blocking.task.run = run_blocking_job;
    job_fixture->blocking.begun = &job_fixture->begun;
    job_fixture->blocking.may_end = &job_fixture->may_end;
}

static void job_fixture_teardown(struct job_fixture *job_fixture)
{
    (void)pthread_barrier_destroy(&job_fixture->begun);
    (void)pthread_barrier_destroy(&job_fixture->may_end);
}

struct counted {
    struct hc_task task;
    atomic_uint *ran;
};

static bool run_counted(struct hc_task *task)
{
    atomic_fetch_add(((struct counted *)task)->ran, 1);
    return false;
}

static void queued_tasks_run_before_the_workers_are_closed(void **state)
{
    enum { COUNT = 100 };
    struct counted tasks[COUNT];
    atomic_uint ran = 0;
    struct hc_error err;
    struct hc_workers *workers = hc_workers_open(4, COUNT, &err);

    (void)state;
    assert_non_null(workers);
    for (size_t i = 0; i < COUNT; i++) {
        tasks[i] =
            (struct counted){.task = {.run = run_counted, .caller = i}, .ran = &ran};
        assert_int_equal(hc_workers_submit(workers, &tasks[i].task, &err), 0);
    }
    hc_workers_close(workers);

    assert_int_equal(atomic_load(&ran), COUNT);
}

static void a_full_queue_is_busy_and_says_when_to_try_again(void **state)
{
    struct job_fixture job_fixture;
    struct hc_error err;
    struct hc_workers *workers = hc_workers_open(1, 1, &err);
    atomic_uint ran = 0;
    struct counted queued = {.task.run = run_counted, .ran = &ran};
    struct counted refused = queued;
    unsigned running, waiting;

    (void)state;
    job_fixture_setup(&job_fixture);
    assert_int_equal(hc_workers_submit(workers, &job_fixture.blocking.task, &err), 0);
    (void)pthread_barrier_wait(&job_fixture.begun);
    assert_int_equal(hc_workers_submit(workers, &queued.task, &err), 0);
    assert_int_equal(hc_workers_submit(workers, &refused.task, &err), -1);
    hc_workers_count(workers, &running, &waiting);
    (void)pthread_barrier_wait(&job_fixture.may_end);
    hc_workers_close(workers);

    assert_int_equal(err.reason, HC_BUSY);
    assert_true(err.retry_after_ms > 0);
    assert_int_equal(running, 1);
    assert_int_equal(waiting, 1);
    assert_int_equal(atomic_load(&ran), 1);
    job_fixture_teardown(&job_fixture);
}

static void workers_that_never_had_work_close_at_once(void **state)
{
    struct hc_error err;
    struct hc_workers *workers = hc_workers_open(64, 64, &err);
    unsigned running, queued;

    (void)state;
    hc_workers_count(workers, &running, &queued);
    assert_int_equal(running + queued, 0);
    hc_workers_close(workers);
}

/* --- shares
 * ------------------------------------------------------------------------------
 *  */

enum { SLOW_MAX = 256 };

/* Tasks that block until the test lets them end, and note in which order they began. */
struct slow {
    struct hc_task task;
    struct crowd *crowd;
};

struct crowd {
    struct hc_workers *workers;
    sem_t begun, may_end;
    atomic_uint count; /* that have begun */
    const struct slow *order[SLOW_MAX];
    struct slow tasks[SLOW_MAX];
    size_t used;
};

static bool run_slow(struct hc_task *task)
{
    struct slow *slow = (struct slow *)task;
    struct crowd *crowd = slow->crowd;

    crowd->order[atomic_fetch_add(&crowd->count, 1)] = slow;
    (void)sem_post(&crowd->begun);
    (void)sem_wait(&crowd->may_end);
    return false;
}

static void crowd_open(struct crowd *crowd, unsigned threads, unsigned queue)
{
    struct hc_error err;

    *crowd = (struct crowd){.workers = hc_workers_open(threads, queue, &err)};
    assert_non_null(crowd->workers);
    (void)sem_init(&crowd->begun, 0, 0);
    (void)sem_init(&crowd->may_end, 0, 0);
}

static struct slow *crowd_submit(struct crowd *crowd, uint64_t caller, uint64_t repo)
{
    struct slow *slow = &crowd->tasks[crowd->used];
    struct hc_error err;

    *slow = (struct slow){.crowd = crowd,
                          .task = {.run = run_slow, .caller = caller, .repo = repo}};
    if (hc_workers_submit(crowd->workers, &slow->task, &err) < 0) {
        assert_int_equal(err.reason, HC_BUSY);
        assert_true(err.retry_after_ms > 0);
        return NULL;
    }
    crowd->used++;
    return slow;
}

static unsigned crowd_running(struct crowd *crowd)
{
    unsigned running, queued;

    hc_workers_count(crowd->workers, &running, &queued);
    return running;
}

static unsigned crowd_queued(struct crowd *crowd)
{
    unsigned running, queued;

    hc_workers_count(crowd->workers, &running, &queued);
    return queued;
}

static void crowd_await_begun(struct crowd *crowd, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)sem_wait(&crowd->begun);
}

/* Lets one task end and waits for the next to begin: so the order is certain. */
static void crowd_end_one(struct crowd *crowd)
{
    (void)sem_post(&crowd->may_end);
    (void)sem_wait(&crowd->begun);
}

static void crowd_close(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->used; i++)
        (void)sem_post(&crowd->may_end);
    hc_workers_close(crowd->workers);
    (void)sem_destroy(&crowd->begun);
    (void)sem_destroy(&crowd->may_end);
}

static void a_slow_repo_never_has_more_than_half_of_the_threads(void **state)
{
    static const unsigned sizes[] = {1, 2, 3, 4, 7, 8, 16, 40};
    struct crowd crowd;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned share = (sizes[i] + 1) / 2;

        crowd_open(&crowd, sizes[i], SLOW_MAX);
        for (unsigned n = 0; n < 64; n++)
            assert_non_null(crowd_submit(&crowd, n, 1)); /* of 64 callers */
        assert_int_equal(crowd_running(&crowd), share);
        if (sizes[i] > 1) { /* another repo runs at once */
            assert_non_null(crowd_submit(&crowd, 1, 2));
            crowd_await_begun(&crowd, share + 1);
            assert_int_equal(crowd_running(&crowd), share + 1);
        }
        crowd_close(&crowd);
    }
}

static void a_slow_caller_never_has_more_than_three_quarters(void **state)
{
    static const struct {
        unsigned threads, share;
    } sizes[] = {{1, 1}, {2, 2}, {3, 3}, {4, 3}, {5, 4}, {8, 6}, {40, 30}, {48, 36}};
    struct crowd crowd;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        crowd_open(&crowd, sizes[i].threads, SLOW_MAX);
        for (unsigned n = 0; n < 64; n++)
            assert_non_null(crowd_submit(&crowd, 1, n)); /* for 64 repos */
        assert_int_equal(crowd_running(&crowd), sizes[i].share);
        if (sizes[i].share < sizes[i].threads) {
            assert_non_null(crowd_submit(&crowd, 2, 1000));
            assert_int_equal(crowd_running(&crowd), sizes[i].share + 1);
        }
        crowd_close(&crowd);
    }
}

/* Whatever slow repos there are, one more has a thread, up to the logarithm of
 * threads. */
static void fewer_threads_run_while_the_pool_is_divided(void **state)
{
    struct crowd crowd;
    unsigned running, queued;

    (void)state;
    crowd_open(&crowd, 32, 100);
    hc_workers_set_divisor(crowd.workers, 8);
    for (unsigned i = 0; i < 32; i++)
        (void)crowd_submit(&crowd, i, i);
    hc_workers_count(crowd.workers, &running, &queued);
    assert_int_equal(running, 4);
    assert_int_equal(queued, 28);
    hc_workers_set_divisor(crowd.workers, 1);
    crowd_await_begun(&crowd, 32);
    hc_workers_set_divisor(crowd.workers, 64); /* one runs in any case */
    (void)crowd_submit(&crowd, 100, 100);
    hc_workers_count(crowd.workers, &running, &queued);
    assert_int_equal(running, 32);
    assert_int_equal(queued, 1);
    crowd_close(&crowd);
}

static void several_slow_repos_leave_threads_for_another(void **state)
{
    struct crowd crowd;

    (void)state;
    crowd_open(&crowd, 40, SLOW_MAX);
    for (uint64_t repo = 1; repo <= 4; repo++) {
        for (unsigned n = 0; n < 40; n++)
            assert_non_null(crowd_submit(&crowd, 1000 + n, repo));
    }
    crowd_await_begun(&crowd, crowd_running(&crowd));
    assert_int_equal(crowd_running(&crowd), 20 + 10 + 5 + 3);
    assert_non_null(crowd_submit(&crowd, 1, 5));
    crowd_await_begun(&crowd, 1);
    assert_ptr_equal(crowd.order[38], &crowd.tasks[crowd.used - 1]);
    crowd_close(&crowd);
}

static void callers_take_turns_and_so_do_their_repos(void **state)
{
    static const struct {
        uint64_t caller, repo;
    } expected[] = {{1, 1}, {1, 1}, {2, 3}, {1, 2}, {1, 1}, {1, 2}, {1, 1}};
    struct crowd crowd;

    (void)state;
    crowd_open(&crowd, 1, SLOW_MAX);
    assert_non_null(crowd_submit(&crowd, 1, 1));
    crowd_await_begun(&crowd, 1);
    for (unsigned n = 0; n < 3; n++)
        assert_non_null(crowd_submit(&crowd, 1, 1));
    for (unsigned n = 0; n < 2; n++)
        assert_non_null(crowd_submit(&crowd, 1, 2));
    assert_non_null(crowd_submit(&crowd, 2, 3)); /* the last to come */
    for (unsigned n = 1; n < 7; n++)
        crowd_end_one(&crowd);
    for (unsigned n = 0; n < 7; n++) {
        assert_int_equal(crowd.order[n]->task.caller, expected[n].caller);
        assert_int_equal(crowd.order[n]->task.repo, expected[n].repo);
    }
    crowd_close(&crowd);
}

static void a_caller_never_has_more_than_three_quarters_of_the_queue(void **state)
{
    struct crowd crowd;

    (void)state;
    crowd_open(&crowd, 1, 100);
    assert_non_null(crowd_submit(&crowd, 1, 1));
    for (unsigned n = 0; n < 75; n++)
        assert_non_null(crowd_submit(&crowd, 1, n));
    assert_null(crowd_submit(&crowd, 1, 1));
    assert_int_equal(crowd_queued(&crowd), 75);
    for (unsigned n = 0; n < 25; n++)
        assert_non_null(crowd_submit(&crowd, 1000 + n, 1));
    assert_null(crowd_submit(&crowd, 2000, 1)); /* the whole queue is full */
    crowd_close(&crowd);
}

static void a_withdrawn_task_does_not_run_and_frees_its_place(void **state)
{
    struct crowd crowd;
    struct slow *first, *second, *third;

    (void)state;
    crowd_open(&crowd, 1, 2);
    first = crowd_submit(&crowd, 1, 1);
    crowd_await_begun(&crowd, 1);
    second = crowd_submit(&crowd, 1, 1);
    third = crowd_submit(&crowd, 1, 2);
    assert_null(crowd_submit(&crowd, 1, 1));
    assert_true(hc_workers_withdraw(crowd.workers, &second->task));
    assert_false(hc_workers_withdraw(crowd.workers, &second->task));
    assert_false(hc_workers_withdraw(crowd.workers, &first->task)); /* it runs */
    assert_int_equal(crowd_queued(&crowd), 1);
    assert_non_null(crowd_submit(&crowd, 1, 3));
    crowd_end_one(&crowd);
    assert_ptr_equal(crowd.order[1], third);
    crowd_close(&crowd);
    assert_int_equal(atomic_load(&crowd.count), 3);
}

static void a_task_of_two_callers_waits_in_the_shorter_queue(void **state)
{
    struct crowd crowd;
    struct slow *shared;

    (void)state;
    crowd_open(&crowd, 1, SLOW_MAX);
    for (unsigned n = 0; n < 10; n++)
        assert_non_null(crowd_submit(&crowd, 1, 1));
    crowd_await_begun(&crowd, 1);
    shared = crowd_submit(&crowd, 1, 1);
    hc_workers_add_caller(crowd.workers, &shared->task, 2);
    crowd_end_one(&crowd); /* caller 1 is first in line */
    crowd_end_one(&crowd);
    assert_ptr_equal(crowd.order[2], shared);
    crowd_close(&crowd);
}

struct again {
    struct hc_task task;
    unsigned left;
    atomic_uint *next;
    bool was_its_turn; /* always */
};

static bool run_again(struct hc_task *task)
{
    struct again *again = (struct again *)task;
    unsigned batch = (unsigned)again->task.batch;

    again->was_its_turn =
        again->was_its_turn && atomic_exchange(again->next, 1 - batch) == batch;
    return --again->left > 0;
}

static void tasks_that_run_again_take_turns(void **state)
{
    enum { COUNT = 1000 };
    struct hc_error err;
    struct hc_workers *workers = hc_workers_open(1, 3, &err);
    atomic_uint next = 0;
    struct job_fixture job_fixture;
    struct again again[2];

    (void)state;
    job_fixture_setup(&job_fixture); /* it holds the thread until both are queued */
    assert_int_equal(hc_workers_submit(workers, &job_fixture.blocking.task, &err), 0);
    (void)pthread_barrier_wait(&job_fixture.begun);
    for (size_t i = 0; i < 2; i++) {
        again[i] = (struct again){.task = {.run = run_again, .caller = 1, .batch = i},
                                  .left = COUNT,
                                  .next = &next,
                                  .was_its_turn = true};
        assert_int_equal(hc_workers_submit(workers, &again[i].task, &err), 0);
    }
    (void)pthread_barrier_wait(&job_fixture.may_end);
    hc_workers_close(workers);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(again[i].left, 0);
        assert_true(again[i].was_its_turn);
    }
    job_fixture_teardown(&job_fixture);
}

/* Random tasks come, are withdrawn and end; what has run and what has not adds up. */
static void at_random_every_task_runs_once_or_is_withdrawn(void **state)
{
    enum { COUNT = 20000, SPAN = 64 };
    unsigned seed = (unsigned)time(NULL);
    struct counted *tasks = calloc(COUNT, sizeof *tasks);
    struct hc_error err;
    struct hc_workers *workers = hc_workers_open(7, 300, &err);
    atomic_uint ran = 0;
    unsigned submitted = 0, withdrawn = 0;

    (void)state;
    print_message("seed %u\n", seed);
    for (unsigned i = 0; i < COUNT; i++) {
        tasks[i] = (struct counted){.task = {.run = run_counted,
                                             .caller = (unsigned)rand_r(&seed) % 5,
                                             .repo = (unsigned)rand_r(&seed) % 9},
                                    .ran = &ran};
        submitted += hc_workers_submit(workers, &tasks[i].task, &err) == 0;
        if (i >= SPAN && rand_r(&seed) % 3 == 0)
            withdrawn +=
                hc_workers_withdraw(workers,
                                    &tasks[i - (unsigned)rand_r(&seed) % SPAN].task);
        if (i >= SPAN && rand_r(&seed) % 7 == 0)
            hc_workers_add_caller(workers,
                                  &tasks[i - (unsigned)rand_r(&seed) % SPAN].task,
                                  (unsigned)rand_r(&seed) % 5);
    }
    hc_workers_close(workers);
    assert_int_equal(atomic_load(&ran) + withdrawn, submitted);
    assert_true(withdrawn > 0);
    free(tasks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queued_tasks_run_before_the_workers_are_closed),
        cmocka_unit_test(a_full_queue_is_busy_and_says_when_to_try_again),
        cmocka_unit_test(workers_that_never_had_work_close_at_once),
        cmocka_unit_test(a_slow_repo_never_has_more_than_half_of_the_threads),
        cmocka_unit_test(a_slow_caller_never_has_more_than_three_quarters),
        cmocka_unit_test(fewer_threads_run_while_the_pool_is_divided),
        cmocka_unit_test(several_slow_repos_leave_threads_for_another),
        cmocka_unit_test(callers_take_turns_and_so_do_their_repos),
        cmocka_unit_test(a_caller_never_has_more_than_three_quarters_of_the_queue),
        cmocka_unit_test(a_withdrawn_task_does_not_run_and_frees_its_place),
        cmocka_unit_test(a_task_of_two_callers_waits_in_the_shorter_queue),
        cmocka_unit_test(tasks_that_run_again_take_turns),
        cmocka_unit_test(at_random_every_task_runs_once_or_is_withdrawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
