/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory of <hubcache/inventory.h>: reads one repo of a cache. Every entry of the
 * repo is looked at once, so it takes long for a large one; memory is that of a repo.
 * What other processes add or remove meanwhile may be there or not. Callable from any
 * thread.
 */
#ifndef HC_MAINTENANCE_INVENTORY_H
#define HC_MAINTENANCE_INVENTORY_H

#include <base/cancellation.h>
#include <cache/cache.h>
#include <hubcache/inventory.h>

HC_DEFINE_AUTO_VALUE(hc_cached_repos, hc_cached_repos_clear)

/* 1, and the caller clears `found`; 0: there is no such folder; -1: cancelled, or memory
 * is short. */
int hc_inventory_read_repo(const struct hc_cache *cache, const struct hc_repo *repo,
                           struct hc_cancellation *cancellation,
                           struct hc_cached_repo *found, struct hc_error *err);

void hc_cached_repo_clear(struct hc_cached_repo *repo);
HC_DEFINE_AUTO_VALUE(hc_cached_repo, hc_cached_repo_clear)

#endif
