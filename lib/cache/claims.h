/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All claims of a cache, whoever made them (claim.h).
 */
#ifndef HC_CACHE_CLAIMS_H
#define HC_CACHE_CLAIMS_H

#include "cache.h"
#include "record.h"

struct hc_claims_entry {
    const char *folder;
    const char *etag;
    const char *path; /* of the claim */
    struct hc_record record;
};

/* Calls `visit` for each claim that can be read. */
void hc_claims_each(const struct hc_cache *cache,
                    void (*visit)(void *ctx, const struct hc_claims_entry *entry),
                    void *ctx);

/* Bytes that those which are alive, and began before `ours` in `folder`, still need: claims
 * and reservations (reserve.h). */
uint64_t hc_claims_needs(const struct hc_cache *cache, const char *folder,
                         const struct hc_record *ours, int64_t now_ms);

/* The next name of a directory that does not start with a dot, or NULL. */
const char *hc_claims_next_name(DIR *dir);

/* A directory opened without following symlinks; NULL when there is none. */
DIR *hc_claims_open_dir(int root, const char *path);

#endif
