/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The retention of a policy's rules: how long what a rule let into the cache stays after
 * its last use. While it is younger, nothing removes the revision (hold.h); afterwards it
 * is removed, also when the volume has room: so a rule of the policy is enough to keep a
 * cache free of what its callers have forgotten.
 *
 * A revision is removed when each of its blobs was fetched by a rule with a retention, as
 * the records say (cache/fetched.h), and the longest one that matches it has passed. What
 * another client has put there, or a rule without one has let in, stays. What is leased,
 * pinned, kept or being fetched stays in any case. Callable from any thread.
 */
#ifndef HC_MAINTENANCE_RETENTION_H
#define HC_MAINTENANCE_RETENTION_H

#include "removal.h"

#include <policy/policy.h>

struct hc_retention_options {
    struct hc_cancellation *cancellation; /* Optional */
    bool is_dry_run;
};

/* Removes what has not been used for the retention of its rules. -1: memory is short, or
 * as the cancellation says. `result` is zero-initialised; its rows of what is held are of
 * revisions with a retention. */
int hc_retention_expire(const struct hc_cache *cache, struct hc_policy *policy,
                        const struct hc_retention_options *options,
                        struct hc_removal_result *result, struct hc_error *err);

#endif
