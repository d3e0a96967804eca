/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a decision that is remembered is that of the same question, whichever
 * questions were asked before, by any thread; and what probes and repeated repos spare a
 * search changes no decision. Each rule by itself (hc_rule_explain) is what decisions are
 * compared with.
 */
#include "test.h"

#include <base/size.h>
#include <policy/decision_memo.h>
#include <policy/rules_file.h>

#include <pthread.h>
#include <string.h>

enum { FILLERS = 64, THREADS = 3, DRAWS = 1200, TEXT_SIZE = 16 * 1024 };

/* More rules than a search without memory is for. */
static const char rules_text[] =
    "- {name: zip, repos: ['org/*'], files: ['*.zip', 'a/*.gzip'], action: deny}\n"
    "- {name: weights, repos: ['org/*'], files: ['weights.bin'], action: deny}\n"
    "- {name: folder, repos: ['org/*'], callers: [alice], files: ['a/'], action: deny}\n"
    "- {name: turned, repos: ['org/t*'], files: ['b\\c.txt'], action: deny}\n"
    "- {name: slash, repos: ['org/t*'], files: ['b/d.txt'], action: deny}\n"
    "- {name: sets, repos: ['org/t*'], files: ['*.[ch]', '*x]', '?'], action: deny}\n"
    "- {name: data, types: [dataset], repos: ['org/*'], action: deny}\n"
    "- {name: v1, repos: ['org/*'], revisions: [v1], action: deny}\n"
    "- {name: ab, callers: ['group:ab'], action: allow}\n"
    "- {name: bc, callers: ['group:bc'], action: deny}\n"
    "- {name: jwt, callers: ['kind:jwt:alice'], repos: [ORG/t], action: deny}\n"
    "- {name: alice, callers: [alice, anonymous], repos: ['org/t'], action: allow}\n"
    "- {name: rest, repos: ['org/*'], action: deny}\n";

static const char *const split[] = {"ab", "c"};
static const char *const split_otherwise[] = {"a", "bc"};
static const struct hc_identity identities[] = {
    {.kind = "token", .name = "alice"},
    {.kind = "jwt", .name = "alice"},
    {.kind = NULL, .name = "alice"},
    {.kind = "token", .name = "bob", .groups = split, .group_count = 2},
    {.kind = "token", .name = "bob", .groups = split_otherwise, .group_count = 2},
    {.kind = "token", .name = "bob", .groups = split, .group_count = 1},
    {.kind = "token", .name = "bob"},
    {.kind = "token", .name = ""},
};
static const char *const repos[] = {"org/t", "ORG/T", "org/u", "other/t", "", "org\\t"};
static const char *const revisions[] = {NULL, "", "main", "v1"};
static const char *const paths[] = {"x.zip",   "a/x.gzip", "b.gzip",   "weights.bin",
                                    "a/b",     "b/c.txt",  "b\\c.txt", "x.c",
                                    "weights", "ax]",      "x",        "xweights.bin",
                                    ".zip",    "zip",      "a\\x.zip", "b\\d.txt"};

enum {
    IDENTITIES = sizeof identities / sizeof *identities,
    REPOS = sizeof repos / sizeof *repos,
    REVISIONS = sizeof revisions / sizeof *revisions,
    PATHS = sizeof paths / sizeof *paths
};

static struct hc_rules *rules_of_many(void)
{
    static char text[TEXT_SIZE];
    struct hc_error err = {.message = ""};
    int used = snprintf(text, sizeof text, "version: 1\nrules:\n");
    struct hc_rules *rules;

    for (int i = 0; i < FILLERS; i++)
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "- {name: f%d, repos: ['filler-%d/*'], action: deny}\n", i, i);
    (void)snprintf(text + used, sizeof text - (size_t)used, "%s", rules_text);
    rules = hc_rules_parse(text, strlen(text), "test.yaml", &err);
    if (!rules)
        fail_msg("%s", err.message);
    assert_non_null(rules->memo);
    return rules;
}

static struct hc_policy_question question_draw(unsigned *seed)
{
    unsigned identity = (unsigned)rand_r(seed) % (IDENTITIES + 1);

    return (struct hc_policy_question){
        .identity = identity < IDENTITIES ? &identities[identity] : NULL,
        .type = (enum hc_repo_type)(rand_r(seed) % (HC_REPO_DATASET + 1)),
        .repo_id = repos[rand_r(seed) % REPOS],
        .revision = revisions[rand_r(seed) % REVISIONS]};
}

/* "default" if none matches. */
static const char *rule_by_itself(const struct hc_rules *rules,
                                  const struct hc_policy_question *question,
                                  const char *path)
{
    char reason[256];

    for (size_t i = 0; i < rules->count; i++) {
        if (hc_rule_explain(&rules->items[i], question, path, reason))
            return rules->items[i].name;
    }
    return "default";
}

/* NULL: it is right. */
static const char *decision_flaw(struct hc_rules *rules,
                                 const struct hc_policy_question *question)
{
    HC_AUTO_VALUE(hc_decision) decision = {0};
    struct hc_error err;

    if (hc_decision_make(&decision, hc_rules_hold(rules), question, &err) < 0)
        return err.reason == HC_OK ? "no reason" : "it failed";
    if (strcmp(hc_rule_name(decision.rule), rule_by_itself(rules, question, NULL)) != 0)
        return hc_rule_name(decision.rule);
    for (size_t i = 0; i < PATHS; i++) {
        struct hc_verdict verdict =
            hc_decision_verdict(&decision, paths[i], HC_SIZE_UNKNOWN);

        if (strcmp(hc_rule_name(verdict.rule),
                   rule_by_itself(rules, question, paths[i])) != 0)
            return paths[i];
    }
    return NULL;
}

static void a_decision_is_that_of_its_question(void **state)
{
    HC_AUTO(hc_rules) *rules = rules_of_many();
    unsigned seed = 1;

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        const struct hc_policy_question question = question_draw(&seed);
        const char *flaw = decision_flaw(rules, &question);

        if (flaw)
            fail_msg("draw %d: %s of '%s' at '%s': %s", i,
                     question.identity ? question.identity->name : "anonymous",
                     question.repo_id, question.revision, flaw);
    }
}

struct drawer {
    struct hc_rules *rules;
    unsigned seed, flaws;
};

static void *draw_often(void *ctx)
{
    struct drawer *drawer = ctx;

    for (int i = 0; i < DRAWS / THREADS; i++) {
        const struct hc_policy_question question = question_draw(&drawer->seed);

        drawer->flaws += decision_flaw(drawer->rules, &question) != NULL;
    }
    return NULL;
}

static void threads_share_decisions(void **state)
{
    HC_AUTO(hc_rules) *rules = rules_of_many();
    struct drawer drawers[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        drawers[i] = (struct drawer){.rules = rules, .seed = i + 2};
        assert_int_equal(pthread_create(&threads[i], NULL, draw_often, &drawers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(drawers[i].flaws, 0);
    }
}

/* Twice as many as are remembered, asked twice. */
static void older_decisions_give_way(void **state)
{
    HC_AUTO(hc_rules) *rules = rules_of_many();
    char id[32];

    (void)state;
    for (int i = 0; i < 4 * HC_DECISIONS_MAX; i++) {
        const struct hc_policy_question question = {.repo_id = id, .revision = "main"};
        HC_AUTO_VALUE(hc_decision) decision = {0};
        struct hc_error err;

        (void)snprintf(id, sizeof id, "%s/n-%d", i % 3 ? "org" : "other",
                       i % (2 * HC_DECISIONS_MAX));
        assert_int_equal(hc_decision_make(&decision, hc_rules_hold(rules), &question,
                                          &err),
                         0);
        assert_string_equal(hc_rule_name(decision.rule), i % 3 == 0 ? "default" : "rest");
    }
}

/* One byte more than there is room for, one byte fewer, and room for all. */
static void a_long_question_is_decided_and_not_remembered(void **state)
{
    static struct hc_question_key key;
    char id[HC_QUESTION_MAX + 1];
    HC_AUTO(hc_rules) *rules = rules_of_many();

    (void)state;
    for (size_t length = HC_QUESTION_MAX - 8; length < HC_QUESTION_MAX; length++) {
        const struct hc_policy_question question = {.repo_id = id, .revision = ""};

        memset(id, 'x', sizeof id);
        memcpy(id, "org/", 4);
        id[length] = '\0';
        hc_question_key_init(&key, &question);
        /* The head, the id and the revision each have a NUL. */
        assert_int_equal(key.size, length + 5 <= HC_QUESTION_MAX ? length + 5 : 0);
        for (int times = 0; times < 2; times++)
            assert_null(decision_flaw(rules, &question));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decision_is_that_of_its_question),
        cmocka_unit_test(threads_share_decisions),
        cmocka_unit_test(older_decisions_give_way),
        cmocka_unit_test(a_long_question_is_decided_and_not_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
