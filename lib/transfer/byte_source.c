/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first request of a large blob asks for a part, and its answer tells whether the
 * server knows parts: that costs no request of its own. 206: others may ask beside it, at
 * the address that answered, so that the Hub is asked once and not for every part. 200:
 * all bytes come from 0, and this request brings the whole blob alone.
 *
 * Each request compares its own rate, a second at a time, with what the connections of
 * this blob usually bring, and ends when it is far below. Its thread does that itself, and
 * then gives the rest of its span back: so a byte belongs to one connection at a time, and
 * none is written or counted twice.
 */
#include "byte_source.h"

#include <base/error.h>
#include <base/size.h>
#include <base/text.h>
#include <hub/url.h>

#include <inttypes.h>
#include <string.h>

/*
 * So many bytes for each connection may wait to be hashed, and as many more. A network
 * faster than the hash would leave it all the work of the end, and push bytes out of the
 * page cache that it has not seen.
 */
enum { UNHASHED_EACH = 32 * 1024 * 1024, POLL_MS = 5 };

enum { PIECES_OF_SMALL = 8, PIECE_MIN = 64 * 1024 };

/* When a connection is replaced (origin.h). The first second is that of TCP's slow start;
 * what ends soon is not worth a new request. */
enum {
    WINDOW_MS = 1000,
    SLOW_AFTER_MS = 2000,
    SAMPLE_MIN = 64 * 1024 /* bytes of an answer from which a rate can be told */
};
static const double slow_factor = 8; /* times */
static const double slow_factor_at_end = 2;
static const double worthwhile_ms = 1000;

/* The usual rate is about that of so many samples. */
static const double rate_samples = 8;

enum {
    PAGE_MAX = 1024 * 1024 /* what is sent instead of a file, a login page, is less */
};

struct range {
    struct hc_byte_source *source;
    struct hc_span span; /* what is still to come of what was asked for */
    bool has_begun;
    bool locates;            /* the address, for all */
    unsigned address_number; /* which one is asked */
    uint64_t received;
    int64_t began_ms;
    struct {
        int64_t began_ms;  /* by the clock */
        int64_t waited_ms; /* for the server, when it began */
        uint64_t received;
    } window;
    bool is_straggler;
    bool is_whole;             /* the answer begins at byte 0, and is to bring all */
    char location[HC_URL_MAX]; /* "": the Hub is asked */
    char came_from[HC_URL_MAX];
};

static void lock(struct hc_byte_source *source)
{
    (void)pthread_mutex_lock(&source->shared.lock);
}

static void unlock(struct hc_byte_source *source)
{
    (void)pthread_mutex_unlock(&source->shared.lock);
}

static uint64_t source_blob_size(const struct hc_byte_source *source)
{
    return hc_pieces_size(hc_ingest_pieces(source->ingest));
}

static int fail_only_whole_files(struct hc_error *err)
{
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "the server sends whole files only, and one is on its way");
}

/* 200 instead of a part. What is there already is not written again. */
static int range_restart(void *ctx, struct hc_error *err)
{
    struct range *range = ctx;
    struct hc_byte_source *source = range->source;
    bool is_alone;

    lock(source);
    source->shared.kind = HC_BYTE_SOURCE_SENDS_ALL;
    is_alone = source->shared.requests == 1;
    unlock(source);
    range->is_whole = true;
    range->span = (struct hc_span){.end = source_blob_size(source)};
    return is_alone ? 0 : fail_only_whole_files(err);
}

/* Of a blob of unknown size, which comes over one connection, on the thread that owns the
 * ingest. */
static int range_set_size(void *ctx, uint64_t size, struct hc_error *err)
{
    const struct range *range = ctx;

    return hc_ingest_set_size(range->source->ingest, size, err);
}

/* The first bytes are there: so the address is a good one. */
static void range_begin(struct range *range)
{
    struct hc_byte_source *source = range->source;

    range->has_begun = true;
    lock(source);
    source->shared.receiving++;
    if (source->shared.peak < source->shared.receiving)
        source->shared.peak = source->shared.receiving;
    if (range->span.start > 0 || range->span.end < source_blob_size(source))
        source->shared.kind = HC_BYTE_SOURCE_SENDS_RANGES;
    if (range->locates) {
        range->address_number = ++source->shared.address_number;
        source->shared.is_locating = false;
    }
    /* One that was forgotten meanwhile stays so. */
    if (range->locates || (range->address_number == source->shared.address_number &&
                           source->shared.location[0] != '\0'))
        hc_url_copy(source->shared.location, range->came_from);
    unlock(source);
}

/* Whether a large blob has arrived, not all of it, too far ahead of who hashes it. */
static bool source_is_ahead_of_hash(struct hc_byte_source *source)
{
    uint64_t most;

    lock(source);
    most = (uint64_t)(source->shared.requests + 1) * UNHASHED_EACH;
    unlock(source);
    return !hc_byte_source_is_small(source) &&
           hc_ingest_unhashed(source->ingest) > most &&
           hc_pieces_arrived(hc_ingest_pieces(source->ingest)) < source_blob_size(source);
}

static int source_await_hash(struct hc_byte_source *source, struct hc_error *err)
{
    while (source_is_ahead_of_hash(source)) {
        if (hc_cancellation_sleep(source->credentials.cancellation, POLL_MS, err) < 0)
            return -1;
    }
    return 0;
}

static int range_write(void *ctx, const void *bytes, size_t count, struct hc_error *err)
{
    struct range *range = ctx;
    struct hc_span *span = &range->span;
    struct hc_ingest *ingest = range->source->ingest;
    uint64_t ours;

    if (!range->has_begun)
        range_begin(range);
    range->received += count;
    if (count > span->end - span->start && span->end < source_blob_size(range->source))
        return hc_fail(err, HC_BAD_HUB_REPLY, "more bytes came than were asked for");
    ours = hc_pieces_start_write(hc_ingest_pieces(ingest), span, count);
    if (hc_ingest_write(ingest, span->start, bytes, (size_t)ours, err) < 0)
        return -1;
    span->start += ours;
    if (ours < count)
        return hc_fail(err, HC_CANCELLED, "another connection brings the rest");
    return source_await_hash(range->source, err);
}

/* One more sample; `origin` is locked. */
static void source_add_rate_sample(struct hc_byte_source *source, uint64_t bytes,
                                   int64_t passed_ms)
{
    double rate = (double)bytes / (double)(passed_ms > 0 ? passed_ms : 1);
    double *usual = &source->shared.usual_rate;

    *usual += *usual > 0 ? (rate - *usual) / rate_samples : rate;
}

/*
 * Whether the connection is far below the others, by what the last window brought of its
 * span. Its own rate is taken of the time in which the server was waited for, theirs of
 * all the time that passed: what the volume, the hash or a limit of the bandwidth takes is
 * held against no connection. When nothing else is left to take, workers are idle that may
 * bring the rest, and half as fast is slow enough.
 */
static bool range_is_straggler(struct range *range, double rate)
{
    struct hc_byte_source *source = range->source;
    uint64_t left = range->span.end - range->span.start;
    bool is_open = hc_pieces_has_free(hc_ingest_pieces(source->ingest));
    double times = is_open ? slow_factor : slow_factor_at_end;
    bool is_far;

    lock(source);
    is_far = source->shared.peak > 1 && range->span.ticket != 0 &&
             rate * times < source->shared.usual_rate &&
             (double)left > rate * worthwhile_ms;
    if (is_far)
        source->shared.usual_rate /= 2;
    unlock(source);
    return is_far;
}

static void range_begin_window(struct range *range, int64_t now_ms, int64_t waited_ms)
{
    range->window.began_ms = now_ms;
    range->window.waited_ms = waited_ms;
    range->window.received = range->received;
}

/* The address is waited for by all: that is not a matter of one connection. */
static int range_watch(void *ctx, int64_t waited_ms, struct hc_error *err)
{
    struct range *range = ctx;
    int64_t passed_ms = waited_ms - range->window.waited_ms;
    uint64_t bytes = range->received - range->window.received;
    int64_t now_ms;

    if (passed_ms >= 0 && passed_ms < WINDOW_MS)
        return 0;
    now_ms = hc_monotonic_ms();
    if (passed_ms >= 0 && range->has_begun) {
        lock(range->source);
        source_add_rate_sample(range->source, bytes, now_ms - range->window.began_ms);
        unlock(range->source);
    }
    range_begin_window(range, now_ms, waited_ms);
    if (waited_ms < SLOW_AFTER_MS || (range->locates && !range->has_begun) ||
        !range_is_straggler(range, (double)bytes / (double)passed_ms))
        return 0;
    range->is_straggler = true;
    return hc_fail(err, HC_CANCELLED,
                   "the connection is far slower than the others, and replaced");
}

/* 1 entered; 0 somebody asks the Hub for the address, which is to be awaited; -1 when this
 * request would get in the way of one that brings the whole blob. */
static int range_try_enter(struct range *range)
{
    struct hc_byte_source *source = range->source;
    bool has_address, is_welcome;

    lock(source);
    has_address = source->shared.location[0] != '\0';
    is_welcome = source->shared.requests == 0 ||
                 source->shared.kind == HC_BYTE_SOURCE_SENDS_RANGES;
    if (is_welcome && (has_address || !source->shared.is_locating)) {
        range->locates = !has_address;
        source->shared.is_locating = !has_address;
        source->shared.requests++;
        hc_url_copy(range->location, source->shared.location);
        range->address_number = source->shared.address_number;
        unlock(source);
        return 1;
    }
    unlock(source);
    return is_welcome ? 0 : -1;
}

static int range_enter(struct range *range, struct hc_error *err)
{
    int entered;

    while ((entered = range_try_enter(range)) == 0) {
        if (hc_cancellation_sleep(range->source->credentials.cancellation, POLL_MS, err) <
            0)
            return -1;
    }
    return entered < 0 ? fail_only_whole_files(err) : 0;
}

static void range_leave(struct hc_byte_source *source, const struct range *range)
{
    lock(source);
    source->shared.requests--;
    source->shared.receiving -= range->has_begun;
    source->shared.received += range->received;
    if (range->received >= SAMPLE_MIN)
        source_add_rate_sample(source, range->received,
                               hc_monotonic_ms() - range->began_ms);
    if (range->locates && !range->has_begun)
        source->shared.is_locating = false;
    unlock(source);
}

/* Before which byte the answer is to end, so that it brings the span and no more; 0 when
 * it is all that follows. */
static uint64_t range_request_end(const struct hc_byte_source *source,
                                  const struct hc_span *span)
{
    bool is_rest = span->end == source_blob_size(source);

    return is_rest && hc_byte_source_is_small(source) ? 0 : span->end;
}

/* After an answer that ended as HTTP says it should; `arrived` had before it. */
static int range_check_end(const struct range *range, uint64_t arrived,
                           struct hc_error *err)
{
    struct hc_byte_source *source = range->source;
    uint64_t size = source_blob_size(source);

    if (!range->is_whole || range->received >= size)
        return 0;
    if (range->received < PAGE_MAX &&
        hc_pieces_arrived(hc_ingest_pieces(source->ingest)) > arrived) {
        lock(source);
        source->shared.has_wrong_bytes = true;
        unlock(source);
    }
    return hc_fail(err, HC_BAD_HUB_REPLY,
                   "the answer for '%.120s' had %" PRIu64 " bytes of %" PRIu64,
                   source->request->file.path, range->received, size);
}

int hc_byte_source_get_range(struct hc_byte_source *source, const struct hc_span *span,
                             struct hc_range_outcome *outcome, struct hc_error *err)
{
    const struct hc_blob_request *request = source->request;
    struct range range = {.source = source, .span = *span};
    struct hc_hub_download download = {
        .repo = request->file.repo,
        .commit = request->file.revision,
        .path = request->file.path,
        .offset = span->start,
        .until = range_request_end(source, span),
        .size = source_blob_size(source),
        .learn_size = range_set_size,
        .came_from = range.came_from,
        .was_redirected = &outcome->was_elsewhere,
        .restart = range_restart,
        .write = range_write,
        .watch = range_watch,
        .ctx = &range,
    };
    uint64_t arrived = hc_pieces_arrived(hc_ingest_pieces(source->ingest));
    int result;

    range.is_whole = download.offset == 0 && download.until == 0;
    *outcome = (struct hc_range_outcome){0};
    if (range_enter(&range, err) < 0)
        return -1;
    range.began_ms = hc_monotonic_ms();
    range_begin_window(&range, range.began_ms, 0);
    download.location = range.location[0] ? range.location : NULL;
    result = hc_hub_get(source->hub, &download, &source->credentials, err);
    range_leave(source, &range);
    outcome->address_number = range.address_number;
    outcome->was_elsewhere |= download.location != NULL;
    outcome->is_straggler = range.is_straggler;
    if (result == 0 && source_blob_size(source) == HC_SIZE_UNKNOWN)
        result = range_set_size(&range, range.span.start, err);
    return result < 0 ? -1 : range_check_end(&range, arrived, err);
}

uint64_t hc_byte_source_piece_length(uint64_t min_split_size)
{
    uint64_t piece = min_split_size / PIECES_OF_SMALL;

    if (piece > HC_PIECES_LENGTH)
        return HC_PIECES_LENGTH;
    return piece > PIECE_MIN ? piece : PIECE_MIN;
}

bool hc_byte_source_is_small(const struct hc_byte_source *source)
{
    return !hc_ingest_is_size_given(source->ingest) ||
           source_blob_size(source) <= source->min_split_size;
}

void hc_byte_source_init(struct hc_byte_source *source)
{
    (void)pthread_mutex_init(&source->shared.lock, NULL);
    if (source->request->location)
        (void)hc_format(source->shared.location, HC_URL_MAX, "%s",
                        source->request->location);
}

void hc_byte_source_clear(struct hc_byte_source *source)
{
    (void)pthread_mutex_destroy(&source->shared.lock);
}

void hc_byte_source_forget_address(struct hc_byte_source *source, unsigned address)
{
    lock(source);
    if (source->shared.address_number == address)
        source->shared.location[0] = '\0';
    unlock(source);
}

bool hc_byte_source_sent_wrong_bytes(struct hc_byte_source *source,
                                     const struct hc_error *err)
{
    bool is_wrong;

    lock(source);
    is_wrong = source->shared.has_wrong_bytes;
    unlock(source);
    return err->reason == HC_BAD_HUB_REPLY &&
           (is_wrong || hc_pieces_missing(hc_ingest_pieces(source->ingest)) == 0);
}

void hc_byte_source_count_retry(struct hc_byte_source *source)
{
    lock(source);
    source->shared.retries++;
    unlock(source);
    if (source->retries)
        (void)atomic_fetch_add(source->retries, 1);
}

enum hc_byte_source_kind hc_byte_source_kind_of(struct hc_byte_source *source)
{
    enum hc_byte_source_kind kind;

    lock(source);
    kind = source->shared.kind;
    unlock(source);
    return kind;
}

unsigned hc_byte_source_receiving(struct hc_byte_source *source)
{
    unsigned flowing;

    lock(source);
    flowing = source->shared.receiving;
    unlock(source);
    return flowing;
}

void hc_byte_source_describe(const struct hc_byte_source *source,
                             char subject[HC_TARGET_TEXT_SIZE])
{
    const struct hc_blob_request *request = source->request;
    const struct hc_hub_target question = {.repo = request->file.repo,
                                           .revision = request->file.revision,
                                           .path = request->file.path};

    hc_hub_target_describe(&question, subject);
}
