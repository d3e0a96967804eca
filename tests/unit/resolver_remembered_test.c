/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of remembered answers: they are those of a look at the volume, for as long
 * as the interval and no longer; what this process writes counts at once; the options of
 * a request mean the same; and what another client removed is noticed in the background.
 *
 * The volume of the tests counts as slow, and the interval is a minute unless a test says
 * otherwise.
 */
#include "resolver_fixture.h"

#include <base/cancellation.h>
#include <cache/memo.h>
#include <cache/ref.h>
#include <cache/tree_cache.h>
#include <resolver/resolver.h>

#include <string.h>
#include <time.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, remembered_setup, resolver_fixture_teardown)

enum { INTERVAL_MS = 60 * 1000, LOOKS = 100, PATIENCE_MS = 30 * 1000 };

static const char *const all_names[] = {"config.json", "README.md", "empty.txt"};
static const char *const only_json[] = {"*.json"};

static struct hc_memo *memo_of(const struct fixture *f)
{
    return hc_cache_memo(f->resolver->cache);
}

static void make_volume_slow(const struct fixture *f)
{
    const struct stat status = {0};
    const struct hc_memo_fact fact = {0};

    hc_memo_set_interval(memo_of(f), INTERVAL_MS);
    for (int i = 0; i < LOOKS; i++) {
        struct hc_memo_look look = hc_memo_begin_look(memo_of(f), "speed");

        look.began_ns -= 1000 * 1000;
        hc_memo_store(memo_of(f), &look, &status, &fact);
    }
    assert_true(hc_resolver_is_volume_slow(f->resolver));
}

static int remembered_setup(void **state)
{
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;
    struct fixture *f;

    assert_int_equal(resolver_fixture_setup(state), 0);
    f = *state;
    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err),
                     0);
    hc_snapshot_clear(&snapshot);
    resolver_fixture_reopen(f, false);
    make_volume_slow(f);
    return 0;
}

static struct hc_file_request config_request(void)
{
    return (struct hc_file_request){.repo = {.id = "org/model"},
                                    .filename = "config.json"};
}

/* 1, 0 or -1, and no answer to clear. */
static int remember_file(struct fixture *f, const struct hc_file_request *request)
{
    struct hc_file file;
    int found = hc_resolve_file_remembered(f->resolver, request, &file, &f->err);

    if (found == 1)
        hc_file_clear(&file);
    return found;
}

static int look_at_file(struct fixture *f, const struct hc_file_request *request)
{
    struct hc_file file;
    int found = hc_resolve_file_cached(f->resolver, request, &file, &f->err);

    if (found == 1)
        hc_file_clear(&file);
    return found;
}

static int remember_snapshot(struct fixture *f, const struct hc_snapshot_request *request)
{
    struct hc_snapshot snapshot;
    int found = hc_resolve_snapshot_remembered(f->resolver, request, &snapshot, &f->err);

    if (found == 1)
        hc_snapshot_clear(&snapshot);
    return found;
}

static void look_at_snapshot(struct fixture *f, const struct hc_snapshot_request *request)
{
    struct hc_snapshot snapshot;

    assert_int_equal(hc_resolve_snapshot_cached(f->resolver, request, &snapshot, &f->err),
                     1);
    hc_snapshot_clear(&snapshot);
}

static void forget_ref(const struct fixture *f)
{
    hc_memo_forget(memo_of(f), "models--org--model/refs/main");
}

/* Another client removes config.json's pointer. */
static void remove_config(const struct fixture *f)
{
    HC_AUTO_FREE char *path =
        temp_dir_path(f->dir, pointer_path(f->commit, "config.json"));

    assert_int_equal(unlink(path), 0);
}

/* ---- a file ------------------------------------------------------------------------ */

static void a_file_is_answered_as_by_the_look_before(void **state)
{
    struct fixture *f = *state;
    const struct hc_file_request request = config_request();
    struct hc_file looked, remembered;

    assert_int_equal(remember_file(f, &request), 0);
    assert_int_equal(hc_resolve_file_cached(f->resolver, &request, &looked, &f->err), 1);
    assert_int_equal(hc_resolve_file_remembered(f->resolver, &request, &remembered,
                                                &f->err),
                     1);
    assert_string_equal(remembered.path, looked.path);
    assert_string_equal(remembered.cache_path, looked.cache_path);
    assert_string_equal(remembered.filename, "config.json");
    assert_string_equal(remembered.commit_hash, f->commit);
    assert_string_equal(remembered.etag, looked.etag);
    assert_int_equal(remembered.size_bytes, 8);
    assert_int_equal(remembered.source, HC_SOURCE_CACHE);
    assert_false(remembered.stale);
    hc_file_clear(&looked);
    hc_file_clear(&remembered);
}

/* Whether the answer to `request` may be given again now, and in `ms` milliseconds. */
static bool is_reusable(struct fixture *f, struct hc_file_request request, int64_t ms)
{
    struct hc_reuse reuse = {0};

    request.options.reuse = &reuse;
    assert_int_equal(remember_file(f, &request), 1);
    assert_true(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
    return hc_reuse_is_valid(&reuse, hc_monotonic_ns() + ms * 1000 * 1000);
}

static void an_answer_is_given_again_no_longer_than_its_ref_is_fresh(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = config_request();

    assert_int_equal(look_at_file(f, &request), 1);
    assert_true(is_reusable(f, request, INTERVAL_MS / 4));
    request.options.has_max_staleness = true;
    request.options.max_staleness_ms = INTERVAL_MS / 4;
    assert_false(is_reusable(f, request, INTERVAL_MS / 4));
    request.options.local_files_only = true;
    assert_true(is_reusable(f, request, INTERVAL_MS / 4));
}

static void what_this_process_writes_ends_an_answer(void **state)
{
    struct fixture *f = *state;
    struct hc_reuse by_look = {0}, by_memory = {0};
    struct hc_file_request request = config_request();
    const struct hc_repo repo = {.folder = "models--org--model"};

    assert_int_equal(look_at_file(f, &request), 1);
    request.options.reuse = &by_look;
    assert_int_equal(look_at_file(f, &request), 1);
    request.options.reuse = &by_memory;
    assert_int_equal(remember_file(f, &request), 1);
    assert_true(hc_reuse_is_valid(&by_memory, hc_monotonic_ns()));
    hc_ref_expire(f->resolver->cache, &repo, "main");
    assert_false(hc_reuse_is_valid(&by_look, hc_monotonic_ns()));
    assert_false(hc_reuse_is_valid(&by_memory, hc_monotonic_ns()));
}

static void what_another_client_removes_is_answered_until_the_next_look(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = config_request();

    request.repo.revision = f->commit;
    assert_int_equal(look_at_file(f, &request), 1);
    remove_config(f);
    assert_int_equal(remember_file(f, &request), 1);
    hc_memo_set_interval(memo_of(f), 0); /* as if it had passed */
    assert_int_equal(remember_file(f, &request), 0);
    hc_memo_set_interval(memo_of(f), INTERVAL_MS);
    assert_int_equal(look_at_file(f, &request), 0);
    assert_int_equal(remember_file(f, &request), 0);
}

static size_t remembered_count(const struct fixture *f)
{
    size_t entries, bytes;

    hc_memo_count(memo_of(f), &entries, &bytes);
    return entries;
}

/* An entry that is too old stays, and one that a look finds gone does not: so the count
 * shows that a thread looked, and no caller did. */
static void what_another_client_removes_is_noticed_in_the_background(void **state)
{
    struct fixture *f = *state;
    const struct hc_file_request request = config_request();
    const int64_t end_ms = hc_monotonic_ms() + PATIENCE_MS;
    size_t before;

    hc_memo_set_interval(memo_of(f), 2000);
    assert_int_equal(look_at_file(f, &request), 1);
    before = remembered_count(f);
    remove_config(f);
    while (remember_file(f, &request) == 1 && hc_monotonic_ms() < end_ms)
        (void)nanosleep(&(const struct timespec){.tv_nsec = 1000000}, NULL);
    while (remembered_count(f) == before && hc_monotonic_ms() < end_ms)
        (void)nanosleep(&(const struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(remembered_count(f), before - 1);
}

static void what_is_asked_for_often_stays_in_memory(void **state)
{
    struct fixture *f = *state;
    const struct hc_file_request request = config_request();
    const int64_t end_ms = hc_monotonic_ms() + 4000;
    unsigned missed = 0;

    hc_memo_set_interval(memo_of(f), 2000);
    assert_int_equal(look_at_file(f, &request), 1);
    while (hc_monotonic_ms() < end_ms) {
        missed += remember_file(f, &request) != 1;
        (void)nanosleep(&(const struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(missed, 0);
}

static void the_options_of_a_request_mean_the_same(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = config_request();

    assert_int_equal(look_at_file(f, &request), 1);
    request.options = (struct hc_fetch_options){.has_max_staleness = true};
    assert_int_equal(remember_file(f, &request), 0);
    request.options.max_staleness_ms = 60000;
    assert_int_equal(remember_file(f, &request), 1);
    request.options = (struct hc_fetch_options){.force_download = true};
    assert_int_equal(remember_file(f, &request), 0);
    request.options = (struct hc_fetch_options){.dry_run = true};
    assert_int_equal(remember_file(f, &request), 1);
    request.options =
        (struct hc_fetch_options){.force_download = true, .local_files_only = true};
    assert_int_equal(remember_file(f, &request), -1);
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
}

static void an_old_ref_asks_the_hub_unless_that_must_not_be_asked(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = config_request();

    resolver_fixture_age_ref(f, "main", 61);
    request.options.local_files_only = true;
    assert_int_equal(look_at_file(f, &request), 1);
    assert_int_equal(remember_file(f, &request), 1);
    request.options.local_files_only = false;
    assert_int_equal(remember_file(f, &request), 0);

    resolver_fixture_reopen(f, true);
    make_volume_slow(f);
    assert_int_equal(look_at_file(f, &request), 1);
    assert_int_equal(remember_file(f, &request), 1);
}

static void offline_what_is_not_remembered_does_not_fail(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = config_request();

    resolver_fixture_reopen(f, true);
    make_volume_slow(f);
    assert_int_equal(remember_file(f, &request), 0);
    request.filename = "absent";
    assert_int_equal(remember_file(f, &request), 0);
    assert_int_equal(look_at_file(f, &request), -1);
    assert_int_equal(remember_file(f, &request), 0);
}

static void a_bad_request_is_refused(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = config_request();

    request.filename = "../x";
    assert_int_equal(remember_file(f, &request), -1);
    assert_int_equal(f->err.reason, HC_INVALID_FILENAME);
    request.filename = "x";
    request.repo.id = "a/b/c";
    assert_int_equal(remember_file(f, &request), -1);
    assert_int_equal(f->err.reason, HC_INVALID_REPO_ID);
}

static void the_commit_that_this_process_writes_counts_at_once(void **state)
{
    struct fixture *f = *state;
    struct hc_file_request request = config_request();
    struct hc_file file;
    char commit[41];

    assert_int_equal(look_at_file(f, &request), 1);
    assert_int_equal(remember_file(f, &request), 1);
    resolver_fixture_move_main(f, commit);
    request.options.has_max_staleness = true;
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    hc_file_clear(&file);
    request.options.has_max_staleness = false;
    assert_int_equal(remember_file(f, &request), 0);
    assert_int_equal(look_at_file(f, &request), 1);
    assert_int_equal(hc_resolve_file_remembered(f->resolver, &request, &file, &f->err),
                     1);
    assert_string_equal(file.commit_hash, commit);
    hc_file_clear(&file);
}

static void with_local_roots_the_volume_is_looked_at(void **state)
{
    struct fixture *f = *state;
    const struct hc_file_request request = config_request();

    assert_int_equal(hc_settings_add_local_root(&f->settings, f->dir, &f->err), 0);
    resolver_fixture_reopen(f, false);
    make_volume_slow(f);
    assert_int_equal(look_at_file(f, &request), 1);
    assert_int_equal(remember_file(f, &request), 0);
}

/* ---- several files ----------------------------------------------------------------- */

static void several_files_are_remembered_if_all_are(void **state)
{
    struct fixture *f = *state;
    struct hc_files_request request = {.repo = {.id = "org/model"},
                                       .filenames = all_names,
                                       .filename_count = 2};
    struct hc_files files;

    assert_int_equal(hc_resolve_files_remembered(f->resolver, &request, &files, &f->err),
                     0);
    assert_int_equal(hc_resolve_files_cached(f->resolver, &request, &files, &f->err), 1);
    hc_files_clear(&files);
    assert_int_equal(hc_resolve_files_remembered(f->resolver, &request, &files, &f->err),
                     1);
    assert_int_equal(files.count, 2);
    assert_string_equal(files.items[1].filename, "README.md");
    assert_string_equal(files.commit_hash, f->commit);
    hc_files_clear(&files);
    request.filename_count = 3;
    assert_int_equal(hc_resolve_files_remembered(f->resolver, &request, &files, &f->err),
                     0);
    assert_int_equal(files.count, 0);
    request.allow_missing = true;
    assert_int_equal(hc_resolve_files_remembered(f->resolver, &request, &files, &f->err),
                     0);
}

/* ---- a snapshot -------------------------------------------------------------------- */

static void a_proof_is_remembered_for_its_patterns(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = {.repo = {.id = "org/model"},
                                          .allow_patterns = only_json,
                                          .allow_count = 1};
    struct hc_snapshot looked, remembered;

    assert_int_equal(remember_snapshot(f, &request), 0);
    assert_int_equal(hc_resolve_snapshot_cached(f->resolver, &request, &looked, &f->err),
                     1);
    assert_int_equal(hc_resolve_snapshot_remembered(f->resolver, &request, &remembered,
                                                    &f->err),
                     1);
    assert_string_equal(remembered.path, looked.path);
    assert_string_equal(remembered.cache_path, looked.cache_path);
    assert_string_equal(remembered.commit_hash, f->commit);
    assert_int_equal(remembered.completeness, HC_COMPLETE);
    assert_int_equal(remembered.source, HC_SOURCE_CACHE);
    assert_int_equal(remembered.file_count, 1);
    assert_int_equal(remembered.size_bytes, looked.size_bytes);
    hc_snapshot_clear(&looked);
    hc_snapshot_clear(&remembered);

    request.allow_count = 0;
    assert_int_equal(remember_snapshot(f, &request), 0);
    request.ignore_patterns = only_json;
    request.ignore_count = 1;
    assert_int_equal(remember_snapshot(f, &request), 0);
}

static void a_proof_answers_with_a_look_at_the_ref_alone(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = {.folder = "models--org--model"};
    struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_reuse reuse = {0};
    struct hc_snapshot snapshot;

    assert_int_equal(hc_resolve_snapshot_proved(f->resolver, &request, &snapshot,
                                                &f->err),
                     0);
    look_at_snapshot(f, &request);
    forget_ref(f);
    assert_int_equal(remember_snapshot(f, &request), 0);
    request.options.reuse = &reuse;
    assert_int_equal(hc_resolve_snapshot_proved(f->resolver, &request, &snapshot,
                                                &f->err),
                     1);
    assert_string_equal(snapshot.commit_hash, f->commit);
    hc_snapshot_clear(&snapshot);
    assert_int_equal(remember_snapshot(f, &request), 1);
    assert_true(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
    hc_tree_drop(f->resolver->cache, &repo, f->commit);
    assert_false(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
}

static void no_two_selections_share_a_proof(void **state)
{
    static const char *const one[] = {"*.json1:+"}, *const two[] = {"*.json", "+"};
    struct fixture *f = *state;
    struct hc_snapshot_request request = {.repo = {.id = "org/model"},
                                          .allow_patterns = two,
                                          .allow_count = 2};

    look_at_snapshot(f, &request);
    assert_int_equal(remember_snapshot(f, &request), 1);
    request.allow_patterns = one;
    request.allow_count = 1;
    assert_int_equal(remember_snapshot(f, &request), 0);
}

static void assert_same_files(const struct hc_snapshot *remembered,
                              const struct hc_snapshot *looked)
{
    assert_int_equal(remembered->listed, looked->listed);
    for (size_t i = 0; i < looked->listed; i++) {
        const struct hc_file *one = &remembered->files[i], *other = &looked->files[i];

        assert_string_equal(one->path, other->path);
        assert_string_equal(one->filename, other->filename);
        assert_string_equal(one->commit_hash, other->commit_hash);
        assert_string_equal(one->etag, other->etag);
        assert_string_equal(one->rule, other->rule);
        assert_int_equal(one->size_bytes, other->size_bytes);
        assert_int_equal(one->source, HC_SOURCE_CACHE);
    }
}

static void a_list_of_files_is_that_of_a_look(void **state)
{
    struct fixture *f = *state;
    const char *patterns[] = {"*.json"};
    struct hc_snapshot_request request = {.repo = {.id = "org/model"},
                                          .allow_patterns = patterns,
                                          .list_files = true};

    for (request.allow_count = 0; request.allow_count <= 1; request.allow_count++) {
        struct hc_snapshot looked, remembered;

        assert_int_equal(hc_resolve_snapshot_cached(f->resolver, &request, &looked,
                                                    &f->err),
                         1);
        assert_true(looked.listed > 0);
        assert_int_equal(hc_resolve_snapshot_remembered(f->resolver, &request,
                                                        &remembered, &f->err),
                         1);
        assert_same_files(&remembered, &looked);
        hc_snapshot_clear(&remembered);
        hc_snapshot_clear(&looked);
    }
}

/* Whatever a thread that answers hits would have to write: 101 files are too many. */
static void a_long_list_of_files_is_not_remembered(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;
    char name[32], commit[HC_COMMIT_SIZE];

    for (unsigned count = 100; count <= 101; count++) {
        for (unsigned i = 0; i < count; i++) {
            (void)snprintf(name, sizeof name, "file-%u", i);
            test_hub_add(f->hub, name, "{}", 2, false);
        }
        (void)snprintf(name, sizeof name, "models/org/with-%u", count);
        request.repo.id = name + strlen("models/");
        test_hub_commit(f->hub, name, "main", commit);
        request.list_files = false;
        assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot,
                                             &f->err),
                         0);
        hc_snapshot_clear(&snapshot);
        look_at_snapshot(f, &request);
        make_volume_slow(f); /* in spite of so many quick looks */
        assert_int_equal(remember_snapshot(f, &request), 1);
        request.list_files = true;
        assert_int_equal(remember_snapshot(f, &request), count <= 100);
    }
}

static void an_incomplete_snapshot_is_not_remembered(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot_request request = {.repo = {.id = "org/model"},
                                          .options.dry_run = true};
    struct hc_snapshot snapshot;

    remove_config(f);
    assert_int_equal(hc_resolve_snapshot_cached(f->resolver, &request, &snapshot,
                                                &f->err),
                     1);
    assert_int_equal(snapshot.completeness, HC_PARTIAL);
    hc_snapshot_clear(&snapshot);
    assert_int_equal(remember_snapshot(f, &request), 0);
}

static void a_proof_does_not_outlive_its_listing(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_repo repo;

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, "org/model", &f->err), 0);
    look_at_snapshot(f, &request);
    assert_int_equal(remember_snapshot(f, &request), 1);
    hc_tree_drop(f->resolver->cache, &repo, f->commit);
    assert_int_equal(remember_snapshot(f, &request), 0);
}

static void patterns_that_are_too_long_to_remember_are_looked_at(void **state)
{
    struct fixture *f = *state;
    char pattern[HC_PATTERN_MAX + 1];
    const char *const patterns[] = {pattern};
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"},
                                                .allow_patterns = patterns,
                                                .allow_count = 1};

    memset(pattern, '*', sizeof pattern - 1);
    pattern[sizeof pattern - 1] = '\0';
    look_at_snapshot(f, &request);
    assert_int_equal(remember_snapshot(f, &request), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_file_is_answered_as_by_the_look_before),
        test(an_answer_is_given_again_no_longer_than_its_ref_is_fresh),
        test(what_this_process_writes_ends_an_answer),
        test(what_another_client_removes_is_answered_until_the_next_look),
        test(what_another_client_removes_is_noticed_in_the_background),
        test(what_is_asked_for_often_stays_in_memory),
        test(the_options_of_a_request_mean_the_same),
        test(an_old_ref_asks_the_hub_unless_that_must_not_be_asked),
        test(offline_what_is_not_remembered_does_not_fail),
        test(a_bad_request_is_refused),
        test(the_commit_that_this_process_writes_counts_at_once),
        test(with_local_roots_the_volume_is_looked_at),
        test(several_files_are_remembered_if_all_are),
        test(a_proof_is_remembered_for_its_patterns),
        test(a_proof_answers_with_a_look_at_the_ref_alone),
        test(no_two_selections_share_a_proof),
        test(a_list_of_files_is_that_of_a_look),
        test(a_long_list_of_files_is_not_remembered),
        test(an_incomplete_snapshot_is_not_remembered),
        test(a_proof_does_not_outlive_its_listing),
        test(patterns_that_are_too_long_to_remember_are_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
