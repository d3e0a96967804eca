/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of a rule with an endpoint: the repos that it matches come from there, for
 * every caller, and all others from the Hub of the settings. Neither sees a token that is
 * meant for the other, neither's failures count for the other, and no mirror is asked
 * about such a repo. After a reload, what runs ends with the endpoint that it began with,
 * and shares nothing with what begins.
 */
#include "resolver_fixture.h"

#include "temp_dir.h"

#include <base/auto.h>
#include <hubcache/hub_counts.h>
#include <hubcache/keep.h>

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, endpoint_setup, endpoint_teardown)

#define OTHER_TOKEN "hf_of_the_rule"

/* The fixture's hub, and another one, which has a private "org/model" of its own and
 * knows one token. */
struct two_hubs {
    struct fixture *f;
    struct test_hub *other;
    char *dir;
    char theirs[41]; /* main of org/model there */
};

static const struct hc_target model = {.id = "org/model"};
static const struct hc_target second = {.id = "org/second"};

static void other_commit(struct two_hubs *t, const char *config)
{
    test_hub_add(t->other, "config.json", config, strlen(config), false);
    test_hub_add(t->other, "weights.bin", "weights of the other", 20, true);
    test_hub_commit(t->other, "models/org/model", "main", t->theirs);
}

static int endpoint_setup(void **state)
{
    struct two_hubs *t = calloc(1, sizeof *t);
    char path[PATH_MAX], second_commit[41];
    void *f;

    assert_non_null(t);
    (void)resolver_fixture_setup(&f);
    t->f = f;
    t->dir = temp_dir_make();
    t->other = test_hub_start(&(struct test_hub_options){.valid_token = OTHER_TOKEN});
    other_commit(t, "other 1");
    test_hub_add(t->f->hub, "config.json", "second", 6, false);
    test_hub_commit(t->f->hub, "models/org/second", "main", second_commit);
    temp_dir_write(t->dir, "policy.yaml", "version: 1\n");
    (void)snprintf(path, sizeof path, "%s/policy.yaml", t->dir);
    t->f->settings.policy_file = strdup(path);
    t->f->settings.token = strdup("hf_of_the_server");
    t->f->settings.connections = 4;
    resolver_fixture_reopen(t->f, false);
    test_hub_clear_log(t->other);
    test_hub_clear_log(t->f->hub);
    *state = t;
    return 0;
}

static int endpoint_teardown(void **state)
{
    struct two_hubs *t = *state;
    void *f = t->f;

    temp_dir_remove(t->dir);
    (void)resolver_fixture_teardown(&f);
    test_hub_stop(t->other);
    free(t);
    return 0;
}

/* org/model comes from `endpoint`, with further keys of the rule. */
static int load_policy(struct two_hubs *t, const char *endpoint, const char *keys)
{
    char text[PATH_MAX + 512];

    (void)snprintf(text, sizeof text,
                   "version: 1\nrules:\n- {name: there, repos: [org/MODEL], "
                   "action: allow, endpoint: '%s'%s}\n",
                   endpoint, keys);
    temp_dir_write(t->dir, "policy.yaml", text);
    return hc_resolver_load_policy(t->f->resolver, &t->f->err);
}

static void use_other(struct two_hubs *t, const char *keys)
{
    assert_int_equal(load_policy(t, test_hub_endpoint(t->other), keys), 0);
}

/* With the token of the other hub in the rule. */
static void use_other_with_token(struct two_hubs *t)
{
    char keys[PATH_MAX + 64];

    temp_dir_write(t->dir, "token", OTHER_TOKEN "\n");
    (void)snprintf(keys, sizeof keys, ", token_file: '%s/token'", t->dir);
    use_other(t, keys);
}

static void use_no_rule(struct two_hubs *t)
{
    temp_dir_write(t->dir, "policy.yaml", "version: 1\n");
    assert_int_equal(hc_resolver_load_policy(t->f->resolver, &t->f->err), 0);
}

static int ask_file(struct two_hubs *t, const struct hc_target *target,
                    const char *hub_token, struct hc_file *file)
{
    const struct hc_file_request request = {.repo = *target,
                                            .filename = "config.json",
                                            .options = {.hub_token = hub_token,
                                                        .has_max_staleness = true}};

    return hc_resolve_file(t->f->resolver, &request, NULL, file, &t->f->err);
}

static void expect_file(struct two_hubs *t, const struct hc_target *target,
                        const char *text)
{
    struct hc_file file;

    if (ask_file(t, target, NULL, &file) < 0)
        fail_msg("%s", t->f->err.message);
    assert_false(file.stale);
    assert_file_content(&file, text);
    hc_file_clear(&file);
}

static int ask_file_with(struct two_hubs *t, const char *hub_token)
{
    struct hc_file file;
    int result = ask_file(t, &model, hub_token, &file);

    if (result == 0)
        hc_file_clear(&file);
    return result;
}

static unsigned requests(struct test_hub *hub)
{
    return test_hub_count(hub, NULL, NULL);
}

/* ---- which endpoint ---------------------------------------------------------------- */

static void a_file_comes_from_the_endpoint_of_its_rule(void **state)
{
    struct two_hubs *t = *state;
    unsigned asked;

    use_other(t, "");
    expect_file(t, &model, "other 1");
    assert_int_equal(requests(t->f->hub), 0);
    assert_int_not_equal(asked = requests(t->other), 0);
    expect_file(t, &second, "second");
    assert_int_equal(requests(t->other), asked);
    other_commit(t, "other 2");
    expect_file(t, &model, "other 2");
}

static void several_files_and_a_snapshot_come_from_there(void **state)
{
    struct two_hubs *t = *state;
    const char *const names[] = {"config.json", "weights.bin"};
    const struct hc_files_request some = {.repo = model,
                                          .filenames = names,
                                          .filename_count = 2};
    const struct hc_snapshot_request whole = {.repo = model};
    struct hc_snapshot snapshot;
    struct hc_files files;

    use_other(t, "");
    assert_int_equal(hc_resolve_files(t->f->resolver, &some, NULL, &files, &t->f->err),
                     0);
    assert_string_equal(files.commit_hash, t->theirs);
    hc_files_clear(&files);
    other_commit(t, "other 2");
    resolver_fixture_age_ref(t->f, "main", 1000);
    assert_int_equal(hc_resolve_snapshot(t->f->resolver, &whole, NULL, &snapshot,
                                         &t->f->err),
                     0);
    assert_string_equal(snapshot.commit_hash, t->theirs);
    assert_int_equal(snapshot.completeness, HC_COMPLETE);
    hc_snapshot_clear(&snapshot);
    assert_int_equal(requests(t->f->hub), 0);
}

/* An alias means the repo that it stands for. What is kept comes for no caller. */
static void aliases_and_kept_revisions_come_from_there(void **state)
{
    struct two_hubs *t = *state;
    const struct hc_target alias = {.id = "prod"};
    struct hc_snapshot snapshot;
    struct hc_keep **items;
    char text[PATH_MAX];
    size_t count;

    (void)snprintf(text, sizeof text,
                   "version: 1\nrules:\n"
                   "- {name: there, callers: [alice], repos: [org/model], "
                   "action: allow, endpoint: '%s'}\n"
                   "aliases: {prod: {repo: org/model, revision: main}}\n"
                   "keep: [{repo: org/model}]\n",
                   test_hub_endpoint(t->other));
    temp_dir_write(t->dir, "policy.yaml", text);
    assert_int_equal(hc_resolver_load_policy(t->f->resolver, &t->f->err), 0);
    expect_file(t, &alias, "other 1");
    assert_int_equal(hc_keep_list(t->f->resolver, &items, &count, &t->f->err), 0);
    assert_int_equal(count, 1);
    assert_true(hc_keep_ask(t->f->resolver, items[0], 1000, NULL, &t->f->err) >= 0);
    assert_true(hc_keep_fetch(t->f->resolver, items[0], NULL, &snapshot, &t->f->err) >=
                0);
    hc_snapshot_clear(&snapshot);
    hc_keep_release(items[0]);
    free(items);
    assert_int_not_equal(test_hub_count(t->other, "GET", "weights.bin"), 0);
    assert_int_equal(requests(t->f->hub), 0);
}

static void the_endpoint_of_the_settings_is_as_without_the_key(void **state)
{
    struct two_hubs *t = *state;
    char url[256];

    (void)snprintf(url, sizeof url, "%s/", test_hub_endpoint(t->f->hub));
    assert_int_equal(load_policy(t, url, ""), 0);
    expect_file(t, &model, "{\"v\": 1}");
    assert_int_not_equal(test_hub_count_authorized(t->f->hub, false), 0);
}

/* ---- tokens ------------------------------------------------------------------------ */

static void tokens_meant_for_the_hub_stay_there(void **state)
{
    struct two_hubs *t = *state;

    use_other(t, "");
    assert_int_equal(ask_file_with(t, NULL), 0);
    assert_int_equal(ask_file_with(t, "hf_of_the_caller"), 0);
    test_hub_set_access(t->other, "models/org/model", TEST_HUB_PRIVATE);
    other_commit(t, "other 2");
    assert_int_equal(ask_file_with(t, OTHER_TOKEN), 0); /* the older answer */
    assert_int_equal(test_hub_count_authorized(t->other, false), 0);
    assert_int_equal(test_hub_count_authorized(t->f->hub, false), 0);
}

static void a_rule_has_the_token_of_its_endpoint(void **state)
{
    struct two_hubs *t = *state;

    test_hub_set_access(t->other, "models/org/model", TEST_HUB_PRIVATE);
    use_other_with_token(t);
    expect_file(t, &model, "other 1");
    assert_int_not_equal(test_hub_count_authorized(t->other, false), 0);
    test_hub_clear_log(t->f->hub);
    expect_file(t, &second, "second");
    assert_int_equal(ask_file_with(t, "hf_of_the_caller"), 0);
    temp_dir_write(t->dir, "token", "");
    other_commit(t, "other 2");
    test_hub_clear_log(t->other);
    (void)ask_file_with(t, NULL);
    assert_int_equal(requests(t->other), 0);
}

static void a_callers_token_is_sent_there_if_the_rule_says_so(void **state)
{
    struct two_hubs *t = *state;

    test_hub_set_access(t->other, "models/org/model", TEST_HUB_PRIVATE);
    use_other(t, "");
    assert_int_equal(ask_file_with(t, OTHER_TOKEN), -1);
    assert_int_equal(t->f->err.reason, HC_REPO_NOT_FOUND);
    use_other(t, ", caller_token: true");
    assert_int_equal(ask_file_with(t, OTHER_TOKEN), 0);
    assert_int_equal(requests(t->f->hub), 0);
}

static void the_token_of_one_endpoint_is_not_sent_to_another(void **state)
{
    struct two_hubs *t = *state;
    char text[PATH_MAX + 512];

    free(hc_take(&t->f->settings.token));
    resolver_fixture_reopen(t->f, false);
    temp_dir_write(t->dir, "token", OTHER_TOKEN "\n");
    for (int i = 0; i < 2; i++) { /* the first rule has the endpoint, alice's decides */
        (void)snprintf(text, sizeof text,
                       "version: 1\nrules:\n"
                       "- {name: a, callers: [bob], repos: [org/model], action: allow, "
                       "endpoint: '%s'}\n"
                       "- {name: b, repos: [org/model], action: allow, endpoint: '%s', "
                       "token_file: '%s/token'}\n",
                       test_hub_endpoint(i == 0 ? t->f->hub : t->other),
                       test_hub_endpoint(i == 0 ? t->other : t->f->hub), t->dir);
        temp_dir_write(t->dir, "policy.yaml", text);
        assert_int_equal(hc_resolver_load_policy(t->f->resolver, &t->f->err), 0);
        expect_file(t, &model, i == 0 ? "{\"v\": 1}" : "other 1");
    }
    assert_int_equal(test_hub_count_authorized(t->f->hub, false), 0);
    assert_int_equal(test_hub_count_authorized(t->other, false), 0);
}

static void a_redirect_to_the_hub_takes_no_token_along(void **state)
{
    struct two_hubs *t = *state;
    char url[512];

    (void)snprintf(url, sizeof url, "%s/org/model/resolve/main/config.json",
                   test_hub_endpoint(t->f->hub));
    test_hub_rule(t->other, &(struct test_hub_rule){.contains = "config.json",
                                                    .fault = TEST_HUB_REDIRECT,
                                                    .text = url});
    use_other_with_token(t);
    (void)ask_file_with(t, NULL);
    assert_int_not_equal(test_hub_count_authorized(t->other, false), 0);
    assert_int_not_equal(requests(t->f->hub), 0);
    assert_int_equal(test_hub_count_authorized(t->f->hub, false), 0);
}

/* ---- access ------------------------------------------------------------------------ */

/* 1: a caller without a token has the fresh file; 0: the endpoint is to be asked. */
static int ask_cached(struct two_hubs *t)
{
    const struct hc_file_request request = {.repo = model, .filename = "config.json"};
    struct hc_file file;
    int found = hc_resolve_file_cached(t->f->resolver, &request, &file, &t->f->err);

    if (found == 1)
        hc_file_clear(&file);
    return found;
}

static void reopen_for_callers_access(struct two_hubs *t)
{
    t->f->settings.hub_access = HC_HUB_ACCESS_CALLER;
    t->f->settings.hub_access_ttl_ms = 60000;
    resolver_fixture_reopen(t->f, false);
}

/* What the Hub of the settings said of a repo says nothing of another endpoint's: neither
 * in memory nor on the volume. */
static void access_is_asked_of_the_endpoint_of_the_repo(void **state)
{
    struct two_hubs *t = *state;

    reopen_for_callers_access(t);
    assert_int_equal(ask_file_with(t, NULL), 0);
    assert_int_equal(ask_cached(t), 1);
    test_hub_set_access(t->other, "models/org/model", TEST_HUB_PRIVATE);
    use_other(t, ", caller_token: true");
    assert_int_equal(ask_cached(t), 0);
    resolver_fixture_reopen(t->f, false);
    assert_int_equal(ask_cached(t), 0);
    assert_int_equal(ask_file_with(t, NULL), -1);
    assert_int_equal(t->f->err.reason, HC_REPO_NOT_FOUND);
    assert_int_equal(ask_file_with(t, OTHER_TOKEN), 0);
    use_no_rule(t);
    assert_int_equal(ask_file_with(t, NULL), 0);
}

static void what_the_endpoint_says_of_a_repo_is_not_taken_for_the_hubs_word(void **state)
{
    struct two_hubs *t = *state;

    reopen_for_callers_access(t);
    use_other(t, "");
    assert_int_equal(ask_file_with(t, NULL), 0);
    assert_int_equal(ask_cached(t), 1);
    test_hub_set_access(t->f->hub, "models/org/model", TEST_HUB_PRIVATE);
    use_no_rule(t);
    assert_int_equal(ask_cached(t), 0);
    resolver_fixture_reopen(t->f, false);
    assert_int_equal(ask_cached(t), 0);
    assert_int_equal(ask_file_with(t, NULL), -1);
}

/* ---- failures ---------------------------------------------------------------------- */

static bool circuit_is_open(struct two_hubs *t, size_t number, const char *url)
{
    struct hc_endpoint_state endpoint;

    assert_true(hc_resolver_endpoint_state(t->f->resolver, number, &endpoint));
    assert_string_equal(endpoint.url, url);
    return endpoint.is_open;
}

static void the_circuit_of_one_opens_without_the_others(void **state)
{
    struct two_hubs *t = *state;
    struct hc_endpoint_state unused;

    use_other(t, "");
    test_hub_stop(t->other);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask_file_with(t, NULL), -1);
        assert_int_equal(t->f->err.reason, HC_HUB_UNREACHABLE);
    }
    assert_false(circuit_is_open(t, 0, test_hub_endpoint(t->f->hub)));
    assert_true(hc_resolver_endpoint_state(t->f->resolver, 1, &unused));
    assert_true(unused.is_open);
    assert_false(hc_resolver_endpoint_state(t->f->resolver, 2, &unused));
    expect_file(t, &second, "second");
    t->other = test_hub_start(&(struct test_hub_options){0});
}

static void no_mirror_is_asked_about_such_a_repo(void **state)
{
    struct two_hubs *t = *state;
    struct test_hub *mirror = test_hub_start(&(struct test_hub_options){0});

    assert_int_equal(hc_settings_add_mirror(&t->f->settings, test_hub_endpoint(mirror),
                                            &t->f->err),
                     0);
    resolver_fixture_reopen(t->f, false);
    use_other(t, "");
    test_hub_rule(t->other,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});
    assert_int_equal(ask_file_with(t, NULL), -1);
    test_hub_clear_rules(t->other);
    resolver_fixture_reopen(t->f, false);
    expect_file(t, &model, "other 1");
    test_hub_rule(t->other,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});
    assert_int_equal(ask_file_with(t, NULL), 0); /* the older answer */
    assert_int_equal(requests(mirror), 0);
    assert_int_equal(requests(t->f->hub), 0);
    test_hub_stop(mirror);
}

/* For metrics each URL is there once. */
static void a_mirror_may_be_the_endpoint_of_a_rule(void **state)
{
    struct two_hubs *t = *state;
    struct hc_endpoint_state unused;

    assert_int_equal(hc_settings_add_mirror(&t->f->settings, test_hub_endpoint(t->other),
                                            &t->f->err),
                     0);
    test_hub_set_access(t->other, "models/org/model", TEST_HUB_PRIVATE);
    resolver_fixture_reopen(t->f, false);
    use_other_with_token(t);
    expect_file(t, &model, "other 1");
    assert_true(hc_resolver_endpoint_state(t->f->resolver, 1, &unused));
    assert_false(hc_resolver_endpoint_state(t->f->resolver, 2, &unused));
    test_hub_clear_log(t->other);
    test_hub_rule(t->f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});
    (void)ask_file(t, &second, NULL, &(struct hc_file){0});
    assert_int_not_equal(requests(t->other), 0);
    assert_int_equal(test_hub_count_authorized(t->other, false), 0);
}

/* ---- reload ------------------------------------------------------------------------ */

struct asker {
    struct two_hubs *t;
    struct hc_file file;
    struct hc_error err;
    int result;
};

static void *asker_run(void *ctx)
{
    struct asker *asker = ctx;
    const struct hc_file_request request = {.repo = model, .filename = "weights.bin"};

    asker->result =
        hc_resolve_file(asker->t->f->resolver, &request, NULL, &asker->file, &asker->err);
    return NULL;
}

static void what_runs_ends_with_the_endpoint_that_it_began_with(void **state)
{
    struct two_hubs *t = *state;
    struct asker before = {.t = t}, after = {.t = t};
    pthread_t thread;

    test_hub_rule(t->other,
                  &(struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_STALL});
    use_other(t, "");
    assert_int_equal(pthread_create(&thread, NULL, asker_run, &before), 0);
    test_hub_await_stall(t->other);
    use_no_rule(t);
    (void)asker_run(&after);
    test_hub_release(t->other);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (before.result < 0 || after.result < 0)
        fail_msg("%s %s", before.err.message, after.err.message);
    assert_string_equal(before.file.commit_hash, t->theirs);
    assert_string_equal(after.file.commit_hash, t->f->commit);
    hc_file_clear(&before.file);
    hc_file_clear(&after.file);
    expect_file(t, &model, "{\"v\": 1}");
}

/* ---- the file ---------------------------------------------------------------------- */

static void a_wrong_endpoint_is_named_with_its_line_and_column(void **state)
{
    static const char *const wrong[] = {
        "ftp://hub", "https://user@hub", "https://hub?a=b", "https://hub#a",
        "hub",       "https://"};
    struct two_hubs *t = *state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (load_policy(t, wrong[i], "") == 0)
            fail_msg("'%s' is no endpoint", wrong[i]);
        assert_int_equal(t->f->err.reason, HC_INVALID_OPTIONS);
        assert_string_equal(t->f->err.field, "policy");
        if (!strstr(t->f->err.message, "policy.yaml:3:62: "))
            fail_msg("%s", t->f->err.message);
        assert_int_equal(hc_resolver_check_settings(&t->f->settings, &t->f->err), -1);
        if (!strstr(t->f->err.message, "policy.yaml:3:62: "))
            fail_msg("%s", t->f->err.message);
    }
}

static void endpoints_of_policies_are_bounded(void **state)
{
    enum { MOST = 64 };
    struct two_hubs *t = *state;
    char url[64];

    for (int i = 0; i < MOST; i++) {
        (void)snprintf(url, sizeof url, "https://hub-%d.invalid", i);
        assert_int_equal(load_policy(t, url, ""), 0);
    }
    assert_int_equal(load_policy(t, "https://one.more.invalid", ""), -1);
    assert_int_equal(load_policy(t, url, ""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_file_comes_from_the_endpoint_of_its_rule),
        test(several_files_and_a_snapshot_come_from_there),
        test(aliases_and_kept_revisions_come_from_there),
        test(the_endpoint_of_the_settings_is_as_without_the_key),
        test(tokens_meant_for_the_hub_stay_there),
        test(a_rule_has_the_token_of_its_endpoint),
        test(a_callers_token_is_sent_there_if_the_rule_says_so),
        test(the_token_of_one_endpoint_is_not_sent_to_another),
        test(a_redirect_to_the_hub_takes_no_token_along),
        test(access_is_asked_of_the_endpoint_of_the_repo),
        test(what_the_endpoint_says_of_a_repo_is_not_taken_for_the_hubs_word),
        test(the_circuit_of_one_opens_without_the_others),
        test(no_mirror_is_asked_about_such_a_repo),
        test(a_mirror_may_be_the_endpoint_of_a_rule),
        test(what_runs_ends_with_the_endpoint_that_it_began_with),
        test(a_wrong_endpoint_is_named_with_its_line_and_column),
        test(endpoints_of_policies_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
