/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a listing on disk has the bytes that the reference client writes, and one that
 * cannot be trusted in any part is treated as absent.
 */
#include "cache_fixture.h"

#include <base/json.h>
#include <base/text.h>
#include <cache/tree_cache.h>
#include <repo/tree.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define TREE "models--org--name/trees/" COMMIT ".json"
#define HEAD "{\"format_version\": 1, \"files\": {"
#define ENTRY "\"size\": 5, \"blob_id\": \"" HELLO_GIT "\""

/* As json.dump(…, indent=1) of Python writes these four files. */
static const char reference[] = "{\n"
                                " \"format_version\": 1,\n"
                                " \"files\": {\n"
                                "  \"a \\\"b\\\"\": {\n"
                                "   \"size\": 0,\n"
                                "   \"blob_id\": \"" HELLO_GIT "\"\n"
                                "  },\n"
                                "  \"model.bin\": {\n"
                                "   \"size\": 130,\n"
                                "   \"blob_id\": \"" HELLO_GIT "\",\n"
                                "   \"lfs_sha256\": \"" HELLO_SHA256 "\",\n"
                                "   \"lfs_size\": 5000000000,\n"
                                "   \"xet_hash\": \"" HELLO_SHA256 "\"\n"
                                "  },\n"
                                "  \"\\u00e9/\\u20ac\": {\n"
                                "   \"size\": 5,\n"
                                "   \"blob_id\": \"" HELLO_GIT "\"\n"
                                "  },\n"
                                "  \"\\ud83d\\ude00\": {\n"
                                "   \"size\": 5,\n"
                                "   \"blob_id\": \"" HELLO_GIT "\"\n"
                                "  }\n"
                                " }\n"
                                "}";

static void tree_add_file(struct hc_tree *tree, const char *path, uint64_t size,
                          bool is_lfs)
{
    struct hc_entry entry = {.path = path, .size = size, .blob_id = HELLO_GIT};
    struct hc_error err;

    if (is_lfs) {
        entry.lfs_size = 5000000000;
        entry.lfs_sha256 = HELLO_SHA256;
        entry.xet_hash = HELLO_SHA256;
    }
    assert_int_equal(hc_tree_add(tree, &entry, &err), 0);
}

static struct hc_tree *make_reference_tree(void)
{
    struct hc_error err;
    struct hc_tree *tree = hc_tree_new(&err);

    assert_non_null(tree);
    tree_add_file(tree, "\xf0\x9f\x98\x80", 5, false);
    tree_add_file(tree, "model.bin", 130, true);
    tree_add_file(tree, "\xc3\xa9/\xe2\x82\xac", 5, false);
    tree_add_file(tree, "a \"b\"", 0, false);
    assert_int_equal(hc_tree_finish(tree, &err), 0);
    return tree;
}

static int tree_save(struct fixture *f, struct hc_tree *tree)
{
    return hc_tree_save(f->cache, &f->repo, COMMIT, tree, &f->err);
}

static int tree_load(struct fixture *f, struct hc_tree **tree)
{
    return hc_tree_load(f->cache, &f->repo, COMMIT, NULL, tree, &f->err);
}

static void a_saved_listing_has_the_bytes_of_the_reference(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = make_reference_tree();

    assert_int_equal(tree_save(f, tree), 0);
    assert_file_content(f, TREE, reference);
}

static void an_empty_listing_is_written_as_python_does(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&f->err);

    assert_int_equal(tree_save(f, tree), 0);
    assert_file_content(f, TREE, "{\n \"format_version\": 1,\n \"files\": {}\n}");
}

static void a_listing_has_the_mode_of_the_umask(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = make_reference_tree();
    mode_t old = umask(022);

    assert_int_equal(tree_save(f, tree), 0);
    (void)umask(old);
    assert_int_equal(file_mode_of(f, TREE), 0644);
}

static void a_listing_of_the_reference_is_read(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = NULL;
    const struct hc_entry *entry;

    temp_dir_write(f->dir, TREE, reference);
    assert_int_equal(tree_load(f, &tree), 1);
    assert_int_equal(tree->count, 4);
    entry = hc_tree_find(tree, "model.bin");
    assert_non_null(entry);
    assert_string_equal(hc_entry_etag(entry), HELLO_SHA256);
    assert_true(hc_entry_size(entry) == 5000000000);
    assert_true(entry->size == 130);
    assert_string_equal(entry->xet_hash, HELLO_SHA256);
    entry = hc_tree_find(tree, "\xf0\x9f\x98\x80");
    assert_non_null(entry);
    assert_string_equal(hc_entry_etag(entry), HELLO_GIT);
    assert_true(hc_entry_size(entry) == 5);
}

static void files_are_found_by_their_whole_path_only(void **state)
{
    HC_AUTO(hc_tree) *tree = make_reference_tree();

    (void)state;
    assert_null(hc_tree_find(tree, "model"));
    assert_null(hc_tree_find(tree, "\xc3\xa9"));
    assert_null(hc_tree_find(tree, ""));
    assert_null(hc_tree_find(tree, "z"));
}

static struct hc_tree *tree_parse_text(const char *json)
{
    struct hc_json reader;

    hc_json_from_text(&reader, json, strlen(json));
    return hc_tree_read_json(&reader);
}

static void listings_in_any_order_are_sorted(void **state)
{
    HC_AUTO(hc_tree) *tree = tree_parse_text(HEAD "\"b\": {" ENTRY "}, \"a/c\": {" ENTRY
                                                  "}, \"a-\": {" ENTRY "}}}");

    (void)state;
    assert_non_null(tree);
    assert_string_equal(tree->entries[0].path, "a-");
    assert_string_equal(tree->entries[1].path, "a/c");
    assert_string_equal(tree->entries[2].path, "b");
}

static void null_and_unknown_keys_are_harmless(void **state)
{
    HC_AUTO(hc_tree) *tree = tree_parse_text(
        HEAD "\"a\": {" ENTRY ", \"lfs_sha256\": null, \"lfs_size\": null, "
             "\"xet_hash\": null, \"new\": [1]}}, \"later\": true}");

    (void)state;
    assert_non_null(tree);
    assert_string_equal(hc_entry_etag(&tree->entries[0]), HELLO_GIT);
}

static void a_listing_with_any_error_is_rejected(void **state)
{
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"files\": {}}",
        "{\"format_version\": 2, \"files\": {}}",
        "{\"format_version\": \"1\", \"files\": {}}",
        "{\"format_version\": 1, \"files\": []}",
        "{\"format_version\": 1}",
        HEAD "}} x",
        HEAD "\"a\": {" ENTRY "}}",
        HEAD "\"a\": null}}",
        HEAD "\"a\": {\"blob_id\": \"" HELLO_GIT "\"}}}",
        HEAD "\"a\": {\"size\": 5}}}",
        HEAD "\"a\": {\"size\": -1, \"blob_id\": \"" HELLO_GIT "\"}}}",
        HEAD "\"a\": {\"size\": 1.5, \"blob_id\": \"" HELLO_GIT "\"}}}",
        HEAD "\"a\": {\"size\": 99999999999999999999, \"blob_id\": \"" HELLO_GIT "\"}}}",
        HEAD "\"a\": {\"size\": 5, \"blob_id\": 5}}}",
        HEAD "\"a\": {" ENTRY ", \"lfs_sha256\": 5, \"lfs_size\": 1}}}",
        HEAD "\"a\": {" ENTRY ", \"lfs_sha256\": \"" HELLO_SHA256 "\"}}}",
        HEAD "\"a\": {" ENTRY ", \"xet_hash\": \"xyz\"}}}",
        HEAD "\"a\": {" ENTRY ", \"xet_hash\": \"\"}}}",
        HEAD "\"\": {" ENTRY "}}}",
        HEAD "\"a\": {" ENTRY "}, }}",
        HEAD "\"a\": {" ENTRY "} \"b\": {" ENTRY "}}}",
        HEAD "\"a\": {" ENTRY "}, \"a\": {\"size\": 6, \"blob_id\": \"" HELLO_GIT "\"}}}",
        HEAD "\"a\": {" ENTRY "}, \"a-\": {" ENTRY "}, \"a/b\": {" ENTRY "}}}",
        HEAD "\"a\": {" ENTRY "}}, \"files\": {}}",
        "{\"format_version\": 1, \"format_version\": 1, \"files\": {}}",
        HEAD "\"a\\u0000b\": {" ENTRY "}}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(tree_parse_text(bad[i]));
}

/* As json.dump(…, indent=1) writes them, from what the reference client makes of such
 * rows. */
static const char odd[] = "{\n"
                          " \"format_version\": 1,\n"
                          " \"files\": {\n"
                          "  \"../a\": {\n"
                          "   \"size\": 5,\n"
                          "   \"blob_id\": \"" HELLO_GIT "\"\n"
                          "  },\n"
                          "  \"C:x\": {\n"
                          "   \"size\": 5,\n"
                          "   \"blob_id\": \"../../evil\"\n"
                          "  },\n"
                          "  \"a\\tb\\n\\r\\f\\b\\u0001\\u007f\\u202e\\\\\": {\n"
                          "   \"size\": 5,\n"
                          "   \"blob_id\": \"" HELLO_GIT "\"\n"
                          "  },\n"
                          "  \"masked.bin\": {\n"
                          "   \"size\": 130,\n"
                          "   \"blob_id\": \"" HELLO_GIT "\",\n"
                          "   \"lfs_sha256\": \"********\",\n"
                          "   \"lfs_size\": 7\n"
                          "  }\n"
                          " }\n"
                          "}";

static void an_unusable_entry_is_kept_for_completeness(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = tree_parse_text(odd);
    const struct hc_entry *entry;

    assert_non_null(tree);
    assert_int_equal(tree->count, 4);
    assert_false(hc_tree_find(tree, "../a")->is_safe);
    /* NOLINTNEXTLINE(misc-misleading-bidirectional): the name is meant to mislead */
    assert_false(hc_tree_find(tree, "a\tb\n\r\f\b\1\x7f\xe2\x80\xae\\")->is_safe);
    assert_string_equal(hc_entry_etag(hc_tree_find(tree, "C:x")), "");
    entry = hc_tree_find(tree, "masked.bin");
    assert_true(entry->is_safe);
    assert_string_equal(hc_entry_etag(entry), "");
    assert_true(hc_entry_size(entry) == 7);
    assert_int_equal(tree_save(f, tree), 0);
    assert_file_content(f, TREE, odd);
}

static void a_malformed_xet_hash_is_left_out(void **state)
{
    static const struct hc_entry masked = {.path = "a",
                                           .blob_id = HELLO_GIT,
                                           .xet_hash = "****"};
    static const struct hc_entry without_etag = {.path = "b",
                                                 .blob_id = HELLO_GIT,
                                                 .lfs_sha256 = "****",
                                                 .xet_hash = HELLO_SHA256};
    struct hc_error err;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&err);

    (void)state;
    assert_int_equal(hc_tree_add(tree, &masked, &err), 0);
    assert_int_equal(hc_tree_add(tree, &without_etag, &err), 0);
    assert_null(tree->entries[0].xet_hash);
    assert_null(tree->entries[1].xet_hash);
}

static void a_repeated_entry_counts_once(void **state)
{
    HC_AUTO(hc_tree) *tree = tree_parse_text(HEAD "\"b\": {" ENTRY "}, \"a\": {" ENTRY
                                                  "}, \"b\": {" ENTRY "}}}");

    (void)state;
    assert_non_null(tree);
    assert_int_equal(tree->count, 2);
}

/* Texts as long as the chunks of memory they are kept in, and a little more and less. */
static void texts_of_any_length_are_kept(void **state)
{
    struct hc_error err;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&err);
    char path[HC_TREE_PATH_MAX + 2];

    (void)state;
    for (size_t length = 1; length <= HC_TREE_PATH_MAX; length += length < 64 ? 1 : 61) {
        memset(path, 'a', length);
        path[length] = '\0';
        assert_int_equal(hc_tree_add_path(tree, path, &err), 0);
    }
    for (size_t i = 0; i < tree->count; i++)
        assert_int_equal(strspn(tree->entries[i].path, "a"),
                         i < 64 ? i + 1 : 64 + (i - 63) * 61);
    memset(path, 'a', HC_TREE_PATH_MAX + 1);
    path[HC_TREE_PATH_MAX] = '\0';
    assert_int_equal(hc_tree_add_path(tree, path, &err), 0);
    path[HC_TREE_PATH_MAX] = 'a';
    path[HC_TREE_PATH_MAX + 1] = '\0';
    assert_int_equal(hc_tree_add_path(tree, path, &err), -1);
}

/* A file that is read in many windows gives what one text gives. */
static void a_large_listing_comes_back(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&f->err);
    HC_AUTO(hc_tree) *copy = NULL;
    unsigned seed = (unsigned)time(NULL);
    const unsigned first = seed;

    for (int i = 0; i < 30000; i++) {
        char path[600];
        int width = rand_r(&seed) % 400;

        assert_true(hc_format(path, sizeof path, "d%d/%0*d", i % 7, width, i) > 0);
        tree_add_file(tree, path, (uint64_t)rand_r(&seed), i % 2);
    }
    assert_int_equal(hc_tree_finish(tree, &f->err), 0);
    assert_int_equal(tree_save(f, tree), 0);
    age_file(f, TREE, 10); /* so that it is read */
    assert_int_equal(tree_load(f, &copy), 1);
    assert_ptr_not_equal(copy, tree);
    if (!hc_tree_equals(tree, copy))
        fail_msg("another listing came back (seed %u)", first);
}

static void a_listing_that_cannot_be_read_is_absent(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = NULL;

    assert_int_equal(tree_load(f, &tree), 0);
    temp_dir_write(f->dir, TREE, "{\"format_version\": 1, \"fil");
    assert_int_equal(tree_load(f, &tree), 0);
    assert_null(tree);
}

static void a_listing_of_another_user_is_absent(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = NULL;
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, TREE);
    int found;

    temp_dir_write(f->dir, TREE, reference);
    assert_int_equal(chmod(path, 0), 0);
    make_cache_read_only(f);
    found = tree_load(f, &tree);
    make_cache_writable(f);
    assert_int_equal(found, 0);
}

static void entries_of_the_hub_are_checked(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&f->err);
    const struct hc_entry bad[] = {{.path = "", .blob_id = HELLO_GIT},
                                   {.blob_id = HELLO_GIT},
                                   {.path = "x"}};

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hc_tree_add(tree, &bad[i], &f->err), -1);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    }
    assert_int_equal(tree->count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_saved_listing_has_the_bytes_of_the_reference),
        WITH_CACHE(an_empty_listing_is_written_as_python_does),
        WITH_CACHE(a_listing_has_the_mode_of_the_umask),
        WITH_CACHE(a_listing_of_the_reference_is_read),
        cmocka_unit_test(files_are_found_by_their_whole_path_only),
        cmocka_unit_test(listings_in_any_order_are_sorted),
        cmocka_unit_test(null_and_unknown_keys_are_harmless),
        cmocka_unit_test(a_listing_with_any_error_is_rejected),
        WITH_CACHE(an_unusable_entry_is_kept_for_completeness),
        cmocka_unit_test(a_malformed_xet_hash_is_left_out),
        cmocka_unit_test(a_repeated_entry_counts_once),
        cmocka_unit_test(texts_of_any_length_are_kept),
        WITH_CACHE(a_large_listing_comes_back),
        WITH_CACHE(a_listing_that_cannot_be_read_is_absent),
        WITH_CACHE(a_listing_of_another_user_is_absent),
        WITH_CACHE(entries_of_the_hub_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
