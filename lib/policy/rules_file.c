/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is read event by event, as libyaml's parser gives them: nothing is built of
 * what the schema does not have, so the depth and the size of what is built are those of
 * the schema. A mapping of the schema is a table of keys; each key reads its own value,
 * from the event after the key on.
 */
#include "rules_file.h"

#include <base/error.h>
#include <base/file.h>
#include <base/quantity.h>
#include <repo/name.h>
#include <repo/repo.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { KEYS_MAX = 32, TEXT_MAX = 4096 };

/* The file while it is read. `event` is the current one. */
struct policy_file {
    const char *name;
    yaml_parser_t parser;
    yaml_event_t event;
    struct hc_rules *rules;
};

static void policy_file_clear(struct policy_file *file)
{
    yaml_event_delete(&file->event);
    yaml_parser_delete(&file->parser);
    hc_rules_release(file->rules);
}

HC_DEFINE_AUTO_VALUE(policy_file, policy_file_clear)

/* ---- failures ---------------------------------------------------------------------- */

static int fail_at(const struct policy_file *file, const yaml_mark_t *mark,
                   struct hc_error *err, const char *format, ...) HC_PRINTF(4, 5);

static int fail_at(const struct policy_file *file, const yaml_mark_t *mark,
                   struct hc_error *err, const char *format, ...)
{
    char text[384];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hc_fail_field(err, HC_INVALID_OPTIONS, "policy", "%s:%zu:%zu: %s", file->name,
                         mark->line + 1, mark->column + 1, text);
}

/* At the current event. */
#define file_fail(file, err, ...)                                                        \
    fail_at((file), &(file)->event.start_mark, (err), __VA_ARGS__)

static unsigned file_line(const struct policy_file *file)
{
    return (unsigned)file->event.start_mark.line + 1;
}

/* ---- events ------------------------------------------------------------------------ */

static bool event_has_extras(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor || event->data.mapping_start.tag;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static int file_next(struct policy_file *file, struct hc_error *err)
{
    yaml_event_delete(&file->event);
    if (!yaml_parser_parse(&file->parser, &file->event)) {
        memset(&file->event, 0, sizeof file->event);
        return file->parser.error == YAML_MEMORY_ERROR
                   ? hc_fail_memory(err)
                   : fail_at(file, &file->parser.problem_mark, err, "%s",
                             file->parser.problem ? file->parser.problem
                                                  : "this is no YAML");
    }
    if (event_has_extras(&file->event))
        return file_fail(file, err, "a policy has no anchors, aliases or tags");
    return 0;
}

static int file_expect(const struct policy_file *file, yaml_event_type_t type,
                       const char *what, struct hc_error *err)
{
    return file->event.type == type ? 0 : file_fail(file, err, "this must be %s", what);
}

/* The text of the current event, borrowed until the next. */
static const char *file_text(const struct policy_file *file, struct hc_error *err)
{
    const yaml_event_t *event = &file->event;
    const char *text = (const char *)event->data.scalar.value;

    if (file_expect(file, YAML_SCALAR_EVENT, "a text", err) < 0)
        return NULL;
    if (event->data.scalar.length == 0)
        (void)file_fail(file, err, "this must be a text, and is empty");
    else if (strlen(text) != event->data.scalar.length || !hc_text_is_printable(text))
        (void)file_fail(file, err, "this text has control characters");
    else if (event->data.scalar.length > TEXT_MAX)
        (void)file_fail(file, err, "this text has more than %d bytes", TEXT_MAX);
    else
        return text;
    return NULL;
}

/* ---- mappings ---------------------------------------------------------------------- */

/* A key of the schema. `read` reads the value, which begins at the current event and ends
 * at it, into `target`. */
struct key {
    const char *name;
    int (*read)(struct policy_file *file, void *target, struct hc_error *err);
};

static const struct key *key_find(const struct key *keys, const char *name)
{
    for (; keys->name; keys++) {
        if (strcmp(keys->name, name) == 0)
            return keys;
    }
    return NULL;
}

static int fail_unknown_key(const struct policy_file *file, const struct key *keys,
                            const char *name, struct hc_error *err)
{
    char shown[64], known[256] = "";
    size_t used = 0;

    hc_text_excerpt(shown, sizeof shown, name);
    for (; keys->name; keys++) {
        int length = hc_format(known + used, sizeof known - used, "%s%s",
                               used ? ", " : "", keys->name);

        if (length < 0)
            break;
        used += (size_t)length;
    }
    return file_fail(file, err, "there is no key '%s' here; there are: %s", shown, known);
}

/* One key and its value. `*seen` has a bit for each key that was there before. */
static int mapping_read_pair(struct policy_file *file, const struct key *keys,
                             void *target, uint32_t *seen, struct hc_error *err)
{
    const char *name = file_text(file, err);
    const struct key *key;
    uint32_t bit;

    if (!name)
        return -1;
    key = key_find(keys, name);
    if (!key)
        return fail_unknown_key(file, keys, name, err);
    bit = UINT32_C(1) << (key - keys);
    if (*seen & bit)
        return file_fail(file, err, "the key '%s' is here twice", key->name);
    *seen |= bit;
    if (file_next(file, err) < 0)
        return -1;
    return key->read(file, target, err);
}

/*
 * The mapping that begins at the current event, to its end. The keys before the first row
 * of `optional` have to be there.
 */
static int mapping_read(struct policy_file *file, const struct key *keys, size_t required,
                        void *target, struct hc_error *err)
{
    yaml_mark_t start = file->event.start_mark;
    uint32_t seen = 0;

    if (file_expect(file, YAML_MAPPING_START_EVENT, "a mapping, 'key: value'", err) < 0)
        return -1;
    for (;;) {
        if (file_next(file, err) < 0)
            return -1;
        if (file->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (mapping_read_pair(file, keys, target, &seen, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < required; i++) {
        if (!(seen & UINT32_C(1) << i))
            return fail_at(file, &start, err, "the key '%s' is missing", keys[i].name);
    }
    return 0;
}

/* ---- lists ------------------------------------------------------------------------- */

/* Calls `add` for each item of the list that begins at the current event, up to its
 * end. */
static int list_read(struct policy_file *file,
                     int (*add)(struct policy_file *file, void *target,
                                struct hc_error *err),
                     void *target, struct hc_error *err)
{
    if (file_expect(file, YAML_SEQUENCE_START_EVENT, "a list, [a, b]", err) < 0)
        return -1;
    for (;;) {
        if (file_next(file, err) < 0)
            return -1;
        if (file->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        if (add(file, target, err) < 0)
            return -1;
    }
}

/* At the end of a list that narrows a rule. */
static int list_check_some(const struct policy_file *file, size_t count,
                           struct hc_error *err)
{
    return count > 0
               ? 0
               : file_fail(file, err, "an empty list matches nothing; leave the key out");
}

static int glob_check(const struct policy_file *file, const char *glob,
                      const struct hc_strings *list, struct hc_error *err)
{
    if (strlen(glob) > HC_GLOB_MAX)
        return file_fail(file, err, "a glob has %d bytes at most", HC_GLOB_MAX);
    if (list->count == HC_GLOBS_MAX)
        return file_fail(file, err, "a list has %d globs at most", HC_GLOBS_MAX);
    return 0;
}

static int globs_add(struct policy_file *file, void *target, struct hc_error *err)
{
    const char *glob = file_text(file, err);

    if (!glob || glob_check(file, glob, target, err) < 0)
        return -1;
    return hc_strings_add(target, glob, err);
}

static int read_globs(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_globs *globs = target;

    if (list_read(file, globs_add, &globs->texts, err) < 0)
        return -1;
    return list_check_some(file, globs->texts.count, err);
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

static int callers_add(struct policy_file *file, void *target, struct hc_error *err)
{
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    if (strcmp(text, "group:") == 0)
        return file_fail(file, err, "'group:' is followed by a glob of groups");
    if (hc_text_starts(text, "kind:") && !caller_kind_is_known(text + strlen("kind:")))
        return file_fail(file, err,
                         "'kind:' is followed by token, jwt, uid or certificate, and "
                         "perhaps ':' and a glob of names");
    return globs_add(file, target, err);
}

static int read_callers(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_callers *callers = target;

    if (list_read(file, callers_add, &callers->texts, err) < 0)
        return -1;
    return list_check_some(file, callers->texts.count, err);
}

/* ---- scalars ----------------------------------------------------------------------- */

static int read_text(struct policy_file *file, char **value, struct hc_error *err)
{
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    *value = hc_text_copy(text, err);
    return *value ? 0 : -1;
}

static int read_bool(struct policy_file *file, bool *value, struct hc_error *err)
{
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    *value = strcmp(text, "true") == 0;
    if (*value || strcmp(text, "false") == 0)
        return 0;
    return file_fail(file, err, "this must be true or false");
}

static int read_size(struct policy_file *file, uint64_t *value, struct hc_error *err)
{
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    if (hc_size_parse(text, value) == 0 && *value > 0)
        return 0;
    return file_fail(file, err, "this must be a size such as 500M, 10G or 2T");
}

static int read_duration(struct policy_file *file, int64_t *value, struct hc_error *err)
{
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    if (hc_duration_parse(text, value) == 0)
        return 0;
    return file_fail(file, err, "this must be a duration such as 60s, 5m, 1h or 30d");
}

static int read_type(const struct policy_file *file, enum hc_repo_type *type,
                     struct hc_error *err)
{
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    *type = hc_repo_type_from_name(text);
    if (*type != HC_REPO_DEFAULT)
        return 0;
    return file_fail(file, err, "this must be model, dataset, space or kernel");
}

/* A repo's id, or what is used as one. */
static int read_repo_id(struct policy_file *file, char **value, struct hc_error *err)
{
    const char *text = file_text(file, err);
    struct hc_repo repo;
    struct hc_error cause;

    if (!text)
        return -1;
    if (hc_repo_init(&repo, HC_REPO_MODEL, text, &cause) < 0)
        return file_fail(file, err, "%s", cause.message);
    return read_text(file, value, err);
}

static int read_revision(struct policy_file *file, char **value, struct hc_error *err)
{
    const char *text = file_text(file, err);
    struct hc_error cause;

    if (!text)
        return -1;
    if (hc_revision_check(text, &cause) < 0)
        return file_fail(file, err, "%s", cause.message);
    return read_text(file, value, err);
}

/* ---- a rule ------------------------------------------------------------------------ */

#define RULE_KEY(key, reader)                                                            \
    static int rule_read_##key(struct policy_file *file, void *rule,                     \
                               struct hc_error *err)                                     \
    {                                                                                    \
        return reader(file, &((struct hc_rule *)rule)->key, err);                        \
    }

RULE_KEY(callers, read_callers)
RULE_KEY(repos, read_globs)
RULE_KEY(revisions, read_globs)
RULE_KEY(files, read_globs)
RULE_KEY(require_commit, read_bool)
RULE_KEY(offline, read_bool)
RULE_KEY(max_file_size, read_size)
RULE_KEY(max_snapshot_size, read_size)
RULE_KEY(token_file, read_text)
RULE_KEY(caller_token, read_bool)

static bool rule_name_is_valid(const char *name)
{
    return strlen(name) <= HC_RULE_NAME_MAX &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789._/:-")] == '\0';
}

static int rule_read_name(struct policy_file *file, void *target, struct hc_error *err)
{
    const struct hc_rules *rules = file->rules;
    struct hc_rule *rule = target;
    const char *name = file_text(file, err);

    if (!name)
        return -1;
    if (!rule_name_is_valid(name))
        return file_fail(file, err,
                         "a name has %d bytes at most, of letters, digits and "
                         "'.', '_', '/', ':', '-'",
                         HC_RULE_NAME_MAX);
    for (size_t i = 0; i < rules->count; i++) {
        const struct hc_rule *other = &rules->items[i];

        if (other->name && strcmp(other->name, name) == 0)
            return file_fail(file, err, "the rule of line %u has the name '%s', too",
                             other->line, name);
    }
    return read_text(file, &rule->name, err);
}

static int rule_read_message(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_rule *rule = target;

    if (read_text(file, &rule->message, err) < 0)
        return -1;
    if (strlen(rule->message) <= HC_RULE_MESSAGE_MAX)
        return 0;
    return file_fail(file, err, "a message has %d bytes at most", HC_RULE_MESSAGE_MAX);
}

static int rule_read_action(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_rule *rule = target;
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    for (int action = HC_RULE_ALLOW; action <= HC_RULE_ADMIN; action++) {
        rule->action = (enum hc_rule_action)action;
        if (strcmp(text, hc_rule_action_name(rule->action)) == 0)
            return 0;
    }
    return file_fail(file, err, "an action is allow, deny or admin");
}

static int types_add(struct policy_file *file, void *target, struct hc_error *err)
{
    unsigned *types = target;
    enum hc_repo_type type;

    if (read_type(file, &type, err) < 0)
        return -1;
    if (*types & 1U << type)
        return file_fail(file, err, "'%s' is in the list twice", hc_repo_type_name(type));
    *types |= 1U << type;
    return 0;
}

static int rule_read_types(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_rule *rule = target;

    if (list_read(file, types_add, &rule->types, err) < 0)
        return -1;
    return list_check_some(file, rule->types, err);
}

static int rule_read_max_staleness(struct policy_file *file, void *target,
                                   struct hc_error *err)
{
    struct hc_rule *rule = target;

    rule->has_max_staleness = true;
    return read_duration(file, &rule->max_staleness_ms, err);
}

static int rule_read_retention(struct policy_file *file, void *rule, struct hc_error *err)
{
    return read_duration(file, &((struct hc_rule *)rule)->retention_ms, err);
}

/* What a URL is, the Hub's client says: hc_resolver_load_policy() asks it. */
static int rule_read_endpoint(struct policy_file *file, void *target,
                              struct hc_error *err)
{
    struct hc_rule *rule = target;

    rule->endpoint_line = file_line(file);
    rule->endpoint_column = (unsigned)file->event.start_mark.column + 1;
    return read_text(file, &rule->endpoint, err);
}

/* The first two have to be there. */
static const struct key rule_keys[] = {
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
    {"retention", rule_read_retention},
    {NULL, NULL},
};

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
static int rule_check_endpoint(const struct policy_file *file, const struct hc_rule *rule,
                               const yaml_mark_t *start, struct hc_error *err)
{
    if (!rule->endpoint)
        return 0;
    if (rule->revisions.texts.count > 0)
        return fail_at(file, start, err,
                       "an endpoint has all revisions of a repo: leave 'revisions' out, "
                       "or 'endpoint'");
    if (rule->callers.texts.count > 0 && rule->repos.texts.count == 0)
        return fail_at(file, start, err,
                       "an endpoint is where a repo comes from for every caller: with "
                       "'callers', name the 'repos'");
    return 0;
}

static int rule_check(const struct policy_file *file, const struct hc_rule *rule,
                      const yaml_mark_t *start, struct hc_error *err)
{
    const char *idle = rule_find_idle_key(rule);
    const char *kind = "with files";

    if (!idle)
        return rule_check_endpoint(file, rule, start, err);
    if (rule->action == HC_RULE_DENY)
        kind = "that denies";
    else if (rule->action == HC_RULE_ADMIN)
        kind = "of administrators";
    return fail_at(file, start, err, "'%s' has no effect in a rule %s", idle, kind);
}

/* ---- aliases, quotas, keep --------------------------------------------------------- */

static int named_read_repo(struct policy_file *file, void *named, struct hc_error *err)
{
    return read_repo_id(file, &((struct hc_named_revision *)named)->repo_id, err);
}

static int named_read_type(struct policy_file *file, void *named, struct hc_error *err)
{
    return read_type(file, &((struct hc_named_revision *)named)->type, err);
}

static int named_read_revision(struct policy_file *file, void *named,
                               struct hc_error *err)
{
    return read_revision(file, &((struct hc_named_revision *)named)->revision, err);
}

/* Of an alias both are required, of `keep` the first. */
static const struct key named_keys[] = {
    {"repo", named_read_repo},
    {"revision", named_read_revision},
    {"type", named_read_type},
    {NULL, NULL},
};

static int quota_read_callers(struct policy_file *file, void *quota, struct hc_error *err)
{
    return read_callers(file, &((struct hc_quota *)quota)->callers, err);
}

static int quota_read_bytes(struct policy_file *file, void *quota, struct hc_error *err)
{
    return read_size(file, &((struct hc_quota *)quota)->bytes, err);
}

static const struct key quota_keys[] = {
    {"callers", quota_read_callers},
    {"bytes", quota_read_bytes},
    {NULL, NULL},
};

/* ---- the lists of the file --------------------------------------------------------- */

/* A new zeroed element at the end of an array, whose owner frees it; NULL. */
static void *array_add(void **items, size_t *count, size_t size, struct hc_error *err)
{
    void *grown = *items;

    /* Doubles at powers of two, so that no capacity needs to be kept. */
    if ((*count & (*count - 1)) == 0)
        grown = reallocarray(*items, *count ? *count * 2 : 1, size);
    if (!grown) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    *items = grown;
    grown = (char *)grown + *count * size;
    memset(grown, 0, size);
    ++*count;
    return grown;
}

static int list_check_room(const struct policy_file *file, size_t count, size_t most,
                           struct hc_error *err)
{
    return count < most ? 0
                        : file_fail(file, err, "this list has %zu items at most", most);
}

/* The element is part of the rules before it is filled: they own it. */
static int rules_add(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    yaml_mark_t start = file->event.start_mark;
    void *items = rules->items;
    struct hc_rule *rule;

    if (list_check_room(file, rules->count, HC_RULES_MAX, err) < 0)
        return -1;
    rule = array_add(&items, &rules->count, sizeof *rule, err);
    rules->items = items;
    if (!rule)
        return -1;
    rule->line = file_line(file);
    if (mapping_read(file, rule_keys, 2, rule, err) < 0)
        return -1;
    return rule_check(file, rule, &start, err);
}

static int quotas_add(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    void *items = rules->quotas;
    struct hc_quota *quota;

    if (list_check_room(file, rules->quota_count, HC_QUOTAS_MAX, err) < 0)
        return -1;
    quota = array_add(&items, &rules->quota_count, sizeof *quota, err);
    rules->quotas = items;
    if (!quota)
        return -1;
    quota->line = file_line(file);
    return mapping_read(file, quota_keys, 2, quota, err);
}

static bool named_is_same(const struct hc_named_revision *first,
                          const struct hc_named_revision *second)
{
    return first->type == second->type && strcmp(first->repo_id, second->repo_id) == 0 &&
           strcmp(first->revision, second->revision) == 0;
}

static int named_complete(struct hc_named_revision *named, struct hc_error *err)
{
    if (named->type == HC_REPO_DEFAULT)
        named->type = HC_REPO_MODEL;
    if (!named->revision)
        named->revision = hc_text_copy("main", err);
    return named->revision ? 0 : -1;
}

static int keep_add(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    yaml_mark_t start = file->event.start_mark;
    void *items = rules->keep;
    struct hc_named_revision *kept;

    if (list_check_room(file, rules->keep_count, HC_KEPT_MAX, err) < 0)
        return -1;
    kept = array_add(&items, &rules->keep_count, sizeof *kept, err);
    rules->keep = items;
    if (!kept)
        return -1;
    kept->line = file_line(file);
    if (mapping_read(file, named_keys, 1, kept, err) < 0 || named_complete(kept, err) < 0)
        return -1;
    for (struct hc_named_revision *other = rules->keep; other < kept; other++) {
        if (named_is_same(other, kept))
            return fail_at(file, &start, err, "line %u keeps this, too", other->line);
    }
    return 0;
}

/* Keys of the mapping `aliases` are names, so it is not read by a table. */
static int aliases_read_pair(struct policy_file *file, struct hc_error *err)
{
    struct hc_rules *rules = file->rules;
    void *items = rules->aliases;
    struct hc_named_revision *alias;

    if (list_check_room(file, rules->alias_count, HC_ALIASES_MAX, err) < 0)
        return -1;
    alias = array_add(&items, &rules->alias_count, sizeof *alias, err);
    rules->aliases = items;
    if (!alias)
        return -1;
    alias->line = file_line(file);
    if (read_repo_id(file, &alias->name, err) < 0)
        return -1;
    for (struct hc_named_revision *other = rules->aliases; other < alias; other++) {
        if (strcmp(other->name, alias->name) == 0)
            return file_fail(file, err, "the key '%s' is here twice", alias->name);
    }
    if (file_next(file, err) < 0 || mapping_read(file, named_keys, 2, alias, err) < 0)
        return -1;
    return named_complete(alias, err);
}

static int file_read_aliases(struct policy_file *file, void *target, struct hc_error *err)
{
    (void)target;
    if (file_expect(file, YAML_MAPPING_START_EVENT,
                    "a mapping, 'name: {repo: …, revision: …}'", err) < 0)
        return -1;
    for (;;) {
        if (file_next(file, err) < 0)
            return -1;
        if (file->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (aliases_read_pair(file, err) < 0)
            return -1;
    }
}

static int file_read_version(struct policy_file *file, void *target, struct hc_error *err)
{
    const char *text = file_text(file, err);

    (void)target;
    if (!text)
        return -1;
    return strcmp(text, "1") == 0
               ? 0
               : file_fail(file, err, "this hubcache reads version 1 of policies");
}

static int file_read_default(struct policy_file *file, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    const char *text = file_text(file, err);

    if (!text)
        return -1;
    rules->denies = strcmp(text, "deny") == 0;
    return rules->denies || strcmp(text, "allow") == 0
               ? 0
               : file_fail(file, err, "the default is allow or deny");
}

static int file_read_rules(struct policy_file *file, void *rules, struct hc_error *err)
{
    return list_read(file, rules_add, rules, err);
}

static int file_read_quotas(struct policy_file *file, void *rules, struct hc_error *err)
{
    return list_read(file, quotas_add, rules, err);
}

static int file_read_keep(struct policy_file *file, void *rules, struct hc_error *err)
{
    return list_read(file, keep_add, rules, err);
}

static const struct key file_keys[] = {
    {"version", file_read_version},
    {"default", file_read_default},
    {"rules", file_read_rules},
    {"aliases", file_read_aliases},
    {"quotas", file_read_quotas},
    {"keep", file_read_keep},
    {NULL, NULL},
};

/* ---- the whole --------------------------------------------------------------------- */

/* What an alias stands for is a repo: a chain of names would hide which. */
static int file_check_aliases(const struct policy_file *file, struct hc_error *err)
{
    const struct hc_rules *rules = file->rules;

    for (size_t i = 0; i < rules->alias_count; i++) {
        const struct hc_named_revision *alias = &rules->aliases[i];
        yaml_mark_t mark = {.line = alias->line - 1};

        if (hc_rules_find_alias(rules, alias->repo_id))
            return fail_at(file, &mark, err, "'%s' stands for '%s', which is an alias",
                           alias->name, alias->repo_id);
    }
    return 0;
}

static int file_read_document(struct policy_file *file, struct hc_error *err)
{
    if (file_next(file, err) < 0) /* the stream begins */
        return -1;
    if (file_next(file, err) < 0)
        return -1;
    if (file->event.type == YAML_STREAM_END_EVENT)
        return file_fail(file, err, "the policy is empty; write 'version: 1'");
    if (file_next(file, err) < 0 ||
        mapping_read(file, file_keys, 1, file->rules, err) < 0 ||
        file_next(file, err) < 0 || file_next(file, err) < 0)
        return -1;
    if (file->event.type != YAML_STREAM_END_EVENT)
        return file_fail(file, err, "a policy is one document");
    if (hc_rules_compile(file->rules, err) < 0)
        return -1;
    return file_check_aliases(file, err);
}

struct hc_rules *hc_rules_parse(const char *text, size_t size, const char *name,
                                struct hc_error *err)
{
    HC_AUTO_VALUE(policy_file) file = {.name = name};

    file.rules = hc_rules_new(err);
    if (!file.rules)
        return NULL;
    if (!yaml_parser_initialize(&file.parser)) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    yaml_parser_set_input_string(&file.parser, (const unsigned char *)text, size);
    return file_read_document(&file, err) < 0 ? NULL : hc_take(&file.rules);
}

struct hc_rules *hc_rules_read(const char *path, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = hc_file_open_linked(AT_FDCWD, path);
    HC_AUTO_FREE char *text = fd >= 0 ? malloc(HC_RULES_FILE_MAX + 1) : NULL;
    ssize_t size = text ? hc_file_read_all(fd, text, HC_RULES_FILE_MAX + 1) : -1;

    if (fd >= 0 && !text) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (size >= 0 && size <= HC_RULES_FILE_MAX)
        return hc_rules_parse(text, (size_t)size, path, err);
    (void)hc_fail_field(err, HC_INVALID_OPTIONS, "policy",
                        "cannot read the policy '%s': %s", path,
                        size < 0 ? strerrordesc_np(errno) : "it has more than 1 MiB");
    return NULL;
}
