/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules decide about a request, and why each of them does or does not: for a
 * person who writes a policy. It is made in the steps of a decision (decision.h), so that
 * it cannot say anything else. Nothing is resolved, and the Hub is not asked. It belongs
 * to one thread.
 */
#ifndef HC_POLICY_EXPLANATION_H
#define HC_POLICY_EXPLANATION_H

#include "policy.h"

enum { HC_CONDITIONS_MAX = 10, HC_CONDITION_SIZE = 192 };

/* Why a rule does or does not decide. */
struct hc_rule_reason {
    const struct hc_rule *rule;
    bool matches;
    char reason[256];
};

struct hc_explanation {
    struct hc_rules *rules; /* held; NULL: there is no policy */
    bool is_allowed;
    const struct hc_rule *rule;            /* that decides; NULL: the default */
    const struct hc_named_revision *alias; /* NULL: the id is none */
    char message[512];                     /* of the failure; "" when it is allowed */
    char conditions[HC_CONDITIONS_MAX][HC_CONDITION_SIZE]; /* of the rule */
    size_t condition_count;
    struct hc_rule_reason *reasons; /* one for each rule, in their order */
};

/* `path` NULL: the repo as a whole. Takes over the hold of `rules`. `explanation` is to
 * be cleared in every case. */
int hc_explanation_make(struct hc_explanation *explanation, struct hc_rules *rules,
                        const struct hc_policy_request *request, const char *path,
                        struct hc_error *err);

/* Takes out what is for administrators alone: the path of a token_file, and what an alias
 * stands for if the request is denied. */
void hc_explanation_hide(struct hc_explanation *explanation);
void hc_explanation_clear(struct hc_explanation *explanation);
HC_DEFINE_AUTO_VALUE(hc_explanation, hc_explanation_clear)

#endif
