/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: no name of a caller or of the Hub can leave its directory, forge a log line or
 * be too long for a file name, and harmless names pass.
 */
#include "test.h"

#include <base/error.h>
#include <base/text.h>
#include <repo/name.h>

#include <string.h>

static void only_40_lower_case_digits_are_a_commit(void **state)
{
    (void)state;
    assert_true(hc_commit_is_valid("0123456789abcdef0123456789abcdef01234567"));
    assert_false(hc_commit_is_valid("0123456789ABCDEF0123456789abcdef01234567"));
    assert_false(hc_commit_is_valid("0123456789abcdef0123456789abcdef0123456"));
    assert_false(hc_commit_is_valid("notahash"));
    assert_false(hc_commit_is_valid(""));
}

static void branches_tags_and_pull_requests_are_revisions(void **state)
{
    static const char *const good[] = {"main", "v1.0",        "feature/x", "refs/pr/1",
                                       "a b",  "caf\xc3\xa9", "...",       "a\\b"};
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(hc_revision_check(good[i], &err), 0);
}

static void revisions_that_could_leave_refs_are_refused(void **state)
{
    static const char *const bad[] = {"",     "/",     "/a",   "a/",    "a//b",
                                      ".",    "..",    "../a", "a/..",  "a/./b",
                                      "a\nb", "a\x7f", "\xff", "a/\xc3"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hc_error err = {0};

        assert_int_equal(hc_revision_check(bad[i], &err), -1);
        assert_int_equal(err.reason, HC_INVALID_REVISION);
        assert_string_equal(err.field, "revision");
        assert_true(hc_text_is_utf8(err.message) && hc_text_is_printable(err.message));
    }
}

static void a_revision_has_limits(void **state)
{
    char revision[HC_REVISION_MAX + 2];
    struct hc_error err;

    (void)state;
    memset(revision, 'a', sizeof revision);
    revision[HC_COMPONENT_MAX] = '\0';
    assert_int_equal(hc_revision_check(revision, &err), 0);
    revision[HC_COMPONENT_MAX] = 'a';
    revision[HC_COMPONENT_MAX + 1] = '\0';
    assert_int_equal(hc_revision_check(revision, &err), -1);
    for (size_t i = 200; i < sizeof revision; i += 200)
        revision[i] = '/';
    revision[HC_COMPONENT_MAX + 1] = 'a';
    revision[HC_REVISION_MAX] = '\0';
    assert_int_equal(hc_revision_check(revision, &err), 0);
    revision[HC_REVISION_MAX] = 'a';
    revision[HC_REVISION_MAX + 1] = '\0';
    assert_int_equal(hc_revision_check(revision, &err), -1);
}

static void assert_joined(const char *subfolder, const char *filename,
                          const char *expected)
{
    char path[HC_FILENAME_MAX + 1];
    struct hc_error err;

    assert_int_equal(hc_filename_join(subfolder, filename, path, &err), 0);
    assert_string_equal(path, expected);
}

static void subfolder_and_name_become_one_path(void **state)
{
    (void)state;
    assert_joined(NULL, "config.json", "config.json");
    assert_joined("", "a/b", "a/b");
    assert_joined("sub", "a", "sub/a");
    assert_joined("sub/", "a", "sub/a");
    assert_joined("a//b/.", "./c//d", "a/b/c/d");
    assert_joined(NULL, "a\\b", "a\\b");
    assert_joined(NULL, "..a/b..", "..a/b..");
    assert_joined(NULL, "CON", "CON");
    assert_joined(NULL, "ab:c", "ab:c");
    assert_joined(NULL, "caf\xc3\xa9", "caf\xc3\xa9");
}

static void assert_filename_refused(const char *subfolder, const char *filename,
                                    const char *field)
{
    char path[HC_FILENAME_MAX + 1];
    struct hc_error err = {0};

    assert_int_equal(hc_filename_join(subfolder, filename, path, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_FILENAME);
    assert_string_equal(err.field, field);
    assert_true(hc_text_is_utf8(err.message) && hc_text_is_printable(err.message));
}

static void file_names_that_could_leave_the_snapshot_are_refused(void **state)
{
    static const char *const bad[] = {
        "",     ".",     "./",      "/",          "/etc/passwd",   "a/",
        "..",   "../a",  "a/../b",  "a/..",       "a\\..\\b",      "..\\a",
        "C:x",  "C:\\x", "con/x:y", "\\\\srv\\x", "a/\\b",         "\xc3\xa9:x",
        "a\nb", "a\x01", "a\x7f",   "\xff",       "a/\xed\xa0\x80"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_filename_refused(NULL, bad[i], "filename");
}

static void the_part_at_fault_is_named(void **state)
{
    (void)state;
    assert_filename_refused("../x", "a", "subfolder");
    assert_filename_refused("/x", "a", "subfolder");
    assert_filename_refused("x", "../a", "filename");
    assert_filename_refused("x", "/a", "filename");
    assert_filename_refused("x", "", "filename");
    assert_filename_refused("x", ".", "filename");
}

static void a_file_name_has_limits(void **state)
{
    char name[HC_FILENAME_MAX + 2];
    char path[HC_FILENAME_MAX + 1];
    struct hc_error err;

    (void)state;
    memset(name, 'a', sizeof name);
    name[HC_COMPONENT_MAX] = '\0';
    assert_int_equal(hc_filename_join(NULL, name, path, &err), 0);
    name[HC_COMPONENT_MAX] = 'a';
    name[HC_COMPONENT_MAX + 1] = '\0';
    assert_filename_refused(NULL, name, "filename");
    name[HC_COMPONENT_MAX + 1] = 'a';
    for (size_t i = 200; i < sizeof name; i += 200)
        name[i] = '/';
    name[HC_FILENAME_MAX] = '\0';
    assert_int_equal(hc_filename_join(NULL, name, path, &err), 0);
    assert_filename_refused("s", name, "filename");
    name[HC_FILENAME_MAX] = 'a';
    name[HC_FILENAME_MAX + 1] = '\0';
    assert_filename_refused(NULL, name, "filename");
    assert_filename_refused(name, "a", "subfolder");
}

static void a_listed_name_is_safe_when_it_is_in_its_only_form(void **state)
{
    (void)state;
    assert_true(hc_filename_is_safe("a/b.txt"));
    assert_true(hc_filename_is_safe(".git/config"));
    assert_false(hc_filename_is_safe("../a"));
    assert_false(hc_filename_is_safe("a//b"));
    assert_false(hc_filename_is_safe("./a"));
    assert_false(hc_filename_is_safe(""));
}

static void assert_parsed_etag(const char *header, const char *expected)
{
    char etag[HC_ETAG_MAX + 1];

    assert_true(hc_etag_parse(header, etag));
    assert_string_equal(etag, expected);
}

static void etags_are_normalised_as_the_reference_does(void **state)
{
    (void)state;
    assert_parsed_etag("W/\"abc\"", "abc");
    assert_parsed_etag("\"abc\"", "abc");
    assert_parsed_etag("abc", "abc");
    assert_parsed_etag("Wabc", "abc");
    assert_parsed_etag("WW//\"Wabc\"", "Wabc");
    assert_parsed_etag("\"x-gzip\"", "x-gzip");
    assert_parsed_etag("\"ABC\"", "ABC");
}

static void etags_that_cannot_name_a_file_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "\"\"",
                                      "W/",
                                      "\".\"",
                                      "\"..\"",
                                      "\"../../evil\"",
                                      "W/\"WW/abc\"",
                                      "a/b",
                                      "a b",
                                      "a\n",
                                      "caf\xc3\xa9",
                                      "\"abc.incomplete\"",
                                      "\"a\"b\"",
                                      "a\\b"};
    char etag[HC_ETAG_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(hc_etag_parse(bad[i], etag));
}

static void an_etag_leaves_room_for_a_suffix(void **state)
{
    char header[HC_ETAG_MAX + 2];
    char etag[HC_ETAG_MAX + 1];

    (void)state;
    memset(header, 'a', sizeof header);
    header[HC_ETAG_MAX] = '\0';
    assert_true(hc_etag_parse(header, etag));
    header[HC_ETAG_MAX] = 'a';
    header[HC_ETAG_MAX + 1] = '\0';
    assert_false(hc_etag_parse(header, etag));
    assert_false(hc_etag_is_valid(header));
}

/* The name of the blob that a file with this etag has. */
static void bind_etag(const char *from, const char *commit, const char *path,
                      char etag[HC_ETAG_MAX + 1])
{
    struct hc_error err;

    (void)hc_format(etag, HC_ETAG_MAX + 1, "%s", from);
    assert_int_equal(hc_etag_make_unique(etag, commit, path, &err), 0);
    assert_true(hc_etag_is_valid(etag));
}

static void an_etag_that_is_no_hash_names_one_file_of_one_commit(void **state)
{
    static const char git[] = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    char longest[HC_ETAG_MAX + 1], one[HC_ETAG_MAX + 1], two[HC_ETAG_MAX + 1];

    (void)state;
    bind_etag(git, "c", "p", one);
    assert_string_equal(one, git);
    bind_etag("v1", "c", "p", one);
    assert_memory_equal(one, "v1-", 3);
    assert_int_equal(strlen(one), 3 + 64);
    bind_etag("v1", "c", "p", two);
    assert_string_equal(one, two);
    bind_etag("v1", "c", "q", two);
    assert_string_not_equal(one, two);
    bind_etag("v1", "d", "p", two);
    assert_string_not_equal(one, two);
    bind_etag("v1", "cp", "", two);
    assert_string_not_equal(one, two);
    memset(longest, 'a', HC_ETAG_MAX);
    longest[HC_ETAG_MAX] = '\0';
    bind_etag(longest, "c", "p", one);
    longest[HC_ETAG_MAX - 1] = 'b';
    bind_etag(longest, "c", "p", two);
    assert_int_equal(strlen(one), HC_ETAG_MAX);
    assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_40_lower_case_digits_are_a_commit),
        cmocka_unit_test(branches_tags_and_pull_requests_are_revisions),
        cmocka_unit_test(revisions_that_could_leave_refs_are_refused),
        cmocka_unit_test(a_revision_has_limits),
        cmocka_unit_test(subfolder_and_name_become_one_path),
        cmocka_unit_test(file_names_that_could_leave_the_snapshot_are_refused),
        cmocka_unit_test(the_part_at_fault_is_named),
        cmocka_unit_test(a_file_name_has_limits),
        cmocka_unit_test(a_listed_name_is_safe_when_it_is_in_its_only_form),
        cmocka_unit_test(etags_are_normalised_as_the_reference_does),
        cmocka_unit_test(etags_that_cannot_name_a_file_are_refused),
        cmocka_unit_test(an_etag_leaves_room_for_a_suffix),
        cmocka_unit_test(an_etag_that_is_no_hash_names_one_file_of_one_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
