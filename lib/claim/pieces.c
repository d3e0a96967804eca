/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table row a piece, made once: even a blob of many gigabytes needs but some hundred
 * kilobytes, and nothing grows while bytes arrive. One lock guards the rows; the size and
 * the sum of what has arrived are atomic as well, for they are read with every write.
 */
#include "pieces.h"

#include <base/size.h>
#include <base/text.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { PIECES_MAX = 16384 };

struct piece {
    uint64_t arrived; /* bytes from its start on */
    unsigned ticket;  /* of the connection that has taken it; 0: it is free */
    bool is_started;  /* that connection writes to it */
};

struct hc_pieces {
    atomic_uint_least64_t size;
    uint64_t length; /* of each piece but the last */
    size_t count;    /* guarded by the lock, as it follows the size */
    atomic_uint_least64_t arrived;
    struct {
        pthread_mutex_t lock;
        size_t front; /* all pieces before this one are complete */
        unsigned tickets;
        struct piece *rows;
    } shared;
};

static uint64_t piece_start(const struct hc_pieces *pieces, size_t i)
{
    return i * pieces->length;
}

static uint64_t piece_length(const struct hc_pieces *pieces, size_t i)
{
    uint64_t left = hc_pieces_size(pieces) - piece_start(pieces, i);

    return left < pieces->length ? left : pieces->length;
}

static bool piece_is_complete(const struct hc_pieces *pieces, size_t i)
{
    return pieces->shared.rows[i].arrived == piece_length(pieces, i);
}

static bool piece_is_free(const struct hc_pieces *pieces, size_t i)
{
    return i < pieces->count && pieces->shared.rows[i].ticket == 0 &&
           !piece_is_complete(pieces, i);
}

static void pieces_advance_front(struct hc_pieces *pieces)
{
    while (pieces->shared.front < pieces->count &&
           piece_is_complete(pieces, pieces->shared.front))
        pieces->shared.front++;
}

static uint64_t pieces_choose_length(uint64_t size, uint64_t length)
{
    if (size == HC_SIZE_UNKNOWN)
        return HC_SIZE_UNKNOWN;
    if (size < HC_PIECES_FEW * length)
        length *= HC_PIECES_FEW;
    while (size / length >= PIECES_MAX)
        length *= 2;
    return length;
}

static size_t pieces_count(const struct hc_pieces *pieces)
{
    uint64_t size = hc_pieces_size(pieces);

    return (size_t)(size / pieces->length + (size % pieces->length > 0));
}

struct hc_pieces *hc_pieces_new(uint64_t size, uint64_t length, struct hc_error *err)
{
    struct hc_pieces *pieces = calloc(1, sizeof *pieces);

    if (!pieces) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    atomic_init(&pieces->size, size);
    pieces->length = pieces_choose_length(size, length > 0 ? length : HC_PIECES_LENGTH);
    pieces->count = pieces_count(pieces);
    atomic_init(&pieces->arrived, 0);
    (void)pthread_mutex_init(&pieces->shared.lock, NULL);
    pieces->shared.rows = calloc(pieces->count + 1, sizeof *pieces->shared.rows);
    if (!pieces->shared.rows) {
        (void)hc_fail_memory(err);
        hc_pieces_free(pieces);
        return NULL;
    }
    return pieces;
}

void hc_pieces_free(struct hc_pieces *pieces)
{
    if (!pieces)
        return;
    (void)pthread_mutex_destroy(&pieces->shared.lock);
    free(pieces->shared.rows);
    free(pieces);
}

uint64_t hc_pieces_size(const struct hc_pieces *pieces)
{
    return atomic_load(&pieces->size);
}

void hc_pieces_set_size(struct hc_pieces *pieces, uint64_t size)
{
    HC_LOCKED(&pieces->shared.lock);

    atomic_store(&pieces->size, size);
    pieces->count = pieces_count(pieces);
    pieces->shared.front = 0;
    pieces_advance_front(pieces);
}

uint64_t hc_pieces_arrived(const struct hc_pieces *pieces)
{
    return atomic_load(&pieces->arrived);
}

uint64_t hc_pieces_missing(const struct hc_pieces *pieces)
{
    return hc_pieces_size(pieces) - hc_pieces_arrived(pieces);
}

uint64_t hc_pieces_front(struct hc_pieces *pieces)
{
    uint64_t front;
    HC_LOCKED(&pieces->shared.lock);

    front = hc_pieces_size(pieces);
    if (pieces->shared.front < pieces->count)
        front = piece_start(pieces, pieces->shared.front) +
                pieces->shared.rows[pieces->shared.front].arrived;
    return front;
}

uint64_t hc_pieces_end(struct hc_pieces *pieces)
{
    uint64_t end = 0;
    HC_LOCKED(&pieces->shared.lock);

    for (size_t i = pieces->count; i > 0 && end == 0; i--) {
        if (pieces->shared.rows[i - 1].arrived > 0)
            end = piece_start(pieces, i - 1) + pieces->shared.rows[i - 1].arrived;
    }
    return end;
}

/* hc_pieces_gap, with the lock held. */
static struct hc_span pieces_gap(const struct hc_pieces *pieces, uint64_t at)
{
    struct hc_span gap = {.start = at, .end = at};

    for (size_t i = (size_t)(at / pieces->length); i < pieces->count; i++) {
        gap.start = piece_start(pieces, i) + pieces->shared.rows[i].arrived;
        gap.end = piece_start(pieces, i) + piece_length(pieces, i);
        if (gap.start < gap.end)
            break;
    }
    return gap;
}

struct hc_span hc_pieces_gap(struct hc_pieces *pieces, uint64_t at)
{
    HC_LOCKED(&pieces->shared.lock);

    return pieces_gap(pieces, at);
}

void hc_pieces_add_arrived(struct hc_pieces *pieces, uint64_t at, uint64_t count)
{
    HC_LOCKED(&pieces->shared.lock);

    pieces->shared.rows[at / pieces->length].arrived += count;
    pieces_advance_front(pieces);
    (void)atomic_fetch_add(&pieces->arrived, count);
}

static void pieces_set_all(struct hc_pieces *pieces, bool have_arrived)
{
    HC_LOCKED(&pieces->shared.lock);

    for (size_t i = 0; i < pieces->count; i++)
        pieces->shared.rows[i].arrived = have_arrived ? piece_length(pieces, i) : 0;
    pieces->shared.front = have_arrived ? pieces->count : 0;
    atomic_store(&pieces->arrived, have_arrived ? hc_pieces_size(pieces) : 0);
}

void hc_pieces_set_whole(struct hc_pieces *pieces)
{
    pieces_set_all(pieces, true);
}

void hc_pieces_clear(struct hc_pieces *pieces)
{
    pieces_set_all(pieces, false);
}

/* With the free pieces that follow and of which nothing has arrived, as far as `most`. */
static void pieces_take_from(struct hc_pieces *pieces, size_t i, uint64_t most,
                             struct hc_span *span)
{
    struct piece *rows = pieces->shared.rows;

    span->ticket = ++pieces->shared.tickets;
    span->start = piece_start(pieces, i) + rows[i].arrived;
    rows[i].is_started = true; /* or idle connections would take it from each other */
    do {
        rows[i].ticket = span->ticket;
        span->end = piece_start(pieces, i) + piece_length(pieces, i);
        i++;
    } while (piece_is_free(pieces, i) && rows[i].arrived == 0 &&
             span->end - span->start + piece_length(pieces, i) <= most);
}

static size_t pieces_first_free(const struct hc_pieces *pieces)
{
    size_t i = pieces->shared.front;

    while (i < pieces->count && !piece_is_free(pieces, i))
        i++;
    return i;
}

/* How many pieces from `i` on one connection has taken and not started. */
static size_t pieces_count_not_started(const struct hc_pieces *pieces, size_t i)
{
    const struct piece *rows = pieces->shared.rows;
    unsigned ticket = rows[i].ticket;
    size_t count = 0;

    while (ticket != 0 && i + count < pieces->count && rows[i + count].ticket == ticket &&
           !rows[i + count].is_started && rows[i + count].arrived == 0)
        count++;
    return count;
}

/* Frees the last half of the longest run that one connection has not started. */
static void pieces_release_half(struct hc_pieces *pieces)
{
    size_t at = 0, most = 0, count;

    for (size_t i = pieces->shared.front; i < pieces->count; i += count > 0 ? count : 1) {
        count = pieces_count_not_started(pieces, i);
        if (count > most) {
            at = i;
            most = count;
        }
    }
    for (size_t i = at + most / 2; i < at + most; i++)
        pieces->shared.rows[i].ticket = 0;
}

bool hc_pieces_take(struct hc_pieces *pieces, uint64_t most, struct hc_span *span)
{
    size_t i;
    HC_LOCKED(&pieces->shared.lock);

    i = pieces_first_free(pieces);
    if (i == pieces->count) {
        pieces_release_half(pieces);
        i = pieces_first_free(pieces);
    }
    if (i < pieces->count)
        pieces_take_from(pieces, i, most, span);
    return i < pieces->count;
}

uint64_t hc_pieces_start_write(struct hc_pieces *pieces, const struct hc_span *span,
                               uint64_t count)
{
    struct piece *rows = pieces->shared.rows;
    uint64_t end = span->start + count;
    uint64_t held = span->start;

    if (span->ticket == 0)
        return count;
    HC_LOCKED(&pieces->shared.lock);

    for (size_t i = (size_t)(held / pieces->length);
         held < end && i < pieces->count && rows[i].ticket == span->ticket; i++) {
        rows[i].is_started = true;
        held = piece_start(pieces, i) + piece_length(pieces, i);
    }
    return held < end && held < hc_pieces_size(pieces) ? held - span->start : count;
}

bool hc_pieces_has_free(struct hc_pieces *pieces)
{
    HC_LOCKED(&pieces->shared.lock);

    return pieces_first_free(pieces) < pieces->count;
}

void hc_pieces_trim(struct hc_pieces *pieces, struct hc_span *span)
{
    const struct piece *rows = pieces->shared.rows;
    uint64_t end = span->start;
    HC_LOCKED(&pieces->shared.lock);

    for (size_t i = (size_t)(end / pieces->length);
         end < span->end && i < pieces->count && rows[i].ticket == span->ticket; i++)
        end = piece_start(pieces, i) + piece_length(pieces, i);
    span->start = pieces_gap(pieces, span->start).start;
    if (end < span->end)
        span->end = end;
}

void hc_pieces_give_back(struct hc_pieces *pieces, const struct hc_span *span)
{
    struct piece *rows = pieces->shared.rows;
    HC_LOCKED(&pieces->shared.lock);

    for (size_t i = (size_t)(span->start / pieces->length);
         i < pieces->count && piece_start(pieces, i) < span->end; i++) {
        if (rows[i].ticket != span->ticket)
            continue;
        rows[i].ticket = 0;
        rows[i].is_started = false;
    }
}

bool hc_pieces_next_range(struct hc_pieces *pieces, uint64_t at, struct hc_span *range)
{
    const struct piece *rows = pieces->shared.rows;
    size_t i = (size_t)(at / pieces->length) + (at % pieces->length > 0);

    *range = (struct hc_span){0};
    HC_LOCKED(&pieces->shared.lock);

    while (i < pieces->count && rows[i].arrived == 0)
        i++;
    if (i < pieces->count)
        range->start = piece_start(pieces, i);
    for (; i < pieces->count && rows[i].arrived > 0; i++) {
        range->end = piece_start(pieces, i) + rows[i].arrived;
        if (!piece_is_complete(pieces, i))
            break;
    }
    return range->end > 0;
}

void hc_pieces_mark_range(struct hc_pieces *pieces, const struct hc_span *range)
{
    struct piece *rows = pieces->shared.rows;
    uint64_t more = 0;
    size_t i =
        (size_t)(range->start / pieces->length) + (range->start % pieces->length > 0);
    HC_LOCKED(&pieces->shared.lock);

    for (; i < pieces->count && piece_start(pieces, i) < range->end; i++) {
        uint64_t within = range->end - piece_start(pieces, i);
        uint64_t length = piece_length(pieces, i);

        if (within < length)
            length = within;
        if (length > rows[i].arrived) {
            more += length - rows[i].arrived;
            rows[i].arrived = length;
        }
    }
    pieces_advance_front(pieces);
    (void)atomic_fetch_add(&pieces->arrived, more);
}

/* ---- as text --------------------------------------------------------------------------
 */

enum { RANGE_TEXT = 48 };

void hc_pieces_format(struct hc_pieces *pieces, char text[HC_PIECES_TEXT_SIZE])
{
    struct hc_span range = {0};
    size_t used = 0;

    text[0] = '\0';
    while (used + RANGE_TEXT < HC_PIECES_TEXT_SIZE &&
           hc_pieces_next_range(pieces, range.end, &range))
        used += (size_t)hc_format(text + used, HC_PIECES_TEXT_SIZE - used,
                                  "%s%" PRIu64 "-%" PRIu64, used > 0 ? "," : "",
                                  range.start, range.end);
}

static bool range_parse(const char **text, struct hc_span *range)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    range->start = strtoull(*text, &end, 10);
    if (end[0] != '-' || end[1] < '0' || end[1] > '9')
        return false;
    range->end = strtoull(end + 1, &end, 10);
    *text = end;
    return range->start < range->end;
}

static bool pieces_parse_ranges(struct hc_pieces *pieces, const char *text)
{
    struct hc_span range = {0};

    while (*text) {
        if (!range_parse(&text, &range) || range.end > hc_pieces_size(pieces) ||
            (*text != '\0' && *text != ','))
            return false;
        text += *text == ',';
        hc_pieces_mark_range(pieces, &range);
    }
    return true;
}

bool hc_pieces_parse(struct hc_pieces *pieces, const char *text)
{
    bool is_good;

    hc_pieces_clear(pieces);
    is_good = pieces_parse_ranges(pieces, text);
    if (!is_good)
        hc_pieces_clear(pieces);
    return is_good;
}
