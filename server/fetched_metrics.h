/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What callers have had fetched, and by which rules, as gauges: of the
 * HC_CALLERS_COUNTED largest by name, of all others together, so that a cluster of any
 * size makes a bounded number of time series.
 */
#ifndef HC_SERVER_FETCHED_METRICS_H
#define HC_SERVER_FETCHED_METRICS_H

#include "usage_scanner.h"

#include <stdio.h>

/* hubcache_caller_fetched_bytes{caller}, hubcache_caller_quota_bytes{caller} and
 * hubcache_rule_fetched_bytes{rule}, as of the last scan; none before the first. */
void hc_fetched_metrics_write(struct hc_usage_scanner *scanner, FILE *out);

#endif
