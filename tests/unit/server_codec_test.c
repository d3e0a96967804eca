/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a snapshot's progress is encoded with the field numbers of the contract,
 * and a field that is zero takes no byte.
 */
#include <server/codec.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_has_the_numbers_of_the_contract),
        cmocka_unit_test(progress_without_retries_has_the_bytes_of_older_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
