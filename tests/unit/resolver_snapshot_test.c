/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of a snapshot: one listing, one GET for each missing file, and an answer
 * that is proved: an incomplete snapshot is never answered as whole.
 */
#include "resolver_fixture.h"

#include <base/cancellation.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

static const char *const only_config[] = {"*.json"};

static struct hc_snapshot_request whole_snapshot_request(void)
{
    return (struct hc_snapshot_request){.repo = {.id = "org/model"}};
}

static struct hc_snapshot_request config_snapshot_request(void)
{
    struct hc_snapshot_request request = whole_snapshot_request();

    request.allow_patterns = only_config;
    request.allow_count = 1;
    return request;
}

static int resolve_snapshot_request(struct fixture *f,
                                    const struct hc_snapshot_request *request,
                                    struct hc_snapshot *answer)
{
    return hc_resolve_snapshot(f->resolver, request, NULL, answer, &f->err);
}

/* Resolves, for what that leaves in the cache. */
static void fetch_snapshot(struct fixture *f, const struct hc_snapshot_request *request)
{
    struct hc_snapshot answer;

    assert_int_equal(resolve_snapshot_request(f, request, &answer), 0);
    hc_snapshot_clear(&answer);
}

static void a_snapshot_costs_one_listing_and_one_get_a_file(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = whole_snapshot_request();
    struct hc_snapshot answer;

    assert_int_equal(resolve_snapshot_request(f, &request, &answer), 0);

    assert_int_equal(answer.completeness, HC_COMPLETE);
    assert_int_equal(answer.source, HC_SOURCE_HUB);
    assert_int_equal(answer.file_count, 5);
    assert_int_equal(answer.size_bytes, 8 + 8 + 0 + 6 + 16);
    assert_int_equal(answer.downloaded_bytes, 8 + 8 + 6 + 16);
    assert_string_equal(answer.commit_hash, f->commit);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 0);
    assert_int_equal(test_hub_count(f->hub, "GET", "/tree/"), 1);
    assert_int_equal(test_hub_count(f->hub, "GET", "/revision/"), 1);
    assert_int_equal(test_hub_count(f->hub, "GET", "/org/model/resolve/"), 4);
    hc_snapshot_clear(&answer);
}

/* The storage behind the Hub refuses, has lost the file, or sends something else. */
static void a_snapshot_survives_one_useless_answer_of_the_storage(void **state)
{
    static const struct test_hub_rule rules[] = {
        {.fault = TEST_HUB_STATUS, .number = 403},
        {.fault = TEST_HUB_STATUS, .number = 404},
        {.fault = TEST_HUB_BODY, .text = ""},
        {.fault = TEST_HUB_BODY, .text = "<html>Please sign in</html>"},
    };
    struct fixture *f = *state;
    struct hc_snapshot_request request = whole_snapshot_request();

    request.options.force_download = true;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct test_hub_rule rule = rules[i];

        rule.on_cdn = true;
        rule.times = 1;
        test_hub_rule(f->hub, &rule);
        fetch_snapshot(f, &request);
        test_hub_clear_rules(f->hub);
    }
}

static void a_second_request_for_a_snapshot_sends_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = whole_snapshot_request();
    struct hc_snapshot answer;

    fetch_snapshot(f, &request);
    test_hub_clear_log(f->hub);

    assert_int_equal(resolve_snapshot_request(f, &request, &answer), 0);
    assert_int_equal(answer.source, HC_SOURCE_CACHE);
    assert_int_equal(answer.completeness, HC_COMPLETE);
    assert_int_equal(answer.downloaded_bytes, 0);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    hc_snapshot_clear(&answer);
}

static void only_missing_files_are_fetched(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request some = config_snapshot_request(),
                               all = whole_snapshot_request();
    struct hc_snapshot answer;

    fetch_snapshot(f, &some);
    test_hub_clear_log(f->hub);

    assert_int_equal(resolve_snapshot_request(f, &all, &answer), 0);
    assert_int_equal(answer.downloaded_bytes, 8 + 6 + 16);
    assert_int_equal(test_hub_count(f->hub, NULL, "config.json"), 0);
    assert_int_equal(test_hub_count(f->hub, NULL, "/tree/"), 0); /* kept on disk */
    hc_snapshot_clear(&answer);
}

static void offline_an_incomplete_snapshot_is_an_error_with_names(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request some = config_snapshot_request(),
                               all = whole_snapshot_request();
    struct hc_snapshot answer;

    fetch_snapshot(f, &some);
    resolver_fixture_reopen(f, true);

    assert_int_equal(resolve_snapshot_request(f, &all, &answer), -1);
    assert_int_equal(f->err.reason, HC_INCOMPLETE_SNAPSHOT);
    assert_int_equal(f->err.missing_count, 4);
    assert_non_null(strstr(f->err.missing, "weights.bin"));
    assert_non_null(strstr(f->err.missing, "sub/dir/nested.txt"));

    assert_int_equal(resolve_snapshot_request(f, &some, &answer),
                     0); /* what was fetched is whole */
    assert_int_equal(answer.completeness, HC_COMPLETE);
    hc_snapshot_clear(&answer);
}

static void without_a_listing_completeness_is_unknown(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = whole_snapshot_request();
    struct hc_snapshot answer;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_reopen(f, true);

    assert_int_equal(resolve_snapshot_request(f, &request, &answer), 0);
    assert_int_equal(answer.completeness, HC_UNKNOWN);
    assert_int_equal(answer.file_count, 1);
    hc_snapshot_clear(&answer);

    request.repo.revision = f->commit; /* the reference fails here: trap 42 */
    assert_int_equal(resolve_snapshot_request(f, &request, &answer), 0);
    assert_int_equal(answer.completeness, HC_UNKNOWN);
    hc_snapshot_clear(&answer);
}

static void an_outage_never_makes_an_incomplete_snapshot_whole(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request some = config_snapshot_request(),
                               all = whole_snapshot_request();
    struct hc_snapshot answer;

    fetch_snapshot(f, &some);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_rule(f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});

    assert_int_equal(resolve_snapshot_request(f, &all, &answer), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(resolve_snapshot_request(f, &some, &answer), 0);
    assert_true(answer.stale);
    assert_int_equal(answer.completeness, HC_COMPLETE);
    hc_snapshot_clear(&answer);
}

static void a_blob_of_another_size_is_fetched_again(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = whole_snapshot_request();
    struct hc_snapshot answer;
    struct hc_file file;
    char *path;

    fetch_snapshot(f, &request);
    path = temp_dir_path(f->dir, pointer_path(f->commit, "weights.bin"));
    assert_int_equal(truncate(path, 3), 0);
    free(path);

    assert_int_equal(resolve_snapshot_request(f, &request, &answer), 0);
    assert_int_equal(answer.downloaded_bytes, 16);
    hc_snapshot_clear(&answer);
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), 0);
    assert_file_content(&file, "0123456789abcdef");
    hc_file_clear(&file);
}

static void a_dry_run_says_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request some = config_snapshot_request(),
                               all = whole_snapshot_request();
    struct hc_snapshot answer;

    fetch_snapshot(f, &some);
    all.options.dry_run = true;
    all.list_files = true;

    assert_int_equal(resolve_snapshot_request(f, &all, &answer), 0);
    assert_int_equal(answer.completeness, HC_PARTIAL);
    assert_int_equal(answer.missing_total, 4);
    assert_int_equal(answer.missing_listed, 4);
    assert_int_equal(answer.listed, 5);
    assert_int_equal(answer.downloaded_bytes, 0);
    assert_false(temp_dir_has(f->dir, pointer_path(f->commit, "weights.bin")));
    hc_snapshot_clear(&answer);
}

static void a_call_that_is_over_ends_the_proof(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    HC_AUTO(hc_cancellation) *call = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_snapshot resolve_snapshot_request;

    fetch_snapshot(f, &request);
    hc_cancellation_cancel(call);
    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, call,
                                         &resolve_snapshot_request, &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
}

static void patterns_that_select_nothing_make_an_empty_snapshot(void **state)
{
    struct fixture *f = *state;
    static const char *const none[] = {"no such file"};
    struct hc_snapshot_request request = whole_snapshot_request();
    struct hc_snapshot answer;

    request.allow_patterns = none;
    request.allow_count = 1;

    assert_int_equal(resolve_snapshot_request(f, &request, &answer), 0);
    assert_int_equal(answer.file_count, 0);
    assert_int_equal(access(answer.path, F_OK),
                     0); /* the ref names what exists: trap 55 */
    hc_snapshot_clear(&answer);
}

static void the_first_failure_stops_the_rest_and_arrived_files_stay(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = whole_snapshot_request();
    struct hc_snapshot answer;

    test_hub_rule(f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_CORRUPT, .on_cdn = true});

    assert_int_equal(resolve_snapshot_request(f, &request, &answer), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_false(temp_dir_has(f->dir, REPO_FOLDER "/refs/main"));
    test_hub_clear_rules(f->hub);

    assert_int_equal(resolve_snapshot_request(f, &request, &answer), 0);
    assert_int_equal(answer.completeness, HC_COMPLETE);
    hc_snapshot_clear(&answer);
}

struct progress_record {
    unsigned calls;
    uint64_t best_rate;
    struct hc_progress last;
};

static void record_progress(void *ctx, const struct hc_progress *progress)
{
    struct progress_record *progress_record = ctx;

    progress_record->calls++;
    progress_record->last = *progress;
    if (progress->bytes_per_second > progress_record->best_rate)
        progress_record->best_rate = progress->bytes_per_second;
}

static void progress_ends_with_everything_done(void **state)
{
    struct fixture *f = *state;
    struct progress_record progress_record = {0};
    struct hc_snapshot_request request = whole_snapshot_request();

    request.progress = record_progress;
    request.progress_ctx = &progress_record;
    fetch_snapshot(f, &request);

    assert_true(progress_record.calls >= 2);
    assert_int_equal(progress_record.last.files_done, 5);
    assert_int_equal(progress_record.last.files_total, 5);
    assert_int_equal(progress_record.last.bytes_done, progress_record.last.bytes_total);
    assert_int_equal(progress_record.last.bytes_total, 38);
}

/* One blob is in another repo of the cache, the other arrives slowly. */
static void serve_fork(struct fixture *f, const char *repo)
{
    test_hub_add_generated(f->hub, "big.safetensors", 2 * 1024 * 1024, 1, true);
    test_hub_add(f->hub, "late.txt", "late", 4, false);
    test_hub_commit(f->hub, repo, "main", f->commit);
}

static void only_bytes_from_the_network_count_towards_the_rate(void **state)
{
    struct fixture *f = *state;
    struct progress_record progress_record = {0};
    struct hc_snapshot_request request = whole_snapshot_request();

    serve_fork(f, "models/org/model");
    fetch_snapshot(f, &request);
    serve_fork(f, "models/org/fork");
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "late.txt",
                                                  .fault = TEST_HUB_DELAY,
                                                  .number = 1000});
    request.repo.id = "org/fork";
    request.progress = record_progress;
    request.progress_ctx = &progress_record;
    fetch_snapshot(f, &request);

    assert_int_equal(progress_record.last.bytes_done, 2 * 1024 * 1024 + 4);
    assert_in_range(progress_record.best_rate, 0, 100);
}

/* 2^63 - 1 is what JSON's numbers hold here; of three, the sum would wrap. */
static void sizes_that_add_up_to_more_than_64_bits_are_refused(void **state)
{
    static const char file[] =
        "\"%c\": {\"size\": 9223372036854775807, \"blob_id\": \"%040d\"}%s";
    struct fixture *f = *state;
    struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot resolve_snapshot_request;
    char tree[1024] = "{\"format_version\": 1, \"files\": {";
    char path[PATH_MAX];

    for (int i = 0; i < 3; i++)
        (void)snprintf(tree + strlen(tree), sizeof tree - strlen(tree), file, 'a' + i, i,
                       i < 2 ? ", " : "}}");
    (void)snprintf(path, sizeof path, REPO_FOLDER "/trees/%s.json", f->commit);
    temp_dir_write(f->dir, path, tree);
    request.repo.revision = f->commit;
    request.options.local_files_only = true;

    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL,
                                         &resolve_snapshot_request, &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(sizes_that_add_up_to_more_than_64_bits_are_refused),
        test(a_snapshot_costs_one_listing_and_one_get_a_file),
        test(a_snapshot_survives_one_useless_answer_of_the_storage),
        test(a_second_request_for_a_snapshot_sends_nothing),
        test(only_missing_files_are_fetched),
        test(offline_an_incomplete_snapshot_is_an_error_with_names),
        test(without_a_listing_completeness_is_unknown),
        test(an_outage_never_makes_an_incomplete_snapshot_whole),
        test(a_blob_of_another_size_is_fetched_again),
        test(a_dry_run_says_what_is_missing),
        test(a_call_that_is_over_ends_the_proof),
        test(patterns_that_select_nothing_make_an_empty_snapshot),
        test(the_first_failure_stops_the_rest_and_arrived_files_stay),
        test(progress_ends_with_everything_done),
        test(only_bytes_from_the_network_count_towards_the_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
