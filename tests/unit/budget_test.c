/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: never more connections than there are; everybody gets a first one before
 * anybody gets another.
 */
#include "test.h"

#include <transfer/budget.h>

#include <pthread.h>
#include <sched.h>

struct waiter {
    struct hc_budget *budget;
    struct hc_call *call;
    pthread_t thread;
    int result;
    struct hc_error err;
};

static void *wait_for_one(void *ctx)
{
    struct waiter *waiter = ctx;

    waiter->result = hc_budget_take(waiter->budget, waiter->call, &waiter->err);
    return NULL;
}

static struct hc_budget *make(unsigned connections)
{
    struct hc_error err;
    struct hc_budget *budget = hc_budget_new(connections, &err);

    assert_non_null(budget);
    assert_int_equal(hc_budget_size(budget), connections);
    return budget;
}

static void start(struct waiter *waiter, struct hc_budget *budget)
{
    waiter->budget = budget;
    waiter->call = hc_call_new(HC_NO_DEADLINE);
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait_for_one, waiter), 0);
    while (!hc_budget_is_short(budget))
        (void)sched_yield();
}

static int finish(struct waiter *waiter)
{
    assert_int_equal(pthread_join(waiter->thread, NULL), 0);
    hc_call_free(waiter->call);
    return waiter->result;
}

static void there_are_no_more_than_there_are(void **state)
{
    HC_AUTO(hc_budget) *budget = make(2);
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_budget_take(budget, NULL, &err), 0);
    assert_true(hc_budget_try(budget));
    assert_false(hc_budget_try(budget));
    hc_budget_give_back(budget, 2);
    assert_true(hc_budget_try(budget));
}

static void who_waits_for_the_first_comes_before_seconds(void **state)
{
    HC_AUTO(hc_budget) *budget = make(1);
    struct waiter waiter = {0};

    (void)state;
    assert_true(hc_budget_try(budget));
    assert_false(hc_budget_is_short(budget));
    start(&waiter, budget);
    hc_budget_give_back(budget, 1);
    assert_false(hc_budget_try(budget)); /* it waits, or has it by now */
    assert_int_equal(finish(&waiter), 0);
    assert_false(hc_budget_is_short(budget));
}

static void a_caller_who_goes_waits_no_longer(void **state)
{
    HC_AUTO(hc_budget) *budget = make(1);
    struct waiter waiter = {0};

    (void)state;
    assert_true(hc_budget_try(budget));
    start(&waiter, budget);
    hc_call_cancel(waiter.call);
    assert_int_equal(finish(&waiter), -1);
    assert_int_equal(waiter.err.reason, HC_CANCELLED);
    hc_budget_give_back(budget, 1);
    assert_true(hc_budget_try(budget));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_no_more_than_there_are),
        cmocka_unit_test(who_waits_for_the_first_comes_before_seconds),
        cmocka_unit_test(a_caller_who_goes_waits_no_longer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
