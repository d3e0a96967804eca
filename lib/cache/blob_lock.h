/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .locks/<repo folder>/<etag>.lock: the lock that the Hub's clients take to fetch a blob
 * (§1.4). It saves traffic, never correctness: on a volume that refuses locks, taking one
 * succeeds and excludes no other process. A hit takes none.
 *
 * A lock is free or taken. hc_blob_lock_try takes it by flock(2) or, where the kernel has
 * no flock for the filesystem (ENOSYS), as a soft lock: the file exists. Which of the two
 * it is turns out at the first attempt, and stays so. hc_blob_lock_release frees it.
 * Different threads may hold different struct hc_blob_lock; one belongs to one thread.
 */
#ifndef HC_CACHE_BLOB_LOCK_H
#define HC_CACHE_BLOB_LOCK_H

#include "cache.h"

struct hc_blob_lock;

/* Takes nothing yet. The caller releases it in every case, before it closes `cache`. */
struct hc_blob_lock *hc_blob_lock_new(const struct hc_cache *cache,
                                      const struct hc_blob_id *blob,
                                      struct hc_error *err);

/* 1: taken, now or before; 0: another thread, process or client has it, try again later;
 * -1: the volume refuses. Never waits. */
int hc_blob_lock_try(struct hc_blob_lock *lock, struct hc_error *err);

/*
 * Removes the lock file, so that the next attempt creates another one: a process that
 * hangs with the old file locked excludes no other any more. All clients open the file
 * anew at each attempt.
 */
void hc_blob_lock_replace(struct hc_blob_lock *lock);

/* The file stays, as the reference client leaves it, unless it was a soft lock. NULL is
 * fine. */
void hc_blob_lock_release(struct hc_blob_lock *lock);
HC_DEFINE_AUTO(hc_blob_lock, hc_blob_lock_release)

/* Whether the lock is taken right now, by any thread, process or client. Creates no
 * file. */
bool hc_blob_lock_is_held(const struct hc_cache *cache, const struct hc_blob_id *blob);

#endif
