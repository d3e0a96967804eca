/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: no storage, whatever it answers, is asked without end or without a pause.
 * The number of requests is bounded, and the fetch ends by itself, long before its
 * caller's deadline.
 */
#include "transfer_fixture.h"

#include <stdlib.h>
#include <string.h>

enum {
    PLENTY_MS = 30000,
    ATTEMPTS = 1 + 3, /* of one worker, by the fixture's retries */
    MOVES = 2         /* addresses that are tried: the first, and a new one */
};

/* Fetches a file while every answer of the storage is by `rule`; the fetch ends by itself
 * after `most` requests at most, and nothing is left of it. */
static void expect_bounded(struct fixture *f, const char *path, struct test_hub_rule rule,
                           unsigned most)
{
    HC_AUTO(hc_cancellation) *call = hc_cancellation_new(hc_monotonic_ms() + PLENTY_MS);
    uint64_t fetched;
    unsigned asked;

    rule.on_cdn = true;
    inject_rule(f, rule);
    assert_int_equal(fetch_file(f, path, call, &fetched), -1);
    asked = test_hub_count(f->server, "GET", NULL);
    if (f->err.reason == HC_DEADLINE_EXCEEDED || asked > most)
        fail_msg("%u requests, %u would do: %s", asked, most, f->err.message);
    test_hub_clear_rules(f->server);
    expect_no_blob(f);
}

static void a_content_length_that_is_wrong_makes_no_storm(void **state)
{
    static const char *const lengths[] = {"0", "1", "50", "1000000000000"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const struct test_hub_rule rule = {.fault = TEST_HUB_HEADER,
                                           .name = "Content-Length",
                                           .text = lengths[i]};

        expect_bounded(f, "small.bin", rule, 2 * MOVES);
        expect_bounded(f, "large.bin", rule, 2 * MOVES);
    }
}

static void a_range_that_is_wrong_makes_no_storm(void **state)
{
    static const char *const ranges[] = {"bytes 0-0/1", "bytes 0-49/*", "bytes 9-5/7",
                                         "bytes 1-8388607/75497472"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const struct test_hub_rule rule = {.fault = TEST_HUB_HEADER,
                                           .name = "Content-Range",
                                           .text = ranges[i]};

        expect_bounded(f, "large.bin", rule, 2 * MOVES);
    }
}

/* Each worker that there may be has its attempts, each of them two requests. */
static void a_few_bytes_now_and_then_are_no_progress(void **state)
{
    static const enum test_hub_fault faults[] = {TEST_HUB_CUT, TEST_HUB_CUT_RESET};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const struct test_hub_rule rule = {.fault = faults[i], .number = 50};

        expect_bounded(f, "small.bin", rule, 2 * ATTEMPTS);
        expect_bounded(f, "large.bin", rule, 2 * ATTEMPTS + 2 * CONNECTIONS);
    }
}

/* As a server may: a part may be shorter than what was asked for. */
static void parts_of_a_few_bytes_are_no_progress(void **state)
{
    struct fixture *f = *state;

    expect_bounded(f, "large.bin",
                   (struct test_hub_rule){.fault = TEST_HUB_SHORT_RANGE, .number = 50},
                   2 * ATTEMPTS + 2 * CONNECTIONS);
}

static void no_bytes_at_all_make_no_storm(void **state)
{
    static const struct test_hub_rule rules[] = {
        {.fault = TEST_HUB_CLOSE},
        {.fault = TEST_HUB_RESET},
        {.fault = TEST_HUB_CUT},
        {.fault = TEST_HUB_STATUS, .number = 503},
        {.fault = TEST_HUB_STATUS, .number = 403},
        {.fault = TEST_HUB_BODY, .text = ""},
        {.fault = TEST_HUB_BODY, .text = "<html>Please sign in</html>"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        expect_bounded(f, "small.bin", rules[i], 3 * ATTEMPTS);
        expect_bounded(f, "large.bin", rules[i], 3 * ATTEMPTS);
    }
}

static void a_redirect_without_end_makes_no_storm(void **state)
{
    struct fixture *f = *state;

    expect_bounded(f, "small.bin",
                   (struct test_hub_rule){.fault = TEST_HUB_REDIRECT_LOOP},
                   MOVES * (HC_REDIRECTS_MAX + 1));
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_content_length_that_is_wrong_makes_no_storm),
        TEST(a_range_that_is_wrong_makes_no_storm),
        TEST(a_few_bytes_now_and_then_are_no_progress),
        TEST(parts_of_a_few_bytes_are_no_progress),
        TEST(no_bytes_at_all_make_no_storm),
        TEST(a_redirect_without_end_makes_no_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
