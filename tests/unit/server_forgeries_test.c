/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a peer that sends many tokens with wrong signatures has to wait, for a
 * second at most, and the others do not; unless all together send too many.
 */
#include <server/forgeries.h>

#include <test.h>

enum { NOW_MS = 5000000 };

/* How many forgeries of that peer are checked at that time, until it has to wait. */
static unsigned count_checked(struct hc_forgeries *forgeries, uint64_t peer,
                              int64_t now_ms)
{
    unsigned count = 0;

    for (; count < 100000 && !hc_forgeries_are_many(forgeries, peer, now_ms); count++)
        hc_forgeries_count(forgeries, peer, now_ms);
    return count;
}

static void a_peer_that_forges_waits_and_the_others_do_not(void **state)
{
    struct hc_forgeries forgeries = {.all = {.per_second = 0}};

    (void)state;
    assert_int_equal(count_checked(&forgeries, 7, NOW_MS), HC_FORGERIES_OF_PEER);
    assert_true(hc_forgeries_are_many(&forgeries, 7, NOW_MS));
    assert_false(hc_forgeries_are_many(&forgeries, 8, NOW_MS));
    assert_int_equal(count_checked(&forgeries, 7, NOW_MS + HC_FORGERIES_WAIT_MS),
                     HC_FORGERIES_OF_PEER);
}

static void a_peer_of_the_same_place_does_not_wait(void **state)
{
    struct hc_forgeries forgeries = {.all = {.per_second = 0}};

    (void)state;
    assert_int_equal(count_checked(&forgeries, 7, NOW_MS), HC_FORGERIES_OF_PEER);
    assert_false(hc_forgeries_are_many(&forgeries, 7 + HC_FORGERIES_PEERS, NOW_MS));
}

static void all_peers_together_are_limited(void **state)
{
    struct hc_forgeries forgeries = {.all = {.per_second = 0}};
    unsigned count = 0;

    (void)state;
    for (uint64_t peer = 0; peer < 10000; peer++)
        count += count_checked(&forgeries, peer, NOW_MS);
    assert_int_equal(count, HC_FORGERIES_OF_ALL);
    assert_true(hc_forgeries_are_many(&forgeries, 12345678, NOW_MS));
    assert_false(
        hc_forgeries_are_many(&forgeries, 12345678, NOW_MS + HC_FORGERIES_WAIT_MS));
}

static void a_network_of_ipv6_is_one_peer(void **state)
{
    uint64_t peer = hc_forgeries_peer("2001:db8:0:1::1");

    (void)state;
    assert_true(hc_forgeries_peer("2001:db8:0:1:ffff::2") == peer);
    assert_true(hc_forgeries_peer("2001:db8:0:2::1") != peer);
    assert_true(hc_forgeries_peer("::ffff:10.0.0.1") !=
                hc_forgeries_peer("::ffff:10.0.0.2"));
    assert_true(hc_forgeries_peer("10.0.0.1") != hc_forgeries_peer("10.0.0.2"));
    assert_true(hc_forgeries_peer("") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_forges_waits_and_the_others_do_not),
        cmocka_unit_test(a_peer_of_the_same_place_does_not_wait),
        cmocka_unit_test(all_peers_together_are_limited),
        cmocka_unit_test(a_network_of_ipv6_is_one_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
