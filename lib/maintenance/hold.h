/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds a revision, so that it is not removed: a caller's lease, a pin, the policy's
 * `keep` or `retention`, or a transfer of one of its files. What cannot be found out
 * holds it, too. Callable from any thread.
 */
#ifndef HC_MAINTENANCE_HOLD_H
#define HC_MAINTENANCE_HOLD_H

#include <base/text.h>
#include <cache/cache.h>
#include <hubcache/maintenance.h>

#include <stdbool.h>
#include <stdint.h>

struct hc_policy;

/* What the policy says. Zero-initialised: it keeps nothing. */
struct hc_hold_rules {
    /* Optional: asked about the commit, and about each ref that names it. */
    bool (*is_kept)(void *ctx, const struct hc_repo *repo, const char *revision);
    /* Optional: how long after its last use a revision stays that has these names: the
     * commit, and the refs that name it. */
    int64_t (*retention_ms)(void *ctx, const struct hc_repo *repo,
                            const char *const *names, size_t count);
    void *ctx; /* borrowed */
};

/* What the policy, which is borrowed, says whenever it is asked. */
struct hc_hold_rules hc_hold_rules_of(struct hc_policy *policy);

/* The revision; borrows. */
struct hc_hold_subject {
    const struct hc_repo *repo;
    const char *commit;
    /* Optional: a file of it that is to go alone. A transfer of other files does not hold
     * it, if a hold of the revision says so. */
    const char *path;
    const struct hc_strings *refs; /* Optional: those that name it */
    int64_t last_used_ms;          /* since the epoch */
    int64_t now_ms;                /* hc_volume_now_ms() */
};

struct hc_hold {
    enum hc_held_by by; /* HC_HELD_BY_NONE: nothing does */
    char detail[256];   /* in words */
    /* Of a revision, with HC_HELD_BY_TRANSFER: hubcached fetches single files of it, no
     * snapshot, and it lacks files in any case. */
    bool spares_files;
};

/* `rules` may be NULL. */
struct hc_hold hc_hold_find(const struct hc_cache *cache,
                            const struct hc_hold_rules *rules,
                            const struct hc_hold_subject *subject);

/* The same for leases alone, which a caller may have taken since. */
struct hc_hold hc_hold_find_lease(const struct hc_cache *cache,
                                  const struct hc_repo *repo, const char *commit,
                                  int64_t now_ms);

/* The hold of something that `failure` keeps from being read or removed. */
struct hc_hold hc_hold_of_failure(const struct hc_error *failure);

#endif
