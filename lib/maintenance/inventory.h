/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory of <hubcache/inventory.h>: reads one repo of a cache. Every pointer and
 * every blob of the repo is looked at once: about two system calls a file. Memory is that
 * of the repo's blobs. What other processes add or remove meanwhile may be there or not.
 * Neither atimes nor what this process remembers of the cache is changed by it. Callable
 * from any thread.
 */
#ifndef HC_MAINTENANCE_INVENTORY_H
#define HC_MAINTENANCE_INVENTORY_H

#include <base/cancellation.h>
#include <cache/cache.h>
#include <hubcache/inventory.h>

struct hc_hold_rules;
struct hc_identity;
struct hc_policy;
struct hc_workers;

HC_DEFINE_AUTO_VALUE(hc_cached_repos, hc_cached_repos_clear)
HC_DEFINE_AUTO_VALUE(hc_cached_revisions, hc_cached_revisions_clear)

struct hc_inventory {
    const struct hc_cache *cache;         /* Required. */
    int64_t now_ms;                       /* Required: for leases; hc_volume_now_ms() */
    struct hc_workers *workers;           /* Optional: threads that look at blobs … */
    bool is_slow;                         /* … because the volume is slow */
    struct hc_cancellation *cancellation; /* Optional. */
    const struct hc_hold_rules *rules;    /* Optional: what the policy keeps */
    struct hc_policy *policy;             /* Optional: leaves out files for … */
    const struct hc_identity *identity;   /* … this caller; NULL: an anonymous one */
    bool with_revisions;
};

/* 1, and the caller clears `found`; 0: there is no such folder; -1: cancelled, or memory
 * is short. */
int hc_inventory_read_repo(const struct hc_inventory *inventory,
                           const struct hc_repo *repo, struct hc_cached_repo *found,
                           struct hc_error *err);

void hc_cached_revision_clear(struct hc_cached_revision *revision);
void hc_cached_repo_clear(struct hc_cached_repo *repo);
HC_DEFINE_AUTO_VALUE(hc_cached_repo, hc_cached_repo_clear)

#endif
