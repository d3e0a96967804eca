/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of a rate: bytes per second over the last four seconds of samples.
 */
#include "test.h"

#include <resolver/batch.h>

static void the_first_samples_have_no_rate(void **state)
{
    struct hc_rate rate = {0};

    (void)state;
    assert_int_equal(hc_rate_add(&rate, 1000, 5000), 0);
    assert_int_equal(hc_rate_add(&rate, 1001, 9000000), 0);
    assert_int_equal(hc_rate_add(&rate, 1250, 9000000), 0);
    assert_int_equal(hc_rate_add(&rate, 2000, 9005000), 9000000);
}

static void a_steady_flow_has_its_rate(void **state)
{
    struct hc_rate rate = {0};
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        last = hc_rate_add(&rate, (int64_t)i * 250, (uint64_t)i * 250);
    assert_int_equal(last, 1000);
}

static void old_samples_do_not_count(void **state)
{
    struct hc_rate rate = {0};
    uint64_t last = 1;

    (void)state;
    (void)hc_rate_add(&rate, 0, 0);
    for (int i = 1; i <= HC_RATE_SAMPLES; i++)
        last = hc_rate_add(&rate, (int64_t)i * 250, 1000000);
    assert_int_equal(last, 0);
}

/* Another process's claim may say any number of bytes. */
static void a_rate_never_wraps(void **state)
{
    static const uint64_t jumps[] = {UINT64_MAX / 1000, UINT64_MAX / 1000 + 1,
                                     UINT64_MAX / 4, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        struct hc_rate rate = {0};
        uint64_t found;

        (void)hc_rate_add(&rate, 0, 0);
        found = hc_rate_add(&rate, 500, jumps[i]);
        assert_true(found >= jumps[i]);
    }
}

/* Ends of files are told at once, so they come between the ticks. */
static void a_burst_of_samples_does_not_shorten_the_window(void **state)
{
    struct hc_rate rate = {0};

    (void)state;
    for (int i = 0; i <= 4; i++)
        (void)hc_rate_add(&rate, (int64_t)i * 250, (uint64_t)i * 250);
    for (int i = 1; i <= 2 * HC_RATE_SAMPLES; i++)
        assert_int_equal(hc_rate_add(&rate, 1000 + i, 1000 + (uint64_t)i), 1000);
    assert_int_equal(hc_rate_add(&rate, 1250, 1250), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_samples_have_no_rate),
        cmocka_unit_test(a_steady_flow_has_its_rate),
        cmocka_unit_test(old_samples_do_not_count),
        cmocka_unit_test(a_rate_never_wraps),
        cmocka_unit_test(a_burst_of_samples_does_not_shorten_the_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
