/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes over the whole cache, one in an interval (<hubcache/verification.h>), without
 * the repairs.
 *
 *   idle      no pass has begun since the last one ended
 *             → running: the interval is over, and the process has locked
 *               .hubcache/scrub
 *   running   .hubcache/scrub.json, written every few seconds, says how far it is
 *             → idle: its last file is verified
 *             → paused: its process ends, or cancels it
 *   paused    → running: any process that gets the lock continues after that file
 *
 * Where flock(2) does nothing, two processes may scrub at once: that costs reads.
 * Callable from any thread.
 */
#ifndef HC_MAINTENANCE_SCRUB_H
#define HC_MAINTENANCE_SCRUB_H

#include "replica_lock.h"
#include "verification.h"

#define HC_SCRUB_LOCK ".hubcache/scrub"

enum { HC_SCRUB_SAVE_MS = 5000 };

struct hc_scrub {
    /* Required. */
    const struct hc_cache *cache;
    const struct hc_verify_request *request; /* whole cache; its `found` is not called */
    struct hc_replica_lock *lock; /* of HC_SCRUB_LOCK; free, and the same each time */
    int64_t interval_ms;

    /* Optional: as in struct hc_verification. */
    int (*found)(void *ctx, struct hc_finding *finding, struct hc_error *err);
    int (*fetch_over)(void *ctx, const struct hc_finding *finding, struct hc_error *err);
    void *ctx;
    struct hc_verify_result *result; /* Required. Zeroed; what this call does of a pass */
    struct hc_cancellation *cancellation; /* Optional. */
};

/* As hc_resolver_scrub(). */
int hc_scrub_run(const struct hc_scrub *scrub, struct hc_error *err);

/* As hc_resolver_scrub_state(). */
int hc_scrub_state_read(const struct hc_cache *cache, struct hc_scrub_state *state);

#endif
