/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules decide about one request. The first rule that matches decides; one with
 * `files` decides about these files only, and what it does not match is left to the next
 * rule. So a decision is a list of rules for single files, and a rule, or the default,
 * for all the rest.
 *
 * A decision holds the rules that it was made by: whatever is read from it is of one
 * policy file, also while that is being replaced. It belongs to one thread.
 */
#ifndef HC_POLICY_DECISION_H
#define HC_POLICY_DECISION_H

#include "rules.h"

struct hc_decision {
    struct hc_rules *rules; /* held; NULL: there is no policy, all is allowed */
    const struct hc_rule
        *rule;            /* for what no rule of `files` matches; NULL: the default */
    bool is_common;       /* for no caller: the rest is allowed */
    uint16_t *file_rules; /* numbers of rules with `files` that come before it */
    size_t file_rule_count;
};

/* What is decided about one file. */
struct hc_verdict {
    bool is_allowed;
    bool is_too_large;          /* allowed, but for its size */
    const struct hc_rule *rule; /* NULL: the default, or no policy */
};

/* Takes over the caller's hold of `rules`, which may be NULL. `decision` is to be cleared
 * in every case. */
int hc_decision_make(struct hc_decision *decision, struct hc_rules *rules,
                     const struct hc_policy_question *question, struct hc_error *err);

/*
 * For what is fetched for no caller in particular: denies the files that every caller is
 * denied, and allows the rest. The identity of the question does not matter.
 */
int hc_decision_make_common(struct hc_decision *decision, struct hc_rules *rules,
                            const struct hc_policy_question *question,
                            struct hc_error *err);
void hc_decision_clear(struct hc_decision *decision);
HC_DEFINE_AUTO_VALUE(hc_decision, hc_decision_clear)

int hc_decision_copy(struct hc_decision *copy, const struct hc_decision *decision,
                     struct hc_error *err);

/* Whether the rest is allowed: what no rule with files matches. */
bool hc_decision_allows_rest(const struct hc_decision *decision);

/* Whether some file may be allowed. */
bool hc_decision_allows_any(const struct hc_decision *decision);

/* Whether every file is allowed, whatever its name and size. */
bool hc_decision_allows_all(const struct hc_decision *decision);

/* About the file `path`; a size that is not known is HC_SIZE_UNKNOWN, and not too
 * large. */
struct hc_verdict hc_decision_verdict(const struct hc_decision *decision,
                                      const char *path, uint64_t size);

/* "default" for NULL. */
const char *hc_rule_name(const struct hc_rule *rule);

/* A short text that two decisions share only if they say the same of every file; "": all
 * files are allowed. -1: there is no room for it. */
int hc_decision_format_key(const struct hc_decision *decision, char *key, size_t size);

/* POLICY_DENIED with the rule and its message; the message begins with `what`: "model
 * 'org/name' is", "'a.bin' of model 'org/name' is". -1. */
int hc_fail_denied(struct hc_error *err, const struct hc_rule *rule, const char *what);

/* The same for a file of more bytes than the rule's max_file_size. */
int hc_fail_too_large(struct hc_error *err, const struct hc_rule *rule, const char *what,
                      uint64_t size);

/* Puts the rule into a failure whose message is written. `rule` NULL: the default. -1. */
int hc_fail_by_rule(struct hc_error *err, const struct hc_rule *rule);

#endif
