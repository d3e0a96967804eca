/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whoever waits on a call's behalf stops when its deadline passes or it is
 * cancelled, from whatever thread, and says which of the two it was.
 */
#include "test.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <pthread.h>

enum { LONG_MS = 3600000 };

static void without_a_cancellation_a_wait_never_ends_early(void **state)
{
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_check(NULL, &err), 0);
    assert_false(hc_cancellation_is_set(NULL));
    assert_true(hc_cancellation_remaining_ms(NULL) == HC_NO_DEADLINE);
    assert_int_equal(hc_cancellation_sleep(NULL, 1, &err), 0);
}

static void a_cancellation_without_a_deadline_is_not_set(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_check(cancellation, &err), 0);
    assert_true(hc_cancellation_remaining_ms(cancellation) == HC_NO_DEADLINE);
}

static void a_deadline_that_passed_sets_the_cancellation(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() - 1);
    struct hc_error err;

    (void)state;
    assert_true(hc_cancellation_is_set(cancellation));
    assert_int_equal(hc_cancellation_check(cancellation, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_cancellation_remaining_ms(cancellation) == 0);
}

static void a_deadline_moves_out_and_never_in(void **state)
{
    int64_t now_ms = hc_monotonic_ms();
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(now_ms - 1);

    (void)state;
    hc_cancellation_extend(cancellation, now_ms + LONG_MS);
    assert_false(hc_cancellation_is_set(cancellation));
    hc_cancellation_extend(cancellation, now_ms - 1);
    assert_false(hc_cancellation_is_set(cancellation));
}

static void a_sleep_lasts_as_long_as_asked(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_sleep(cancellation, 20, &err), 0);
    assert_true(hc_monotonic_ms() - start_ms >= 20);
}

static void a_sleep_ends_at_the_deadline(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() + 10);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_cancellation_sleep(cancellation, LONG_MS, &err), -1);
    assert_int_equal(err.reason, HC_DEADLINE_EXCEEDED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
}

static void *cancel_from_another_thread(void *cancellation)
{
    hc_cancellation_cancel(cancellation);
    return NULL;
}

static void a_sleep_ends_when_another_thread_cancels(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_error err;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, cancel_from_another_thread,
                                    cancellation),
                     0);
    assert_int_equal(hc_cancellation_sleep(cancellation, LONG_MS, &err), -1);
    assert_int_equal(err.reason, HC_CANCELLED);
    assert_true(hc_monotonic_ms() - start_ms < LONG_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(hc_cancellation_is_set(cancellation));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_cancellation_a_wait_never_ends_early),
        cmocka_unit_test(a_cancellation_without_a_deadline_is_not_set),
        cmocka_unit_test(a_deadline_that_passed_sets_the_cancellation),
        cmocka_unit_test(a_deadline_moves_out_and_never_in),
        cmocka_unit_test(a_sleep_lasts_as_long_as_asked),
        cmocka_unit_test(a_sleep_ends_at_the_deadline),
        cmocka_unit_test(a_sleep_ends_when_another_thread_cancels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
