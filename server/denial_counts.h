/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the calls that a policy has denied, by the rule that denied them: of the first
 * HC_DENIALS_COUNTED rules by name, of all others together. Callable from any thread.
 */
#ifndef HC_SERVER_DENIAL_COUNTS_H
#define HC_SERVER_DENIAL_COUNTS_H

#include "request.h"

#include <pthread.h>
#include <stdio.h>

enum { HC_DENIALS_COUNTED = 64 };

/* Zero but for the lock: nothing is counted. */
struct hc_denial_counts {
    pthread_mutex_t lock;
    size_t count;
    struct {
        char rule[sizeof((struct hc_facts *)0)->rule];
        uint64_t denials;
    } items[HC_DENIALS_COUNTED + 1]; /* the last one: of the others */
};

void hc_denial_counts_add(struct hc_denial_counts *counts, const char *rule);

/* hubcache_policy_denials_total{rule}. */
void hc_denial_counts_write(struct hc_denial_counts *counts, FILE *out);

#endif
