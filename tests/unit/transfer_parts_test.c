/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a large blob comes in parts over several connections where the server
 * lets it, in whatever way it lets it, and is as whole, as right and as resumable as one
 * that comes in one piece.
 */
#include "transfer_fixture.h"

#include <store/ingest.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1024 * 1024, PART = 8 * MIB };

struct fetcher {
    struct fixture *f;
    struct hc_metadata metadata;
    struct hc_cancellation *call;
    pthread_t thread;
    int result;
    struct hc_blob_result blob;
    struct hc_error err;
};

static void *fetcher_main(void *ctx)
{
    struct fetcher *fetcher = ctx;
    const struct hc_blob_request request =
        blob_request_of(fetcher->f, "large.bin", &fetcher->metadata);
    const struct hc_hub_credentials credentials = {.cancellation = fetcher->call};

    fetcher->result = hc_transfers_fetch(fetcher->f->transfers, &request, &credentials,
                                         &fetcher->blob, &fetcher->err);
    return NULL;
}

static void fetcher_start(struct fetcher *fetcher, struct fixture *f)
{
    fetcher->f = f;
    fetcher->metadata = metadata_of(f, "large.bin");
    fetcher->call = hc_cancellation_new(HC_NO_DEADLINE);
    assert_int_equal(pthread_create(&fetcher->thread, NULL, fetcher_main, fetcher), 0);
}

static int fetcher_finish(struct fetcher *fetcher)
{
    assert_int_equal(pthread_join(fetcher->thread, NULL), 0);
    hc_cancellation_free(fetcher->call);
    return fetcher->result;
}

/* The text of the redirect apart. */
static void expect_no_byte_twice(struct fixture *f)
{
    assert_in_range(test_hub_bytes_sent(f->server), LARGE_SIZE, LARGE_SIZE + 1000);
}

static void expect_fetched(struct fixture *f)
{
    uint64_t fetched;

    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, LARGE_SIZE);
    expect_only_blob(f, "large.bin");
}

static void parts_cost_no_more_bytes_and_no_more_questions(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    expect_no_byte_twice(f);
    assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 1);
    expect_log(f, "range=bytes=0-8388607", true);
    expect_log(f, "range=bytes=67108864-75497471", true);
    expect_only_blob(f, "large.bin");
}

static void note_connections(void *ctx, const struct hc_transfer *transfer)
{
    *(unsigned *)ctx = transfer->connections;
}

/* How many connections an engine of those settings has at a time. */
static unsigned connections_with(struct fixture *f, unsigned connections, uint64_t memory)
{
    const struct hc_settings settings = {.connections = connections,
                                         .download_memory = memory};
    HC_AUTO(hc_transfers) *transfers =
        hc_transfers_open(f->cache, f->hub, &settings, &f->err);
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    struct hc_blob_request request = blob_request_of(f, "large.bin", &metadata);
    const struct hc_hub_credentials credentials = {0};
    unsigned most = 0;
    struct hc_blob_result result;

    hc_transfers_observe(transfers, note_connections, &most);
    request.is_forced = true;
    assert_int_equal(hc_transfers_fetch(transfers, &request, &credentials, &result,
                                        &f->err),
                     0);
    return most;
}

static void memory_and_a_number_bound_the_connections(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(connections_with(f, 8, MIB), 1);
    assert_int_equal(connections_with(f, 0, 0), 1);
    assert_in_range(connections_with(f, 2, 0), 1, 2);
}

/* The first piece stops after a MiB, and whatever is asked for of its rest never begins:
 * all else comes over other connections. */
static void stall_first_piece(struct fixture *f)
{
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .range = "bytes=0-",
                                          .fault = TEST_HUB_STALL,
                                          .number = MIB});
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .range = "bytes=1048576-",
                                          .fault = TEST_HUB_STALL});
}

static void other_connections_fetch_the_bytes_of_one_that_stalls(void **state)
{
    struct fixture *f = *state;
    struct fetcher fetcher = {0};

    stall_first_piece(f);
    fetcher_start(&fetcher, f);
    await_arrived(f, fetcher.metadata.etag, LARGE_SIZE - PART + MIB);
    test_hub_clear_rules(f->server);
    test_hub_release(f->server);
    assert_int_equal(fetcher_finish(&fetcher), 0);
    expect_no_byte_twice(f);
    expect_only_blob(f, "large.bin");
}

/* The same when it had taken more than one piece: all but the one it is at. */
static void other_connections_fetch_the_span_of_a_slow_one(void **state)
{
    const struct hc_settings settings = {.connections = 2};
    struct fixture *f = *state;
    struct fetcher fetcher = {0};

    hc_transfers_close(f->transfers);
    f->transfers = hc_transfers_open(f->cache, f->hub, &settings, &f->err);
    assert_non_null(f->transfers);
    stall_first_piece(f);
    fetcher_start(&fetcher, f);
    await_arrived(f, fetcher.metadata.etag, LARGE_SIZE - PART + MIB);
    expect_log(f, "range=bytes=0-16777215", true);
    test_hub_clear_rules(f->server);
    test_hub_release(f->server);
    assert_int_equal(fetcher_finish(&fetcher), 0);
    expect_only_blob(f, "large.bin");
}

static void what_lies_beyond_a_hole_is_not_fetched_again(void **state)
{
    struct fixture *f = *state;
    struct fetcher fetcher = {0};
    uint64_t fetched;

    stall_first_piece(f);
    fetcher_start(&fetcher, f);
    await_arrived(f, fetcher.metadata.etag, LARGE_SIZE - PART + MIB);
    hc_cancellation_cancel(fetcher.call);
    assert_int_equal(fetcher_finish(&fetcher), -1);
    assert_int_equal(fetcher.err.reason, HC_CANCELLED);
    test_hub_clear_rules(f->server);

    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, PART - MIB);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
    expect_log(f, "range=bytes=1048576-8388607", true);
    expect_only_blob(f, "large.bin");
}

static void a_server_without_parts_is_asked_once(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_NO_RANGE});
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
    expect_no_byte_twice(f);
    expect_only_blob(f, "large.bin");
}

static void a_server_that_stops_sending_parts_sends_it_all_again(void **state)
{
    struct fixture *f = *state;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .skip = 3,
                                          .fault = TEST_HUB_NO_RANGE});
    expect_fetched(f);
}

static void a_server_that_sends_shorter_parts_is_only_slower(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_SHORT_RANGE,
                                          .number = 3 * (uint64_t)MIB});
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    expect_no_byte_twice(f);
    expect_only_blob(f, "large.bin");
}

static void a_server_that_cuts_every_answer_short_is_only_slower(void **state)
{
    static const enum test_hub_fault faults[] = {TEST_HUB_CUT, TEST_HUB_CUT_RESET};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                              .fault = faults[i],
                                              .number = 5 * (uint64_t)MIB});
        expect_fetched(f);
        test_hub_clear_rules(f->server);
        temp_dir_remove(temp_dir_path(f->dir, "models--org--m"));
    }
}

static void a_server_that_refuses_more_connections_keeps_one(void **state)
{
    static const uint64_t statuses[] = {429, 503};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                              .skip = 1,
                                              .times = 3,
                                              .fault = TEST_HUB_STATUS,
                                              .number = statuses[i]});
        expect_fetched(f);
        test_hub_clear_rules(f->server);
        temp_dir_remove(temp_dir_path(f->dir, "models--org--m"));
    }
}

static void an_address_that_expires_on_the_way_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .skip = 4,
                                          .times = 1,
                                          .fault = TEST_HUB_STATUS,
                                          .number = 403});
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 2);
    expect_only_blob(f, "large.bin");
}

static void a_wrong_byte_in_one_part_costs_one_more_fetch(void **state)
{
    struct fixture *f = *state;
    struct test_hub_rule rule = {
        .on_cdn = true, .skip = 2, .times = 1, .fault = TEST_HUB_CORRUPT, .number = 77};
    uint64_t fetched;

    inject_rule(f, rule);
    expect_fetched(f);

    rule.times = 0;
    test_hub_clear_rules(f->server);
    inject_rule(f, rule);
    temp_dir_remove(temp_dir_path(f->dir, "models--org--m"));
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    expect_no_blob(f);
}

static void a_server_that_goes_away_for_good_ends_it(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .skip = 3,
                                          .fault = TEST_HUB_CLOSE});
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(fetched, 0);
    test_hub_clear_rules(f->server);
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_true(fetched < LARGE_SIZE);
    expect_only_blob(f, "large.bin");
}

static void a_deadline_ends_all_connections(void **state)
{
    struct fixture *f = *state;
    struct hc_cancellation *call = hc_cancellation_new(hc_monotonic_ms() + 500);
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_STALL,
                                          .number = 1000});
    assert_int_equal(fetch_file(f, "large.bin", call, &fetched), -1);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    hc_cancellation_free(call);
    expect_no_blob(f);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parts_cost_no_more_bytes_and_no_more_questions),
        TEST(memory_and_a_number_bound_the_connections),
        TEST(other_connections_fetch_the_bytes_of_one_that_stalls),
        TEST(other_connections_fetch_the_span_of_a_slow_one),
        TEST(what_lies_beyond_a_hole_is_not_fetched_again),
        TEST(a_server_without_parts_is_asked_once),
        TEST(a_server_that_stops_sending_parts_sends_it_all_again),
        TEST(a_server_that_sends_shorter_parts_is_only_slower),
        TEST(a_server_that_cuts_every_answer_short_is_only_slower),
        TEST(a_server_that_refuses_more_connections_keeps_one),
        TEST(an_address_that_expires_on_the_way_is_asked_for_again),
        TEST(a_wrong_byte_in_one_part_costs_one_more_fetch),
        TEST(a_server_that_goes_away_for_good_ends_it),
        TEST(a_deadline_ends_all_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
