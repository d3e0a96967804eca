/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: one caller asks and the others share its answer, as far as that is not of
 * its own making. A semaphore holds the caller that asks until the others wait.
 */
#include "test.h"

#include "single_flight_helper.h"

#include <base/error.h>
#include <hub/endpoint.h>
#include <hub/shared_query.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

struct fixture {
    struct hc_single_flights queries;
    sem_t is_asked; /* posted by each caller that asks */
    sem_t may_answer;
    atomic_int asked;
    struct hc_error failure; /* of the first that asks; reason HC_OK: none */
};

struct caller {
    struct fixture *f;
    struct hc_hub_credentials credentials;
    pthread_t thread;
    int answer;
    int result;
    struct hc_error err;
};

static int query_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    hc_shared_queries_init(&f->queries);
    assert_int_equal(sem_init(&f->is_asked, 0, 0), 0);
    assert_int_equal(sem_init(&f->may_answer, 0, 0), 0);
    *state = f;
    return 0;
}

static int query_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_single_flights_clear(&f->queries);
    (void)sem_destroy(&f->is_asked);
    (void)sem_destroy(&f->may_answer);
    free(f);
    return 0;
}

/* The answer is the number of the run. */
static int query_run(void *ctx, void *answer, struct hc_error *err)
{
    struct fixture *f = ctx;
    int time = atomic_fetch_add(&f->asked, 1) + 1;

    (void)sem_post(&f->is_asked);
    (void)sem_wait(&f->may_answer);
    *(int *)answer = time;
    if (time > 1 || f->failure.reason == HC_OK)
        return 0;
    *err = f->failure;
    return -1;
}

static void *query_thread(void *ctx)
{
    struct caller *caller = ctx;
    const struct hc_shared_query query = {.name = "name",
                                          .credentials = &caller->credentials,
                                          .answer_size = sizeof caller->answer,
                                          .run = query_run,
                                          .ctx = caller->f};

    caller->result =
        hc_shared_query_run(&caller->f->queries, &query, &caller->answer, &caller->err);
    return NULL;
}

static void query_start(struct fixture *f, struct caller *caller)
{
    caller->f = f;
    assert_int_equal(pthread_create(&caller->thread, NULL, query_thread, caller), 0);
}

static void query_finish(struct caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
    hc_cancellation_free(caller->credentials.cancellation);
}

/* The first asks, the second waits. */
static void query_start_two(struct fixture *f, struct caller callers[2])
{
    query_start(f, &callers[0]);
    (void)sem_wait(&f->is_asked);
    query_start(f, &callers[1]);
    single_flights_await_callers(&f->queries, 2);
}

static void an_answer_is_shared(void **state)
{
    struct fixture *f = *state;
    struct caller callers[2] = {0};

    query_start_two(f, callers);
    (void)sem_post(&f->may_answer);
    for (int i = 0; i < 2; i++) {
        query_finish(&callers[i]);
        assert_int_equal(callers[i].result, 0);
        assert_int_equal(callers[i].answer, 1);
    }
    assert_int_equal(single_flights_callers(&f->queries), 0);
}

static void a_failure_is_shared_with_what_was_answered(void **state)
{
    struct fixture *f = *state;
    struct caller callers[2] = {0};

    (void)hc_fail(&f->failure, HC_ENTRY_NOT_FOUND, "no such file");
    query_start_two(f, callers);
    (void)sem_post(&f->may_answer);
    for (int i = 0; i < 2; i++) {
        query_finish(&callers[i]);
        assert_int_equal(callers[i].result, -1);
        assert_int_equal(callers[i].err.reason, HC_ENTRY_NOT_FOUND);
        assert_int_equal(callers[i].answer, 1);
    }
}

static void a_caller_that_comes_later_asks_again(void **state)
{
    struct fixture *f = *state;

    for (int i = 1; i <= 2; i++) {
        struct caller caller = {0};

        (void)sem_post(&f->may_answer);
        query_start(f, &caller);
        query_finish(&caller);
        assert_int_equal(caller.answer, i);
    }
}

static void other_credentials_are_other_queries(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_endpoint) *other = hc_endpoint_new("http://other.example", 0, &f->failure);
    struct caller callers[6] = {{.credentials = {.token = ""}},
                                {.credentials = {.token = "hf_one"}},
                                {.credentials = {.token = "hf_two"}},
                                {.credentials = {.no_retry = true}},
                                {.credentials = {.hub_only = true}},
                                {.credentials = {.endpoint = other}}};

    assert_non_null(other);
    for (int i = 0; i < 6; i++) {
        query_start(f, &callers[i]);
        (void)sem_wait(&f->is_asked);
    }
    for (int i = 0; i < 6; i++)
        (void)sem_post(&f->may_answer);
    for (int i = 0; i < 6; i++)
        query_finish(&callers[i]);
    assert_int_equal(f->asked, 6);
}

static void when_the_caller_that_asks_leaves_the_next_one_asks(void **state)
{
    struct fixture *f = *state;
    struct caller callers[2] = {0};

    (void)hc_fail(&f->failure, HC_CANCELLED, "gone");
    query_start_two(f, callers);
    (void)sem_post(&f->may_answer);
    (void)sem_post(&f->may_answer);
    query_finish(&callers[0]);
    query_finish(&callers[1]);
    assert_int_equal(callers[0].err.reason, HC_CANCELLED);
    assert_int_equal(callers[1].result, 0);
    assert_int_equal(callers[1].answer, 2);
}

static void a_waiter_may_leave_alone(void **state)
{
    struct fixture *f = *state;
    struct caller callers[2] = {
        {0}, {.credentials = {.cancellation = hc_cancellation_new(HC_NO_DEADLINE)}}};

    query_start_two(f, callers);
    hc_cancellation_cancel(callers[1].credentials.cancellation);
    query_finish(&callers[1]);
    assert_int_equal(callers[1].err.reason, HC_CANCELLED);
    (void)sem_post(&f->may_answer);
    query_finish(&callers[0]);
    assert_int_equal(callers[0].result, 0);
}

/* The first of three asks, and then another one, for the failure is the first one's
 * own. */
static void query_let_three_run(struct fixture *f, struct caller callers[3])
{
    query_start_two(f, callers);
    query_start(f, &callers[2]);
    single_flights_await_callers(&f->queries, 3);
    (void)sem_post(&f->may_answer);
    (void)sem_post(&f->may_answer);
    for (int i = 0; i < 3; i++)
        query_finish(&callers[i]);
}

/* The first cannot wait for as long as the Hub says; the others can. */
static void a_near_deadline_speaks_for_itself_only(void **state)
{
    struct fixture *f = *state;
    int64_t soon = hc_monotonic_ms() + 10000;
    int64_t late = hc_monotonic_ms() + 600000;
    struct caller callers[3] = {
        {.credentials = {.cancellation = hc_cancellation_new(soon)}},
        {.credentials = {.cancellation = hc_cancellation_new(soon)}},
        {.credentials = {.cancellation = hc_cancellation_new(late)}}};

    (void)hc_fail(&f->failure, HC_HUB_RATE_LIMITED, "later");
    f->failure.retry_after_ms = 60000;
    query_let_three_run(f, callers);
    assert_int_equal(callers[0].err.reason, HC_HUB_RATE_LIMITED);
    assert_int_equal(callers[2].result, 0);
    assert_int_equal(callers[2].answer, 2);
}

/* A caller without a deadline waits half a minute at most. */
static void a_caller_without_a_deadline_speaks_for_itself_only(void **state)
{
    struct fixture *f = *state;
    int64_t late = hc_monotonic_ms() + 600000;
    struct caller callers[3] = {
        {0}, {.credentials = {.cancellation = hc_cancellation_new(late)}}, {0}};

    (void)hc_fail(&f->failure, HC_HUB_UNREACHABLE, "later");
    f->failure.retry_after_ms = 60000;
    query_let_three_run(f, callers);
    assert_int_equal(callers[0].err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(callers[1].result, 0);
    assert_int_equal(callers[1].answer, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, query_set_up, query_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_is_shared),
        TEST(a_failure_is_shared_with_what_was_answered),
        TEST(a_caller_that_comes_later_asks_again),
        TEST(other_credentials_are_other_queries),
        TEST(when_the_caller_that_asks_leaves_the_next_one_asks),
        TEST(a_waiter_may_leave_alone),
        TEST(a_near_deadline_speaks_for_itself_only),
        TEST(a_caller_without_a_deadline_speaks_for_itself_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
