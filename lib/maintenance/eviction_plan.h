/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an eviction takes, until it is enough: whole revisions in the order of the list of
 * candidates, but for those that something holds or that were used since the list was
 * made; and then, if these are too few, single files of revisions that are held for no
 * other cause than that hubcached fetches other files of them (hold.h), the least
 * recently used first. A plan belongs to one thread, and changes nothing.
 */
#ifndef HC_MAINTENANCE_EVICTION_PLAN_H
#define HC_MAINTENANCE_EVICTION_PLAN_H

#include "candidates.h"
#include "removal.h"

#include <base/free_space.h>

struct hc_planned_file {
    size_t candidate; /* index in the list */
    char *path;       /* within the snapshot */
    uint64_t bytes;
    int64_t used_ms;
};

/* Zero-initialise it. */
struct hc_eviction_plan {
    size_t *revisions; /* indices in the list */
    size_t revision_count;
    struct hc_planned_file *files;
    size_t file_count;
    uint64_t bytes;            /* of all of these */
    uint64_t held_bytes;       /* of what was passed over because it is held */
    struct hc_space_held held; /* the same by its kinds */
    bool has_moved;            /* a candidate was used since the list was made */
};

/* What a plan is made from; all is borrowed. */
struct hc_eviction_scope {
    const struct hc_cache *cache;
    const struct hc_hold_rules *rules; /* Optional */
    struct hc_candidates *list;        /* last uses are brought up to date */
    size_t first;     /* candidate to begin with; 0: what is held is counted anew */
    uint64_t missing; /* bytes; revisions are planned for `margin` more */
    uint64_t margin;
    struct hc_removal_result *result;     /* Optional: gets what is held */
    struct hc_cancellation *cancellation; /* Optional */
};

/* Makes the plan anew. -1: cancelled, or memory is short. */
int hc_eviction_plan_make(struct hc_eviction_plan *plan,
                          const struct hc_eviction_scope *scope, struct hc_error *err);

void hc_eviction_plan_clear(struct hc_eviction_plan *plan);

#endif
