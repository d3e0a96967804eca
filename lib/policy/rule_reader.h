/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rule as the policy file has it: its keys, what each may say, and which of them have
 * no effect together. Failures are those of yaml_reader.h. Callable from any thread; a
 * reader and the rules that it fills are one thread's.
 */
#ifndef HC_POLICY_RULE_READER_H
#define HC_POLICY_RULE_READER_H

#include "rules.h"
#include "yaml_reader.h"

/* Reads the mapping that begins at the current event into the last of the rules, which is
 * zeroed and owns what is read, also after a failure. */
int hc_rule_read(struct hc_yaml_reader *yaml, struct hc_rules *rules,
                 struct hc_error *err);

/* A list of callers, which `callers` owns, also after a failure. */
int hc_callers_read(struct hc_yaml_reader *yaml, struct hc_callers *callers,
                    struct hc_error *err);

/* A type of repo; never HC_REPO_DEFAULT. */
int hc_repo_type_read(const struct hc_yaml_reader *yaml, enum hc_repo_type *type,
                      struct hc_error *err);

#endif
