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
#include "origin.h"

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
enum { UNHASHED_EACH = 32 * 1024 * 1024, GLANCE_MS = 5 };

enum { PIECES_OF_SMALL = 8, PIECE_MIN = 64 * 1024 };

/* When a connection is replaced (origin.h). The first second is that of TCP's slow start;
 * what ends soon is not worth a new request. */
enum {
    WINDOW_MS = 1000,
    SLOW_AFTER_MS = 2000,
    SAMPLE_MIN = 64 * 1024 /* bytes of an answer from which a rate can be told */
};
static const double far_below = 8; /* times */
static const double far_below_at_end = 2;
static const double worth_ms = 1000;

/* The usual rate is about that of so many samples. */
static const double samples = 8;

enum {
    PAGE_MAX = 1024 * 1024 /* what is sent instead of a file, a login page, is less */
};

struct range {
    struct hc_origin *source;
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

static void lock(struct hc_origin *origin)
{
    (void)pthread_mutex_lock(&origin->shared.lock);
}

static void unlock(struct hc_origin *origin)
{
    (void)pthread_mutex_unlock(&origin->shared.lock);
}

static uint64_t size_of(const struct hc_origin *origin)
{
    return hc_pieces_size(hc_ingest_pieces(origin->ingest));
}

static int fail_crowded(struct hc_error *err)
{
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "the server sends whole files only, and one is on its way");
}

/* 200 instead of a part. What is there already is not written again. */
static int restart(void *ctx, struct hc_error *err)
{
    struct range *range = ctx;
    struct hc_origin *origin = range->source;
    bool is_alone;

    lock(origin);
    origin->shared.kind = HC_ORIGIN_SENDS_ALL;
    is_alone = origin->shared.asking == 1;
    unlock(origin);
    range->is_whole = true;
    range->span = (struct hc_span){.end = size_of(origin)};
    return is_alone ? 0 : fail_crowded(err);
}

/* Of a blob of unknown size, which comes over one connection, on the thread that owns the
 * ingest. */
static int learn_size(void *ctx, uint64_t size, struct hc_error *err)
{
    const struct range *range = ctx;

    return hc_ingest_learn_size(range->source->ingest, size, err);
}

/* The first bytes are there: so the address is a good one. */
static void begin(struct range *range)
{
    struct hc_origin *origin = range->source;

    range->has_begun = true;
    lock(origin);
    origin->shared.flowing++;
    if (origin->shared.most < origin->shared.flowing)
        origin->shared.most = origin->shared.flowing;
    if (range->span.start > 0 || range->span.end < size_of(origin))
        origin->shared.kind = HC_ORIGIN_SENDS_PARTS;
    if (range->locates) {
        range->address_number = ++origin->shared.address_number;
        origin->shared.is_sought = false;
    }
    /* One that was forgotten meanwhile stays so. */
    if (range->locates || (range->address_number == origin->shared.address_number &&
                           origin->shared.location[0] != '\0'))
        hc_url_copy(origin->shared.location, range->came_from);
    unlock(origin);
}

/* Whether a large blob has arrived, not all of it, too far ahead of who hashes it. */
static bool is_ahead(struct hc_origin *origin)
{
    uint64_t most;

    lock(origin);
    most = (uint64_t)(origin->shared.asking + 1) * UNHASHED_EACH;
    unlock(origin);
    return !hc_origin_is_small(origin) && hc_ingest_unhashed(origin->ingest) > most &&
           hc_pieces_arrived(hc_ingest_pieces(origin->ingest)) < size_of(origin);
}

static int await_hash(struct hc_origin *origin, struct hc_error *err)
{
    while (is_ahead(origin)) {
        if (hc_cancellation_sleep(origin->caller.call, GLANCE_MS, err) < 0)
            return -1;
    }
    return 0;
}

static int write_bytes(void *ctx, const void *bytes, size_t count, struct hc_error *err)
{
    struct range *range = ctx;
    struct hc_span *span = &range->span;
    struct hc_ingest *ingest = range->source->ingest;
    uint64_t ours;

    if (!range->has_begun)
        begin(range);
    range->received += count;
    if (count > span->end - span->start && span->end < size_of(range->source))
        return hc_fail(err, HC_BAD_HUB_REPLY, "more bytes came than were asked for");
    ours = hc_pieces_hold(hc_ingest_pieces(ingest), span, count);
    if (hc_ingest_write(ingest, span->start, bytes, (size_t)ours, err) < 0)
        return -1;
    span->start += ours;
    if (ours < count)
        return hc_fail(err, HC_CANCELLED, "another connection brings the rest");
    return await_hash(range->source, err);
}

/* One more sample; `origin` is locked. */
static void note_rate(struct hc_origin *origin, uint64_t bytes, int64_t passed_ms)
{
    double rate = (double)bytes / (double)(passed_ms > 0 ? passed_ms : 1);
    double *usual = &origin->shared.usual_rate;

    *usual += *usual > 0 ? (rate - *usual) / samples : rate;
}

/*
 * Whether the connection is far below the others, by what the last window brought of its
 * span. Its own rate is taken of the time in which the server was waited for, theirs of
 * all the time that passed: what the volume, the hash or a limit of the bandwidth takes is
 * held against no connection. When nothing else is left to take, workers are idle that may
 * bring the rest, and half as fast is slow enough.
 */
static bool is_far_below(struct range *range, double rate)
{
    struct hc_origin *origin = range->source;
    uint64_t left = range->span.end - range->span.start;
    bool is_open = hc_pieces_is_open(hc_ingest_pieces(origin->ingest));
    double times = is_open ? far_below : far_below_at_end;
    bool is_far;

    lock(origin);
    is_far = origin->shared.most > 1 && range->span.ticket != 0 &&
             rate * times < origin->shared.usual_rate && (double)left > rate * worth_ms;
    if (is_far)
        origin->shared.usual_rate /= 2;
    unlock(origin);
    return is_far;
}

static void begin_window(struct range *range, int64_t now_ms, int64_t waited_ms)
{
    range->window.began_ms = now_ms;
    range->window.waited_ms = waited_ms;
    range->window.received = range->received;
}

/* The address is waited for by all: that is not a matter of one connection. */
static int watch(void *ctx, int64_t waited_ms, struct hc_error *err)
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
        note_rate(range->source, bytes, now_ms - range->window.began_ms);
        unlock(range->source);
    }
    begin_window(range, now_ms, waited_ms);
    if (waited_ms < SLOW_AFTER_MS || (range->locates && !range->has_begun) ||
        !is_far_below(range, (double)bytes / (double)passed_ms))
        return 0;
    range->is_straggler = true;
    return hc_fail(err, HC_CANCELLED,
                   "the connection is far slower than the others, and replaced");
}

/* 1 entered; 0 somebody asks the Hub for the address, which is to be awaited; -1 when this
 * request would get in the way of one that brings the whole blob. */
static int try_enter(struct range *range)
{
    struct hc_origin *origin = range->source;
    bool has_address, is_welcome;

    lock(origin);
    has_address = origin->shared.location[0] != '\0';
    is_welcome =
        origin->shared.asking == 0 || origin->shared.kind == HC_ORIGIN_SENDS_PARTS;
    if (is_welcome && (has_address || !origin->shared.is_sought)) {
        range->locates = !has_address;
        origin->shared.is_sought = !has_address;
        origin->shared.asking++;
        hc_url_copy(range->location, origin->shared.location);
        range->address_number = origin->shared.address_number;
        unlock(origin);
        return 1;
    }
    unlock(origin);
    return is_welcome ? 0 : -1;
}

static int enter(struct range *range, struct hc_error *err)
{
    int entered;

    while ((entered = try_enter(range)) == 0) {
        if (hc_cancellation_sleep(range->source->caller.call, GLANCE_MS, err) < 0)
            return -1;
    }
    return entered < 0 ? fail_crowded(err) : 0;
}

static void leave(struct hc_origin *origin, const struct range *range)
{
    lock(origin);
    origin->shared.asking--;
    origin->shared.flowing -= range->has_begun;
    origin->shared.received += range->received;
    if (range->received >= SAMPLE_MIN)
        note_rate(origin, range->received, hc_monotonic_ms() - range->began_ms);
    if (range->locates && !range->has_begun)
        origin->shared.is_sought = false;
    unlock(origin);
}

/* Before which byte the answer is to end, so that it brings the span and no more; 0 when
 * it is all that follows. */
static uint64_t end_of(const struct hc_origin *origin, const struct hc_span *span)
{
    bool is_rest = span->end == size_of(origin);

    return is_rest && hc_origin_is_small(origin) ? 0 : span->end;
}

/* After an answer that ended as HTTP says it should; `arrived` had before it. */
static int check_end(const struct range *range, uint64_t arrived, struct hc_error *err)
{
    struct hc_origin *origin = range->source;
    uint64_t size = size_of(origin);

    if (!range->is_whole || range->received >= size)
        return 0;
    if (range->received < PAGE_MAX &&
        hc_pieces_arrived(hc_ingest_pieces(origin->ingest)) > arrived) {
        lock(origin);
        origin->shared.is_wrong = true;
        unlock(origin);
    }
    return hc_fail(err, HC_BAD_HUB_REPLY,
                   "the answer for '%.120s' had %" PRIu64 " bytes of %" PRIu64,
                   origin->request->path, range->received, size);
}

int hc_origin_get(struct hc_origin *origin, const struct hc_span *span,
                  struct hc_attempt *attempt, struct hc_error *err)
{
    const struct hc_blob_request *request = origin->request;
    struct range range = {.source = origin, .span = *span};
    struct hc_download download = {
        .repo = request->repo,
        .commit = request->commit,
        .path = request->path,
        .offset = span->start,
        .until = end_of(origin, span),
        .size = size_of(origin),
        .learn_size = learn_size,
        .came_from = range.came_from,
        .was_redirected = &attempt->was_elsewhere,
        .restart = restart,
        .write = write_bytes,
        .watch = watch,
        .ctx = &range,
    };
    uint64_t arrived = hc_pieces_arrived(hc_ingest_pieces(origin->ingest));
    int result;

    range.is_whole = download.offset == 0 && download.until == 0;
    *attempt = (struct hc_attempt){0};
    if (enter(&range, err) < 0)
        return -1;
    range.began_ms = hc_monotonic_ms();
    begin_window(&range, range.began_ms, 0);
    download.location = range.location[0] ? range.location : NULL;
    result = hc_hub_get(origin->hub, &download, &origin->caller, err);
    leave(origin, &range);
    attempt->address_number = range.address_number;
    attempt->was_elsewhere |= download.location != NULL;
    attempt->is_straggler = range.is_straggler;
    if (result == 0 && size_of(origin) == HC_SIZE_UNKNOWN)
        result = learn_size(&range, range.span.start, err);
    return result < 0 ? -1 : check_end(&range, arrived, err);
}

uint64_t hc_origin_piece(uint64_t min_split_size)
{
    uint64_t piece = min_split_size / PIECES_OF_SMALL;

    if (piece > HC_PIECES_LENGTH)
        return HC_PIECES_LENGTH;
    return piece > PIECE_MIN ? piece : PIECE_MIN;
}

bool hc_origin_is_small(const struct hc_origin *origin)
{
    return !hc_ingest_is_size_given(origin->ingest) ||
           size_of(origin) <= origin->min_split_size;
}

void hc_origin_init(struct hc_origin *origin)
{
    (void)pthread_mutex_init(&origin->shared.lock, NULL);
    if (origin->request->location)
        (void)hc_format(origin->shared.location, HC_URL_MAX, "%s",
                        origin->request->location);
}

void hc_origin_clear(struct hc_origin *origin)
{
    (void)pthread_mutex_destroy(&origin->shared.lock);
}

void hc_origin_forget(struct hc_origin *origin, unsigned address)
{
    lock(origin);
    if (origin->shared.address_number == address)
        origin->shared.location[0] = '\0';
    unlock(origin);
}

bool hc_origin_is_wrong(struct hc_origin *origin, const struct hc_error *err)
{
    bool is_wrong;

    lock(origin);
    is_wrong = origin->shared.is_wrong;
    unlock(origin);
    return err->reason == HC_BAD_HUB_REPLY &&
           (is_wrong || hc_pieces_missing(hc_ingest_pieces(origin->ingest)) == 0);
}

void hc_origin_note_retry(struct hc_origin *origin)
{
    lock(origin);
    origin->shared.retries++;
    unlock(origin);
    if (origin->request->retries)
        (void)atomic_fetch_add(origin->request->retries, 1);
}

enum hc_origin_kind hc_origin_kind_of(struct hc_origin *origin)
{
    enum hc_origin_kind kind;

    lock(origin);
    kind = origin->shared.kind;
    unlock(origin);
    return kind;
}

unsigned hc_origin_flowing(struct hc_origin *origin)
{
    unsigned flowing;

    lock(origin);
    flowing = origin->shared.flowing;
    unlock(origin);
    return flowing;
}

void hc_origin_describe(const struct hc_origin *origin, char subject[HC_SUBJECT_SIZE])
{
    const struct hc_blob_request *request = origin->request;
    const struct hc_question question = {.repo = request->repo,
                                         .revision = request->commit,
                                         .path = request->path};

    hc_question_describe(&question, subject);
}
