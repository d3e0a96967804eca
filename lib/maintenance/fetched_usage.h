/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much callers have had fetched, and by which rules, of <hubcache/usage.h>. Callable
 * from any thread.
 */
#ifndef HC_MAINTENANCE_FETCHED_USAGE_H
#define HC_MAINTENANCE_FETCHED_USAGE_H

#include <base/cancellation.h>
#include <cache/cache.h>
#include <hubcache/usage.h>
#include <policy/rules.h>

enum { HC_FETCHED_USAGE_AGE_MS = 10 * 1000 /* how old the answer may be */ };

HC_DEFINE_AUTO_VALUE(hc_fetched_usage, hc_fetched_usage_clear)

/* With `only`, the callers are those of its name, and there are no rules. `rules` may be
 * NULL, and tell the quotas. */
int hc_fetched_usage_read(const struct hc_cache *cache, const struct hc_rules *rules,
                          const char *only, struct hc_cancellation *cancellation,
                          struct hc_fetched_usage *usage, struct hc_error *err);

#endif
