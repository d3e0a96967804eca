/* SPDX-License-Identifier: Apache-2.0 */
#include "rule_reader.h"

#include <base/text.h>

#include <string.h>

/* ---- lists of globs, callers and types --------------------------------------------- */

/* At the end of a list that narrows a rule. */
static int list_check_some(const struct hc_yaml_reader *yaml, size_t count,
                           struct hc_error *err)
{
    return count > 0 ? 0
                     : hc_yaml_fail(yaml, err,
                                    "an empty list matches nothing; leave the key out");
}

static int glob_check(const struct hc_yaml_reader *yaml, const char *glob,
                      const struct hc_strings *list, struct hc_error *err)
{
    if (strlen(glob) > HC_GLOB_MAX)
        return hc_yaml_fail(yaml, err, "a glob has %d bytes at most", HC_GLOB_MAX);
    if (list->count == HC_GLOBS_MAX)
        return hc_yaml_fail(yaml, err, "a list has %d globs at most", HC_GLOBS_MAX);
    return 0;
}

static int globs_add(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    const char *glob = hc_yaml_text(yaml, err);

    if (!glob || glob_check(yaml, glob, target, err) < 0)
        return -1;
    return hc_strings_add(target, glob, err);
}

static int globs_read(struct hc_yaml_reader *yaml, struct hc_globs *globs,
                      struct hc_error *err)
{
    if (hc_yaml_read_list(yaml, globs_add, &globs->texts, err) < 0)
        return -1;
    return list_check_some(yaml, globs->texts.count, err);
}

static bool caller_kind_is_known(const char *text)
{
    static const char *const kinds[] = {"token", "jwt", "uid", "certificate"};
    size_t length = strcspn(text, ":");

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strlen(kinds[i]) == length && strncmp(kinds[i], text, length) == 0)
            return text[length] == '\0' || text[length + 1] != '\0';
    }
    return false;
}

static int callers_add(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    if (strcmp(text, "group:") == 0)
        return hc_yaml_fail(yaml, err, "'group:' is followed by a glob of groups");
    if (hc_text_starts(text, "kind:") && !caller_kind_is_known(text + strlen("kind:")))
        return hc_yaml_fail(yaml, err,
                            "'kind:' is followed by token, jwt, uid or certificate, and "
                            "perhaps ':' and a glob of names");
    return globs_add(yaml, target, err);
}

int hc_callers_read(struct hc_yaml_reader *yaml, struct hc_callers *callers,
                    struct hc_error *err)
{
    if (hc_yaml_read_list(yaml, callers_add, &callers->texts, err) < 0)
        return -1;
    return list_check_some(yaml, callers->texts.count, err);
}

int hc_repo_type_read(const struct hc_yaml_reader *yaml, enum hc_repo_type *type,
                      struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    *type = hc_repo_type_from_name(text);
    if (*type != HC_REPO_DEFAULT)
        return 0;
    return hc_yaml_fail(yaml, err, "this must be model, dataset, space or kernel");
}

static int types_add(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    unsigned *types = target;
    enum hc_repo_type type;

    if (hc_repo_type_read(yaml, &type, err) < 0)
        return -1;
    if (*types & 1U << type)
        return hc_yaml_fail(yaml, err, "'%s' is in the list twice",
                            hc_repo_type_name(type));
    *types |= 1U << type;
    return 0;
}

/* ---- keys -------------------------------------------------------------------------- */

/* The one that is read: names of those before it are taken. */
static struct hc_rule *rule_last(void *rules)
{
    const struct hc_rules *all = rules;

    return &all->items[all->count - 1];
}

#define RULE_KEY(key, reader)                                                            \
    static int rule_read_##key(struct hc_yaml_reader *yaml, void *rules,                 \
                               struct hc_error *err)                                     \
    {                                                                                    \
        return reader(yaml, &rule_last(rules)->key, err);                                \
    }

RULE_KEY(callers, hc_callers_read)
RULE_KEY(repos, globs_read)
RULE_KEY(revisions, globs_read)
RULE_KEY(files, globs_read)
RULE_KEY(require_commit, hc_yaml_read_bool)
RULE_KEY(offline, hc_yaml_read_bool)
RULE_KEY(max_file_size, hc_yaml_read_size)
RULE_KEY(max_snapshot_size, hc_yaml_read_size)
RULE_KEY(token_file, hc_yaml_read_text)
RULE_KEY(caller_token, hc_yaml_read_bool)
RULE_KEY(retention_ms, hc_yaml_read_duration)

static bool rule_name_is_valid(const char *name)
{
    return strlen(name) <= HC_RULE_NAME_MAX &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789._/:-")] == '\0';
}

static int rule_read_name(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    const struct hc_rules *rules = target;
    struct hc_rule *rule = rule_last(target);
    const char *name = hc_yaml_text(yaml, err);

    if (!name)
        return -1;
    if (!rule_name_is_valid(name))
        return hc_yaml_fail(yaml, err,
                            "a name has %d bytes at most, of letters, digits and "
                            "'.', '_', '/', ':', '-'",
                            HC_RULE_NAME_MAX);
    for (size_t i = 0; i < rules->count; i++) {
        const struct hc_rule *other = &rules->items[i];

        if (other->name && strcmp(other->name, name) == 0)
            return hc_yaml_fail(yaml, err, "the rule of line %u has the name '%s', too",
                                other->line, name);
    }
    return hc_yaml_read_text(yaml, &rule->name, err);
}

static int rule_read_message(struct hc_yaml_reader *yaml, void *target,
                             struct hc_error *err)
{
    struct hc_rule *rule = rule_last(target);

    if (hc_yaml_read_text(yaml, &rule->message, err) < 0)
        return -1;
    if (strlen(rule->message) <= HC_RULE_MESSAGE_MAX)
        return 0;
    return hc_yaml_fail(yaml, err, "a message has %d bytes at most", HC_RULE_MESSAGE_MAX);
}

static int rule_read_action(struct hc_yaml_reader *yaml, void *target,
                            struct hc_error *err)
{
    struct hc_rule *rule = rule_last(target);
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    for (int action = HC_RULE_ALLOW; action <= HC_RULE_ADMIN; action++) {
        rule->action = (enum hc_rule_action)action;
        if (strcmp(text, hc_rule_action_name(rule->action)) == 0)
            return 0;
    }
    return hc_yaml_fail(yaml, err, "an action is allow, deny or admin");
}

static int rule_read_types(struct hc_yaml_reader *yaml, void *target,
                           struct hc_error *err)
{
    struct hc_rule *rule = rule_last(target);

    if (hc_yaml_read_list(yaml, types_add, &rule->types, err) < 0)
        return -1;
    return list_check_some(yaml, rule->types, err);
}

static int rule_read_max_staleness(struct hc_yaml_reader *yaml, void *target,
                                   struct hc_error *err)
{
    struct hc_rule *rule = rule_last(target);

    rule->has_max_staleness = true;
    return hc_yaml_read_duration(yaml, &rule->max_staleness_ms, err);
}

/* What a URL is, the Hub's client says: hc_resolver_load_policy() asks it. */
static int rule_read_endpoint(struct hc_yaml_reader *yaml, void *target,
                              struct hc_error *err)
{
    struct hc_rule *rule = rule_last(target);

    rule->endpoint_line = hc_yaml_place(yaml).line;
    rule->endpoint_column = hc_yaml_place(yaml).column;
    return hc_yaml_read_text(yaml, &rule->endpoint, err);
}

/* The first two have to be there. */
static const struct hc_yaml_key rule_keys[] = {
    {"name", rule_read_name},
    {"action", rule_read_action},
    {"callers", rule_read_callers},
    {"repos", rule_read_repos},
    {"types", rule_read_types},
    {"revisions", rule_read_revisions},
    {"files", rule_read_files},
    {"message", rule_read_message},
    {"require_commit", rule_read_require_commit},
    {"max_staleness", rule_read_max_staleness},
    {"offline", rule_read_offline},
    {"max_file_size", rule_read_max_file_size},
    {"max_snapshot_size", rule_read_max_snapshot_size},
    {"token_file", rule_read_token_file},
    {"endpoint", rule_read_endpoint},
    {"caller_token", rule_read_caller_token},
    {"retention", rule_read_retention_ms},
    {NULL, NULL},
};

/* ---- keys that exclude each other -------------------------------------------------- */

/* The first condition of the rule; NULL: it has none. */
static const char *rule_find_condition(const struct hc_rule *rule)
{
    if (rule->require_commit)
        return "require_commit";
    if (rule->has_max_staleness)
        return "max_staleness";
    if (rule->offline)
        return "offline";
    if (rule->max_snapshot_size > 0)
        return "max_snapshot_size";
    if (rule->token_file)
        return "token_file";
    if (rule->endpoint)
        return "endpoint";
    return rule->retention_ms > 0 ? "retention" : NULL;
}

/* The first key of the rule that has no effect together with its others; NULL: none. */
static const char *rule_find_idle_key(const struct hc_rule *rule)
{
    bool is_of_files = rule->files.texts.count > 0;
    bool denies = rule->action == HC_RULE_DENY;

    if (rule->action == HC_RULE_ADMIN && is_of_files)
        return "files";
    if (rule->action == HC_RULE_ADMIN && rule->revisions.texts.count > 0)
        return "revisions";
    if (denies && rule->max_file_size > 0)
        return "max_file_size";
    if (rule->caller_token && !rule->endpoint)
        return "caller_token";
    return denies || is_of_files ? rule_find_condition(rule) : NULL;
}

/* A cache has a repo from one endpoint: for every caller, and with all revisions. */
static int rule_check_endpoint(const struct hc_yaml_reader *yaml,
                               const struct hc_rule *rule, struct hc_yaml_place start,
                               struct hc_error *err)
{
    if (!rule->endpoint)
        return 0;
    if (rule->revisions.texts.count > 0)
        return hc_yaml_fail_at(
            yaml, start, err,
            "an endpoint has all revisions of a repo: leave 'revisions' out, "
            "or 'endpoint'");
    if (rule->callers.texts.count > 0 && rule->repos.texts.count == 0)
        return hc_yaml_fail_at(
            yaml, start, err,
            "an endpoint is where a repo comes from for every caller: with "
            "'callers', name the 'repos'");
    return 0;
}

static int rule_check(const struct hc_yaml_reader *yaml, const struct hc_rule *rule,
                      struct hc_yaml_place start, struct hc_error *err)
{
    const char *idle = rule_find_idle_key(rule);
    const char *kind = "with files";

    if (!idle)
        return rule_check_endpoint(yaml, rule, start, err);
    if (rule->action == HC_RULE_DENY)
        kind = "that denies";
    else if (rule->action == HC_RULE_ADMIN)
        kind = "of administrators";
    return hc_yaml_fail_at(yaml, start, err, "'%s' has no effect in a rule %s", idle,
                           kind);
}

int hc_rule_read(struct hc_yaml_reader *yaml, struct hc_rules *rules,
                 struct hc_error *err)
{
    struct hc_yaml_place start = hc_yaml_place(yaml);

    if (hc_yaml_read_mapping(yaml, rule_keys, 2, rules, err) < 0)
        return -1;
    return rule_check(yaml, rule_last(rules), start, err);
}
