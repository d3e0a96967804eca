/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bounds the requests of a span: patience is the retries of the settings, each after
 * a pause that grows, and one new address. It is renewed by progress only, which is
 * PROGRESS_BYTES new ones (or a sixteenth of the blob, when that is less) that came, the
 * pauses included, at HC_RATE_MIN bytes a second or more. A request that brought
 * MUCH_PROGRESS is followed by the next one without a pause: a server that cuts every
 * answer short is only slower.
 */
#include "segment_worker.h"

#include <base/error.h>
#include <hub/http_exchange.h>
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
static bool failure_may_be_of_the_address(const struct hc_error *err)
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
static bool failure_may_be_of_the_connection(const struct hc_error *err)
{
    return err->reason == HC_HUB_UNREACHABLE || err->reason == HC_HUB_RATE_LIMITED ||
           failure_may_be_of_the_address(err);
}

struct allowance {
    struct hc_retry retry;
    bool has_new_address; /* asked for a new address */
    int64_t renewed_ms;   /* when this one began */
    uint64_t bytes;       /* new ones since then */
};

/* After `count` new bytes. */
static void allowance_renew(const struct hc_segment_workers *workers,
                            struct allowance *allowance, uint64_t count)
{
    uint64_t worker_span_length =
        hc_pieces_size(hc_ingest_pieces(workers->source->ingest)) / PROGRESS_SHARE;
    uint64_t enough =
        worker_span_length < PROGRESS_BYTES ? worker_span_length : PROGRESS_BYTES;
    int64_t now_ms = hc_monotonic_ms();

    allowance->bytes += count;
    if (count > 0 && allowance->bytes >= enough &&
        allowance->bytes * 1000 >=
            (uint64_t)(now_ms - allowance->renewed_ms) * HC_RATE_MIN)
        *allowance = (struct allowance){.renewed_ms = now_ms};
}

/* One new address for each patience. */
static bool allowance_has_new_address(const struct hc_range_outcome *outcome,
                                      const struct allowance *allowance,
                                      const struct hc_error *err)
{
    return !allowance->has_new_address && outcome->was_elsewhere &&
           failure_may_be_of_the_address(err);
}

/* After a request that did not bring the whole span, but `count` new bytes. */
static enum verdict worker_judge_failure(const struct hc_segment_workers *workers,
                                         const struct hc_range_outcome *outcome,
                                         struct allowance *allowance, uint64_t count,
                                         struct hc_error *err)
{
    struct hc_byte_source *source = workers->source;

    if (hc_byte_source_sent_wrong_bytes(source, err))
        return GIVE_UP;
    if (outcome->is_straggler)
        return GIVE_BACK;
    if (allowance_has_new_address(outcome, allowance, err)) {
        hc_byte_source_forget_address(source, outcome->address_number);
        allowance->has_new_address = true;
        return AGAIN;
    }
    if (err->reason == HC_HUB_UNREACHABLE && count >= MUCH_PROGRESS)
        return AGAIN;
    if (failure_may_be_of_the_connection(err) && workers->may_leave(workers->ctx, err))
        return LEAVE;
    if (hc_retry_wait(&allowance->retry, source->hub, source->credentials.cancellation,
                      err) < 0)
        return GIVE_UP;
    if (err->reason == HC_HUB_UNREACHABLE && count == 0 && outcome->was_elsewhere)
        hc_byte_source_forget_address(source, outcome->address_number);
    return AGAIN;
}

/* An answer that ended as HTTP says it should, and short of what was asked for. */
static int fail_short_answer(const struct hc_byte_source *source, uint64_t at,
                             uint64_t count, struct hc_error *err)
{
    char subject[HC_TARGET_TEXT_SIZE];

    hc_byte_source_describe(source, subject);
    if (count == 0)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "%s: the Hub sent nothing from byte %" PRIu64
                       " on; check for a proxy that cuts answers off, then ask again",
                       subject, at);
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "%s: the answer ended early, at byte %" PRIu64, subject, at + count);
}

/* One request for what is missing of the span. */
static enum verdict worker_request_range(const struct hc_segment_workers *workers,
                                         struct hc_span *span,
                                         struct allowance *allowance,
                                         struct hc_error *err)
{
    struct hc_byte_source *source = workers->source;
    struct hc_range_outcome outcome;
    uint64_t start = span->start;
    enum verdict verdict;

    *err = (struct hc_error){0};
    (void)hc_byte_source_get_range(source, span, &outcome, err);
    hc_pieces_trim(hc_ingest_pieces(source->ingest), span);
    if (span->start >= span->end && !hc_byte_source_sent_wrong_bytes(source, err))
        return AGAIN;
    if (err->reason == HC_OK)
        (void)fail_short_answer(source, start, span->start - start, err);
    allowance_renew(workers, allowance, span->start - start);
    verdict =
        worker_judge_failure(workers, &outcome, allowance, span->start - start, err);
    if (verdict != GIVE_UP)
        hc_byte_source_count_retry(source);
    return verdict;
}

static enum verdict worker_fetch_span(const struct hc_segment_workers *workers,
                                      struct hc_span span, struct hc_error *err)
{
    struct allowance allowance = {.renewed_ms = hc_monotonic_ms()};
    enum verdict verdict = AGAIN;

    while (verdict == AGAIN && span.start < span.end)
        verdict = worker_request_range(workers, &span, &allowance, err);
    return verdict == GIVE_BACK ? AGAIN : verdict;
}

/* Large spans first, so that requests are few; small ones last, a piece at least, so that
 * all end together. */
static uint64_t worker_span_length(const struct hc_segment_workers *workers)
{
    const struct hc_byte_source *source = workers->source;
    uint64_t missing = hc_pieces_missing(hc_ingest_pieces(source->ingest));
    uint64_t worker_span_length = missing / workers->share_of;

    if (workers->share_of == 1)
        return missing;
    return worker_span_length < SPAN_MAX ? worker_span_length : SPAN_MAX;
}

/* Budget: the bytes that are missing. A span comes, or ends the worker, or was given back
 * by a connection that had been watched for seconds. */
int hc_segment_worker_run(const struct hc_segment_workers *workers, struct hc_error *err)
{
    struct hc_pieces *pieces = hc_ingest_pieces(workers->source->ingest);
    enum verdict verdict = AGAIN;
    struct hc_span span;

    while (verdict == AGAIN &&
           hc_pieces_take(pieces, worker_span_length(workers), &span)) {
        verdict = worker_fetch_span(workers, span, err);
        hc_pieces_give_back(pieces, &span);
        if (verdict == AGAIN && workers->may_leave(workers->ctx, NULL))
            verdict = LEAVE;
    }
    if (verdict == GIVE_UP)
        return -1;
    return verdict == LEAVE ? HC_SEGMENT_WORKER_LEFT : HC_SEGMENT_WORKER_DONE;
}
