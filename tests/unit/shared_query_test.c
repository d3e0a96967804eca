/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: one asks and the others share what it heard, as far as it concerns them.
 * The one who asks is held in mid-question by a semaphore until the others wait.
 */
#include "test.h"

#include <base/error.h>
#include <hub/shared_query.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct fixture {
    struct hc_shared_queries *questions;
    sem_t is_asked; /* posted by whoever asks */
    sem_t may_answer;
    atomic_int asked;
    struct hc_error failure; /* of the first who asks; reason HC_OK: none */
};

struct asker {
    struct fixture *f;
    struct hc_hub_credentials credentials;
    pthread_t thread;
    int answer;
    int result;
    struct hc_error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct hc_error err;

    assert_non_null(f);
    f->questions = hc_shared_queries_new(&err);
    assert_non_null(f->questions);
    assert_int_equal(sem_init(&f->is_asked, 0, 0), 0);
    assert_int_equal(sem_init(&f->may_answer, 0, 0), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    hc_shared_queries_free(f->questions);
    (void)sem_destroy(&f->is_asked);
    (void)sem_destroy(&f->may_answer);
    free(f);
    return 0;
}

/* The answer is which time it was asked. */
static int ask(void *ctx, void *answer, struct hc_error *err)
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

static void *run(void *ctx)
{
    struct asker *asker = ctx;
    const struct hc_shared_query question = {.name = "name",
                                             .credentials = &asker->credentials,
                                             .answer_size = sizeof asker->answer,
                                             .ask = ask,
                                             .ctx = asker->f};

    asker->result = hc_shared_queries_run(asker->f->questions, &question, &asker->answer,
                                          &asker->err);
    return NULL;
}

static void start(struct fixture *f, struct asker *asker)
{
    asker->f = f;
    assert_int_equal(pthread_create(&asker->thread, NULL, run, asker), 0);
}

static void finish(struct asker *asker)
{
    assert_int_equal(pthread_join(asker->thread, NULL), 0);
    hc_cancellation_free(asker->credentials.call);
}

static void await_callers(struct fixture *f, unsigned count)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    while (hc_shared_queries_waiters(f->questions) != count)
        (void)nanosleep(&moment, NULL);
}

/* The first asks, the second waits. */
static void start_two(struct fixture *f, struct asker askers[2])
{
    start(f, &askers[0]);
    (void)sem_wait(&f->is_asked);
    start(f, &askers[1]);
    await_callers(f, 2);
}

static void an_answer_is_shared(void **state)
{
    struct fixture *f = *state;
    struct asker askers[2] = {0};

    start_two(f, askers);
    (void)sem_post(&f->may_answer);
    for (int i = 0; i < 2; i++) {
        finish(&askers[i]);
        assert_int_equal(askers[i].result, 0);
        assert_int_equal(askers[i].answer, 1);
    }
    assert_int_equal(hc_shared_queries_waiters(f->questions), 0);
}

static void a_failure_is_shared_with_what_was_answered(void **state)
{
    struct fixture *f = *state;
    struct asker askers[2] = {0};

    (void)hc_fail(&f->failure, HC_ENTRY_NOT_FOUND, "no such file");
    start_two(f, askers);
    (void)sem_post(&f->may_answer);
    for (int i = 0; i < 2; i++) {
        finish(&askers[i]);
        assert_int_equal(askers[i].result, -1);
        assert_int_equal(askers[i].err.reason, HC_ENTRY_NOT_FOUND);
        assert_int_equal(askers[i].answer, 1);
    }
}

static void who_comes_later_asks_again(void **state)
{
    struct fixture *f = *state;

    for (int i = 1; i <= 2; i++) {
        struct asker asker = {0};

        (void)sem_post(&f->may_answer);
        start(f, &asker);
        finish(&asker);
        assert_int_equal(asker.answer, i);
    }
}

static void other_tokens_patience_or_endpoints_are_other_questions(void **state)
{
    struct fixture *f = *state;
    struct asker askers[5] = {{.credentials = {.token = ""}},
                              {.credentials = {.token = "hf_one"}},
                              {.credentials = {.token = "hf_two"}},
                              {.credentials = {.no_retry = true}},
                              {.credentials = {.hub_only = true}}};

    for (int i = 0; i < 5; i++) {
        start(f, &askers[i]);
        (void)sem_wait(&f->is_asked);
    }
    for (int i = 0; i < 5; i++)
        (void)sem_post(&f->may_answer);
    for (int i = 0; i < 5; i++)
        finish(&askers[i]);
    assert_int_equal(f->asked, 5);
}

static void when_the_asker_leaves_the_next_one_asks(void **state)
{
    struct fixture *f = *state;
    struct asker askers[2] = {0};

    (void)hc_fail(&f->failure, HC_CANCELLED, "gone");
    start_two(f, askers);
    (void)sem_post(&f->may_answer);
    (void)sem_post(&f->may_answer);
    finish(&askers[0]);
    finish(&askers[1]);
    assert_int_equal(askers[0].err.reason, HC_CANCELLED);
    assert_int_equal(askers[1].result, 0);
    assert_int_equal(askers[1].answer, 2);
}

static void who_waits_may_leave_alone(void **state)
{
    struct fixture *f = *state;
    struct asker askers[2] = {{0},
                              {.credentials = {.call =
                                                   hc_cancellation_new(HC_NO_DEADLINE)}}};

    start_two(f, askers);
    hc_cancellation_cancel(askers[1].credentials.call);
    finish(&askers[1]);
    assert_int_equal(askers[1].err.reason, HC_CANCELLED);
    (void)sem_post(&f->may_answer);
    finish(&askers[0]);
    assert_int_equal(askers[0].result, 0);
}

/* The first of three, and then whoever asks because that was no answer for all. */
static void let_three_ask(struct fixture *f, struct asker askers[3])
{
    start_two(f, askers);
    start(f, &askers[2]);
    await_callers(f, 3);
    (void)sem_post(&f->may_answer);
    (void)sem_post(&f->may_answer);
    for (int i = 0; i < 3; i++)
        finish(&askers[i]);
}

/* The first could not wait for the Hub to come back; those who can, do. */
static void a_near_deadline_speaks_for_itself_only(void **state)
{
    struct fixture *f = *state;
    int64_t soon = hc_monotonic_ms() + 10000;
    int64_t late = hc_monotonic_ms() + 600000;
    struct asker askers[3] = {{.credentials = {.call = hc_cancellation_new(soon)}},
                              {.credentials = {.call = hc_cancellation_new(soon)}},
                              {.credentials = {.call = hc_cancellation_new(late)}}};

    (void)hc_fail(&f->failure, HC_HUB_RATE_LIMITED, "later");
    f->failure.retry_after_ms = 60000;
    let_three_ask(f, askers);
    assert_int_equal(askers[0].err.reason, HC_HUB_RATE_LIMITED);
    assert_int_equal(askers[2].result, 0);
    assert_int_equal(askers[2].answer, 2);
}

/* Half a minute is all that who has no deadline waits. */
static void who_has_no_deadline_speaks_for_itself_only(void **state)
{
    struct fixture *f = *state;
    int64_t late = hc_monotonic_ms() + 600000;
    struct asker askers[3] = {{0},
                              {.credentials = {.call = hc_cancellation_new(late)}},
                              {0}};

    (void)hc_fail(&f->failure, HC_HUB_UNREACHABLE, "later");
    f->failure.retry_after_ms = 60000;
    let_three_ask(f, askers);
    assert_int_equal(askers[0].err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(askers[1].result, 0);
    assert_int_equal(askers[1].answer, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_is_shared),
        TEST(a_failure_is_shared_with_what_was_answered),
        TEST(who_comes_later_asks_again),
        TEST(other_tokens_patience_or_endpoints_are_other_questions),
        TEST(when_the_asker_leaves_the_next_one_asks),
        TEST(who_waits_may_leave_alone),
        TEST(a_near_deadline_speaks_for_itself_only),
        TEST(who_has_no_deadline_speaks_for_itself_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
