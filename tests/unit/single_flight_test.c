/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: of callers with one key, one at a time runs and the others wait; they
 * share its outcome unless it hands over; each may leave alone, in any state. A caller
 * reports that it is about to wait from within `decide`, with the lock: the thread that
 * gets the lock next finds it asleep.
 */
#include "test.h"

#include <base/auto.h>
#include <base/error.h>
#include <base/single_flight.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { CROWD = 200, TOO_MANY = -1 /* a key that no flight can be made for */ };

struct fixture {
    struct hc_single_flights flights;
    pthread_barrier_t joined; /* by `barrier_size` callers, 0: none waits for it */
    unsigned barrier_size;
    sem_t waits;   /* posted once by each caller that waits */
    sem_t runs;    /* posted by each runner */
    sem_t may_end; /* waited for by a runner with `is_held` */
    atomic_uint run_count;
    atomic_uint running;
    atomic_bool has_overlapped;
    atomic_uint created, destroyed;
};

/* What callers share. */
struct work {
    struct hc_single_flight flight;
    struct fixture *f;
    int key;
    unsigned outcome; /* which run it was */
    struct hc_error failure;
};

struct key {
    struct fixture *f;
    int number;
};

/* A caller on a thread of its own, and what became of it. */
struct caller {
    struct caller *self;
    struct key key;
    pthread_t thread;
    struct hc_cancellation *cancellation;
    bool is_held;           /* runs until `may_end` */
    unsigned hand_overs;    /* it hands over while there were fewer runs */
    enum hc_reason failure; /* of its run; HC_OK: none */
    int verdict;            /* of the rules; 0: it may wait or run */
    bool has_waited;
    int turn;
    unsigned outcome;
    struct hc_error err;
};

static bool work_has_key(const struct hc_single_flight *flight, const void *key)
{
    return ((const struct work *)flight)->key == ((const struct key *)key)->number;
}

static struct hc_single_flight *work_create(const void *ctx, struct hc_error *err)
{
    const struct key *key = ctx;
    struct work *work = key->number == TOO_MANY ? NULL : calloc(1, sizeof *work);

    if (!work) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    work->f = key->f;
    work->key = key->number;
    key->f->created++;
    return &work->flight;
}

static void work_destroy(struct hc_single_flight *flight)
{
    struct work *work = (struct work *)flight;

    work->f->destroyed++;
    free(work);
}

static int work_decide(const struct hc_single_flight *flight, const void *ctx,
                       struct hc_error *err)
{
    struct caller *caller = *(struct caller *const *)ctx;

    if (caller->verdict == -1)
        return hc_fail(err, HC_GATED_REPO, "not for this caller");
    if (caller->verdict == 0 && flight->has_runner && !caller->has_waited) {
        caller->has_waited = true;
        (void)sem_post(&caller->key.f->waits);
    }
    return caller->verdict;
}

static const struct hc_single_flight_rules rules = {.has_key = work_has_key,
                                                    .create = work_create,
                                                    .destroy = work_destroy,
                                                    .decide = work_decide};

static int flights_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    hc_single_flights_init(&f->flights, &rules);
    assert_int_equal(sem_init(&f->waits, 0, 0), 0);
    assert_int_equal(sem_init(&f->runs, 0, 0), 0);
    assert_int_equal(sem_init(&f->may_end, 0, 0), 0);
    *state = f;
    return 0;
}

static int flights_tear_down(void **state)
{
    struct fixture *f = *state;

    assert_true(LIST_EMPTY(&f->flights.shared.list));
    assert_int_equal(f->created, f->destroyed);
    assert_false(f->has_overlapped);
    hc_single_flights_clear(&f->flights);
    if (f->barrier_size > 0)
        (void)pthread_barrier_destroy(&f->joined);
    (void)sem_destroy(&f->waits);
    (void)sem_destroy(&f->runs);
    (void)sem_destroy(&f->may_end);
    free(f);
    return 0;
}

static void use_barrier(struct fixture *f, unsigned size)
{
    f->barrier_size = size;
    assert_int_equal(pthread_barrier_init(&f->joined, NULL, size), 0);
}

static void await_times(sem_t *semaphore, unsigned times)
{
    while (times-- > 0)
        (void)sem_wait(semaphore);
}

/* One run, whose outcome is its number. */
static void caller_run(struct caller *caller, struct work *work)
{
    struct fixture *f = caller->key.f;
    unsigned number = atomic_fetch_add(&f->run_count, 1) + 1;

    if (caller->key.number == 0 && atomic_fetch_add(&f->running, 1) > 0)
        atomic_store(&f->has_overlapped, true);
    (void)sem_post(&f->runs);
    if (caller->is_held)
        (void)sem_wait(&f->may_end);
    if (caller->key.number == 0)
        (void)atomic_fetch_sub(&f->running, 1);
    if (caller->failure != HC_OK)
        (void)hc_fail(&caller->err, caller->failure, "run %u failed", number);
    HC_LOCKED(&f->flights.shared.lock);

    work->outcome = number;
    work->failure = caller->err;
    if (number < caller->hand_overs || hc_cancellation_is_set(caller->cancellation))
        hc_single_flight_hand_over(&work->flight);
    else
        hc_single_flight_finish(&work->flight);
}

static void *caller_thread(void *ctx)
{
    struct caller *caller = ctx;
    struct fixture *f = caller->key.f;
    struct hc_single_flight *flight =
        hc_single_flight_join(&f->flights, &caller->key, &caller->err);
    struct work *work = (struct work *)flight;

    if (f->barrier_size > 0)
        (void)pthread_barrier_wait(&f->joined);
    caller->turn = hc_single_flight_wait(&f->flights, flight, &caller->self,
                                         caller->cancellation, &caller->err);
    if (caller->turn == HC_FLIGHT_RUN)
        caller_run(caller, work);
    if (caller->turn == HC_FLIGHT_FINISHED) {
        caller->outcome = work->outcome;
        caller->err = work->failure;
    }
    hc_single_flight_leave(&f->flights, flight);
    return NULL;
}

static void caller_start(struct fixture *f, struct caller *caller)
{
    caller->self = caller;
    caller->key.f = f;
    assert_int_equal(pthread_create(&caller->thread, NULL, caller_thread, caller), 0);
}

static void caller_join(struct caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
    hc_cancellation_free(caller->cancellation);
}

/* The first runs until `may_end`, the others wait for it. */
static void callers_start_behind_first(struct fixture *f, struct caller *callers,
                                       unsigned count)
{
    callers[0].is_held = true;
    caller_start(f, &callers[0]);
    (void)sem_wait(&f->runs);
    for (unsigned i = 1; i < count; i++)
        caller_start(f, &callers[i]);
    await_times(&f->waits, count - 1);
}

static void a_crowd_shares_one_run(void **state)
{
    static struct caller callers[CROWD];
    struct fixture *f = *state;
    unsigned runners = 0;

    callers_start_behind_first(f, callers, CROWD);
    assert_int_equal(f->created, 1);
    (void)sem_post(&f->may_end);
    for (int i = 0; i < CROWD; i++) {
        caller_join(&callers[i]);
        runners += callers[i].turn == HC_FLIGHT_RUN;
        if (i > 0)
            assert_int_equal(callers[i].outcome, 1);
    }
    assert_int_equal(runners, 1);
    assert_int_equal(f->run_count, 1);
}

/* All join before the first one runs, and nothing else orders them. */
static void a_crowd_runs_one_after_the_other_when_each_hands_over(void **state)
{
    static struct caller callers[CROWD];
    struct fixture *f = *state;

    use_barrier(f, CROWD);
    for (int i = 0; i < CROWD; i++) {
        callers[i].hand_overs = CROWD;
        caller_start(f, &callers[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        caller_join(&callers[i]);
        assert_int_equal(callers[i].turn, HC_FLIGHT_RUN);
    }
    assert_int_equal(f->run_count, CROWD);
    assert_int_equal(f->created, 1);
}

static void after_many_hand_overs_the_rest_share_the_outcome(void **state)
{
    static struct caller callers[CROWD];
    struct fixture *f = *state;
    unsigned runners = 0;

    use_barrier(f, CROWD);
    for (int i = 0; i < CROWD; i++) {
        callers[i].hand_overs = CROWD / 2;
        caller_start(f, &callers[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        caller_join(&callers[i]);
        runners += callers[i].turn == HC_FLIGHT_RUN;
        if (callers[i].turn == HC_FLIGHT_FINISHED)
            assert_int_equal(callers[i].outcome, CROWD / 2);
    }
    assert_int_equal(runners, CROWD / 2);
}

/* Three runners meet inside their runs. */
static void other_keys_do_not_wait(void **state)
{
    struct fixture *f = *state;
    struct caller callers[3] = {0};

    for (int i = 0; i < 3; i++) {
        callers[i].key.number = i + 1;
        callers[i].is_held = true;
        caller_start(f, &callers[i]);
    }
    await_times(&f->runs, 3);
    for (int i = 0; i < 3; i++)
        (void)sem_post(&f->may_end);
    for (int i = 0; i < 3; i++)
        caller_join(&callers[i]);
    assert_int_equal(f->created, 3);
}

static void a_failure_is_shared_when_the_runner_finishes(void **state)
{
    struct fixture *f = *state;
    struct caller callers[3] = {{.failure = HC_ENTRY_NOT_FOUND}};

    callers_start_behind_first(f, callers, 3);
    (void)sem_post(&f->may_end);
    for (int i = 0; i < 3; i++) {
        caller_join(&callers[i]);
        assert_int_equal(callers[i].err.reason, HC_ENTRY_NOT_FOUND);
    }
    assert_int_equal(f->run_count, 1);
}

static void a_failure_is_not_shared_when_the_runner_hands_over(void **state)
{
    struct fixture *f = *state;
    struct caller callers[3] = {{.failure = HC_HUB_UNAUTHORIZED, .hand_overs = 2}};

    callers_start_behind_first(f, callers, 3);
    (void)sem_post(&f->may_end);
    for (int i = 0; i < 3; i++)
        caller_join(&callers[i]);
    assert_int_equal(callers[0].err.reason, HC_HUB_UNAUTHORIZED);
    assert_int_equal(callers[1].err.reason, HC_OK);
    assert_int_equal(callers[2].err.reason, HC_OK);
    assert_int_equal(f->run_count, 2);
}

static void a_runner_that_is_cancelled_hands_over(void **state)
{
    struct fixture *f = *state;
    struct caller callers[2] = {
        {.cancellation = hc_cancellation_new(HC_NO_DEADLINE), .failure = HC_CANCELLED}};

    callers_start_behind_first(f, callers, 2);
    hc_cancellation_cancel(callers[0].cancellation);
    (void)sem_post(&f->may_end);
    caller_join(&callers[0]);
    caller_join(&callers[1]);
    assert_int_equal(callers[0].err.reason, HC_CANCELLED);
    assert_int_equal(callers[1].turn, HC_FLIGHT_RUN);
    assert_int_equal(callers[1].err.reason, HC_OK);
}

static void a_waiter_that_is_cancelled_leaves_alone(void **state)
{
    struct fixture *f = *state;
    struct caller callers[3] = {{0},
                                {.cancellation = hc_cancellation_new(HC_NO_DEADLINE)},
                                {0}};

    callers_start_behind_first(f, callers, 3);
    hc_cancellation_cancel(callers[1].cancellation);
    caller_join(&callers[1]);
    assert_int_equal(callers[1].turn, -1);
    assert_int_equal(callers[1].err.reason, HC_CANCELLED);
    (void)sem_post(&f->may_end);
    caller_join(&callers[0]);
    caller_join(&callers[2]);
    assert_int_equal(callers[2].outcome, 1);
}

static void a_deadline_ends_a_wait(void **state)
{
    struct fixture *f = *state;
    struct caller first = {.is_held = true};
    struct caller late = {.cancellation = hc_cancellation_new(hc_monotonic_ms() - 1)};

    caller_start(f, &first);
    (void)sem_wait(&f->runs);
    caller_start(f, &late);
    caller_join(&late);
    assert_int_equal(late.err.reason, HC_DEADLINE_EXCEEDED);
    (void)sem_post(&f->may_end);
    caller_join(&first);
}

/* The next caller finds no trace of them. */
static void when_all_callers_are_cancelled_the_flight_is_gone(void **state)
{
    static struct caller callers[CROWD];
    struct fixture *f = *state;
    struct caller later = {0};

    for (int i = 0; i < CROWD; i++)
        callers[i].cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    callers_start_behind_first(f, callers, CROWD);
    for (int i = 0; i < CROWD; i++)
        hc_cancellation_cancel(callers[i].cancellation);
    for (int i = 1; i < CROWD; i++) {
        caller_join(&callers[i]);
        assert_int_equal(callers[i].err.reason, HC_CANCELLED);
    }
    assert_int_equal(f->destroyed, 0);
    (void)sem_post(&f->may_end);
    caller_join(&callers[0]);
    assert_int_equal(f->destroyed, 1);
    caller_start(f, &later);
    caller_join(&later);
    assert_int_equal(later.turn, HC_FLIGHT_RUN);
    assert_int_equal(f->created, 2);
}

static void the_rules_end_a_wait_at_once(void **state)
{
    struct fixture *f = *state;
    struct caller first = {.is_held = true};
    struct caller proves = {.verdict = HC_FLIGHT_FIRST_OWN}, fails = {.verdict = -1};

    caller_start(f, &first);
    (void)sem_wait(&f->runs);
    caller_start(f, &proves);
    caller_start(f, &fails);
    caller_join(&proves);
    caller_join(&fails);
    assert_int_equal(proves.turn, HC_FLIGHT_FIRST_OWN);
    assert_int_equal(fails.turn, -1);
    assert_int_equal(fails.err.reason, HC_GATED_REPO);
    (void)sem_post(&f->may_end);
    caller_join(&first);
}

/* As for a caller that has other things to do between join and wait. */
static void a_caller_that_waits_after_a_hand_over_runs(void **state)
{
    struct fixture *f = *state;
    struct caller first = {.hand_overs = 2, .is_held = true}, second = {.key = {.f = f}};
    struct hc_single_flight *flight;

    second.self = &second;
    caller_start(f, &first);
    (void)sem_wait(&f->runs);
    flight = hc_single_flight_join(&f->flights, &second.key, &second.err);
    (void)sem_post(&f->may_end);
    caller_join(&first);
    assert_int_equal(hc_single_flight_wait(&f->flights, flight, &second.self, NULL,
                                           &second.err),
                     HC_FLIGHT_RUN);
    assert_int_equal(f->created, 1);
    {
        HC_LOCKED(&f->flights.shared.lock);

        hc_single_flight_finish(flight);
    }
    hc_single_flight_leave(&f->flights, flight);
}

static void a_finished_flight_is_not_joined_again(void **state)
{
    struct fixture *f = *state;
    const struct key key = {.f = f};
    struct hc_error err;
    struct hc_single_flight *old = hc_single_flight_join(&f->flights, &key, &err);
    struct caller second = {0};

    {
        HC_LOCKED(&f->flights.shared.lock);

        hc_single_flight_finish(old);
    }
    caller_start(f, &second);
    caller_join(&second);
    assert_int_equal(second.turn, HC_FLIGHT_RUN);
    assert_int_equal(f->created, 2);
    hc_single_flight_leave(&f->flights, old);
}

static void a_flight_that_cannot_be_made_is_a_failure(void **state)
{
    struct fixture *f = *state;
    const struct key key = {.f = f, .number = TOO_MANY};
    struct hc_error err;

    assert_null(hc_single_flight_join(&f->flights, &key, &err));
    assert_int_equal(err.reason, HC_INTERNAL);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, flights_set_up, flights_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_crowd_shares_one_run),
        TEST(a_crowd_runs_one_after_the_other_when_each_hands_over),
        TEST(after_many_hand_overs_the_rest_share_the_outcome),
        TEST(other_keys_do_not_wait),
        TEST(a_failure_is_shared_when_the_runner_finishes),
        TEST(a_failure_is_not_shared_when_the_runner_hands_over),
        TEST(a_runner_that_is_cancelled_hands_over),
        TEST(a_waiter_that_is_cancelled_leaves_alone),
        TEST(a_deadline_ends_a_wait),
        TEST(when_all_callers_are_cancelled_the_flight_is_gone),
        TEST(the_rules_end_a_wait_at_once),
        TEST(a_caller_that_waits_after_a_hand_over_runs),
        TEST(a_finished_flight_is_not_joined_again),
        TEST(a_flight_that_cannot_be_made_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
