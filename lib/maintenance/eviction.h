/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An eviction makes room: it removes whole revisions, the least recently used first, and
 * none that is held (hold.h). Only when these are too few, it removes single files, the
 * least recently used first: of revisions that lack files, and that are held because
 * hubcached fetches another of their files. So a repo of many files, of which callers
 * ask for one after the other, makes room for itself; and a snapshot that was complete
 * stays complete until it goes. What nothing refers to goes before: partial files of
 * abandoned transfers (claim/sweep.h), the trash of processes that were killed, blobs
 * without a pointer (orphans.h).
 *
 * States of an eviction:
 *
 *   waiting    another thread of this process evicts, or another replica has the lock
 *              (replica_lock.h)
 *   planning   the list of candidates is walked from its beginning, and each is looked at
 *              again: one that was used since the list was made, or that something holds,
 *              is passed over. When the list has too few, the cache is scanned anew, and
 *              planned once more
 *   impossible all that may go is too little for a download, also after the cache was
 *              measured anew: nothing is removed, and whether the download waits for more
 *              to go, base/free_space.h decides
 *   removing   one revision after the other, until enough is free
 *
 * It frees a twentieth of the limit or floor more than is missing, if so much may go, so
 * that it need not run for each download. Callable from any thread.
 */
#ifndef HC_MAINTENANCE_EVICTION_H
#define HC_MAINTENANCE_EVICTION_H

#include "removal.h"

#include <base/free_space.h>

struct hc_eviction;

/* `rules` (Optional) are borrowed. */
struct hc_eviction *hc_eviction_new(const struct hc_cache *cache,
                                    const struct hc_hold_rules *rules,
                                    struct hc_error *err);
void hc_eviction_free(struct hc_eviction *eviction);
HC_DEFINE_AUTO(hc_eviction, hc_eviction_free)

struct hc_eviction_request {
    /* Bytes to free. 0: as many as the bounds of the cache's free space ask for. */
    uint64_t bytes;
    bool is_dry_run;
    struct hc_cancellation *cancellation; /* Optional */
};

/* Says what went in the order of removal, and what was used less recently, but is held:
 * HC_EVICTION_KEPT_MAX rows at most. -1: cancelled, or INTERNAL. */
enum { HC_EVICTION_KEPT_MAX = 1000 };
int hc_eviction_run(struct hc_eviction *eviction,
                    const struct hc_eviction_request *request,
                    struct hc_removal_result *result, struct hc_error *err);

/* Scans the cache for what it takes (cache/occupancy.h), without pauses when it is
 * urgent. */
int hc_eviction_measure(struct hc_eviction *eviction, bool is_urgent,
                        struct hc_cancellation *cancellation, struct hc_error *err);

/*
 * A reclaimer (base/free_space.h), whose `ctx` is a struct hc_eviction. It removes
 * nothing when all that may go is too little, and says what holds the rest.
 */
uint64_t hc_eviction_reclaim(void *ctx, const struct hc_space_request *space,
                             uint64_t bytes, struct hc_space_held *held);

/* Since it was made. */
struct hc_eviction_counts {
    uint64_t evicted_bytes;
    uint64_t evicted_revisions;
    uint64_t held_bytes; /* of what the last plan passed over because it is held */
    unsigned running;    /* evictions that plan or remove now */
};
void hc_eviction_counts(struct hc_eviction *eviction, struct hc_eviction_counts *counts);

#endif
