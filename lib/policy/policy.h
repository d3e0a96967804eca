/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May the Hub be asked, and is an old answer of it good enough? Pure functions; the time
 * is an argument.
 */
#ifndef HC_POLICY_POLICY_H
#define HC_POLICY_POLICY_H

#include <hubcache/resolver.h>

#include <stdbool.h>
#include <stdint.h>

struct hc_policy {
    bool offline;
    int64_t max_staleness_ms;
};

/*
 * May the caller that sends these options (its number, its token) have `target`? 0, or -1
 * with POLICY_DENIED. Asked before any answer, so also about what is cached or in a local
 * directory; `target` is as the request has it, not checked. No rule can be configured yet,
 * and every caller may have everything.
 */
int hc_policy_authorize(const struct hc_policy *policy, const struct hc_target *target,
                        const struct hc_fetch_options *options, struct hc_error *err);

/* INVALID_OPTIONS: force_download together with local_files_only or offline; a
 * negative max_staleness. */
int hc_policy_check(const struct hc_policy *policy,
                    const struct hc_fetch_options *options, struct hc_error *err);

/* False offline and with local_files_only. */
bool hc_policy_may_ask_hub(const struct hc_policy *policy,
                           const struct hc_fetch_options *options);

/* Whether what the Hub said at `heard_ms` is still good at `now_ms` (both since the
 * epoch). */
bool hc_policy_is_fresh(const struct hc_policy *policy,
                        const struct hc_fetch_options *options, int64_t heard_ms,
                        int64_t now_ms);

/*
 * Whether a failure of the Hub may be answered from the cache instead (§2.3): all but
 * REVISION_NOT_FOUND, ENTRY_NOT_FOUND, what is_final marks, and the caller's own going.
 * With `is_own_token`, the Hub was asked with the caller's own: then a refusal is final.
 */
bool hc_policy_may_fall_back(const struct hc_error *failure, bool is_own_token);

#endif
