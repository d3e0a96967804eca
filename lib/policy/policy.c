/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions, without I/O and without a clock of their own.
 */
#include "policy.h"

#include <base/error.h>

int hc_policy_authorize(const struct hc_policy *policy, const struct hc_target *target,
                        const struct hc_fetch_options *options, struct hc_error *err)
{
    (void)policy;
    (void)target;
    (void)options;
    (void)err;
    return 0;
}

int hc_policy_check(const struct hc_policy *policy,
                    const struct hc_fetch_options *options, struct hc_error *err)
{
    if (options->has_max_staleness && options->max_staleness_ms < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.max_staleness",
                             "max_staleness must not be negative");
    if (!options->force_download)
        return 0;
    if (options->local_files_only)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.force_download",
                             "force_download and local_files_only exclude each other");
    if (policy->offline)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.force_download",
                             "force_download needs the Hub, and offline mode is on");
    return 0;
}

bool hc_policy_may_ask_hub(const struct hc_policy *policy,
                           const struct hc_fetch_options *options)
{
    return !policy->offline && !options->local_files_only;
}

bool hc_policy_is_fresh(const struct hc_policy *policy,
                        const struct hc_fetch_options *options, int64_t heard_ms,
                        int64_t now_ms)
{
    int64_t limit_ms =
        options->has_max_staleness ? options->max_staleness_ms : policy->max_staleness_ms;
    int64_t age_ms;

    if (limit_ms <= 0 || __builtin_sub_overflow(now_ms, heard_ms, &age_ms))
        return false;
    /* The volume's clock may be ahead of ours; far ahead, its time stamps mean nothing.
     */
    return age_ms <= limit_ms && age_ms >= -limit_ms;
}

bool hc_policy_may_fall_back(const struct hc_error *failure, bool is_own_token)
{
    switch (failure->reason) {
    case HC_REVISION_NOT_FOUND:
    case HC_ENTRY_NOT_FOUND:
    case HC_CANCELLED:
    case HC_DEADLINE_EXCEEDED:
        return false;
    case HC_HUB_UNAUTHORIZED:
    case HC_GATED_REPO:
    case HC_REPO_DISABLED:
    case HC_REPO_NOT_FOUND: /* also what the token may not see */
        return !failure->is_final && !is_own_token;
    default:
        return !failure->is_final;
    }
}
