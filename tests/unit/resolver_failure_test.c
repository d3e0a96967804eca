/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of a failure: when it is about a file, the error names it in a field for a
 * program, and in a message that says what to do; NOT_CACHED names what the cache has
 * instead.
 */
#include "resolver_fixture.h"

#include <stdio.h>
#include <string.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

static const char *const two_files[] = {"config.json", "weights.bin"};

static struct hc_files_request files_request_of(const char *const *names)
{
    return (struct hc_files_request){.repo = {.id = "org/model"},
                                     .filenames = names,
                                     .filename_count = 2};
}

static void cache_one_file(struct fixture *f, const char *revision, const char *filename)
{
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, revision, filename, &file), 0);
    hc_file_clear(&file);
}

static void expect_named_file(const struct fixture *f, enum hc_reason reason,
                              const char *filename)
{
    assert_int_equal(f->err.reason, reason);
    assert_string_equal(f->err.filename, filename);
}

static void expect_word_in_message(const struct fixture *f, const char *word)
{
    if (!strstr(f->err.message, word))
        fail_msg("'%s' is not in: %s", word, f->err.message);
}

/* The storage sends wrong bytes of weights.bin each time. */
static void corrupt_weights(struct fixture *f)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_CORRUPT,
                                                  .on_cdn = true,
                                                  .method = "GET"});
}

static void a_failure_of_one_file_names_it(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "missing.txt", &file), -1);
    expect_named_file(f, HC_ENTRY_NOT_FOUND, "missing.txt");
    assert_int_equal(fixture_resolve_file(f, "main", "missing.txt", &file),
                     -1); /* as marked */
    expect_named_file(f, HC_ENTRY_NOT_FOUND, "missing.txt");
    assert_int_equal(fixture_resolve_file(f, "main", "../up", &file), -1);
    expect_named_file(f, HC_INVALID_FILENAME, "../up");
    corrupt_weights(f);
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), -1);
    expect_named_file(f, HC_CHECKSUM_MISMATCH, "weights.bin");
    resolver_fixture_reopen(f, true);
    assert_int_equal(fixture_resolve_file(f, "main", "sub/dir/nested.txt", &file), -1);
    expect_named_file(f, HC_NOT_CACHED, "sub/dir/nested.txt");
}

static void a_failure_of_one_among_many_names_it(void **state)
{
    static const char *const missing[] = {"config.json", "missing.txt"};
    static const char *const unsafe[] = {"config.json", "../up"};
    const struct hc_snapshot_request whole = {.repo = {.id = "org/model"}};
    struct fixture *f = *state;
    struct hc_files_request request = files_request_of(missing);
    struct hc_snapshot snapshot;
    struct hc_files files;

    cache_one_file(f, "main", "config.json");
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), -1);
    expect_named_file(f, HC_ENTRY_NOT_FOUND, "missing.txt");
    request = files_request_of(unsafe);
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), -1);
    expect_named_file(f, HC_INVALID_FILENAME, "../up");
    corrupt_weights(f);
    request = files_request_of(two_files);
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), -1);
    expect_named_file(f, HC_CHECKSUM_MISMATCH, "weights.bin");
    assert_int_equal(hc_resolve_snapshot(f->resolver, &whole, NULL, &snapshot, &f->err),
                     -1);
    expect_named_file(f, HC_CHECKSUM_MISMATCH, "weights.bin");
    resolver_fixture_reopen(f, true);
    assert_int_equal(hc_resolve_files(f->resolver, &request, NULL, &files, &f->err), -1);
    expect_named_file(f, HC_NOT_CACHED, "weights.bin");
}

static void a_failure_of_no_single_file_names_none(void **state)
{
    const struct hc_snapshot_request whole = {.repo = {.id = "org/none"}};
    struct fixture *f = *state;
    struct hc_snapshot snapshot;

    assert_int_equal(hc_resolve_snapshot(f->resolver, &whole, NULL, &snapshot, &f->err),
                     -1);
    expect_named_file(f, HC_REPO_NOT_FOUND, "");
}

static void wrong_bytes_name_repo_file_and_the_next_step(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    corrupt_weights(f);
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), -1);
    expect_word_in_message(f, "'weights.bin'");
    expect_word_in_message(f, "'org/model'");
    expect_word_in_message(f, "'main'");
    expect_word_in_message(f, "resolve it again");
    expect_word_in_message(f, "hash to");
}

static void the_message_names_the_revision_that_has_the_file(void **state)
{
    const struct hc_snapshot_request whole = {.repo = {.id = "org/model"}};
    struct fixture *f = *state;
    struct hc_snapshot snapshot;
    struct hc_file file;
    char commit[41];

    test_hub_tag(f->hub, "models/org/model", "v1.0", f->commit);
    cache_one_file(f, "v1.0", "config.json");
    resolver_fixture_move_main(f, commit);
    cache_one_file(f, commit, "config.json");
    resolver_fixture_reopen(f, true);

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    expect_named_file(f, HC_NOT_CACHED, "config.json");
    expect_word_in_message(f, "it is at revision 'v1.0'");
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), -1);
    assert_null(strstr(f->err.message, "it is at"));
    assert_int_equal(hc_resolve_snapshot(f->resolver, &whole, NULL, &snapshot, &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    expect_word_in_message(f, "it is at revision 'v1.0'");
}

static void a_revision_with_slashes_is_named_too(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    test_hub_tag(f->hub, "models/org/model", "release/v1", f->commit);
    cache_one_file(f, "release/v1", "config.json");
    resolver_fixture_reopen(f, true);

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    expect_word_in_message(f, "it is at revision 'release/v1'");
}

static void the_message_names_the_commit_that_has_the_file(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    cache_one_file(f, f->commit, "config.json");
    resolver_fixture_reopen(f, true);
    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    expect_word_in_message(f, "it is at commit");
    expect_word_in_message(f, f->commit);
}

static void the_message_names_the_repo_in_its_real_casing(void **state)
{
    struct hc_file_request request = {.repo = {.id = "Org/Model"},
                                      .filename = "config.json"};
    struct fixture *f = *state;
    struct hc_file file;

    cache_one_file(f, "main", "config.json");
    temp_dir_write(f->dir, "stray file", "");
    resolver_fixture_reopen(f, true);
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    expect_word_in_message(f, "'org/model' is");
    request.repo.id = "org/other";
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), -1);
    assert_null(strstr(f->err.message, "case matters"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_failure_of_one_file_names_it),
        test(a_failure_of_one_among_many_names_it),
        test(a_failure_of_no_single_file_names_none),
        test(wrong_bytes_name_repo_file_and_the_next_step),
        test(the_message_names_the_revision_that_has_the_file),
        test(a_revision_with_slashes_is_named_too),
        test(the_message_names_the_commit_that_has_the_file),
        test(the_message_names_the_repo_in_its_real_casing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
