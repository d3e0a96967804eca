/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A removal: one plan and one way to carry it out, for all that removes from a cache, be
 * it because a caller names it, because nothing refers to it, or for room. A dry run is
 * the same without the second half, and counts what it has planned as gone.
 *
 *     struct hc_removal *removal = hc_removal_new(cache, &options, &result, err);
 *
 *     hc_removal_take(removal, &request, err);   // any number of these, each of a repo
 *     hc_removal_free(removal);
 *
 * A removal belongs to one thread.
 */
#ifndef HC_MAINTENANCE_REMOVAL_H
#define HC_MAINTENANCE_REMOVAL_H

#include "repo_plan.h"

HC_DEFINE_AUTO_VALUE(hc_removal_result, hc_removal_result_clear)

struct hc_removal;

struct hc_removal_options {
    const struct hc_hold_rules *rules; /* Optional: what the policy keeps; borrowed */
    bool is_dry_run;
    int64_t now_ms; /* Optional: since the epoch; 0: the volume's clock, once in a dry
                       run, else each time */
};

/* `result` is borrowed, and appended to: zero-initialised at first. */
struct hc_removal *hc_removal_new(const struct hc_cache *cache,
                                  const struct hc_removal_options *options,
                                  struct hc_removal_result *result, struct hc_error *err);
void hc_removal_free(struct hc_removal *removal);
HC_DEFINE_AUTO(hc_removal, hc_removal_free)

/*
 * Removes what the request selects of one repo, and nothing that is held. What cannot be
 * removed or read is a row of `kept`, no failure. -1: memory is short, or the filter's
 * cancellation ended it.
 */
int hc_removal_take(struct hc_removal *removal, const struct hc_removal_request *request,
                    struct hc_error *err);

/* Adds a row of what is held; files of one revision are held as one. */
int hc_removal_add_kept(struct hc_removal_result *result, const struct hc_repo *repo,
                        const char *commit, const struct hc_hold *hold,
                        struct hc_error *err);

/* Of interrupted removals: moves the refs back of revisions that were not removed yet,
 * and finishes the others by their trash, if it was not changed for `age_ms`
 * (HC_TRASH_EXPIRY_MS): how many. */
unsigned hc_removal_sweep(const struct hc_cache *cache, int64_t now_ms, int64_t age_ms);

#endif
