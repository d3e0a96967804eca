/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search continues after each rule with `files` that matches in all else. A key is
 * the generation of the rules and the numbers of those that take part: rules that do not
 * match the request are not in it, so that callers with the same rights share what is
 * remembered under it.
 */
#include "decision.h"

#include "decision_memo.h"

#include <base/error.h>
#include <base/list.h>
#include <base/size.h>

#include <inttypes.h>
#include <string.h>

static int decision_add_file_rule(struct hc_decision *decision, size_t number,
                                  struct hc_error *err)
{
    uint16_t *grown =
        hc_list_grow(decision->file_rules, decision->file_rule_count, sizeof *grown, err);

    if (!grown)
        return -1;
    decision->file_rules = grown;
    decision->file_rules[decision->file_rule_count++] = (uint16_t)number;
    return 0;
}

_Static_assert(HC_RULES_MAX <= UINT16_MAX, "the number of a rule has 16 bits");

static int decision_search(struct hc_decision *decision,
                           const struct hc_policy_question *question,
                           struct hc_error *err)
{
    const struct hc_rules *rules = decision->rules;
    struct hc_rule_search search;
    size_t i;

    hc_rule_search_begin(&search, question);
    while ((i = hc_rule_search_next(&search, rules)) < rules->count) {
        if (!rules->items[i].files.filter) {
            decision->rule = &rules->items[i];
            return 0;
        }
        if (decision_add_file_rule(decision, i, err) < 0)
            return -1;
    }
    return 0;
}

int hc_decision_make(struct hc_decision *decision, struct hc_rules *rules,
                     const struct hc_policy_question *question, struct hc_error *err)
{
    struct hc_question_key key;

    *decision = (struct hc_decision){.rules = rules};
    if (!rules)
        return 0;
    if (!rules->memo)
        return decision_search(decision, question, err);
    hc_question_key_init(&key, question);
    if (key.size > 0 && hc_decision_memo_find(rules->memo, &key, decision))
        return 0;
    if (decision_search(decision, question, err) < 0)
        return -1;
    if (key.size > 0)
        hc_decision_memo_put(rules->memo, &key, decision);
    return 0;
}

/* Behind a rule that allows something to some caller, a file that is denied may be one of
 * those. */
int hc_decision_make_common(struct hc_decision *decision, struct hc_rules *rules,
                            const struct hc_policy_question *question,
                            struct hc_error *err)
{
    *decision = (struct hc_decision){.rules = rules, .is_common = true};
    for (size_t i = 0; rules && i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];

        if (!hc_rule_is_about(rule, question))
            continue;
        if (rule->action != HC_RULE_DENY)
            break;
        if (rule->files.filter && rule->callers.texts.count == 0 &&
            decision_add_file_rule(decision, i, err) < 0)
            return -1;
    }
    return 0;
}

void hc_decision_clear(struct hc_decision *decision)
{
    free(decision->file_rules);
    hc_rules_release(decision->rules);
    *decision = (struct hc_decision){0};
}

int hc_decision_copy(struct hc_decision *copy, const struct hc_decision *decision,
                     struct hc_error *err)
{
    size_t size = decision->file_rule_count * sizeof *decision->file_rules;

    *copy =
        (struct hc_decision){.rule = decision->rule, .is_common = decision->is_common};
    if (size > 0) {
        copy->file_rules = malloc(size);
        if (!copy->file_rules)
            return hc_fail_memory(err);
        memcpy(copy->file_rules, decision->file_rules, size);
        copy->file_rule_count = decision->file_rule_count;
    }
    copy->rules = hc_rules_hold(decision->rules);
    return 0;
}

static bool rule_allows(const struct hc_rule *rule)
{
    return rule->action != HC_RULE_DENY;
}

bool hc_decision_allows_rest(const struct hc_decision *decision)
{
    if (!decision->rules || decision->is_common)
        return true;
    return decision->rule ? rule_allows(decision->rule) : !decision->rules->denies;
}

bool hc_decision_allows_any(const struct hc_decision *decision)
{
    if (hc_decision_allows_rest(decision))
        return true;
    for (size_t i = 0; i < decision->file_rule_count; i++) {
        if (rule_allows(&decision->rules->items[decision->file_rules[i]]))
            return true;
    }
    return false;
}

bool hc_decision_allows_all(const struct hc_decision *decision)
{
    return decision->file_rule_count == 0 && hc_decision_allows_rest(decision) &&
           !(decision->rule && decision->rule->max_file_size > 0);
}

static struct hc_verdict rule_verdict(const struct hc_rule *rule, uint64_t size)
{
    struct hc_verdict verdict = {.is_allowed = rule_allows(rule), .rule = rule};

    if (rule->max_file_size > 0 && size != HC_SIZE_UNKNOWN &&
        size > rule->max_file_size) {
        verdict.is_allowed = false;
        verdict.is_too_large = true;
    }
    return verdict;
}

struct hc_verdict hc_decision_verdict(const struct hc_decision *decision,
                                      const char *path, uint64_t size)
{
    const struct hc_rule *rule =
        decision->file_rule_count > 0
            ? hc_rules_find_file(decision->rules, decision->file_rules,
                                 decision->file_rule_count, path)
            : NULL;

    if (rule)
        return rule_verdict(rule, size);
    if (decision->rule)
        return rule_verdict(decision->rule, size);
    return (struct hc_verdict){.is_allowed = hc_decision_allows_rest(decision)};
}

const char *hc_rule_name(const struct hc_rule *rule)
{
    return rule ? rule->name : "default";
}

int hc_decision_format_key(const struct hc_decision *decision, char *key, size_t size)
{
    int used;

    if (hc_decision_allows_all(decision))
        return hc_format(key, size, "%s", "");
    used = hc_format(key, size, "%u", decision->rules->generation);
    for (size_t i = 0; used >= 0 && i < decision->file_rule_count; i++) {
        int length =
            hc_format(key + used, size - (size_t)used, ".%u", decision->file_rules[i]);

        used = length < 0 ? -1 : used + length;
    }
    if (used < 0)
        return -1;
    if (!decision->rule)
        return hc_format(key + used, size - (size_t)used,
                         decision->is_common ? "+" : "-");
    return hc_format(key + used, size - (size_t)used, "-%zu",
                     (size_t)(decision->rule - decision->rules->items));
}

/* No older answer may stand in for one that is denied. */
int hc_fail_by_rule(struct hc_error *err, const struct hc_rule *rule)
{
    err->is_final = true;
    (void)hc_format(err->rule, sizeof err->rule, "%s", hc_rule_name(rule));
    if (rule && rule->message)
        (void)hc_format(err->rule_message, sizeof err->rule_message, "%s", rule->message);
    return -1;
}

int hc_fail_denied(struct hc_error *err, const struct hc_rule *rule, const char *what)
{
    if (rule)
        (void)hc_fail(err, HC_POLICY_DENIED,
                      "%s denied by the rule '%s' of the policy%s%s", what, rule->name,
                      rule->message ? ": " : "", rule->message ? rule->message : "");
    else
        (void)hc_fail(
            err, HC_POLICY_DENIED,
            "%s denied: no rule of the policy allows it, and its default is deny", what);
    return hc_fail_by_rule(err, rule);
}

int hc_fail_too_large(struct hc_error *err, const struct hc_rule *rule, const char *what,
                      uint64_t size)
{
    (void)hc_fail(err, HC_POLICY_DENIED,
                  "%s denied by the rule '%s' of the policy: it has %" PRIu64
                  " bytes, and max_file_size is %" PRIu64 "%s%s",
                  what, rule->name, size, rule->max_file_size, rule->message ? ": " : "",
                  rule->message ? rule->message : "");
    return hc_fail_by_rule(err, rule);
}
