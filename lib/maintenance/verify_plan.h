/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of one repo that a verification hashes, in the order of their paths: its
 * blobs, and the plain files of its snapshots where there were no symlinks (§1.7), which
 * have their hashes in the listing of the commit. A plan is built and used by one thread.
 */
#ifndef HC_MAINTENANCE_VERIFY_PLAN_H
#define HC_MAINTENANCE_VERIFY_PLAN_H

#include <cache/cache.h>

#include <base/cancellation.h>
#include <policy/patterns.h>

#include <stddef.h>
#include <stdint.h>

struct hc_verify_file {
    char *path;     /* below the repo's folder: "blobs/<etag>", "snapshots/…" */
    char *etag;     /* what it is to hash to; "": not known */
    uint64_t size;  /* by the listing, where the etag is no hash; or HC_SIZE_UNKNOWN */
    uint64_t bytes; /* that it has */
};

struct hc_verify_plan {
    struct hc_verify_file *files;
    size_t count;
    size_t room;
    uint64_t bytes; /* of all */
};

/* Which part of a repo. */
struct hc_verify_scope {
    const struct hc_repo *repo;           /* Required. */
    const char *commit;                   /* Optional: of this revision alone */
    struct hc_filter *filter;             /* Optional: of files that it selects alone */
    struct hc_cancellation *cancellation; /* Optional. */
};

/* The caller clears `plan` in every case. */
int hc_verify_plan_make(struct hc_verify_plan *plan, const struct hc_cache *cache,
                        const struct hc_verify_scope *scope, struct hc_error *err);
void hc_verify_plan_clear(struct hc_verify_plan *plan);
HC_DEFINE_AUTO_VALUE(hc_verify_plan, hc_verify_plan_clear)

#endif
