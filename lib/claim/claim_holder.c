/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other clients leave no claim, but all of them write blobs/<etag>…incomplete (§1.5).
 */
#include "claim_holder.h"

#include "claim_record.h"
#include "partial.h"

#include <string.h>

enum { POLL_INTERVAL_MS = 250 };

void hc_claim_holder_init(struct hc_claim_holder *holder, const struct hc_cache *cache,
                          const struct hc_blob_id *blob, int64_t now_ms)
{
    *holder = (struct hc_claim_holder){.cache = cache,
                                       .blob = *blob,
                                       .progressed_ms = now_ms,
                                       .polled_ms = now_ms - POLL_INTERVAL_MS};
}

/* Who is gone holds no lock; but his claim may be in the way. */
static bool claim_holder_read_record(struct hc_claim_holder *holder, uint64_t *trace)
{
    struct hc_claim_record record;

    if (hc_claim_record_find(hc_cache_fd(holder->cache), &holder->blob, &record) != 1 ||
        (!holder->only_claims && hc_claim_record_owner_is_gone(&record)))
        return false;
    holder->bytes = record.bytes;
    memcpy(holder->partial, record.partial, sizeof holder->partial);
    *trace = (uint64_t)record.heartbeat_ms + record.bytes;
    return true;
}

static bool claim_holder_read_files(struct hc_claim_holder *holder, uint64_t *trace)
{
    struct hc_partial_summary files;

    if (!hc_partial_summary(hc_cache_fd(holder->cache), &holder->blob, &files))
        return false;
    if (!holder->has_claim)
        holder->bytes = files.largest;
    *trace = files.trace;
    return true;
}

static void claim_holder_read(struct hc_claim_holder *holder, int64_t now_ms)
{
    uint64_t trace = 0, files = holder->files;

    holder->polled_ms = now_ms;
    holder->bytes = 0;
    holder->partial[0] = '\0';
    holder->has_claim = claim_holder_read_record(holder, &trace);
    holder->is_present = holder->has_claim;
    /* A claim may have outlived its owner, and another client be at work. */
    if (!holder->only_claims && trace == holder->trace &&
        claim_holder_read_files(holder, &files))
        holder->is_present = true;
    if (trace != holder->trace || files != holder->files)
        holder->progressed_ms = now_ms;
    holder->trace = trace;
    holder->files = files;
}

bool hc_claim_holder_poll(struct hc_claim_holder *holder, int64_t now_ms)
{
    if (now_ms - holder->polled_ms < POLL_INTERVAL_MS)
        return false;
    claim_holder_read(holder, now_ms);
    return true;
}

bool hc_claim_holder_is_stalled(struct hc_claim_holder *holder, int64_t for_ms,
                                int64_t now_ms)
{
    if (now_ms - holder->progressed_ms < for_ms)
        return false;
    claim_holder_read(holder, now_ms);
    return now_ms - holder->progressed_ms >= for_ms;
}
