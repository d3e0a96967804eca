/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other clients leave no claim, but all of them write blobs/<etag>…incomplete (§1.5).
 */
#include "rival.h"

#include "partial.h"
#include "record.h"

#include <base/text.h>

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

static bool look_at_claim(struct hc_rival *rival, uint64_t *trace)
{
    struct hc_record record;

    if (hc_record_find(hc_cache_fd(rival->cache), rival->repo->folder, rival->etag,
                       &record) != 1)
        return false;
    rival->bytes = record.bytes;
    *trace = (uint64_t)record.beat_ms + record.bytes;
    return true;
}

static bool look_at_files(struct hc_rival *rival, uint64_t *trace)
{
    struct hc_partial_trace files;

    if (!hc_partial_trace(hc_cache_fd(rival->cache), rival->repo->folder, rival->etag,
                          &files))
        return false;
    rival->bytes = files.largest;
    *trace = files.trace;
    return true;
}

bool hc_rival_look(struct hc_rival *rival, int64_t now_ms)
{
    uint64_t trace = 0;

    if (now_ms - rival->looked_ms < LOOK_MS)
        return false;
    rival->looked_ms = now_ms;
    rival->is_claimed = look_at_claim(rival, &trace);
    rival->is_there =
        rival->is_claimed || (!rival->is_ours && look_at_files(rival, &trace));
    if (!rival->is_there)
        rival->bytes = 0;
    if (trace != rival->trace)
        rival->moved_ms = now_ms;
    rival->trace = trace;
    return true;
}

int64_t hc_rival_still_ms(const struct hc_rival *rival, int64_t now_ms)
{
    return now_ms - rival->moved_ms;
}
