/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beginning what the cache lets one do, in a word.
 */
#ifndef HC_UNIT_CACHE_HELPER_H
#define HC_UNIT_CACHE_HELPER_H

#include "test.h"

#include <cache/blob_lock.h>
#include <claim/claim_record.h>
#include <store/ingest.h>

/* The lock of a blob that nobody has. */
static inline struct hc_blob_lock *take_lock(const struct hc_cache *cache,
                                             const struct hc_repo *repo, const char *etag)
{
    struct hc_error err;
    struct hc_blob_lock *lock = hc_blob_lock_new(cache, repo->folder, etag, &err);

    assert_non_null(lock);
    assert_int_equal(hc_blob_lock_try(lock, &err), 1);
    return lock;
}

/* NULL also when somebody else is at it; then `err` is as it was. */
static inline struct hc_ingest *begin_ingest(const struct hc_cache *cache,
                                             const struct hc_repo *repo, const char *etag,
                                             uint64_t size, struct hc_error *err)
{
    const struct hc_ingest_request request = {.repo = repo, .etag = etag, .size = size};
    struct hc_ingest *ingest = NULL;

    return hc_ingest_begin(cache, &request, &ingest, err) == 1 ? ingest : NULL;
}

/* From whoever is at it, and may go on all the same. */
static inline struct hc_ingest *take_ingest_over(const struct hc_cache *cache,
                                                 const struct hc_repo *repo,
                                                 const char *etag, uint64_t size)
{
    struct hc_claim_record record;
    const struct hc_ingest_request request = {.repo = repo,
                                              .etag = etag,
                                              .size = size,
                                              .stuck = record.partial};
    struct hc_ingest *ingest = NULL;
    struct hc_error err;

    assert_int_equal(hc_claim_record_find(hc_cache_fd(cache), repo->folder, etag,
                                          &record),
                     1);
    assert_int_equal(hc_ingest_begin(cache, &request, &ingest, &err), 1);
    return ingest;
}

#endif
