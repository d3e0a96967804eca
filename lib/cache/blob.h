/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blobs/<etag>: the bytes of a file, under the name that the Hub's hash gives them. What
 * can be found is whole and right; ingest.h says how it gets there.
 */
#ifndef HC_CACHE_BLOB_H
#define HC_CACHE_BLOB_H

#include "cache.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether a file has lost its bytes: it has none, and its name is the hash of some. That
 * is what a crash without a flush leaves of files of other clients; it counts as absent.
 */
bool hc_blob_is_emptied(const char *etag, uint64_t size);

/* Whether a file of `size` bytes may be a blob of `expected`, or of HC_SIZE_UNKNOWN. */
bool hc_blob_size_matches(uint64_t expected, uint64_t size);

/* 1 and its size when the blob is there (through symlinks, a regular file, not emptied);
 * else 0. */
int hc_blob_find(const struct hc_cache *cache, const struct hc_blob_id *blob,
                 uint64_t *size, struct hc_error *err);

#endif
