/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver: what every resolution works with, opened once and shared by all threads.
 * Of its members, only atomics change after the first call that resolves anything. The
 * files of this folder know the order of the steps and nothing of how any of them is
 * done:
 *
 *     resolver.c    opening, closing, sweeping
 *     resolution.c  the steps of one request, and when an older answer has to do
 *     access.c      whether the Hub gives the repo to the caller
 *     alternative.c what a caller may have instead of a file that policy denies
 *     revision.c    what the Hub says a revision means, and what is in that commit
 *     file.c        one file; the hit path
 *     files.c       several files of one commit
 *     snapshot.c    all files of a commit, proved complete
 *     presence.c    which files of a listing are there
 *     blob.c        one blob fetched, and its pointer
 *     fetched_usage.c what callers have had fetched
 *     quota.c       what is fetched, held against the caller's quota
 *     batch.c       many blobs at a time, with space reserved, and progress
 *     local.c       a directory below a local root wins
 *     confirm.c     what memory answered is looked at on the volume
 *     open.c        a resolved file, opened for reading
 *     removal.c     what a caller removes, prunes, pins and unpins
 *     warm_up.c     the files of an answer, read ahead
 *     keep.c        revisions that the policy keeps, and their roll-out
 *     verification.c  what a verification finds is fetched again
 *     room.c        evictions, and how much of the volume the cache takes
 *     lease.c       a lease for an answer, and a look whether that is still there
 *     lease_page.c  a page of the list of leases
 *     not_cached.c  the failure NOT_CACHED, and what the cache has instead
 */
#ifndef HC_RESOLVER_RESOLVER_H
#define HC_RESOLVER_RESOLVER_H

#include <base/cancellation.h>
#include <base/error.h>
#include <base/single_flight.h>
#include <base/text.h>
#include <base/workers.h>
#include <cache/cache.h>
#include <cache/pointer.h>
#include <hub/hub.h>
#include <hubcache/resolver.h>
#include <maintenance/hold.h>
#include <maintenance/replica_lock.h>
#include <policy/policy.h>
#include <repo/tree.h>
#include <transfer/transfer.h>

#include <stdatomic.h>

struct hc_eviction;
struct hc_filter;
struct hc_keeps;
struct hc_lease_quota;
struct hc_names_ahead;

struct hc_resolver {
    struct hc_settings settings;
    struct hc_policy policy;
    struct hc_cache *cache;
    struct hc_hub *hub;
    struct hc_transfers *transfers;
    struct hc_single_flights queries;     /* about revisions and trees */
    struct hc_access_memory *access;      /* NULL: HC_HUB_ACCESS_SERVER */
    struct hc_workers *download_workers;  /* threads for the files of all batches */
    struct hc_workers *lookup_workers;    /* threads that look at the volume */
    struct hc_workers *inventory_workers; /* the same, for lists of what is there */
    struct hc_warm_ups *warm_ups;         /* threads that read ahead */
    struct hc_hold_rules hold_rules;      /* what the policy keeps */
    struct hc_eviction *eviction;
    struct hc_lease_quota *lease_quota;
    struct hc_names_ahead *files_ahead; /* of lists of files */
    struct {
        atomic_int_least64_t held;
        atomic_uint_least64_t taken, renewed, released, expired, lost;
    } leases;               /* see struct hc_lease_counts */
    struct hc_keeps *keeps; /* what the policy keeps */
    atomic_int_least64_t markers_swept_ms;
    atomic_int_least64_t retention_due_ms; /* the next look for what may expire */
    atomic_int_least64_t measure_due_ms;   /* the next scan for what the cache takes */
    atomic_bool had_token_file;            /* the token file has held one */
    struct hc_replica_lock scrub_lock;     /* of the thread that scrubs */
    atomic_uint_least64_t deleted_files, deleted_bytes, pruned_files, pruned_bytes;
    hc_stale_fn stale_watcher;
    void *stale_ctx;
};

/* Borrowed until the close. */
struct hc_policy *hc_resolver_policy(struct hc_resolver *resolver);

/* ---- local.c ----------------------------------------------------------------------- */

/* 1 and the real path of the directory that `id` names below a local root; 0: none. */
int hc_local_find(const struct hc_resolver *resolver, const char *id, char dir[PATH_MAX]);

/* The part of such a path below its root; "" is the root itself. */
const char *hc_local_id(const struct hc_resolver *resolver, const char *dir);

/* Whether `path` is `root` or below it; both absolute, without symlinks. */
bool hc_path_is_within(const char *path, const char *root);

/* Whether the real path `path` is below a local root. */
bool hc_local_has(const struct hc_resolver *resolver, const char *path);

/* ENTRY_NOT_FOUND when `dir` has no regular file of that path. */
int hc_local_file(const char *dir, const char *path, struct hc_file *file,
                  struct hc_error *err);

/* Which files of a directory. Borrowed. */
struct hc_local_selection {
    const struct hc_snapshot_request *request;
    struct hc_filter *filter; /* made of its patterns */
    const struct hc_decision *decision;
};

/* All of these files; UNKNOWN, for there is no listing to compare with. */
int hc_local_snapshot(const char *dir, const struct hc_local_selection *selection,
                      struct hc_snapshot *snapshot, struct hc_error *err);

/* ---- lease.c ----------------------------------------------------------------------- */

void hc_resolver_sweep_leases(struct hc_resolver *resolver, int64_t now_ms);

/* ---- resolved_file.c --------------------------------------------------------------- */

/* Fills paths only; the answer is one allocation. `path` is the end of `cache_path`. */
int hc_resolved_file_init(const struct hc_resolver *resolver, const char *cache_path,
                          const char *path, struct hc_file *file, struct hc_error *err);

/* Appends `file`, whose content is the list's then, or on failure gone. */
int hc_resolved_files_add(struct hc_file **items, size_t *count, struct hc_file *file,
                          struct hc_error *err);
void hc_resolved_files_clear(struct hc_file *items, size_t count);

#endif
