/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quotas of a policy: what the blobs that some callers have had fetched may take, all
 * together. The first quota that matches a caller counts for it; a caller that none
 * matches has none.
 *
 * A download is judged as a whole before its first byte: the blobs on the volume that
 * were fetched for the quota's callers, those that this process is fetching for them, and
 * those that the download needs, each once, have to fit. So what another caller has had
 * fetched, or is having fetched, costs nothing; nor does a hit, which reserves nothing.
 * Downloads of one process never exceed a quota together; those of several replicas may,
 * by what the others are fetching at that time: what they have fetched counts, since a
 * download that takes the second half of a quota is judged by what the volume says when
 * it is asked for. What was fetched before a quota was made smaller stays. Callable from
 * any thread.
 */
#ifndef HC_MAINTENANCE_QUOTA_H
#define HC_MAINTENANCE_QUOTA_H

#include <cache/fetched_totals.h>
#include <policy/rules.h>

#define HC_QUOTA_RULE "quota" /* hc_error.rule of a NO_SPACE */

enum {
    HC_QUOTA_AGE_MS = 1000 /* how old what is known of the volume may be for a download
                              that leaves half of the quota */
};

/*
 * Reserves what `request` wants, whose members from `limit` on are not used: 0, and the
 * reservation, which is NULL when the caller has no quota. -1: NO_SPACE, with the
 * rule HC_QUOTA_RULE, the bytes that are needed and those that are left; or the volume
 * cannot be read; or as the cancellation says, which may be NULL.
 */
int hc_quota_reserve(const struct hc_cache *cache, const struct hc_rules *rules,
                     const struct hc_fetched_request *request,
                     struct hc_cancellation *cancellation,
                     struct hc_fetched_reservation **reservation, struct hc_error *err);

#endif
