/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other clients leave no claim, but all of them write blobs/<etag>…incomplete (§1.5).
 */
#include "rival.h"

#include "claim_record.h"
#include "partial.h"

#include <string.h>

enum { LOOK_MS = 250 };

void hc_rival_init(struct hc_rival *rival, const struct hc_cache *cache,
                   const struct hc_repo *repo, const char *etag, int64_t now_ms)
{
    *rival = (struct hc_rival){.cache = cache,
                               .repo = repo,
                               .etag = etag,
                               .moved_ms = now_ms,
                               .looked_ms = now_ms - LOOK_MS};
}

/* Who is gone holds no lock; but his claim may be in the way. */
static bool look_at_claim(struct hc_rival *rival, uint64_t *trace)
{
    struct hc_claim_record record;

    if (hc_claim_record_find(hc_cache_fd(rival->cache), rival->repo->folder, rival->etag,
                             &record) != 1 ||
        (!rival->is_ours && hc_claim_record_owner_is_gone(&record)))
        return false;
    rival->bytes = record.bytes;
    memcpy(rival->partial, record.partial, sizeof rival->partial);
    *trace = (uint64_t)record.heartbeat_ms + record.bytes;
    return true;
}

static bool look_at_files(struct hc_rival *rival, uint64_t *trace)
{
    struct hc_partial_summary files;

    if (!hc_partial_summary(hc_cache_fd(rival->cache), rival->repo->folder, rival->etag,
                            &files))
        return false;
    if (!rival->is_claimed)
        rival->bytes = files.largest;
    *trace = files.trace;
    return true;
}

static void look(struct hc_rival *rival, int64_t now_ms)
{
    uint64_t trace = 0, files = rival->files;

    rival->looked_ms = now_ms;
    rival->bytes = 0;
    rival->partial[0] = '\0';
    rival->is_claimed = look_at_claim(rival, &trace);
    rival->is_there = rival->is_claimed;
    /* A claim may have outlived its owner, and another client be at work. */
    if (!rival->is_ours && trace == rival->trace && look_at_files(rival, &files))
        rival->is_there = true;
    if (trace != rival->trace || files != rival->files)
        rival->moved_ms = now_ms;
    rival->trace = trace;
    rival->files = files;
}

bool hc_rival_look(struct hc_rival *rival, int64_t now_ms)
{
    if (now_ms - rival->looked_ms < LOOK_MS)
        return false;
    look(rival, now_ms);
    return true;
}

bool hc_rival_is_still(struct hc_rival *rival, int64_t for_ms, int64_t now_ms)
{
    if (now_ms - rival->moved_ms < for_ms)
        return false;
    look(rival, now_ms);
    return now_ms - rival->moved_ms >= for_ms;
}
