/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whoever waits on a call's behalf stops when its deadline passes or it is
 * cancelled, from whatever thread, and says which of the two it was.
 */
#include "test.h"

#include <base/call.h>
#include <base/error.h>

#include <pthread.h>

enum { LONG_MS = 3600000 };

static void no_call_waits_for_ever(void **state)
{
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_call_check(NULL, &err), 0);
    assert_false(hc_call_is_over(NULL));
    assert_true(hc_call_remaining_ms(NULL) == HC_NO_DEADLINE);
    assert_int_equal(hc_call_pause(NULL, 1, &err), 0);
}

static void a_call_without_a_deadline_goes_on(void **state)
{
    HC_AUTO(hc_call) *call = hc_call_new(HC_NO_DEADLINE);
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_call_check(call, &err), 0);
    assert_true(hc_call_remaining_ms(call) == HC_NO_DEADLINE);
}

static void a_deadline_that_passed_ends_the_call(void **state)
{
    HC_AUTO(hc_call) *call = hc_call_new(hc_monotonic_ms() - 1);
    struct hc_error err;

    (void)state;
    assert_true(hc_call_is_over(call));
    assert_int_equal(hc_call_check(call, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_call_remaining_ms(call) == 0);
}

static void a_deadline_moves_out_and_never_in(void **state)
{
    int64_t now_ms = hc_monotonic_ms();
    HC_AUTO(hc_call) *call = hc_call_new(now_ms - 1);

    (void)state;
    hc_call_extend(call, now_ms + LONG_MS);
    assert_false(hc_call_is_over(call));
    hc_call_extend(call, now_ms - 1);
    assert_false(hc_call_is_over(call));
}

static void a_pause_lasts_as_long_as_it_was_asked_to(void **state)
{
    HC_AUTO(hc_call) *call = hc_call_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_call_pause(call, 20, &err), 0);
    assert_true(hc_monotonic_ms() - start_ms >= 20);
}

static void a_pause_ends_at_the_deadline(void **state)
{
    HC_AUTO(hc_call) *call = hc_call_new(hc_monotonic_ms() + 10);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_call_pause(call, LONG_MS, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
}

static void *cancel(void *call)
{
    hc_call_cancel(call);
    return NULL;
}

static void a_pause_ends_when_another_thread_cancels(void **state)
{
    HC_AUTO(hc_call) *call = hc_call_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, cancel, call), 0);
    assert_int_equal(hc_call_pause(call, LONG_MS, &err), -1);
    assert_int_equal(err.reason, HC_CANCELLED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(hc_call_is_over(call));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_call_waits_for_ever),
        cmocka_unit_test(a_call_without_a_deadline_goes_on),
        cmocka_unit_test(a_deadline_that_passed_ends_the_call),
        cmocka_unit_test(a_deadline_moves_out_and_never_in),
        cmocka_unit_test(a_pause_lasts_as_long_as_it_was_asked_to),
        cmocka_unit_test(a_pause_ends_at_the_deadline),
        cmocka_unit_test(a_pause_ends_when_another_thread_cancels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
