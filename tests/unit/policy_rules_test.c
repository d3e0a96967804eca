/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the first rule that matches a request decides about it, one with files about
 * these files only; the default decides the rest. A table has the decisions, each with a
 * policy, a caller and what it asks for.
 */
#include "test.h"

#include <base/size.h>
#include <policy/decision.h>
#include <policy/policy.h>
#include <policy/rules_file.h>
#include <repo/repo.h>

#include <pthread.h>
#include <string.h>

static const char *const research[] = {"staff", "research"};

static const struct hc_identity alice = {.kind = "token",
                                         .name = "alice",
                                         .groups = research,
                                         .group_count = 2};
static const struct hc_identity pod = {
    .kind = "jwt",
    .name = "system:serviceaccount:team-a:trainer",
};
static const struct hc_identity other_pod = {
    .kind = "jwt",
    .name = "system:serviceaccount:team-b:trainer",
};
static const struct hc_identity pod_of_no_group = {.kind = "jwt", .name = "research"};
static const struct hc_identity user = {.kind = "uid", .name = "uid:1000"};
static const struct hc_identity certificate = {.kind = "certificate",
                                               .name = "ci.example"};
/* A caller with the name that rules give to the callers without identity. */
static const struct hc_identity named_anonymous = {.kind = "token", .name = "anonymous"};

#define COMMIT "0123456789012345678901234567890123456789"

/* The first policy of the documentation. */
static const char issue_policy[] =
    "version: 1\n"
    "default: allow\n"
    "rules:\n"
    "- name: no-pickle\n"
    "  files: [\"*.bin\", \"*.pt\", \"*.pickle\"]\n"
    "  action: deny\n"
    "  message: use the .safetensors files\n"
    "- name: team-a\n"
    "  callers: [\"system:serviceaccount:team-a:*\", \"group:research\"]\n"
    "  repos: [\"meta-llama/*\"]\n"
    "  action: allow\n"
    "  require_commit: true\n"
    "  max_staleness: 1h\n"
    "- name: llama-no\n"
    "  repos: [\"meta-llama/*\"]\n"
    "  action: deny\n"
    "aliases:\n"
    "  prod-llm: {repo: org/name, revision: " COMMIT "}\n"
    "quotas:\n"
    "- callers: [\"system:serviceaccount:team-a:*\"]\n"
    "  bytes: 2T\n"
    "keep: [{repo: org/name, revision: main}]\n";

static const char deny_policy[] =
    "version: 1\n"
    "default: deny\n"
    "rules:\n"
    "- {name: readme, files: [README.md], action: allow, max_file_size: 1k}\n"
    "- {name: data, types: [dataset], callers: ['kind:jwt'], action: allow}\n"
    "- {name: old, repos: [org/old], revisions: [v1, 'v1.*'], action: allow}\n"
    "- {name: visitors, repos: [org/open], callers: [anonymous], action: allow}\n"
    "- {name: named, repos: [org/named], callers: ['kind:token:al*'], action: allow}\n"
    "- {name: ops, repos: [org/ops], callers: ['group:st[a]ff'], action: admin}\n";

static const char kinds_policy[] =
    "version: 1\n"
    "rules:\n"
    "- {name: safe, files: ['safe/'], action: allow}\n"
    "- {name: no-bin, files: ['*.bin'], action: deny}\n"
    "- {name: no-spaces, types: [space, kernel], action: deny}\n"
    "- {name: users, callers: ['uid:10*'], action: allow}\n"
    "- {name: certificates, callers: ['kind:certificate:*.example'], action: allow}\n"
    "- {name: everyone, callers: ['*'], action: allow}\n";

enum { DENIED, ALLOWED };

static const struct decision_case {
    const char *what;
    const char *policy;
    const struct hc_identity *identity;
    enum hc_repo_type type;
    const char *repo;
    const char *revision;
    const char *path; /* NULL: the rest */
    uint64_t size;
    int expected;
    const char *rule;
} cases[] = {
    {"a file that a rule denies", issue_policy, &alice, HC_REPO_MODEL, "org/x", "main",
     "model.bin", 1, DENIED, "no-pickle"},
    {"below a folder", issue_policy, &alice, HC_REPO_MODEL, "org/x", "main",
     "a/b/model.bin", 1, DENIED, "no-pickle"},
    {"whose name only ends alike", issue_policy, &alice, HC_REPO_MODEL, "org/x", "main",
     "model.bin.index.json", 1, ALLOWED, "default"},
    {"in another case: file names have it", issue_policy, &alice, HC_REPO_MODEL, "org/x",
     "main", "MODEL.BIN", 1, ALLOWED, "default"},
    {"a file that no rule matches", issue_policy, NULL, HC_REPO_MODEL, "org/x", "main",
     "model.safetensors", 1, ALLOWED, "default"},
    {"by group", issue_policy, &alice, HC_REPO_MODEL, "meta-llama/l", COMMIT, NULL, 0,
     ALLOWED, "team-a"},
    {"by name", issue_policy, &pod, HC_REPO_MODEL, "meta-llama/l", COMMIT, NULL, 0,
     ALLOWED, "team-a"},
    {"another name", issue_policy, &other_pod, HC_REPO_MODEL, "meta-llama/l", COMMIT,
     NULL, 0, DENIED, "llama-no"},
    {"without identity", issue_policy, NULL, HC_REPO_MODEL, "meta-llama/l", COMMIT, NULL,
     0, DENIED, "llama-no"},
    {"an id in another case is the same repo", issue_policy, NULL, HC_REPO_MODEL,
     "Meta-Llama/L", COMMIT, NULL, 0, DENIED, "llama-no"},
    {"an id that only begins alike", issue_policy, NULL, HC_REPO_MODEL, "meta-llama2/l",
     COMMIT, NULL, 0, ALLOWED, "default"},
    {"a shorter id than the glob", issue_policy, NULL, HC_REPO_MODEL, "meta", COMMIT,
     NULL, 0, ALLOWED, "default"},
    {"every type", issue_policy, NULL, HC_REPO_DATASET, "meta-llama/l", "main", NULL, 0,
     DENIED, "llama-no"},
    {"the files of one who may", issue_policy, &alice, HC_REPO_MODEL, "meta-llama/l",
     COMMIT, "a.pt", 0, DENIED, "no-pickle"},
    {"the default denies", deny_policy, &alice, HC_REPO_MODEL, "org/x", "main", NULL, 0,
     DENIED, "default"},
    {"but for a file", deny_policy, &alice, HC_REPO_MODEL, "org/x", "main", "README.md",
     1000, ALLOWED, "readme"},
    {"that is not too large", deny_policy, &alice, HC_REPO_MODEL, "org/x", "main",
     "README.md", 1001, DENIED, "readme"},
    {"or of no known size", deny_policy, &alice, HC_REPO_MODEL, "org/x", "main",
     "README.md", HC_SIZE_UNKNOWN, ALLOWED, "readme"},
    {"a type", deny_policy, &pod, HC_REPO_DATASET, "org/x", "main", NULL, 0, ALLOWED,
     "data"},
    {"another type", deny_policy, &pod, HC_REPO_MODEL, "org/x", "main", NULL, 0, DENIED,
     "default"},
    {"no type is a model", deny_policy, &pod, HC_REPO_DEFAULT, "org/x", "main", NULL, 0,
     DENIED, "default"},
    {"another kind", deny_policy, &alice, HC_REPO_DATASET, "org/x", "main", NULL, 0,
     DENIED, "default"},
    {"no kind", deny_policy, NULL, HC_REPO_DATASET, "org/x", "main", NULL, 0, DENIED,
     "default"},
    {"a revision", deny_policy, NULL, HC_REPO_MODEL, "org/old", "v1.2", NULL, 0, ALLOWED,
     "old"},
    {"another revision", deny_policy, NULL, HC_REPO_MODEL, "org/old", "v2", NULL, 0,
     DENIED, "default"},
    {"anonymous", deny_policy, NULL, HC_REPO_MODEL, "org/open", "main", NULL, 0, ALLOWED,
     "visitors"},
    {"a caller of that name has an identity", deny_policy, &named_anonymous,
     HC_REPO_MODEL, "org/open", "main", NULL, 0, DENIED, "default"},
    {"kind and name", deny_policy, &alice, HC_REPO_MODEL, "org/named", "main", NULL, 0,
     ALLOWED, "named"},
    {"the kind alone", deny_policy, &named_anonymous, HC_REPO_MODEL, "org/named", "main",
     NULL, 0, DENIED, "default"},
    {"a user of the machine", kinds_policy, &user, HC_REPO_MODEL, "org/x", "main", NULL,
     0, ALLOWED, "users"},
    {"a certificate", kinds_policy, &certificate, HC_REPO_MODEL, "org/x", "main", NULL, 0,
     ALLOWED, "certificates"},
    {"a certificate of another name", kinds_policy, &named_anonymous, HC_REPO_MODEL,
     "org/x", "main", NULL, 0, ALLOWED, "everyone"},
    {"every caller, without identity, too", kinds_policy, NULL, HC_REPO_MODEL, "org/x",
     "main", NULL, 0, ALLOWED, "everyone"},
    {"a file that an earlier rule allows", kinds_policy, NULL, HC_REPO_MODEL, "org/x",
     "main", "safe/a.bin", 1, ALLOWED, "safe"},
    {"and a later one denies elsewhere", kinds_policy, NULL, HC_REPO_MODEL, "org/x",
     "main", "a.bin", 1, DENIED, "no-bin"},
    {"a space", kinds_policy, NULL, HC_REPO_SPACE, "org/x", "main", NULL, 0, DENIED,
     "no-spaces"},
    {"a kernel", kinds_policy, NULL, HC_REPO_KERNEL, "org/x", "main", NULL, 0, DENIED,
     "no-spaces"},
    {"a file of a repo that is denied", kinds_policy, NULL, HC_REPO_SPACE, "org/x",
     "main", "safe/a.bin", 1, ALLOWED, "safe"},
    {"a request without a revision", deny_policy, NULL, HC_REPO_MODEL, "org/old", "main",
     NULL, 0, DENIED, "default"},
    {"no group", issue_policy, &pod_of_no_group, HC_REPO_MODEL, "meta-llama/l", COMMIT,
     NULL, 0, DENIED, "llama-no"},
    {"an administrator may have it, too", deny_policy, &alice, HC_REPO_MODEL, "org/ops",
     "main", NULL, 0, ALLOWED, "ops"},
};

static struct hc_rules *parse(const char *text)
{
    struct hc_error err = {.message = ""};
    struct hc_rules *rules = hc_rules_parse(text, strlen(text), "test.yaml", &err);

    if (!rules)
        fail_msg("%s", err.message);
    return rules;
}

static void the_first_rule_that_matches_decides(void **state)
{
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct decision_case *test = &cases[i];
        const struct hc_policy_question question = {.identity = test->identity,
                                                    .type = test->type,
                                                    .repo_id = test->repo,
                                                    .revision = test->revision};
        HC_AUTO_VALUE(hc_decision) decision = {0};
        struct hc_verdict verdict;

        assert_int_equal(hc_decision_make(&decision, parse(test->policy), &question,
                                          &err),
                         0);
        verdict = (struct hc_verdict){.is_allowed = hc_decision_allows_rest(&decision),
                                      .rule = decision.rule};
        if (test->path)
            verdict = hc_decision_verdict(&decision, test->path, test->size);
        if (verdict.is_allowed != (test->expected == ALLOWED) ||
            strcmp(hc_rule_name(verdict.rule), test->rule) != 0)
            fail_msg("%s: %s by %s", test->what,
                     verdict.is_allowed ? "allowed" : "denied",
                     hc_rule_name(verdict.rule));
    }
}

/* Each decision as above, with the first rule behind so many others that none matches. */
static void a_rule_decides_behind_a_thousand_others(void **state)
{
    enum { OTHERS = 1000 };
    static char text[OTHERS * 96 + 256];
    const struct hc_policy_question question = {.identity = &pod,
                                                .type = HC_REPO_MODEL,
                                                .repo_id = "org-1000/name",
                                                .revision = "main"};
    HC_AUTO(hc_rules) *rules = NULL;
    struct hc_rule_search search;
    int used = snprintf(text, sizeof text, "version: 1\nrules:\n");

    (void)state;
    for (int i = 0; i <= OTHERS; i++)
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "- {name: r%d, repos: ['org-%d/*'], action: deny}\n", i, i);
    rules = parse(text);
    hc_rule_search_begin(&search, &question);
    assert_int_equal(hc_rule_search_next(&search, rules), 1000);
    assert_int_equal(hc_rule_search_next(&search, rules), rules->count);
}

/* What the probes refuse, the globs refuse, too: they are compared without probes. */
static void probes_change_no_decision(void **state)
{
    static const char *const globs[] = {"a",     "ab/*",   "*",           "abcdefgh",
                                        "a?c",   "[ab]*",  "abcdefghi/*", "org/abcdefgh*",
                                        "a\\b*", "ABC/De*"};
    static const char *const ids[] = {
        "a",       "ab/c",    "abcdefgh", "abcdefghi/x", "org/abcdefghij", "a/b", "a\\b",
        "abc/def", "ABC/DEF", "",         "org/abcdefg"};
    enum { GLOBS = sizeof globs / sizeof *globs, IDS = sizeof ids / sizeof *ids };

    (void)state;
    for (int i = 0; i < GLOBS * GLOBS; i++) {
        char text[256];
        HC_AUTO(hc_rules) *rules = NULL;
        const struct hc_rule *rule;

        (void)
            snprintf(text, sizeof text,
                     "version: 1\nrules: [{name: r, action: deny, repos: ['%s', '%s']}]",
                     globs[i % GLOBS], globs[i / GLOBS]);
        rules = parse(text);
        rule = &rules->items[0];
        for (int j = 0; j < IDS; j++) {
            const struct hc_policy_question question = {.repo_id = ids[j]};
            struct hc_rule_search search;
            char reason[256];

            hc_rule_search_begin(&search, &question);
            assert_int_equal(hc_rule_search_next(&search, rules) == 0,
                             hc_rule_explain(rule, &question, NULL, reason));
        }
    }
}

static void an_alias_is_found_by_its_name_and_type(void **state)
{
    static const struct {
        struct hc_target target;
        int found;
    } rows[] = {
        {{.id = "prod-llm"}, 1},
        {{.id = "prod-llm", .revision = ""}, 1},
        {{.id = "prod-llm", .type = HC_REPO_MODEL, .revision = "main"}, 1},
        {{.id = "prod-llm", .revision = COMMIT}, 1},
        {{.id = "prod-llm", .revision = "v1"}, -1},
        {{.id = "prod-llm", .type = HC_REPO_DATASET}, 0},
        {{.id = "prod-llm", .type = HC_REPO_DATASET, .revision = "v1"}, 0},
        {{.id = "prod"}, 0},
        {{.id = "Prod-LLM"}, 0},
        {{.id = "org/name"}, 0},
        {{.id = NULL}, 0},
    };
    HC_AUTO(hc_rules) *rules = parse(issue_policy);
    const struct hc_named_revision *alias;
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(hc_rules_find_alias(rules, &rows[i].target, &alias, &err),
                         rows[i].found);
        if (rows[i].found < 0)
            assert_int_equal(err.reason, HC_INVALID_REVISION);
        if (rows[i].found < 1)
            continue;
        assert_string_equal(alias->repo_id, "org/name");
        assert_string_equal(alias->revision, COMMIT);
        assert_int_equal(alias->type, HC_REPO_MODEL);
    }
    assert_int_equal(hc_rules_find_alias(NULL, &rows[0].target, &alias, &err), 0);
}

static void an_alias_can_be_kept(void **state)
{
    HC_AUTO(hc_rules) *rules = parse("version: 1\n"
                                     "aliases: {prod: {repo: org/name, revision: v1}}\n"
                                     "keep: [{repo: prod}, {repo: org/prod}]\n");

    (void)state;
    assert_string_equal(rules->keep[0].repo_id, "org/name");
    assert_string_equal(rules->keep[0].revision, "v1");
    assert_string_equal(rules->keep[1].repo_id, "org/prod");
    assert_string_equal(rules->keep[1].revision, "main");
}

static void quotas_and_kept_revisions_are_as_in_the_file(void **state)
{
    HC_AUTO(hc_rules) *rules = parse(issue_policy);
    const struct hc_quota *quota = hc_rules_find_quota(rules, &pod);

    (void)state;
    assert_non_null(quota);
    assert_int_equal(quota->bytes, 2000000000000);
    assert_null(hc_rules_find_quota(rules, &other_pod));
    assert_null(hc_rules_find_quota(rules, NULL));
    assert_int_equal(rules->keep_count, 1);
    assert_string_equal(rules->keep[0].repo_id, "org/name");
    assert_string_equal(rules->keep[0].revision, "main");
    assert_int_equal(rules->keep[0].type, HC_REPO_MODEL);
}

static void the_longest_retention_of_the_rules_for_a_revision_counts(void **state)
{
    static const char *const names[] = {COMMIT, "v1"};
    HC_AUTO(hc_rules) *rules =
        parse("version: 1\n"
              "rules:\n"
              "- {name: a, repos: ['org/*'], callers: [alice], action: allow, "
              "retention: 1h}\n"
              "- {name: b, repos: ['org/*'], revisions: [v1], action: allow, "
              "retention: 2d}\n"
              "- {name: c, types: [dataset], action: allow, retention: 30d}\n");

    (void)state;
    assert_int_equal(hc_rules_retention_ms(rules, HC_REPO_MODEL, "org/x", names, 2),
                     2 * 86400000);
    assert_int_equal(hc_rules_retention_ms(rules, HC_REPO_MODEL, "Org/x", names, 1),
                     3600000);
    assert_int_equal(hc_rules_retention_ms(rules, HC_REPO_MODEL, "other/x", names, 2), 0);
}

/* ---- the right to administer ------------------------------------------------------- */

static struct hc_policy *policy_of(const char *text)
{
    static struct hc_policy policy;

    hc_policy_clear(&policy);
    policy = (struct hc_policy){.offline = false};
    hc_policy_init(&policy);
    if (text)
        hc_policy_set_rules(&policy, parse(text));
    return &policy;
}

static bool may_administer(const char *text, const struct hc_identity *identity,
                           const char *id)
{
    struct hc_policy *policy = policy_of(text);
    struct hc_error err = {.message = ""};
    struct hc_repo repo;
    int result;

    if (id)
        assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, id, &err), 0);
    result = hc_policy_may_administer(policy, identity, id ? &repo : NULL, &err);
    if (result == 0)
        return true;
    assert_int_equal(err.reason, HC_POLICY_DENIED);
    assert_string_equal(err.rule, "admin");
    return false;
}

static void administrators_are_those_of_a_rule_unless_nothing_says_so(void **state)
{
    static const char two[] =
        "version: 1\n"
        "rules:\n"
        "- {name: no, repos: ['org/*'], action: deny}\n"
        "- {name: ops, callers: [alice], action: admin}\n"
        "- {name: team, callers: ['*team-a*'], repos: ['org/*'], action: admin}\n";

    (void)state;
    assert_true(may_administer(NULL, NULL, "org/x"));
    assert_true(may_administer(NULL, NULL, NULL));
    assert_true(may_administer(issue_policy, NULL, "org/x"));
    assert_false(may_administer("version: 1\ndefault: deny", &alice, "org/x"));
    assert_true(may_administer(two, &alice, "org/x"));
    assert_true(may_administer(two, &alice, NULL));
    assert_true(may_administer(two, &pod, "org/x"));
    assert_false(may_administer(two, &pod, "other/x"));
    assert_false(may_administer(two, &pod, NULL));
    assert_false(may_administer(two, NULL, "org/x"));
    (void)policy_of(NULL);
}

static void lists_show_a_repo_of_which_something_may_be_allowed(void **state)
{
    struct hc_error err;
    struct hc_repo llama, open;

    (void)state;
    assert_int_equal(hc_repo_init(&llama, HC_REPO_MODEL, "meta-llama/l", &err), 0);
    assert_int_equal(hc_repo_init(&open, HC_REPO_MODEL, "org/open", &err), 0);
    assert_true(hc_policy_may_see(policy_of(NULL), NULL, &llama));
    assert_true(hc_policy_may_see(policy_of(issue_policy), &alice, &llama));
    assert_false(hc_policy_may_see(policy_of(issue_policy), NULL, &llama));
    assert_true(hc_policy_may_see(policy_of(issue_policy), NULL, &open));
    assert_true(hc_policy_may_see(policy_of(deny_policy), NULL, &open));
    assert_false(hc_policy_may_see(policy_of("version: 1\ndefault: deny"), NULL, &open));
    (void)policy_of(NULL);
}

/* ---- conditions -------------------------------------------------------------------- */

static int authorize(const char *text, const struct hc_target *target, const char *alias,
                     struct hc_decision *decision, struct hc_error *err)
{
    static const struct hc_fetch_options options = {.identity = &alice};
    const struct hc_policy_request request = {.target = target,
                                              .options = &options,
                                              .alias = alias};

    return hc_policy_authorize(parse(text), &request, decision, err);
}

static void a_rule_may_require_a_commit_or_an_alias(void **state)
{
    const struct hc_target branch = {.id = "meta-llama/l"};
    const struct hc_target commit = {.id = "meta-llama/l", .revision = COMMIT};
    HC_AUTO_VALUE(hc_decision) first = {0};
    HC_AUTO_VALUE(hc_decision) second = {0};
    HC_AUTO_VALUE(hc_decision) third = {0};
    struct hc_error err = {.message = ""};

    (void)state;
    assert_int_equal(authorize(issue_policy, &branch, NULL, &first, &err), -1);
    assert_int_equal(err.reason, HC_POLICY_DENIED);
    assert_string_equal(err.rule, "team-a");
    assert_non_null(strstr(err.message, "commit"));
    assert_true(err.is_final);
    assert_int_equal(authorize(issue_policy, &branch, "prod", &second, &err), 0);
    assert_int_equal(authorize(issue_policy, &commit, NULL, &third, &err), 0);
}

static void the_tighter_staleness_of_rule_and_request_counts(void **state)
{
    const struct hc_target target = {.id = "meta-llama/l", .revision = COMMIT};
    const struct hc_fetch_options unset = {.max_staleness_ms = 0};
    const struct hc_fetch_options looser = {.has_max_staleness = true,
                                            .max_staleness_ms = 3600001};
    const struct hc_fetch_options tighter = {.has_max_staleness = true,
                                             .max_staleness_ms = 5};
    HC_AUTO_VALUE(hc_decision) decision = {0};
    struct hc_fetch_options granted;
    struct hc_error err;

    (void)state;
    assert_int_equal(authorize(issue_policy, &target, NULL, &decision, &err), 0);
    granted = hc_policy_grant(&decision, &unset);
    assert_true(granted.has_max_staleness);
    assert_int_equal(granted.max_staleness_ms, 3600000);
    granted = hc_policy_grant(&decision, &looser);
    assert_int_equal(granted.max_staleness_ms, 3600000);
    granted = hc_policy_grant(&decision, &tighter);
    assert_int_equal(granted.max_staleness_ms, 5);
}

/* ---- while rules are replaced ------------------------------------------------------ */

enum { READERS = 3, REPLACED = 300 };

static struct hc_policy replaced = {.offline = false};
static atomic_bool is_over;

/* Both policies say the same of "a" and of "b", and never of one only. */
static void *decide_often(void *ctx)
{
    const struct hc_policy_question question = {.repo_id = "org/x", .revision = "main"};
    bool *is_mixed = ctx;

    while (!atomic_load(&is_over)) {
        HC_AUTO_VALUE(hc_decision) decision = {0};
        struct hc_error err;

        if (hc_decision_make(&decision, hc_policy_hold_rules(&replaced), &question,
                             &err) < 0 ||
            hc_decision_verdict(&decision, "a", 0).is_allowed !=
                hc_decision_verdict(&decision, "b", 0).is_allowed)
            *is_mixed = true;
    }
    return NULL;
}

static void a_decision_is_of_one_file_while_it_is_replaced(void **state)
{
    static const char open[] = "version: 1\n";
    static const char closed[] = "version: 1\nrules:\n"
                                 "- {name: a, files: [a], action: deny}\n"
                                 "- {name: b, files: [b], action: deny}\n";
    bool is_mixed[READERS] = {false};
    pthread_t threads[READERS];

    (void)state;
    hc_policy_init(&replaced);
    hc_policy_set_rules(&replaced, parse(open));
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decide_often, &is_mixed[i]),
                         0);
    for (int i = 0; i < REPLACED; i++)
        hc_policy_set_rules(&replaced, parse(i % 2 ? open : closed));
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(is_mixed[i]);
    }
    hc_policy_clear(&replaced);
}

/* What is remembered under a key is given to callers whose decisions have the same. */
static void decisions_that_differ_have_different_keys(void **state)
{
    HC_AUTO(hc_rules) *rules = parse(issue_policy);
    const struct hc_policy_question questions[] = {
        {.identity = &alice, .repo_id = "meta-llama/l", .revision = COMMIT},
        {.identity = NULL, .repo_id = "org/x", .revision = COMMIT},
        {.identity = &pod, .repo_id = "meta-llama/l", .revision = "main"},
    };
    char keys[3][64], none[64] = "x", small[2];
    struct hc_error err;

    (void)state;
    for (int i = 0; i < 3; i++) {
        HC_AUTO_VALUE(hc_decision) decision = {0};

        assert_int_equal(hc_decision_make(&decision, hc_rules_hold(rules), &questions[i],
                                          &err),
                         0);
        assert_true(hc_decision_format_key(&decision, keys[i], sizeof keys[i]) > 0);
        assert_int_equal(hc_decision_format_key(&decision, small, sizeof small), -1);
    }
    assert_string_not_equal(keys[0], keys[1]);
    assert_string_equal(keys[0], keys[2]);
    {
        const struct hc_decision everything = {.rules = NULL};

        assert_int_equal(hc_decision_format_key(&everything, none, sizeof none), 0);
        assert_string_equal(none, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_matches_decides),
        cmocka_unit_test(a_rule_decides_behind_a_thousand_others),
        cmocka_unit_test(probes_change_no_decision),
        cmocka_unit_test(an_alias_is_found_by_its_name_and_type),
        cmocka_unit_test(an_alias_can_be_kept),
        cmocka_unit_test(quotas_and_kept_revisions_are_as_in_the_file),
        cmocka_unit_test(the_longest_retention_of_the_rules_for_a_revision_counts),
        cmocka_unit_test(administrators_are_those_of_a_rule_unless_nothing_says_so),
        cmocka_unit_test(lists_show_a_repo_of_which_something_may_be_allowed),
        cmocka_unit_test(a_rule_may_require_a_commit_or_an_alias),
        cmocka_unit_test(the_tighter_staleness_of_rule_and_request_counts),
        cmocka_unit_test(a_decision_is_of_one_file_while_it_is_replaced),
        cmocka_unit_test(decisions_that_differ_have_different_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
