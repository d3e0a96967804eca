/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody else who fetches a blob that we want: another process of ours, known by its
 * claim, or another client, known by the file that grows. How far it is, and whether it
 * still moves. No clock is believed but the caller's: what counts is that something changed
 * while we looked. The time is an argument; not thread-safe.
 */
#ifndef HC_CLAIM_RIVAL_H
#define HC_CLAIM_RIVAL_H

#include <cache/cache.h>

#include <limits.h>
#include <stdint.h>

struct hc_rival {
    const struct hc_cache *cache; /* borrowed, as the next two */
    const struct hc_repo *repo;
    const char *etag;
    bool is_ours;  /* only a claim counts, be its owner gone; not other clients' files */
    bool is_there; /* there is a claim or a file */
    bool is_claimed;            /* a claim: it beats whatever its owner waits for */
    char claimed[NAME_MAX + 1]; /* the file it names, by which it is known */
    uint64_t bytes;             /* that it has */
    uint64_t trace;             /* differs when the claim moved, */
    uint64_t files;             /* or a file */
    int64_t moved_ms;
    int64_t looked_ms;
};

void hc_rival_init(struct hc_rival *rival, const struct hc_cache *cache,
                   const struct hc_repo *repo, const char *etag, int64_t now_ms);

/* Looks, four times a second at most; false when it had looked shortly before. */
bool hc_rival_look(struct hc_rival *rival, int64_t now_ms);

/* Whether nothing has moved for so long, nor has now: it looks before it says so. */
bool hc_rival_is_still(struct hc_rival *rival, int64_t for_ms, int64_t now_ms);

#endif
