/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: calls with equal keys share one coalesced request and its answer, others
 * do not; it has the latest deadline of its waiters, and is cancelled when the last one
 * leaves; a waiter that left gets no answer, and one that waits gets it once.
 */
#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>
#include <server/caller.h>
#include <server/coalescer.h>

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <test.h>

enum { CROWD = 10000, QUEUE = 2, DISK_QUEUE = 100, LEAVERS = 4200 };

/*
 * The work of all coalesced requests of a test: it reports its begin, and waits to end.
 */
struct work {
    struct hc_coalescer_work functions;
    sem_t begun, may_end, may_look;
    atomic_uint runs, looks, looks_block;
    bool until_cancelled; /* instead of may_end */
    enum hc_reason ended;
};

struct fixture {
    struct work work;
    struct hc_workers *disk, *workers;
    struct hc_coalescer *coalescer;
};

struct waiter {
    struct hc_waiter base;
    uint64_t caller;
    struct hc_caller *identity; /* Optional */
    atomic_uint done, progress, held;
    enum hc_reason reason;
    bool has_retry; /* RetryInfo among the details */
    char bytes[8];
};

static void on_done(struct hc_waiter *base, struct hc_answer *answer)
{
    struct waiter *waiter = (struct waiter *)base;

    waiter->reason = answer->reason;
    waiter->has_retry = answer->size > 0 && memmem(answer->bytes, answer->size,
                                                   "google.rpc.RetryInfo", 20) != NULL;
    memcpy(waiter->bytes, answer->bytes, answer->size < 8 ? answer->size : 8);
    atomic_fetch_add(&waiter->done, 1);
}

static void on_progress(struct hc_waiter *base, struct hc_answer *answer)
{
    (void)answer;
    atomic_fetch_add(&((struct waiter *)base)->progress, 1);
}

static void on_hold(struct hc_waiter *base)
{
    atomic_fetch_add(&((struct waiter *)base)->held, 1);
}

static void on_release(struct hc_waiter *base)
{
    atomic_fetch_sub(&((struct waiter *)base)->held, 1);
}

static const struct hc_waiter_type waiter_type = {on_done, on_progress, on_hold,
                                                  on_release};

static struct hc_answer *work_failure(struct work *work, struct hc_cancellation *call)
{
    struct hc_error err;

    while (hc_cancellation_sleep(call, 10, &err) == 0)
        continue;
    work->ended = err.reason;
    return hc_answer_of_error(&err, NULL, NULL);
}

static struct hc_answer *work_run(void *ctx, const struct hc_request_key *key,
                                  struct hc_cancellation *call,
                                  struct hc_coalesced_request *request)
{
    struct work *work = ctx;
    struct hc_answer *answer =
        hc_answer_new_failure(0, HC_OK, "", NULL); /* an empty message */

    (void)key;
    atomic_fetch_add(&work->runs, 1);
    (void)sem_post(&work->begun);
    if (work->until_cancelled) {
        hc_answer_release(answer);
        return work_failure(work, call);
    }
    if (hc_coalesced_request_is_watched(request))
        hc_coalesced_request_send_progress(request, answer);
    (void)sem_wait(&work->may_end);
    return answer;
}

static int work_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct hc_error err;

    assert_non_null(fixture);
    fixture->work.functions =
        (struct hc_coalescer_work){.run = work_run, .ctx = &fixture->work};
    (void)sem_init(&fixture->work.begun, 0, 0);
    (void)sem_init(&fixture->work.may_end, 0, 0);
    (void)sem_init(&fixture->work.may_look, 0, 0);
    fixture->disk = hc_workers_open(1, DISK_QUEUE, &err);
    fixture->workers = hc_workers_open(2, QUEUE, &err);
    fixture->coalescer = hc_coalescer_open(fixture->disk, fixture->workers,
                                           &fixture->work.functions, &err);
    *state = fixture;
    return fixture->disk && fixture->workers && fixture->coalescer ? 0 : -1;
}

static int work_teardown(void **state)
{
    struct fixture *fixture = *state;

    hc_coalescer_close(fixture->coalescer);
    hc_workers_close(fixture->disk);
    hc_workers_close(fixture->workers);
    (void)sem_destroy(&fixture->work.begun);
    (void)sem_destroy(&fixture->work.may_end);
    (void)sem_destroy(&fixture->work.may_look);
    free(fixture);
    return 0;
}

static void waiter_join(struct fixture *fixture, struct waiter *waiter,
                        const char *request, const char *token)
{
    const struct hc_request_key key = {.token = token,
                                       .identity = waiter->identity,
                                       .request = (const uint8_t *)request,
                                       .size = strlen(request),
                                       .caller = waiter->caller,
                                       .repo = hc_hash_bytes(HC_HASH_START, request,
                                                             strlen(request))};

    waiter->base.type = &waiter_type;
    waiter->base.caller = waiter->caller;
    if (waiter->base.deadline_ms == 0)
        waiter->base.deadline_ms = HC_NO_DEADLINE;
    hc_coalescer_join(fixture->coalescer, &key, &waiter->base);
}

static void work_await_begun(struct fixture *fixture)
{
    (void)sem_wait(&fixture->work.begun);
}

static void work_let_end(struct fixture *fixture)
{
    (void)sem_post(&fixture->work.may_end);
}

/* Afterwards no waiter gets an answer or progress. */
static void work_close(struct fixture *fixture)
{
    struct hc_error err;

    hc_coalescer_close(fixture->coalescer);
    hc_workers_close(fixture->disk);
    hc_workers_close(fixture->workers);
    fixture->disk = hc_workers_open(1, 0, &err);
    fixture->workers = hc_workers_open(1, 0, &err);
    fixture->coalescer = hc_coalescer_open(fixture->disk, fixture->workers,
                                           &fixture->work.functions, &err);
}

static unsigned work_running(struct hc_workers *workers)
{
    unsigned work_running, queued;

    hc_workers_count(workers, &work_running, &queued);
    return work_running;
}

static void ten_thousand_equal_calls_share_one_coalesced_request(void **state)
{
    struct fixture *fixture = *state;
    struct waiter *crowd = calloc(CROWD, sizeof *crowd);
    unsigned unfinished, waiting;

    assert_non_null(crowd);
    for (size_t i = 0; i < CROWD; i++)
        waiter_join(fixture, &crowd[i], "a", "");
    hc_coalescer_count(fixture->coalescer, &unfinished, &waiting);
    work_await_begun(fixture);
    work_let_end(fixture);
    work_close(fixture);

    assert_int_equal(unfinished, 1);
    assert_int_equal(waiting, CROWD);
    assert_int_equal(atomic_load(&fixture->work.runs), 1);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(atomic_load(&crowd[i].done), 1);
    free(crowd);
}

static void another_request_or_another_token_is_another_coalesced_request(void **state)
{
    struct fixture *fixture = *state;
    struct waiter one = {.done = 0}, other = {.done = 0}, third = {.done = 0};

    waiter_join(fixture, &one, "a", "");
    waiter_join(fixture, &other, "a", "token");
    waiter_join(fixture, &third, "b", "");
    for (unsigned i = 0; i < 2; i++) /* two of them, one of each repo */
        work_await_begun(fixture);
    for (unsigned i = 0; i < 3; i++)
        work_let_end(fixture);
    work_close(fixture);

    assert_int_equal(atomic_load(&fixture->work.runs), 3);
    assert_int_equal(one.reason, HC_OK);
    assert_int_equal(other.reason, HC_OK);
    assert_int_equal(third.reason, HC_OK);
    assert_int_equal(atomic_load(&third.done), 1);
}

/* Of the same name, but proved in another way, or with other groups. */
static void another_identity_is_another_coalesced_request(void **state)
{
    static const char *const groups[] = {"ops", "dev"};
    struct fixture *fixture = *state;
    struct waiter waiters[4] = {{.done = 0}};
    struct hc_error err;

    waiters[0].identity = hc_caller_new(HC_CALLER_TOKEN, "a", groups, 1, &err);
    waiters[1].identity = hc_caller_new(HC_CALLER_TOKEN, "a", groups + 1, 1, &err);
    waiters[2].identity = hc_caller_new(HC_CALLER_JWT, "a", groups, 1, &err);
    waiters[3].identity = hc_caller_new(HC_CALLER_TOKEN, "a", groups, 1, &err);
    for (size_t i = 0; i < 4; i++) {
        waiter_join(fixture, &waiters[i], "a", "");
        hc_caller_release(waiters[i].identity);
    }
    for (unsigned i = 0; i < 3; i++)
        work_let_end(fixture);
    work_close(fixture);

    assert_int_equal(atomic_load(&fixture->work.runs),
                     3); /* the first and the last: one */
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(atomic_load(&waiters[i].done), 1);
}

static void a_request_beyond_the_queue_is_busy(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiters[6] = {{.done = 0}};
    static const char *const requests[] = {"a", "b", "c", "d", "e"};

    for (size_t i = 0; i < 5; i++) { /* each of another caller: two run, two wait */
        waiters[i].caller = i;
        waiter_join(fixture, &waiters[i], requests[i], "");
    }
    assert_int_equal(waiters[4].reason, HC_BUSY);
    assert_int_equal(atomic_load(&waiters[4].done), 1);
    for (unsigned i = 0; i < 4; i++)
        work_let_end(fixture);
    work_close(fixture);
    assert_int_equal(atomic_load(&fixture->work.runs), 4);
}

/* --- bounds ---------------------------------------------------------------------------
 */

enum { SHARE = HC_WAITING_MAX / 4 * 3 }; /* of one caller, while no other waits */

static void join_all(struct fixture *fixture, struct waiter *crowd, size_t count,
                     uint64_t caller)
{
    for (size_t i = 0; i < count; i++) {
        crowd[i].caller = caller;
        waiter_join(fixture, &crowd[i], "a", "");
    }
}

static void one_caller_leaves_room_for_the_calls_of_others(void **state)
{
    struct fixture *fixture = *state;
    struct waiter *crowd = calloc(SHARE, sizeof *crowd);
    struct waiter beyond = {.caller = 1}, again = {.caller = 1}, other = {.caller = 2};

    assert_non_null(crowd);
    join_all(fixture, crowd, SHARE, 1);
    assert_int_equal(atomic_load(&crowd[SHARE - 1].done), 0);
    waiter_join(fixture, &beyond, "a", "");
    assert_int_equal(beyond.reason, HC_BUSY);
    assert_true(beyond.has_retry);
    waiter_join(fixture, &other, "a", "");
    assert_int_equal(atomic_load(&other.done), 0);
    for (size_t i = 0; i < 4; i++) /* the other's call cost three places of the share */
        assert_true(hc_coalescer_leave(fixture->coalescer, &crowd[i].base));
    waiter_join(fixture, &again, "a", "");
    assert_int_equal(atomic_load(&again.done), 0);
    work_let_end(fixture);
    work_close(fixture);

    assert_int_equal(atomic_load(&beyond.done), 1);
    assert_int_equal(other.reason, HC_OK);
    assert_int_equal(again.reason, HC_OK);
    free(crowd);
}

/* A text of `size` bytes that no other call asks for, which the caller frees. */
static char *large_request(size_t size, char letter)
{
    char *text = malloc(size + 1);

    assert_non_null(text);
    memset(text, letter, size);
    text[size] = '\0';
    return text;
}

static void large_requests_are_busy_before_small_ones_are(void **state)
{
    struct fixture *fixture = *state;
    HC_AUTO_FREE char *half = large_request(HC_WAITING_BYTES_MAX / 2, 'h');
    HC_AUTO_FREE char *more = large_request(HC_WAITING_BYTES_MAX / 4 + 1, 'm');
    HC_AUTO_FREE char *beyond = large_request(HC_WAITING_BYTES_MAX / 2 + 1, 'b');
    struct waiter waiters[6] = {{.caller = 1}, {.caller = 2}, {.caller = 3},
                                {.caller = 4}, {.caller = 5}, {.caller = 6}};

    waiter_join(fixture, &waiters[0], beyond, "");
    waiter_join(fixture, &waiters[1], half, "");
    waiter_join(fixture, &waiters[2], more, "");
    waiter_join(fixture, &waiters[3], half, ""); /* joins the other call for it */
    waiter_join(fixture, &waiters[4], "small", "");
    assert_int_equal(waiters[0].reason, HC_BUSY);
    assert_int_equal(waiters[2].reason, HC_BUSY);
    assert_true(waiters[2].has_retry);
    for (unsigned i = 0; i < 2; i++)
        work_let_end(fixture);
    while (atomic_load(&waiters[1].done) == 0)
        (void)sched_yield();
    waiter_join(fixture, &waiters[5], more, "");
    work_let_end(fixture);
    work_close(fixture);

    assert_int_equal(waiters[3].reason, HC_OK);
    assert_int_equal(waiters[4].reason, HC_OK);
    assert_int_equal(waiters[5].reason, HC_OK);
    assert_int_equal(atomic_load(&waiters[5].done), 1);
}

/* Each call joins and leaves, so often that the queue would be full many times over. */
static void a_request_without_waiters_leaves_the_queue_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct waiter holds[2] = {{.caller = 1}, {.caller = 2}}, last = {.caller = 3};
    unsigned unfinished, waiting;

    waiter_join(fixture, &holds[0], "a", "");
    waiter_join(fixture, &holds[1], "b", "");
    for (unsigned i = 0; i < 2; i++)
        work_await_begun(fixture);
    for (unsigned i = 0; i < LEAVERS; i++) {
        struct waiter leaves = {.caller = i % 7};
        char request[16];

        (void)snprintf(request, sizeof request, "r%u", i);
        waiter_join(fixture, &leaves, request, "");
        assert_true(hc_coalescer_leave(fixture->coalescer, &leaves.base));
        assert_int_equal(atomic_load(&leaves.done), 0);
    }
    hc_coalescer_count(fixture->coalescer, &unfinished, &waiting);
    assert_int_equal(unfinished, 2);
    waiter_join(fixture, &last, "c", "");
    for (unsigned i = 0; i < 3; i++)
        work_let_end(fixture);
    work_close(fixture);

    assert_int_equal(last.reason, HC_OK);
    assert_int_equal(atomic_load(&fixture->work.runs), 3);
}

/* The disk answers requests that begin with "d". */
static bool work_look_at_disk(void *ctx, const struct hc_request_key *key,
                              struct hc_answer **answer)
{
    struct work *work = ctx;

    if (atomic_load(&work->looks_block))
        (void)sem_wait(&work->may_look);
    atomic_fetch_add(&work->looks, 1);
    if (key->request[0] != 'd')
        return false;
    *answer = hc_answer_new_failure(0, HC_OK, "", NULL);
    return true;
}

static void requests_that_the_disk_answers_do_not_wait_for_the_hub(void **state)
{
    struct fixture *fixture = *state;
    struct waiter hub[4] = {{.caller = 0}, {.caller = 1}, {.caller = 2}, {.caller = 3}};
    struct waiter disk = {.caller = 0};
    static const char *const requests[] = {"a", "b", "c", "e"};

    fixture->work.functions.look = work_look_at_disk;
    for (size_t i = 0; i < 4; i++) /* as many as can run and queue */
        waiter_join(fixture, &hub[i], requests[i], "");
    for (unsigned i = 0; i < 2; i++)
        work_await_begun(fixture);
    waiter_join(fixture, &disk, "d", "");
    while (atomic_load(&disk.done) == 0)
        (void)sched_yield();
    assert_int_equal(disk.reason, HC_OK);
    assert_int_equal(atomic_load(&hub[0].done), 0);
    for (unsigned i = 0; i < 4; i++)
        work_let_end(fixture);
    work_close(fixture);
    assert_int_equal(atomic_load(&fixture->work.looks), 5);
    assert_int_equal(atomic_load(&fixture->work.runs), 4);
}

static void a_request_left_while_it_looks_at_the_disk_does_not_ask_the_hub(void **state)
{
    struct fixture *fixture = *state;
    struct waiter leaves = {.caller = 1};

    fixture->work.functions.look = work_look_at_disk;
    atomic_store(&fixture->work.looks_block, 1);
    waiter_join(fixture, &leaves, "a", "");
    while (work_running(fixture->disk) == 0)
        (void)sched_yield();
    assert_true(hc_coalescer_leave(fixture->coalescer, &leaves.base));
    (void)sem_post(&fixture->work.may_look);
    work_close(fixture);
    assert_int_equal(atomic_load(&fixture->work.runs), 0);
    assert_int_equal(atomic_load(&leaves.done), 0);
}

static void a_waiter_that_left_gets_no_answer(void **state)
{
    struct fixture *fixture = *state;
    struct waiter stays = {.done = 0}, leaves = {.done = 0};
    bool was_waiting, waits_still;

    waiter_join(fixture, &stays, "a", "");
    waiter_join(fixture, &leaves, "a", "");
    work_await_begun(fixture);
    was_waiting = hc_coalescer_leave(fixture->coalescer, &leaves.base);
    waits_still = hc_coalescer_leave(fixture->coalescer, &leaves.base);
    work_let_end(fixture);
    work_close(fixture);

    assert_true(was_waiting);
    assert_false(waits_still);
    assert_int_equal(atomic_load(&stays.done), 1);
    assert_int_equal(atomic_load(&leaves.done), 0);
}

static void when_the_last_waiter_leaves_the_next_call_begins_another_request(void **state)
{
    struct fixture *fixture = *state;
    struct waiter leaves = {.done = 0}, next = {.done = 0};

    fixture->work.until_cancelled = true;
    waiter_join(fixture, &leaves, "a", "");
    work_await_begun(fixture);
    assert_true(hc_coalescer_leave(fixture->coalescer, &leaves.base));
    waiter_join(fixture, &next, "a", "");
    work_await_begun(fixture);
    hc_coalescer_cancel(fixture->coalescer);
    work_close(fixture);

    assert_int_equal(atomic_load(&fixture->work.runs), 2);
    assert_int_equal(fixture->work.ended, HC_CANCELLED);
    assert_int_equal(next.reason, HC_CANCELLED);
}

static void a_request_has_the_latest_deadline_of_its_waiters(void **state)
{
    struct fixture *fixture = *state;
    struct waiter hasty = {.base.deadline_ms = hc_monotonic_ms() + 200};
    struct waiter patient = {.base.deadline_ms = HC_NO_DEADLINE};

    fixture->work.until_cancelled = true;
    waiter_join(fixture, &hasty, "a", "");
    waiter_join(fixture, &patient, "a", "");
    work_await_begun(fixture);
    while (hc_monotonic_ms() <= hasty.base.deadline_ms)
        (void)sched_yield();
    assert_true(hc_coalescer_leave(fixture->coalescer, &patient.base));
    assert_true(hc_coalescer_leave(fixture->coalescer, &hasty.base));
    work_close(fixture);

    assert_int_equal(fixture->work.ended, HC_CANCELLED); /* and not DEADLINE_EXCEEDED */
}

static void only_waiters_that_watch_get_progress(void **state)
{
    struct fixture *fixture = *state;
    struct waiter watches = {.base.wants_progress = true}, waits = {.done = 0};

    waiter_join(fixture, &watches, "a", "");
    waiter_join(fixture, &waits, "a", "");
    work_await_begun(fixture);
    work_let_end(fixture);
    work_close(fixture);

    assert_int_equal(atomic_load(&watches.progress), 1);
    assert_int_equal(atomic_load(&watches.held), 0);
    assert_int_equal(atomic_load(&waits.progress), 0);
    assert_int_equal(atomic_load(&watches.done), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, work_setup, work_teardown)
    const struct CMUnitTest tests[] = {
        TEST(ten_thousand_equal_calls_share_one_coalesced_request),
        TEST(another_request_or_another_token_is_another_coalesced_request),
        TEST(another_identity_is_another_coalesced_request),
        TEST(a_request_beyond_the_queue_is_busy),
        TEST(one_caller_leaves_room_for_the_calls_of_others),
        TEST(large_requests_are_busy_before_small_ones_are),
        TEST(a_request_without_waiters_leaves_the_queue_at_once),
        TEST(requests_that_the_disk_answers_do_not_wait_for_the_hub),
        TEST(a_request_left_while_it_looks_at_the_disk_does_not_ask_the_hub),
        TEST(a_waiter_that_left_gets_no_answer),
        TEST(when_the_last_waiter_leaves_the_next_call_begins_another_request),
        TEST(a_request_has_the_latest_deadline_of_its_waiters),
        TEST(only_waiters_that_watch_get_progress),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
