/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the calls of each caller that has proved an identity: of the first
 * HC_CALLERS_COUNTED by name, of all others together, so that a cluster of any size makes
 * a bounded number of time series. To count is one relaxed atomic addition, from any
 * thread; the first call of a caller takes a lock.
 */
#ifndef HC_SERVER_CALLER_COUNTS_H
#define HC_SERVER_CALLER_COUNTS_H

#include "caller.h"

#include <stdbool.h>
#include <stdio.h>

struct hc_caller_counts;

enum { HC_CALLERS_COUNTED = 32 };

struct hc_caller_counts *hc_caller_counts_new(struct hc_error *err);
void hc_caller_counts_free(struct hc_caller_counts *counts);
HC_DEFINE_AUTO(hc_caller_counts, hc_caller_counts_free)

void hc_caller_counts_add(struct hc_caller_counts *counts, const struct hc_caller *caller,
                          bool is_ok);

/* hubcache_caller_requests_total{caller,kind,outcome}. */
void hc_caller_counts_write(struct hc_caller_counts *counts, FILE *out);

#endif
