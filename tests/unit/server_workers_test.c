/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: threads are started only when there is work for them, never more than
 * allowed; what is queued runs; what does not fit is BUSY at once.
 */
#include <base/auto.h>

#include <hubcache/error.h>
#include <pthread.h>
#include <server/workers.h>
#include <stdatomic.h>
#include <test.h>

/* A task that says it has begun and waits for leave to end. */
struct job {
    struct hc_task task;
    pthread_barrier_t *begun, *may_end;
};

static void run_job(struct hc_task *task)
{
    struct job *job = (struct job *)task;

    (void)pthread_barrier_wait(job->begun);
    (void)pthread_barrier_wait(job->may_end);
}

struct fixture {
    pthread_barrier_t begun, may_end;
    struct job job;
};

/* Both barriers are for the job and the test. */
static void prepare(struct fixture *fixture)
{
    (void)pthread_barrier_init(&fixture->begun, NULL, 2);
    (void)pthread_barrier_init(&fixture->may_end, NULL, 2);
    fixture->job.task.run = run_job;
    fixture->job.begun = &fixture->begun;
    fixture->job.may_end = &fixture->may_end;
}

static void clear(struct fixture *fixture)
{
    (void)pthread_barrier_destroy(&fixture->begun);
    (void)pthread_barrier_destroy(&fixture->may_end);
}

struct counted {
    struct hc_task task;
    atomic_uint *ran;
};

static void run_counted(struct hc_task *task)
{
    atomic_fetch_add(((struct counted *)task)->ran, 1);
}

static void what_is_queued_has_run_when_the_workers_are_closed(void **state)
{
    enum { COUNT = 100 };
    struct counted tasks[COUNT];
    atomic_uint ran = 0;
    struct hc_error err;
    struct hc_workers *workers = hc_workers_open(4, COUNT, &err);

    (void)state;
    assert_non_null(workers);
    for (size_t i = 0; i < COUNT; i++) {
        tasks[i] = (struct counted){.task.run = run_counted, .ran = &ran};
        assert_int_equal(hc_workers_submit(workers, &tasks[i].task, &err), 0);
    }
    hc_workers_close(workers);

    assert_int_equal(atomic_load(&ran), COUNT);
}

static void a_full_queue_is_busy_and_says_when_to_try_again(void **state)
{
    struct fixture fixture;
    struct hc_error err;
    struct hc_workers *workers = hc_workers_open(1, 1, &err);
    atomic_uint ran = 0;
    struct counted queued = {.task.run = run_counted, .ran = &ran};
    struct counted refused = queued;
    unsigned running, waiting;

    (void)state;
    prepare(&fixture);
    assert_int_equal(hc_workers_submit(workers, &fixture.job.task, &err), 0);
    (void)pthread_barrier_wait(&fixture.begun);
    assert_int_equal(hc_workers_submit(workers, &queued.task, &err), 0);
    assert_int_equal(hc_workers_submit(workers, &refused.task, &err), -1);
    hc_workers_count(workers, &running, &waiting);
    (void)pthread_barrier_wait(&fixture.may_end);
    hc_workers_close(workers);

    assert_int_equal(err.reason, HC_BUSY);
    assert_true(err.retry_after_ms > 0);
    assert_int_equal(running, 1);
    assert_int_equal(waiting, 1);
    assert_int_equal(atomic_load(&ran), 1);
    clear(&fixture);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_queued_has_run_when_the_workers_are_closed),
        cmocka_unit_test(a_full_queue_is_busy_and_says_when_to_try_again),
        cmocka_unit_test(workers_that_never_had_work_close_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
