/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy file: YAML of a fixed schema (docs/policy.md). Every failure is
 * INVALID_OPTIONS with "FILE:LINE:COLUMN: " and what is wrong. What the schema does not
 * have is a failure, and not passed over: a misspelt key would be a rule without effect.
 * YAML's anchors, aliases, tags and further documents are refused, so that a small file
 * cannot stand for a large one. Callable from any thread.
 */
#ifndef HC_POLICY_RULES_FILE_H
#define HC_POLICY_RULES_FILE_H

#include "rules.h"

enum { HC_RULES_FILE_MAX = 1024 * 1024 /* bytes */ };

/* Held for the caller, which releases them. NULL: the file cannot be read, or is
 * wrong. */
struct hc_rules *hc_rules_read(const char *path, struct hc_error *err);

/* The same from memory; `name` stands for the file in messages. */
struct hc_rules *hc_rules_parse(const char *text, size_t size, const char *name,
                                struct hc_error *err);

#endif
