/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of one file: the cache answers when it can, the Hub when it must, and when
 * the Hub fails, what it said last time; offline, nothing is asked.
 */
#include "resolver_fixture.h"

#include <stdio.h>
#include <string.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

static void a_missing_file_is_fetched_and_named(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, NULL, "weights.bin", &file), 0);

    assert_file_content(&file, "0123456789abcdef");
    assert_string_equal(file.cache_path, pointer_path(f->commit, "weights.bin"));
    assert_string_equal(file.filename, "weights.bin");
    assert_string_equal(file.commit_hash, f->commit);
    assert_int_equal(strlen(file.etag), 64);
    assert_int_equal(file.size_bytes, 16);
    assert_int_equal(file.source, HC_SOURCE_HUB);
    assert_false(file.stale);
    assert_true(temp_dir_has(f->dir, "CACHEDIR.TAG"));
    hc_file_clear(&file);
}

static void a_second_request_for_a_file_sends_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    test_hub_clear_log(f->hub);

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_int_equal(file.source, HC_SOURCE_CACHE);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    hc_file_clear(&file);
}

static void a_commit_is_answered_without_the_hub_however_old(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, f->commit, "config.json", &file), 0);
    hc_file_clear(&file);
    test_hub_clear_log(f->hub);

    assert_int_equal(fixture_resolve_file(f, f->commit, "config.json", &file), 0);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    assert_false(temp_dir_has(f->dir, REPO_FOLDER "/refs")); /* a commit is no ref */
    hc_file_clear(&file);
}

static void an_old_ref_costs_one_request(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_clear_log(f->hub);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), 0);
        assert_int_equal(file.source, HC_SOURCE_CACHE);
        hc_file_clear(&file);
    }
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

static void a_branch_that_moved_is_followed(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;
    char commit[41];

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_move_main(f, commit);
    resolver_fixture_age_ref(f, "main", 61);

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_string_equal(file.commit_hash, commit);
    assert_file_content(&file, "{\"v\": 2}");
    hc_file_clear(&file);
}

static void the_caller_says_how_stale_an_answer_may_be(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = "config.json",
                                      .options = {.has_max_staleness = true}};
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_age_ref(f, "main", 3600);
    test_hub_clear_log(f->hub);

    request.options.max_staleness_ms = 7200000;
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 0);
    hc_file_clear(&file);

    request.options.max_staleness_ms = 0;
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_int_not_equal(test_hub_count(f->hub, "HEAD", NULL), 0);
    hc_file_clear(&file);
}

static void an_outage_is_answered_from_the_cache_and_marked_stale(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_clear_log(f->hub);
    test_hub_rule(f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_true(file.stale);
    assert_int_equal(file.source, HC_SOURCE_CACHE);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL),
                     1); /* no retries for a fallback */
    hc_file_clear(&file);
}

static void an_outage_with_a_mirror_is_answered_by_it_and_marked_stale(void **state)
{
    struct fixture *f = *state;
    struct test_hub *mirror = test_hub_start(&(struct test_hub_options){0});
    struct hc_file file;

    test_hub_add(mirror, "config.json", "mirrored", 8, false);
    test_hub_commit(mirror, "models/org/model", "main", f->commit);
    assert_int_equal(hc_settings_add_mirror(&f->settings, test_hub_endpoint(mirror),
                                            &f->err),
                     0);
    resolver_fixture_reopen(f, false);
    test_hub_rule(f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_true(file.stale);
    assert_file_content(&file, "mirrored");
    hc_file_clear(&file);
    test_hub_stop(mirror);
}

static void a_connection_closed_without_an_answer_counts_as_an_outage(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_CLOSE});

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_true(file.stale);
    hc_file_clear(&file);
}

static void an_outage_without_a_cached_file_is_retried_and_then_unreachable(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    test_hub_rule(f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_true(f->err.retry_after_ms > 0);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 3);
}

static void a_file_the_hub_denies_is_an_error_even_when_cached(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                  .number = 404,
                                                  .error_code = "EntryNotFound"});

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);
}

static void an_absent_file_is_remembered_with_its_ref(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;
    char marker[256];

    assert_int_equal(fixture_resolve_file(f, "main", "nothing.bin", &file), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);
    (void)snprintf(marker, sizeof marker, REPO_FOLDER "/.no_exist/%s/nothing.bin",
                   f->commit);
    assert_true(temp_dir_has(f->dir, marker));
    assert_true(temp_dir_has(f->dir, REPO_FOLDER "/refs/main"));
    test_hub_clear_log(f->hub);

    assert_int_equal(fixture_resolve_file(f, "main", "nothing.bin", &file), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

/* The branch `release` was replaced by `release/v1`, or a tag and a branch have such
 * names: the file of one ref is where the other needs a directory. */
static void a_dead_refs_name_in_the_way_fails_no_answer(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    temp_dir_write(f->dir, REPO_FOLDER "/refs/main/old", f->commit);
    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    assert_true(temp_dir_has(f->dir, REPO_FOLDER "/refs/main"));
    assert_false(temp_dir_has(f->dir, REPO_FOLDER "/refs/main/old"));

    temp_dir_write(f->dir, REPO_FOLDER "/refs/refs", f->commit);
    test_hub_tag(f->hub, "models/org/model", "refs/pr/1", f->commit);
    assert_int_equal(fixture_resolve_file(f, "refs/pr/1", "config.json", &file), 0);
    hc_file_clear(&file);
    assert_true(temp_dir_has(f->dir, REPO_FOLDER "/refs/refs/pr/1"));
}

static void offline_answers_from_disk_and_says_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_age_ref(f, "main", 1000000);
    resolver_fixture_reopen(f, true);
    test_hub_clear_log(f->hub);

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_false(file.stale);
    hc_file_clear(&file);
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_non_null(strstr(f->err.message, "weights.bin"));
    assert_non_null(strstr(f->err.message, "org/model"));
    assert_non_null(strstr(f->err.message, "main"));
    assert_non_null(strstr(f->err.message, "HF_HUB_OFFLINE"));
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

static void force_fetches_again_and_replaces_the_blob(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = "weights.bin",
                                      .options = {.force_download = true}};
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), 0);
    hc_file_clear(&file);

    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_int_equal(file.source, HC_SOURCE_HUB);
    assert_int_equal(test_hub_count_cdn(f->hub, "GET"), 2);
    assert_file_content(&file, "0123456789abcdef");
    hc_file_clear(&file);
}

static void a_dry_run_fetches_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = "weights.bin",
                                      .options = {.dry_run = true}};
    struct hc_file file;

    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_int_equal(file.source, HC_SOURCE_HUB);
    assert_int_equal(file.size_bytes, 16);
    assert_string_equal(file.cache_path, pointer_path(f->commit, "weights.bin"));
    assert_int_equal(test_hub_count(f->hub, "GET", NULL), 0);
    assert_false(temp_dir_has(f->dir, REPO_FOLDER));
    hc_file_clear(&file);
}

static void a_failed_download_leaves_no_ref(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_CORRUPT,
                                                  .on_cdn = true,
                                                  .method = "GET"});

    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_false(temp_dir_has(f->dir, REPO_FOLDER "/refs/main"));
    assert_int_equal(temp_dir_count(f->dir, REPO_FOLDER "/blobs"), 0);
    assert_int_equal(temp_dir_count(f->dir, REPO_FOLDER "/snapshots"), 0);
}

static void bad_names_are_refused_before_anything_is_asked(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = {.repo = {.id = "../evil"}, .filename = "f"};
    struct hc_file file;

    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), -1);
    assert_int_equal(f->err.reason, HC_INVALID_REPO_ID);
    assert_string_equal(f->err.field, "repo_id");
    assert_int_equal(fixture_resolve_file(f, "a\nb", "f", &file), -1);
    assert_int_equal(f->err.reason, HC_INVALID_REVISION);
    assert_int_equal(fixture_resolve_file(f, "main", "../../etc/passwd", &file), -1);
    assert_int_equal(f->err.reason, HC_INVALID_FILENAME);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

static void a_subfolder_is_put_before_the_name(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .subfolder = "sub/dir",
                                      .filename = "nested.txt"};
    struct hc_file file;

    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_string_equal(file.filename, "sub/dir/nested.txt");
    assert_file_content(&file, "nested");
    hc_file_clear(&file);
}

static void another_commit_than_the_one_asked_for_is_a_bad_reply(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;
    char moved[41];

    resolver_fixture_move_main(f, moved);
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                  .name = "X-Repo-Commit",
                                                  .text = moved});
    assert_int_equal(fixture_resolve_file(f, f->commit, "config.json", &file), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(fixture_resolve_file(f, f->commit, "absent.json", &file), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_false(temp_dir_has(f->dir, REPO_FOLDER));
}

static void a_pull_request_ref_keeps_its_name(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    test_hub_tag(f->hub, "models/org/model", "refs/pr/1", f->commit);

    assert_int_equal(fixture_resolve_file(f, "refs/pr/1", "config.json", &file), 0);
    assert_true(temp_dir_has(f->dir, REPO_FOLDER "/refs/refs/pr/1"));
    hc_file_clear(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_missing_file_is_fetched_and_named),
        test(a_second_request_for_a_file_sends_nothing),
        test(a_commit_is_answered_without_the_hub_however_old),
        test(an_old_ref_costs_one_request),
        test(a_branch_that_moved_is_followed),
        test(the_caller_says_how_stale_an_answer_may_be),
        test(an_outage_is_answered_from_the_cache_and_marked_stale),
        test(an_outage_with_a_mirror_is_answered_by_it_and_marked_stale),
        test(a_connection_closed_without_an_answer_counts_as_an_outage),
        test(an_outage_without_a_cached_file_is_retried_and_then_unreachable),
        test(a_file_the_hub_denies_is_an_error_even_when_cached),
        test(an_absent_file_is_remembered_with_its_ref),
        test(a_dead_refs_name_in_the_way_fails_no_answer),
        test(offline_answers_from_disk_and_says_what_is_missing),
        test(force_fetches_again_and_replaces_the_blob),
        test(a_dry_run_fetches_nothing),
        test(a_failed_download_leaves_no_ref),
        test(bad_names_are_refused_before_anything_is_asked),
        test(a_subfolder_is_put_before_the_name),
        test(another_commit_than_the_one_asked_for_is_a_bad_reply),
        test(a_pull_request_ref_keeps_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
