/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long blobs stay in the quarantine (quarantine.h), and how many: for
 * HC_QUARANTINE_AGE_MS, and HC_QUARANTINE_BYTES together. It gives way to any download
 * that needs the room, and counts for nothing else. Callable from any thread.
 */
#ifndef HC_MAINTENANCE_QUARANTINE_LIMIT_H
#define HC_MAINTENANCE_QUARANTINE_LIMIT_H

#include <base/free_space.h>
#include <cache/cache.h>

#include <stdint.h>

#define HC_QUARANTINE_AGE_MS (INT64_C(7) * 24 * 3600 * 1000)
#define HC_QUARANTINE_BYTES (INT64_C(16) * 1024 * 1024 * 1024)

/* Completes what interrupted processes have begun (hc_quarantine_complete()), and keeps
 * the limit: removes what is too old at `now_ms`, then the oldest. Returns how many blobs
 * it has removed. */
unsigned hc_quarantine_sweep(const struct hc_cache *cache, int64_t now_ms);

/* A reclaimer (base/free_space.h), whose `cache` is a struct hc_cache: removes the
 * oldest. */
uint64_t hc_quarantine_reclaim(void *cache, const struct hc_space_request *request,
                               uint64_t bytes, struct hc_space_held *held);

#endif
