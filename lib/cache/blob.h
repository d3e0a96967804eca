/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blobs/<etag>: the bytes. A blob is written as blobs/<etag>.<8 hex>.incomplete, hashed
 * while it streams, checked, flushed and only then renamed; what can be found is whole
 * and right. One ingest belongs to one thread at a time.
 */
#ifndef HC_CACHE_BLOB_H
#define HC_CACHE_BLOB_H

#include "cache.h"

#include <stdint.h>

struct hc_ingest; /* one blob being written */

/* 1 and its size when the blob is there (through symlinks, a regular file); else 0. */
int hc_blob_find(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *etag, uint64_t *size, struct hc_error *err);

/*
 * Begin, write, commit if all went well, and in every case drop. `size` is what the Hub
 * promised. Begin also records who is fetching in .hubcache/transfers (claim.h).
 */
struct hc_ingest *hc_ingest_begin(const struct hc_cache *cache,
                                  const struct hc_repo *repo, const char *etag,
                                  uint64_t size, struct hc_error *err);

/* BAD_HUB_REPLY when more bytes come than were promised. */
int hc_ingest_write(struct hc_ingest *ingest, const void *bytes, size_t count,
                    struct hc_error *err);

/* How many bytes are written: where to resume. Callable from any thread. */
uint64_t hc_ingest_offset(const struct hc_ingest *ingest);

/* Forgets what was written and starts from byte 0. */
int hc_ingest_restart(struct hc_ingest *ingest, struct hc_error *err);

/*
 * Checks length (BAD_HUB_REPLY) and hash (CHECKSUM_MISMATCH), flushes, renames over
 * blobs/<etag>, flushes the directory. Losing a race is success: same name, same bytes.
 */
int hc_ingest_commit(struct hc_ingest *ingest, struct hc_error *err);

/* Removes what was not committed. NULL is fine. */
void hc_ingest_drop(struct hc_ingest *ingest);
HC_DEFINE_AUTO(hc_ingest, hc_ingest_drop)

#endif
