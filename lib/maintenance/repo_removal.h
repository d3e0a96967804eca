/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out the plan of a removal, in an order in which each step leaves a cache that
 * every client reads correctly:
 *
 *   1. the revision is barred: no caller gets a lease of it any more (claim/lease_bar.h)
 *   2. what holds it is looked for again
 *   3. the refs that name it are moved to the trash (taken_refs.h)
 *   4. its snapshot is moved to the trash (trash.h)
 *   5. the blobs that no pointer leads to any more are removed (unused_blobs.h)
 *   6. so are its listing, markers and proof, and refs that another process has written
 *      since
 *   7. the folder of the repo is removed with its last revision
 *   8. the trash is emptied, and the bars are lifted
 *
 * When the process dies between 3 and 4, the next sweep or removal moves the refs back
 * (taken_refs.h); after 4, the trash says what is left to do.
 */
#ifndef HC_MAINTENANCE_REPO_REMOVAL_H
#define HC_MAINTENANCE_REPO_REMOVAL_H

#include "repo_plan.h"

struct hc_trash;

/* Says in the plan what was not removed after all: holds, absent parts, room that is not
 * free, and whether the folder was removed. */
void hc_repo_plan_carry_out(struct hc_removal_scope *scope, struct hc_repo_plan *plan);

/* Steps 5, 6 and 8 for the trash of an interrupted removal. */
int hc_repo_removal_finish(const struct hc_cache *cache, const struct hc_repo *repo,
                           struct hc_trash *trash, int64_t now_ms, struct hc_error *err);

#endif
