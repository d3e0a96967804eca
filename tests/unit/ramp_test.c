/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: connections are added while they make a transfer faster, not for longer,
 * and setting them up is not held against them. The time is the test's.
 */
#include "test.h"

#include <transfer/ramp.h>

enum { FEW = 4, LIMIT = 16, STEP_MS = 10 };

/* Runs for `ms`: each connection brings `each` bytes a millisecond, all at most `all`. */
struct link {
    struct hc_ramp ramp;
    int64_t now_ms;
    uint64_t bytes;
    uint64_t each, all;
    bool cpu_is_busy;
};

static unsigned link_run(struct link *link, int64_t ms)
{
    unsigned connections = link->ramp.connections;

    for (int64_t passed = 0; passed < ms; passed += STEP_MS) {
        uint64_t rate = connections * link->each;

        link->now_ms += STEP_MS;
        link->bytes += STEP_MS * (rate < link->all ? rate : link->all);
        connections =
            hc_ramp_next(&link->ramp, link->now_ms,
                         &(const struct hc_ramp_sample){link->bytes, connections,
                                                        link->cpu_is_busy});
    }
    return connections;
}

static struct link open_link(uint64_t each, uint64_t all)
{
    struct link link = {.each = each, .all = all};

    hc_ramp_start(&link.ramp, LIMIT, 0);
    return link;
}

static void a_server_that_throttles_connections_gets_many(void **state)
{
    struct link link = open_link(50, 1000000);

    (void)state;
    assert_int_equal(link_run(&link, STEP_MS), FEW);
    assert_int_equal(link_run(&link, 200), LIMIT);
    assert_int_equal(link_run(&link, 60000), LIMIT);
}

static void a_link_that_few_connections_fill_keeps_few(void **state)
{
    struct link link = open_link(1000, 1000);

    (void)state;
    assert_int_equal(link_run(&link, 500), FEW);
}

/* Its first moments are slow, which is not to be taken for a throttle. */
static void a_fast_link_is_looked_at_for_longer(void **state)
{
    struct link link = open_link(1000000, 410000);

    (void)state;
    assert_int_equal(link_run(&link, STEP_MS), FEW);
    assert_int_equal(link_run(&link, 100), FEW);
    link.all = 1000000;
    assert_int_equal(link_run(&link, 220), LIMIT); /* 0.8 of it, on the average */
    assert_int_equal(link_run(&link, 400), FEW);
}

static void busy_processors_end_the_growth(void **state)
{
    struct link link = open_link(50, 1000000);

    (void)state;
    link.cpu_is_busy = true;
    assert_int_equal(link_run(&link, 5000), FEW);
    link.cpu_is_busy = false;
    assert_int_equal(link_run(&link, 10000), LIMIT);
}

static void growth_stops_when_it_gains_nothing(void **state)
{
    struct link link = open_link(100, 400);

    (void)state;
    assert_int_equal(link_run(&link, 700), 4);
}

static void a_server_that_is_generous_at_first_is_found_out(void **state)
{
    struct link link = open_link(1000, 1000);

    (void)state;
    assert_int_equal(link_run(&link, 500), FEW);
    link.each = 50;
    assert_int_equal(link_run(&link, 2000), LIMIT);
}

static void questions_without_use_become_rare(void **state)
{
    struct link link = open_link(1000, 1000);
    unsigned questions = 0;

    (void)state;
    for (int i = 0; i < 60 * 100; i++) {
        unsigned before = link.ramp.connections;

        questions += link_run(&link, STEP_MS) > before;
    }
    assert_in_range(questions, 4, 7); /* after 0, 1, 2, 4, 8, 16, 32 seconds */
    assert_int_equal(link.ramp.connections, FEW);
}

static void connections_without_bytes_are_waited_for(void **state)
{
    struct link link = open_link(50, 1000000);

    (void)state;
    assert_int_equal(link_run(&link, STEP_MS), FEW);
    for (int i = 0; i < 100; i++) { /* the others are being set up for a second */
        link.now_ms += 10;
        link.bytes += 500;
        assert_int_equal(hc_ramp_next(&link.ramp, link.now_ms,
                                      &(const struct hc_ramp_sample){link.bytes, 1,
                                                                     false}),
                         FEW);
    }
    assert_int_equal(link_run(&link, 300), LIMIT);
}

static void the_wait_for_a_connection_without_bytes_ends(void **state)
{
    struct link link = open_link(50, 1000000);

    (void)state;
    assert_int_equal(link_run(&link, STEP_MS), FEW);
    for (int i = 0; i < 230; i++) {
        link.now_ms += 10;
        link.bytes += 500;
        (void)hc_ramp_next(&link.ramp, link.now_ms,
                           &(const struct hc_ramp_sample){link.bytes, 1, false});
    }
    assert_int_equal(link.ramp.connections, LIMIT);
}

static void broken_connections_are_tried_again_later(void **state)
{
    struct link link = open_link(50, 1000000);

    (void)state;
    (void)link_run(&link, 1000);
    hc_ramp_reduce(&link.ramp, 3, link.now_ms);
    assert_int_equal(link_run(&link, 900), 3);
    assert_int_equal(link_run(&link, 2000), LIMIT);
}

static void a_refusal_is_the_last_word(void **state)
{
    struct link link = open_link(50, 1000000);

    (void)state;
    (void)link_run(&link, 1000);
    hc_ramp_limit(&link.ramp, 3, link.now_ms);
    assert_int_equal(link_run(&link, 100000), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_throttles_connections_gets_many),
        cmocka_unit_test(a_link_that_few_connections_fill_keeps_few),
        cmocka_unit_test(busy_processors_end_the_growth),
        cmocka_unit_test(growth_stops_when_it_gains_nothing),
        cmocka_unit_test(a_fast_link_is_looked_at_for_longer),
        cmocka_unit_test(a_server_that_is_generous_at_first_is_found_out),
        cmocka_unit_test(questions_without_use_become_rare),
        cmocka_unit_test(connections_without_bytes_are_waited_for),
        cmocka_unit_test(the_wait_for_a_connection_without_bytes_ends),
        cmocka_unit_test(broken_connections_are_tried_again_later),
        cmocka_unit_test(a_refusal_is_the_last_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
