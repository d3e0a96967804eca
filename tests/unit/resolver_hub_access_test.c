/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of HC_HUB_ACCESS_CALLER: a private or gated repo is answered to those
 * callers only to whom the Hub gives it by their own token, whatever is cached, whatever
 * kind of request it is, online and offline; the others get the Hub's own refusal, the
 * same whether the repo is cached or not; and what the Hub said holds as long as it is
 * stated, by a clock that the tests turn.
 */
#include "resolver_fixture.h"

#include <base/cancellation.h>
#include <base/text.h>
#include <cache/memo.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TTL_MS = 600 * 1000, DENIED_MS = 10 * 1000 };

#define TEST(name) cmocka_unit_test_setup_teardown(name, access_setup, access_teardown)
#define REPO "models/org/model"
#define RECORD ".hubcache/visibility/" REPO_FOLDER

/* ---- the clock --------------------------------------------------------------------- */

static _Atomic int64_t clock_ahead_ms;

int64_t __real_hc_monotonic_ms(void);
int64_t __wrap_hc_monotonic_ms(void);

int64_t __wrap_hc_monotonic_ms(void)
{
    return __real_hc_monotonic_ms() + clock_ahead_ms;
}

/* ---- requests ---------------------------------------------------------------------- */

enum kind { FILE_KIND, FILES_KIND, SNAPSHOT_KIND, KINDS };
enum depth { BY_MEMORY, BY_VOLUME, BY_HUB };

struct ask {
    enum kind kind;
    struct hc_fetch_options options;
    const char *revision;
};

static int ask_file(struct fixture *f, const struct ask *ask, enum depth depth,
                    struct hc_error *err)
{
    const struct hc_file_request request = {.repo = {.id = "org/model",
                                                     .revision = ask->revision},
                                            .filename = "config.json",
                                            .options = ask->options};
    struct hc_file file = {0};
    int result;

    if (depth == BY_MEMORY)
        result = hc_resolve_file_remembered(f->resolver, &request, &file, err);
    else if (depth == BY_VOLUME)
        result = hc_resolve_file_cached(f->resolver, &request, &file, err);
    else
        result = hc_resolve_file(f->resolver, &request, NULL, &file, err);
    hc_file_clear(&file);
    return result;
}

static int ask_files(struct fixture *f, const struct ask *ask, enum depth depth,
                     struct hc_error *err)
{
    static const char *const names[] = {"config.json", "weights.bin"};
    const struct hc_files_request request = {.repo = {.id = "org/model",
                                                      .revision = ask->revision},
                                             .filenames = names,
                                             .filename_count = 2,
                                             .options = ask->options};
    struct hc_files files = {0};
    int result;

    if (depth == BY_MEMORY)
        result = hc_resolve_files_remembered(f->resolver, &request, &files, err);
    else if (depth == BY_VOLUME)
        result = hc_resolve_files_cached(f->resolver, &request, &files, err);
    else
        result = hc_resolve_files(f->resolver, &request, NULL, &files, err);
    hc_files_clear(&files);
    return result;
}

static int ask_snapshot(struct fixture *f, const struct ask *ask, enum depth depth,
                        struct hc_error *err)
{
    const struct hc_snapshot_request request = {.repo = {.id = "org/model",
                                                         .revision = ask->revision},
                                                .options = ask->options};
    struct hc_snapshot snapshot = {0};
    int result;

    if (depth == BY_MEMORY)
        result = hc_resolve_snapshot_remembered(f->resolver, &request, &snapshot, err);
    else if (depth == BY_VOLUME)
        result = hc_resolve_snapshot_cached(f->resolver, &request, &snapshot, err);
    else
        result = hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, err);
    hc_snapshot_clear(&snapshot);
    return result;
}

/* HC_OK, or the reason of the failure, which f->err has. The way of a call of hubcached:
 * memory, volume, Hub. */
static enum hc_reason ask(struct fixture *f, const struct ask *ask)
{
    static int (*const asks[])(struct fixture *, const struct ask *, enum depth,
                               struct hc_error *) = {ask_file, ask_files, ask_snapshot};
    int found = 0;

    for (enum depth depth = BY_MEMORY; found == 0 && depth < BY_HUB; depth++)
        found = asks[ask->kind](f, ask, depth, &f->err);
    if (found == 0)
        found = asks[ask->kind](f, ask, BY_HUB, &f->err) < 0 ? -1 : 1;
    return found < 0 ? f->err.reason : HC_OK;
}

/* All kinds, which have the same outcome. */
static enum hc_reason ask_as(struct fixture *f, const char *token)
{
    struct ask wish = {.options = {.hub_token = token}};
    enum hc_reason reason = ask(f, &wish);

    for (wish.kind = FILES_KIND; wish.kind < KINDS; wish.kind++)
        assert_int_equal(ask(f, &wish), reason);
    return reason;
}

/* ---- the world --------------------------------------------------------------------- */

/* Alice has access to org/model, Bob has not. */
static int access_setup(void **state)
{
    struct fixture *f;

    clock_ahead_ms = 0;
    (void)resolver_fixture_setup(state);
    f = *state;
    f->settings.hub_access = HC_HUB_ACCESS_CALLER;
    f->settings.hub_access_ttl_ms = TTL_MS;
    f->settings.confirm_after_ms = 1000;
    f->settings.retries = 0;
    test_hub_set_access(f->hub, REPO, TEST_HUB_GATED);
    test_hub_set_granted(f->hub, REPO, "alice", true);
    resolver_fixture_reopen(f, false);
    return 0;
}

static int access_teardown(void **state)
{
    return resolver_fixture_teardown(state);
}

/* All of it is cached, and nothing remembered. */
static void cache_all(struct fixture *f)
{
    const struct ask snapshot = {.kind = SNAPSHOT_KIND,
                                 .options = {.hub_token = "alice"}};

    if (ask(f, &snapshot) != HC_OK)
        fail_msg("%s", f->err.message);
    resolver_fixture_reopen(f, false);
    test_hub_clear_log(f->hub);
}

static void turn_hub_off(struct fixture *f)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_CLOSE});
}

static const enum test_hub_access restrictions[] = {TEST_HUB_GATED, TEST_HUB_PRIVATE};
static const enum hc_reason refusals[] = {HC_GATED_REPO, HC_REPO_NOT_FOUND};

/* ---- each caller, in every order --------------------------------------------------- */

/* The orders in which Alice, Bob and a caller without a token may come. */
static const char *const orders[][3] = {
    {"alice", "bob", NULL}, {"alice", NULL, "bob"}, {"bob", "alice", NULL},
    {"bob", NULL, "alice"}, {NULL, "alice", "bob"}, {NULL, "bob", "alice"},
};

static void assert_each_gets_what_the_hub_gives(struct fixture *f, const struct ask *wish,
                                                enum hc_reason refusal)
{
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        resolver_fixture_reopen(f, false);
        for (size_t j = 0; j < 6; j++) {
            const char *token = orders[i][j % 3];
            struct ask as_caller = *wish;
            bool has_access = token && strcmp(token, "alice") == 0;
            enum hc_reason reason;

            as_caller.options.hub_token = token;
            reason = ask(f, &as_caller);
            if (reason != (has_access ? HC_OK : refusal))
                fail_msg("%s, kind %u, order %zu.%zu: %s", token ? token : "no token",
                         wish->kind, i, j, hc_reason_name(reason));
        }
    }
}

static void each_caller_gets_what_the_hub_gives(void **state)
{
    struct fixture *f = *state;
    const struct ask wishes[] = {
        {.revision = "main"},
        {.revision = f->commit},
        {.options = {.dry_run = true}},
        {.options = {.force_download = true}},
        {.options = {.has_max_staleness = true}}, /* the Hub is asked now */
    };

    for (size_t i = 0; i < sizeof restrictions / sizeof *restrictions; i++) {
        test_hub_set_access(f->hub, REPO, restrictions[i]);
        for (size_t j = 0; j < sizeof wishes / sizeof *wishes; j++) {
            for (enum kind kind = FILE_KIND; kind < KINDS; kind++) {
                struct ask wish = wishes[j];

                wish.kind = kind;
                assert_each_gets_what_the_hub_gives(f, &wish, refusals[i]);
            }
        }
    }
}

static void a_public_repo_is_for_every_caller(void **state)
{
    struct fixture *f = *state;
    const char *const tokens[] = {NULL, "alice", "bob"};

    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    for (enum kind kind = FILE_KIND; kind < KINDS; kind++) {
        for (size_t i = 0; i < 3; i++) {
            struct ask wish = {.kind = kind, .options = {.hub_token = tokens[i]}};

            assert_int_equal(ask(f, &wish), HC_OK);
            wish.options.local_files_only = true;
            assert_int_equal(ask(f, &wish), HC_OK);
        }
    }
}

/* The refused caller learns nothing of what is cached. */
static void a_refusal_is_the_same_whether_the_repo_is_cached_or_not(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof restrictions / sizeof *restrictions; i++) {
        for (int is_local = 0; is_local < 2; is_local++) {
            const struct ask wish = {
                .options = {.hub_token = "bob", .local_files_only = is_local}};
            struct hc_error uncached;

            test_hub_set_access(f->hub, REPO, restrictions[i]);
            temp_dir_remove(f->dir);
            f->dir = temp_dir_make();
            free(f->settings.cache_dir);
            f->settings.cache_dir = strdup(f->dir);
            resolver_fixture_reopen(f, false);
            assert_int_equal(ask(f, &wish), is_local ? HC_POLICY_DENIED : refusals[i]);
            uncached = f->err;
            cache_all(f);
            assert_int_equal(ask(f, &wish), uncached.reason);
            assert_string_equal(f->err.message, uncached.message);
            assert_string_equal(f->err.filename, uncached.filename);
            assert_int_equal(f->err.retry_after_ms, uncached.retry_after_ms);
        }
    }
}

static void the_token_of_the_server_is_not_used(void **state)
{
    struct fixture *f = *state;

    f->settings.token = strdup("alice");
    resolver_fixture_reopen(f, false);
    assert_int_equal(ask_as(f, NULL), HC_GATED_REPO);
    assert_int_equal(ask_as(f, "bob"), HC_GATED_REPO);
    cache_all(f);
    assert_int_equal(ask_as(f, NULL), HC_GATED_REPO);
    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    test_hub_clear_log(f->hub);
    clock_ahead_ms += DENIED_MS;
    assert_int_equal(ask(f, &(struct ask){.options = {.force_download = true}}), HC_OK);
    assert_int_equal(test_hub_count_authorized(f->hub, false), 0);
}

static void a_disabled_repo_is_refused_to_every_caller(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    test_hub_set_access(f->hub, REPO, TEST_HUB_DISABLED);
    assert_int_equal(ask_as(f, "alice"), HC_REPO_DISABLED);
    assert_int_equal(ask_as(f, "bob"), HC_REPO_DISABLED);
    assert_int_equal(ask_as(f, NULL), HC_REPO_DISABLED);
}

/* It is no repo of the Hub. */
static void a_local_directory_is_for_every_caller(void **state)
{
    struct fixture *f = *state;
    char *root = temp_dir_make();

    temp_dir_write(root, "org/model/config.json", "local");
    temp_dir_write(root, "org/model/weights.bin", "local");
    assert_int_equal(hc_settings_add_local_root(&f->settings, root, &f->err), 0);
    resolver_fixture_reopen(f, false);
    assert_int_equal(ask_as(f, NULL), HC_OK);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    temp_dir_remove(root);
}

/* ---- the question ------------------------------------------------------------------ */

/* The Hub lists a gated repo, and gives its README.md, to every client. */
static void a_gated_repo_is_proved_by_a_file_behind_the_gate(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    assert_int_equal(ask(f, &(struct ask){.options = {.hub_token = "bob"}}),
                     HC_GATED_REPO);
    assert_int_equal(test_hub_count(f->hub, "HEAD", "/README.md"), 0);
    assert_int_equal(test_hub_count(f->hub, "HEAD", "/weights.bin"), 1);
    assert_string_equal(f->err.filename, "config.json"); /* of the request */
    assert_null(strstr(f->err.message, "weights.bin"));
}

static void a_model_card_proves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct hc_file_request card = {.repo = {.id = "org/card"},
                                         .filename = "README.md",
                                         .options = {.hub_token = "bob"}};
    struct hc_file file;
    char commit[41];

    test_hub_add(f->hub, "README.md", "#", 1, false);
    test_hub_commit(f->hub, "models/org/card", "main", commit);
    test_hub_set_access(f->hub, "models/org/card", TEST_HUB_GATED);
    test_hub_set_granted(f->hub, "models/org/card", "alice", true);
    assert_int_equal(hc_resolve_file(f->resolver, &card, NULL, &file, &f->err), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
}

static void a_model_card_makes_no_repo_public(void **state)
{
    struct fixture *f = *state;
    const struct hc_file_request card = {.repo = {.id = "org/model"},
                                         .filename = "README.md"};
    struct hc_file file;

    cache_all(f);
    assert_int_equal(hc_resolve_file(f->resolver, &card, NULL, &file, &f->err), -1);
    assert_int_equal(f->err.reason, HC_GATED_REPO);

    f->settings.hub_access = HC_HUB_ACCESS_SERVER; /* another replica, with a mirror */
    assert_int_equal(hc_settings_add_mirror(&f->settings, "http://127.0.0.1:9", &f->err),
                     0);
    resolver_fixture_reopen(f, false);
    resolver_fixture_age_ref(f, "main", 61);
    assert_int_equal(hc_resolve_file(f->resolver, &card, NULL, &file, &f->err), 0);
    hc_file_clear(&file);
    {
        HC_AUTO_FREE char *record = temp_dir_read(f->dir, RECORD);

        assert_string_equal(record, "gated\n");
    }
}

/* A gateway may answer with less than the Hub. */
static void a_repo_of_which_the_hub_tells_nothing_is_asked_about_each_caller(void **state)
{
    struct fixture *f = *state;
    char body[256];

    (void)snprintf(body, sizeof body,
                   "{\"sha\": \"%s\", \"siblings\": [{\"rfilename\": \"config.json\"}]}",
                   f->commit);
    cache_all(f);
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "/revision/",
                                                  .fault = TEST_HUB_BODY,
                                                  .text = body});
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    assert_int_equal(ask_as(f, "bob"), HC_GATED_REPO);
    assert_int_equal(ask_as(f, NULL), HC_GATED_REPO);
    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    clock_ahead_ms += DENIED_MS;
    assert_int_equal(ask_as(f, NULL), HC_OK);
    assert_int_equal(ask_as(f, "bob"), HC_OK);
}

/* A catch-all of a gateway or a captive portal. */
static void an_answer_that_proves_nothing_gives_no_access(void **state)
{
#define SHA "\"sha\": \"0123456789012345678901234567890123456789\""
    static const char *const bodies[] = {
        "<html>", "{}", "{" SHA "}",
        "{" SHA ", \"siblings\": [{\"rfilename\": \"README.md\"}]}"};
#undef SHA
    struct fixture *f = *state;

    cache_all(f);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        test_hub_clear_rules(f->hub);
        test_hub_rule(f->hub,
                      &(struct test_hub_rule){.fault = TEST_HUB_BODY, .text = bodies[i]});
        assert_int_equal(ask_as(f, "alice"), HC_BAD_HUB_REPLY);
    }
}

static void a_question_is_redirected_without_the_token(void **state)
{
    struct fixture *f = *state;
    char target[256];

    cache_all(f);
    (void)snprintf(target, sizeof target, "%s/elsewhere", test_hub_cdn(f->hub));
    test_hub_rule(f->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_REDIRECT, .text = target});
    assert_int_not_equal(ask_as(f, "alice"), HC_OK);
    assert_int_equal(test_hub_count_authorized(f->hub, true), 0);
    assert_int_not_equal(test_hub_count(f->hub, NULL, "/elsewhere"), 0);
}

static void a_mirror_is_not_asked(void **state)
{
    struct fixture *f = *state;
    struct test_hub *mirror = test_hub_start(&(struct test_hub_options){0});

    assert_int_equal(hc_settings_add_mirror(&f->settings, test_hub_endpoint(mirror),
                                            &f->err),
                     0);
    cache_all(f);
    turn_hub_off(f);
    assert_int_equal(ask_as(f, "alice"), HC_HUB_UNREACHABLE);
    assert_int_equal(test_hub_count(mirror, NULL, NULL), 0);
    test_hub_stop(mirror);
}

/* ---- how long it holds ------------------------------------------------------------- */

static void access_is_remembered_for_the_time_to_live(void **state)
{
    struct fixture *f = *state;
    const struct ask by_commit = {.revision = f->commit,
                                  .options = {.hub_token = "alice"}};

    cache_all(f);
    assert_int_equal(ask(f, &by_commit), HC_OK);
    test_hub_set_granted(f->hub, REPO, "alice", false);
    test_hub_clear_log(f->hub);
    clock_ahead_ms += TTL_MS - 5000;
    assert_int_equal(ask(f, &by_commit), HC_OK);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    clock_ahead_ms += 5000;
    assert_int_equal(ask(f, &by_commit), HC_GATED_REPO);
}

static void without_a_time_to_live_the_hub_is_asked_each_time(void **state)
{
    struct fixture *f = *state;
    const struct ask by_commit = {.revision = f->commit,
                                  .options = {.hub_token = "alice"}};

    f->settings.hub_access_ttl_ms = 0;
    cache_all(f);
    assert_int_equal(ask(f, &by_commit), HC_OK);
    test_hub_set_granted(f->hub, REPO, "alice", false);
    assert_int_equal(ask(f, &by_commit), HC_GATED_REPO);
    test_hub_set_granted(f->hub, REPO, "alice", true);
    assert_int_equal(ask(f, &by_commit), HC_OK);
}

static void a_refusal_is_remembered_for_ten_seconds(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    assert_int_equal(ask_as(f, "bob"), HC_GATED_REPO);
    test_hub_set_granted(f->hub, REPO, "bob", true);
    test_hub_clear_log(f->hub);
    clock_ahead_ms += DENIED_MS - 2000;
    assert_int_equal(ask_as(f, "bob"), HC_GATED_REPO);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    clock_ahead_ms += 2000;
    assert_int_equal(ask_as(f, "bob"), HC_OK);
}

static void another_token_of_the_same_account_is_asked_about_itself(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    assert_int_equal(ask_as(f, "alice-2"), HC_GATED_REPO);
    test_hub_set_granted(f->hub, REPO, "alice-2", true);
    test_hub_set_granted(f->hub, REPO, "alice", false);
    clock_ahead_ms += TTL_MS;
    assert_int_equal(ask_as(f, "alice-2"), HC_OK);
    assert_int_equal(ask_as(f, "alice"), HC_GATED_REPO);
}

/* While it fetches, the Hub says it of its own accord. */
static void a_refusal_that_the_hub_gives_unasked_counts_at_once(void **state)
{
    struct fixture *f = *state;
    const struct ask now = {.options = {.hub_token = "alice", .has_max_staleness = true}};

    cache_all(f);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    test_hub_set_granted(f->hub, REPO, "alice", false);
    assert_int_equal(ask(f, &now), HC_GATED_REPO);
    assert_int_equal(ask_as(f, "alice"), HC_GATED_REPO);
}

static void a_repo_that_is_public_no_more_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    const struct ask now = {.options = {.has_max_staleness = true}};

    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    cache_all(f);
    assert_int_equal(ask_as(f, "bob"), HC_OK);
    assert_int_equal(ask_as(f, NULL), HC_OK);
    test_hub_set_access(f->hub, REPO, TEST_HUB_PRIVATE);
    assert_int_equal(ask(f, &now), HC_REPO_NOT_FOUND);
    assert_int_equal(ask_as(f, NULL), HC_REPO_NOT_FOUND);
    assert_int_equal(ask_as(f, "bob"), HC_REPO_NOT_FOUND);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
}

/* ---- the Hub cannot be reached ----------------------------------------------------- */

static void while_the_hub_is_down_only_what_is_remembered_counts(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    turn_hub_off(f);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    assert_int_equal(ask_as(f, "bob"), HC_HUB_UNREACHABLE);
    assert_int_not_equal(f->err.retry_after_ms, 0);
    assert_int_equal(ask_as(f, NULL), HC_HUB_UNREACHABLE);
    resolver_fixture_reopen(f, false);
    assert_int_equal(ask_as(f, "alice"), HC_HUB_UNREACHABLE);
    test_hub_clear_rules(f->hub);
    clock_ahead_ms += 60 * 1000;
    assert_int_equal(ask_as(f, "alice"), HC_OK);
}

static void while_the_hub_is_down_access_counts_once_more_as_long(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    turn_hub_off(f);
    clock_ahead_ms += 2 * TTL_MS - 5000;
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    clock_ahead_ms += 5000;
    assert_int_equal(ask_as(f, "alice"), HC_HUB_UNREACHABLE);
}

static void a_stale_answer_is_for_callers_with_access_only(void **state)
{
    struct fixture *f = *state;
    const struct ask as_alice = {.options = {.hub_token = "alice"}};

    cache_all(f);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    resolver_fixture_age_ref(f, "main", 61);
    turn_hub_off(f);
    assert_int_equal(ask(f, &as_alice), HC_OK);
    assert_int_not_equal(test_hub_count(f->hub, NULL, NULL), 0);
    assert_int_equal(ask_as(f, "bob"), HC_HUB_UNREACHABLE);
    assert_int_equal(ask_as(f, NULL), HC_HUB_UNREACHABLE);
}

/* Each caller can bring this about for its own token. */
static void a_rate_limit_makes_no_access_last_longer(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    test_hub_set_granted(f->hub, REPO, "alice", false);
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                  .number = 429,
                                                  .retry_after_s = 60});
    clock_ahead_ms += TTL_MS;
    assert_int_equal(ask_as(f, "alice"), HC_HUB_RATE_LIMITED);
}

static void while_the_hub_is_down_a_public_repo_is_for_every_caller(void **state)
{
    struct fixture *f = *state;

    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    cache_all(f);
    turn_hub_off(f);
    assert_int_equal(ask_as(f, NULL), HC_OK);
    assert_int_equal(ask_as(f, "bob"), HC_OK);
}

/* ---- the Hub must not be asked ----------------------------------------------------- */

static void assert_denied_by_rule(struct fixture *f, const char *token, bool is_local)
{
    for (enum kind kind = FILE_KIND; kind < KINDS; kind++) {
        const struct ask wish = {.kind = kind,
                                 .options = {.hub_token = token,
                                             .local_files_only = is_local}};

        assert_int_equal(ask(f, &wish), HC_POLICY_DENIED);
        assert_string_equal(f->err.rule, "hub-access");
    }
}

static void offline_no_caller_has_a_restricted_repo(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof restrictions / sizeof *restrictions; i++) {
        test_hub_set_access(f->hub, REPO, restrictions[i]);
        resolver_fixture_reopen(f, false);
        cache_all(f);
        resolver_fixture_reopen(f, true);
        assert_denied_by_rule(f, "alice", false);
        assert_denied_by_rule(f, "bob", false);
        assert_denied_by_rule(f, NULL, false);
    }
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

/* Such as one that another client of the volume has cached. */
static void offline_a_repo_without_a_record_is_restricted(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *record = temp_dir_path(f->dir, RECORD);

    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    cache_all(f);
    assert_int_equal(remove(record), 0);
    resolver_fixture_reopen(f, true);
    assert_denied_by_rule(f, "alice", false);
}

static void offline_a_public_repo_is_for_every_caller_at_any_age(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *record = temp_dir_path(f->dir, RECORD);
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    cache_all(f);
    assert_int_equal(utimensat(0, record, times, 0), 0);
    resolver_fixture_reopen(f, true);
    for (enum kind kind = FILE_KIND; kind < KINDS; kind++)
        assert_int_equal(ask(f, &(struct ask){.kind = kind}), HC_OK);
}

static void local_files_only_is_no_way_round(void **state)
{
    struct fixture *f = *state;
    struct ask local = {.options = {.hub_token = "alice", .local_files_only = true}};

    cache_all(f);
    assert_denied_by_rule(f, "alice", true);
    assert_denied_by_rule(f, NULL, true);
    assert_int_equal(ask_as(f, "alice"), HC_OK);
    for (local.kind = FILE_KIND; local.kind < KINDS; local.kind++)
        assert_int_equal(ask(f, &local), HC_OK);
    assert_denied_by_rule(f, "bob", true);
}

/* ---- memory and threads ------------------------------------------------------------ */

/* From memory, which may be too old at once on a quick volume. */
static void ask_from_memory(struct fixture *f, const struct ask *wish)
{
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(ask_file(f, wish, BY_VOLUME, &f->err), 1);
        if (ask_file(f, wish, BY_MEMORY, &f->err) == 1)
            return;
    }
    fail_msg("it is never remembered");
}

/* The record is looked at once; a hit costs no look more. */
static void that_a_repo_is_public_is_remembered(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *record = temp_dir_path(f->dir, RECORD);
    const struct ask wish = {.revision = f->commit};

    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    cache_all(f);
    assert_int_equal(ask_file(f, &wish, BY_MEMORY, &f->err), 0);
    assert_int_equal(ask_file(f, &wish, BY_VOLUME, &f->err), 1);
    assert_int_equal(remove(record), 0);
    ask_from_memory(f, &wish);
    clock_ahead_ms += TTL_MS;
    assert_int_equal(ask_file(f, &wish, BY_VOLUME, &f->err), 0);
}

/* What hubcached answers again from its bytes ends with the access. */
static void an_answer_is_not_given_again_when_access_has_ended(void **state)
{
    struct fixture *f = *state;
    struct hc_reuse reuse;
    const struct ask wish = {.revision = f->commit, .options = {.reuse = &reuse}};
    const struct ask now = {.options = {.has_max_staleness = true}};

    test_hub_set_access(f->hub, REPO, TEST_HUB_PUBLIC);
    cache_all(f);
    ask_from_memory(f, &wish);
    assert_true(hc_reuse_is_valid(&reuse, 0));
    test_hub_set_access(f->hub, REPO, TEST_HUB_PRIVATE);
    assert_int_equal(ask(f, &now), HC_REPO_NOT_FOUND);
    assert_false(hc_reuse_is_valid(&reuse, 0));
}

struct crowd_member {
    struct fixture *f;
    const char *token;
    enum kind kind;
    pthread_barrier_t *start;
    enum hc_reason reason;
};

static void *crowd_member_run(void *ctx)
{
    struct crowd_member *member = ctx;
    struct fixture own = *member->f;

    (void)pthread_barrier_wait(member->start);
    member->reason = ask(&own, &(struct ask){.kind = member->kind,
                                             .options = {.hub_token = member->token}});
    return NULL;
}

static void the_question_is_asked_once_for_concurrent_callers(void **state)
{
    enum { CROWD = 24 };
    static const char *const tokens[] = {"alice", "bob", NULL};
    struct fixture *f = *state;
    struct crowd_member crowd[CROWD];
    pthread_t threads[CROWD];
    pthread_barrier_t start;

    cache_all(f);
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = "/revision/",
                                                  .fault = TEST_HUB_DELAY,
                                                  .number = 100});
    assert_int_equal(pthread_barrier_init(&start, NULL, CROWD), 0);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = (struct crowd_member){.f = f,
                                         .token = tokens[i % 3],
                                         .kind = (enum kind)(i / 3 % 3),
                                         .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member_run, &crowd[i]),
                         0);
    }
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    (void)pthread_barrier_destroy(&start);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(crowd[i].reason, i % 3 == 0 ? HC_OK : HC_GATED_REPO);
    assert_int_equal(test_hub_count(f->hub, "GET", "/revision/"), 3);
    assert_int_equal(test_hub_count(f->hub, "HEAD", "/weights.bin"), 3);
}

/* ---- the other mode ---------------------------------------------------------------- */

static void with_access_of_the_server_every_caller_has_what_is_cached(void **state)
{
    struct fixture *f = *state;

    cache_all(f);
    f->settings.hub_access = HC_HUB_ACCESS_SERVER;
    resolver_fixture_reopen(f, false);
    assert_int_equal(ask_as(f, "bob"), HC_OK);
    assert_int_equal(ask_as(f, NULL), HC_OK);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_caller_gets_what_the_hub_gives),
        TEST(a_public_repo_is_for_every_caller),
        TEST(a_refusal_is_the_same_whether_the_repo_is_cached_or_not),
        TEST(the_token_of_the_server_is_not_used),
        TEST(a_disabled_repo_is_refused_to_every_caller),
        TEST(a_local_directory_is_for_every_caller),
        TEST(a_gated_repo_is_proved_by_a_file_behind_the_gate),
        TEST(a_model_card_proves_nothing),
        TEST(a_model_card_makes_no_repo_public),
        TEST(a_repo_of_which_the_hub_tells_nothing_is_asked_about_each_caller),
        TEST(an_answer_that_proves_nothing_gives_no_access),
        TEST(a_question_is_redirected_without_the_token),
        TEST(a_mirror_is_not_asked),
        TEST(access_is_remembered_for_the_time_to_live),
        TEST(without_a_time_to_live_the_hub_is_asked_each_time),
        TEST(a_refusal_is_remembered_for_ten_seconds),
        TEST(another_token_of_the_same_account_is_asked_about_itself),
        TEST(a_refusal_that_the_hub_gives_unasked_counts_at_once),
        TEST(a_repo_that_is_public_no_more_is_refused_at_once),
        TEST(while_the_hub_is_down_only_what_is_remembered_counts),
        TEST(while_the_hub_is_down_access_counts_once_more_as_long),
        TEST(a_stale_answer_is_for_callers_with_access_only),
        TEST(a_rate_limit_makes_no_access_last_longer),
        TEST(while_the_hub_is_down_a_public_repo_is_for_every_caller),
        TEST(offline_no_caller_has_a_restricted_repo),
        TEST(offline_a_repo_without_a_record_is_restricted),
        TEST(offline_a_public_repo_is_for_every_caller_at_any_age),
        TEST(local_files_only_is_no_way_round),
        TEST(that_a_repo_is_public_is_remembered),
        TEST(an_answer_is_not_given_again_when_access_has_ended),
        TEST(the_question_is_asked_once_for_concurrent_callers),
        TEST(with_access_of_the_server_every_caller_has_what_is_cached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
