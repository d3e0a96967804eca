/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions of one policy file that were made before, each under the whole question: the
 * caller's kind, name and groups, the repo and the revision. The rules own them, so that
 * none outlives its file. There are HC_DECISIONS_MAX at most, each of at most
 * HC_DECISION_SIZE_MAX bytes; a larger one is not remembered. Losing a decision costs a
 * search. Callable from any thread.
 */
#ifndef HC_POLICY_DECISION_MEMO_H
#define HC_POLICY_DECISION_MEMO_H

#include "decision.h"

enum {
    HC_DECISIONS_MAX = 4096,
    HC_DECISION_SIZE_MAX = 4096,
    HC_QUESTION_MAX = 1024 /* bytes of all its texts */
};

struct hc_decision_memo;

/* NULL when memory is short. */
struct hc_decision_memo *hc_decision_memo_new(struct hc_error *err);
void hc_decision_memo_free(struct hc_decision_memo *memo);

/* A question as bytes; size 0: it is not remembered. */
struct hc_question_key {
    uint64_t hash;
    size_t size;
    char bytes[HC_QUESTION_MAX];
};

void hc_question_key_init(struct hc_question_key *key,
                          const struct hc_policy_question *question);

/* Fills the rule and the rules with files of `decision`, whose rules are set. False: the
 * question was not asked before, or memory is short. */
bool hc_decision_memo_find(struct hc_decision_memo *memo,
                           const struct hc_question_key *key,
                           struct hc_decision *decision);

/* Does nothing for one that is too large, and when memory is short. */
void hc_decision_memo_put(struct hc_decision_memo *memo,
                          const struct hc_question_key *key,
                          const struct hc_decision *decision);

#endif
