/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whatever order bytes arrive in, the pieces tell which are there, how far
 * they are there without a hole, and which no connection fetches yet.
 */
#include "test.h"

#include <base/size.h>
#include <base/text.h>
#include <claim/pieces.h>

#include <string.h>

enum { MIB = 1024 * 1024, PIECE = 8 * MIB };

static const uint64_t gb = 1000000000;

enum { SMALL = HC_PIECES_FEW * HC_PIECES_LENGTH };

static struct hc_pieces *pieces_make(uint64_t size)
{
    struct hc_error err;
    struct hc_pieces *pieces = hc_pieces_new(size, 0, &err);

    assert_non_null(pieces);
    return pieces;
}

static void pieces_expect_text(struct hc_pieces *pieces, const char *expected)
{
    char text[HC_PIECES_TEXT_SIZE];

    hc_pieces_format(pieces, text);
    assert_string_equal(text, expected);
}

static void a_small_blob_is_one_piece(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(SMALL - 1);
    struct hc_span span, none;

    (void)state;
    assert_true(hc_pieces_take(pieces, 1, &span));
    assert_int_equal(span.start, 0);
    assert_int_equal(span.end, SMALL - 1);
    assert_false(hc_pieces_take(pieces, 1, &none));
    hc_pieces_give_back(pieces, &span);
    assert_true(hc_pieces_take(pieces, 1, &none));
}

static void an_empty_blob_has_nothing_to_fetch(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(0);
    struct hc_span span;

    (void)state;
    assert_false(hc_pieces_take(pieces, MIB, &span));
    assert_int_equal(hc_pieces_front(pieces), 0);
    assert_true(hc_pieces_parse(pieces, ""));
    pieces_expect_text(pieces, "");
}

static void a_blob_of_unknown_size_is_one_piece_that_ends_when_told(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(HC_SIZE_UNKNOWN);
    struct hc_span span, none;

    (void)state;
    assert_true(hc_pieces_take(pieces, hc_pieces_missing(pieces), &span));
    assert_int_equal(span.start, 0);
    assert_true(span.end == HC_SIZE_UNKNOWN);
    assert_false(hc_pieces_take(pieces, 1, &none));
    assert_int_equal(hc_pieces_start_write(pieces, &span, MIB), MIB);
    hc_pieces_add_arrived(pieces, 0, MIB);
    assert_int_equal(hc_pieces_front(pieces), MIB);
    pieces_expect_text(pieces, "0-1048576");
    hc_pieces_set_size(pieces, 2 * (uint64_t)MIB);
    hc_pieces_trim(pieces, &span);
    assert_int_equal(span.start, MIB);
    assert_int_equal(span.end, 2 * (uint64_t)MIB);
    hc_pieces_set_size(pieces, MIB);
    hc_pieces_trim(pieces, &span);
    assert_int_equal(span.end, MIB);
    assert_int_equal(hc_pieces_missing(pieces), 0);
    hc_pieces_give_back(pieces, &span);
    assert_false(hc_pieces_take(pieces, 1, &none));
    hc_pieces_clear(pieces);
    hc_pieces_set_size(pieces, 0);
    assert_int_equal(hc_pieces_front(pieces), 0);
    assert_false(hc_pieces_take(pieces, 1, &none));
    hc_pieces_set_size(pieces, HC_SIZE_UNKNOWN);
    assert_true(hc_pieces_take(pieces, 1, &span));
}

static void the_front_waits_for_the_hole_to_be_filled(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(100 * (uint64_t)MIB);

    (void)state;
    hc_pieces_add_arrived(pieces, PIECE, PIECE);
    hc_pieces_add_arrived(pieces, 2 * (uint64_t)PIECE, 5);
    assert_int_equal(hc_pieces_front(pieces), 0);
    assert_int_equal(hc_pieces_arrived(pieces), PIECE + 5);
    hc_pieces_add_arrived(pieces, 0, 7);
    assert_int_equal(hc_pieces_front(pieces), 7);
    pieces_expect_text(pieces, "0-7,8388608-16777221");
    hc_pieces_add_arrived(pieces, 7, PIECE - 7);
    assert_int_equal(hc_pieces_front(pieces), 2 * (uint64_t)PIECE + 5);
    pieces_expect_text(pieces, "0-16777221");
}

static void what_is_reserved_is_not_reserved_twice(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(100 * (uint64_t)MIB);
    struct hc_span one, two, rest;

    (void)state;
    hc_pieces_add_arrived(pieces, 0, 10);
    assert_true(hc_pieces_take(pieces, 2 * (uint64_t)PIECE, &one));
    assert_true(hc_pieces_take(pieces, PIECE, &two));
    assert_int_equal(one.start, 10);
    assert_int_equal(one.end, 2 * (uint64_t)PIECE);
    assert_int_equal(two.start, 2 * (uint64_t)PIECE);
    assert_int_equal(two.end, 3 * (uint64_t)PIECE);
    assert_true(hc_pieces_take(pieces, UINT64_MAX / 2, &rest));
    assert_int_equal(rest.end, 100 * (uint64_t)MIB);
    assert_false(hc_pieces_has_free(pieces));
    hc_pieces_give_back(pieces, &two);
    assert_true(hc_pieces_take(pieces, UINT64_MAX / 2, &rest));
    assert_int_equal(rest.start, 2 * (uint64_t)PIECE);
    assert_int_equal(rest.end, 3 * (uint64_t)PIECE); /* what follows is reserved */
}

/* An idle connection helps the one that has most to do. */
static void what_is_reserved_and_not_begun_is_shared(void **state)
{
    const uint64_t piece = PIECE;
    HC_AUTO(hc_pieces) *pieces = pieces_make(8 * piece);
    struct hc_span slow, other, helper;

    (void)state;
    assert_true(hc_pieces_take(pieces, 6 * piece, &slow));
    assert_true(hc_pieces_take(pieces, 2 * piece, &other));
    assert_int_equal(hc_pieces_start_write(pieces, &slow, piece + 1), piece + 1);
    assert_true(hc_pieces_take(pieces, UINT64_MAX / 2, &helper));
    assert_int_equal(helper.start, 4 * piece); /* of 2, 3, 4, 5: the owner is at 1 */
    assert_int_equal(helper.end, 6 * piece);

    assert_int_equal(hc_pieces_start_write(pieces, &slow, 6 * piece), 4 * piece);
    hc_pieces_add_arrived(pieces, 0, piece);
    hc_pieces_trim(pieces, &slow);
    assert_int_equal(slow.start, piece);
    assert_int_equal(slow.end, 4 * piece);
    hc_pieces_give_back(pieces, &slow);
    assert_true(hc_pieces_take(pieces, UINT64_MAX / 2, &slow));
    assert_int_equal(slow.start, piece);
    assert_int_equal(slow.end, 4 * piece); /* what is the helper's is so still */
}

/* Or two idle connections would take it from each other for ever. */
static void the_first_piece_stays_with_its_worker(void **state)
{
    const uint64_t piece = PIECE;
    HC_AUTO(hc_pieces) *pieces = pieces_make(5 * piece);
    struct hc_span one, two, none;

    (void)state;
    assert_true(hc_pieces_take(pieces, 2 * piece, &one));
    assert_true(hc_pieces_take(pieces, UINT64_MAX / 2, &two));
    for (int i = 0; i < 3; i++)
        assert_true(hc_pieces_take(pieces, UINT64_MAX / 2, &none));
    assert_false(hc_pieces_take(pieces, UINT64_MAX / 2, &none));
    assert_int_equal(hc_pieces_start_write(pieces, &one, 2 * piece), piece);
    assert_int_equal(hc_pieces_start_write(pieces, &two, 3 * piece), piece);
}

static void without_a_ticket_all_may_be_written(void **state)
{
    const struct hc_span all = {.end = 5 * (uint64_t)PIECE};
    HC_AUTO(hc_pieces) *pieces = pieces_make(5 * (uint64_t)PIECE);
    struct hc_span one;

    (void)state;
    assert_true(hc_pieces_take(pieces, PIECE, &one));
    assert_int_equal(hc_pieces_start_write(pieces, &all, MIB), MIB);
}

static void a_gap_is_what_a_write_may_fill(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(40 * (uint64_t)MIB);
    struct hc_span gap;

    (void)state;
    hc_pieces_add_arrived(pieces, 0, PIECE);
    hc_pieces_add_arrived(pieces, PIECE, 3);
    gap = hc_pieces_gap(pieces, 100);
    assert_int_equal(gap.start, PIECE + 3);
    assert_int_equal(gap.end, 2 * (uint64_t)PIECE);
    gap = hc_pieces_gap(pieces, 4 * (uint64_t)PIECE);
    assert_int_equal(gap.start, 4 * (uint64_t)PIECE);
    assert_int_equal(gap.end, 40 * (uint64_t)MIB);
}

static void what_is_written_down_can_be_read_back(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(100 * (uint64_t)MIB);
    HC_AUTO(hc_pieces) *again = pieces_make(100 * (uint64_t)MIB);
    char text[HC_PIECES_TEXT_SIZE];

    (void)state;
    hc_pieces_add_arrived(pieces, 0, PIECE);
    hc_pieces_add_arrived(pieces, PIECE, 9);
    hc_pieces_add_arrived(pieces, 5 * (uint64_t)PIECE, 1);
    hc_pieces_add_arrived(pieces, 12 * (uint64_t)PIECE, 4 * (uint64_t)MIB);
    hc_pieces_format(pieces, text);
    assert_true(hc_pieces_parse(again, text));
    pieces_expect_text(again, text);
    assert_int_equal(hc_pieces_arrived(again), hc_pieces_arrived(pieces));
    assert_int_equal(hc_pieces_front(again), PIECE + 9);
    hc_pieces_clear(again);
    assert_int_equal(hc_pieces_arrived(again), 0);
    assert_int_equal(hc_pieces_front(again), 0);
}

static void a_range_that_starts_within_a_piece_counts_from_the_next(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(100 * (uint64_t)MIB);

    (void)state;
    assert_true(hc_pieces_parse(pieces, "5-8388609"));
    pieces_expect_text(pieces, "8388608-8388609");
}

static void what_is_no_text_of_ours_is_nothing(void **state)
{
    static const char *const bad[] = {"x",
                                      "-",
                                      "1-",
                                      "5-5",
                                      "6-5",
                                      "0-5x",
                                      "0-5;7-9",
                                      " 0-5",
                                      "0--5",
                                      "+0-5",
                                      "0-5,8-104857601",
                                      "0-18446744073709551616",
                                      "0-99999999999999999999"};
    HC_AUTO(hc_pieces) *pieces = pieces_make(100 * (uint64_t)MIB);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(hc_pieces_parse(pieces, bad[i]));
        assert_int_equal(hc_pieces_arrived(pieces), 0);
        assert_int_equal(hc_pieces_front(pieces), 0);
    }
}

static void more_holes_than_fit_are_left_out(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(10000 * (uint64_t)MIB);
    HC_AUTO(hc_pieces) *again = pieces_make(10000 * (uint64_t)MIB);
    char text[HC_PIECES_TEXT_SIZE];

    (void)state;
    for (uint64_t i = 0; i < 10000 / 8; i++)
        hc_pieces_add_arrived(pieces, i * PIECE, 1);
    hc_pieces_format(pieces, text);
    assert_true(strlen(text) < HC_PIECES_TEXT_SIZE - 1);
    assert_true(hc_pieces_parse(again, text));
    assert_true(hc_pieces_arrived(again) > 50);
}

static void a_hostile_size_needs_little_memory(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(UINT64_MAX / 2);
    struct hc_span span;

    (void)state;
    assert_true(hc_pieces_take(pieces, 1, &span));
    hc_pieces_add_arrived(pieces, span.start, 1000);
    assert_int_equal(hc_pieces_front(pieces), 1000);
}

/* Every third piece, of which a little is missing; all beyond what 32 bits can say. */
static void pieces_add_some(struct hc_pieces *pieces, uint64_t length)
{
    for (uint64_t at = 5 * gb / length * length; at + length <= hc_pieces_size(pieces);
         at += 3 * length)
        hc_pieces_add_arrived(pieces, at, length - 7);
}

static uint64_t pieces_first_length(struct hc_pieces *pieces)
{
    return hc_pieces_gap(pieces, 0).end;
}

static void a_blob_of_100_gb_has_pieces_like_others(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(100 * gb);
    struct hc_span span, last = hc_pieces_gap(pieces, 100 * gb - 1);

    (void)state;
    assert_int_equal(pieces_first_length(pieces), PIECE);
    assert_int_equal(last.start, (100 * gb - 1) / PIECE * PIECE);
    assert_int_equal(last.end, 100 * gb);
    hc_pieces_add_arrived(pieces, last.start, last.end - last.start);
    hc_pieces_add_arrived(pieces, 0, PIECE);
    assert_true(hc_pieces_take(pieces, 100 * gb, &span));
    assert_int_equal(span.start, PIECE);
    assert_int_equal(span.end, last.start);
    assert_false(hc_pieces_has_free(pieces));
    assert_int_equal(hc_pieces_arrived(pieces), PIECE + last.end - last.start);
    pieces_expect_text(pieces, "0-8388608,99992207360-100000000000");
}

static void a_blob_of_1_tb_has_larger_pieces_instead_of_more(void **state)
{
    HC_AUTO(hc_pieces) *pieces = pieces_make(1000 * gb);
    struct hc_span last = hc_pieces_gap(pieces, 1000 * gb - 1);

    (void)state;
    assert_int_equal(pieces_first_length(pieces), 8 * (uint64_t)PIECE);
    assert_int_equal(last.start, (1000 * gb - 1) / (8 * (uint64_t)PIECE) * 8 * PIECE);
    assert_int_equal(last.end, 1000 * gb);
}

static void what_arrived_of_a_large_blob_is_written_down_too(void **state)
{
    const uint64_t sizes[] = {100 * gb, 1000 * gb};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        HC_AUTO(hc_pieces) *pieces = pieces_make(sizes[i]);
        HC_AUTO(hc_pieces) *again = pieces_make(sizes[i]);
        uint64_t length = pieces_first_length(pieces);
        char text[HC_PIECES_TEXT_SIZE];

        pieces_add_some(pieces, length);
        hc_pieces_format(pieces, text); /* as much as fits */
        assert_true(hc_pieces_parse(again, text));
        pieces_expect_text(again, text);
        assert_true(hc_pieces_arrived(again) >= 50 * (length - 7));
        assert_true(hc_pieces_arrived(again) < hc_pieces_arrived(pieces));
        assert_int_equal(hc_pieces_front(again), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_blob_is_one_piece),
        cmocka_unit_test(an_empty_blob_has_nothing_to_fetch),
        cmocka_unit_test(a_blob_of_unknown_size_is_one_piece_that_ends_when_told),
        cmocka_unit_test(the_front_waits_for_the_hole_to_be_filled),
        cmocka_unit_test(what_is_reserved_is_not_reserved_twice),
        cmocka_unit_test(what_is_reserved_and_not_begun_is_shared),
        cmocka_unit_test(the_first_piece_stays_with_its_worker),
        cmocka_unit_test(without_a_ticket_all_may_be_written),
        cmocka_unit_test(a_gap_is_what_a_write_may_fill),
        cmocka_unit_test(what_is_written_down_can_be_read_back),
        cmocka_unit_test(a_range_that_starts_within_a_piece_counts_from_the_next),
        cmocka_unit_test(what_is_no_text_of_ours_is_nothing),
        cmocka_unit_test(more_holes_than_fit_are_left_out),
        cmocka_unit_test(a_blob_of_100_gb_has_pieces_like_others),
        cmocka_unit_test(a_blob_of_1_tb_has_larger_pieces_instead_of_more),
        cmocka_unit_test(what_arrived_of_a_large_blob_is_written_down_too),
        cmocka_unit_test(a_hostile_size_needs_little_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
