/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: over any second no more passes than the rate, after a rest one second's
 * worth at once. The clock is the test's.
 */
#include "test.h"

#include <hub/bucket.h>

static void without_a_rate_nothing_waits(void **state)
{
    struct hc_bucket bucket = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(hc_bucket_take(&bucket, UINT32_MAX, 5000), 0);
}

static void a_seconds_worth_passes_at_once_and_then_one_by_one(void **state)
{
    struct hc_bucket bucket = {.per_second = 10};

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(hc_bucket_take(&bucket, 1, 5000), 0);
    assert_int_equal(hc_bucket_wait_ms(&bucket, 1, 5000), 100);
    assert_int_equal(hc_bucket_take(&bucket, 1, 5000), 100);
    assert_int_equal(hc_bucket_take(&bucket, 1, 5000), 200);
}

static void waiting_is_enough_and_time_refills(void **state)
{
    struct hc_bucket bucket = {.per_second = 1};

    (void)state;
    assert_int_equal(hc_bucket_take(&bucket, 1, 5000), 0);
    assert_int_equal(hc_bucket_take(&bucket, 1, 5000), 1000);
    assert_int_equal(hc_bucket_take(&bucket, 1, 6500), 500);
    assert_int_equal(hc_bucket_take(&bucket, 1, 60000), 0);
}

static void asking_how_long_takes_nothing(void **state)
{
    struct hc_bucket bucket = {.per_second = 1};

    (void)state;
    assert_int_equal(hc_bucket_wait_ms(&bucket, 1, 5000), 0);
    assert_int_equal(hc_bucket_wait_ms(&bucket, 1, 5000), 0);
    assert_int_equal(hc_bucket_take(&bucket, 1, 5000), 0);
}

static void a_long_rest_saves_up_one_second_and_no_more(void **state)
{
    struct hc_bucket bucket = {.per_second = 1000};

    (void)state;
    assert_int_equal(hc_bucket_take(&bucket, 1000, 1000000), 0);
    assert_int_equal(hc_bucket_take(&bucket, 500, 1000000), 500);
}

static void a_new_rate_holds_at_once(void **state)
{
    struct hc_bucket bucket = {.per_second = 1};

    (void)state;
    assert_int_equal(hc_bucket_take(&bucket, 3600, 5000), 3599000);
    hc_bucket_set_rate(&bucket, 1);
    assert_int_equal(hc_bucket_wait_ms(&bucket, 1, 5000), 3600000);
    hc_bucket_set_rate(&bucket, 10);
    assert_int_equal(hc_bucket_take(&bucket, 10, 5000), 0);
    assert_int_equal(hc_bucket_take(&bucket, 1, 5000), 100);
    hc_bucket_set_rate(&bucket, 0);
    assert_int_equal(hc_bucket_take(&bucket, UINT32_MAX, 5000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_nothing_waits),
        cmocka_unit_test(a_seconds_worth_passes_at_once_and_then_one_by_one),
        cmocka_unit_test(waiting_is_enough_and_time_refills),
        cmocka_unit_test(asking_how_long_takes_nothing),
        cmocka_unit_test(a_long_rest_saves_up_one_second_and_no_more),
        cmocka_unit_test(a_new_rate_holds_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
