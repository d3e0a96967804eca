/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a listing of the Hub becomes a tree of safe names and hashes, or nothing.
 */
#include "test.h"

#include <hub/listing.h>

#include <string.h>

static const char commit[] = "0123456789abcdef0123456789abcdef01234567";

static void a_listing_gives_files_and_leaves_directories_out(void **state)
{
    static const char json[] =
        "[{\"type\":\"directory\",\"oid\":\"x\",\"size\":0,\"path\":\"sub\"},"
        "{\"type\":\"file\",\"oid\":\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\","
        "\"size\":3,"
        "\"path\":\"sub/a\"},"
        "{\"type\":\"file\",\"oid\":\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\","
        "\"size\":9,"
        "\"path\":\"b\",\"lfs\":{\"oid\":"
        "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca4"
        "95991b7852b855\",\"size\":9,\"pointerSize\":1}}]";
    struct hc_error err;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&err);

    (void)state;
    assert_int_equal(hc_listing_parse(json, sizeof json - 1, tree, &err), 0);
    assert_int_equal(tree->count, 2);
    assert_string_equal(tree->entries[0].path, "sub/a");
    assert_int_equal(strlen(hc_entry_etag(&tree->entries[1])), 64);
}

static void a_listing_that_is_none_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "{}",
        "[",
        "<html>",
        "[{\"type\":\"file\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"oid\":"
        "\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":-1,"
        "\"oid\":\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"../../evil\"}]",
        "[{\"type\":\"file\",\"path\":\"../a\",\"size\":1,"
        "\"oid\":\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,"
        "\"oid\":\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\",\"lfs\":{\"oid\":\"short\"}"
        "}]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_error err = {0};
        HC_AUTO(hc_tree) *tree = hc_tree_new(&err);

        if (hc_listing_parse(rows[i], strlen(rows[i]), tree, &err) != -1)
            fail_msg("accepted: %s", rows[i]);
        assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
    }
}

static void the_commit_of_a_revision_is_checked(void **state)
{
    static const char good[] = "{\"sha\":\"0123456789abcdef0123456789abcdef01234567\"}";
    static const char bad[] = "{\"sha\":\"../0123456789abcdef0123456789abcdef0123456\"}";
    struct hc_revision revision;
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_listing_revision(good, sizeof good - 1, &revision, &err), 0);
    assert_string_equal(revision.commit, commit);
    assert_false(revision.is_restricted);
    assert_int_equal(hc_listing_revision(bad, sizeof bad - 1, &revision, &err), -1);
    assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(hc_listing_revision("[]", 2, &revision, &err), -1);
    assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
}

static void private_and_gated_repos_are_restricted(void **state)
{
    static const struct {
        const char *members;
        bool is_restricted;
    } rows[] = {
        {"\"private\": false, \"gated\": false", false},
        {"\"private\": true, \"gated\": false", true},
        {"\"private\": false, \"gated\": \"manual\"", true},
        {"\"private\": false, \"gated\": \"auto\"", true},
        {"\"private\": null, \"gated\": null", false},
        {"\"private\": 0", false},
    };
    struct hc_revision revision;
    struct hc_error err;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)snprintf(text, sizeof text, "{\"sha\": \"%s\", %s}", commit,
                       rows[i].members);
        assert_int_equal(hc_listing_revision(text, strlen(text), &revision, &err), 0);
        assert_int_equal(revision.is_restricted, rows[i].is_restricted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listing_gives_files_and_leaves_directories_out),
        cmocka_unit_test(a_listing_that_is_none_is_refused),
        cmocka_unit_test(the_commit_of_a_revision_is_checked),
        cmocka_unit_test(private_and_gated_repos_are_restricted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
