/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All claims of a cache, whoever made them (claim.h).
 */
#ifndef HC_CLAIM_CLAIMS_H
#define HC_CLAIM_CLAIMS_H

#include "claim_record.h"
#include <cache/cache.h>

struct hc_claims_entry {
    struct hc_blob_id blob;
    const char *path; /* of the claim */
    struct hc_claim_record record;
};

/* Calls `visit` for each claim that can be read. */
void hc_claims_each(const struct hc_cache *cache,
                    void (*visit)(void *ctx, const struct hc_claims_entry *entry),
                    void *ctx);

/* Bytes that those which are alive, and began before `ours` in `folder`, still need: claims
 * and reservations (reservation.h). */
uint64_t hc_reserved_bytes(const struct hc_cache *cache, const char *folder,
                           const struct hc_claim_record *ours, int64_t now_ms);

#endif
