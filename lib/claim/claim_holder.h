/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody else who fetches a blob that we want: another process of ours, known by its
 * claim, or another client, known by the file that grows. How far it is, and whether it
 * still moves. No clock is believed but the caller's: what counts is that something changed
 * while we looked. The time is an argument; not thread-safe.
 */
#ifndef HC_CLAIM_CLAIM_HOLDER_H
#define HC_CLAIM_CLAIM_HOLDER_H

#include <cache/cache.h>

#include <limits.h>
#include <stdint.h>

struct hc_claim_holder {
    const struct hc_cache *cache; /* borrowed, as the next */
    struct hc_blob_id blob;
    bool
        only_claims; /* only a claim counts, be its owner gone; not other clients' files */
    bool is_present;            /* there is a claim or a file */
    bool has_claim;             /* a claim: it beats whatever its owner waits for */
    char partial[NAME_MAX + 1]; /* the file it names, by which it is known */
    uint64_t bytes;             /* that it has */
    uint64_t trace;             /* differs when the claim moved, */
    uint64_t files;             /* or a file */
    int64_t progressed_ms;
    int64_t polled_ms;
};

void hc_claim_holder_init(struct hc_claim_holder *holder, const struct hc_cache *cache,
                          const struct hc_blob_id *blob, int64_t now_ms);

/* Looks, four times a second at most; false when it had looked shortly before. */
bool hc_claim_holder_poll(struct hc_claim_holder *holder, int64_t now_ms);

/* Whether nothing has moved for so long, nor has now: it looks before it says so. */
bool hc_claim_holder_is_stalled(struct hc_claim_holder *holder, int64_t for_ms,
                                int64_t now_ms);

#endif
