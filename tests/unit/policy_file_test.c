/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a policy file that is wrong is refused as a whole, and the failure has the
 * file, the line and the column of what is wrong. Limits hold at their value and refuse
 * one more.
 */
#include "test.h"

#include "temp_dir.h"

#include <policy/rules_file.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct flaw {
    const char *text;
    const char *at;   /* "line:column" */
    const char *says; /* part of the message */
} flaws[] = {
    {"", "1:1", "empty"},
    {"# only a comment\n", "2:1", "empty"},
    {"version: 2\n", "1:10", "version 1"},
    {"default: allow\n", "1:1", "'version' is missing"},
    {"version: 1\ndefault: maybe\n", "2:10", "allow or deny"},
    {"version: 1\nrule: []\n", "2:1", "no key 'rule'"},
    {"version: 1\nversion: 1\n", "2:1", "twice"},
    {"- version: 1\n", "1:1", "mapping"},
    {"version: 1\nrules: {}\n", "2:8", "list"},
    {"version: 1\nrules: [a]\n", "2:9", "mapping"},
    {"version: 1\nrules:\n- name: a\n", "3:3", "'action' is missing"},
    {"version: 1\nrules:\n- action: deny\n", "3:3", "'name' is missing"},
    {"version: 1\nrules:\n- name: a\n  action: forbid\n", "4:11", "allow, deny or admin"},
    {"version: 1\nrules:\n- name: a\n  action: deny\n- name: a\n  action: deny\n", "5:9",
     "rule of line 3"},
    {"version: 1\nrules:\n- name: a b\n  action: deny\n", "3:9", "letters"},
    {"version: 1\nrules:\n- name:\n  action: deny\n", "3:8", "empty"},
    {"version: 1\nrules:\n- name: [a]\n  action: deny\n", "3:9", "a text"},
    {"version: 1\nrules:\n- {name: a, action: deny, action: deny}\n", "3:27", "twice"},
    {"version: 1\nrules:\n- {name: a, action: deny, repo: [x]}\n", "3:27",
     "no key 'repo'"},
    {"version: 1\nrules:\n- {name: a, action: deny, repos: x}\n", "3:34", "list"},
    {"version: 1\nrules:\n- {name: a, action: deny, repos: []}\n", "3:35",
     "matches nothing"},
    {"version: 1\nrules:\n- {name: a, action: deny, repos: [[x]]}\n", "3:35", "a text"},
    {"version: 1\nrules:\n- {name: a, action: deny, types: [models]}\n", "3:35",
     "model, dataset"},
    {"version: 1\nrules:\n- {name: a, action: deny, types: [model, model]}\n", "3:42",
     "twice"},
    {"version: 1\nrules:\n- {name: a, action: deny, callers: ['kind:pod']}\n", "3:37",
     "token, jwt"},
    {"version: 1\nrules:\n- {name: a, action: deny, callers: ['kind:jwt:']}\n", "3:37",
     "token, jwt"},
    {"version: 1\nrules:\n- {name: a, action: deny, callers: ['group:']}\n", "3:37",
     "group"},
    {"version: 1\nrules:\n- {name: a, action: allow, require_commit: yes}\n", "3:44",
     "true or false"},
    {"version: 1\nrules:\n- {name: a, action: allow, max_staleness: soon}\n", "3:43",
     "duration"},
    {"version: 1\nrules:\n- {name: a, action: allow, max_staleness: -1s}\n", "3:43",
     "duration"},
    {"version: 1\nrules:\n- {name: a, action: allow, max_file_size: 10GB}\n", "3:43",
     "size"},
    {"version: 1\nrules:\n- {name: a, action: allow, max_file_size: 0}\n", "3:43",
     "size"},
    {"version: 1\nrules:\n- {name: a, action: allow, max_file_size: 18446745T}\n", "3:43",
     "size"},
    {"version: 1\nrules:\n- {name: a, action: allow, endpoint: [x]}\n", "3:38", "a text"},
    {"version: 1\nrules:\n- {name: a, action: deny, endpoint: 'http://x'}\n", "3:3",
     "'endpoint' has no effect"},
    {"version: 1\nrules:\n- {name: a, action: allow, files: [x], endpoint: 'http://x'}\n",
     "3:3", "'endpoint' has no effect"},
    {"version: 1\nrules:\n- {name: a, action: allow, revisions: [v1], endpoint: "
     "'http://x'}"
     "\n",
     "3:3", "all revisions"},
    {"version: 1\nrules:\n- {name: a, action: allow, callers: [b], endpoint: "
     "'http://x'}\n",
     "3:3", "name the 'repos'"},
    {"version: 1\nrules:\n- {name: a, action: allow, caller_token: true}\n", "3:3",
     "'caller_token' has no effect"},
    {"version: 1\nrules:\n- {name: a, action: deny, offline: true}\n", "3:3",
     "'offline' has no effect"},
    {"version: 1\nrules:\n- {name: a, action: deny, max_file_size: 1k}\n", "3:3",
     "'max_file_size' has no effect"},
    {"version: 1\nrules:\n- {name: a, action: allow, files: [x], retention: 1h}\n", "3:3",
     "'retention' has no effect"},
    {"version: 1\nrules:\n- {name: a, action: admin, files: [x]}\n", "3:3",
     "'files' has no effect"},
    {"version: 1\nrules:\n- {name: a, action: admin, revisions: [x]}\n", "3:3",
     "'revisions' has no effect"},
    {"version: 1\naliases: [a]\n", "2:10", "mapping"},
    {"version: 1\naliases:\n  a: {repo: org/x}\n", "3:6", "'revision' is missing"},
    {"version: 1\naliases:\n  a/b/c: {repo: org/x, revision: main}\n", "3:3", "a/b/c"},
    {"version: 1\naliases:\n  a: {repo: ../x, revision: main}\n", "3:13", ".."},
    {"version: 1\naliases:\n  a: {repo: org/x, revision: /main}\n", "3:30", "revision"},
    {"version: 1\naliases:\n  a: {repo: org/x, revision: v1}\n"
     "  a: {repo: org/x, revision: v1}\n",
     "4:3", "twice"},
    {"version: 1\naliases:\n  a: {repo: b, revision: v1}\n"
     "  b: {repo: org/x, revision: v1}\n",
     "3:3", "is an alias"},
    {"version: 1\naliases: {b: {repo: org/x, revision: v1}}\n"
     "keep:\n- {repo: b, revision: v2}\n",
     "4:3", "'b' is an alias"},
    {"version: 1\nquotas: [{callers: [a]}]\n", "2:10", "'bytes' is missing"},
    {"version: 1\nquotas: [{bytes: 1T}]\n", "2:10", "'callers' is missing"},
    {"version: 1\nkeep: [{revision: main}]\n", "2:8", "'repo' is missing"},
    {"version: 1\nkeep: [{repo: a}, {repo: a, revision: main}]\n", "2:19", "line 2"},
    {"version: 1\nkeep: [{repo: a, type: file}]\n", "2:24", "model, dataset"},
    {"version: &a 1\n", "1:10", "anchors"},
    {"version: 1\nrules: &a []\nquotas: *a\n", "2:8", "anchors"},
    {"version: 1\nquotas: *a\n", "2:9", "anchors"},
    {"version: !!int 1\n", "1:10", "tags"},
    {"version: 1\n---\nversion: 1\n", "2:1", "one document"},
    {"version: 1\nrules: [", "3:1", ""},
    {"version: \"a\\x07\"\n", "1:10", "control characters"},
    {"version: \"1\\0\"\n", "1:10", "control characters"},
    {"version: 1\n\tdefault: allow\n", "2:1", ""},
};

static struct hc_rules *parse(const char *text, struct hc_error *err)
{
    return hc_rules_parse(text, strlen(text), "p.yaml", err);
}

static void assert_refused(const char *text, const char *at, const char *says)
{
    struct hc_error err = {.message = ""};
    HC_AUTO(hc_rules) *rules = parse(text, &err);
    char begin[64];

    if (rules)
        fail_msg("not refused: %s", text);
    (void)snprintf(begin, sizeof begin, "p.yaml:%s: ", at);
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(err.field, "policy");
    if (strncmp(err.message, begin, strlen(begin)) != 0 || !strstr(err.message, says))
        fail_msg("'%s' is refused by '%s', not '%s...%s'", text, err.message, begin,
                 says);
}

static void what_is_wrong_is_named_with_its_line_and_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flaws / sizeof *flaws; i++)
        assert_refused(flaws[i].text, flaws[i].at, flaws[i].says);
}

static void every_key_is_read(void **state)
{
    static const char text[] =
        "version: 1\n"
        "default: deny\n"
        "rules:\n"
        "- name: all\n"
        "  callers: [alice, 'group:g', anonymous, 'kind:uid', 'kind:jwt:x*']\n"
        "  repos: [org/*]\n"
        "  types: [model, dataset, space, kernel]\n"
        "  revisions: [main]\n"
        "  action: allow\n"
        "  message: hello\n"
        "  require_commit: true\n"
        "  max_staleness: 5m\n"
        "  offline: true\n"
        "  max_file_size: 10G\n"
        "  max_snapshot_size: 2T\n"
        "  token_file: /run/secrets/token\n"
        "  retention: 30d\n"
        "- {name: some, files: ['*.json'], action: allow, max_file_size: 1}\n"
        "aliases: {a: {repo: org/x, revision: v1, type: dataset}}\n"
        "keep: [{repo: org/y}]\n";
    struct hc_error err = {.message = ""};
    HC_AUTO(hc_rules) *rules = parse(text, &err);
    const struct hc_rule *rule;

    (void)state;
    assert_string_equal(err.message, "");
    assert_non_null(rules);
    assert_true(rules->denies);
    assert_int_equal(rules->count, 2);
    rule = &rules->items[0];
    assert_string_equal(rule->name, "all");
    assert_int_equal(rule->line, 4);
    assert_string_equal(rule->message, "hello");
    assert_int_equal(rule->types, 0x1e);
    assert_true(rule->require_commit && rule->offline && rule->has_max_staleness);
    assert_int_equal(rule->max_staleness_ms, 300000);
    assert_int_equal(rule->max_file_size, 10000000000);
    assert_int_equal(rule->max_snapshot_size, 2000000000000);
    assert_string_equal(rule->token_file, "/run/secrets/token");
    assert_int_equal(rule->retention_ms, 30 * INT64_C(86400000));
    assert_int_equal(rules->aliases[0].type, HC_REPO_DATASET);
    assert_string_equal(rules->keep[0].revision, "main");
}

/* A list of `count` items made by `format`, which gets the number. */
static char *make_list(const char *head, const char *item, size_t count, const char *tail)
{
    size_t size = strlen(head) + count * (strlen(item) + 8) + strlen(tail) + 1;
    char *text = malloc(size);
    size_t used;

    assert_non_null(text);
    used = (size_t)snprintf(text, size, "%s", head);
    for (size_t i = 0; i < count; i++) {
        /* NOLINTNEXTLINE(clang-diagnostic-format-nonliteral) */
        used +=
            (size_t)snprintf(text + used, size - used, "%s%zu%s", i ? ", " : "", i, item);
    }
    (void)snprintf(text + used, size - used, "%s", tail);
    return text;
}

static void assert_limit(const char *head, const char *item, size_t limit,
                         const char *tail)
{
    HC_AUTO_FREE char *most = make_list(head, item, limit, tail);
    HC_AUTO_FREE char *more = make_list(head, item, limit + 1, tail);
    struct hc_error err = {.message = ""};
    HC_AUTO(hc_rules) *rules = parse(most, &err);
    HC_AUTO(hc_rules) *none = parse(more, &err);

    assert_non_null(rules);
    assert_null(none);
    assert_non_null(strstr(err.message, "at most"));
}

static void lists_have_as_many_items_as_the_limits_say(void **state)
{
    (void)state;
    assert_limit("version: 1\nrules: [{name: a, action: deny, repos: [", "", HC_GLOBS_MAX,
                 "]}]\n");
    assert_limit("version: 1\naliases: {", ": {repo: org/x, revision: v}", HC_ALIASES_MAX,
                 "}\n");
}

static void a_name_a_glob_and_a_message_have_as_many_bytes_as_the_limits_say(void **state)
{
    char text[2048];
    struct hc_error err;

    (void)state;
    for (int more = 0; more < 2; more++) {
        HC_AUTO(hc_rules) *name = NULL;
        HC_AUTO(hc_rules) *glob = NULL;
        HC_AUTO(hc_rules) *message = NULL;

        (void)snprintf(text, sizeof text,
                       "version: 1\nrules: [{name: %0*d, action: deny}]",
                       HC_RULE_NAME_MAX + more, 0);
        name = parse(text, &err);
        assert_int_equal(!name, more);
        (void)snprintf(text, sizeof text,
                       "version: 1\nrules: [{name: a, action: deny, repos: [%0*d]}]",
                       HC_GLOB_MAX + more, 0);
        glob = parse(text, &err);
        assert_int_equal(!glob, more);
        (void)snprintf(text, sizeof text,
                       "version: 1\nrules: [{name: a, action: deny, message: %0*d}]",
                       HC_RULE_MESSAGE_MAX + more, 0);
        message = parse(text, &err);
        assert_int_equal(!message, more);
    }
}

/* Nesting that the schema does not have ends the reading at once. */
static void a_deeply_nested_file_is_refused(void **state)
{
    enum { DEEP = 200000 };
    HC_AUTO_FREE char *text = malloc(DEEP + 32);
    struct hc_error err = {.message = ""};
    HC_AUTO(hc_rules) *rules = NULL;

    (void)state;
    assert_non_null(text);
    (void)snprintf(text, 32, "version: 1\nrules: ");
    memset(text + strlen(text), '[', DEEP);
    text[DEEP + 18] = '\0';
    rules = parse(text, &err);
    assert_null(rules);
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
}

static void a_file_that_is_absent_or_too_long_is_refused(void **state)
{
    char *dir = temp_dir_make();
    char path[256];
    HC_AUTO_FREE char *text = malloc(HC_RULES_FILE_MAX + 2);
    struct hc_error err = {.message = ""};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/p.yaml", dir);
    assert_null(hc_rules_read(path, &err));
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    assert_non_null(strstr(err.message, path));
    assert_non_null(text);
    for (size_t more = 0; more < 2; more++) {
        HC_AUTO(hc_rules) *rules = NULL;
        int used = snprintf(text, HC_RULES_FILE_MAX, "version: 1\n");

        memset(text + used, '\n', HC_RULES_FILE_MAX + more - (size_t)used);
        text[HC_RULES_FILE_MAX + more] = '\0';
        temp_dir_write(dir, "p.yaml", text);
        rules = hc_rules_read(path, &err);
        assert_int_equal(!rules, more);
    }
    assert_null(hc_rules_read(dir, &err));
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_named_with_its_line_and_column),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(lists_have_as_many_items_as_the_limits_say),
        cmocka_unit_test(
            a_name_a_glob_and_a_message_have_as_many_bytes_as_the_limits_say),
        cmocka_unit_test(a_deeply_nested_file_is_refused),
        cmocka_unit_test(a_file_that_is_absent_or_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
