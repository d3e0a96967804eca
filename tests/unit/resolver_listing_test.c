/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise about listings: an odd entry fails only requests that select it, a listing
 * is believed no further than other answers of the Hub agree with it, and a wrong one is
 * replaced.
 */
#include "resolver_fixture.h"

#include <base/auto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

/* Rows of the fixture's files, and of others. */
#define CONFIG_OID "72b51a3c18ca7b07c17a58f3b542c1bad69c5aa8"
#define ROW(path, oid, size)                                                             \
    "{\"type\": \"file\", \"path\": \"" path "\", \"oid\": \"" oid "\", \"size\": " size \
    "}"
#define CONFIG ROW("config.json", CONFIG_OID, "8")
#define OTHER_OID "3b18e512dba79e4c8300dd08aeb37f8e728b8dad" /* of no file here */
#define README ROW("README.md", "e339422d0f5def57816b7df65a4fd8979edc765d", "8")
#define NESTED ROW("sub/dir/nested.txt", "bfe53d766e64d78f80050b73cd1c88095bc70abb", "6")
#define EMPTY ROW("empty.txt", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "0")
#define WEIGHTS_WITH(sha256, more)                                                       \
    "{\"type\": \"file\", \"path\": \"weights.bin\", \"oid\": \"" CONFIG_OID             \
    "\", \"size\": 16, \"lfs\": {\"oid\": \"" sha256                                     \
    "\", \"size\": 16, \"pointerSize\": 130}" more "}"
#define WEIGHTS                                                                          \
    WEIGHTS_WITH("9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f", "")
#define REST README ", " NESTED ", " EMPTY
#define TREE REPO_FOLDER "/trees/"

/* The hub answers every listing with these rows from now on. */
static void serve_listing(struct fixture *f, const char *rows)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "/tree/",
                                                  .fault = TEST_HUB_BODY,
                                                  .text = rows});
}

static int resolve_snapshot_like(struct fixture *f,
                                 const struct hc_snapshot_request *like,
                                 struct hc_snapshot *answer)
{
    struct hc_snapshot_request request = *like;

    request.repo.id = "org/model";
    return hc_resolve_snapshot(f->resolver, &request, NULL, answer, &f->err);
}

static int resolve_listed_snapshot(struct fixture *f, struct hc_snapshot *answer)
{
    return resolve_snapshot_like(f, &(const struct hc_snapshot_request){0}, answer);
}

/* The snapshot resolves, complete, with so many files. */
static void assert_snapshot_resolves(struct fixture *f,
                                     const struct hc_snapshot_request *like,
                                     unsigned count)
{
    struct hc_snapshot answer;

    if (resolve_snapshot_like(f, like, &answer) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(answer.completeness, HC_COMPLETE);
    assert_int_equal(answer.file_count, count);
    hc_snapshot_clear(&answer);
}

static bool has_cached_tree(struct fixture *f)
{
    char path[4096];

    (void)snprintf(path, sizeof path, TREE "%s.json", f->commit);
    return temp_dir_has(f->dir, path);
}

/* ---- odd entries ------------------------------------------------------------------- */

static const char *const odd_names[] = {"a*", "C:*", "../*"};

static void an_unsafe_name_fails_only_requests_that_select_it(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request without = {.ignore_patterns = odd_names,
                                                .ignore_count = 3};
    struct hc_snapshot answer;

    serve_listing(f, "[" CONFIG ", " REST ", " WEIGHTS
                     ", " ROW("a\\tb\\u202e", CONFIG_OID,
                              "8") ", " ROW("C:x", CONFIG_OID,
                                            "8") ", " ROW("../x", CONFIG_OID, "8") "]");
    assert_int_equal(resolve_listed_snapshot(f, &answer), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_non_null(strstr(f->err.message, "'../x'"));
    assert_snapshot_resolves(f, &without, 5);

    resolver_fixture_reopen(f, true);
    assert_snapshot_resolves(f, &without, 5);
    assert_int_equal(resolve_listed_snapshot(f, &answer), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
}

static void an_unsafe_name_is_shown_without_control_characters(void **state)
{
    static const char *const allow[] = {"a*"};
    struct fixture *f = *state;
    struct hc_snapshot answer;

    serve_listing(f, "[" CONFIG ", " REST ", " WEIGHTS
                     ", " ROW("a\\tb\\u202e", CONFIG_OID, "8") "]");
    assert_int_equal(resolve_snapshot_like(f,
                                           &(const struct hc_snapshot_request){
                                               .allow_patterns = allow, .allow_count = 1},
                                           &answer),
                     -1);
    assert_non_null(strstr(f->err.message, "'a\\u0009b\\u202e'"));
    assert_null(strpbrk(f->err.message, "\t\n"));
    assert_null(strchr(f->err.message, '\xe2'));
}

static void a_masked_hash_is_asked_for_when_the_file_is_needed(void **state)
{
    static const char *const allow[] = {"*.json"};
    struct fixture *f = *state;
    const struct hc_snapshot_request config = {.allow_patterns = allow, .allow_count = 1};
    struct hc_file file;

    serve_listing(f, "[" CONFIG ", " REST
                     ", " WEIGHTS_WITH("********", ", \"xetHash\": \"****\"") "]");
    assert_snapshot_resolves(f, &config, 1);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 0);

    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
    assert_int_equal(test_hub_count(f->hub, "HEAD", "weights.bin"), 1);
    test_hub_clear_log(f->hub);
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0},
                             5); /* and then is here */
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    assert_int_equal(fixture_resolve_file(f, f->commit, "weights.bin", &file), 0);
    assert_file_content(&file, "0123456789abcdef");
    hc_file_clear(&file);
}

static void a_masked_xet_hash_alone_costs_nothing(void **state)
{
    struct fixture *f = *state;

    serve_listing(f,
                  "[" CONFIG ", " REST ", " WEIGHTS_WITH(
                      "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f",
                      ", \"xetHash\": \"********\"") "]");
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 0);
}

static void a_file_with_a_masked_hash_is_resolved_alone(void **state)
{
    static const char *const names[] = {"weights.bin", "config.json"};
    const struct hc_files_request request = {.repo = {.id = "org/model"},
                                             .filenames = names,
                                             .filename_count = 2};
    struct fixture *f = *state;
    struct hc_files files;

    serve_listing(f, "[" CONFIG ", " REST ", " WEIGHTS_WITH("********", "") "]");
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), 0);
    assert_file_content(&files.items[0], "0123456789abcdef");
    hc_files_clear(&files);
}

static void a_repeated_row_counts_once(void **state)
{
    struct fixture *f = *state;

    serve_listing(f, "[" CONFIG ", " CONFIG ", " REST ", " WEIGHTS ", " README "]");
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
}

/* With each of the listings the snapshot fails, and no tree is saved. */
static void assert_listings_refused(struct fixture *f, const char *const *listings,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct hc_snapshot answer;

        test_hub_clear_rules(f->hub);
        serve_listing(f, listings[i]);
        if (resolve_listed_snapshot(f, &answer) == 0)
            fail_msg("believed: %s", listings[i]);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_false(has_cached_tree(f));
    }
}

/* ---- listings that are none -------------------------------------------------------- */

static void an_incomplete_listing_is_refused_and_not_written(void **state)
{
    static const char *const listings[] = {
        "[" CONFIG ", " ROW("config.json/x", CONFIG_OID, "8") "]",
        "[" CONFIG ", null]",
        "[" CONFIG ", {\"path\": \"README.md\", \"size\": 8, \"oid\": \"" CONFIG_OID
        "\"}]",
        "[" CONFIG ", " README ", {\"type\": \"directory\", \"path\": \"sub\"}]",
    };
    struct fixture *f = *state;

    assert_listings_refused(f, listings, sizeof listings / sizeof *listings);
    test_hub_clear_rules(f->hub);
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
}

/* ---- listings that something else contradicts -------------------------------------- */

static unsigned count_listing_requests(struct fixture *f)
{
    return test_hub_count(f->hub, "GET", "/tree/");
}

static void fewer_files_than_the_hub_names_are_no_listing(void **state)
{
    static const char *const listings[] = {
        "[" CONFIG "]",
        "[" CONFIG ", " README ", " WEIGHTS ", " EMPTY "]",
        "[" CONFIG ", " README ", " WEIGHTS ", " EMPTY ", " ROW("x", CONFIG_OID, "8") "]",
        "[]",
    };
    struct fixture *f = *state;

    assert_listings_refused(f, listings, sizeof listings / sizeof *listings);
    assert_non_null(strstr(f->err.message, "incomplete"));
    test_hub_clear_rules(f->hub);
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
}

/* When the caller names a commit, the Hub is not asked about a revision, whose answer
 * would name the files. */
static void a_cut_listing_of_a_commit_is_no_listing(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {
        .repo = {.id = "org/model", .revision = f->commit}};
    struct hc_snapshot answer;

    serve_listing(f, "[" CONFIG ", " README "]");
    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL, &answer, &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_false(has_cached_tree(f));
    test_hub_clear_rules(f->hub);
    assert_snapshot_resolves(f, &request, 5);
}

/* A hub without that answer is believed, and is asked once. */
static void a_hub_that_names_no_files_is_believed(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {
        .repo = {.id = "org/model", .revision = f->commit}};

    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "/revision/",
                                                  .fault = TEST_HUB_STATUS,
                                                  .number = 500});
    assert_snapshot_resolves(f, &request, 5);
    assert_int_equal(test_hub_count(f->hub, "GET", "/revision/"), 1);
}

static void a_listing_of_nothing_is_believed_of_no_repo_with_files(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {
        .repo = {.id = "org/model", .revision = f->commit}};
    struct hc_snapshot answer;

    serve_listing(f, "[]");
    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL, &answer, &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_false(has_cached_tree(f));
}

static void a_repo_without_files_is_whole(void **state)
{
    struct fixture *f = *state;
    char info[128];

    (void)snprintf(info, sizeof info, "{\"sha\": \"%s\", \"siblings\": []}", f->commit);
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "/revision/",
                                                  .fault = TEST_HUB_BODY,
                                                  .text = info});
    serve_listing(f, "[]");
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 0);
    assert_true(has_cached_tree(f));
}

/* Entries of trees/<commit>.json. */
#define KEPT(path, oid, size)                                                            \
    "\"" path "\": {\"size\": " size ", \"blob_id\": \"" oid "\"}"
#define KEPT_CONFIG KEPT("config.json", CONFIG_OID, "8")
#define KEPT_README KEPT("README.md", "e339422d0f5def57816b7df65a4fd8979edc765d", "8")

/* Contents of trees/ that another client or an editor may leave. */
static void write_cached_listing(struct fixture *f, const char *entries)
{
    char path[4096], text[4096];

    (void)snprintf(path, sizeof path, TREE "%s.json", f->commit);
    (void)snprintf(text, sizeof text, "{\"format_version\": 1, \"files\": {%s}}",
                   entries);
    temp_dir_write(f->dir, path, text);
}

static int resolve_commit_snapshot(struct fixture *f, struct hc_snapshot *answer)
{
    const struct hc_snapshot_request request = {
        .repo = {.id = "org/model", .revision = f->commit}};

    return hc_resolve_snapshot(f->resolver, &request, NULL, answer, &f->err);
}

static void assert_whole_commit(struct fixture *f)
{
    struct hc_snapshot answer;

    if (resolve_commit_snapshot(f, &answer) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(answer.completeness, HC_COMPLETE);
    assert_int_equal(answer.file_count, 5);
    hc_snapshot_clear(&answer);
}

static void a_cached_listing_that_lacks_a_file_is_replaced_with_the_branch(void **state)
{
    struct fixture *f = *state;

    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
    write_cached_listing(f, KEPT_CONFIG);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_clear_log(f->hub);
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
    assert_int_equal(count_listing_requests(f), 1);

    resolver_fixture_reopen(f, true);
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
}

static void a_forced_download_lists_anew(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request forced = {.options = {.force_download = true}};

    write_cached_listing(f, KEPT_CONFIG);
    assert_snapshot_resolves(f, &forced, 5);
    assert_int_equal(count_listing_requests(f), 1);
    resolver_fixture_reopen(f, true);
    assert_snapshot_resolves(f, &(const struct hc_snapshot_request){0}, 5);
}

static void a_cached_listing_that_cannot_be_parsed_is_replaced(void **state)
{
    static const char *const bad[] = {
        "",
        KEPT_CONFIG ", \"README.md\": {\"size\": 8, \"blo",
        KEPT_CONFIG ", \"README.md\": null",
        KEPT_CONFIG ", " KEPT("config.json/x", CONFIG_OID, "8"),
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_cached_listing(f, bad[i]);
        test_hub_clear_log(f->hub);
        assert_whole_commit(f);
        assert_int_equal(count_listing_requests(f), 1);
    }
}

/* A wrong size, a wrong hash, the listing of another commit: each shows when bytes
 * arrive. */
static void a_listing_that_the_bytes_contradict_is_asked_for_once_more(void **state)
{
    static const char *const wrong[] = {
        KEPT("README.md", OTHER_OID, "8"),
        KEPT("README.md", "e339422d0f5def57816b7df65a4fd8979edc765d", "9"),
        KEPT("README.md", "e339422d0f5def57816b7df65a4fd8979edc765d", "0"),
        KEPT("of-another-commit.md", "e339422d0f5def57816b7df65a4fd8979edc765d", "8"),
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        temp_dir_remove(f->dir);
        f->dir = temp_dir_make();
        free(f->settings.cache_dir);
        f->settings.cache_dir = strdup(f->dir);
        resolver_fixture_reopen(f, false);
        write_cached_listing(f, wrong[i]);
        test_hub_clear_log(f->hub);
        assert_whole_commit(f);
        assert_int_equal(count_listing_requests(f), 1);
    }
}

/* On a volume without symlinks, after a crash of another client. */
static void a_plain_file_of_another_size_is_fetched_again(void **state)
{
    struct fixture *f = *state;
    const char *path = pointer_path(f->commit, "README.md");
    HC_AUTO_FREE char *absolute = temp_dir_path(f->dir, path);
    HC_AUTO_FREE char *content = NULL;

    assert_whole_commit(f);
    assert_int_equal(unlink(absolute), 0);
    temp_dir_write(f->dir, path, "# mod");
    assert_whole_commit(f);
    content = temp_dir_read(f->dir, path);
    assert_string_equal(content, "# model\n");
}

static void a_listing_that_stays_wrong_is_asked_for_once_more_only(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot answer;

    serve_listing(f, "[" CONFIG ", " ROW("README.md", OTHER_OID,
                                         "8") ", " NESTED ", " EMPTY ", " WEIGHTS "]");
    assert_int_equal(resolve_commit_snapshot(f, &answer), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_int_equal(count_listing_requests(f), 2);
}

static void a_file_that_a_listing_describes_wrongly_is_described_by_head(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    write_cached_listing(f, KEPT_CONFIG ", " KEPT("README.md", OTHER_OID, "8"));
    assert_int_equal(fixture_resolve_file(f, f->commit, "README.md", &file), 0);
    assert_file_content(&file, "# model\n");
    hc_file_clear(&file);
    assert_false(has_cached_tree(f));
}

static void a_file_that_a_listing_lacks_drops_the_listing(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    write_cached_listing(f, KEPT_CONFIG);
    assert_int_equal(fixture_resolve_file(f, f->commit, "README.md", &file), 0);
    hc_file_clear(&file);
    assert_false(has_cached_tree(f));

    write_cached_listing(f, KEPT_CONFIG ", " KEPT_README);
    assert_int_equal(fixture_resolve_file(f, f->commit, "config.json", &file), 0);
    hc_file_clear(&file);
    assert_true(has_cached_tree(f));
}

/* ---- absences ---------------------------------------------------------------------- */

static void a_listing_marks_no_absence(void **state)
{
    static const char *const names[] = {"config.json", "absent.json"};
    struct fixture *f = *state;
    struct hc_files_request request = {.repo = {.id = "org/model"},
                                       .filenames = names,
                                       .filename_count = 2,
                                       .allow_missing = true};
    struct hc_files files;
    struct hc_file file;

    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), 0);
    assert_int_equal(files.missing_count, 1);
    hc_files_clear(&files);
    assert_false(temp_dir_has(f->dir, REPO_FOLDER "/.no_exist"));

    resolver_fixture_reopen(f, true); /* and is known all the same */
    request.allow_missing = false;
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);

    resolver_fixture_reopen(f, false);
    assert_int_equal(fixture_resolve_file(f, "main", "absent.json", &file), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_true(temp_dir_has(f->dir, REPO_FOLDER "/.no_exist"));
}

static void before_a_call_fails_for_want_of_a_file_the_hub_is_asked_for_it(void **state)
{
    static const char *const absent[] = {"config.json", "absent.json"};
    static const char *const present[] = {"config.json", "README.md"};
    struct fixture *f = *state;
    struct hc_files_request request = {.repo = {.id = "org/model", .revision = f->commit},
                                       .filenames = absent,
                                       .filename_count = 2};
    struct hc_files files;

    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_int_equal(test_hub_count(f->hub, "HEAD", "absent.json"), 1);
    assert_true(temp_dir_has(f->dir, REPO_FOLDER "/.no_exist"));
    test_hub_clear_log(f->hub);
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), -1);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 0);

    write_cached_listing(f, KEPT_CONFIG); /* which lacks a file that is there */
    request.filenames = present;
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), 0);
    assert_int_equal(files.count, 2);
    assert_file_content(&files.items[1], "# model\n");
    hc_files_clear(&files);
    assert_int_equal(count_listing_requests(f), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(an_unsafe_name_fails_only_requests_that_select_it),
        test(an_unsafe_name_is_shown_without_control_characters),
        test(a_masked_hash_is_asked_for_when_the_file_is_needed),
        test(a_masked_xet_hash_alone_costs_nothing),
        test(a_file_with_a_masked_hash_is_resolved_alone),
        test(a_repeated_row_counts_once),
        test(an_incomplete_listing_is_refused_and_not_written),
        test(fewer_files_than_the_hub_names_are_no_listing),
        test(a_cut_listing_of_a_commit_is_no_listing),
        test(a_hub_that_names_no_files_is_believed),
        test(a_listing_of_nothing_is_believed_of_no_repo_with_files),
        test(a_repo_without_files_is_whole),
        test(a_cached_listing_that_lacks_a_file_is_replaced_with_the_branch),
        test(a_forced_download_lists_anew),
        test(a_cached_listing_that_cannot_be_parsed_is_replaced),
        test(a_listing_that_the_bytes_contradict_is_asked_for_once_more),
        test(a_plain_file_of_another_size_is_fetched_again),
        test(a_listing_that_stays_wrong_is_asked_for_once_more_only),
        test(a_file_that_a_listing_describes_wrongly_is_described_by_head),
        test(a_file_that_a_listing_lacks_drops_the_listing),
        test(a_listing_marks_no_absence),
        test(before_a_call_fails_for_want_of_a_file_the_hub_is_asked_for_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
