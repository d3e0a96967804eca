/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise about listings: an odd entry spoils only what needs it, a listing is
 * believed no further than what else is known, and one that is wrong does not stay.
 */
#include "resolver_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

/* Rows of the fixture's files, and of others. */
#define CONFIG_OID "72b51a3c18ca7b07c17a58f3b542c1bad69c5aa8"
#define ROW(path, oid, size)                                                             \
    "{\"type\": \"file\", \"path\": \"" path "\", \"oid\": \"" oid "\", \"size\": " size \
    "}"
#define CONFIG ROW("config.json", CONFIG_OID, "8")
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

/* What the Hub lists from now on. */
static void list(struct fixture *f, const char *rows)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "/tree/",
                                                  .fault = TEST_HUB_BODY,
                                                  .text = rows});
}

static int snapshot_with(struct fixture *f, const struct hc_snapshot_request *like,
                         struct hc_snapshot *answer)
{
    struct hc_snapshot_request request = *like;

    request.repo.id = "org/model";
    return hc_resolve_snapshot(f->resolver, &request, NULL, answer, &f->err);
}

static int snapshot(struct fixture *f, struct hc_snapshot *answer)
{
    return snapshot_with(f, &(const struct hc_snapshot_request){0}, answer);
}

/* A snapshot that is whole, of so many files. */
static void assert_snapshot(struct fixture *f, const struct hc_snapshot_request *like,
                            unsigned count)
{
    struct hc_snapshot answer;

    if (snapshot_with(f, like, &answer) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(answer.completeness, HC_COMPLETE);
    assert_int_equal(answer.file_count, count);
    hc_snapshot_clear(&answer);
}

static bool has_tree(struct fixture *f)
{
    char path[4096];

    (void)snprintf(path, sizeof path, TREE "%s.json", f->commit);
    return temp_dir_has(f->dir, path);
}

/* ---- odd entries -------------------------------------------------------------------- */

static const char *const odd_names[] = {"a*", "C:*", "../*"};

static void an_unsafe_name_fails_only_what_selects_it(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request without = {.ignore_patterns = odd_names,
                                                .ignore_count = 3};
    struct hc_snapshot answer;

    list(f, "[" CONFIG ", " REST ", " WEIGHTS
            ", " ROW("a\\tb\\u202e", CONFIG_OID,
                     "8") ", " ROW("C:x", CONFIG_OID, "8") ", " ROW("../x", CONFIG_OID,
                                                                    "8") "]");
    assert_int_equal(snapshot(f, &answer), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_non_null(strstr(f->err.message, "'../x'"));
    assert_snapshot(f, &without, 5);

    resolver_fixture_reopen(f, true);
    assert_snapshot(f, &without, 5);
    assert_int_equal(snapshot(f, &answer), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
}

static void an_unsafe_name_is_shown_without_control_characters(void **state)
{
    static const char *const allow[] = {"a*"};
    struct fixture *f = *state;
    struct hc_snapshot answer;

    list(f,
         "[" CONFIG ", " REST ", " WEIGHTS ", " ROW("a\\tb\\u202e", CONFIG_OID, "8") "]");
    assert_int_equal(snapshot_with(f,
                                   &(const struct hc_snapshot_request){.allow_patterns =
                                                                           allow,
                                                                       .allow_count = 1},
                                   &answer),
                     -1);
    assert_non_null(strstr(f->err.message, "'a\\u0009b\\u202e'"));
    assert_null(strpbrk(f->err.message, "\t\n"));
    assert_null(strstr(f->err.message, "\u202e"));
}

static void a_masked_hash_is_asked_for_when_the_file_is_needed(void **state)
{
    static const char *const allow[] = {"*.json"};
    struct fixture *f = *state;
    const struct hc_snapshot_request config = {.allow_patterns = allow, .allow_count = 1};
    struct hc_file file;

    list(f, "[" CONFIG ", " REST
            ", " WEIGHTS_WITH("********", ", \"xetHash\": \"****\"") "]");
    assert_snapshot(f, &config, 1);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 0);

    assert_snapshot(f, &(const struct hc_snapshot_request){0}, 5);
    assert_int_equal(test_hub_count(f->hub, "HEAD", "weights.bin"), 1);
    test_hub_clear_log(f->hub);
    assert_snapshot(f, &(const struct hc_snapshot_request){0}, 5); /* and then is here */
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    assert_int_equal(resolve(f, f->commit, "weights.bin", &file), 0);
    assert_content(&file, "0123456789abcdef");
    hc_file_clear(&file);
}

static void a_masked_xet_hash_alone_costs_nothing(void **state)
{
    struct fixture *f = *state;

    list(f, "[" CONFIG ", " REST ", " WEIGHTS_WITH(
                "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f",
                ", \"xetHash\": \"********\"") "]");
    assert_snapshot(f, &(const struct hc_snapshot_request){0}, 5);
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

    list(f, "[" CONFIG ", " REST ", " WEIGHTS_WITH("********", "") "]");
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), 0);
    assert_content(&files.items[0], "0123456789abcdef");
    hc_files_clear(&files);
}

static void a_repeated_row_counts_once(void **state)
{
    struct fixture *f = *state;

    list(f, "[" CONFIG ", " CONFIG ", " REST ", " WEIGHTS ", " README "]");
    assert_snapshot(f, &(const struct hc_snapshot_request){0}, 5);
}

/* ---- listings that are none --------------------------------------------------------- */

static void what_is_no_whole_listing_is_refused_and_not_kept(void **state)
{
    static const char *const listings[] = {
        "[" CONFIG ", " ROW("config.json/x", CONFIG_OID, "8") "]",
        "[" CONFIG ", null]",
        "[" CONFIG ", {\"path\": \"README.md\", \"size\": 8, \"oid\": \"" CONFIG_OID
        "\"}]",
        "[" CONFIG ", " README ", {\"type\": \"directory\", \"path\": \"sub\"}]",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof listings / sizeof *listings; i++) {
        struct hc_snapshot answer;

        test_hub_clear_rules(f->hub);
        list(f, listings[i]);
        if (snapshot(f, &answer) == 0)
            fail_msg("believed: %s", listings[i]);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_false(has_tree(f));
    }
    test_hub_clear_rules(f->hub);
    assert_snapshot(f, &(const struct hc_snapshot_request){0}, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(an_unsafe_name_fails_only_what_selects_it),
        test(an_unsafe_name_is_shown_without_control_characters),
        test(a_masked_hash_is_asked_for_when_the_file_is_needed),
        test(a_masked_xet_hash_alone_costs_nothing),
        test(a_file_with_a_masked_hash_is_resolved_alone),
        test(a_repeated_row_counts_once),
        test(what_is_no_whole_listing_is_refused_and_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
