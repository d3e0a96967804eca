/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list in the order of adding. Cleared rules stay in memory, for an answer may still be
 * under their influence.
 */
#include "hub_fault.h"

#include "hub_must.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct test_hub_rule rule; /* its strings are `strings` */
    char *strings[6];
    unsigned skipped;
    unsigned acted;
    bool is_cleared;
    struct entry *next;
};

struct hub_rules {
    pthread_mutex_t lock;
    struct {
        struct entry *first;
    } shared;
};

static bool matches(const struct entry *entry, const struct hub_asked *asked)
{
    const struct test_hub_rule *rule = &entry->rule;

    if (entry->is_cleared || rule->on_cdn != asked->on_cdn)
        return false;
    if (rule->method && strcmp(rule->method, asked->method) != 0)
        return false;
    if (rule->range && (!asked->range || !strstr(asked->range, rule->range)))
        return false;
    return !rule->contains || strstr(asked->target, rule->contains) != NULL;
}

/* Whether a rule that matches acts this time. */
static bool acts(struct entry *entry)
{
    if (entry->rule.times > 0 && entry->acted == entry->rule.times)
        return false;
    if (entry->skipped < entry->rule.skip) {
        entry->skipped++;
        return false;
    }
    entry->acted++;
    return true;
}

/* Whether the verdict has room for another rule of this kind. */
static bool has_room(const struct hub_verdict *verdict, enum test_hub_fault fault)
{
    if (fault == TEST_HUB_HEADER)
        return verdict->header_count < HUB_HEADER_RULES_MAX;
    return !verdict->rule;
}

struct hub_rules *hub_rules_new(void)
{
    struct hub_rules *rules = hub_must(calloc(1, sizeof *rules));

    (void)pthread_mutex_init(&rules->lock, NULL);
    return rules;
}

void hub_rules_free(struct hub_rules *rules)
{
    if (!rules)
        return;
    while (rules->shared.first) {
        struct entry *entry = rules->shared.first;

        rules->shared.first = entry->next;
        for (size_t i = 0; i < sizeof entry->strings / sizeof *entry->strings; i++)
            free(entry->strings[i]);
        free(entry);
    }
    (void)pthread_mutex_destroy(&rules->lock);
    free(rules);
}

void hub_rules_add(struct hub_rules *rules, const struct test_hub_rule *rule)
{
    struct entry *entry = hub_must(calloc(1, sizeof *entry));
    struct entry **end = &rules->shared.first;

    entry->rule = *rule;
    entry->rule.method = entry->strings[0] = hub_copy(rule->method);
    entry->rule.contains = entry->strings[1] = hub_copy(rule->contains);
    entry->rule.name = entry->strings[2] = hub_copy(rule->name);
    entry->rule.text = entry->strings[3] = hub_copy(rule->text);
    entry->rule.error_code = entry->strings[4] = hub_copy(rule->error_code);
    entry->rule.range = entry->strings[5] = hub_copy(rule->range);
    (void)pthread_mutex_lock(&rules->lock);
    while (*end)
        end = &(*end)->next;
    *end = entry;
    (void)pthread_mutex_unlock(&rules->lock);
}

void hub_rules_clear(struct hub_rules *rules)
{
    (void)pthread_mutex_lock(&rules->lock);
    for (struct entry *entry = rules->shared.first; entry; entry = entry->next)
        entry->is_cleared = true;
    (void)pthread_mutex_unlock(&rules->lock);
}

void hub_rules_judge(struct hub_rules *rules, const struct hub_asked *asked,
                     struct hub_verdict *verdict)
{
    *verdict = (struct hub_verdict){0};
    (void)pthread_mutex_lock(&rules->lock);
    for (struct entry *entry = rules->shared.first; entry; entry = entry->next) {
        if (!matches(entry, asked) || !has_room(verdict, entry->rule.fault) ||
            !acts(entry))
            continue;
        if (entry->rule.fault == TEST_HUB_HEADER)
            verdict->headers[verdict->header_count++] = &entry->rule;
        else
            verdict->rule = &entry->rule;
    }
    (void)pthread_mutex_unlock(&rules->lock);
}

bool hub_verdict_is(const struct hub_verdict *verdict, enum test_hub_fault fault)
{
    return verdict->rule && verdict->rule->fault == fault;
}
