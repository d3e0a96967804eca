/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of the one place where access is decided: every request of every kind asks
 * policy exactly once, before any answer and before the Hub, whether its target is in the
 * cache, not in the cache, or a local directory; a request that policy denies has no
 * answer. The link replaces hc_policy_authorize() by the one below.
 */
#include "resolver_fixture.h"

#include <policy/policy.h>
#include <resolver/resolution.h>

#include <stdio.h>
#include <string.h>

#define test(name) cmocka_unit_test_setup_teardown(name, access_setup, access_teardown)
#define test_without_roots(name)                                                         \
    cmocka_unit_test_setup_teardown(name, access_setup_without_roots, access_teardown)

enum { CALLER = 4711 };

static const struct hc_identity alice = {.kind = "token", .name = "alice"};

static struct {
    bool denies;
    unsigned calls;
    struct hc_target target; /* of the last call */
    struct hc_fetch_options options;
} access_policy;

int __wrap_hc_policy_authorize(struct hc_rules *rules,
                               const struct hc_policy_request *request,
                               struct hc_decision *decision, struct hc_error *err);

int __wrap_hc_policy_authorize(struct hc_rules *rules,
                               const struct hc_policy_request *request,
                               struct hc_decision *decision, struct hc_error *err)
{
    assert_null(rules);
    *decision = (struct hc_decision){.rules = NULL};
    access_policy.calls++;
    access_policy.target = *request->target;
    access_policy.options = *request->options;
    if (!access_policy.denies)
        return 0;
    err->reason = HC_POLICY_DENIED;
    (void)snprintf(err->message, sizeof err->message, "denied");
    return -1;
}

static char *local_root;

/* Memory does not tell what is below local roots: with them, nothing is decided by it. */
static bool has_roots;

/* Below a local root, if there is one, "own/config.json"; in the cache, all of
 * "org/model". */
static int access_make_fixture(void **state)
{
    const struct hc_snapshot_request all = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;
    struct fixture *f;

    (void)resolver_fixture_setup(state);
    f = *state;
    local_root = temp_dir_make();
    temp_dir_write(local_root, "own/config.json", "local");
    if (has_roots)
        assert_int_equal(hc_settings_add_local_root(&f->settings, local_root, &f->err),
                         0);
    resolver_fixture_reopen(f, false);
    memset(&access_policy, 0, sizeof access_policy);
    assert_int_equal(hc_resolve_snapshot(f->resolver, &all, NULL, &snapshot, &f->err), 0);
    hc_snapshot_clear(&snapshot);
    test_hub_clear_log(f->hub);
    memset(&access_policy, 0, sizeof access_policy);
    return 0;
}

static int access_setup(void **state)
{
    has_roots = true;
    return access_make_fixture(state);
}

static int access_setup_without_roots(void **state)
{
    has_roots = false;
    return access_make_fixture(state);
}

static int access_teardown(void **state)
{
    temp_dir_remove(local_root);
    return resolver_fixture_teardown(state);
}

/* In the cache; not in the cache, and the Hub would be asked; a local directory; not even
 * a repo's id. */
static const struct hc_target targets[] = {
    {.id = "org/model"},
    {.id = "org/model", .revision = "other"},
    {.id = "own"},
    {.id = "not//an id"},
};

enum { TARGETS = sizeof targets / sizeof *targets };

/* Resolves `target` as each kind, with and without asking the Hub: `check` after each. */
static void access_resolve_file(struct fixture *f, const struct hc_target *target,
                                void (*check)(struct fixture *, const struct hc_target *,
                                              int result, bool is_empty))
{
    const struct hc_file_request request = {.repo = *target,
                                            .filename = "config.json",
                                            .options = {.caller = CALLER,
                                                        .identity = &alice}};
    struct hc_file file;
    int result = hc_resolve_file_cached(f->resolver, &request, &file, &f->err);

    check(f, target, result, !file.path);
    hc_file_clear(&file);
    if (!has_roots) {
        result = hc_resolve_file_remembered(f->resolver, &request, &file, &f->err);
        check(f, target, result, !file.path);
        hc_file_clear(&file);
    }
    result = hc_resolve_file(f->resolver, &request, NULL, &file, &f->err);
    check(f, target, result, !file.path);
    hc_file_clear(&file);
}

static void access_resolve_files(struct fixture *f, const struct hc_target *target,
                                 void (*check)(struct fixture *, const struct hc_target *,
                                               int result, bool is_empty))
{
    static const char *const names[] = {"config.json"};
    const struct hc_files_request request = {.repo = *target,
                                             .filenames = names,
                                             .filename_count = 1,
                                             .options = {.caller = CALLER,
                                                         .identity = &alice}};
    struct hc_files files;
    int result = hc_resolve_files_cached(f->resolver, &request, &files, &f->err);

    check(f, target, result, files.count == 0 && files.missing_count == 0);
    hc_files_clear(&files);
    if (!has_roots) {
        result = hc_resolve_files_remembered(f->resolver, &request, &files, &f->err);
        check(f, target, result, files.count == 0 && files.missing_count == 0);
        hc_files_clear(&files);
    }
    result = hc_resolve_files(f->resolver, &request, NULL, &files, &f->err);
    check(f, target, result, files.count == 0 && files.missing_count == 0);
    hc_files_clear(&files);
}

static void access_resolve_snapshot(struct fixture *f, const struct hc_target *target,
                                    void (*check)(struct fixture *,
                                                  const struct hc_target *, int result,
                                                  bool is_empty))
{
    const struct hc_snapshot_request request = {.repo = *target,
                                                .options = {.caller = CALLER,
                                                            .identity = &alice}};
    struct hc_snapshot snapshot;
    int result = hc_resolve_snapshot_cached(f->resolver, &request, &snapshot, &f->err);

    check(f, target, result, !snapshot.path);
    hc_snapshot_clear(&snapshot);
    if (!has_roots) {
        result =
            hc_resolve_snapshot_remembered(f->resolver, &request, &snapshot, &f->err);
        check(f, target, result, !snapshot.path);
        hc_snapshot_clear(&snapshot);
        result = hc_resolve_snapshot_proved(f->resolver, &request, &snapshot, &f->err);
        check(f, target, result, !snapshot.path);
        hc_snapshot_clear(&snapshot);
    }
    result = hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err);
    check(f, target, result, !snapshot.path);
    hc_snapshot_clear(&snapshot);
}

static void check_denied(struct fixture *f, const struct hc_target *target, int result,
                         bool is_empty)
{
    (void)target;
    assert_int_equal(result, -1);
    assert_int_equal(f->err.reason, HC_POLICY_DENIED);
    assert_true(is_empty);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
}

static void check_asked_once(struct fixture *f, const struct hc_target *target,
                             int result, bool is_empty)
{
    (void)f;
    (void)result;
    (void)is_empty;
    assert_int_equal(access_policy.calls, 1);
    assert_string_equal(access_policy.target.id, target->id);
    assert_int_equal(access_policy.options.caller, CALLER);
    assert_ptr_equal(access_policy.options.identity, &alice);
    access_policy.calls = 0;
}

static void a_denied_file_has_no_answer(void **state)
{
    access_policy.denies = true;
    for (int i = 0; i < TARGETS; i++)
        access_resolve_file(*state, &targets[i], check_denied);
}

static void denied_files_have_no_answer(void **state)
{
    access_policy.denies = true;
    for (int i = 0; i < TARGETS; i++)
        access_resolve_files(*state, &targets[i], check_denied);
}

static void a_denied_snapshot_has_no_answer(void **state)
{
    access_policy.denies = true;
    for (int i = 0; i < TARGETS; i++)
        access_resolve_snapshot(*state, &targets[i], check_denied);
}

static void policy_is_asked_once_for_a_file(void **state)
{
    for (int i = 0; i < TARGETS; i++)
        access_resolve_file(*state, &targets[i], check_asked_once);
}

static void policy_is_asked_once_for_files(void **state)
{
    for (int i = 0; i < TARGETS; i++)
        access_resolve_files(*state, &targets[i], check_asked_once);
}

static void policy_is_asked_once_for_a_snapshot(void **state)
{
    for (int i = 0; i < TARGETS; i++)
        access_resolve_snapshot(*state, &targets[i], check_asked_once);
}

/* It is for no caller, and answers none. */
static void what_the_resolver_confirms_is_not_asked_of_policy(void **state)
{
    static const char *const names[] = {"config.json"};
    struct fixture *f = *state;
    const struct hc_files_request files = {.repo = targets[0],
                                           .filenames = names,
                                           .filename_count = 1};
    const struct hc_snapshot_request snapshot = {.repo = targets[0]};
    const struct hc_decision all = {.rules = NULL};

    access_policy.denies = true;
    hc_files_confirm(f->resolver, &files);
    hc_snapshot_confirm(f->resolver, &snapshot, &all, true);
    assert_int_equal(access_policy.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_denied_file_has_no_answer),
        test(denied_files_have_no_answer),
        test(a_denied_snapshot_has_no_answer),
        test(policy_is_asked_once_for_a_file),
        test(policy_is_asked_once_for_files),
        test(policy_is_asked_once_for_a_snapshot),
        test_without_roots(a_denied_file_has_no_answer),
        test_without_roots(denied_files_have_no_answer),
        test_without_roots(a_denied_snapshot_has_no_answer),
        test_without_roots(policy_is_asked_once_for_a_file),
        test_without_roots(policy_is_asked_once_for_files),
        test_without_roots(policy_is_asked_once_for_a_snapshot),
        test(what_the_resolver_confirms_is_not_asked_of_policy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
