/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is removed from a cache: revisions and files that a caller names, and what nothing
 * refers to. Nothing that is in use is removed; what was left is told, and why. A removal
 * names revisions by repo and commit together: forks have the same commits.
 *
 * Removals may run at the same time as resolutions and as each other, in any process of
 * the volume. They may hang as the volume does. Callable from any thread.
 */
#ifndef HUBCACHE_MAINTENANCE_H
#define HUBCACHE_MAINTENANCE_H

#include <hubcache/cancellation.h>
#include <hubcache/error.h>
#include <hubcache/repo.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_resolver;

/* What holds a revision, in the order in which it is looked for. */
enum hc_held_by {
    HC_HELD_BY_NONE = 0,
    HC_HELD_BY_LEASE = 1,    /* a caller uses it */
    HC_HELD_BY_PIN = 2,      /* it is pinned */
    HC_HELD_BY_KEEP = 3,     /* the policy keeps it */
    HC_HELD_BY_TRANSFER = 4, /* it is being fetched */
    HC_HELD_BY_FAILURE = 5,  /* it cannot be read or removed */
    HC_HELD_BY_RETENTION = 6 /* it was used too recently */
};

/* A revision, a file of it, or a repo that a removal took, or in a dry run would take. */
struct hc_removed {
    enum hc_repo_type repo_type;
    char repo_id[201];
    char commit_hash[41]; /* "": the folder of the repo, with its last revision */
    char *filename;       /* NULL: the whole revision */
    uint64_t freed_bytes; /* room on the volume, in whole blocks */
    int64_t last_used_ms; /* since the epoch; 0: unknown */
    const char *detail;   /* why it was chosen, in words; static */
};

/* A revision that a removal left. */
struct hc_kept {
    enum hc_repo_type repo_type;
    char repo_id[201];
    char commit_hash[41];
    enum hc_held_by held_by;
    char detail[256]; /* the lease, the reason of the pin, or the failure, in words */
};

struct hc_removal_result {
    struct hc_removed *removed; /* in the order of removal */
    size_t removed_count;
    struct hc_kept *kept;
    size_t kept_count;
    uint64_t freed_bytes;   /* of all together, each blob once */
    uint64_t removed_files; /* blobs and plain files */
};

HC_PUBLIC void hc_removal_result_clear(struct hc_removal_result *result);

#ifdef __cplusplus
}
#endif

#endif
