/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a revision that rules with a retention have let in stays while it was used
 * within the longest of them, and goes afterwards, unless something else holds it; one
 * that a rule without a retention, or another client, has let in never goes by itself.
 */
#include "removal_fixture.h"

#include <cache/fetched.h>
#include <cache/pin.h>
#include <maintenance/retention.h>
#include <policy/rules_file.h>

#include <stdlib.h>
#include <string.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { HOUR = 3600, DAY = 24 * HOUR };

static const char policy_text[] =
    "version: 1\ndefault: allow\nrules:\n"
    "- {name: week, repos: [\"org/*\"], revisions: [week], action: allow, "
    "retention: 7d}\n"
    "- {name: day, repos: [\"org/*\"], action: allow, retention: 1d}\n"
    "- {name: ever, repos: [\"*\"], action: allow}\n";

/* A policy file of this text; the caller clears the policy. */
static void read_policy(struct fixture *f, const char *text, struct hc_policy *policy)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "policy.yaml");
    struct hc_rules *rules;

    temp_dir_write(f->dir, "policy.yaml", text);
    rules = hc_rules_read(path, &f->err);
    assert_non_null(rules);
    hc_policy_init(policy);
    hc_policy_set_rules(policy, rules);
}

/* One file at the commit, whose blob the rule has let in; NULL: another client has. */
static void put_revision(struct fixture *f, const char *commit, const char *etag,
                         const char *rule)
{
    const struct hc_blob_request request = {.blob = {f->repo.folder, etag}, .rule = rule};

    put_file(f, &f->repo, commit, "file", etag);
    if (rule)
        assert_int_equal(hc_fetched_write(f->cache, &request, 5000, &f->err), 0);
}

/* The last use of all that the commit and the blob are. */
static void age_revision(struct fixture *f, const char *commit, const char *etag,
                         long seconds)
{
    HC_AUTO_FREE char *snapshot = NULL;
    HC_AUTO_FREE char *blob = NULL;

    assert_true(asprintf(&snapshot, FOLDER "snapshots/%s", commit) > 0);
    assert_true(asprintf(&blob, FOLDER "blobs/%s", etag) > 0);
    age_file(f, snapshot, seconds);
    age_file(f, blob, seconds);
}

/* How many revisions go. */
static size_t expire_now(struct fixture *f, const char *text, bool is_dry_run)
{
    const struct hc_retention_options options = {.is_dry_run = is_dry_run};
    struct hc_policy policy = {0};
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    size_t count = 0;

    read_policy(f, text, &policy);
    assert_int_equal(hc_retention_expire(f->cache, &policy, &options, &result, &f->err),
                     0);
    for (size_t i = 0; i < result.removed_count; i++)
        count += result.removed[i].commit_hash[0] != '\0';
    hc_policy_clear(&policy);
    assert_no_trash(f);
    return count;
}

static bool has_revision(const struct fixture *f, const char *commit)
{
    HC_AUTO_FREE char *path = NULL;

    assert_true(asprintf(&path, FOLDER "snapshots/%s", commit) > 0);
    return temp_dir_has(f->dir, path);
}

static void a_revision_goes_when_it_was_not_used_within_its_retention(void **state)
{
    struct fixture *f = *state;

    put_revision(f, COMMIT, BLOB_A, "day");
    put_ref(f, &f->repo, "main", COMMIT);
    age_revision(f, COMMIT, BLOB_A, DAY - 60);
    assert_int_equal(expire_now(f, policy_text, false), 0);
    age_revision(f, COMMIT, BLOB_A, DAY + 60);
    assert_int_equal(expire_now(f, policy_text, true), 1);
    assert_true(has_revision(f, COMMIT));
    assert_int_equal(expire_now(f, policy_text, false), 1);
    assert_false(has_revision(f, COMMIT));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/fetched"), 0);
    assert_cache_is_sound(f);
}

static void the_longest_retention_that_matches_counts(void **state)
{
    struct fixture *f = *state;

    put_revision(f, COMMIT, BLOB_A, "day");
    put_ref(f, &f->repo, "week", COMMIT);
    put_revision(f, OTHER_COMMIT, BLOB_B, "day");
    put_ref(f, &f->repo, "main", OTHER_COMMIT);
    age_revision(f, COMMIT, BLOB_A, 2 * DAY);
    age_revision(f, OTHER_COMMIT, BLOB_B, 2 * DAY);
    assert_int_equal(expire_now(f, policy_text, false), 1);
    assert_true(has_revision(f, COMMIT));
    age_revision(f, COMMIT, BLOB_A, 8 * DAY);
    assert_int_equal(expire_now(f, policy_text, false), 1);
    assert_false(has_revision(f, COMMIT));
}

static void what_a_rule_without_a_retention_has_let_in_stays(void **state)
{
    static const char *const rules[] = {"ever", "a rule of before", "", NULL};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        put_revision(f, COMMIT, BLOB_A, rules[i]);
        if (!rules[i])
            hc_fetched_remove(f->cache, &(struct hc_blob_id){f->repo.folder, BLOB_A});
        age_revision(f, COMMIT, BLOB_A, 1000 * DAY);
        assert_int_equal(expire_now(f, policy_text, false), 0);
        assert_true(has_revision(f, COMMIT));
    }
}

static void one_blob_that_stays_keeps_the_revision(void **state)
{
    struct fixture *f = *state;

    put_revision(f, COMMIT, BLOB_A, "day");
    put_file(f, &f->repo, COMMIT, "dir/other", BLOB_B);
    age_revision(f, COMMIT, BLOB_A, 9 * DAY);
    age_revision(f, COMMIT, BLOB_B, 9 * DAY);
    assert_int_equal(expire_now(f, policy_text, false), 0);
    assert_true(has_revision(f, COMMIT));
}

static void a_policy_without_retention_and_no_policy_remove_nothing(void **state)
{
    struct fixture *f = *state;
    const struct hc_retention_options options = {0};
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    struct hc_policy none = {0};

    put_revision(f, COMMIT, BLOB_A, "day");
    age_revision(f, COMMIT, BLOB_A, 1000 * DAY);
    assert_int_equal(expire_now(f,
                                "version: 1\ndefault: allow\nrules:\n"
                                "- {name: day, action: allow}\n",
                                false),
                     0);
    hc_policy_init(&none);
    assert_int_equal(hc_retention_expire(f->cache, &none, &options, &result, &f->err), 0);
    hc_policy_clear(&none);
    assert_true(has_revision(f, COMMIT));
}

static void a_pin_holds_a_revision_beyond_its_retention(void **state)
{
    struct fixture *f = *state;
    const struct hc_pin pin = {.reason = "in use"};

    put_revision(f, COMMIT, BLOB_A, "day");
    age_revision(f, COMMIT, BLOB_A, 9 * DAY);
    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &pin, &f->err), 0);
    assert_int_equal(expire_now(f, policy_text, false), 0);
    assert_int_equal(hc_pin_clear(f->cache, &f->repo, COMMIT, &f->err), 1);
    assert_int_equal(expire_now(f, policy_text, false), 1);
}

/* To the Hub "Org/NAME" is the repo "org/name". */
static void what_the_policy_keeps_stays_in_whatever_case_the_policy_names_it(void **state)
{
    static const char kept_text[] = "version: 1\ndefault: allow\n"
                                    "keep: [{repo: Org/NAME, revision: main}]\nrules:\n"
                                    "- {name: day, action: allow, retention: 1d}\n";
    struct fixture *f = *state;

    put_revision(f, COMMIT, BLOB_A, "day");
    put_ref(f, &f->repo, "main", COMMIT);
    age_revision(f, COMMIT, BLOB_A, 9 * DAY);
    assert_int_equal(expire_now(f, kept_text, false), 0);
    assert_true(has_revision(f, COMMIT));
    assert_int_equal(expire_now(f, policy_text, false), 1);
}

static void a_repo_without_such_a_revision_stays_as_it_is(void **state)
{
    struct fixture *f = *state;

    put_revision(f, COMMIT, BLOB_A, "ever");
    put_revision(f, OTHER_COMMIT, BLOB_B, "day");
    age_revision(f, OTHER_COMMIT, BLOB_B, 9 * DAY);
    age_revision(f, COMMIT, BLOB_A, 9 * DAY);
    assert_int_equal(expire_now(f, policy_text, false), 1);
    assert_int_equal(expire_now(f, policy_text, false), 0);
    assert_true(has_revision(f, COMMIT));
    assert_cache_is_sound(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_revision_goes_when_it_was_not_used_within_its_retention),
        WITH_CACHE(the_longest_retention_that_matches_counts),
        WITH_CACHE(what_a_rule_without_a_retention_has_let_in_stays),
        WITH_CACHE(one_blob_that_stays_keeps_the_revision),
        WITH_CACHE(a_policy_without_retention_and_no_policy_remove_nothing),
        WITH_CACHE(a_pin_holds_a_revision_beyond_its_retention),
        WITH_CACHE(what_the_policy_keeps_stays_in_whatever_case_the_policy_names_it),
        WITH_CACHE(a_repo_without_such_a_revision_stays_as_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
