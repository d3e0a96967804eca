/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases of revisions (<hubcache/lease.h>), as files on the volume (lease_record.h).
 *
 * States of a lease, and what moves one to the next:
 *
 *   taken      The file is there, and its mtime is ahead by the volume's clock.
 *              → taken: hc_lease_renew() puts a new file in its place.
 *              → ended: its mtime is reached, or hc_lease_release() removes the file.
 *   ended      The file is gone, or its mtime is past. What removes files waits
 *              HC_LEASE_GRACE_MS longer, for clocks and mtimes are not exact.
 *              → removed: hc_lease_sweep(), or a bar of the revision (lease_bar.h).
 *
 * A lease and a removal exclude each other by the directory .hubcache/leases/<repo
 * folder>/<commit>: a remover puts a directory of its own in the place of it, which
 * rename(2) refuses when there is any lease in it. Whichever comes first holds, and no
 * step of it has to be undone. A lease that comes second finds the bar and is withdrawn.
 *
 * Nothing here looks at the snapshot: a caller that takes a lease looks afterwards
 * whether what it has leased is still there. Callable from any thread.
 */
#ifndef HC_CLAIM_LEASE_H
#define HC_CLAIM_LEASE_H

#include "lease_record.h"

#include <base/directory.h>
#include <cache/cache.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HC_LEASE_GRACE_MS = 1000,
    HC_LEASE_MAX_S = 366 * 24 * 3600 /* no lease is longer, whatever --max-lease says */
};

struct hc_lease_request {
    const struct hc_repo *repo; /* Required. */
    const char *commit;         /* Required. */
    const char *kind;           /* Optional: of the caller's identity; NULL: anonymous */
    const char *caller;         /* Optional: its name */
    const char *pod;            /* Optional: what the client calls itself */
    int64_t duration_ms;        /* Required: from now on by the volume's clock */
};

/*
 * 1 and the lease, which is on the disk then. 0: another process removes the revision
 * just now. -1: CACHE_READ_ONLY, NO_SPACE or CACHE_IO; INVALID_OPTIONS for an identity or
 * a pod that is too long or not UTF-8.
 */
int hc_lease_take(const struct hc_cache *cache, const struct hc_lease_request *request,
                  struct hc_lease *lease, struct hc_error *err);

/* 1 and the lease; 0: it has ended; INVALID_OPTIONS (field "lease_id"): `id` is none. */
int hc_lease_find(const struct hc_cache *cache, const char *id, struct hc_lease *lease,
                  struct hc_error *err);

/* Ends it `duration_ms` from now by the volume's clock. Returns as hc_lease_find(). */
int hc_lease_renew(const struct hc_cache *cache, const char *id, int64_t duration_ms,
                   struct hc_lease *lease, struct hc_error *err);

/* 1 when it was there, also one whose time has passed. Returns as hc_lease_find(). */
int hc_lease_release(const struct hc_cache *cache, const char *id, struct hc_error *err);

/* How many leases of a revision there are, counted up to `limit`, one whose time passed
 * within the grace included. -1 when that cannot be told. `now_ms` is
 * hc_volume_now_ms(). */
int hc_lease_count(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *commit, unsigned limit, int64_t now_ms,
                   struct hc_error *err);

/* The same, as 1 or 0. A remover needs hc_lease_bar(): this holds for a moment only. */
int hc_lease_is_held(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *commit, int64_t now_ms, struct hc_error *err);

/* Removes leases that have ended, bars of processes that are gone, and directories that
 * are empty. Returns how many leases, and how many are left in `held`. */
unsigned hc_lease_sweep(const struct hc_cache *cache, int64_t now_ms, unsigned *held);

/*
 * All leases of a cache, of a repo, or of a revision (`repo` and `commit` may be NULL)
 * that have not ended by `now_ms`, in no order; leases may come and go meanwhile.
 *
 *     HC_AUTO_VALUE(hc_lease_list) list = hc_lease_list(cache, NULL, NULL, now_ms);
 *
 *     while (hc_lease_list_next(&list))
 *         use(&list.lease);
 */
struct hc_lease_list {
    struct hc_lease lease;
    int64_t now_ms; /* the other members are the listing's own */
    struct hc_directory_walk walk;
    char place[PATH_MAX]; /* below .hubcache/leases, of what is walked; "" */
};

struct hc_lease_list hc_lease_list(const struct hc_cache *cache,
                                   const struct hc_repo *repo, const char *commit,
                                   int64_t now_ms);
bool hc_lease_list_next(struct hc_lease_list *list);
void hc_lease_list_end(struct hc_lease_list *list);
HC_DEFINE_AUTO_VALUE(hc_lease_list, hc_lease_list_end)

#endif
