/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The failure of the request is the explanation's message; each rule is then asked by
 * itself.
 */
#include "explanation.h"

#include <base/error.h>
#include <base/size.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void condition_add(struct hc_explanation *explanation, const char *format, ...)
    HC_PRINTF(2, 3);

static void condition_add(struct hc_explanation *explanation, const char *format, ...)
{
    va_list args;

    if (explanation->condition_count == HC_CONDITIONS_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(explanation->conditions[explanation->condition_count++],
                    HC_CONDITION_SIZE, format, args);
    va_end(args);
}

/* In the largest unit that has no fraction. */
static void condition_add_duration(struct hc_explanation *explanation, const char *key,
                                   int64_t ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;

    while (ms == 0 ? units[i].ms != 1000 : ms % units[i].ms != 0)
        i++;
    condition_add(explanation, "%s: %" PRId64 "%s", key, ms / units[i].ms, units[i].name);
}

/* As the file could have them. */
static void explanation_add_conditions(struct hc_explanation *explanation)
{
    const struct hc_rule *rule = explanation->rule;

    if (!rule)
        return;
    if (rule->require_commit)
        condition_add(explanation, "require_commit: true");
    if (rule->has_max_staleness)
        condition_add_duration(explanation, "max_staleness", rule->max_staleness_ms);
    if (rule->offline)
        condition_add(explanation, "offline: true");
    if (rule->max_file_size > 0)
        condition_add(explanation, "max_file_size: %" PRIu64, rule->max_file_size);
    if (rule->max_snapshot_size > 0)
        condition_add(explanation, "max_snapshot_size: %" PRIu64,
                      rule->max_snapshot_size);
    if (rule->token_file)
        condition_add(explanation, "token_file: %s", rule->token_file);
    if (rule->retention_ms > 0)
        condition_add_duration(explanation, "retention", rule->retention_ms);
}

/* Of the repo, which may be another rule's. */
static void explanation_add_endpoint(struct hc_explanation *explanation,
                                     const struct hc_policy_question *question)
{
    const struct hc_rule *rule =
        hc_rules_find_endpoint(explanation->rules, question->type, question->repo_id);

    if (!rule || !explanation->is_allowed)
        return;
    condition_add(explanation, "endpoint: %s", rule->endpoint);
    if (rule->caller_token)
        condition_add(explanation, "caller_token: true");
}

static void reason_fill(struct hc_rule_reason *reason,
                        const struct hc_explanation *explanation,
                        const struct hc_policy_question *question, const char *path)
{
    reason->matches = hc_rule_explain(reason->rule, question, path, reason->reason);
    if (!reason->matches && reason->rule == explanation->rule) {
        reason->matches = true;
        (void)hc_format(reason->reason, sizeof reason->reason, "decides about its files");
    }
    if (!reason->matches)
        return;
    (void)hc_format(reason->reason, sizeof reason->reason, "%s",
                    reason->rule == explanation->rule ? "decides"
                                                      : "an earlier rule decides");
}

static int explanation_add_reasons(struct hc_explanation *explanation,
                                   const struct hc_policy_question *question,
                                   const char *path, struct hc_error *err)
{
    const struct hc_rules *rules = explanation->rules;

    explanation->reasons = calloc(rules->count + 1, sizeof *explanation->reasons);
    if (!explanation->reasons)
        return hc_fail_memory(err);
    for (size_t i = 0; i < rules->count; i++) {
        explanation->reasons[i].rule = &rules->items[i];
        reason_fill(&explanation->reasons[i], explanation, question, path);
    }
    return 0;
}

/* The failure, if it is about the file. */
static void explanation_add_file(struct hc_explanation *explanation,
                                 const struct hc_decision *decision, const char *path)
{
    const struct hc_verdict verdict =
        hc_decision_verdict(decision, path, HC_SIZE_UNKNOWN);
    struct hc_error denied;
    char what[512];

    explanation->rule = verdict.rule;
    if (verdict.is_allowed)
        return;
    explanation->is_allowed = false;
    (void)hc_format(what, sizeof what, "'%.200s' is", path);
    (void)hc_fail_denied(&denied, verdict.rule, what);
    memcpy(explanation->message, denied.message, sizeof explanation->message);
}

/* Of the repo as a whole, when some of its files are allowed, and the rest is not. */
static void explanation_add_part(struct hc_explanation *explanation,
                                 const struct hc_decision *decision)
{
    (void)hc_format(explanation->message, sizeof explanation->message,
                    "files that a rule allows; all others are denied by '%s'",
                    hc_rule_name(decision->rule));
    for (size_t i = 0; i < decision->file_rule_count; i++) {
        const struct hc_rule *rule = &decision->rules->items[decision->file_rules[i]];

        if (rule->action != HC_RULE_DENY) {
            explanation->rule = rule;
            return;
        }
    }
}

static struct hc_target alias_target(const struct hc_named_revision *alias)
{
    return (struct hc_target){.id = alias->repo_id,
                              .type = alias->type,
                              .revision = alias->revision};
}

int hc_explanation_make(struct hc_explanation *explanation, struct hc_rules *rules,
                        const struct hc_policy_request *request, const char *path,
                        struct hc_error *err)
{
    HC_AUTO_VALUE(hc_decision) decision = {0};
    const struct hc_named_revision *alias;
    struct hc_policy_request meant = *request;
    struct hc_target target = *request->target;
    struct hc_policy_question question = {.identity = request->options->identity};
    struct hc_error denied;

    *explanation = (struct hc_explanation){.rules = rules, .is_allowed = true};
    if (!rules)
        return 0;
    switch (hc_rules_find_alias(rules, &target, &alias, err)) {
    case 1:
        explanation->alias = alias;
        meant.alias = alias->name;
        target = alias_target(alias);
        break;
    case 0:
        break;
    default:
        return -1;
    }
    meant.target = &target;
    if (hc_policy_authorize(hc_rules_hold(rules), &meant, &decision, &denied) < 0) {
        explanation->is_allowed = false;
        memcpy(explanation->message, denied.message, sizeof explanation->message);
    }
    explanation->rule = decision.rule;
    if (path && explanation->is_allowed)
        explanation_add_file(explanation, &decision, path);
    else if (explanation->is_allowed && !hc_decision_allows_rest(&decision))
        explanation_add_part(explanation, &decision);
    explanation_add_conditions(explanation);
    question.type = target.type;
    question.repo_id = target.id;
    question.revision = target.revision && target.revision[0] ? target.revision : "main";
    explanation_add_endpoint(explanation, &question);
    return explanation_add_reasons(explanation, &question, path, err);
}

/* A condition and a reason name the rule's key first. */
void hc_explanation_hide(struct hc_explanation *explanation)
{
    for (size_t i = 0; i < explanation->condition_count; i++) {
        if (hc_text_starts(explanation->conditions[i], "token_file:"))
            (void)hc_format(explanation->conditions[i], HC_CONDITION_SIZE,
                            "token_file: (not shown)");
    }
    if (explanation->is_allowed || !explanation->alias)
        return;
    explanation->alias = NULL;
    for (size_t i = 0; i < explanation->rules->count; i++) {
        struct hc_rule_reason *reason = &explanation->reasons[i];

        if (hc_text_starts(reason->reason, "repos:") ||
            hc_text_starts(reason->reason, "revisions:"))
            strchr(reason->reason, ':')[0] = '\0';
    }
}

void hc_explanation_clear(struct hc_explanation *explanation)
{
    free(explanation->reasons);
    hc_rules_release(explanation->rules);
    *explanation = (struct hc_explanation){.rules = NULL};
}
