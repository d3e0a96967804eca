/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a listing of the Hub becomes a tree of safe names and hashes, or nothing.
 */
#include "test.h"

#include <hub/listing.h>

#include <string.h>

static const char commit[] = "0123456789abcdef0123456789abcdef01234567";

#define OID "\"oid\":\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\""
#define SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define FILE_ROW(path) "{\"type\":\"file\"," OID ",\"size\":3,\"path\":\"" path "\"}"
#define DIRECTORY_ROW(path)                                                              \
    "{\"type\":\"directory\"," OID ",\"size\":0,\"path\":\"" path "\"}"
#define OTHER_ROW(path) "{\"type\":\"unknown\",\"path\":\"" path "\"}"

/* A listing of one page. */
static int listing_parse(const char *json, struct hc_listing *listing,
                         struct hc_error *err)
{
    assert_int_equal(hc_listing_init(listing, err), 0);
    if (hc_listing_parse(json, strlen(json), listing, err) < 0)
        return -1;
    return hc_listing_finish(listing, err);
}

static void listing_assert_refused(const char *const *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        HC_AUTO_VALUE(hc_listing) listing = {0};
        struct hc_error err = {0};

        if (listing_parse(rows[i], &listing, &err) != -1)
            fail_msg("accepted: %s", rows[i]);
        assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
    }
}

#define ASSERT_REFUSED(rows) listing_assert_refused(rows, sizeof(rows) / sizeof *(rows))

static void a_listing_gives_files_and_leaves_directories_out(void **state)
{
    static const char json[] = "[" DIRECTORY_ROW("sub") "," FILE_ROW(
        "sub/a") ","
                 "{\"type\":\"file\"," OID ",\"size\":9,\"path\":\"b\","
                 "\"lfs\":{\"oid\":\"" SHA256 "\",\"size\":9,\"pointerSize\":1}}]";
    HC_AUTO_VALUE(hc_listing) listing = {0};
    struct hc_error err;

    (void)state;
    assert_int_equal(listing_parse(json, &listing, &err), 0);
    assert_int_equal(listing.files->count, 2);
    assert_string_equal(listing.files->entries[1].path, "sub/a");
    assert_string_equal(hc_entry_etag(&listing.files->entries[0]), SHA256);
}

static void a_listing_that_is_none_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "{}",
        "[",
        "<html>",
        "[" FILE_ROW("a"),
        "[" FILE_ROW("a") "]]",
        "[" FILE_ROW("a") " " FILE_ROW("b") "]",
        "[" FILE_ROW("a") ",]",
    };

    (void)state;
    ASSERT_REFUSED(rows);
}

static void a_row_that_cannot_be_understood_is_refused(void **state)
{
    static const char *const rows[] = {
        "[null]",
        "[[]]",
        "[\"config.json\"]",
        "[1, " FILE_ROW("a") "]",
        "[{}]",
        "[{\"path\":\"a\",\"size\":1," OID "}]",
        "[{\"type\":1,\"path\":\"a\",\"size\":1," OID "}]",
        "[{\"type\":\"file\"}]",
        "[{\"type\":\"directory\"}]",
        "[{\"type\":\"file\",\"path\":\"\",\"size\":1," OID "}]",
        "[{\"type\":\"file\",\"path\":\"a\"," OID "}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":-1," OID "}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1}]",
    };

    (void)state;
    ASSERT_REFUSED(rows);
}

static void a_listing_that_contradicts_itself_is_refused(void **state)
{
    static const char *const rows[] = {
        "[" FILE_ROW("x") "," FILE_ROW("x/y") "]",
        "[" FILE_ROW("x/y/z") "," FILE_ROW("x-") "," FILE_ROW("x/y") "," FILE_ROW(
            "x.") "]",
        "[" FILE_ROW("x") "," DIRECTORY_ROW("x") "]",
        "[" FILE_ROW("x") ",{\"type\":\"file\"," OID ",\"size\":4,\"path\":\"x\"}]",
    };

    (void)state;
    ASSERT_REFUSED(rows);
}

static void a_directory_without_files_is_an_incomplete_listing(void **state)
{
    static const char *const rows[] = {
        "[" DIRECTORY_ROW("sub") "]",
        "[" FILE_ROW("a") "," DIRECTORY_ROW("sub") "," FILE_ROW("sub-a") "]",
        "[" FILE_ROW("sub/a") "," DIRECTORY_ROW("sub") "," DIRECTORY_ROW("sub/b") "]",
    };
    HC_AUTO_VALUE(hc_listing) listing = {0};
    struct hc_error err;

    (void)state;
    ASSERT_REFUSED(rows);
    assert_int_equal(
        listing_parse("[" DIRECTORY_ROW("a") "," DIRECTORY_ROW("a/b") "," FILE_ROW(
                          "a/b/c") "," DIRECTORY_ROW("d") "," OTHER_ROW("d/e") "]",
                      &listing, &err),
        0);
    assert_int_equal(listing.files->count, 1);
}

static void one_odd_row_does_not_condemn_the_others(void **state)
{
    static const char json[] =
        "[" FILE_ROW("ok") "," FILE_ROW("a\\tb") "," FILE_ROW("C:x") "," FILE_ROW(
            "ok") ","
                  "{\"type\":\"file\",\"oid\":\"short\",\"size\":1,\"path\":\"no-id\"},"
                  "{\"type\":\"file\"," OID ",\"size\":1,\"path\":\"masked\","
                  "\"lfs\":{\"oid\":\"****\",\"size\":7},\"xetHash\":\"****\"},"
                  "{\"type\":\"file\"," OID
                  ",\"size\":8,\"path\":\"no-lfs\",\"lfs\":\"****\"},"
                  "{\"type\":\"file\"," OID ",\"size\":9,\"path\":\"xet\","
                  "\"lfs\":{\"oid\":\"" SHA256 "\"},\"xetHash\":\"****\"}]";
    HC_AUTO_VALUE(hc_listing) listing = {0};
    const struct hc_tree *files;
    struct hc_error err;

    (void)state;
    assert_int_equal(listing_parse(json, &listing, &err), 0);
    files = listing.files;
    assert_int_equal(files->count, 7);
    assert_false(hc_tree_find(files, "a\tb")->is_safe);
    assert_false(hc_tree_find(files, "C:x")->is_safe);
    assert_string_equal(hc_entry_etag(hc_tree_find(files, "no-id")), "");
    assert_string_equal(hc_entry_etag(hc_tree_find(files, "masked")), "");
    assert_int_equal(hc_entry_size(hc_tree_find(files, "masked")), 7);
    assert_string_equal(hc_entry_etag(hc_tree_find(files, "no-lfs")), "");
    assert_int_equal(hc_entry_size(hc_tree_find(files, "no-lfs")), 8);
    assert_string_equal(hc_entry_etag(hc_tree_find(files, "xet")), SHA256);
    assert_null(hc_tree_find(files, "xet")->xet_hash);
}

static void the_names_of_files_come_with_a_revision(void **state)
{
#define SHA "{\"sha\":\"0123456789abcdef0123456789abcdef01234567\""
    static const char good[] = SHA ",\"siblings\":[{\"rfilename\":\"b\"},"
                                   "{\"rfilename\":\"a\"}],\"gated\":\"auto\"}";
    static const char *const without[] = {
        SHA "}",
        SHA ",\"siblings\":null}",
        SHA ",\"siblings\":{\"rfilename\":\"b\"}}",
        SHA ",\"siblings\":[{\"rfilename\":\"b\"},{\"rfilename\":1},{}, 1]}",
    };
    static const char *const bad[] = {
        SHA ",\"siblings\":[{\"rfilename\":\"b\"}}",
        SHA ",\"siblings\":[{\"rfilename\":\"b\"",
        SHA ",\"siblings\":[]}}",
    };
    struct hc_revision revision;
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        HC_AUTO(hc_tree) *siblings = NULL;

        assert_int_equal(hc_listing_parse_revision(without[i], strlen(without[i]),
                                                   &revision, &siblings, &err),
                         0);
        assert_null(siblings);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        HC_AUTO(hc_tree) *siblings = NULL;

        assert_int_equal(hc_listing_parse_revision(bad[i], strlen(bad[i]), &revision,
                                                   &siblings, &err),
                         -1);
        assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
    }
    {
        HC_AUTO(hc_tree) *siblings = NULL;

        assert_int_equal(hc_listing_parse_revision(good, strlen(good), &revision,
                                                   &siblings, &err),
                         0);
        assert_true(hc_visibility_is_restricted(revision.visibility));
        assert_int_equal(siblings->count, 2);
        assert_string_equal(siblings->entries[0].path, "a");
    }
}

static void the_commit_of_a_revision_is_checked(void **state)
{
    static const char good[] = "{\"sha\":\"0123456789abcdef0123456789abcdef01234567\"}";
    static const char bad[] = "{\"sha\":\"../0123456789abcdef0123456789abcdef0123456\"}";
    HC_AUTO(hc_tree) *siblings = NULL;
    struct hc_revision revision;
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_listing_parse_revision(good, sizeof good - 1, &revision,
                                               &siblings, &err),
                     0);
    assert_string_equal(revision.commit, commit);
    assert_int_equal(revision.visibility, HC_VISIBILITY_UNKNOWN);
    assert_int_equal(hc_listing_parse_revision(bad, sizeof bad - 1, &revision, &siblings,
                                               &err),
                     -1);
    assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(hc_listing_parse_revision("[]", 2, &revision, &siblings, &err), -1);
    assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
}

static void a_revision_tells_the_visibility_of_its_repo(void **state)
{
    static const struct {
        const char *members;
        enum hc_visibility visibility;
    } rows[] = {
        {"\"private\": false, \"gated\": false", HC_VISIBILITY_PUBLIC},
        {"\"private\": false", HC_VISIBILITY_PUBLIC},
        {"\"private\": true, \"gated\": false", HC_VISIBILITY_PRIVATE},
        {"\"gated\": \"auto\", \"private\": true", HC_VISIBILITY_PRIVATE},
        {"\"private\": false, \"gated\": \"manual\"", HC_VISIBILITY_GATED},
        {"\"gated\": \"auto\", \"private\": false", HC_VISIBILITY_GATED},
        {"\"gated\": \"auto\"", HC_VISIBILITY_GATED},
        {"\"private\": null, \"gated\": null", HC_VISIBILITY_UNKNOWN},
        {"\"private\": 0", HC_VISIBILITY_UNKNOWN},
        {"\"gated\": false", HC_VISIBILITY_UNKNOWN},
    };
    HC_AUTO(hc_tree) *siblings = NULL;
    struct hc_revision revision;
    struct hc_error err;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)snprintf(text, sizeof text, "{\"sha\": \"%s\", %s}", commit,
                       rows[i].members);
        assert_int_equal(hc_listing_parse_revision(text, strlen(text), &revision,
                                                   &siblings, &err),
                         0);
        assert_int_equal(revision.visibility, rows[i].visibility);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listing_gives_files_and_leaves_directories_out),
        cmocka_unit_test(a_listing_that_is_none_is_refused),
        cmocka_unit_test(a_row_that_cannot_be_understood_is_refused),
        cmocka_unit_test(a_listing_that_contradicts_itself_is_refused),
        cmocka_unit_test(a_directory_without_files_is_an_incomplete_listing),
        cmocka_unit_test(one_odd_row_does_not_condemn_the_others),
        cmocka_unit_test(the_names_of_files_come_with_a_revision),
        cmocka_unit_test(the_commit_of_a_revision_is_checked),
        cmocka_unit_test(a_revision_tells_the_visibility_of_its_repo),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
