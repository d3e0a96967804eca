/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whatever the size, the length of the pieces, the number of workers, and
 * wherever each of them is cut off, every byte is fetched exactly once, and a span that
 * is taken reaches as far as it may. Beside the pieces runs a model with one cell for
 * each byte.
 */
#include "random.h"
#include "test.h"

#include <claim/pieces.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS_MAX = 5, RUNS = 3000, SIZE_MAX_BYTES = 700 };

struct worker {
    bool is_busy;
    struct hc_span span;
};

struct model {
    struct hc_pieces *pieces;
    uint64_t size;
    uint64_t length; /* of each piece but the last */
    bool arrived[SIZE_MAX_BYTES];
    int owner[SIZE_MAX_BYTES + 1]; /* of each piece; -1: free */
    struct worker workers[WORKERS_MAX];
    int worker_count;
    struct random_source *random;
};

static uint64_t model_pick(struct model *model, uint64_t low, uint64_t high)
{
    return random_between(model->random, low, high);
}

static uint64_t model_count_arrived(const struct model *model)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < model->size; i++)
        count += model->arrived[i];
    return count;
}

static void model_compare(const struct model *model)
{
    uint64_t front = 0, end = model->size;

    while (front < model->size && model->arrived[front])
        front++;
    while (end > 0 && !model->arrived[end - 1])
        end--;
    assert_int_equal(hc_pieces_arrived(model->pieces), model_count_arrived(model));
    assert_int_equal(hc_pieces_front(model->pieces), front);
    assert_int_equal(hc_pieces_end(model->pieces), end);
}

/* The text leads to the same bytes again. */
static void model_compare_text(const struct model *model)
{
    struct hc_error err;
    HC_AUTO(hc_pieces) *again = hc_pieces_new(model->size, model->length, &err);
    char text[HC_PIECES_TEXT_SIZE], other[HC_PIECES_TEXT_SIZE];

    assert_non_null(again);
    hc_pieces_format(model->pieces, text);
    assert_true(hc_pieces_parse(again, text));
    hc_pieces_format(again, other);
    assert_string_equal(text, other);
}

/* Whether the span could have gone on at its end, by the model. */
static bool could_reach_further(const struct model *model, const struct hc_span *span,
                                uint64_t most)
{
    uint64_t left = model->size - span->end;
    uint64_t next = left < model->length ? left : model->length;

    return left > 0 && !model->arrived[span->end] &&
           model->owner[span->end / model->length] < 0 &&
           span->end - span->start + next <= most;
}

static void model_take(struct model *model, int w)
{
    uint64_t missing = model->size - model_count_arrived(model);
    const uint64_t sizes[] = {1, model->length, missing,
                              model_pick(model, 1, 2 * model->size), UINT64_MAX / 2};
    uint64_t most = sizes[model_pick(model, 0, 4)];
    struct hc_span *span = &model->workers[w].span;

    if (!hc_pieces_take(model->pieces, most, span))
        return;
    model->workers[w].is_busy = true;
    assert_true(span->start < span->end && span->end <= model->size);
    assert_true(span->end == model->size || span->end % model->length == 0);
    for (uint64_t i = span->start; i < span->end; i++) {
        assert_false(model->arrived[i]);
        model->owner[i / model->length] = w;
    }
    /* A piece that another worker has started is never taken from it. */
    assert_false(could_reach_further(model, span, most));
}

static void model_give_back(struct model *model, int w)
{
    hc_pieces_give_back(model->pieces, &model->workers[w].span);
    model->workers[w].is_busy = false;
    for (uint64_t i = 0; i <= model->size / model->length; i++) {
        if (model->owner[i] == w)
            model->owner[i] = -1;
    }
}

/* As an ingest writes: gap after gap. */
static void model_add(struct model *model, uint64_t at, uint64_t count)
{
    for (uint64_t i = at; i < at + count; i++) {
        assert_false(model->arrived[i]);
        model->arrived[i] = true;
    }
    while (count > 0) {
        struct hc_span gap = hc_pieces_gap(model->pieces, at);
        uint64_t part = gap.end - at < count ? gap.end - at : count;

        assert_int_equal(gap.start, at);
        hc_pieces_add_arrived(model->pieces, at, part);
        at += part;
        count -= part;
    }
}

/* One chunk of an answer, and perhaps the end of it. */
static void model_fetch(struct model *model, int w)
{
    struct hc_span *span = &model->workers[w].span;
    uint64_t count = model_pick(model, 1, span->end - span->start);
    uint64_t held = hc_pieces_start_write(model->pieces, span, count);

    assert_true(held <= count);
    for (uint64_t i = span->start; i < span->start + held; i++)
        assert_int_equal(model->owner[i / model->length], w);
    model_add(model, span->start, held);
    span->start += held;
    if (held == count && span->start < span->end && model_pick(model, 0, 5) > 0)
        return;
    hc_pieces_trim(model->pieces, span);
    if (span->start >= span->end || model_pick(model, 0, 2) == 0)
        model_give_back(model, w);
}

/* Half of a run that its owner has not started may become another worker's. */
static void model_follow_release(struct model *model)
{
    for (int w = 0; w < model->worker_count; w++) {
        struct hc_span span = model->workers[w].span;

        if (!model->workers[w].is_busy)
            continue;
        hc_pieces_trim(model->pieces, &span);
        for (uint64_t i = span.end; i < model->workers[w].span.end; i++) {
            if (model->owner[i / model->length] == w)
                model->owner[i / model->length] = -1;
        }
    }
}

static void model_step(struct model *model)
{
    int w = (int)model_pick(model, 0, (uint64_t)model->worker_count - 1);

    if (model->workers[w].is_busy)
        model_fetch(model, w);
    else
        model_take(model, w);
    model_follow_release(model);
    model_compare(model);
    if (model_pick(model, 0, 9) == 0)
        model_compare_text(model);
}

static void model_run_to_the_end(struct model *model)
{
    const uint64_t patience = 1000 * (model->size + 1);
    struct hc_span none;

    for (uint64_t i = 0; model_count_arrived(model) < model->size; i++) {
        assert_true(i < patience);
        model_step(model);
    }
    for (int w = 0; w < model->worker_count; w++) {
        if (model->workers[w].is_busy)
            model_give_back(model, w);
    }
    assert_false(hc_pieces_take(model->pieces, UINT64_MAX / 2, &none));
    assert_false(hc_pieces_has_free(model->pieces));
}

static void model_run(struct random_source *random, uint64_t size, uint64_t length,
                      int workers)
{
    struct model model = {.size = size,
                          .length = size < HC_PIECES_FEW * length ? HC_PIECES_FEW * length
                                                                  : length,
                          .worker_count = workers,
                          .random = random};
    struct hc_error err;

    for (size_t i = 0; i < sizeof model.owner / sizeof *model.owner; i++)
        model.owner[i] = -1;
    model.pieces = hc_pieces_new(size, length, &err);
    assert_non_null(model.pieces);
    model_run_to_the_end(&model);
    hc_pieces_free(model.pieces);
}

static void every_byte_is_fetched_once_whatever_the_sizes(void **state)
{
    struct random_source random;

    (void)state;
    random_begin(&random, "pieces of random sizes");
    for (int i = 0; i < RUNS; i++) {
        uint64_t length = random_between(&random, 1, 40);
        uint64_t size = random_between(&random, 0, i % 10 == 0 ? SIZE_MAX_BYTES : 200);

        model_run(&random, size, length, (int)random_between(&random, 1, WORKERS_MAX));
    }
}

static void every_byte_is_fetched_once_around_every_boundary(void **state)
{
    struct random_source random;

    (void)state;
    random_begin(&random, "pieces around boundaries");
    for (uint64_t length = 1; length <= 16; length++) {
        for (uint64_t size = 0; size <= 9 * length + 1; size++)
            model_run(&random, size, length, 1 + (int)(size % WORKERS_MAX));
    }
}

/* What a request that brings the whole of a blob takes. */
static void pieces_expect_whole(uint64_t size, uint64_t length, uint64_t arrived)
{
    struct hc_error err;
    HC_AUTO(hc_pieces) *pieces = hc_pieces_new(size, length, &err);
    struct hc_span span;

    assert_non_null(pieces);
    for (uint64_t at = 0; at < arrived;) {
        struct hc_span gap = hc_pieces_gap(pieces, at);
        uint64_t end = gap.end < arrived ? gap.end : arrived;

        hc_pieces_add_arrived(pieces, at, end - at);
        at = end;
    }
    assert_int_equal(hc_pieces_take(pieces, size - arrived, &span), size > arrived);
    if (size == arrived)
        return;
    if (span.start != arrived || span.end != size)
        fail_msg("of %" PRIu64 " bytes in pieces of %" PRIu64 ", %" PRIu64
                 " there, it takes %" PRIu64 " to %" PRIu64,
                 size, length, arrived, span.start, span.end);
}

static void all_missing_bytes_can_be_taken_as_one_span(void **state)
{
    const uint64_t kib = 1024, mib = 1024 * kib, two_31 = UINT64_C(1) << 31;
    const uint64_t boundaries[] = {2,
                                   64 * kib,
                                   256 * kib,
                                   mib,
                                   8 * mib,
                                   16 * mib,
                                   32 * mib,
                                   40 * mib,
                                   64 * mib,
                                   72 * mib,
                                   two_31,
                                   2 * two_31,
                                   3 * two_31,
                                   41539200,
                                   35100000,
                                   8 * mib * 16383,
                                   8 * mib * 16384,
                                   8 * mib * 16385};

    (void)state;
    for (size_t i = 0; i < sizeof boundaries / sizeof *boundaries; i++) {
        for (uint64_t size = boundaries[i] - 1; size <= boundaries[i] + 1; size++) {
            const uint64_t lengths[] = {0, 64 * kib, mib, 8 * mib};

            for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                pieces_expect_whole(size, lengths[l], 0);
                pieces_expect_whole(size, lengths[l], 1);
                pieces_expect_whole(size, lengths[l], size / 2);
                pieces_expect_whole(size, lengths[l], size - 1);
                pieces_expect_whole(size, lengths[l], size);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_missing_bytes_can_be_taken_as_one_span),
        cmocka_unit_test(every_byte_is_fetched_once_around_every_boundary),
        cmocka_unit_test(every_byte_is_fetched_once_whatever_the_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
