/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of the policy file, but for that of a rule (rule_reader.h). Each element of
 * a list belongs to the rules before it is filled, so that it is freed with them when the
 * file is wrong.
 */
#include "rules_file.h"

#include "rule_reader.h"
#include "yaml_reader.h"

#include <base/file.h>
#include <base/list.h>
#include <repo/name.h>
#include <repo/repo.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* ---- aliases, quotas, keep --------------------------------------------------------- */

/* A repo's id, or what is used as one. */
static int repo_id_read(struct hc_yaml_reader *yaml, char **value, struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);
    struct hc_repo repo;
    struct hc_error cause;

    if (!text)
        return -1;
    if (hc_repo_init(&repo, HC_REPO_MODEL, text, &cause) < 0)
        return hc_yaml_fail(yaml, err, "%s", cause.message);
    return hc_yaml_read_text(yaml, value, err);
}

static int revision_read(struct hc_yaml_reader *yaml, char **value, struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);
    struct hc_error cause;

    if (!text)
        return -1;
    if (hc_revision_check(text, &cause) < 0)
        return hc_yaml_fail(yaml, err, "%s", cause.message);
    return hc_yaml_read_text(yaml, value, err);
}

static int named_read_repo(struct hc_yaml_reader *yaml, void *named, struct hc_error *err)
{
    return repo_id_read(yaml, &((struct hc_named_revision *)named)->repo_id, err);
}

static int named_read_type(struct hc_yaml_reader *yaml, void *named, struct hc_error *err)
{
    return hc_repo_type_read(yaml, &((struct hc_named_revision *)named)->type, err);
}

static int named_read_revision(struct hc_yaml_reader *yaml, void *named,
                               struct hc_error *err)
{
    return revision_read(yaml, &((struct hc_named_revision *)named)->revision, err);
}

/* Of an alias both are required, of `keep` the first. */
static const struct hc_yaml_key named_keys[] = {
    {"repo", named_read_repo},
    {"revision", named_read_revision},
    {"type", named_read_type},
    {NULL, NULL},
};

static int quota_read_callers(struct hc_yaml_reader *yaml, void *quota,
                              struct hc_error *err)
{
    return hc_callers_read(yaml, &((struct hc_quota *)quota)->callers, err);
}

static int quota_read_bytes(struct hc_yaml_reader *yaml, void *quota,
                            struct hc_error *err)
{
    return hc_yaml_read_size(yaml, &((struct hc_quota *)quota)->bytes, err);
}

static const struct hc_yaml_key quota_keys[] = {
    {"callers", quota_read_callers},
    {"bytes", quota_read_bytes},
    {NULL, NULL},
};

/* ---- the lists of the file --------------------------------------------------------- */

/* The array with one zeroed element more, which the caller counts, unless it has the
 * most already; NULL. */
static void *list_grow(const struct hc_yaml_reader *yaml, void *items, size_t count,
                       size_t most, size_t size, struct hc_error *err)
{
    char *grown;

    if (count == most) {
        (void)hc_yaml_fail(yaml, err, "this list has %zu items at most", most);
        return NULL;
    }
    grown = hc_list_grow(items, count, size, err);
    if (grown)
        memset(grown + count * size, 0, size);
    return grown;
}

static int rules_add(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    struct hc_rule *items =
        list_grow(yaml, rules->items, rules->count, HC_RULES_MAX, sizeof *items, err);

    if (!items)
        return -1;
    rules->items = items;
    items[rules->count++].line = hc_yaml_place(yaml).line;
    return hc_rule_read(yaml, rules, err);
}

static int quotas_add(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    struct hc_quota *quotas = list_grow(yaml, rules->quotas, rules->quota_count,
                                        HC_QUOTAS_MAX, sizeof *quotas, err);
    struct hc_quota *quota;

    if (!quotas)
        return -1;
    rules->quotas = quotas;
    quota = &quotas[rules->quota_count++];
    quota->line = hc_yaml_place(yaml).line;
    return hc_yaml_read_mapping(yaml, quota_keys, 2, quota, err);
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

static int keep_add(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    struct hc_yaml_place start = hc_yaml_place(yaml);
    struct hc_named_revision *items =
        list_grow(yaml, rules->keep, rules->keep_count, HC_KEPT_MAX, sizeof *items, err);
    struct hc_named_revision *kept;

    if (!items)
        return -1;
    rules->keep = items;
    kept = &items[rules->keep_count++];
    kept->line = start.line;
    kept->column = start.column;
    if (hc_yaml_read_mapping(yaml, named_keys, 1, kept, err) < 0 ||
        named_complete(kept, err) < 0)
        return -1;
    for (const struct hc_named_revision *other = items; other < kept; other++) {
        if (named_is_same(other, kept))
            return hc_yaml_fail_at(yaml, start, err, "line %u keeps this, too",
                                   other->line);
    }
    return 0;
}

static int aliases_add(struct hc_yaml_reader *yaml, void *target, struct hc_error *err)
{
    struct hc_rules *rules = target;
    struct hc_named_revision *items = list_grow(yaml, rules->aliases, rules->alias_count,
                                                HC_ALIASES_MAX, sizeof *items, err);
    struct hc_named_revision *alias;

    if (!items)
        return -1;
    rules->aliases = items;
    alias = &items[rules->alias_count++];
    alias->line = hc_yaml_place(yaml).line;
    alias->column = hc_yaml_place(yaml).column;
    if (repo_id_read(yaml, &alias->name, err) < 0)
        return -1;
    for (const struct hc_named_revision *other = items; other < alias; other++) {
        if (strcmp(other->name, alias->name) == 0)
            return hc_yaml_fail(yaml, err, "the key '%s' is here twice", alias->name);
    }
    if (hc_yaml_next(yaml, err) < 0 ||
        hc_yaml_read_mapping(yaml, named_keys, 2, alias, err) < 0)
        return -1;
    return named_complete(alias, err);
}

static int file_read_aliases(struct hc_yaml_reader *yaml, void *rules,
                             struct hc_error *err)
{
    return hc_yaml_read_names(yaml, "a mapping, 'name: {repo: …, revision: …}'",
                              aliases_add, rules, err);
}

static int file_read_version(struct hc_yaml_reader *yaml, void *target,
                             struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);

    (void)target;
    if (!text)
        return -1;
    return strcmp(text, "1") == 0
               ? 0
               : hc_yaml_fail(yaml, err, "this hubcache reads version 1 of policies");
}

static int file_read_default(struct hc_yaml_reader *yaml, void *target,
                             struct hc_error *err)
{
    struct hc_rules *rules = target;
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    rules->denies = strcmp(text, "deny") == 0;
    return rules->denies || strcmp(text, "allow") == 0
               ? 0
               : hc_yaml_fail(yaml, err, "the default is allow or deny");
}

static int file_read_rules(struct hc_yaml_reader *yaml, void *rules, struct hc_error *err)
{
    return hc_yaml_read_list(yaml, rules_add, rules, err);
}

static int file_read_quotas(struct hc_yaml_reader *yaml, void *rules,
                            struct hc_error *err)
{
    return hc_yaml_read_list(yaml, quotas_add, rules, err);
}

static int file_read_keep(struct hc_yaml_reader *yaml, void *rules, struct hc_error *err)
{
    return hc_yaml_read_list(yaml, keep_add, rules, err);
}

static const struct hc_yaml_key file_keys[] = {
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
static int rules_check_aliases(const struct hc_rules *rules,
                               const struct hc_yaml_reader *yaml, struct hc_error *err)
{
    for (size_t i = 0; i < rules->alias_count; i++) {
        const struct hc_named_revision *alias = &rules->aliases[i];
        const struct hc_target target = {.id = alias->repo_id, .type = alias->type};
        const struct hc_yaml_place place = {alias->line, alias->column};
        const struct hc_named_revision *other;

        if (hc_rules_find_alias(rules, &target, &other, err) == 1)
            return hc_yaml_fail_at(yaml, place, err,
                                   "'%s' stands for '%s', which is an alias", alias->name,
                                   alias->repo_id);
    }
    return 0;
}

/* What is kept by the name of an alias is what that stands for. */
static int kept_replace_alias(struct hc_named_revision *kept,
                              const struct hc_rules *rules, struct hc_error *err)
{
    const struct hc_target target = {.id = kept->repo_id,
                                     .type = kept->type,
                                     .revision = kept->revision};
    const struct hc_named_revision *alias;
    int found = hc_rules_find_alias(rules, &target, &alias, err);
    char *repo_id, *revision;

    if (found < 1)
        return found;
    repo_id = hc_text_copy(alias->repo_id, err);
    revision = repo_id ? hc_text_copy(alias->revision, err) : NULL;
    if (!revision) {
        free(repo_id);
        return -1;
    }
    free(kept->repo_id);
    free(kept->revision);
    kept->repo_id = repo_id;
    kept->revision = revision;
    return 0;
}

static int rules_replace_kept(const struct hc_rules *rules,
                              const struct hc_yaml_reader *yaml, struct hc_error *err)
{
    for (size_t i = 0; i < rules->keep_count; i++) {
        struct hc_named_revision *kept = &rules->keep[i];
        const struct hc_yaml_place place = {kept->line, kept->column};
        struct hc_error cause;

        if (kept_replace_alias(kept, rules, &cause) < 0)
            return hc_yaml_fail_at(yaml, place, err, "%s", cause.message);
    }
    return 0;
}

struct hc_rules *hc_rules_parse(const char *text, size_t size, const char *name,
                                struct hc_error *err)
{
    HC_AUTO(hc_yaml_reader) *yaml = hc_yaml_reader_new(text, size, name, err);
    HC_AUTO(hc_rules) *rules = yaml ? hc_rules_new(err) : NULL;

    if (!rules || hc_yaml_read_document(yaml, file_keys, 1, rules, err) < 0 ||
        hc_rules_compile(rules, err) < 0 || rules_check_aliases(rules, yaml, err) < 0 ||
        rules_replace_kept(rules, yaml, err) < 0)
        return NULL;
    return hc_take(&rules);
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
