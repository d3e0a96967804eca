/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules are a list, in the order in which they were added. Cleared rules stay in memory,
 * because answers that are being sent still point to them.
 */
#include "hub_rules.h"

#include "base/auto.h"
#include "hub_abort.h"
#include "hub_state.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct rule_entry {
    struct test_hub_rule rule; /* points to `strings` */
    char *strings[6];
    unsigned skipped;
    unsigned acted;
    bool is_cleared;
    struct rule_entry *next;
};

struct hub_rules {
    pthread_mutex_t lock;
    struct {
        struct rule_entry *first;
    } shared;
};

/* A rule member that is NULL does not restrict; the port always does. */
static bool rule_matches(const struct rule_entry *rule_entry,
                         const struct hub_request *request)
{
    const struct test_hub_rule *rule = &rule_entry->rule;

    if (rule_entry->is_cleared || rule->on_cdn != request->on_cdn)
        return false;
    if (rule->method && strcmp(rule->method, request->method) != 0)
        return false;
    if (rule->range && (!request->range || !strstr(request->range, rule->range)))
        return false;
    return !rule->contains || strstr(request->target, rule->contains) != NULL;
}

/* Counts a match; whether the rule acts on it. */
static bool rule_acts(struct rule_entry *rule_entry)
{
    if (rule_entry->rule.times > 0 && rule_entry->acted == rule_entry->rule.times)
        return false;
    if (rule_entry->skipped < rule_entry->rule.skip) {
        rule_entry->skipped++;
        return false;
    }
    rule_entry->acted++;
    return true;
}

/* Whether `faults` can take another rule of this kind. */
static bool faults_have_room(const struct hub_faults *faults, enum test_hub_fault fault)
{
    if (fault == TEST_HUB_HEADER)
        return faults->header_count < HUB_HEADER_RULES_MAX;
    return !faults->rule;
}

struct hub_rules *hub_rules_new(void)
{
    struct hub_rules *rules = hub_require(calloc(1, sizeof *rules));

    (void)pthread_mutex_init(&rules->lock, NULL);
    return rules;
}

void hub_rules_free(struct hub_rules *rules)
{
    if (!rules)
        return;
    while (rules->shared.first) {
        struct rule_entry *rule_entry = rules->shared.first;

        rules->shared.first = rule_entry->next;
        for (size_t i = 0; i < sizeof rule_entry->strings / sizeof *rule_entry->strings;
             i++)
            free(rule_entry->strings[i]);
        free(rule_entry);
    }
    (void)pthread_mutex_destroy(&rules->lock);
    free(rules);
}

/* Appends: the rule that was added first acts first. */
void hub_rules_add(struct hub_rules *rules, const struct test_hub_rule *rule)
{
    struct rule_entry *rule_entry = hub_require(calloc(1, sizeof *rule_entry));
    struct rule_entry **end = &rules->shared.first;

    rule_entry->rule = *rule;
    rule_entry->rule.method = rule_entry->strings[0] = hub_strdup(rule->method);
    rule_entry->rule.contains = rule_entry->strings[1] = hub_strdup(rule->contains);
    rule_entry->rule.name = rule_entry->strings[2] = hub_strdup(rule->name);
    rule_entry->rule.text = rule_entry->strings[3] = hub_strdup(rule->text);
    rule_entry->rule.error_code = rule_entry->strings[4] = hub_strdup(rule->error_code);
    rule_entry->rule.range = rule_entry->strings[5] = hub_strdup(rule->range);
    HC_LOCKED(&rules->lock);

    while (*end)
        end = &(*end)->next;
    *end = rule_entry;
}

void hub_rules_clear(struct hub_rules *rules)
{
    HC_LOCKED(&rules->lock);

    for (struct rule_entry *rule_entry = rules->shared.first; rule_entry;
         rule_entry = rule_entry->next)
        rule_entry->is_cleared = true;
}

void hub_rules_apply(struct hub_rules *rules, const struct hub_request *request,
                     struct hub_faults *faults)
{
    *faults = (struct hub_faults){0};
    HC_LOCKED(&rules->lock);

    for (struct rule_entry *rule_entry = rules->shared.first; rule_entry;
         rule_entry = rule_entry->next) {
        if (!rule_matches(rule_entry, request) ||
            !faults_have_room(faults, rule_entry->rule.fault) || !rule_acts(rule_entry))
            continue;
        if (rule_entry->rule.fault == TEST_HUB_HEADER)
            faults->headers[faults->header_count++] = &rule_entry->rule;
        else
            faults->rule = &rule_entry->rule;
    }
}

bool hub_faults_include(const struct hub_faults *faults, enum test_hub_fault fault)
{
    return faults->rule && faults->rule->fault == fault;
}
