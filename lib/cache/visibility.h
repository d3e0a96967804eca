/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/visibility/<repo folder>, a record: whether a repo is public, gated or
 * private, as the Hub said at the file's mtime. Of one that is not public only the Hub is
 * asked, never a mirror, which may have another repo of the same name. For all processes
 * of the volume; if a record cannot be written, each asks the Hub again. Callable from
 * any thread.
 */
#ifndef HC_CACHE_VISIBILITY_H
#define HC_CACHE_VISIBILITY_H

#include "cache.h"

#include <stdint.h>

enum { HC_VISIBILITY_MAX_AGE_MS = 24 * 60 * 60 * 1000 /* of PUBLIC */ };

/* UNKNOWN: there is no record, or it has expired. */
enum hc_visibility hc_visibility_find(const struct hc_cache *cache,
                                      const struct hc_repo *repo, int64_t now_ms);

/* The same of a record of any age, for a process that can never ask the Hub. */
enum hc_visibility hc_visibility_find_last(const struct hc_cache *cache,
                                           const struct hc_repo *repo);

/* Records what the Hub just said; writes nothing when the record says so already. */
void hc_visibility_update(const struct hc_cache *cache, const struct hc_repo *repo,
                          enum hc_visibility visibility, int64_t now_ms);

/* Removes records, a month old, of repos that have no folder in the cache. */
void hc_visibility_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
