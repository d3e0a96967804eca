/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bounds the requests of a span: patience is the retries of the settings, each after
 * a pause that grows, and one new address. It is renewed by progress only, which is
 * PROGRESS_BYTES new ones (or a sixteenth of the blob, when that is less) that came, the
 * pauses included, at HC_RATE_MIN bytes a second or more. A request that brought
 * MUCH_PROGRESS is followed by the next one without a pause: a server that cuts every
 * answer short is only slower.
 */
#include "worker.h"

#include <base/error.h>
#include <hub/request.h>
#include <hub/retry.h>

#include <inttypes.h>

enum {
    MUCH_PROGRESS = 1024 * 1024,
    PROGRESS_BYTES = 64 * 1024,
    PROGRESS_SHARE = 16,
    SPAN_MAX = 32 * 1024 * 1024 /* the hash waits for the slowest of the first ones */
};

/* Ask again for the rest of the span; let others have it; end this worker; end all. */
enum verdict { AGAIN, GIVE_BACK, LEAVE, GIVE_UP };

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

struct patience {
    struct hc_retry retry;
    bool has_moved;     /* asked for a new address */
    int64_t renewed_ms; /* when this one began */
    uint64_t bytes;     /* new ones since then */
};

/* After `count` new bytes. */
static void renew(const struct hc_crew *crew, struct patience *patience, uint64_t count)
{
    uint64_t share =
        hc_pieces_size(hc_ingest_pieces(crew->origin->ingest)) / PROGRESS_SHARE;
    uint64_t enough = share < PROGRESS_BYTES ? share : PROGRESS_BYTES;
    int64_t now_ms = hc_monotonic_ms();

    patience->bytes += count;
    if (count > 0 && patience->bytes >= enough &&
        patience->bytes * 1000 >= (uint64_t)(now_ms - patience->renewed_ms) * HC_RATE_MIN)
        *patience = (struct patience){.renewed_ms = now_ms};
}

/* One new address for each patience. */
static bool may_move(const struct hc_range_outcome *attempt,
                     const struct patience *patience, const struct hc_error *err)
{
    return !patience->has_moved && attempt->was_elsewhere && may_be_elsewhere(err);
}

/* After a request that did not bring the whole span, but `count` new bytes. */
static enum verdict judge(const struct hc_crew *crew,
                          const struct hc_range_outcome *attempt,
                          struct patience *patience, uint64_t count, struct hc_error *err)
{
    struct hc_byte_source *origin = crew->origin;

    if (hc_byte_source_sent_wrong_bytes(origin, err))
        return GIVE_UP;
    if (attempt->is_straggler)
        return GIVE_BACK;
    if (may_move(attempt, patience, err)) {
        hc_byte_source_forget_address(origin, attempt->address_number);
        patience->has_moved = true;
        return AGAIN;
    }
    if (err->reason == HC_HUB_UNREACHABLE && count >= MUCH_PROGRESS)
        return AGAIN;
    if (is_of_one_connection(err) && crew->may_leave(crew->ctx, err))
        return LEAVE;
    if (hc_retry_pause(&patience->retry, origin->hub, origin->credentials.call, err) < 0)
        return GIVE_UP;
    if (err->reason == HC_HUB_UNREACHABLE && count == 0 && attempt->was_elsewhere)
        hc_byte_source_forget_address(origin, attempt->address_number);
    return AGAIN;
}

/* An answer that ended as HTTP says it should, and short of what was asked for. */
static int fail_short(const struct hc_byte_source *origin, uint64_t at, uint64_t count,
                      struct hc_error *err)
{
    char subject[HC_SUBJECT_SIZE];

    hc_byte_source_describe(origin, subject);
    if (count == 0)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "%s: the Hub sent nothing from byte %" PRIu64
                       " on; check for a proxy that cuts answers off, then ask again",
                       subject, at);
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "%s: the answer ended early, at byte %" PRIu64, subject, at + count);
}

/* One request for what is missing of the span. */
static enum verdict ask(const struct hc_crew *crew, struct hc_span *span,
                        struct patience *patience, struct hc_error *err)
{
    struct hc_byte_source *origin = crew->origin;
    struct hc_range_outcome attempt;
    uint64_t start = span->start;
    enum verdict verdict;

    *err = (struct hc_error){0};
    (void)hc_byte_source_get_range(origin, span, &attempt, err);
    hc_pieces_trim(hc_ingest_pieces(origin->ingest), span);
    if (span->start >= span->end && !hc_byte_source_sent_wrong_bytes(origin, err))
        return AGAIN;
    if (err->reason == HC_OK)
        (void)fail_short(origin, start, span->start - start, err);
    renew(crew, patience, span->start - start);
    verdict = judge(crew, &attempt, patience, span->start - start, err);
    if (verdict != GIVE_UP)
        hc_byte_source_count_retry(origin);
    return verdict;
}

static enum verdict bring(const struct hc_crew *crew, struct hc_span span,
                          struct hc_error *err)
{
    struct patience patience = {.renewed_ms = hc_monotonic_ms()};
    enum verdict verdict = AGAIN;

    while (verdict == AGAIN && span.start < span.end)
        verdict = ask(crew, &span, &patience, err);
    return verdict == GIVE_BACK ? AGAIN : verdict;
}

/* Large spans first, so that requests are few; small ones last, a piece at least, so that
 * all end together. */
static uint64_t share(const struct hc_crew *crew)
{
    const struct hc_byte_source *origin = crew->origin;
    uint64_t missing = hc_pieces_missing(hc_ingest_pieces(origin->ingest));
    uint64_t share = missing / crew->share_of;

    if (crew->share_of == 1)
        return missing;
    return share < SPAN_MAX ? share : SPAN_MAX;
}

/* Budget: the bytes that are missing. A span comes, or ends the worker, or was given back
 * by a connection that had been watched for seconds. */
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
