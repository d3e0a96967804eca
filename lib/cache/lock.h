/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .locks/<repo folder>/<etag>.lock: the flock that the Hub's clients take to fetch a blob
 * (§1.4). It saves traffic, never correctness: where a filesystem has no flock, taking
 * one succeeds and locks nothing.
 */
#ifndef HC_CACHE_LOCK_H
#define HC_CACHE_LOCK_H

#include "cache.h"

#include <base/call.h>

struct hc_lock;

/* Waits, looking every 50 ms, until the lock is ours or `call` ends. NULL on failure. */
struct hc_lock *hc_lock_take(const struct hc_cache *cache, const struct hc_repo *repo,
                             const char *etag, struct hc_call *call,
                             struct hc_error *err);

/* Releases; the file stays, as the reference leaves it. NULL is fine. */
void hc_lock_release(struct hc_lock *lock);
HC_DEFINE_AUTO(hc_lock, hc_lock_release)

/* Whether another open file holds the lock right now. Makes no file. */
bool hc_lock_is_held(const struct hc_cache *cache, const char *folder, const char *etag);

#endif
