/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/transfers/<repo folder>/<etag>: who is fetching a blob (host, pid, when it
 * started), under which private name, and how far it is. The file's mtime is its
 * heartbeat. Only advice: correctness never rests on it. It lets a later start know which
 * *.incomplete files are its own kind's and belong to nobody any more.
 */
#ifndef HC_CACHE_CLAIM_H
#define HC_CACHE_CLAIM_H

#include "cache.h"

#include <stdint.h>

struct hc_claim;

/* Failure to write one is not a failure of the transfer: NULL only when memory is short.
 */
struct hc_claim *hc_claim_make(const struct hc_cache *cache, const struct hc_repo *repo,
                               const char *etag, const char *incomplete,
                               struct hc_error *err);

/* Says "still here, this far", at most once in five seconds. */
void hc_claim_beat(struct hc_claim *claim, uint64_t bytes_done);

/* Removes the record. NULL is fine. */
void hc_claim_drop(struct hc_claim *claim);
HC_DEFINE_AUTO(hc_claim, hc_claim_drop)

enum { HC_CLAIM_STALE_MS = 120000 }; /* a heartbeat older than this has stopped */

/*
 * Removes the *.incomplete files of claims whose owner is gone (same host: no process of
 * that pid and start; other host: no heartbeat for HC_CLAIM_STALE_MS before `now_ms`) and
 * whose blob nobody has locked, then the claims; and private files of the same age below
 * .hubcache/tmp. Returns how many were removed. What cannot be removed is left.
 */
unsigned hc_claim_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
