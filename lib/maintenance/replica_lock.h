/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of the process that does one kind of work for all replicas: .hubcache/eviction
 * of the one that evicts, .hubcache/scrub of the one that scrubs. It saves work, never
 * correctness: each removal excludes others by itself, and where flock(2) does nothing,
 * several processes evict at once, and free more than one of them wanted.
 *
 *   free     no process has the file locked
 *            → taken: hc_replica_lock_try()
 *   taken    its owner touches the file once a second
 *            → free: hc_replica_lock_release(), or its owner dies
 *            → stalled: its mtime stays the same for HC_REPLICA_STALLED_MS, as a
 *              process finds that watches it; its volume hangs, or it was stopped
 *   stalled  → taken: that process removes the file, and locks a new one
 */
#ifndef HC_MAINTENANCE_REPLICA_LOCK_H
#define HC_MAINTENANCE_REPLICA_LOCK_H

#include <base/heartbeat.h>
#include <cache/cache.h>

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { HC_REPLICA_STALLED_MS = 30000 };

/* Belongs to one thread. Initialise it with its cache and path, and zero. */
struct hc_replica_lock {
    const struct hc_cache *cache; /* Required. Borrowed */
    const char *path;             /* Required. Of the file, below the root; borrowed */
    struct hc_heartbeat heartbeat;
    int fd; /* while it is taken; -1: the volume has no lock to take */
    bool is_taken;
    struct timespec seen; /* the mtime of the owner's file, and when it was new */
    int64_t seen_ms;
};

/* Whether it is taken, now or before, or the volume has no locks; never waits. `now_ms`
 * is hc_monotonic_ms(). */
bool hc_replica_lock_try(struct hc_replica_lock *lock, int64_t now_ms);

/* One that is not taken is fine. */
void hc_replica_lock_release(struct hc_replica_lock *lock);
HC_DEFINE_AUTO_VALUE(hc_replica_lock, hc_replica_lock_release)

#endif
