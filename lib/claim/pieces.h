/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of a blob have arrived, and which of the others a connection is about to
 * fetch. A blob is cut into pieces of equal length; of each piece a beginning has
 * arrived. A small blob is one piece.
 *
 * A piece is free → taken (a connection has its ticket) → started (its first byte is
 * about to be written, so that no other connection gets it) → complete. A taken one
 * becomes free again when its connection gives the span back, or, before it is started,
 * when a connection has nothing else left to take.
 *
 * Callable from any thread.
 */
#ifndef HC_CLAIM_PIECES_H
#define HC_CLAIM_PIECES_H

#include <base/auto.h>
#include <base/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HC_PIECES_LENGTH = 8 * 1024 * 1024, /* bytes of a piece, unless told otherwise */
    HC_PIECES_FEW = 4,                  /* a blob of fewer pieces is not cut */
    HC_PIECES_TEXT_SIZE = 2048
};

struct hc_pieces;

/* The bytes from `start` to before `end`; with a ticket, when they have been taken. */
struct hc_span {
    uint64_t start;
    uint64_t end;
    unsigned ticket;
};

/* Pieces of `length` bytes (0: HC_PIECES_LENGTH), or of more when they would be too many.
 * A blob of HC_SIZE_UNKNOWN bytes is one piece, whose size is set later. */
struct hc_pieces *hc_pieces_new(uint64_t size, uint64_t length, struct hc_error *err);
void hc_pieces_free(struct hc_pieces *pieces);
HC_DEFINE_AUTO(hc_pieces, hc_pieces_free)

/* Of the blob. */
uint64_t hc_pieces_size(const struct hc_pieces *pieces);

/* For a blob made with HC_SIZE_UNKNOWN: its size, at least that of what has arrived; or
 * HC_SIZE_UNKNOWN again. */
void hc_pieces_set_size(struct hc_pieces *pieces, uint64_t size);

/* ---- what has arrived -----------------------------------------------------------------
 */

/* Bytes that have arrived, wherever; */
uint64_t hc_pieces_arrived(const struct hc_pieces *pieces);

/* those that have not, a great many while the size is unknown; */
uint64_t hc_pieces_missing(const struct hc_pieces *pieces);

/* and those before the first byte that has not. */
uint64_t hc_pieces_front(struct hc_pieces *pieces);

/* The end of the last byte that has arrived. */
uint64_t hc_pieces_end(struct hc_pieces *pieces);

/* The first bytes from `at` on that have not arrived, up to the end of their piece. */
struct hc_span hc_pieces_gap(struct hc_pieces *pieces, uint64_t at);

/* `count` bytes at the beginning of a gap have arrived. */
void hc_pieces_add_arrived(struct hc_pieces *pieces, uint64_t at, uint64_t count);

/* All bytes have arrived; none has. */
void hc_pieces_set_whole(struct hc_pieces *pieces);
void hc_pieces_clear(struct hc_pieces *pieces);

/* The next bytes that have arrived one after the other, beginning at `at` or later. False
 * when there are none. */
bool hc_pieces_next_range(struct hc_pieces *pieces, uint64_t at, struct hc_span *range);

/* These have arrived. Of a piece only a beginning counts: what a range has of a piece
 * that it does not begin is lost. */
void hc_pieces_mark_range(struct hc_pieces *pieces, const struct hc_span *range);

/* What has arrived as text, "0-1000,4096-8192": as much of it as fits. */
void hc_pieces_format(struct hc_pieces *pieces, char text[HC_PIECES_TEXT_SIZE]);

/* The reverse, for a text that any process may have written. False, and no byte has
 * arrived, when it is no such text. */
bool hc_pieces_parse(struct hc_pieces *pieces, const char *text);

/* ---- what a connection takes ----------------------------------------------------------
 */

/*
 * Takes the first missing bytes that are free, about `most` of them (whole pieces, at
 * least one). When none are free, half of the pieces that another connection has taken
 * and not started, of the one that has most of them. False when there are none. The
 * caller gives the span back in every case.
 */
bool hc_pieces_take(struct hc_pieces *pieces, uint64_t most, struct hc_span *span);
void hc_pieces_give_back(struct hc_pieces *pieces, const struct hc_span *span);

/* Makes a span what is still missing of it, and still its owner's. */
void hc_pieces_trim(struct hc_pieces *pieces, struct hc_span *span);

/* Whether some missing piece is free. */
bool hc_pieces_has_free(struct hc_pieces *pieces);

/*
 * How many of the next `count` bytes of a span its owner may write: no other connection
 * gets those. Fewer than `count` when another one has taken the rest meanwhile. All of
 * them without a ticket; what goes beyond the blob is not limited here.
 */
uint64_t hc_pieces_start_write(struct hc_pieces *pieces, const struct hc_span *span,
                               uint64_t count);

#endif
