/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a snapshot's progress is encoded with the field numbers of the contract,
 * and a field that is zero takes no byte. What a removal took and left is told up to a
 * size that every client of gRPC takes, and counted as a whole.
 */
#include <server/cache_codec.h>
#include <server/codec.h>
#include <server/message.h>

#include <stdlib.h>
#include <string.h>
#include <test.h>

enum { PACKED_MAX = 256 };

static size_t packed(const struct hc_progress *progress, uint8_t bytes[PACKED_MAX])
{
    Hubcache__V1__SnapshotProgress message;

    hc_encode_progress(progress, &message);
    assert_true(hubcache__v1__snapshot_progress__get_packed_size(&message) <= PACKED_MAX);
    return hubcache__v1__snapshot_progress__pack(&message, bytes);
}

/* Each field is its number times eight, plus 2 for text, and its value. */
static void progress_has_the_numbers_of_the_contract(void **state)
{
    static const uint8_t expected[] = {1 << 3, 7,  2 << 3, 3,   3 << 3, 100, 4 << 3,
                                       50,     42, 1,      'a', 42,     1,   'b',
                                       6 << 3, 13, 7 << 3, 5,   8 << 3, 1};
    const char *const active[] = {"a", "b"};
    const struct hc_progress progress = {
        .files_total = 7,
        .files_done = 3,
        .bytes_total = 100,
        .bytes_done = 50,
        .bytes_per_second = 13,
        .active_files = active,
        .active_count = 2,
        .waiting_count = 1,
        .retries = 5,
    };
    uint8_t bytes[PACKED_MAX];

    (void)state;
    assert_int_equal(packed(&progress, bytes), sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void progress_without_retries_has_the_bytes_of_older_servers(void **state)
{
    static const uint8_t expected[] = {1 << 3, 7};
    const struct hc_progress progress = {.files_total = 7};
    uint8_t bytes[PACKED_MAX];

    (void)state;
    assert_int_equal(packed(&progress, bytes), sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
}

/* ---- removals ---------------------------------------------------------------------- */

enum { ANSWER_MAX = 4 << 20, LONG_NAME = 1000 };

/* The answer's size with `count` rows of each list, whose files have names so long. */
static size_t encode_rows(size_t count, size_t name_length,
                          struct hc_encoded_removal *encoded)
{
    Hubcache__V1__DeleteRevisionsResponse response;
    struct hc_removal_result result = {.removed_count = count, .kept_count = count};
    struct hc_arena arena;
    struct hc_error err;
    size_t size;
    char *name = calloc(1, name_length + 1);

    memset(name, 'n', name_length);
    result.removed = calloc(count + 1, sizeof *result.removed);
    result.kept = calloc(count + 1, sizeof *result.kept);
    for (size_t i = 0; i < count; i++) {
        result.removed[i].filename = name;
        result.removed[i].detail = "selected";
        memset(result.kept[i].detail, 'd', sizeof result.kept[i].detail - 1);
    }
    hc_arena_init(&arena);
    assert_int_equal(hc_encode_removal(&result, &arena, encoded, &err), 0);
    hubcache__v1__delete_revisions_response__init(&response);
    response.removed = encoded->removed;
    response.n_removed = encoded->removed_count;
    response.kept = encoded->kept;
    response.n_kept = encoded->kept_count;
    size = hubcache__v1__delete_revisions_response__get_packed_size(&response);
    hc_arena_reset(&arena);
    free(result.removed);
    free(result.kept);
    free(name);
    return size;
}

static void a_removal_of_few_is_told_as_a_whole(void **state)
{
    static const size_t counts[] = {0, 1, 2, 1000, 3000};
    struct hc_encoded_removal encoded;

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        (void)encode_rows(counts[i], 10, &encoded);
        assert_int_equal(encoded.removed_count, counts[i]);
        assert_int_equal(encoded.removed_total, counts[i]);
        assert_int_equal(encoded.kept_count, counts[i]);
        assert_int_equal(encoded.kept_total, counts[i]);
    }
}

static void a_removal_of_many_fits_an_answer_and_is_counted(void **state)
{
    static const size_t lengths[] = {0, 10, LONG_NAME};
    enum { MANY = 50000 };
    struct hc_encoded_removal encoded;

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_true(encode_rows(MANY, lengths[i], &encoded) < ANSWER_MAX);
        assert_true(encoded.removed_count > 0 && encoded.removed_count < MANY);
        assert_true(encoded.kept_count > 0 && encoded.kept_count < MANY);
        assert_int_equal(encoded.removed_total, MANY);
        assert_int_equal(encoded.kept_total, MANY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_has_the_numbers_of_the_contract),
        cmocka_unit_test(progress_without_retries_has_the_bytes_of_older_servers),
        cmocka_unit_test(a_removal_of_few_is_told_as_a_whole),
        cmocka_unit_test(a_removal_of_many_fits_an_answer_and_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
