/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is compared with each rule in turn. Most rules are refused by a probe: eight
 * bytes that the repo's id, or the caller's name, has to have at one place. The probes
 * are one array, so that a thousand rules cost a few microseconds. What is decided by
 * many rules is remembered for the next equal question (decision_memo.h).
 */
#include "rules.h"

#include "decision_memo.h"

#include <base/error.h>

#include <ctype.h>
#include <string.h>

/* Fewer rules are searched as quickly as the memo is. */
enum { MEMO_RULES_MIN = 64 };

/* What a text has to begin with: `need` bytes, of which the last eight are compared.
 * Zero: nothing. */
struct probe {
    uint64_t mask, value;
    uint16_t need, offset;
};

/* What the last eight bytes of a path have to be. Zero: anything. */
struct path_probe {
    uint64_t mask, value;
};

struct rule_probe {
    struct probe repo, caller;
    uint16_t like;     /* the first of the rules right before it with the same repos */
    bool needs_groups; /* it is for callers with some group, and for no other */
    bool is_for_all;   /* types, revisions and callers */
};

static void text_lower(char *text)
{
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* ---- probes ------------------------------------------------------------------------ */

/* The bytes before the first special character of a glob, without a "\" in them. */
static size_t glob_literal_length(const char *glob)
{
    return strcspn(glob, "*?[\\");
}

/* How many bytes all of the texts begin with. */
static size_t texts_common_length(const struct hc_strings *texts)
{
    size_t length = glob_literal_length(texts->items[0]);

    for (size_t i = 1; i < texts->count; i++) {
        const char *text = texts->items[i];
        size_t common = 0;

        while (common < length && text[common] == texts->items[0][common])
            common++;
        if (common > glob_literal_length(text))
            common = glob_literal_length(text);
        length = common;
    }
    return length;
}

static struct probe probe_of(const struct hc_strings *texts)
{
    size_t need = texts->count > 0 ? texts_common_length(texts) : 0;
    size_t bytes = need < HC_PROBE_BYTES ? need : HC_PROBE_BYTES;
    struct probe probe = {.need = (uint16_t)need, .offset = (uint16_t)(need - bytes)};

    if (bytes > 0) {
        memset(&probe.mask, 0xff, bytes);
        memcpy(&probe.value, texts->items[0] + probe.offset, bytes);
    }
    return probe;
}

/* How many bytes behind the last special character; a "*" follows a "/" at the end. */
static size_t glob_suffix_length(const char *glob)
{
    size_t length = strlen(glob), count = 0;

    if (length > 0 && glob[length - 1] == '/')
        return 0;
    while (count < length && !strchr("*?[]\\", glob[length - 1 - count]))
        count++;
    return count;
}

/* The last eight bytes, behind zeros if there are fewer. */
static uint64_t text_tail(const char *text)
{
    size_t length = strlen(text);
    size_t count = length < HC_PROBE_BYTES ? length : HC_PROBE_BYTES;
    char bytes[HC_PROBE_BYTES] = {0};
    uint64_t tail;

    memcpy(bytes + HC_PROBE_BYTES - count, text + length - count, count);
    memcpy(&tail, bytes, sizeof tail);
    return tail;
}

/* Of the bytes that all of the texts end with. */
static struct path_probe path_probe_of(const struct hc_strings *texts)
{
    unsigned char mask[HC_PROBE_BYTES] = {0};
    size_t count = texts->count > 0 ? HC_PROBE_BYTES : 0;
    uint64_t common = ~UINT64_C(0);
    struct path_probe probe;

    for (size_t i = 0; i < texts->count; i++) {
        size_t length = glob_suffix_length(texts->items[i]);

        count = length < count ? length : count;
        common &= ~(text_tail(texts->items[i]) ^ text_tail(texts->items[0]));
    }
    memset(mask + HC_PROBE_BYTES - count, 0xff, count);
    memcpy(&probe.mask, mask, sizeof mask);
    probe.mask &= common;
    probe.value = count > 0 ? text_tail(texts->items[0]) & probe.mask : 0;
    return probe;
}

/* Only names of callers: a group, a kind or "anonymous" is no beginning of a name. */
static bool callers_are_names(const struct hc_callers *callers)
{
    return callers->names && !callers->groups && !callers->kinds &&
           !callers->has_anonymous;
}

static bool callers_are_groups(const struct hc_callers *callers)
{
    return callers->groups && !callers->names && !callers->kinds &&
           !callers->has_anonymous;
}

static bool texts_are_equal(const struct hc_strings *one, const struct hc_strings *other)
{
    size_t i = 0;

    while (i < one->count && i < other->count &&
           strcmp(one->items[i], other->items[i]) == 0)
        i++;
    return i == one->count && i == other->count;
}

/* After those of the rules before it. */
static void rules_make_probe(struct hc_rules *rules, size_t number)
{
    const struct hc_rule *rule = &rules->items[number];
    struct rule_probe *probe = &rules->probes[number];

    *probe =
        (struct rule_probe){.repo = probe_of(&rule->repos.texts),
                            .needs_groups = callers_are_groups(&rule->callers),
                            .is_for_all = rule->types == 0 && !rule->revisions.filter &&
                                          rule->callers.texts.count == 0,
                            .like = (uint16_t)number};
    if (callers_are_names(&rule->callers))
        probe->caller = probe_of(&rule->callers.texts);
    if (number > 0 && texts_are_equal(&rule->repos.texts, &rule[-1].repos.texts))
        probe->like = probe[-1].like;
    rules->path_probes[number] = path_probe_of(&rule->files.texts);
}

static inline bool probe_passes(const struct probe *probe, const char *text,
                                size_t length)
{
    uint64_t word;

    memcpy(&word, text + (length < probe->need ? 0 : probe->offset), sizeof word);
    return length >= probe->need && (word & probe->mask) == probe->value;
}

/* ---- matching ---------------------------------------------------------------------- */

/* A filter takes a "\\" for a "/", which a probe does not. Zeros follow the text. */
static size_t text_put(char to[HC_SUBJECT_SIZE], const char *from, bool *is_unusual)
{
    size_t length = strnlen(from, HC_SUBJECT_SIZE - HC_PROBE_BYTES);

    if (length == HC_SUBJECT_SIZE - HC_PROBE_BYTES || memchr(from, '\\', length)) {
        *is_unusual = true;
        length = length < HC_SUBJECT_SIZE - HC_PROBE_BYTES ? length : length - 1;
    }
    memcpy(to, from, length);
    memset(to + length, 0, HC_PROBE_BYTES);
    return length;
}

void hc_rule_search_begin(struct hc_rule_search *search,
                          const struct hc_policy_question *question)
{
    const struct hc_identity *identity = question->identity;
    const char *name = identity && identity->name ? identity->name : "";

    search->question = question;
    search->next = 0;
    search->is_unusual = false;
    search->has_groups = identity && identity->group_count > 0;
    search->like = SIZE_MAX;
    search->repo_length = text_put(search->repo, question->repo_id, &search->is_unusual);
    text_lower(search->repo);
    search->caller_length = text_put(search->caller, name, &search->is_unusual);
}

static bool rule_matches_type(const struct hc_rule *rule, enum hc_repo_type type)
{
    return rule->types == 0 ||
           (rule->types & 1U << (type == HC_REPO_DEFAULT ? HC_REPO_MODEL : type)) != 0;
}

static bool rule_matches_kind(const struct hc_rule *rule,
                              const struct hc_policy_question *question)
{
    return rule_matches_type(rule, question->type) &&
           (!question->revision || hc_globs_match(&rule->revisions, question->revision));
}

static bool rule_matches_target(const struct hc_rule *rule,
                                const struct hc_policy_question *question,
                                const char *repo)
{
    return rule_matches_kind(rule, question) && hc_globs_match(&rule->repos, repo);
}

bool hc_rule_is_about(const struct hc_rule *rule,
                      const struct hc_policy_question *question)
{
    struct hc_rule_search texts;

    hc_rule_search_begin(&texts, question);
    return rule_matches_target(rule, question, texts.repo);
}

static bool search_probe(const struct hc_rule_search *search,
                         const struct rule_probe *probe)
{
    return (search->has_groups || !probe->needs_groups) &&
           (search->is_unusual ||
            (probe_passes(&probe->repo, search->repo, search->repo_length) &&
             probe_passes(&probe->caller, search->caller, search->caller_length)));
}

/* Rules in a row often have the same repos, which are compared once. */
static bool search_matches_repos(struct hc_rule_search *search, size_t like,
                                 const struct hc_globs *repos)
{
    if (search->like != like) {
        search->like = like;
        search->is_like = hc_globs_match(repos, search->repo);
    }
    return search->is_like;
}

size_t hc_rule_search_next(struct hc_rule_search *search, const struct hc_rules *rules)
{
    while (search->next < rules->count) {
        size_t number = search->next++;
        const struct rule_probe *probe = &rules->probes[number];
        const struct hc_rule *rule = &rules->items[number];

        if (search_probe(search, probe) &&
            search_matches_repos(search, probe->like, &rule->repos) &&
            (probe->is_for_all ||
             (rule_matches_kind(rule, search->question) &&
              hc_callers_match(&rule->callers, search->question->identity))))
            return number;
    }
    return rules->count;
}

const struct hc_rule *hc_rules_find_file(const struct hc_rules *rules,
                                         const uint16_t *numbers, size_t count,
                                         const char *path)
{
    uint64_t tail = text_tail(path);
    bool is_unusual = strchr(path, '\\') != NULL;

    for (size_t i = 0; i < count; i++) {
        const struct path_probe *probe = &rules->path_probes[numbers[i]];

        if ((is_unusual || (tail & probe->mask) == probe->value) &&
            hc_globs_match(&rules->items[numbers[i]].files, path))
            return &rules->items[numbers[i]];
    }
    return NULL;
}

static bool explain(char reason[256], const char *key, const char *value)
{
    char shown[160];

    hc_text_excerpt(shown, sizeof shown, value);
    (void)hc_format(reason, 256, "%s: none matches '%s'", key, shown);
    return false;
}

bool hc_rule_explain(const struct hc_rule *rule,
                     const struct hc_policy_question *question, const char *path,
                     char reason[256])
{
    const struct hc_identity *identity = question->identity;
    struct hc_rule_search texts;

    hc_rule_search_begin(&texts, question);
    if (!hc_callers_match(&rule->callers, identity))
        return explain(reason, "callers", identity ? identity->name : "anonymous");
    if (!hc_globs_match(&rule->repos, texts.repo))
        return explain(reason, "repos", question->repo_id);
    if (!rule_matches_type(rule, question->type))
        return explain(reason, "types",
                       hc_repo_type_name(question->type ? question->type
                                                        : HC_REPO_MODEL));
    if (question->revision && !hc_globs_match(&rule->revisions, question->revision))
        return explain(reason, "revisions", question->revision);
    if (path && !hc_globs_match(&rule->files, path))
        return explain(reason, "files", path);
    if (!path && rule->files.texts.count > 0) {
        (void)hc_format(reason, 256, "files: it is for single files");
        return false;
    }
    reason[0] = '\0';
    return true;
}

/* ---- aliases, quotas, retention, endpoints ----------------------------------------- */

static int alias_compare(const void *one, const void *other)
{
    const struct hc_named_revision *alias = one;
    const struct hc_named_revision *with = other;

    return strcmp(alias->name, with->name);
}

static int alias_compare_name(const void *name, const void *alias)
{
    return strcmp(name, ((const struct hc_named_revision *)alias)->name);
}

/* Whether the request names nothing that the alias does not stand for. */
static int alias_check_revision(const struct hc_named_revision *alias,
                                const char *revision, struct hc_error *err)
{
    if (!revision || !revision[0] || strcmp(revision, "main") == 0 ||
        strcmp(revision, alias->revision) == 0)
        return 1;
    return hc_fail_field(err, HC_INVALID_REVISION, "revision",
                         "'%s' is an alias, which stands for one revision: leave the "
                         "revision out, or ask for the repo by its own id",
                         alias->name);
}

int hc_rules_find_alias(const struct hc_rules *rules, const struct hc_target *target,
                        const struct hc_named_revision **alias, struct hc_error *err)
{
    *alias = rules && rules->alias_count > 0 && target->id
                 ? bsearch(target->id, rules->aliases, rules->alias_count,
                           sizeof *rules->aliases, alias_compare_name)
                 : NULL;
    if (!*alias || (target->type != HC_REPO_DEFAULT && target->type != (*alias)->type))
        return 0;
    return alias_check_revision(*alias, target->revision, err);
}

const struct hc_quota *hc_rules_find_quota(const struct hc_rules *rules,
                                           const struct hc_identity *identity)
{
    for (size_t i = 0; i < rules->quota_count; i++) {
        if (hc_callers_match(&rules->quotas[i].callers, identity))
            return &rules->quotas[i];
    }
    return NULL;
}

static bool rule_matches_revision(const struct hc_rule *rule, const char *const *names,
                                  size_t count)
{
    bool matches = !rule->revisions.filter;

    for (size_t i = 0; !matches && i < count; i++)
        matches = hc_globs_match(&rule->revisions, names[i]);
    return matches;
}

int64_t hc_rules_retention_ms(const struct hc_rules *rules, enum hc_repo_type type,
                              const char *repo_id, const char *const *names, size_t count)
{
    const struct hc_policy_question question = {.type = type, .repo_id = repo_id};
    struct hc_rule_search texts;
    int64_t longest = 0;

    hc_rule_search_begin(&texts, &question);
    for (size_t i = 0; i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];

        if (rule->retention_ms > longest && rule_matches_type(rule, type) &&
            hc_globs_match(&rule->repos, texts.repo) &&
            rule_matches_revision(rule, names, count))
            longest = rule->retention_ms;
    }
    return longest;
}

const struct hc_rule *hc_rules_find_endpoint(const struct hc_rules *rules,
                                             enum hc_repo_type type, const char *repo_id)
{
    const struct hc_policy_question question = {.type = type, .repo_id = repo_id};
    struct hc_rule_search texts;

    if (!rules->has_endpoints)
        return NULL;
    hc_rule_search_begin(&texts, &question);
    for (size_t i = 0; i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];

        if (rule->endpoint && rule_matches_target(rule, &question, texts.repo))
            return rule;
    }
    return NULL;
}

const char *hc_rule_action_name(enum hc_rule_action action)
{
    static const char *const names[] = {"allow", "deny", "admin"};

    return names[action];
}

/* ---- life -------------------------------------------------------------------------- */

struct hc_rules *hc_rules_new(struct hc_error *err)
{
    static atomic_uint generations;
    struct hc_rules *rules = calloc(1, sizeof *rules);

    if (!rules) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    atomic_store(&rules->holders, 1);
    rules->generation = atomic_fetch_add(&generations, 1) + 1;
    return rules;
}

static int rule_compile(struct hc_rule *rule, struct hc_error *err)
{
    for (size_t i = 0; i < rule->repos.texts.count; i++)
        text_lower(rule->repos.texts.items[i]);
    if (hc_callers_compile(&rule->callers, err) < 0 ||
        hc_globs_compile(&rule->repos, err) < 0 ||
        hc_globs_compile(&rule->revisions, err) < 0)
        return -1;
    return hc_globs_compile(&rule->files, err);
}

int hc_rules_compile(struct hc_rules *rules, struct hc_error *err)
{
    rules->probes = calloc(rules->count + 1, sizeof *rules->probes);
    rules->path_probes = calloc(rules->count + 1, sizeof *rules->path_probes);
    if (!rules->probes || !rules->path_probes)
        return hc_fail_memory(err);
    if (rules->count >= MEMO_RULES_MIN) {
        rules->memo = hc_decision_memo_new(err);
        if (!rules->memo)
            return -1;
    }
    for (size_t i = 0; i < rules->count; i++) {
        if (rule_compile(&rules->items[i], err) < 0)
            return -1;
        rules_make_probe(rules, i);
        rules->has_admin |= rules->items[i].action == HC_RULE_ADMIN;
        rules->has_endpoints |= rules->items[i].endpoint != NULL;
    }
    for (size_t i = 0; i < rules->quota_count; i++) {
        if (hc_callers_compile(&rules->quotas[i].callers, err) < 0)
            return -1;
    }
    if (rules->alias_count > 1)
        qsort(rules->aliases, rules->alias_count, sizeof *rules->aliases, alias_compare);
    return 0;
}

struct hc_rules *hc_rules_hold(struct hc_rules *rules)
{
    if (rules)
        atomic_fetch_add_explicit(&rules->holders, 1, memory_order_relaxed);
    return rules;
}

static void rule_clear(struct hc_rule *rule)
{
    free(rule->name);
    free(rule->message);
    free(rule->token_file);
    free(rule->endpoint);
    hc_callers_clear(&rule->callers);
    hc_globs_clear(&rule->repos);
    hc_globs_clear(&rule->revisions);
    hc_globs_clear(&rule->files);
}

static void named_revisions_free(struct hc_named_revision *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(items[i].name);
        free(items[i].repo_id);
        free(items[i].revision);
    }
    free(items);
}

void hc_rules_release(struct hc_rules *rules)
{
    if (!rules || atomic_fetch_sub(&rules->holders, 1) != 1)
        return;
    for (size_t i = 0; i < rules->count; i++)
        rule_clear(&rules->items[i]);
    for (size_t i = 0; i < rules->quota_count; i++)
        hc_callers_clear(&rules->quotas[i].callers);
    named_revisions_free(rules->aliases, rules->alias_count);
    named_revisions_free(rules->keep, rules->keep_count);
    free(rules->items);
    free(rules->quotas);
    free(rules->probes);
    free(rules->path_probes);
    hc_decision_memo_free(rules->memo);
    free(rules);
}
