/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules by which the hub fails on purpose. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_RULES_H
#define HC_SUPPORT_HUB_RULES_H

#include "test_hub.h"

#include <stdbool.h>
#include <stddef.h>

struct hub_request;
struct hub_rules;

enum { HUB_HEADER_RULES_MAX = 8 }; /* for one answer */

/* The faults of one answer. The rules live as long as the hub. */
struct hub_faults {
    const struct test_hub_rule *rule; /* NULL: headers only */
    const struct test_hub_rule *headers[HUB_HEADER_RULES_MAX];
    size_t header_count;
};

struct hub_rules *hub_rules_new(void);
void hub_rules_free(struct hub_rules *rules);

/* Copied. */
void hub_rules_add(struct hub_rules *rules, const struct test_hub_rule *rule);
void hub_rules_clear(struct hub_rules *rules);

/*
 * Finds the rules that act on a request, by its port, method, target and range, and
 * counts them as used.
 */
void hub_rules_apply(struct hub_rules *rules, const struct hub_request *request,
                     struct hub_faults *faults);

/* Whether there is a rule with this fault, a header's apart. */
bool hub_faults_include(const struct hub_faults *faults, enum test_hub_fault fault);

#endif
