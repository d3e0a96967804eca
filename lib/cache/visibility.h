/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/visibility/<repo folder>: whether the Hub gives a repo to everybody, as it
 * said when it was last heard (the file's mtime). A restricted repo, private or gated, is
 * asked of the Hub only: a mirror may have another one of the same name. Advice for all
 * processes on the volume; a record that cannot be kept is learned again. Callable from
 * any thread.
 */
#ifndef HC_CACHE_VISIBILITY_H
#define HC_CACHE_VISIBILITY_H

#include "cache.h"

#include <stdint.h>

enum hc_visibility {
    HC_VISIBILITY_UNKNOWN, /* never heard, or too long ago */
    HC_VISIBILITY_PUBLIC,
    HC_VISIBILITY_RESTRICTED
};

enum { HC_VISIBILITY_MAX_AGE_MS = 24 * 60 * 60 * 1000 /* of a PUBLIC that was heard */ };

enum hc_visibility hc_visibility_find(const struct hc_cache *cache,
                                      const struct hc_repo *repo, int64_t now_ms);

/* What the Hub just said; writes nothing when that is what the record says. */
void hc_visibility_update(const struct hc_cache *cache, const struct hc_repo *repo,
                          enum hc_visibility visibility, int64_t now_ms);

/* Removes old records of repos that the cache has nothing of. */
void hc_visibility_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
