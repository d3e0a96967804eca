/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table row a piece, made once: even a blob of many gigabytes needs but some hundred
 * kilobytes, and nothing grows while bytes arrive. One lock guards the rows.
 */
#include "pieces.h"

#include <base/text.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { PIECES_MAX = 16384, RANGE_TEXT = 48 };

struct piece {
    uint64_t arrived; /* bytes from its start on */
    bool is_taken;
};

struct hc_pieces {
    uint64_t size;
    uint64_t length; /* of each piece but the last */
    size_t count;
    atomic_uint_least64_t arrived;
    struct {
        pthread_mutex_t lock;
        size_t front; /* all pieces before this one are complete */
        struct piece *rows;
    } shared;
};

static void lock(struct hc_pieces *pieces)
{
    (void)pthread_mutex_lock(&pieces->shared.lock);
}

static void unlock(struct hc_pieces *pieces)
{
    (void)pthread_mutex_unlock(&pieces->shared.lock);
}

static uint64_t start_of(const struct hc_pieces *pieces, size_t i)
{
    return i * pieces->length;
}

static uint64_t length_of(const struct hc_pieces *pieces, size_t i)
{
    uint64_t left = pieces->size - start_of(pieces, i);

    return left < pieces->length ? left : pieces->length;
}

static bool is_complete(const struct hc_pieces *pieces, size_t i)
{
    return pieces->shared.rows[i].arrived == length_of(pieces, i);
}

static bool is_wanted(const struct hc_pieces *pieces, size_t i)
{
    return i < pieces->count && !pieces->shared.rows[i].is_taken &&
           !is_complete(pieces, i);
}

static void advance_front(struct hc_pieces *pieces)
{
    while (pieces->shared.front < pieces->count &&
           is_complete(pieces, pieces->shared.front))
        pieces->shared.front++;
}

struct hc_pieces *hc_pieces_new(uint64_t size, uint64_t length, struct hc_error *err)
{
    struct hc_pieces *pieces = calloc(1, sizeof *pieces);

    if (!pieces) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    pieces->size = size;
    pieces->length = length > 0 ? length : HC_PIECES_LENGTH;
    if (size < HC_PIECES_FEW * pieces->length)
        pieces->length *= HC_PIECES_FEW;
    while (size / pieces->length >= PIECES_MAX)
        pieces->length *= 2;
    pieces->count = (size_t)(size / pieces->length + (size % pieces->length > 0));
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
    return pieces->size;
}

uint64_t hc_pieces_arrived(const struct hc_pieces *pieces)
{
    return atomic_load(&pieces->arrived);
}

uint64_t hc_pieces_front(struct hc_pieces *pieces)
{
    uint64_t front = pieces->size;

    lock(pieces);
    if (pieces->shared.front < pieces->count)
        front = start_of(pieces, pieces->shared.front) +
                pieces->shared.rows[pieces->shared.front].arrived;
    unlock(pieces);
    return front;
}

uint64_t hc_pieces_end(struct hc_pieces *pieces)
{
    uint64_t end = 0;

    lock(pieces);
    for (size_t i = pieces->count; i > 0 && end == 0; i--) {
        if (pieces->shared.rows[i - 1].arrived > 0)
            end = start_of(pieces, i - 1) + pieces->shared.rows[i - 1].arrived;
    }
    unlock(pieces);
    return end;
}

struct hc_span hc_pieces_gap(struct hc_pieces *pieces, uint64_t at)
{
    struct hc_span gap = {.start = at, .end = at};

    lock(pieces);
    for (size_t i = (size_t)(at / pieces->length); i < pieces->count; i++) {
        gap.start = start_of(pieces, i) + pieces->shared.rows[i].arrived;
        gap.end = start_of(pieces, i) + length_of(pieces, i);
        if (gap.start < gap.end)
            break;
    }
    unlock(pieces);
    return gap;
}

void hc_pieces_add(struct hc_pieces *pieces, uint64_t at, uint64_t count)
{
    lock(pieces);
    pieces->shared.rows[at / pieces->length].arrived += count;
    advance_front(pieces);
    unlock(pieces);
    (void)atomic_fetch_add(&pieces->arrived, count);
}

void hc_pieces_fill(struct hc_pieces *pieces)
{
    lock(pieces);
    for (size_t i = 0; i < pieces->count; i++)
        pieces->shared.rows[i].arrived = length_of(pieces, i);
    pieces->shared.front = pieces->count;
    unlock(pieces);
    atomic_store(&pieces->arrived, pieces->size);
}

void hc_pieces_clear(struct hc_pieces *pieces)
{
    lock(pieces);
    for (size_t i = 0; i < pieces->count; i++)
        pieces->shared.rows[i].arrived = 0;
    pieces->shared.front = 0;
    unlock(pieces);
    atomic_store(&pieces->arrived, 0);
}

/* Pieces that follow and of which nothing has arrived come along. */
static void take_from(struct hc_pieces *pieces, size_t i, uint64_t most,
                      struct hc_span *span)
{
    struct piece *rows = pieces->shared.rows;

    span->start = start_of(pieces, i) + rows[i].arrived;
    do {
        rows[i].is_taken = true;
        span->end = start_of(pieces, i) + length_of(pieces, i);
        i++;
    } while (is_wanted(pieces, i) && rows[i].arrived == 0 &&
             span->end - span->start + pieces->length <= most);
}

static size_t first_wanted(const struct hc_pieces *pieces)
{
    size_t i = pieces->shared.front;

    while (i < pieces->count && !is_wanted(pieces, i))
        i++;
    return i;
}

bool hc_pieces_take(struct hc_pieces *pieces, uint64_t most, struct hc_span *span)
{
    size_t i;

    lock(pieces);
    i = first_wanted(pieces);
    if (i < pieces->count)
        take_from(pieces, i, most, span);
    unlock(pieces);
    return i < pieces->count;
}

bool hc_pieces_is_open(struct hc_pieces *pieces)
{
    bool is_open;

    lock(pieces);
    is_open = first_wanted(pieces) < pieces->count;
    unlock(pieces);
    return is_open;
}

void hc_pieces_give_back(struct hc_pieces *pieces, const struct hc_span *span)
{
    lock(pieces);
    for (size_t i = (size_t)(span->start / pieces->length);
         i < pieces->count && start_of(pieces, i) < span->end; i++)
        pieces->shared.rows[i].is_taken = false;
    unlock(pieces);
}

/* The next bytes that have arrived, from piece `*i` on. */
static bool next_range(const struct hc_pieces *pieces, size_t *i, struct hc_span *range)
{
    const struct piece *rows = pieces->shared.rows;

    while (*i < pieces->count && rows[*i].arrived == 0)
        (*i)++;
    if (*i == pieces->count)
        return false;
    range->start = start_of(pieces, *i);
    do {
        range->end = start_of(pieces, *i) + rows[*i].arrived;
        (*i)++;
    } while (is_complete(pieces, *i - 1) && *i < pieces->count && rows[*i].arrived > 0);
    return true;
}

void hc_pieces_format(struct hc_pieces *pieces, char text[HC_PIECES_TEXT_SIZE])
{
    struct hc_span range;
    size_t i = 0, used = 0;

    text[0] = '\0';
    lock(pieces);
    while (used + RANGE_TEXT < HC_PIECES_TEXT_SIZE && next_range(pieces, &i, &range))
        used += (size_t)hc_format(text + used, HC_PIECES_TEXT_SIZE - used,
                                  "%s%" PRIu64 "-%" PRIu64, used > 0 ? "," : "",
                                  range.start, range.end);
    unlock(pieces);
}

/* Of a piece only a beginning counts: the rest of a range that starts in it is lost. */
static void mark(struct hc_pieces *pieces, const struct hc_span *range)
{
    size_t i = (size_t)(range->start / pieces->length);

    i += range->start % pieces->length > 0;
    for (; i < pieces->count && start_of(pieces, i) < range->end; i++) {
        uint64_t within = range->end - start_of(pieces, i);
        uint64_t length = length_of(pieces, i);

        pieces->shared.rows[i].arrived = within < length ? within : length;
    }
}

static bool parse_range(const char **text, struct hc_span *range)
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

static bool parse(struct hc_pieces *pieces, const char *text)
{
    struct hc_span range = {0};

    while (*text) {
        if (!parse_range(&text, &range) || range.end > pieces->size ||
            (*text != '\0' && *text != ','))
            return false;
        text += *text == ',';
        mark(pieces, &range);
    }
    return true;
}

bool hc_pieces_parse(struct hc_pieces *pieces, const char *text)
{
    uint64_t arrived = 0;
    bool is_good;

    hc_pieces_clear(pieces);
    lock(pieces);
    is_good = parse(pieces, text);
    for (size_t i = 0; i < pieces->count; i++)
        arrived += pieces->shared.rows[i].arrived;
    advance_front(pieces);
    unlock(pieces);
    atomic_store(&pieces->arrived, arrived);
    if (!is_good)
        hc_pieces_clear(pieces);
    return is_good;
}
