/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call each for the lock of a blob, for an ingest, and for one that is taken over.
 */
#ifndef HC_UNIT_CACHE_HELPER_H
#define HC_UNIT_CACHE_HELPER_H

#include "test.h"

#include <cache/blob_lock.h>
#include <claim/claim_record.h>
#include <store/ingest.h>

/* The lock of a blob that no other test object has locked. */
static inline struct hc_blob_lock *take_lock(const struct hc_cache *cache,
                                             const struct hc_blob_id *blob)
{
    struct hc_error err;
    struct hc_blob_lock *lock = hc_blob_lock_new(cache, blob, &err);

    assert_non_null(lock);
    assert_int_equal(hc_blob_lock_try(lock, &err), 1);
    return lock;
}

/* NULL also when another claim of the blob is alive; then `err` is as it was. */
static inline struct hc_ingest *begin_ingest(const struct hc_cache *cache,
                                             const struct hc_blob_id *blob, uint64_t size,
                                             struct hc_error *err)
{
    const struct hc_blob_request request = {.blob = *blob, .size = size};
    const struct hc_claim_options options = {0};
    struct hc_ingest *ingest = NULL;

    if (hc_ingest_begin(cache, &request, &options, &ingest, err) != 1)
        return NULL;
    if (hc_ingest_check_space(ingest, NULL, err) == 0)
        return ingest;
    hc_ingest_drop(ingest);
    return NULL;
}

/* Takes over the claim that a live process has, as if it had stalled. */
static inline struct hc_ingest *take_ingest_over(const struct hc_cache *cache,
                                                 const struct hc_blob_id *blob,
                                                 uint64_t size)
{
    const struct hc_blob_request request = {.blob = *blob, .size = size};
    struct hc_claim_record record;
    const struct hc_claim_options options = {.stalled = record.partial};
    struct hc_ingest *ingest = NULL;
    struct hc_error err;

    assert_int_equal(hc_claim_record_find(hc_cache_fd(cache), blob, &record), 1);
    assert_int_equal(hc_ingest_begin(cache, &request, &options, &ingest, &err), 1);
    return ingest;
}

#endif
