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
    uint64_t
        missing_bytes; /* of an eviction: because all else is held; 0: enough is free */
};

struct hc_evict_request {
    uint64_t
        bytes;    /* to free; 0: as many as the settings cache_limit and free_floor ask */
    bool dry_run; /* only tell what would go */
};

/*
 * Makes room: removes revisions, the least recently used first, and tells what was used
 * even less recently, but is held (1000 of these at most). Without `bytes` a twentieth of
 * the limit more than it must. What is still missing then, `missing_bytes` says. The
 * caller clears `result`, also after a failure.
 */
HC_PUBLIC int hc_resolver_evict(struct hc_resolver *resolver,
                                const struct hc_evict_request *request,
                                struct hc_cancellation *cancellation,
                                struct hc_removal_result *result, struct hc_error *err);

/*
 * For a thread of the program's own, once a minute: scans the cache at first, and then
 * every ten minutes or less often, for what it takes, and evicts what other clients have
 * put into it beyond cache_limit and free_floor. Does nothing when neither is set.
 */
HC_PUBLIC int hc_resolver_tend_room(struct hc_resolver *resolver,
                                    struct hc_cancellation *cancellation,
                                    struct hc_removal_result *result,
                                    struct hc_error *err);

/* What is known without a look at the volume. The counts are of this process. */
struct hc_room_status {
    bool is_measured;        /* the cache was scanned, by this process or another one */
    uint64_t occupied_bytes; /* that it takes */
    uint64_t limit_bytes;    /* 0: none */
    uint64_t floor_bytes;    /* 0: none */
    uint64_t evicted_bytes, evicted_revisions;
    uint64_t held_bytes; /* that the last eviction passed over, because they are held */
    uint64_t refusals;   /* downloads for which there was no room */
    unsigned evictions_running;
};
HC_PUBLIC void hc_resolver_room(const struct hc_resolver *resolver,
                                struct hc_room_status *status);

HC_PUBLIC void hc_removal_result_clear(struct hc_removal_result *result);

#ifdef __cplusplus
}
#endif

#endif
