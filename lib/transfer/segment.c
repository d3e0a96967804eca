/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: take a span → read it → judge what became of the read → read the rest, give
 * the span back, or end.
 *
 * What bounds the reads of a span is an allowance: the retries of the settings, each
 * after a pause that grows, and one new address. It is renewed by progress only, which is
 * PROGRESS_BYTES new ones (or a sixteenth of the blob, when that is less) that came, the
 * pauses included, at HC_RATE_MIN bytes a second or more. A read that brought
 * MUCH_PROGRESS is followed by the next one without a pause: a server that cuts every
 * answer short is only slower.
 *
 * Each read compares its own rate, a second at a time, with what the connections of this
 * blob usually bring, and ends when it is far below. Its thread does that itself, and
 * then gives the rest of its span back.
 */
#include "segment.h"

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

/*
 * So many bytes for each connection may wait to be hashed, and as many more. A network
 * faster than the hash would leave it all the work of the end, and push bytes out of the
 * page cache that it has not seen.
 */
enum { UNHASHED_EACH = 32 * 1024 * 1024, POLL_MS = 5 };

/* When a connection is replaced (segment.h). The first second is that of TCP's slow
 * start; what ends soon is not worth a new request. */
enum {
    WINDOW_MS = 1000,
    SLOW_AFTER_MS = 2000,
    SAMPLE_MIN = 64 * 1024 /* bytes of an answer from which a rate can be told */
};
static const double slow_factor = 8;
static const double slow_factor_at_end = 2;
static const double worthwhile_ms = 1000;

/* The usual rate is about that of so many samples. */
static const double rate_samples = 8;

/* Read the rest of the span; leave it to other workers; end this worker; end the
 * download. */
enum verdict { AGAIN, GIVE_BACK, LEAVE, GIVE_UP };

/* ---- one read ------------------------------------------------------------------------
 */

static void segment_begin_window(struct hc_segment *segment, int64_t now_ms,
                                 int64_t waited_ms)
{
    segment->window.began_ms = now_ms;
    segment->window.waited_ms = waited_ms;
    segment->window.received = segment->received;
}

void hc_segment_start_clock(struct hc_segment *segment)
{
    segment->began_ms = hc_monotonic_ms();
    segment_begin_window(segment, segment->began_ms, 0);
}

static void segment_note_first_bytes(struct hc_segment *segment)
{
    struct hc_segmented_download *download = segment->download;
    HC_LOCKED(&download->shared.lock);

    segment->has_begun = true;
    download->shared.receiving++;
    (void)atomic_fetch_add(&download->counts->connections, 1);
    if (download->shared.peak < download->shared.receiving)
        download->shared.peak = download->shared.receiving;
}

/* Whether a large blob has arrived, not all of it, too far ahead of the hash. */
static bool segments_is_ahead_of_hash(struct hc_segmented_download *download)
{
    struct hc_pieces *pieces = hc_ingest_pieces(download->ingest);
    uint64_t most;

    if (hc_segmented_download_is_small(download))
        return false;
    {
        HC_LOCKED(&download->shared.lock);

        most = (uint64_t)(download->shared.running + 1) * UNHASHED_EACH;
    }
    return hc_ingest_unhashed(download->ingest) > most && hc_pieces_missing(pieces) > 0;
}

static int segment_await_hash(struct hc_segment *segment, struct hc_error *err)
{
    struct hc_segmented_download *download = segment->download;

    while (segments_is_ahead_of_hash(download)) {
        if (hc_cancellation_sleep(download->workers_cancellation, POLL_MS, err) < 0)
            return -1;
    }
    return 0;
}

int hc_segment_write(struct hc_segment *segment, const void *bytes, size_t count,
                     struct hc_error *err)
{
    struct hc_ingest *ingest = segment->download->ingest;
    struct hc_pieces *pieces = hc_ingest_pieces(ingest);
    struct hc_span *rest = &segment->rest;
    uint64_t own;

    if (!segment->has_begun)
        segment_note_first_bytes(segment);
    segment->received += count;
    if (segment->download->received)
        (void)atomic_fetch_add_explicit(segment->download->received, count,
                                        memory_order_relaxed);
    if (count > rest->end - rest->start && rest->end < hc_pieces_size(pieces))
        return hc_fail(err, HC_BAD_HUB_REPLY, "more bytes came than were asked for");
    own = hc_pieces_start_write(pieces, rest, count);
    if (hc_ingest_write(ingest, rest->start, bytes, (size_t)own, err) < 0)
        return -1;
    rest->start += own;
    return own < count ? 1 : segment_await_hash(segment, err);
}

/* One more sample, with the lock held. */
static void segments_add_rate_sample(struct hc_segmented_download *download,
                                     uint64_t bytes, int64_t passed_ms)
{
    double rate = (double)bytes / (double)(passed_ms > 0 ? passed_ms : 1);
    double *usual = &download->shared.usual_rate;

    *usual += *usual > 0 ? (rate - *usual) / rate_samples : rate;
}

/*
 * Whether the connection is far below the others, by what the last window brought of its
 * span. Its own rate is taken of the time in which the server was waited for, theirs of
 * all the time that passed: what the volume, the hash or a limit of the bandwidth takes
 * is held against no connection. When nothing else is left to take, workers are idle that
 * may read the rest, and half as fast is slow enough.
 */
static bool segment_is_far_slower(struct hc_segment *segment, double rate)
{
    struct hc_segmented_download *download = segment->download;
    uint64_t left = segment->rest.end - segment->rest.start;
    bool has_free = hc_pieces_has_free(hc_ingest_pieces(download->ingest));
    double factor = has_free ? slow_factor : slow_factor_at_end;
    bool is_slower;
    HC_LOCKED(&download->shared.lock);

    is_slower = download->shared.peak > 1 && segment->rest.ticket != 0 &&
                rate * factor < download->shared.usual_rate &&
                (double)left > rate * worthwhile_ms;
    if (is_slower)
        download->shared.usual_rate /= 2;
    return is_slower;
}

bool hc_segment_watch(struct hc_segment *segment, int64_t waited_ms, bool is_exempt)
{
    struct hc_segmented_download *download = segment->download;
    int64_t passed_ms = waited_ms - segment->window.waited_ms;
    uint64_t bytes = segment->received - segment->window.received;
    int64_t now_ms;

    if (passed_ms >= 0 && passed_ms < WINDOW_MS)
        return false;
    now_ms = hc_monotonic_ms();
    if (passed_ms >= 0 && segment->has_begun) {
        HC_LOCKED(&download->shared.lock);

        segments_add_rate_sample(download, bytes, now_ms - segment->window.began_ms);
    }
    segment_begin_window(segment, now_ms, waited_ms);
    if (waited_ms >= SLOW_AFTER_MS && !is_exempt)
        segment->is_straggler =
            segment_is_far_slower(segment, (double)bytes / (double)passed_ms);
    return segment->is_straggler;
}

static void segment_begin_read(struct hc_segment *segment)
{
    segment->rest = segment->span;
    segment->received = 0;
    segment->has_begun = segment->is_straggler = segment->was_redirected = false;
    segment->address_number = 0;
    hc_segment_start_clock(segment);
}

static void segment_end_read(struct hc_segment *segment)
{
    struct hc_segmented_download *download = segment->download;
    HC_LOCKED(&download->shared.lock);

    download->shared.receiving -= segment->has_begun;
    (void)atomic_fetch_sub(&download->counts->connections, segment->has_begun);
    download->shared.received += segment->received;
    if (segment->received >= SAMPLE_MIN)
        segments_add_rate_sample(download, segment->received,
                                 hc_monotonic_ms() - segment->began_ms);
}

/* ---- the reads of a span -------------------------------------------------------------
 */

static void segment_renew_allowance(struct hc_segment *segment, int64_t now_ms)
{
    segment->allowance.retry = (struct hc_retry){0};
    segment->allowance.has_new_address = false;
    segment->allowance.renewed_ms = now_ms;
    segment->allowance.new_bytes = 0;
}

/* `count` new bytes have come. */
static void segment_note_progress(struct hc_segment *segment, uint64_t count)
{
    uint64_t size = hc_pieces_size(hc_ingest_pieces(segment->download->ingest));
    uint64_t share = size / PROGRESS_SHARE;
    uint64_t enough = share < PROGRESS_BYTES ? share : PROGRESS_BYTES;
    int64_t now_ms = hc_monotonic_ms();
    uint64_t passed_ms = (uint64_t)(now_ms - segment->allowance.renewed_ms);

    segment->allowance.new_bytes += count;
    if (count > 0 && segment->allowance.new_bytes >= enough &&
        segment->allowance.new_bytes * 1000 >= passed_ms * HC_RATE_MIN)
        segment_renew_allowance(segment, now_ms);
}

/* After a read that did not bring the whole span, but `count` new bytes. */
static enum verdict segment_judge(struct hc_segment *segment, uint64_t count,
                                  struct hc_error *err)
{
    struct hc_segmented_download *download = segment->download;
    struct hc_byte_source *source = download->source;
    enum hc_read_failure failure = source->classify(source, segment, err);

    if (failure == HC_READ_WRONG_BYTES)
        return GIVE_UP;
    if (segment->is_straggler)
        return GIVE_BACK;
    if (failure == HC_READ_ADDRESS && !segment->allowance.has_new_address) {
        source->forget_address(source, segment);
        segment->allowance.has_new_address = true;
        return AGAIN;
    }
    if (err->reason == HC_HUB_UNREACHABLE && count >= MUCH_PROGRESS)
        return AGAIN;
    /* Others may fare better; whereas a full volume is full for all of them. */
    if (failure != HC_READ_FINAL && hc_segmented_download_may_leave(download, err))
        return LEAVE;
    if (hc_retry_wait(&segment->allowance.retry, download->hub,
                      download->workers_cancellation, err) < 0)
        return GIVE_UP;
    if (err->reason == HC_HUB_UNREACHABLE && count == 0 && segment->was_redirected)
        source->forget_address(source, segment);
    return AGAIN;
}

/* An answer that ended as the protocol says it should, and short of what was asked
 * for. */
static int segment_fail_short(const struct hc_segment *segment, uint64_t at,
                              uint64_t count, struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    hc_segmented_download_describe(segment->download, text);
    if (count == 0)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "%s: the Hub sent nothing from byte %" PRIu64
                       " on; check for a proxy that cuts answers off, then ask again",
                       text, at);
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "%s: the answer ended early, at byte %" PRIu64, text, at + count);
}

/* Reads what is missing of the span, once. */
static enum verdict segment_read(struct hc_segment *segment, struct hc_error *err)
{
    struct hc_segmented_download *download = segment->download;
    struct hc_byte_source *source = download->source;
    struct hc_span *span = &segment->span;
    uint64_t start = span->start;
    enum verdict verdict;

    *err = (struct hc_error){0};
    segment_begin_read(segment);
    (void)source->read(source, segment, err);
    segment_end_read(segment);
    hc_pieces_trim(hc_ingest_pieces(download->ingest), span);
    if (span->start >= span->end &&
        source->classify(source, segment, err) != HC_READ_WRONG_BYTES)
        return AGAIN;
    if (err->reason == HC_OK && !segment->is_straggler)
        (void)segment_fail_short(segment, start, span->start - start, err);
    segment_note_progress(segment, span->start - start);
    verdict = segment_judge(segment, span->start - start, err);
    if (verdict != GIVE_UP)
        hc_segmented_download_count_retry(download);
    return verdict;
}

/* ---- a worker ------------------------------------------------------------------------
 */

/* Large spans first, so that reads are few; small ones last, a piece at least, so that
 * all end together. */
static uint64_t next_span_length(const struct hc_segmented_download *download)
{
    uint64_t missing = hc_pieces_missing(hc_ingest_pieces(download->ingest));
    uint64_t share = missing / download->span_divisor;

    if (download->span_divisor == 1)
        return missing;
    return share < SPAN_MAX ? share : SPAN_MAX;
}

/* Budget: the bytes that are missing. A span comes, or ends the worker, or was given back
 * by a connection that had been watched for seconds. */
int hc_segment_worker_run(struct hc_segmented_download *download, struct hc_error *err)
{
    struct hc_pieces *pieces = hc_ingest_pieces(download->ingest);
    struct hc_segment segment = {.download = download};
    enum verdict verdict = AGAIN;

    while ((verdict == AGAIN || verdict == GIVE_BACK) &&
           hc_pieces_take(pieces, next_span_length(download), &segment.span)) {
        struct hc_span taken = segment.span;

        segment_renew_allowance(&segment, hc_monotonic_ms());
        do
            verdict = segment_read(&segment, err);
        while (verdict == AGAIN && segment.span.start < segment.span.end);
        hc_pieces_give_back(pieces, &taken);
        if ((verdict == AGAIN || verdict == GIVE_BACK) &&
            hc_segmented_download_may_leave(download, NULL))
            verdict = LEAVE;
    }
    if (verdict == GIVE_UP)
        return -1;
    return verdict == LEAVE ? HC_WORKER_LEFT : HC_WORKER_DONE;
}
