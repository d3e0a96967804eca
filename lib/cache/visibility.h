/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/visibility/<repo folder>, a record: whether the Hub gives a repo to every
 * client, as it said at the file's mtime. Of a restricted repo, private or gated, only
 * the Hub is asked, never a mirror, which may have another repo of the same name. For all
 * processes of the volume; if a record cannot be written, each asks the Hub again.
 * Callable from any thread.
 */
#ifndef HC_CACHE_VISIBILITY_H
#define HC_CACHE_VISIBILITY_H

#include "cache.h"

#include <stdint.h>

enum hc_visibility {
    HC_VISIBILITY_UNKNOWN, /* no record, or one that has expired */
    HC_VISIBILITY_PUBLIC,
    HC_VISIBILITY_RESTRICTED
};

enum { HC_VISIBILITY_MAX_AGE_MS = 24 * 60 * 60 * 1000 /* of PUBLIC */ };

enum hc_visibility hc_visibility_find(const struct hc_cache *cache,
                                      const struct hc_repo *repo, int64_t now_ms);

/* Records what the Hub just said; writes nothing when the record says so already. */
void hc_visibility_update(const struct hc_cache *cache, const struct hc_repo *repo,
                          enum hc_visibility visibility, int64_t now_ms);

/* Removes records, a month old, of repos that have no folder in the cache. */
void hc_visibility_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
