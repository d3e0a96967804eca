/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of a policy to a caller of the resolver: what it denies has no answer, from
 * the Hub, the cache or memory; a snapshot is without the files that are denied to its
 * caller, says so, and is complete without them; conditions hold for cached answers, too.
 */
#include "resolver_fixture.h"

#include "temp_dir.h"

#include <cache/memo.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define test(name) cmocka_unit_test_setup_teardown(name, policy_setup, policy_teardown)

static const struct hc_identity alice = {.kind = "token", .name = "alice"};
static const struct hc_identity bob = {.kind = "token", .name = "bob"};

/* alice may have all but *.bin, bob may have everything. */
static const char no_bin[] =
    "version: 1\n"
    "rules:\n"
    "- {name: bob, callers: [bob], action: allow}\n"
    "- {name: no-bin, files: ['*.bin'], action: deny, message: use safetensors}\n";

static char *policy_dir;

static void policy_write(const char *text)
{
    temp_dir_write(policy_dir, "policy.yaml", text);
}

static void policy_use(struct fixture *f, const char *text)
{
    policy_write(text);
    assert_int_equal(hc_resolver_load_policy(f->resolver, &f->err), 0);
}

static int policy_setup(void **state)
{
    char path[PATH_MAX];
    struct fixture *f;

    (void)resolver_fixture_setup(state);
    f = *state;
    policy_dir = temp_dir_make();
    policy_write(no_bin);
    (void)snprintf(path, sizeof path, "%s/policy.yaml", policy_dir);
    f->settings.policy_file = strdup(path);
    assert_non_null(f->settings.policy_file);
    f->settings.confirm_after_ms = 60000; /* on a slow volume all is remembered */
    resolver_fixture_reopen(f, false);
    return 0;
}

static int policy_teardown(void **state)
{
    temp_dir_remove(policy_dir);
    return resolver_fixture_teardown(state);
}

/* ---- how a caller asks ------------------------------------------------------------- */

enum way { BY_MEMORY, BY_DISK, BY_HUB };

static int ask_file(struct fixture *f, enum way way, const struct hc_identity *identity,
                    const struct hc_target *target, const char *filename)
{
    const struct hc_file_request request = {.repo = *target,
                                            .filename = filename,
                                            .options = {.identity = identity}};
    struct hc_file file;
    int result = way == BY_MEMORY
                     ? hc_resolve_file_remembered(f->resolver, &request, &file, &f->err)
                 : way == BY_DISK
                     ? hc_resolve_file_cached(f->resolver, &request, &file, &f->err)
                     : hc_resolve_file(f->resolver, &request, NULL, &file, &f->err);

    hc_file_clear(&file);
    return result;
}

static int ask_files(struct fixture *f, enum way way, const struct hc_identity *identity,
                     const struct hc_target *target, const char *filename)
{
    const char *const names[] = {"config.json", filename};
    const struct hc_files_request request = {.repo = *target,
                                             .filenames = names,
                                             .filename_count = 2,
                                             .allow_missing = true,
                                             .options = {.identity = identity}};
    struct hc_files files;
    int result = way == BY_MEMORY
                     ? hc_resolve_files_remembered(f->resolver, &request, &files, &f->err)
                 : way == BY_DISK
                     ? hc_resolve_files_cached(f->resolver, &request, &files, &f->err)
                     : hc_resolve_files(f->resolver, &request, NULL, &files, &f->err);

    hc_files_clear(&files);
    return result;
}

static int ask_snapshot(struct fixture *f, enum way way,
                        const struct hc_identity *identity,
                        const struct hc_target *target, struct hc_snapshot *snapshot)
{
    const struct hc_snapshot_request request = {.repo = *target,
                                                .options = {.identity = identity}};

    return way == BY_MEMORY
               ? hc_resolve_snapshot_remembered(f->resolver, &request, snapshot, &f->err)
           : way == BY_DISK
               ? hc_resolve_snapshot_cached(f->resolver, &request, snapshot, &f->err)
               : hc_resolve_snapshot(f->resolver, &request, NULL, snapshot, &f->err);
}

static int ask_whole(struct fixture *f, enum way way, const struct hc_identity *identity,
                     const struct hc_target *target)
{
    struct hc_snapshot snapshot;
    int result = ask_snapshot(f, way, identity, target, &snapshot);

    hc_snapshot_clear(&snapshot);
    return result;
}

static const struct hc_target model = {.id = "org/model"};

/* bob has everything fetched. */
static void fetch_everything(struct fixture *f)
{
    assert_int_equal(ask_whole(f, BY_HUB, &bob, &model), 0);
    test_hub_clear_log(f->hub);
}

/* The Hub is asked for nothing but, for the sake of an alternative, the listing. */
static void assert_denied(struct fixture *f, int result, const char *rule)
{
    const char *asked = f->err.filename[0] ? "/resolve/" : NULL;

    assert_int_equal(result, -1);
    assert_int_equal(f->err.reason, HC_POLICY_DENIED);
    assert_string_equal(f->err.rule, rule);
    assert_int_equal(test_hub_count(f->hub, NULL, asked), 0);
}

/* ---- files ------------------------------------------------------------------------- */

static void a_denied_file_has_no_answer_from_hub_or_disk(void **state)
{
    struct fixture *f = *state;

    for (int is_cached = 0; is_cached < 2; is_cached++) {
        for (int way = is_cached ? BY_DISK : BY_HUB; way <= BY_HUB; way++) {
            assert_denied(f, ask_file(f, (enum way)way, &alice, &model, "weights.bin"),
                          "no-bin");
            assert_string_equal(f->err.filename, "weights.bin");
            assert_string_equal(f->err.rule_message, "use safetensors");
            assert_non_null(strstr(f->err.message, "use safetensors"));
            assert_denied(f, ask_files(f, (enum way)way, &alice, &model, "weights.bin"),
                          "no-bin");
            assert_string_equal(f->err.filename, "weights.bin");
        }
        fetch_everything(f);
        assert_int_equal(ask_file(f, BY_DISK, &bob, &model, "weights.bin"), 1);
    }
}

/* Memory has no room for a hint, so it leaves the failure to the look at the disk. */
static void memory_does_not_answer_a_denied_file(void **state)
{
    struct fixture *f = *state;

    fetch_everything(f);
    assert_int_equal(ask_file(f, BY_DISK, &bob, &model, "weights.bin"), 1);
    assert_int_equal(ask_file(f, BY_MEMORY, &alice, &model, "weights.bin"), 0);
    assert_int_equal(ask_files(f, BY_MEMORY, &alice, &model, "weights.bin"), 0);
}

/* What a commit has beside what is denied: the first one is the alternative. */
static const struct {
    const char *denied, *allowed[4];
} alternatives[] = {
    {"pytorch_model.bin", {"model.safetensors", "adapter_model.safetensors"}},
    {"tensors.bin", {"tensors.safetensors", "model.safetensors"}},
    {"a/other.bin", {"a/some.safetensors", "model.safetensors"}},
    {"b/other.bin", {NULL, "model.safetensors", "b/c/other.safetensors"}},
    {"pytorch_model-1-of-2.bin",
     {"model-1-of-2.safetensors", "model.safetensors.index.json"}},
    {"pytorch_model.bin",
     {"model.safetensors.index.json", "adapter_model.safetensors",
      "model-1-of-2.safetensors"}},
    {"pytorch_model-1-of-3.bin",
     {"model-1-of-2.safetensors", "adapter_model.safetensors",
      "model-2-of-2.safetensors"}},
    {"pytorch_model.fp16.bin", {"model.fp16.safetensors", "model.safetensors"}},
    {"adapter_model.bin", {"adapter_model.safetensors", "model.safetensors"}},
    {"tf_model.h5", {"model.safetensors", "adapter_model.safetensors"}},
    {"consolidated.00.pth", {"consolidated.safetensors", "a.safetensors"}},
    {"notes.txt", {NULL, "model.safetensors"}},
};

static void hub_commit_pair(struct fixture *f, size_t i, const char *repo)
{
    char commit[41];

    test_hub_add(f->hub, alternatives[i].denied, "pickle", 6, false);
    for (size_t n = 0; n < sizeof alternatives[i].allowed / sizeof(char *); n++) {
        if (alternatives[i].allowed[n])
            test_hub_add(f->hub, alternatives[i].allowed[n], "safe", 4, false);
    }
    test_hub_commit(f->hub, repo, "main", commit);
}

static void assert_alternative(const struct fixture *f, const char *alternative)
{
    assert_int_equal(f->err.reason, HC_POLICY_DENIED);
    assert_string_equal(f->err.alternative, alternative ? alternative : "");
    if (alternative)
        assert_non_null(strstr(f->err.message, alternative));
}

static void the_alternative_of_a_denied_file_is_named(void **state)
{
    struct fixture *f = *state;

    policy_use(f, "version: 1\nrules:\n- name: no-pickle\n  action: deny\n  files: "
                  "['*.bin', '*.h5', '*.pth', '*.txt']\n");
    for (size_t i = 0; i < sizeof alternatives / sizeof *alternatives; i++) {
        const char *denied = alternatives[i].denied;
        char repo[32];
        const struct hc_target target = {.id = repo + strlen("models/")};

        (void)snprintf(repo, sizeof repo, "models/org/safe-%zu", i);
        hub_commit_pair(f, i, repo);
        assert_int_equal(ask_file(f, BY_HUB, &alice, &target, denied), -1);
        assert_alternative(f, alternatives[i].allowed[0]);
    }
}

/* Once it is cached, it serves whatever its age. */
static void the_hub_is_asked_for_the_listing_once(void **state)
{
    struct fixture *f = *state;

    hub_commit_pair(f, 0, "models/org/model");
    assert_int_equal(ask_file(f, BY_DISK, &alice, &model, "pytorch_model.bin"), 0);
    assert_int_equal(ask_file(f, BY_HUB, &alice, &model, "pytorch_model.bin"), -1);
    assert_alternative(f, "model.safetensors");
    assert_int_equal(test_hub_count(f->hub, NULL, "/tree/"), 1);
    assert_int_equal(test_hub_count(f->hub, NULL, "/resolve/"), 0);
    assert_int_equal(ask_whole(f, BY_HUB, &bob, &model), 0);
    resolver_fixture_age_ref(f, "main", 3600);
    test_hub_clear_log(f->hub);
    for (int way = BY_DISK; way <= BY_HUB; way++) {
        assert_int_equal(ask_file(f, (enum way)way, &alice, &model, "pytorch_model.bin"),
                         -1);
        assert_alternative(f, "model.safetensors");
    }
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

/* A hint is no reason to wait, nor for another failure. */
static void a_denial_does_not_wait_for_a_hub_that_fails(void **state)
{
    const struct test_hub_rule failure = {.fault = TEST_HUB_STATUS, .number = 503};
    struct fixture *f = *state;

    test_hub_rule(f->hub, &failure);
    assert_int_equal(ask_file(f, BY_HUB, &alice, &model, "weights.bin"), -1);
    assert_alternative(f, NULL);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
    resolver_fixture_reopen(f, true);
    assert_int_equal(ask_file(f, BY_DISK, &alice, &model, "weights.bin"), -1);
    assert_alternative(f, NULL);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

/* ---- snapshots --------------------------------------------------------------------- */

static void assert_excludes_weights(struct fixture *f, enum way way)
{
    struct hc_snapshot snapshot;
    int result = ask_snapshot(f, way, &alice, &model, &snapshot);

    assert_int_equal(result, way == BY_HUB ? 0 : 1);
    assert_int_equal(snapshot.completeness, HC_COMPLETE);
    assert_int_equal(snapshot.file_count, 4);
    assert_int_equal(snapshot.excluded_total, 1);
    assert_int_equal(snapshot.excluded_listed, 1);
    assert_string_equal(snapshot.excluded[0], "weights.bin");
    assert_string_equal(snapshot.rule, "default");
    hc_snapshot_clear(&snapshot);
}

static void a_snapshot_is_complete_without_the_files_that_are_denied(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot snapshot;
    int result;

    assert_excludes_weights(f, BY_HUB);
    assert_false(temp_dir_has(f->dir, pointer_path(f->commit, "weights.bin")));
    assert_excludes_weights(f, BY_DISK);
    result = ask_snapshot(f, BY_DISK, &bob, &model, &snapshot);
    assert_int_equal(result, 0); /* for bob, the weights are missing */
    hc_snapshot_clear(&snapshot);
    fetch_everything(f);
    assert_excludes_weights(f, BY_DISK);
    result = ask_snapshot(f, BY_DISK, &bob, &model, &snapshot);
    assert_int_equal(result, 1);
    assert_int_equal(snapshot.file_count, 5);
    assert_int_equal(snapshot.excluded_total, 0);
    assert_string_equal(snapshot.rule, "bob");
    hc_snapshot_clear(&snapshot);
}

/* What is proved for one caller is remembered for callers with the same rights alone. */
static void a_remembered_snapshot_is_that_of_its_caller(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot snapshot;
    int tries = 0;

    fetch_everything(f);
    /* A quick volume is remembered for some microseconds only. */
    do {
        assert_excludes_weights(f, BY_DISK);
        assert_int_equal(ask_snapshot(f, BY_MEMORY, &bob, &model, &snapshot), 0);
        hc_snapshot_clear(&snapshot);
        assert_excludes_weights(f, BY_DISK);
        if (ask_snapshot(f, BY_MEMORY, &alice, &model, &snapshot) == 1) {
            assert_int_equal(snapshot.file_count, 4);
            assert_int_equal(snapshot.excluded_total, 1);
            assert_string_equal(snapshot.excluded[0], "weights.bin");
            hc_snapshot_clear(&snapshot);
            return;
        }
        hc_snapshot_clear(&snapshot);
    } while (++tries < 1000);
    fail_msg("nothing is remembered");
}

static void a_snapshot_of_denied_files_alone_is_denied(void **state)
{
    static const char *const patterns[] = {"*.bin"};
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {.repo = model,
                                                .allow_patterns = patterns,
                                                .allow_count = 1,
                                                .options = {.identity = &alice}};
    struct hc_snapshot snapshot;

    fetch_everything(f);
    assert_denied(f, hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err),
                  "no-bin");
}

/* ---- conditions -------------------------------------------------------------------- */

static void sizes_are_limited_for_cached_answers_too(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot snapshot;

    fetch_everything(f);
    assert_int_equal(ask_snapshot(f, BY_DISK, &bob, &model, &snapshot), 1);
    for (int more = -1; more <= 1; more++) {
        char text[256];

        (void)snprintf(text, sizeof text,
                       "version: 1\nrules: [{name: small, action: allow, "
                       "max_snapshot_size: %d}]\n",
                       (int)snapshot.size_bytes + more);
        policy_use(f, text);
        if (more < 0)
            assert_denied(f, ask_whole(f, BY_DISK, &alice, &model), "small");
        else
            assert_int_equal(ask_whole(f, BY_DISK, &alice, &model), 1);
    }
    hc_snapshot_clear(&snapshot);
    policy_use(f, "version: 1\nrules: [{name: tiny, action: allow, max_file_size: 1}]\n");
    assert_denied(f, ask_file(f, BY_DISK, &alice, &model, "weights.bin"), "tiny");
    assert_int_equal(ask_file(f, BY_DISK, &alice, &model, "empty.txt"), 1);
    assert_denied(f, ask_files(f, BY_DISK, &alice, &model, "empty.txt"), "tiny");
}

static void a_file_that_is_too_large_is_not_fetched(void **state)
{
    struct fixture *f = *state;

    policy_use(f, "version: 1\nrules: [{name: tiny, action: allow, max_file_size: 1}]\n");
    assert_int_equal(ask_file(f, BY_HUB, &alice, &model, "weights.bin"), -1);
    assert_int_equal(f->err.reason, HC_POLICY_DENIED);
    assert_int_equal(test_hub_count(f->hub, "GET", "weights.bin"), 0);
    assert_int_equal(ask_files(f, BY_HUB, &alice, &model, "weights.bin"), -1);
    assert_int_equal(f->err.reason, HC_POLICY_DENIED);
    assert_int_equal(test_hub_count(f->hub, "GET", "resolve"), 0);
}

static void an_offline_rule_never_asks_the_hub(void **state)
{
    struct fixture *f = *state;

    policy_use(f, "version: 1\nrules: [{name: off, callers: [alice], action: allow, "
                  "offline: true}]\n");
    assert_int_equal(ask_file(f, BY_HUB, &alice, &model, "config.json"), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_non_null(strstr(f->err.message, "policy"));
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    fetch_everything(f);
    resolver_fixture_age_ref(f, "main", 1000000);
    assert_int_equal(ask_file(f, BY_HUB, &alice, &model, "config.json"), 0);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    assert_int_equal(ask_file(f, BY_HUB, &bob, &model, "config.json"), 0);
    assert_int_not_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

static void the_staleness_of_a_rule_takes_the_place_of_the_servers(void **state)
{
    struct fixture *f = *state;

    policy_use(f, "version: 1\nrules: [{name: hour, callers: [alice], action: allow, "
                  "max_staleness: 1h}]\n");
    fetch_everything(f);
    resolver_fixture_age_ref(f, "main", 1800); /* the server's is a minute */
    assert_int_equal(ask_file(f, BY_DISK, &alice, &model, "config.json"), 1);
    assert_int_equal(ask_file(f, BY_DISK, &bob, &model, "config.json"), 0);
}

static void the_hub_is_asked_with_the_token_of_the_rule(void **state)
{
    struct fixture *f = *state;
    char text[PATH_MAX + 128];

    temp_dir_write(policy_dir, "token", "hf_of_the_rule\n");
    (void)snprintf(text, sizeof text,
                   "version: 1\nrules: [{name: t, callers: [alice], action: allow, "
                   "token_file: %s/token}]\n",
                   policy_dir);
    policy_use(f, text);
    assert_int_equal(ask_file(f, BY_HUB, &bob, &model, "config.json"), 0);
    assert_int_equal(test_hub_count_authorized(f->hub, false), 0);
    assert_int_equal(ask_file(f, BY_HUB, &alice, &model, "README.md"), 0);
    assert_int_not_equal(test_hub_count_authorized(f->hub, false), 0);
    temp_dir_write(policy_dir, "token", "");
    assert_int_equal(ask_file(f, BY_HUB, &alice, &model, "sub/dir/nested.txt"), -1);
    assert_int_equal(f->err.reason, HC_INTERNAL);
}

/* ---- aliases ----------------------------------------------------------------------- */

static void an_alias_stands_for_a_repo_until_the_policy_says_otherwise(void **state)
{
    struct fixture *f = *state;
    const struct hc_target alias = {.id = "prod"};
    const struct hc_target wrong = {.id = "prod", .revision = "v2"};
    const struct hc_file_request request = {.repo = alias, .filename = "config.json"};
    char text[256], moved[41];
    struct hc_file file;

    resolver_fixture_move_main(f, moved);
    for (int i = 0; i < 2; i++) {
        const char *commit = i == 0 ? f->commit : moved;

        (void)snprintf(text, sizeof text,
                       "version: 1\naliases: {prod: {repo: org/model, revision: %s}}\n"
                       "rules: [{name: c, action: allow, require_commit: true}]\n",
                       commit);
        policy_use(f, text);
        assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
        assert_string_equal(file.commit_hash, commit);
        hc_file_clear(&file);
        assert_int_equal(ask_file(f, BY_DISK, NULL, &alias, "config.json"), 1);
    }
    assert_int_equal(ask_file(f, BY_DISK, NULL, &wrong, "config.json"), -1);
    assert_int_equal(f->err.reason, HC_INVALID_REVISION);
    assert_denied(f,
                  (test_hub_clear_log(f->hub),
                   ask_file(f, BY_DISK, NULL, &model, "config.json")),
                  "c");
}

/* ---- reload ------------------------------------------------------------------------ */

static void a_wrong_file_leaves_the_old_policy(void **state)
{
    struct fixture *f = *state;

    policy_write("version: 1\nrules: nonsense\n");
    assert_int_equal(hc_resolver_load_policy(f->resolver, &f->err), -1);
    assert_non_null(strstr(f->err.message, "policy.yaml:2:8"));
    assert_denied(f, ask_file(f, BY_HUB, &alice, &model, "weights.bin"), "no-bin");
}

/* The fact that holds for ever, until another policy is read. */
static struct hc_reuse reuse_of_policy(const struct hc_reuse *reuse)
{
    struct hc_reuse of_policy = {0};

    for (unsigned i = 0; i < reuse->count; i++) {
        if (reuse->terms[i].until_ns == INT64_MAX)
            hc_reuse_add(&of_policy, &reuse->terms[i]);
    }
    return of_policy;
}

static void an_answer_may_not_be_given_again_under_another_policy(void **state)
{
    struct fixture *f = *state;
    struct hc_reuse reuse;
    const struct hc_file_request request = {.repo = {.id = "org/model",
                                                     .revision = f->commit},
                                            .filename = "config.json",
                                            .options = {.reuse = &reuse}};
    struct hc_file file;

    fetch_everything(f);
    assert_int_equal(hc_resolve_file_cached(f->resolver, &request, &file, &f->err), 1);
    hc_file_clear(&file);
    reuse = reuse_of_policy(&reuse);
    assert_true(hc_reuse_is_valid(&reuse, 0));
    policy_use(f, "version: 1\ndefault: deny\n");
    assert_false(hc_reuse_is_valid(&reuse, 0));
}

static void a_resolver_does_not_open_with_a_wrong_policy(void **state)
{
    struct fixture *f = *state;

    policy_write("version: 3\n");
    assert_int_equal(hc_resolver_check_settings(&f->settings, &f->err), -1);
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
    assert_null(hc_resolver_open(&f->settings, &f->err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_denied_file_has_no_answer_from_hub_or_disk),
        test(memory_does_not_answer_a_denied_file),
        test(the_alternative_of_a_denied_file_is_named),
        test(the_hub_is_asked_for_the_listing_once),
        test(a_denial_does_not_wait_for_a_hub_that_fails),
        test(a_snapshot_is_complete_without_the_files_that_are_denied),
        test(a_remembered_snapshot_is_that_of_its_caller),
        test(a_snapshot_of_denied_files_alone_is_denied),
        test(sizes_are_limited_for_cached_answers_too),
        test(a_file_that_is_too_large_is_not_fetched),
        test(an_offline_rule_never_asks_the_hub),
        test(the_staleness_of_a_rule_takes_the_place_of_the_servers),
        test(the_hub_is_asked_with_the_token_of_the_rule),
        test(an_alias_stands_for_a_repo_until_the_policy_says_otherwise),
        test(a_wrong_file_leaves_the_old_policy),
        test(an_answer_may_not_be_given_again_under_another_policy),
        test(a_resolver_does_not_open_with_a_wrong_policy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
