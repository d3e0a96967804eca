/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: no file is answered with bytes of another. A blob's name that is no hash
 * proves nothing, so such a blob serves only the file that it was fetched for; and a file
 * whose size contradicts the Hub or the listing counts as absent.
 */
#include "resolver_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

enum { MIB = 1024 * 1024, LARGE = 3 * MIB };

static const char unproved[] = "\"v1\"";

/* The hub names files whose address contains `text` by an etag that is no hash. */
static void serve_etag_without_hash(struct fixture *f, const char *text)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = text,
                                                  .fault = TEST_HUB_HEADER,
                                                  .name = "X-Linked-Etag",
                                                  .text = unproved});
}

static struct hc_file resolve_expecting(struct fixture *f, const char *name,
                                        const char *text)
{
    struct hc_file file;

    if (fixture_resolve_file(f, "main", name, &file) < 0)
        fail_msg("%s: %s", name, f->err.message);
    assert_file_content(&file, text);
    return file;
}

static void expect_text_from(struct fixture *f, const char *name, const char *text,
                             enum hc_source source)
{
    struct hc_file file = resolve_expecting(f, name, text);

    assert_int_equal(file.source, source);
    assert_int_equal(file.size_bytes, strlen(text));
    hc_file_clear(&file);
}

static void files_with_one_etag_have_bytes_of_their_own(void **state)
{
    struct fixture *f = *state;

    serve_etag_without_hash(f, "README.md");
    serve_etag_without_hash(f, "config.json");
    expect_text_from(f, "README.md", "# model\n", HC_SOURCE_HUB);
    expect_text_from(f, "config.json", "{\"v\": 1}", HC_SOURCE_HUB);
    expect_text_from(f, "README.md", "# model\n", HC_SOURCE_CACHE);
    expect_text_from(f, "config.json", "{\"v\": 1}", HC_SOURCE_CACHE);
}

static void an_etag_that_stays_says_nothing_of_the_next_commit(void **state)
{
    struct fixture *f = *state;
    char commit[41];

    serve_etag_without_hash(f, "config.json");
    expect_text_from(f, "config.json", "{\"v\": 1}", HC_SOURCE_HUB);
    resolver_fixture_move_main(f, commit);
    resolver_fixture_age_ref(f, "main", 61);
    expect_text_from(f, "config.json", "{\"v\": 2}", HC_SOURCE_HUB);
    resolver_fixture_reopen(f, true);
    expect_text_from(f, "config.json", "{\"v\": 2}", HC_SOURCE_CACHE);
}

/* A blob that another client made may hold the bytes of any file with that etag. */
static void a_blob_whose_name_is_no_hash_serves_no_other_file(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, REPO_FOLDER "/blobs/v1", "{\"v\": 9}");
    serve_etag_without_hash(f, "config.json");
    expect_text_from(f, "config.json", "{\"v\": 1}", HC_SOURCE_HUB);
}

/* A pointer that another client made is believed. */
static void a_pointer_to_a_name_that_is_no_hash_is_a_hit(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *pointer =
        temp_dir_path(f->dir, pointer_path(f->commit, "config.json"));

    temp_dir_write(f->dir, REPO_FOLDER "/blobs/v1", "{\"v\": 1}");
    temp_dir_write(f->dir, pointer_path(f->commit, "other"), "");
    assert_int_equal(symlink("../../blobs/v1", pointer), 0);
    serve_etag_without_hash(f, "config.json");
    expect_text_from(f, "config.json", "{\"v\": 1}", HC_SOURCE_CACHE);
}

static int resolve_large_of(struct fixture *f, const char *repo, struct hc_file *file)
{
    const struct hc_file_request request = {.repo = {.id = repo},
                                            .filename = "large.git"};

    return hc_resolve_file(f->resolver, &request, NULL, file, &f->err);
}

static char read_first_byte(const struct hc_file *file)
{
    HC_AUTO_CLOSE int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    char byte = 0;

    assert_int_equal(read(fd, &byte, 1), 1);
    return byte;
}

/* Large enough to be taken from another repo of the cache. */
static void serve_large_file(struct fixture *f, const char *repo, char byte)
{
    HC_AUTO_FREE char *bytes = malloc(LARGE);
    char commit[41];

    assert_non_null(bytes);
    memset(bytes, byte, LARGE);
    test_hub_add(f->hub, "large.git", bytes, LARGE, false);
    test_hub_commit(f->hub, repo, "main", commit);
}

static void repos_with_one_etag_have_bytes_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct hc_file one, other;

    serve_large_file(f, "models/org/one", '1');
    serve_large_file(f, "models/org/other", '2');
    serve_etag_without_hash(f, "large.git");
    assert_int_equal(resolve_large_of(f, "org/one", &one), 0);
    assert_int_equal(resolve_large_of(f, "org/other", &other), 0);
    assert_int_equal(read_first_byte(&one), '1');
    assert_int_equal(read_first_byte(&other), '2');
    hc_file_clear(&one);
    hc_file_clear(&other);
}

static void bytes_that_no_hash_can_check_are_not_resumed_by_the_resolver(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    serve_large_file(f, "models/org/one", '1');
    serve_etag_without_hash(f, "large.git");
    test_hub_rule(f->hub, &(struct test_hub_rule){.method = "GET",
                                                  .contains = "resolve-cache",
                                                  .times = 1,
                                                  .fault = TEST_HUB_CUT,
                                                  .number = 2 * (uint64_t)MIB});
    test_hub_rule(f->hub, &(struct test_hub_rule){.method = "GET",
                                                  .contains = "resolve-cache",
                                                  .fault = TEST_HUB_CLOSE});
    assert_int_equal(resolve_large_of(f, "org/one", &file), -1);
    test_hub_clear_rules(f->hub);
    assert_int_equal(temp_dir_count(f->dir, "models--org--one/blobs"), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

/* Truncates the blob of the file to `size` bytes. */
static void truncate_blob(const struct hc_file *file, off_t size)
{
    assert_int_equal(truncate(file->path, size), 0);
}

/* A crash leaves files that were not flushed like this. */
static void a_blob_that_has_lost_all_bytes_is_fetched_again(void **state)
{
    struct fixture *f = *state;
    struct hc_file file = resolve_expecting(f, "weights.bin", "0123456789abcdef");

    truncate_blob(&file, 0);
    expect_text_from(f, "weights.bin", "0123456789abcdef", HC_SOURCE_HUB);
    truncate_blob(&file, 0);
    hc_file_clear(&file);
    resolver_fixture_reopen(f, true);
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
}

static void a_blob_of_another_size_than_the_hub_says_is_fetched_again(void **state)
{
    static const off_t sizes[] = {0, 1, 15, 17, 5000};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct hc_file file = resolve_expecting(f, "weights.bin", "0123456789abcdef");

        truncate_blob(&file, sizes[i]);
        hc_file_clear(&file);
        resolver_fixture_age_ref(f, "main", 61);
        expect_text_from(f, "weights.bin", "0123456789abcdef", HC_SOURCE_HUB);
    }
}

static void a_blob_of_another_size_than_the_listing_says_is_fetched_again(void **state)
{
    static const char *const names[] = {"weights.bin", "config.json"};
    struct fixture *f = *state;
    const struct hc_files_request request = {.repo = {.id = "org/model"},
                                             .filenames = names,
                                             .filename_count = 2};
    struct hc_file file = resolve_expecting(f, "weights.bin", "0123456789abcdef");
    struct hc_files files;

    truncate_blob(&file, 5);
    hc_file_clear(&file);
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), 0);
    assert_file_content(&files.items[0], "0123456789abcdef");
    assert_int_equal(files.items[0].source, HC_SOURCE_HUB);
    hc_files_clear(&files);
}

static void a_forced_empty_file_comes_from_the_hub(void **state)
{
    struct fixture *f = *state;
    const struct hc_file_request request = {.repo = {.id = "org/model"},
                                            .filename = "empty.txt",
                                            .options = {.force_download = true}};
    struct hc_file file;

    expect_text_from(f, "empty.txt", "", HC_SOURCE_HUB);
    expect_text_from(f, "empty.txt", "", HC_SOURCE_CACHE);
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_int_equal(file.source, HC_SOURCE_HUB);
    hc_file_clear(&file);
}

/* The hub's answers to HEAD have this length, or with NULL none. */
static void serve_content_length(struct fixture *f, const char *length)
{
    static const char *const names[] = {"Content-Length", "X-Linked-Size"};

    for (size_t i = 0; i < 2; i++)
        test_hub_rule(f->hub, &(struct test_hub_rule){.method = "HEAD",
                                                      .fault = TEST_HUB_HEADER,
                                                      .name = names[i],
                                                      .text = i == 0 ? length : NULL});
}

/* The hub's answers have no length: the connection's end is theirs. */
static void serve_no_lengths(struct fixture *f)
{
    for (int on_cdn = 0; on_cdn < 2; on_cdn++)
        test_hub_rule(f->hub, &(struct test_hub_rule){.method = "GET",
                                                      .on_cdn = on_cdn,
                                                      .fault = TEST_HUB_HEADER,
                                                      .name = "Content-Length"});
}

static void a_size_that_no_head_tells_comes_with_the_bytes(void **state)
{
    static const char *const lengths[] = {NULL, "0"};
    struct fixture *f = *state;

    for (int i = 0; i < 4; i++) {
        serve_content_length(f, lengths[i % 2]);
        if (i / 2)
            serve_no_lengths(f);
        expect_text_from(f, "config.json", "{\"v\": 1}", HC_SOURCE_HUB);
        expect_text_from(f, "weights.bin", "0123456789abcdef", HC_SOURCE_HUB);
        expect_text_from(f, "empty.txt", "", HC_SOURCE_HUB);
        expect_text_from(f, "config.json", "{\"v\": 1}", HC_SOURCE_CACHE);
        temp_dir_remove(temp_dir_path(f->dir, REPO_FOLDER));
        test_hub_clear_rules(f->hub);
    }
}

static void wrong_bytes_of_unknown_size_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    serve_content_length(f, "0");
    serve_no_lengths(f);
    test_hub_rule(f->hub, &(struct test_hub_rule){.method = "GET",
                                                  .contains = "resolve-cache",
                                                  .fault = TEST_HUB_CORRUPT,
                                                  .number = 3});
    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_int_equal(test_hub_count(f->hub, "GET", "resolve-cache"), 2);
    assert_int_equal(temp_dir_count(f->dir, REPO_FOLDER "/blobs"), 0);
}

static void a_listing_tells_the_size_that_no_head_does(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"config.json"};
    const struct hc_files_request listed = {.repo = {.id = "org/model"},
                                            .filenames = names,
                                            .filename_count = 1};
    const struct hc_file_request request = {.repo = {.id = "org/model"},
                                            .filename = "weights.bin",
                                            .options = {.dry_run = true}};
    struct hc_files files;
    struct hc_file file;

    serve_content_length(f, NULL);
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_int_equal(file.size_bytes, 0); /* nothing tells it without a GET */
    assert_int_equal(file.source, HC_SOURCE_HUB);
    hc_file_clear(&file);
    assert_int_equal(hc_resolve_files(f->resolver, &listed, NULL, &files, &f->err), 0);
    hc_files_clear(&files);
    resolver_fixture_reopen(f, false);
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    assert_int_equal(file.size_bytes, 16);
    hc_file_clear(&file);
    expect_text_from(f, "weights.bin", "0123456789abcdef", HC_SOURCE_HUB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(files_with_one_etag_have_bytes_of_their_own),
        test(an_etag_that_stays_says_nothing_of_the_next_commit),
        test(a_blob_whose_name_is_no_hash_serves_no_other_file),
        test(a_pointer_to_a_name_that_is_no_hash_is_a_hit),
        test(repos_with_one_etag_have_bytes_of_their_own),
        test(bytes_that_no_hash_can_check_are_not_resumed_by_the_resolver),
        test(a_blob_that_has_lost_all_bytes_is_fetched_again),
        test(a_blob_of_another_size_than_the_hub_says_is_fetched_again),
        test(a_blob_of_another_size_than_the_listing_says_is_fetched_again),
        test(a_forced_empty_file_comes_from_the_hub),
        test(a_size_that_no_head_tells_comes_with_the_bytes),
        test(wrong_bytes_of_unknown_size_are_refused),
        test(a_listing_tells_the_size_that_no_head_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
