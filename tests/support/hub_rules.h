/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules by which the hub misbehaves. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_RULES_H
#define HC_SUPPORT_HUB_RULES_H

#include "test_hub.h"

#include <stdbool.h>
#include <stddef.h>

struct hub_rules;

enum { HUB_HEADER_RULES_MAX = 8 }; /* that act on one answer */

/* What is to go wrong with one answer. The rules live as long as the hub. */
struct hub_faults {
    const struct test_hub_rule *rule; /* NULL: nothing but the headers */
    const struct test_hub_rule *headers[HUB_HEADER_RULES_MAX];
    size_t header_count;
};

struct hub_rules *hub_rules_new(void);
void hub_rules_free(struct hub_rules *rules);

/* Copied. */
void hub_rules_add(struct hub_rules *rules, const struct test_hub_rule *rule);
void hub_rules_clear(struct hub_rules *rules);

/* What a rule looks at of a request. */
struct hub_rule_request {
    bool on_cdn;
    const char *method;
    const char *target;
    const char *range; /* NULL: none */
};

/* Uses up the rules that act. */
void hub_rules_apply(struct hub_rules *rules, const struct hub_rule_request *request,
                     struct hub_faults *faults);

/* Whether the verdict's rule, if any, is this fault. */
bool hub_faults_include(const struct hub_faults *faults, enum test_hub_fault fault);

#endif
