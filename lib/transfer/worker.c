/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patience is renewed by bytes that were not there before. After a good many of them the
 * next request follows at once: a server that cuts every answer short is only slower.
 */
#include "worker.h"

#include <base/error.h>
#include <hub/retry.h>

#include <inttypes.h>

enum {
    GOOD_MANY = 1024 * 1024,
    SPAN_MAX = 32 * 1024 * 1024 /* the hash waits for the slowest of the first ones */
};

enum verdict { AGAIN, LEAVE, GIVE_UP };

/* Whether asking …/resolve instead may help: a signed address expires, a mirror forgets.
 */
static bool may_be_elsewhere(const struct hc_error *err)
{
    switch (err->reason) {
    case HC_HUB_UNAUTHORIZED:
    case HC_GATED_REPO:
    case HC_REPO_NOT_FOUND:
    case HC_ENTRY_NOT_FOUND:
    case HC_REVISION_NOT_FOUND:
    case HC_BAD_HUB_REPLY:
        return true;
    default:
        return false;
    }
}

/* Others may fare better; whereas a full volume is everybody's. */
static bool is_of_one_connection(const struct hc_error *err)
{
    return err->reason == HC_HUB_UNREACHABLE || err->reason == HC_HUB_RATE_LIMITED ||
           may_be_elsewhere(err);
}

bool hc_worker_has_overrun(const struct hc_origin *origin, const struct hc_error *err)
{
    return err->reason == HC_BAD_HUB_REPLY &&
           hc_pieces_arrived(hc_ingest_pieces(origin->ingest)) == origin->wanted->size;
}

struct patience {
    struct hc_retry retry;
    bool has_moved;   /* asked for a new address, and no byte has come from it */
    unsigned address; /* that was asked last */
};

/* After a request that did not bring the whole span, but `count` new bytes. */
static enum verdict judge(const struct hc_crew *crew, struct patience *patience,
                          uint64_t count, struct hc_error *err)
{
    struct hc_origin *origin = crew->origin;

    if (count > 0)
        *patience = (struct patience){.address = patience->address};
    if (err->reason == HC_OK || hc_worker_has_overrun(origin, err))
        return err->reason == HC_OK ? AGAIN : GIVE_UP;
    if (!patience->has_moved && may_be_elsewhere(err) &&
        hc_origin_forget(origin, patience->address)) {
        patience->has_moved = true;
        return AGAIN;
    }
    if (err->reason == HC_HUB_UNREACHABLE && count >= GOOD_MANY)
        return AGAIN;
    if (is_of_one_connection(err) && crew->may_leave(crew->ctx, err))
        return LEAVE;
    return hc_retry_pause(&patience->retry, origin->hub, origin->caller.call, err) < 0
               ? GIVE_UP
               : AGAIN;
}

/* One request for what is missing of the span. */
static enum verdict ask(const struct hc_crew *crew, struct hc_span *span,
                        struct patience *patience, struct hc_error *err)
{
    struct hc_origin *origin = crew->origin;
    uint64_t start = span->start;
    enum verdict verdict;

    *err = (struct hc_error){0};
    (void)hc_origin_get(origin, span, &patience->address, err);
    hc_pieces_trim(hc_ingest_pieces(origin->ingest), span);
    if (span->start >= span->end && !hc_worker_has_overrun(origin, err))
        return AGAIN;
    if (err->reason == HC_OK && span->start == start)
        (void)hc_fail(err, HC_BAD_HUB_REPLY,
                      "the Hub sent nothing of '%.120s' from byte %" PRIu64 " on",
                      origin->wanted->path, start);
    verdict = judge(crew, patience, span->start - start, err);
    if (verdict != GIVE_UP && err->reason != HC_OK)
        hc_origin_note_retry(origin);
    return verdict;
}

static enum verdict bring(const struct hc_crew *crew, struct hc_span span,
                          struct hc_error *err)
{
    struct patience patience = {0};
    enum verdict verdict = AGAIN;

    while (verdict == AGAIN && span.start < span.end)
        verdict = ask(crew, &span, &patience, err);
    return verdict;
}

/* Large spans first, so that requests are few; small ones last, a piece at least, so that
 * all end together. */
static uint64_t share(const struct hc_crew *crew)
{
    const struct hc_origin *origin = crew->origin;
    uint64_t missing =
        origin->wanted->size - hc_pieces_arrived(hc_ingest_pieces(origin->ingest));
    uint64_t share = missing / crew->share_of;

    if (crew->share_of == 1)
        return missing;
    return share < SPAN_MAX ? share : SPAN_MAX;
}

int hc_worker_run(const struct hc_crew *crew, struct hc_error *err)
{
    struct hc_pieces *pieces = hc_ingest_pieces(crew->origin->ingest);
    enum verdict verdict = AGAIN;
    struct hc_span span;

    while (verdict == AGAIN && hc_pieces_take(pieces, share(crew), &span)) {
        verdict = bring(crew, span, err);
        hc_pieces_give_back(pieces, &span);
        if (verdict == AGAIN && crew->may_leave(crew->ctx, NULL))
            verdict = LEAVE;
    }
    if (verdict == GIVE_UP)
        return -1;
    return verdict == LEAVE ? HC_WORKER_LEFT : HC_WORKER_DONE;
}
