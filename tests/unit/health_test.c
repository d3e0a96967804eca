/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: an endpoint is left alone as long as it asked for, and counts as down only
 * after it was silent several times in a row, until one question finds it back. The clock
 * is the test's.
 */
#include "test.h"

#include <hub/health.h>

enum { NOW = 5000 };

static void nothing_is_held_against_a_new_one(void **state)
{
    struct hc_health health = {0};

    (void)state;
    assert_int_equal(hc_health_held_ms(&health, NOW), 0);
    assert_int_equal(hc_health_down_ms(&health, NOW), 0);
    assert_int_equal(hc_health_probe(&health, NOW), 0);
    assert_int_equal(hc_health_probe(&health, NOW), 0);
}

static void a_hold_lasts_as_long_as_the_longest_that_was_asked_for(void **state)
{
    struct hc_health health = {0};

    (void)state;
    hc_health_hold(&health, HC_HUB_RATE_LIMITED, 2000, NOW);
    hc_health_hold(&health, HC_HUB_UNREACHABLE, 500, NOW);
    assert_int_equal(hc_health_held_ms(&health, NOW + 1), 1999);
    assert_int_equal(health.held_for, HC_HUB_RATE_LIMITED);
    assert_int_equal(hc_health_held_ms(&health, NOW + 2000), 0);
}

static void an_answer_to_another_question_ends_no_hold(void **state)
{
    struct hc_health health = {0};

    (void)state;
    hc_health_hold(&health, HC_HUB_RATE_LIMITED, 2000, NOW);
    hc_health_rise(&health);
    assert_int_equal(hc_health_held_ms(&health, NOW), 2000);
}

static void silence_counts_only_in_a_row(void **state)
{
    struct hc_health health = {0};

    (void)state;
    for (int i = 0; i < 10; i++) {
        hc_health_fail(&health, NOW);
        hc_health_fail(&health, NOW);
        assert_int_equal(hc_health_down_ms(&health, NOW), 0);
        hc_health_rise(&health);
    }
    for (int i = 0; i < HC_FAILURES_MAX; i++)
        hc_health_fail(&health, NOW);
    assert_int_equal(hc_health_down_ms(&health, NOW), HC_DOWN_MS);
}

static void one_question_finds_out_whether_it_is_back(void **state)
{
    struct hc_health health = {0};
    const int64_t later = NOW + HC_DOWN_MS;

    (void)state;
    for (int i = 0; i < HC_FAILURES_MAX; i++)
        hc_health_fail(&health, NOW);
    assert_int_equal(hc_health_probe(&health, later - 1), 1);
    assert_int_equal(hc_health_probe(&health, later), 0);
    assert_int_equal(hc_health_probe(&health, later), HC_DOWN_MS);

    hc_health_fail(&health, later + 10);
    assert_int_equal(hc_health_probe(&health, later + 10), HC_DOWN_MS);
    hc_health_rise(&health);
    assert_int_equal(hc_health_probe(&health, later + 10), 0);
    assert_int_equal(hc_health_probe(&health, later + 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_held_against_a_new_one),
        cmocka_unit_test(a_hold_lasts_as_long_as_the_longest_that_was_asked_for),
        cmocka_unit_test(an_answer_to_another_question_ends_no_hold),
        cmocka_unit_test(silence_counts_only_in_a_row),
        cmocka_unit_test(one_question_finds_out_whether_it_is_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
