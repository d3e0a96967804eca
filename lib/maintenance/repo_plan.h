/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a removal would take of one repo, what room that would free, and what holds the
 * rest. A plan changes nothing; repo_removal.h carries it out, and looks again at all
 * that may have changed. A plan belongs to one thread.
 *
 * A part is what is removed or kept as one: a revision, or a file of it. A blob is
 * removed with the last part that leads to it, unless another pointer of the repo leads
 * to it.
 */
#ifndef HC_MAINTENANCE_REPO_PLAN_H
#define HC_MAINTENANCE_REPO_PLAN_H

#include "hold.h"
#include "room.h"

#include <policy/patterns.h>

/* What is to be removed. Borrows. */
struct hc_removal_request {
    const struct hc_repo *repo;
    const char *const *commits; /* none: all, and the folder */
    size_t commit_count;
    struct hc_filter *filter; /* Optional: only files that it selects */
    const char *path;         /* Optional: only this file of the commits */
    const char *detail;       /* why, in words; static */
    /* Optional: only revisions that no ref names and that were last used before this time
     * (milliseconds since the epoch); 0: all. What it passes over is no row. */
    int64_t unreferenced_since_ms;
};

/* What the plans of one removal have in common. */
struct hc_removal_scope {
    const struct hc_cache *cache;
    const struct hc_hold_rules *rules; /* NULL: none */
    int64_t now_ms;                    /* hc_volume_now_ms() */
    struct hc_room room;
    struct hc_strings taken; /* "<folder>/<commit>[/<path>]": counts as gone already */
};

struct hc_planned_part {
    char commit[HC_COMMIT_SIZE];
    char *path; /* of the file within the repo; NULL: the whole revision */
    int64_t last_used_ms;
    uint64_t freed_bytes;
    uint64_t files; /* blobs and plain files that it frees */
    struct hc_hold hold;
    struct hc_hold blob_hold; /* why a blob could not be removed with it */
    bool is_passed_over;      /* another process has removed it, or uses it again */
};

struct hc_planned_blob {
    char *etag;
    size_t part; /* the one that frees it */
    uint64_t bytes;
    bool stays; /* after all; its room is not the part's any more */
};

struct hc_repo_plan {
    const struct hc_removal_request *request; /* borrowed */
    struct hc_planned_part *parts;            /* sorted by commit and path */
    size_t part_count;
    struct hc_planned_blob *blobs; /* sorted by etag */
    size_t blob_count;
    bool takes_folder;     /* no snapshot is left */
    uint64_t folder_bytes; /* of what is in it beside the parts */
};

/* Commits that the repo does not have are passed over. -1: it cannot be read. */
struct hc_repo_plan *hc_repo_plan_new(struct hc_removal_scope *scope,
                                      const struct hc_removal_request *request,
                                      struct hc_error *err);
void hc_repo_plan_free(struct hc_repo_plan *plan);
HC_DEFINE_AUTO(hc_repo_plan, hc_repo_plan_free)

/* Finds what holds the revision of a part now. */
void hc_repo_plan_find_hold(const struct hc_removal_scope *scope,
                            const struct hc_removal_request *request,
                            struct hc_planned_part *part);

/* NULL: the plan frees no such blob. */
struct hc_planned_blob *hc_repo_plan_find_blob(const struct hc_repo_plan *plan,
                                               const char *etag);

/* The names of the refs whose content is this commit, of any client. */
int hc_repo_find_refs(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, struct hc_strings *refs, struct hc_error *err);

#endif
