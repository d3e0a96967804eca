/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes what transfers that ended without a commit, or whose process died, have left on
 * the volume: at start-up and every ten minutes what is of no more use, and when a
 * download needs the space also what might have been resumed. Any number of replicas may
 * sweep at the same time. Callable from any thread.
 */
#ifndef HC_CLAIM_SWEEP_H
#define HC_CLAIM_SWEEP_H

#include <base/free_space.h>
#include <cache/cache.h>

#include <stdint.h>

/*
 * Removes abandoned claims whose blob no process has locked, with the partial files that
 * they name, unless these are worth resuming and younger than HC_PARTIAL_KEEP_MS;
 * superseded claims and reservations whose owner is gone; and files below .hubcache/tmp
 * that are older than HC_HEARTBEAT_TIMEOUT_MS. Returns how many files, claims not
 * counted. What cannot be removed is left. `now_ms` is hc_volume_now_ms().
 */
unsigned hc_claim_sweep(const struct hc_cache *cache, int64_t now_ms);

/*
 * A reclaimer (base/free_space.h), whose `cache` is a struct hc_cache: removes partial
 * files of abandoned transfers that a later one could have resumed, those of the last
 * hour last, until `bytes` are free. Those of the request's repo stay, as does every
 * *.incomplete file that no claim names: it is another client's.
 */
uint64_t hc_claim_reclaim(void *cache, const struct hc_space_request *request,
                          uint64_t bytes, struct hc_space_held *held);

#endif
