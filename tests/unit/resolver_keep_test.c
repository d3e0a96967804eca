/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of `keep`: when the Hub moves a kept branch, the new commit comes whole,
 * and only then the ref names it. Until then, and whatever fails, callers get the old
 * commit, which is not stale; no answer mixes two commits; and of several replicas one
 * asks the Hub, and one fetches.
 */
#include "resolver_fixture.h"

#include "random.h"

#include <cache/cache.h>
#include <claim/claim_record.h>
#include <hubcache/keep.h>
#include <maintenance/hold.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HOUR_MS = 3600 * 1000, OLD_S = 24 * 3600, STEPS = 120 };

#define RECORD ".hubcache/kept/" REPO_FOLDER "/main"

static char *policy_dir;

static int keep_setup(void **state)
{
    struct fixture *f;

    (void)resolver_fixture_setup(state);
    f = *state;
    policy_dir = temp_dir_make();
    temp_dir_write(policy_dir, "policy.yaml",
                   "version: 1\ndefault: allow\n"
                   "keep: [{repo: org/model, revision: main}]\n");
    f->settings.policy_file = temp_dir_path(policy_dir, "policy.yaml");
    f->settings.connections = 8;
    resolver_fixture_reopen(f, false);
    return 0;
}

static int keep_teardown(void **state)
{
    temp_dir_remove(policy_dir);
    return resolver_fixture_teardown(state);
}

/* ---- the keeper -------------------------------------------------------------------- */

/* The one revision that is kept; the caller releases it. */
static struct hc_keep *keep_of(struct hc_resolver *resolver)
{
    struct hc_keep **items, *keep;
    struct hc_error err;
    size_t count;

    assert_int_equal(hc_keep_list(resolver, &items, &count, &err), 0);
    assert_int_equal(count, 1);
    keep = items[0];
    free(items);
    return keep;
}

static int keep_ask(struct fixture *f)
{
    struct hc_keep *keep = keep_of(f->resolver);
    int behind = hc_keep_ask(f->resolver, keep, HOUR_MS, NULL, &f->err);

    hc_keep_release(keep);
    return behind;
}

static int keep_fetch(struct fixture *f)
{
    struct hc_keep *keep = keep_of(f->resolver);
    struct hc_snapshot snapshot;
    int result = hc_keep_fetch(f->resolver, keep, NULL, &snapshot, &f->err);

    assert_int_equal(snapshot.listed, snapshot.file_count);
    assert_int_equal(snapshot.listed > 0, result > 0);
    hc_snapshot_clear(&snapshot);
    hc_keep_release(keep);
    return result;
}

static struct hc_keep_status keep_status(struct fixture *f)
{
    struct hc_keep *keep = keep_of(f->resolver);
    struct hc_keep_status status;

    hc_keep_look_at(keep, &status);
    hc_keep_release(keep);
    return status;
}

/* Makes a file of the cache that old. */
static void age_file(struct fixture *f, const char *name, long seconds)
{
    char *path = temp_dir_path(f->dir, name);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};

    (void)clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_sec -= seconds;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    free(path);
}

/* The next question is due. */
static void let_interval_pass(struct fixture *f)
{
    age_file(f, RECORD, OLD_S);
}

/* All of the first commit is there, and the Hub was heard long ago by all other means. */
static void keep_first_commit(struct fixture *f)
{
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(keep_fetch(f), 1);
    resolver_fixture_age_ref(f, "main", OLD_S);
    let_interval_pass(f);
}

/* ---- the fetch on a thread of its own ---------------------------------------------- */

struct fetching {
    struct fixture *f;
    pthread_t thread;
    int result;
};

static void *fetching_run(void *ctx)
{
    struct fetching *fetching = ctx;
    struct hc_keep *keep = keep_of(fetching->f->resolver);
    struct hc_snapshot snapshot;
    struct hc_error err;

    fetching->result = hc_keep_fetch(fetching->f->resolver, keep, NULL, &snapshot, &err);
    hc_snapshot_clear(&snapshot);
    hc_keep_release(keep);
    return NULL;
}

/* The branch moves, and the fetch of the new commit stands still in a file of it. */
static void fetch_until_stall(struct fixture *f, struct fetching *fetching,
                              char commit[41])
{
    char large[4096];

    memset(large, 'x', sizeof large);
    test_hub_add(f->hub, "new.bin", large, sizeof large, true);
    resolver_fixture_move_main(f, commit);
    test_hub_rule(f->hub, &(struct test_hub_rule){.on_cdn = true,
                                                  .method = "GET",
                                                  .times = 1,
                                                  .fault = TEST_HUB_STALL,
                                                  .number = 100});
    assert_int_equal(keep_ask(f), 1);
    fetching->f = f;
    assert_int_equal(pthread_create(&fetching->thread, NULL, fetching_run, fetching), 0);
    test_hub_await_stall(f->hub);
}

static int fetch_to_end(struct fixture *f, struct fetching *fetching)
{
    test_hub_release(f->hub);
    assert_int_equal(pthread_join(fetching->thread, NULL), 0);
    return fetching->result;
}

/* ---- callers ----------------------------------------------------------------------- */

static void assert_ref(struct fixture *f, const char *commit)
{
    char *ref = temp_dir_read(f->dir, REPO_FOLDER "/refs/main");

    assert_non_null(ref);
    assert_string_equal(ref, commit);
    free(ref);
}

static void assert_answer(struct fixture *f, const struct hc_fetch_options *options,
                          const char *commit, bool is_stale)
{
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = "config.json",
                                      .options = *options};
    struct hc_file file;

    if (hc_resolve_file(f->resolver, &request, NULL, &file, &f->err) < 0)
        fail_msg("%s", f->err.message);
    assert_string_equal(file.commit_hash, commit);
    assert_int_equal(file.stale, is_stale);
    hc_file_clear(&file);
}

static const struct hc_fetch_options any_age = {0};
static const struct hc_fetch_options ask_now = {.has_max_staleness = true};
static const struct hc_fetch_options forced = {.force_download = true};

static unsigned hub_questions(struct fixture *f)
{
    return test_hub_count(f->hub, NULL, "/revision/");
}

/* ---- tests ------------------------------------------------------------------------- */

static void a_kept_revision_is_fetched_whole(void **state)
{
    struct fixture *f = *state;
    struct hc_keep_status status;

    assert_int_equal(keep_ask(f), 1);
    status = keep_status(f);
    assert_string_equal(status.newest, f->commit);
    assert_string_equal(status.commit, "");
    assert_true(status.behind_since_ms > 0);
    assert_int_equal(keep_fetch(f), 1);

    assert_ref(f, f->commit);
    assert_int_equal(keep_ask(f), 0);
    status = keep_status(f);
    assert_string_equal(status.repo_id, "org/model");
    assert_string_equal(status.commit, f->commit);
    assert_true(status.heard_ms > 0);
    assert_int_equal(status.behind_since_ms, 0);
    assert_int_equal(status.reason, HC_OK);
    resolver_fixture_reopen(f, true);
    assert_answer(f, &any_age, f->commit, false);
}

static void a_file_that_is_lost_is_fetched_again(void **state)
{
    struct fixture *f = *state;
    char *path = temp_dir_path(f->dir, pointer_path(f->commit, "README.md"));

    keep_first_commit(f);
    assert_int_equal(keep_ask(f), 0);
    assert_int_equal(unlink(path), 0);
    let_interval_pass(f);
    resolver_fixture_reopen(f, false); /* which does not remember it */
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(keep_fetch(f), 1);
    assert_true(temp_dir_has(f->dir, pointer_path(f->commit, "README.md")));
    free(path);
}

static void the_ref_moves_after_the_bytes(void **state)
{
    struct fixture *f = *state;
    struct fetching fetching;
    struct hc_keep_status status;
    char next[41];

    keep_first_commit(f);
    fetch_until_stall(f, &fetching, next);
    status = keep_status(f);
    assert_true(status.is_fetching);
    assert_string_equal(status.commit, f->commit);
    assert_string_equal(status.newest, next);
    assert_ref(f, f->commit);
    for (unsigned i = 0; i < 3; i++)
        assert_answer(f, &any_age, f->commit, false);

    assert_int_equal(fetch_to_end(f, &fetching), 1);
    assert_ref(f, next);
    assert_answer(f, &any_age, next, false);
    assert_false(keep_status(f).is_fetching);
    assert_int_equal(keep_status(f).behind_since_ms, 0);
    assert_true(temp_dir_has(f->dir, pointer_path(f->commit, "config.json")));
}

/* Such a caller gets the new commit, and no other caller does. */
static void a_caller_that_wants_the_newest_gets_it(void **state)
{
    struct fixture *f = *state;
    static const char *const json[] = {"*.json"};
    const struct hc_snapshot_request part = {.repo = {.id = "org/model"},
                                             .allow_patterns = json,
                                             .allow_count = 1,
                                             .options = ask_now};
    struct fetching fetching;
    struct hc_snapshot snapshot;
    char next[41];

    keep_first_commit(f);
    fetch_until_stall(f, &fetching, next);
    assert_answer(f, &ask_now, next, false);
    assert_answer(f, &any_age, f->commit, false);
    assert_answer(f, &forced, next, false);
    assert_int_equal(hc_resolve_snapshot(f->resolver, &part, NULL, &snapshot, &f->err),
                     0);
    assert_string_equal(snapshot.commit_hash, next);
    hc_snapshot_clear(&snapshot);
    assert_ref(f, f->commit);
    assert_answer(f, &any_age, f->commit, false);
    assert_int_equal(fetch_to_end(f, &fetching), 1);
    assert_ref(f, next);
}

/* It is whole, whichever request has made it so. */
static void a_callers_whole_snapshot_moves_the_ref(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request all = {.repo = {.id = "org/model"},
                                            .options = ask_now};
    struct hc_snapshot snapshot;
    char next[41];

    keep_first_commit(f);
    resolver_fixture_move_main(f, next);
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(hc_resolve_snapshot(f->resolver, &all, NULL, &snapshot, &f->err), 0);
    hc_snapshot_clear(&snapshot);
    assert_ref(f, next);
    let_interval_pass(f);
    assert_int_equal(keep_ask(f), 0);
}

static void a_branch_that_moves_twice_is_whole_each_time(void **state)
{
    struct fixture *f = *state;
    struct fetching fetching;
    char second[41], third[41];

    keep_first_commit(f);
    fetch_until_stall(f, &fetching, second);
    test_hub_add(f->hub, "config.json", "{\"v\": 3}", 8, false);
    test_hub_commit(f->hub, "models/org/model", "main", third);
    let_interval_pass(f);
    assert_int_equal(keep_ask(f), 1);
    assert_string_equal(keep_status(f).newest, third);
    assert_answer(f, &any_age, f->commit, false);

    assert_int_equal(fetch_to_end(f, &fetching), 1);
    assert_ref(f, second);
    assert_true(keep_status(f).behind_since_ms > 0);
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(keep_fetch(f), 1);
    assert_ref(f, third);
    assert_int_equal(keep_status(f).behind_since_ms, 0);
}

/* A fetch of the second commit ends after another process has moved the ref to the
 * third. */
static void a_slow_fetch_does_not_move_the_ref_back(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request all = {.repo = {.id = "org/model"},
                                            .options = ask_now};
    struct fetching fetching;
    struct hc_snapshot snapshot;
    char second[41], third[41];

    keep_first_commit(f);
    fetch_until_stall(f, &fetching, second);
    test_hub_add(f->hub, "config.json", "{\"v\": 3}", 8, false);
    test_hub_commit(f->hub, "models/org/model", "main", third);
    assert_int_equal(hc_resolve_snapshot(f->resolver, &all, NULL, &snapshot, &f->err), 0);
    hc_snapshot_clear(&snapshot);
    assert_ref(f, third);

    (void)fetch_to_end(f, &fetching);
    assert_ref(f, third);
}

static void a_hub_that_fails_in_the_middle_leaves_the_old_commit(void **state)
{
    struct fixture *f = *state;
    char next[41];

    keep_first_commit(f);
    resolver_fixture_move_main(f, next);
    assert_int_equal(keep_ask(f), 1);
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "/config.json",
                                                  .fault = TEST_HUB_STATUS,
                                                  .number = 500});
    assert_int_equal(keep_fetch(f), -1);
    assert_int_equal(keep_status(f).reason, HC_HUB_UNREACHABLE);
    assert_true(keep_status(f).behind_since_ms > 0);
    assert_ref(f, f->commit);
    assert_answer(f, &any_age, f->commit, false);

    test_hub_clear_rules(f->hub);
    let_interval_pass(f);
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(keep_fetch(f), 1);
    assert_ref(f, next);
    assert_int_equal(keep_status(f).reason, HC_OK);
}

/* Nothing evicts or prunes what has arrived, though no ref names it. */
static void the_new_commit_is_held_while_it_is_incomplete(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;
    HC_AUTO(hc_cache) *cache = hc_cache_open(f->dir, false, &err);
    struct hc_repo repo;
    char next[41];
    const struct hc_hold_subject incoming = {.repo = &repo,
                                             .commit = next,
                                             .now_ms = hc_volume_now_ms(cache)};

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, "org/model", &err), 0);
    keep_first_commit(f);
    resolver_fixture_move_main(f, next);
    assert_int_equal(hc_hold_find(cache, NULL, &incoming).by, HC_HELD_BY_NONE);
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(hc_hold_find(cache, NULL, &incoming).by, HC_HELD_BY_KEEP);
    assert_int_equal(keep_fetch(f), 1);
    assert_int_equal(hc_hold_find(cache, NULL, &incoming).by, HC_HELD_BY_NONE);
}

static void a_branch_that_is_deleted_leaves_the_old_commit(void **state)
{
    struct fixture *f = *state;

    keep_first_commit(f);
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "main",
                                                  .fault = TEST_HUB_STATUS,
                                                  .number = 404,
                                                  .error_code = "RevisionNotFound"});
    assert_int_equal(keep_ask(f), -1);
    assert_int_equal(f->err.reason, HC_REVISION_NOT_FOUND);
    assert_int_equal(keep_status(f).reason, HC_REVISION_NOT_FOUND);
    assert_answer(f, &any_age, f->commit, false);
    assert_ref(f, f->commit);
}

static void a_repo_that_becomes_gated_or_private_leaves_the_old_commit(void **state)
{
    struct fixture *f = *state;
    char next[41];

    keep_first_commit(f);
    resolver_fixture_move_main(f, next);
    test_hub_set_access(f->hub, "models/org/model", TEST_HUB_GATED);
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(keep_fetch(f), -1);
    assert_int_equal(keep_status(f).reason, HC_GATED_REPO);
    assert_answer(f, &any_age, f->commit, false);
    test_hub_set_access(f->hub, "models/org/model", TEST_HUB_PRIVATE);
    let_interval_pass(f);
    assert_int_equal(keep_ask(f), -1);
    assert_answer(f, &any_age, f->commit, false);
    assert_ref(f, f->commit);
}

static void a_full_volume_leaves_the_old_commit(void **state)
{
    struct fixture *f = *state;
    struct hc_settings full = f->settings;
    char next[41];

    keep_first_commit(f);
    resolver_fixture_move_main(f, next);
    full.free_floor = UINT64_MAX / 4;
    hc_resolver_change(f->resolver, &full);
    assert_int_equal(keep_ask(f), 1);
    assert_int_equal(keep_fetch(f), -1);
    assert_int_equal(keep_status(f).reason, HC_NO_SPACE);
    assert_answer(f, &any_age, f->commit, false);
    assert_ref(f, f->commit);

    hc_resolver_change(f->resolver, &f->settings);
    assert_int_equal(keep_fetch(f), 1);
    assert_ref(f, next);
}

/* For three intervals it is as good as fresh; then all is as without `keep`. */
static void a_hub_out_of_reach_makes_answers_stale_in_time(void **state)
{
    struct fixture *f = *state;
    struct hc_keep *keep;

    keep_first_commit(f);
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_CLOSE});
    assert_int_equal(keep_ask(f), -1);
    assert_int_equal(keep_status(f).reason, HC_HUB_UNREACHABLE);
    assert_answer(f, &any_age, f->commit, false);

    let_interval_pass(f);
    resolver_fixture_reopen(f, false); /* whose interval is but a millisecond */
    keep = keep_of(f->resolver);
    (void)usleep(5000);
    assert_int_equal(hc_keep_ask(f->resolver, keep, 1, NULL, &f->err), -1);
    hc_keep_release(keep);
    resolver_fixture_age_ref(f, "main", OLD_S);
    assert_answer(f, &any_age, f->commit, true);
}

static void of_several_replicas_one_asks_and_one_fetches(void **state)
{
    struct fixture *f = *state;
    struct fixture other = *f;
    struct fetching fetching;
    unsigned asked;
    char next[41];

    keep_first_commit(f);
    fetch_until_stall(f, &fetching, next);
    other.resolver = hc_resolver_open(&f->settings, &f->err);
    assert_non_null(other.resolver);
    asked = hub_questions(f);
    assert_int_equal(keep_ask(&other), 1);
    assert_int_equal(hub_questions(f), asked);
    assert_int_equal(keep_fetch(&other), 0);
    assert_true(keep_status(&other).is_remote);
    resolver_fixture_age_ref(f, "main", OLD_S);
    assert_answer(&other, &any_age, f->commit, false);
    assert_int_equal(hub_questions(f), asked);

    assert_int_equal(fetch_to_end(f, &fetching), 1);
    assert_int_equal(keep_ask(&other), 0);
    assert_answer(&other, &any_age, next, false);
    hc_resolver_close(other.resolver);
}

static void a_revision_that_is_kept_no_longer_is_an_ordinary_one(void **state)
{
    struct fixture *f = *state;
    char next[41];

    keep_first_commit(f);
    assert_int_equal(keep_ask(f), 0);
    temp_dir_write(policy_dir, "policy.yaml", "version: 1\ndefault: allow\n");
    assert_int_equal(hc_resolver_load_policy(f->resolver, &f->err), 0);
    {
        struct hc_keep **items;
        size_t count;

        assert_int_equal(hc_keep_list(f->resolver, &items, &count, &f->err), 0);
        assert_int_equal(count, 0);
        free(items);
    }
    resolver_fixture_move_main(f, next);
    resolver_fixture_age_ref(f, "main", OLD_S);
    assert_answer(f, &any_age, next, false);
    assert_ref(f, next);
}

/* What every caller is denied is not fetched; what one may have is. */
static void files_that_every_caller_is_denied_are_left(void **state)
{
    static const struct {
        const char *rules;
        bool has_weights;
    } cases[] = {
        {"- {name: no-bin, files: ['*.bin'], action: deny}\n"
         "- {name: a, callers: [a], action: allow}\n",
         false},
        {"- {name: a, callers: [a], files: ['*.bin'], action: allow}\n"
         "- {name: no-bin, files: ['*.bin'], action: deny}\n"
         "- {name: b, callers: [b], action: allow}\n",
         true},
        {"- {name: no-bin, callers: [a], files: ['*.bin'], action: deny}\n", true},
        {"- {name: no-bin, repos: [other/*], files: ['*.bin'], action: deny}\n", true},
    };
    struct fixture *f = *state;
    char policy[1024];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char next[41];

        (void)snprintf(policy, sizeof policy,
                       "version: 1\ndefault: deny\nrules:\n%s"
                       "keep: [{repo: org/model, revision: main}]\n",
                       cases[i].rules);
        temp_dir_write(policy_dir, "policy.yaml", policy);
        assert_int_equal(hc_resolver_load_policy(f->resolver, &f->err), 0);
        test_hub_add(f->hub, "config.json", policy, 100 + i, false);
        test_hub_add(f->hub, "weights.bin", policy, 200 + i, true);
        test_hub_commit(f->hub, "models/org/model", "main", next);
        if (i > 0)
            let_interval_pass(f);
        assert_int_equal(keep_ask(f), 1);
        assert_int_equal(keep_fetch(f), 1);
        assert_ref(f, next);
        assert_true(temp_dir_has(f->dir, pointer_path(next, "config.json")));
        assert_int_equal(temp_dir_has(f->dir, pointer_path(next, "weights.bin")),
                         cases[i].has_weights);
        assert_int_equal(keep_ask(f), 0);
    }
}

static void a_record_of_garbage_is_none(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"commit\": 7}",
                                        "{\"commit\": \"../../etc\"}"};
    struct fixture *f = *state;

    keep_first_commit(f);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        temp_dir_write(f->dir, RECORD, texts[i]);
        assert_int_equal(keep_ask(f), 0);
        assert_string_equal(keep_status(f).newest, f->commit);
    }
}

/* ---- never a mixture --------------------------------------------------------------- */

/* What a client does that reads the volume itself, offline: both files are there, and of
 * one commit. */
static void assert_volume_is_of_one_commit(struct fixture *f)
{
    char *ref = temp_dir_read(f->dir, REPO_FOLDER "/refs/main");
    char *a = temp_dir_read(f->dir, pointer_path(ref, "a.txt"));
    char *b = temp_dir_read(f->dir, pointer_path(ref, "b.txt"));

    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(a, b);
    free(ref);
    free(a);
    free(b);
}

struct reader {
    struct fixture *f;
    atomic_bool stop;
    pthread_t thread;
};

static void *reader_run(void *ctx)
{
    struct reader *reader = ctx;

    while (!atomic_load(&reader->stop))
        assert_volume_is_of_one_commit(reader->f);
    return NULL;
}

static void commit_pair(struct fixture *f, unsigned number)
{
    char text[16], commit[41];

    (void)snprintf(text, sizeof text, "%u\n", number);
    test_hub_add(f->hub, "a.txt", text, strlen(text), false);
    test_hub_add(f->hub, "b.txt", text, strlen(text), false);
    test_hub_commit(f->hub, "models/org/model", "main", commit);
}

static void assert_answers_of_one_commit(struct fixture *f,
                                         const struct hc_fetch_options *options)
{
    static const char *const names[] = {"a.txt", "b.txt"};
    const struct hc_files_request request = {.repo = {.id = "org/model"},
                                             .filenames = names,
                                             .filename_count = 2,
                                             .options = *options};
    struct hc_files files;
    char *content;

    if (hc_resolve_files(f->resolver, &request, NULL, &files, &f->err) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(files.count, 2);
    assert_string_equal(files.items[0].commit_hash, files.items[1].commit_hash);
    content = temp_dir_read("/", files.items[0].path + 1);
    assert_file_content(&files.items[1], content);
    free(content);
    hc_files_clear(&files);
}

static void no_answer_mixes_two_commits(void **state)
{
    struct fixture *f = *state;
    struct reader reader = {.f = f};
    unsigned number = 0;
    struct random_source random;

    random_begin(&random, "roll-outs");
    commit_pair(f, number++);
    keep_first_commit(f);
    assert_int_equal(pthread_create(&reader.thread, NULL, reader_run, &reader), 0);
    for (unsigned i = 0; i < STEPS; i++) {
        switch (random_between(&random, 0, 5)) {
        case 0:
            commit_pair(f, number++);
            break;
        case 1:
            let_interval_pass(f);
            (void)keep_ask(f);
            break;
        case 2:
            (void)keep_fetch(f);
            break;
        case 3:
            resolver_fixture_age_ref(f, "main", OLD_S);
            assert_answers_of_one_commit(f, &any_age);
            break;
        case 4:
            assert_answers_of_one_commit(f, &ask_now);
            break;
        default:
            assert_volume_is_of_one_commit(f);
        }
    }
    atomic_store(&reader.stop, true);
    assert_int_equal(pthread_join(reader.thread, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, keep_setup, keep_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_kept_revision_is_fetched_whole),
        TEST(a_file_that_is_lost_is_fetched_again),
        TEST(the_ref_moves_after_the_bytes),
        TEST(a_caller_that_wants_the_newest_gets_it),
        TEST(a_callers_whole_snapshot_moves_the_ref),
        TEST(a_branch_that_moves_twice_is_whole_each_time),
        TEST(a_slow_fetch_does_not_move_the_ref_back),
        TEST(a_hub_that_fails_in_the_middle_leaves_the_old_commit),
        TEST(the_new_commit_is_held_while_it_is_incomplete),
        TEST(a_branch_that_is_deleted_leaves_the_old_commit),
        TEST(a_repo_that_becomes_gated_or_private_leaves_the_old_commit),
        TEST(a_full_volume_leaves_the_old_commit),
        TEST(a_hub_out_of_reach_makes_answers_stale_in_time),
        TEST(of_several_replicas_one_asks_and_one_fetches),
        TEST(a_revision_that_is_kept_no_longer_is_an_ordinary_one),
        TEST(files_that_every_caller_is_denied_are_left),
        TEST(a_record_of_garbage_is_none),
        TEST(no_answer_mixes_two_commits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
