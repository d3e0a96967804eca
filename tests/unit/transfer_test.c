/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a fetch ends with the blob whole and right, or with nothing at all; what a
 * bad connection costs is the bytes that did not arrive, and what bad bytes cost is one
 * more try.
 */
#include "blob_id.h"
#include "transfer_fixture.h"

#include <cache/pointer.h>

#include <stdlib.h>
#include <string.h>

enum { FIRST_SHARE = 16384 }; /* what curl hands over first of a longer body */

static void a_blob_is_fetched_once(void **state)
{
    struct fixture *f = *state;
    uint64_t first, second;

    assert_int_equal(fetch_file(f, "small.bin", NULL, &first), 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
    assert_int_equal(fetch_file(f, "small.bin", NULL, &second), 0);

    assert_int_equal(first, SMALL_SIZE);
    assert_int_equal(second, 0);
    assert_int_equal(test_hub_count(f->server, "GET", NULL),
                     0); /* since the second HEAD */
    expect_only_blob(f, "small.bin");
}

static void transfer_note_report(void *ctx, const struct hc_transfer *report)
{
    (void)report;
    ++*(unsigned *)ctx;
}

static void what_is_there_is_no_transfer(void **state)
{
    struct fixture *f = *state;
    unsigned reports = 0;
    uint64_t fetched;

    hc_transfers_observe(f->transfers, transfer_note_report, &reports);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    assert_int_equal(reports, 1);
}

static void a_git_file_is_fetched_from_the_hub(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    assert_int_equal(fetch_file(f, "config.json", NULL, &fetched), 0);
    assert_int_equal(fetched, 2);
    expect_only_blob(f, "config.json");
}

static void an_empty_file_needs_no_request(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    assert_int_equal(fetch_file(f, "empty.txt", NULL, &fetched), 0);
    assert_int_equal(test_hub_count(f->server, "GET", NULL), 0);
    expect_only_blob(f, "empty.txt");
}

static void a_large_file_arrives_whole(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, LARGE_SIZE);
    expect_only_blob(f, "large.bin");
}

static void force_fetches_what_is_there(void **state)
{
    struct fixture *f = *state;
    const struct hc_hub_credentials credentials = {0};
    struct hc_metadata metadata;
    struct hc_blob_request request;
    struct hc_blob_result result;
    uint64_t fetched;

    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    metadata = metadata_of(f, "small.bin");
    request = blob_request_of(f, "small.bin", &metadata);
    request.is_forced = true;

    assert_int_equal(hc_transfers_fetch(f->transfers, &request, &credentials, &result,
                                        &f->err),
                     0);
    assert_int_equal(fetched, SMALL_SIZE);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
    expect_only_blob(f, "small.bin");
}

static void a_blob_of_another_size_is_replaced(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    char blob[PATH_MAX];
    uint64_t fetched;

    assert_int_equal(hc_cache_blob_path(blob, BLOB_OF(f, metadata.etag), &f->err), 0);
    temp_dir_write(f->dir, blob, "half a fi");

    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, SMALL_SIZE);
    expect_only_blob(f, "small.bin");
}

/* --- connections that break ----------------------------------------------------------
 */

static void a_dropped_connection_is_taken_up_where_it_was(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_CUT,
                                          .number = 12345});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    expect_log(f, "range=bytes=12345-", true);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 2);
    expect_only_blob(f, "small.bin");
}

/* Its length is not the file's: none of its bytes is taken for the file's. */
static void an_answer_of_another_length_is_asked_for_anew(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){
                       .on_cdn = true, .times = 1, .fault = TEST_HUB_SHORT, .number = 1});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    expect_log(f, "range=bytes", false);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 2);
    assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 2);
    expect_only_blob(f, "small.bin");
}

static void a_reset_connection_is_taken_up(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_CUT_RESET,
                                          .number = 1024 * 1024});
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    expect_log(f, "range=bytes=0-8388607", true);
    expect_log(f, "range=bytes=1048576-8388607", true);
    expect_only_blob(f, "large.bin");
}

static void a_server_without_ranges_sends_all_again(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){
                       .on_cdn = true, .times = 1, .fault = TEST_HUB_CUT, .number = 777});
    inject_rule(f, (struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_NO_RANGE});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    expect_log(f, "range=bytes=777-", true);
    expect_only_blob(f, "small.bin");
}

static void progress_renews_the_retries(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_CUT,
                                          .number = 2000});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    assert_true(test_hub_count_cdn(f->server, "GET") >= SMALL_SIZE / 2000);
    expect_only_blob(f, "small.bin");
}

static void without_progress_it_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_CLOSE});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_not_equal(f->err.retry_after_ms, 0);
    assert_non_null(strstr(f->err.message, "small.bin"));
    assert_int_equal(fetched, 0);
    expect_no_blob(f);
}

static void a_hub_that_always_sends_less_ends_it(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_SHORT,
                                          .number = 5});
    inject_rule(f, (struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_NO_RANGE});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), -1);
    expect_no_blob(f);
}

static void a_deadline_ends_a_stalled_transfer(void **state)
{
    struct fixture *f = *state;
    struct hc_cancellation *call = hc_cancellation_new(hc_monotonic_ms() + 300);
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_STALL,
                                          .number = 100});
    assert_int_equal(fetch_file(f, "small.bin", call, &fetched), -1);
    hc_cancellation_free(call);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    expect_no_blob(f);
}

static void a_storage_that_asks_for_a_pause_gets_it(void **state)
{
    struct fixture *f = *state;
    int64_t start = hc_monotonic_ms();
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_STATUS,
                                          .number = 429,
                                          .retry_after_s = 1});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    assert_true(hc_monotonic_ms() - start >= 1000);
    expect_only_blob(f, "small.bin");
}

/* --- bytes that are wrong ------------------------------------------------------------
 */

static void note_retries(void *ctx, const struct hc_transfer *report)
{
    *(unsigned *)ctx = report->retries;
}

static void wrong_bytes_are_fetched_again_once(void **state)
{
    struct fixture *f = *state;
    unsigned retries = 0;
    uint64_t fetched;

    hc_transfers_observe(f->transfers, note_retries, &retries);
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_CORRUPT,
                                          .number = 9});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 2);
    assert_int_equal(retries, 1);
    expect_log(f, "range=bytes", false); /* from the beginning */
    expect_only_blob(f, "small.bin");
}

static void bytes_that_stay_wrong_are_not_stored(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_CORRUPT,
                                          .number = 9});
    assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_non_null(strstr(f->err.message, "file 'small.bin' of model 'org/m'"));
    assert_non_null(strstr(f->err.message, "ask again"));
    assert_non_null(strstr(f->err.message, "the bytes hash to"));
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 2);
    assert_int_equal(fetched, 0);
    expect_no_blob(f);
}

static void more_bytes_than_promised_are_not_stored(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    const struct hc_hub_credentials credentials = {0};
    struct hc_blob_request request = blob_request_of(f, "small.bin", &metadata);
    struct hc_blob_result result;

    /* No hash to catch it, and what was promised is there before more comes. */
    request.blob.etag = "no-hash";
    request.size = FIRST_SHARE;
    request.location = metadata.location;
    assert_int_equal(hc_transfers_fetch(f->transfers, &request, &credentials, &result,
                                        &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    expect_no_blob(f);
}

/* --- where the bytes are -------------------------------------------------------------
 */

static void a_known_location_is_asked_directly(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    const struct hc_hub_credentials credentials = {0};
    struct hc_blob_request request = blob_request_of(f, "small.bin", &metadata);
    struct hc_blob_result result;

    request.location = metadata.location;
    assert_int_equal(hc_transfers_fetch(f->transfers, &request, &credentials, &result,
                                        &f->err),
                     0);
    assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
}

static void a_location_that_expired_is_asked_for_again(void **state)
{
    static const uint64_t statuses[] = {401, 403, 404, 410};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        const struct hc_metadata metadata = metadata_of(f, "small.bin");
        const struct hc_hub_credentials credentials = {0};
        struct hc_blob_request request = blob_request_of(f, "small.bin", &metadata);
        struct hc_blob_result result;

        request.location = metadata.location;
        request.is_forced = true;
        inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                              .times = 1,
                                              .fault = TEST_HUB_STATUS,
                                              .number = statuses[i]});
        assert_int_equal(hc_transfers_fetch(f->transfers, &request, &credentials, &result,
                                            &f->err),
                         0);
        assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 1);
        expect_only_blob(f, "small.bin");
    }
}

/* Of no use, in all the ways in which a storage may be behind a redirect. */
static const struct test_hub_rule useless[] = {
    {.fault = TEST_HUB_STATUS, .number = 401},
    {.fault = TEST_HUB_STATUS, .number = 403},
    {.fault = TEST_HUB_STATUS, .number = 404},
    {.fault = TEST_HUB_STATUS, .number = 410},
    {.fault = TEST_HUB_STATUS, .number = 206},
    {.fault = TEST_HUB_STATUS, .number = 204},
    {.fault = TEST_HUB_BODY, .text = ""},
    {.fault = TEST_HUB_BODY, .text = "<html>Please sign in</html>"},
    {.fault = TEST_HUB_REDIRECT, .text = "gopher://nowhere/"},
    {.fault = TEST_HUB_STATUS, .number = 503},
};

enum { USELESS = sizeof useless / sizeof *useless };

static void inject_useless(struct fixture *f, size_t i, unsigned times)
{
    struct test_hub_rule rule = useless[i];

    rule.on_cdn = true;
    rule.times = times;
    test_hub_clear_rules(f->server);
    inject_rule(f, rule);
}

static void one_useless_answer_behind_a_redirect_costs_one_more_question(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < USELESS; i++) {
        uint64_t fetched;

        inject_useless(f, i, 1);
        if (fetch_file(f, "small.bin", NULL, &fetched) < 0)
            fail_msg("answer %zu: %s", i, f->err.message);
        assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 2);
        expect_only_blob(f, "small.bin");
        temp_dir_remove(temp_dir_path(f->dir, "models--org--m"));
    }
}

/* It says no length, and so is a file until it ends. */
static void a_page_instead_of_a_file_is_not_resumed(void **state)
{
    static const struct {
        const char *path;
        uint64_t size;
    } rows[] = {{"small.bin", SMALL_SIZE}, {"large.bin", LARGE_SIZE}};
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        uint64_t fetched;

        inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                              .times = 1,
                                              .fault = TEST_HUB_BODY,
                                              .text = "<html>Please sign in</html>"});
        inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                              .times = 1,
                                              .fault = TEST_HUB_HEADER,
                                              .name = "Content-Length"});
        assert_int_equal(fetch_file(f, rows[i].path, NULL, &fetched), 0);
        assert_true(test_hub_bytes_sent(f->server) < rows[i].size + 1000);
        expect_only_blob(f, rows[i].path);
        temp_dir_remove(temp_dir_path(f->dir, "models--org--m"));
    }
}

static void useless_answers_that_stay_are_asked_for_twice(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < USELESS - 1; i++) {
        uint64_t fetched;

        inject_useless(f, i, 0);
        assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), -1);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 2);
        expect_no_blob(f);
    }
}

/* A refusal of the Hub's own is its last word. */
static void what_the_hub_itself_refuses_is_asked_for_once(void **state)
{
    static const uint64_t statuses[] = {401, 403, 404, 410};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        uint64_t fetched;

        test_hub_clear_rules(f->server);
        inject_rule(f, (struct test_hub_rule){.method = "GET",
                                              .contains = "/resolve/",
                                              .fault = TEST_HUB_STATUS,
                                              .number = statuses[i]});
        assert_int_equal(fetch_file(f, "small.bin", NULL, &fetched), -1);
        assert_int_equal(test_hub_count(f->server, "GET", "/resolve/"), 1);
    }
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_blob_is_fetched_once),
        TEST(what_is_there_is_no_transfer),
        TEST(a_git_file_is_fetched_from_the_hub),
        TEST(an_empty_file_needs_no_request),
        TEST(a_large_file_arrives_whole),
        TEST(force_fetches_what_is_there),
        TEST(a_blob_of_another_size_is_replaced),
        TEST(a_dropped_connection_is_taken_up_where_it_was),
        TEST(an_answer_of_another_length_is_asked_for_anew),
        TEST(a_reset_connection_is_taken_up),
        TEST(a_server_without_ranges_sends_all_again),
        TEST(progress_renews_the_retries),
        TEST(without_progress_it_ends),
        TEST(a_hub_that_always_sends_less_ends_it),
        TEST(a_deadline_ends_a_stalled_transfer),
        TEST(a_storage_that_asks_for_a_pause_gets_it),
        TEST(wrong_bytes_are_fetched_again_once),
        TEST(bytes_that_stay_wrong_are_not_stored),
        TEST(more_bytes_than_promised_are_not_stored),
        TEST(a_known_location_is_asked_directly),
        TEST(a_location_that_expired_is_asked_for_again),
        TEST(one_useless_answer_behind_a_redirect_costs_one_more_question),
        TEST(a_page_instead_of_a_file_is_not_resumed),
        TEST(useless_answers_that_stay_are_asked_for_twice),
        TEST(what_the_hub_itself_refuses_is_asked_for_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
