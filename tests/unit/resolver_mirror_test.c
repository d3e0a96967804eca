/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of a resolver with a mirror: only the Hub says what a name means, so the
 * Hub's older answer beats a mirror, and a commit that only a mirror names is stale and
 * is written to no ref. A mirror sends bytes of known commits, which are verified; it is
 * never asked about a repo that is private or gated.
 */
#include "resolver_fixture.h"

#include <base/auto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const whole_repo[] = {"config.json", "weights.bin"};

/* The fixture's hub, and a mirror that has the same commit and one of its own as main. */
struct mirrored {
    struct fixture *f;
    struct test_hub *mirror;
    char theirs[41];
};

static void mirror_add_text(struct test_hub *hub, const char *path, const char *text)
{
    test_hub_add(hub, path, text, strlen(text), false);
}

static void mirror_fill(struct mirrored *m)
{
    char same[41];

    mirror_add_text(m->mirror, "config.json", "{\"v\": 1}");
    mirror_add_text(m->mirror, "README.md", "# model\n");
    mirror_add_text(m->mirror, "empty.txt", "");
    mirror_add_text(m->mirror, "sub/dir/nested.txt", "nested");
    test_hub_add(m->mirror, "weights.bin", "0123456789abcdef", 16, true);
    test_hub_commit(m->mirror, "models/org/model", "main", same);
    assert_string_equal(same, m->f->commit);
    mirror_add_text(m->mirror, "config.json", "theirs");
    test_hub_add(m->mirror, "weights.bin", "their weights", 13, true);
    test_hub_commit(m->mirror, "models/org/model", "main", m->theirs);
}

static int mirror_setup(void **state)
{
    struct mirrored *m = calloc(1, sizeof *m);
    void *f;

    assert_non_null(m);
    assert_int_equal(resolver_fixture_setup(&f), 0);
    m->f = f;
    m->mirror = test_hub_start(&(struct test_hub_options){0});
    mirror_fill(m);
    assert_int_equal(hc_settings_add_mirror(&m->f->settings, test_hub_endpoint(m->mirror),
                                            &m->f->err),
                     0);
    resolver_fixture_reopen(m->f, false);
    *state = m;
    return 0;
}

static int mirror_teardown(void **state)
{
    struct mirrored *m = *state;
    void *f = m->f;

    test_hub_stop(m->mirror);
    free(m);
    return resolver_fixture_teardown(&f);
}

static void hub_break(struct mirrored *m)
{
    test_hub_rule(m->f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});
}

/* The reopened resolver does not know that the hub was down. */
static void hub_repair(struct mirrored *m)
{
    test_hub_clear_rules(m->f->hub);
    resolver_fixture_reopen(m->f, false);
}

static void configure_token(struct mirrored *m)
{
    free(m->f->settings.token);
    m->f->settings.token = strdup("hf_good");
    resolver_fixture_reopen(m->f, false);
}

static unsigned mirror_request_count(struct mirrored *m)
{
    return test_hub_count(m->mirror, NULL, NULL);
}

/* Resolves at main, for what that leaves in the cache. */
static void mirror_cache_file(struct mirrored *m, const char *filename)
{
    struct hc_file file;

    if (fixture_resolve_file(m->f, "main", filename, &file) < 0)
        fail_msg("%s", m->f->err.message);
    assert_false(file.stale);
    hc_file_clear(&file);
}

static void expect_mirrored_file(struct mirrored *m, const char *filename,
                                 const char *commit, const char *text)
{
    struct hc_file file;

    if (fixture_resolve_file(m->f, "main", filename, &file) < 0)
        fail_msg("%s", m->f->err.message);
    assert_true(file.stale);
    assert_string_equal(file.commit_hash, commit);
    assert_file_content(&file, text);
    hc_file_clear(&file);
}

static void expect_hub_unreachable(struct mirrored *m, const char *filename)
{
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(m->f, "main", filename, &file), -1);
    assert_int_equal(m->f->err.reason, HC_HUB_UNREACHABLE);
}

static struct hc_files_request two_files_request(void)
{
    return (struct hc_files_request){.repo = {.id = "org/model"},
                                     .filenames = whole_repo,
                                     .filename_count = 2};
}

static int64_t mirrored_ref_mtime(struct mirrored *m)
{
    HC_AUTO_FREE char *path = temp_dir_path(m->f->dir, REPO_FOLDER "/refs/main");
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_mtim.tv_sec;
}

static void the_hubs_older_answer_beats_a_mirror(void **state)
{
    struct mirrored *m = *state;
    struct hc_files_request request = two_files_request();
    struct hc_files files;

    mirror_cache_file(m, "config.json");
    mirror_cache_file(m, "weights.bin");
    resolver_fixture_age_ref(m->f, "main", 61);
    hub_break(m);

    expect_mirrored_file(m, "config.json", m->f->commit, "{\"v\": 1}");
    assert_int_equal(hc_resolve_files(m->f->resolver, &request, NULL, &files, &m->f->err),
                     0);
    assert_true(files.items[0].stale);
    assert_string_equal(files.commit_hash, m->f->commit);
    hc_files_clear(&files);
    assert_int_equal(mirror_request_count(m), 0);
}

static void a_mirror_brings_bytes_of_the_commit_that_the_hub_named_last(void **state)
{
    struct mirrored *m = *state;
    int64_t heard;

    mirror_cache_file(m, "config.json");
    resolver_fixture_age_ref(m->f, "main", 61);
    heard = mirrored_ref_mtime(m);
    hub_break(m);

    expect_mirrored_file(m, "weights.bin", m->f->commit, "0123456789abcdef");
    assert_int_equal(test_hub_count(m->mirror, NULL, "/main/"), 0);
    assert_int_equal(mirrored_ref_mtime(m), heard);
    hub_repair(m);
    mirror_cache_file(m, "config.json");
}

static void a_mirror_brings_a_snapshot_and_several_files_too(void **state)
{
    const struct hc_snapshot_request whole = {.repo = {.id = "org/model"}};
    struct mirrored *m = *state;
    struct hc_files_request request = two_files_request();
    struct hc_snapshot snapshot;
    struct hc_files files;

    mirror_cache_file(m, "config.json");
    resolver_fixture_age_ref(m->f, "main", 61);
    hub_break(m);

    assert_int_equal(hc_resolve_files(m->f->resolver, &request, NULL, &files, &m->f->err),
                     0);
    assert_true(files.items[0].stale && files.items[1].stale);
    assert_string_equal(files.commit_hash, m->f->commit);
    hc_files_clear(&files);
    assert_int_equal(hc_resolve_snapshot(m->f->resolver, &whole, NULL, &snapshot,
                                         &m->f->err),
                     0);
    assert_true(snapshot.stale);
    assert_int_equal(snapshot.completeness, HC_COMPLETE);
    assert_string_equal(snapshot.commit_hash, m->f->commit);
    hc_snapshot_clear(&snapshot);
    assert_int_equal(test_hub_count(m->mirror, NULL, "/main"), 0);
    assert_int_equal(temp_dir_count(m->f->dir, REPO_FOLDER "/trees"), 0);
}

static void a_commit_only_a_mirror_names_is_stale_and_writes_no_ref(void **state)
{
    const struct hc_snapshot_request whole = {.repo = {.id = "org/model"}};
    struct mirrored *m = *state;
    struct hc_files_request request = two_files_request();
    struct hc_snapshot snapshot;
    struct hc_files files;

    hub_break(m);
    expect_mirrored_file(m, "config.json", m->theirs, "theirs");
    assert_int_equal(hc_resolve_files(m->f->resolver, &request, NULL, &files, &m->f->err),
                     0);
    assert_true(files.items[0].stale && files.items[1].stale);
    hc_files_clear(&files);
    assert_int_equal(hc_resolve_snapshot(m->f->resolver, &whole, NULL, &snapshot,
                                         &m->f->err),
                     0);
    assert_true(snapshot.stale);
    hc_snapshot_clear(&snapshot);
    assert_int_equal(temp_dir_count(m->f->dir, REPO_FOLDER "/refs"), 0);
    assert_int_equal(temp_dir_count(m->f->dir, REPO_FOLDER "/trees"), 0);

    hub_repair(m);
    mirror_cache_file(m, "config.json"); /* and the Hub's word is asked for at once */
    assert_true(temp_dir_has(m->f->dir, pointer_path(m->f->commit, "config.json")));
}

static void a_file_a_mirror_lacks_is_not_marked_absent(void **state)
{
    struct mirrored *m = *state;
    struct hc_file file;

    hub_break(m);
    assert_int_equal(fixture_resolve_file(m->f, "main", "missing.txt", &file), -1);
    assert_int_equal(m->f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_false(temp_dir_has(m->f->dir, REPO_FOLDER "/.no_exist"));
    assert_false(temp_dir_has(m->f->dir, REPO_FOLDER "/refs"));
}

static void a_commit_that_the_caller_names_is_no_stale_one(void **state)
{
    static const char *const names[] = {"weights.bin", "README.md"};
    static const char *const texts[] = {"0123456789abcdef", "# model\n"};
    struct mirrored *m = *state;
    struct hc_file file;

    hub_break(m);
    for (int i = 0; i < 2; i++) {
        if (fixture_resolve_file(m->f, m->f->commit, names[i], &file) < 0)
            fail_msg("%s", m->f->err.message);
        assert_false(file.stale);
        assert_file_content(&file, texts[i]);
        hc_file_clear(&file);
        configure_token(m); /* the repo is not known to be restricted */
    }
}

static void a_commit_that_a_lagging_mirror_lacks_is_not_missing(void **state)
{
    struct mirrored *m = *state;
    char commit[41];

    resolver_fixture_move_main(m->f, commit);
    mirror_cache_file(m, "config.json");
    resolver_fixture_age_ref(m->f, "main", 61);
    hub_break(m);

    expect_hub_unreachable(m, "weights.bin");
    assert_int_not_equal(mirror_request_count(m), 0);
    expect_mirrored_file(m, "config.json", commit, "{\"v\": 2}");
}

static void wrong_bytes_of_a_mirror_are_not_kept(void **state)
{
    struct mirrored *m = *state;
    struct hc_file file;

    mirror_cache_file(m, "config.json");
    resolver_fixture_age_ref(m->f, "main", 61);
    hub_break(m);
    test_hub_rule(m->mirror, &(struct test_hub_rule){.fault = TEST_HUB_CORRUPT,
                                                     .on_cdn = true,
                                                     .method = "GET"});

    assert_int_equal(fixture_resolve_file(m->f, "main", "weights.bin", &file), -1);
    assert_int_equal(m->f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_false(temp_dir_has(m->f->dir, pointer_path(m->f->commit, "weights.bin")));
}

/* Without a hash, bytes from a mirror could not be verified. */
static void bytes_whose_etag_is_no_hash_come_from_the_hub_only(void **state)
{
    struct mirrored *m = *state;

    test_hub_rule(m->f->hub, &(struct test_hub_rule){.method = "HEAD",
                                                     .fault = TEST_HUB_HEADER,
                                                     .name = "X-Linked-Etag",
                                                     .text = "\"v1-5\""});
    test_hub_rule(m->f->hub,
                  &(struct test_hub_rule){.method = "GET", .fault = TEST_HUB_CLOSE});
    test_hub_rule(m->f->hub,
                  &(struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_CLOSE});

    expect_hub_unreachable(m, "weights.bin");
    assert_int_equal(mirror_request_count(m), 0);
}

static void a_restricted_repo_is_never_asked_of_a_mirror(void **state)
{
    static const enum test_hub_access kinds[] = {TEST_HUB_PRIVATE, TEST_HUB_GATED};
    struct mirrored *m = *state;

    configure_token(m);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        test_hub_set_access(m->f->hub, "models/org/model", kinds[i]);
        mirror_cache_file(m, i == 0 ? "config.json" : "README.md");
        resolver_fixture_age_ref(m->f, "main", 61);
        resolver_fixture_reopen(m->f, false); /* another process knows it, too */
        hub_break(m);

        expect_hub_unreachable(m, "weights.bin");
        assert_int_equal(mirror_request_count(m), 0);
        hub_repair(m);
    }
}

static void
a_repo_hidden_from_a_caller_without_a_token_is_never_asked_of_a_mirror(void **state)
{
    struct mirrored *m = *state;
    struct hc_file file;

    test_hub_set_access(m->f->hub, "models/org/model", TEST_HUB_PRIVATE);
    assert_int_equal(fixture_resolve_file(m->f, "main", "config.json", &file), -1);
    assert_int_equal(m->f->err.reason, HC_REPO_NOT_FOUND);
    hub_break(m);
    expect_hub_unreachable(m, "config.json");
    assert_int_equal(mirror_request_count(m), 0);

    hub_repair(m); /* until it is seen without one */
    test_hub_set_access(m->f->hub, "models/org/model", TEST_HUB_PUBLIC);
    mirror_cache_file(m, "config.json");
    resolver_fixture_age_ref(m->f, "main", 61);
    hub_break(m);
    expect_mirrored_file(m, "weights.bin", m->f->commit, "0123456789abcdef");
}

/* It says nothing of the repo. */
static void a_refused_token_makes_no_repo_restricted(void **state)
{
    struct mirrored *m = *state;
    struct hc_file file;

    mirror_cache_file(m, "config.json");
    configure_token(m);
    test_hub_rule(m->f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 401});
    assert_int_equal(fixture_resolve_file(m->f, "main", "weights.bin", &file), -1);
    assert_int_equal(m->f->err.reason, HC_HUB_UNAUTHORIZED);
    hub_repair(m);
    resolver_fixture_age_ref(m->f, "main", 61);
    hub_break(m);
    expect_mirrored_file(m, "weights.bin", m->f->commit, "0123456789abcdef");
}

static void with_a_token_and_a_mirror_visibility_is_asked_for_once(void **state)
{
    struct mirrored *m = *state;

    configure_token(m);
    mirror_cache_file(m, "config.json");
    assert_int_equal(test_hub_count(m->f->hub, "GET", "/revision/"), 1);
    mirror_cache_file(m, "README.md");
    mirror_cache_file(m, "weights.bin");
    assert_int_equal(test_hub_count(m->f->hub, "GET", "/revision/"), 1);
    resolver_fixture_age_ref(m->f, "main", 61);
    hub_break(m);
    expect_mirrored_file(m, "empty.txt", m->f->commit, "");
}

static void without_a_token_visibility_is_not_asked_for(void **state)
{
    struct mirrored *m = *state;

    mirror_cache_file(m, "config.json");
    assert_int_equal(test_hub_count(m->f->hub, "GET", "/revision/"), 0);
    assert_int_equal(temp_dir_count(m->f->dir, ".hubcache/visibility"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, mirror_setup, mirror_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_hubs_older_answer_beats_a_mirror),
        TEST(a_mirror_brings_bytes_of_the_commit_that_the_hub_named_last),
        TEST(a_mirror_brings_a_snapshot_and_several_files_too),
        TEST(a_commit_only_a_mirror_names_is_stale_and_writes_no_ref),
        TEST(a_file_a_mirror_lacks_is_not_marked_absent),
        TEST(a_commit_that_the_caller_names_is_no_stale_one),
        TEST(a_commit_that_a_lagging_mirror_lacks_is_not_missing),
        TEST(wrong_bytes_of_a_mirror_are_not_kept),
        TEST(bytes_whose_etag_is_no_hash_come_from_the_hub_only),
        TEST(a_restricted_repo_is_never_asked_of_a_mirror),
        TEST(a_repo_hidden_from_a_caller_without_a_token_is_never_asked_of_a_mirror),
        TEST(a_refused_token_makes_no_repo_restricted),
        TEST(with_a_token_and_a_mirror_visibility_is_asked_for_once),
        TEST(without_a_token_visibility_is_not_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
