/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan of <hubcache/usage.h>. It reads every directory of every repo and looks at
 * every blob once. A blob may have several names: repos share it by a hard link
 * (store/duplicate.h), or by symlinks into the store of newer clients (spec §1.9); where
 * there are no symlinks, files are in snapshots. Memory is bounded: HC_USAGE_REPOS_MAX
 * repos and HC_USAGE_SHARED_MAX shared files are remembered.
 */
#ifndef HC_CACHE_USAGE_H
#define HC_CACHE_USAGE_H

#include "cache.h"

#include <base/cancellation.h>
#include <hubcache/usage.h>

enum {
    HC_USAGE_SHARED_MAX = 256 * 1024, /* more count as often as they are found */
    HC_USAGE_BUSY_MS = 20             /* work between two pauses */
};

HC_DEFINE_AUTO_VALUE(hc_usage, hc_usage_clear)

/* As hc_resolver_scan_usage(). */
int hc_usage_scan(const struct hc_cache *cache, struct hc_cancellation *cancellation,
                  struct hc_usage *usage, struct hc_error *err);

/* Scans the cache for the bytes that it takes, without pauses when it is urgent. -1 as
 * above. */
int hc_usage_find_occupied(const struct hc_cache *cache, bool is_urgent,
                           struct hc_cancellation *cancellation, uint64_t *bytes,
                           struct hc_error *err);

/* Scans the cache for its occupancy (occupancy.h), without pauses when it is urgent. -1
 * as above. */
int hc_usage_measure(const struct hc_cache *cache, bool is_urgent,
                     struct hc_cancellation *cancellation, struct hc_error *err);

/* Which repos a scan lists; it counts all of them. */
struct hc_usage_filter {
    bool (*lists)(void *ctx, const struct hc_repo *repo);
    void *ctx;
};

/* The result of a scan of all repos, without pauses. */
int hc_usage_list(const struct hc_cache *cache, const struct hc_usage_filter *filter,
                  struct hc_cancellation *cancellation, struct hc_usage *usage,
                  struct hc_error *err);

#endif
