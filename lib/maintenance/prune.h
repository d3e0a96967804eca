/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pruning: removes what nothing refers to, by the rules of spec §6. Revisions that no ref
 * names are removed as every revision is (removal.h); leftovers (leftovers.h) one by one,
 * each after another look, for clients continue to write. A prune belongs to one thread.
 */
#ifndef HC_MAINTENANCE_PRUNE_H
#define HC_MAINTENANCE_PRUNE_H

#include "removal.h"

#include <base/cancellation.h>

HC_DEFINE_AUTO_VALUE(hc_prune_result, hc_prune_result_clear)

struct hc_prune {
    const struct hc_cache *cache;         /* Required. */
    struct hc_removal *removal;           /* Required: its result is that of revisions */
    struct hc_prune_result *result;       /* Required. */
    struct hc_cancellation *cancellation; /* Optional. */
    int64_t unused_for_ms;                /* of revisions; and, to an hour, of pointers */
    int64_t now_ms;                       /* hc_volume_now_ms() */
    bool is_dry_run;
};

/* What is left over in one repo. -1: cancelled, or memory is short. */
int hc_prune_repo(const struct hc_prune *prune, const struct hc_repo *repo,
                  struct hc_error *err);

/* Folders of repos with no revision, ref or blob for an hour, such as a failed
 * download or an interrupted removal leaves them: a sweep's part of hc_prune_repo(). */
int hc_prune_folders(const struct hc_prune *prune, struct hc_error *err);

/* Payloads of the shared store, and interrupted removals. */
int hc_prune_cache(const struct hc_prune *prune, struct hc_error *err);

#endif
