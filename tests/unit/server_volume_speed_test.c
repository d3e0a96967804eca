/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: after a slow lookup the pool makes the next ones; after sixteen quick ones
 * in a row the edge's thread makes them again; one such thread looks at a time.
 */
#include <server/resolve.h>

#include <test.h>

static void lookups_are_made_as_long_as_they_are_quick(void **state)
{
    struct hc_volume_speed speed = {0};

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_true(hc_volume_speed_begin_lookup(&speed));
        hc_volume_speed_end_lookup(&speed, 10);
    }
    assert_true(hc_volume_speed_begin_lookup(&speed));
    hc_volume_speed_end_lookup(&speed, 11);
    assert_false(hc_volume_speed_begin_lookup(&speed));
}

static void while_a_lookup_hangs_no_other_begins(void **state)
{
    struct hc_volume_speed speed = {0};

    (void)state;
    assert_true(hc_volume_speed_begin_lookup(&speed));
    assert_false(hc_volume_speed_begin_lookup(&speed));
    hc_volume_speed_end_lookup(&speed, 0);
    assert_true(hc_volume_speed_begin_lookup(&speed));
}

static void sixteen_quick_lookups_in_a_row_return_them_to_the_edge(void **state)
{
    struct hc_volume_speed speed = {0};

    (void)state;
    assert_true(hc_volume_speed_begin_lookup(&speed));
    hc_volume_speed_end_lookup(&speed, 1000);
    for (unsigned i = 0; i < 15; i++)
        hc_volume_speed_add_lookup(&speed, 1);
    hc_volume_speed_add_lookup(&speed, 2);
    for (unsigned i = 0; i < 15; i++)
        hc_volume_speed_add_lookup(&speed, 0);
    assert_false(hc_volume_speed_begin_lookup(&speed));
    hc_volume_speed_add_lookup(&speed, 0);
    assert_true(hc_volume_speed_begin_lookup(&speed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_are_made_as_long_as_they_are_quick),
        cmocka_unit_test(while_a_lookup_hangs_no_other_begins),
        cmocka_unit_test(sixteen_quick_lookups_in_a_row_return_them_to_the_edge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
