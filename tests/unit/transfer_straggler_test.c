/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a connection that is far slower than the others does not hold up a
 * transfer. What it has brought stays, the rest comes over another connection, and no
 * byte is written or counted twice; connections that are all equally slow are left alone.
 */
#include "transfer_fixture.h"

#include <base/auto.h>

#include <stdlib.h>
#include <string.h>

/* A piece of 8 MiB takes 42 s at the rate of the slow one. */
enum { MIB = 1024 * 1024, SLOW = 200000, SOON_MS = 20000 };

static void straggler_note_report(void *ctx, const struct hc_transfer *transfer)
{
    *(struct hc_transfer *)ctx = *transfer;
}

/* Fetches large.bin, soon, and says how. */
static struct hc_transfer fetch_soon(struct fixture *f)
{
    HC_AUTO(hc_cancellation) *call = hc_cancellation_new(hc_monotonic_ms() + SOON_MS);
    struct hc_transfer report = {0};
    uint64_t fetched;

    hc_transfers_observe(f->transfers, straggler_note_report, &report);
    if (fetch_file(f, "large.bin", call, &fetched) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(fetched, LARGE_SIZE);
    expect_only_blob(f, "large.bin");
    temp_dir_remove(temp_dir_path(f->dir, "models--org--m"));
    test_hub_clear_rules(f->server);
    return report;
}

/* The first one, one in the middle, the last one. */
static void a_slow_connection_is_replaced(void **state)
{
    static const unsigned places[] = {0, 3, 7};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct hc_transfer report;

        inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                              .skip = places[i],
                                              .times = 1,
                                              .fault = TEST_HUB_THROTTLE,
                                              .number = SLOW});
        report = fetch_soon(f);
        assert_true(report.retries >= 1);
        /* Nothing but what was on its way in sockets came for nothing. */
        assert_in_range(report.fetched_bytes, LARGE_SIZE, LARGE_SIZE + MIB);
    }
}

/* The time-out of the settings is as long as the fetch may take. */
static void a_silent_connection_is_replaced(void **state)
{
    static const uint64_t silent_from[] = {0, 1, MIB};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof silent_from / sizeof *silent_from; i++) {
        inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                              .skip = 2,
                                              .times = 1,
                                              .fault = TEST_HUB_STALL,
                                              .number = silent_from[i]});
        assert_int_equal(fetch_soon(f).fetched_bytes, LARGE_SIZE);
    }
}

/* The connection that replaces it may be slow, too: a few times. */
static void slow_connections_are_replaced_one_after_the_other(void **state)
{
    struct fixture *f = *state;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .skip = 6,
                                          .times = 3,
                                          .fault = TEST_HUB_THROTTLE,
                                          .number = SLOW});
    assert_in_range(fetch_soon(f).retries, 1, 6);
}

/* The last piece comes at a quarter of the rate of the others: it is all that is left,
 * and would take eight seconds. */
static void at_the_end_a_connection_need_not_be_as_slow(void **state)
{
    struct fixture *f = *state;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .range = "bytes=67108864-",
                                          .times = 1,
                                          .fault = TEST_HUB_THROTTLE,
                                          .number = MIB});
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_THROTTLE,
                                          .number = 4 * (uint64_t)MIB});
    assert_in_range(fetch_soon(f).retries, 1, 3);
}

static void connections_that_are_all_slow_are_left_alone(void **state)
{
    struct fixture *f = *state;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_THROTTLE,
                                          .number = 4 * (uint64_t)MIB});
    assert_in_range(fetch_soon(f).retries, 0, 1); /* on a machine with other work */
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slow_connection_is_replaced),
        TEST(a_silent_connection_is_replaced),
        TEST(slow_connections_are_replaced_one_after_the_other),
        TEST(at_the_end_a_connection_need_not_be_as_slow),
        TEST(connections_that_are_all_slow_are_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
