/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .locks/<repo folder>/<etag>.lock: the flock that the Hub's clients take to fetch a blob
 * (§1.4). It saves traffic, never correctness: where a filesystem has no flock the file's
 * existence is the lock, as theirs (soft_lock.h), and where it refuses locks, taking one
 * succeeds and locks nothing.
 */
#ifndef HC_CACHE_BLOB_LOCK_H
#define HC_CACHE_BLOB_LOCK_H

#include "cache.h"

struct hc_blob_lock;

/* Takes nothing yet. Release it in every case. */
struct hc_blob_lock *hc_blob_lock_new(const struct hc_cache *cache,
                                      const struct hc_blob_id *blob,
                                      struct hc_error *err);

/* 1 it is ours; 0 somebody else has it: try again later; -1 the volume refuses. */
int hc_blob_lock_try(struct hc_blob_lock *lock, struct hc_error *err);

/*
 * Puts a new file in the lock's place: whoever holds the old one, and does not let go of
 * it, keeps nobody waiting any more. All clients look at the file anew at each attempt.
 */
void hc_blob_lock_replace(struct hc_blob_lock *lock);

/* The file stays, as the reference leaves it. NULL is fine. */
void hc_blob_lock_release(struct hc_blob_lock *lock);
HC_DEFINE_AUTO(hc_blob_lock, hc_blob_lock_release)

/* Whether another open file holds the lock right now. Makes no file. */
bool hc_blob_lock_is_held(const struct hc_cache *cache, const struct hc_blob_id *blob);

#endif
