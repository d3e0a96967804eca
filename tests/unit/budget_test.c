/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: never more connections than there are; every transfer gets a first one
 * before another gets its second; of those that wait, the one whose caller, repo and host
 * have the fewest goes first; a repo that brings nothing has half of them at most, a
 * caller or host three quarters, and one that brings its files may have all.
 */
#include "test.h"

#include <transfer/budget.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { SIZE = 16 };

struct waiter {
    struct hc_budget *budget;
    struct hc_budget_share share;
    struct hc_cancellation *call;
    pthread_t thread;
    atomic_bool is_over;
    int result;
    struct hc_error err;
};

static void *waiter_main(void *ctx)
{
    struct waiter *waiter = ctx;

    waiter->result =
        hc_budget_take(waiter->budget, &waiter->share, waiter->call, &waiter->err);
    atomic_store(&waiter->is_over, true);
    return NULL;
}

static struct hc_budget *budget_make(unsigned connections)
{
    struct hc_error err;
    struct hc_budget *budget = hc_budget_new(connections, &err);

    assert_non_null(budget);
    assert_int_equal(hc_budget_size(budget), connections);
    return budget;
}

static void waiter_start(struct waiter *waiter, struct hc_budget *budget)
{
    waiter->budget = budget;
    waiter->call = hc_cancellation_new(HC_NO_DEADLINE);
    assert_int_equal(pthread_create(&waiter->thread, NULL, waiter_main, waiter), 0);
}

static void await_shortage(struct hc_budget *budget)
{
    while (!hc_budget_is_contended(budget, &(struct hc_budget_share){0}))
        (void)sched_yield();
}

static void await_waiting(struct hc_budget *budget, unsigned count)
{
    while (hc_budget_waiting(budget) < count)
        (void)sched_yield();
}

static int waiter_finish(struct waiter *waiter)
{
    assert_int_equal(pthread_join(waiter->thread, NULL), 0);
    hc_cancellation_free(waiter->call);
    return waiter->result;
}

/* A first connection that is there. */
static void budget_take(struct hc_budget *budget, struct hc_budget_share *share)
{
    struct hc_error err;

    assert_int_equal(hc_budget_take(budget, share, NULL, &err), 0);
}

static struct hc_budget_share share_of(uint64_t caller, uint64_t repo, uint64_t host)
{
    return (struct hc_budget_share){.keys = {caller, repo, host}};
}

static uint64_t bytes_count_up(void *ctx)
{
    return atomic_fetch_add((atomic_uint *)ctx, 1);
}

/* Of a transfer whose bytes come. */
static struct hc_budget_share moving_share(uint64_t repo, atomic_uint *bytes)
{
    struct hc_budget_share share = share_of(0, repo, 0);

    share.arrived = bytes_count_up;
    share.ctx = bytes;
    return share;
}

static void there_are_no_more_than_there_are(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(2);
    atomic_uint bytes = 1;
    struct hc_budget_share share = moving_share(1, &bytes);

    (void)state;
    budget_take(budget, &share);
    assert_true(hc_budget_try_take(budget, &share));
    assert_false(hc_budget_try_take(budget, &share));
    assert_int_equal(hc_budget_used(budget), 2);
    hc_budget_give_back(budget, &share, 1);
    assert_true(hc_budget_try_take(budget, &share));
    hc_budget_release(budget, &share, 0, true);
    assert_int_equal(hc_budget_used(budget), 0);
}

static void a_transfer_that_waits_for_its_first_comes_before_seconds(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(2);
    atomic_uint bytes = 1;
    struct hc_budget_share large = moving_share(1, &bytes);
    struct waiter waiter = {.share = share_of(0, 1, 0)};

    (void)state;
    budget_take(budget, &large);
    assert_true(hc_budget_try_take(budget, &large));
    assert_false(hc_budget_is_contended(budget, &(struct hc_budget_share){0}));
    waiter_start(&waiter, budget);
    await_shortage(budget);
    hc_budget_give_back(budget, &large, 1);
    assert_false(hc_budget_try_take(budget, &large)); /* it has it by now */
    assert_int_equal(waiter_finish(&waiter), 0);
    assert_false(hc_budget_is_contended(budget, &(struct hc_budget_share){0}));
    hc_budget_release(budget, &waiter.share, 0, true);
    hc_budget_release(budget, &large, 0, true);
}

static void a_caller_that_goes_waits_no_longer(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(1);
    struct hc_budget_share share = share_of(0, 1, 0);
    struct waiter waiter = {.share = share_of(0, 2, 0)};

    (void)state;
    budget_take(budget, &share);
    waiter_start(&waiter, budget);
    await_shortage(budget);
    hc_cancellation_cancel(waiter.call);
    assert_int_equal(waiter_finish(&waiter), -1);
    assert_int_equal(waiter.err.reason, HC_CANCELLED);
    hc_budget_release(budget, &share, 0, true);
    assert_int_equal(hc_budget_used(budget), 0);
}

/* Whatever it is that stalls, keys of another kind are different for each transfer. */
static struct hc_budget_share stalled_share(int key, unsigned number)
{
    struct hc_budget_share share = share_of(100 + number, 200 + number, 300 + number);

    share.keys[key] = 1;
    return share;
}

static void a_stalled_repo_or_host_leaves_connections_to_the_others(void **state)
{
    static const unsigned shares[] = {12, 8, 12};

    (void)state;
    for (int key = 0; key < HC_BUDGET_KEYS; key++) {
        HC_AUTO(hc_budget) *budget = budget_make(SIZE);
        const unsigned share = shares[key];
        struct hc_budget_share holders[SIZE], other = share_of(2, 2, 2);
        struct waiter waiter = {.share = stalled_share(key, share)};

        for (unsigned i = 0; i < share; i++) {
            holders[i] = stalled_share(key, i);
            budget_take(budget, &holders[i]);
        }
        waiter_start(&waiter, budget);
        await_waiting(budget, 1);
        budget_take(budget, &other); /* at once */
        assert_false(atomic_load(&waiter.is_over));
        assert_false(hc_budget_try_take(budget, &holders[0]));
        assert_true(hc_budget_try_take(budget, &other));
        assert_false(hc_budget_is_contended(
            budget,
            &(struct hc_budget_share){0})); /* nothing is to be given back for it */
        hc_budget_release(budget, &holders[0], 0, false);
        assert_int_equal(waiter_finish(&waiter), 0);
        hc_budget_release(budget, &waiter.share, 0, false);
        for (unsigned i = 1; i < share; i++)
            hc_budget_release(budget, &holders[i], 0, false);
        hc_budget_release(budget, &other, 0, true);
        assert_int_equal(hc_budget_used(budget), 0);
    }
}

static void a_repo_that_receives_bytes_may_have_all(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(SIZE);
    struct hc_budget_share holders[SIZE];
    atomic_uint bytes = 1;

    (void)state;
    for (unsigned i = 0; i < SIZE; i++) {
        holders[i] = share_of(1, 1, 1);
        holders[i].arrived = bytes_count_up;
        holders[i].ctx = &bytes;
        budget_take(budget, &holders[i]);
    }
    for (unsigned i = 0; i < SIZE; i++)
        hc_budget_release(budget, &holders[i], 0, true);
}

/* Small files have come before their connections are seen to bring any. */
static void a_repo_with_finished_files_may_have_all(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(SIZE);
    struct hc_budget_share holders[SIZE], first = share_of(1, 1, 1);

    (void)state;
    budget_take(budget, &first);
    hc_budget_release(budget, &first, 0, true);
    for (unsigned i = 0; i < SIZE; i++) {
        holders[i] = share_of(1, 1, 1);
        budget_take(budget, &holders[i]);
    }
    for (unsigned i = 0; i < SIZE; i++)
        hc_budget_release(budget, &holders[i], 0, true);
}

static void of_those_that_wait_the_one_with_the_fewest_goes_first(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(3);
    struct hc_budget_share holders[3] = {share_of(1, 1, 0), share_of(1, 1, 0),
                                         share_of(2, 2, 0)};
    struct waiter rich = {.share = share_of(1, 1, 0)},
                  poor = {.share = share_of(3, 3, 0)};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        budget_take(budget, &holders[i]);
    waiter_start(&rich, budget);
    await_waiting(budget, 1);
    waiter_start(&poor, budget);
    await_waiting(budget, 2);
    hc_budget_release(budget, &holders[2], 0, true);
    assert_int_equal(waiter_finish(&poor), 0);
    assert_false(atomic_load(&rich.is_over));
    hc_budget_release(budget, &holders[0], 0, true);
    assert_int_equal(waiter_finish(&rich), 0);
    hc_budget_release(budget, &holders[1], 0, true);
    hc_budget_release(budget, &poor.share, 0, true);
    hc_budget_release(budget, &rich.share, 0, true);
}

/* Where the bytes of a repo are is known from the transfer before. */
static void the_host_of_a_repo_is_remembered(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(SIZE);
    struct hc_budget_share share = share_of(1, 7, 0), next = share_of(1, 7, 0);

    (void)state;
    budget_take(budget, &share);
    hc_budget_release(budget, &share, 9, true);
    budget_take(budget, &next);
    assert_int_equal(next.keys[HC_BUDGET_HOST], 9);
    hc_budget_release(budget, &next, 0, true);
}

static struct hc_budget_share background_share(uint64_t repo, const atomic_uint *hurried)
{
    struct hc_budget_share share = share_of(0, repo, 0);

    share.hurried = hurried;
    return share;
}

static void the_background_may_have_all_when_it_is_alone(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(SIZE);
    atomic_uint bytes = 1, hurried = 0;
    struct hc_budget_share share = moving_share(1, &bytes);

    (void)state;
    share.hurried = &hurried;
    budget_take(budget, &share);
    for (unsigned i = 1; i < SIZE; i++)
        assert_true(hc_budget_try_take(budget, &share));
    assert_false(hc_budget_is_contended(budget, &share));
    hc_budget_release(budget, &share, 0, true);
}

/* An eighth of the connections, as soon as another transfer has one. */
static void the_background_gives_way(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(SIZE);
    atomic_uint bytes = 1, hurried = 0;
    struct hc_budget_share share = moving_share(1, &bytes), other = share_of(0, 2, 0);
    struct waiter late = {.share = background_share(3, &hurried)};

    (void)state;
    share.hurried = &hurried;
    budget_take(budget, &share);
    for (unsigned i = 1; i < SIZE / 2; i++)
        assert_true(hc_budget_try_take(budget, &share));
    budget_take(budget, &other);

    for (unsigned held = SIZE / 2; held > SIZE / 8; held--) {
        assert_true(hc_budget_is_contended(budget, &share));
        assert_false(hc_budget_is_contended(budget, &other));
        assert_false(hc_budget_try_take(budget, &share));
        hc_budget_give_back(budget, &share, 1);
    }
    assert_false(hc_budget_is_contended(budget, &share));
    assert_false(hc_budget_try_take(budget, &share));
    waiter_start(&late, budget);
    await_waiting(budget, 1);
    assert_true(hc_budget_try_take(budget, &other)); /* it does not wait for `late` */
    hc_budget_release(budget, &other, 0, true);
    assert_int_equal(waiter_finish(&late), 0);
    assert_true(hc_budget_try_take(budget, &share));
    hc_budget_release(budget, &late.share, 0, true);
    hc_budget_release(budget, &share, 0, true);
}

/* A transfer for which another caller begins to wait is in the background no longer. */
static void a_transfer_that_is_hurried_stops_giving_way(void **state)
{
    HC_AUTO(hc_budget) *budget = budget_make(2);
    atomic_uint hurried = 0, never_hurried = 0;
    struct hc_budget_share first = share_of(0, 1, 0), last = share_of(0, 2, 0);
    struct waiter patient = {.share = background_share(3, &never_hurried)},
                  waiter = {.share = background_share(4, &hurried)};

    (void)state;
    budget_take(budget, &first);
    budget_take(budget, &last);
    waiter_start(&patient, budget);
    await_waiting(budget, 1);
    waiter_start(&waiter, budget);
    await_waiting(budget, 2);
    atomic_store(&hurried, 1);
    hc_budget_release(budget, &first, 0, true);
    assert_int_equal(waiter_finish(&waiter), 0);
    assert_false(atomic_load(&patient.is_over));
    hc_budget_release(budget, &waiter.share, 0, true);
    assert_int_equal(waiter_finish(&patient), 0); /* one at least */
    hc_budget_release(budget, &patient.share, 0, true);
    hc_budget_release(budget, &last, 0, true);
    assert_int_equal(hc_budget_used(budget), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_no_more_than_there_are),
        cmocka_unit_test(a_transfer_that_waits_for_its_first_comes_before_seconds),
        cmocka_unit_test(a_caller_that_goes_waits_no_longer),
        cmocka_unit_test(a_stalled_repo_or_host_leaves_connections_to_the_others),
        cmocka_unit_test(a_repo_that_receives_bytes_may_have_all),
        cmocka_unit_test(a_repo_with_finished_files_may_have_all),
        cmocka_unit_test(of_those_that_wait_the_one_with_the_fewest_goes_first),
        cmocka_unit_test(the_host_of_a_repo_is_remembered),
        cmocka_unit_test(the_background_may_have_all_when_it_is_alone),
        cmocka_unit_test(the_background_gives_way),
        cmocka_unit_test(a_transfer_that_is_hurried_stops_giving_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
