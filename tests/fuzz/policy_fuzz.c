/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files. One that is refused says where; the rules of one that is read decide, and
 * no rule decides about a request that it does not match.
 */
#include "fuzz.h"

#include <policy/decision.h>
#include <policy/rules_file.h>

static void fuzz_decide(struct hc_rules *rules, const char *id)
{
    const struct hc_policy_question question = {.repo_id = id, .revision = "main"};
    HC_AUTO_VALUE(hc_decision) decision = {0};
    struct hc_verdict verdict;
    struct hc_error err;
    char reason[256];

    fuzz_require(hc_decision_make(&decision, hc_rules_hold(rules), &question, &err) == 0);
    verdict = hc_decision_verdict(&decision, "a/model.bin", 1);
    if (verdict.rule)
        fuzz_require(hc_rule_explain(verdict.rule, &question, "a/model.bin", reason));
    else
        fuzz_require(verdict.is_allowed == !rules->denies);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hc_error err = {.message = ""};
    HC_AUTO(hc_rules) *rules = hc_rules_parse((const char *)data, size, "p", &err);

    if (!rules) {
        fuzz_require(err.reason == HC_INVALID_OPTIONS);
        fuzz_require(strncmp(err.message, "p:", 2) == 0);
        return 0;
    }
    fuzz_decide(rules, "org/name");
    fuzz_decide(rules, "");
    return 0;
}
