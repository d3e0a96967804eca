/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the lists of the status page have what the policy lets the reader see;
 * an administrator, and every reader without a policy, sees all.
 */
#include "test.h"

#include <server/status_reader.h>

#include <base/text.h>
#include <policy/policy.h>
#include <policy/rules_file.h>

#include <string.h>

static const char policy_text[] =
    "version: 1\ndefault: deny\nrules:\n"
    "- {name: ops, callers: [alice], action: admin}\n"
    "- {name: team, callers: [carol], repos: [\"team/*\"], action: admin}\n"
    "- {name: open, repos: [\"org/*\"], action: allow}\n";

static const struct hc_identity alice = {.kind = "token", .name = "alice"};
static const struct hc_identity bob = {.kind = "token", .name = "bob"};
static const struct hc_identity carol = {.kind = "token", .name = "carol"};

struct fixture {
    char *dir;
    struct hc_policy policy;
    struct hc_status_facts *facts;
};

static void add_repo(struct hc_status_facts *facts, const char *id)
{
    struct hc_repo_usage *repo = &facts->usage.repos[facts->usage.listed++];
    struct hc_keep_status *behind = &facts->behind[facts->behind_count++];

    repo->type = HC_REPO_MODEL;
    (void)snprintf(repo->id, sizeof repo->id, "%s", id);
    behind->repo_type = HC_REPO_MODEL;
    (void)snprintf(behind->repo_id, sizeof behind->repo_id, "%s", id);
}

static void add_failure(struct hc_status_facts *facts, const char *id, const char *caller)
{
    struct hc_recent_failure *failure = &facts->failures[facts->failure_count++];

    (void)snprintf(failure->repo_id, sizeof failure->repo_id, "%s", id);
    (void)snprintf(failure->caller, sizeof failure->caller, "%s", caller);
}

static int reader_set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.dir = temp_dir_make(), .facts = calloc(1, sizeof *f.facts)};
    hc_policy_init(&f.policy);
    f.facts->usage.repos = calloc(3, sizeof *f.facts->usage.repos);
    add_repo(f.facts, "secret/x");
    add_repo(f.facts, "org/x");
    add_repo(f.facts, "team/x");
    add_failure(f.facts, "", "");
    add_failure(f.facts, "secret/x", "bob");
    add_failure(f.facts, "org/x", "alice");
    add_failure(f.facts, "", "bob");
    add_failure(f.facts, "no repo's id", "alice");
    *state = &f;
    return 0;
}

static int reader_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_policy_clear(&f->policy);
    hc_status_facts_free(f->facts);
    temp_dir_remove(f->dir);
    return 0;
}

static void put_policy(struct fixture *f)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "policy.yaml");
    struct hc_error err;
    struct hc_rules *rules;

    temp_dir_write(f->dir, "policy.yaml", policy_text);
    rules = hc_rules_read(path, &err);
    assert_non_null(rules);
    hc_policy_set_rules(&f->policy, rules);
}

static const struct hc_status_facts *read_as(struct fixture *f,
                                             const struct hc_identity *identity)
{
    const struct hc_status_reader reader = hc_status_reader_of(&f->policy, identity);

    hc_status_reader_limit(&reader, f->facts);
    return f->facts;
}

static void without_a_policy_each_reader_sees_all(void **state)
{
    const struct hc_status_facts *facts = read_as(*state, NULL);

    assert_false(facts->is_limited);
    assert_int_equal(facts->usage.listed, 3);
    assert_int_equal(facts->behind_count, 3);
    assert_int_equal(facts->failure_count, 5);
}

static void an_administrator_sees_all(void **state)
{
    const struct hc_status_facts *facts;

    put_policy(*state);
    facts = read_as(*state, &alice);
    assert_false(facts->is_limited);
    assert_int_equal(facts->usage.listed, 3);
    assert_int_equal(facts->failure_count, 5);
    assert_string_equal(facts->failures[1].caller, "bob");
}

static void an_anonymous_reader_sees_what_it_may_resolve(void **state)
{
    const struct hc_status_facts *facts;

    put_policy(*state);
    facts = read_as(*state, NULL);
    assert_true(facts->is_limited);
    assert_int_equal(facts->usage.listed, 1);
    assert_string_equal(facts->usage.repos[0].id, "org/x");
    assert_int_equal(facts->behind_count, 1);
    assert_string_equal(facts->behind[0].repo_id, "org/x");
    assert_int_equal(facts->failure_count, 1);
    assert_string_equal(facts->failures[0].repo_id, "org/x");
    assert_string_equal(facts->failures[0].caller, "");
}

static void a_caller_sees_its_own_failures_of_no_repo_too(void **state)
{
    const struct hc_status_facts *facts;

    put_policy(*state);
    facts = read_as(*state, &bob);
    assert_int_equal(facts->failure_count, 2);
    assert_string_equal(facts->failures[0].repo_id, "org/x");
    assert_string_equal(facts->failures[0].caller, "");
    assert_string_equal(facts->failures[1].repo_id, "");
    assert_string_equal(facts->failures[1].caller, "bob");
}

static void
an_administrator_of_some_repos_sees_these_and_what_it_may_resolve(void **state)
{
    const struct hc_status_facts *facts;

    put_policy(*state);
    facts = read_as(*state, &carol);
    assert_true(facts->is_limited);
    assert_int_equal(facts->usage.listed, 2);
    assert_string_equal(facts->usage.repos[0].id, "org/x");
    assert_string_equal(facts->usage.repos[1].id, "team/x");
}

#define WITH_FACTS(test)                                                                 \
    cmocka_unit_test_setup_teardown(test, reader_set_up, reader_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FACTS(without_a_policy_each_reader_sees_all),
        WITH_FACTS(an_administrator_sees_all),
        WITH_FACTS(an_anonymous_reader_sees_what_it_may_resolve),
        WITH_FACTS(a_caller_sees_its_own_failures_of_no_repo_too),
        WITH_FACTS(an_administrator_of_some_repos_sees_these_and_what_it_may_resolve),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
