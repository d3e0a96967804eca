/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orphan blobs for an eviction: a process that is killed between a blob and its pointer
 * leaves one. It takes room, and no revision's removal frees it. A prune takes them after
 * an hour (prune.h); a download that is short of room does not wait so long.
 */
#ifndef HC_MAINTENANCE_ORPHANS_H
#define HC_MAINTENANCE_ORPHANS_H

#include <base/cancellation.h>
#include <cache/cache.h>

#include <stdint.h>

/* A client makes the pointer right after the blob, as a rule with the blob's lock held.
 * One that comes later finds its blob back, or fetches it again (unused_blobs.h). */
enum { HC_ORPHAN_AGE_MS = 30 * 1000 };

/* Removes those of the repo that are older, and neither locked nor being fetched.
 * Returns the bytes that are free then. */
uint64_t hc_orphans_remove(const struct hc_cache *cache, const struct hc_repo *repo,
                           int64_t now_ms, struct hc_cancellation *cancellation);

#endif
