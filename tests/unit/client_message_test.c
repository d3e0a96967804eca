/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: each number of the server's progress becomes the number of the same name, and
 * one that an older server does not send is zero.
 */
#include "test.h"

#include "client/message.h"

static Hubcache__V1__SnapshotProgress *
progress_over_the_wire(const Hubcache__V1__SnapshotProgress *sent)
{
    uint8_t bytes[256];
    size_t size = hubcache__v1__snapshot_progress__get_packed_size(sent);
    Hubcache__V1__SnapshotProgress *message;

    assert_true(size <= sizeof bytes);
    (void)hubcache__v1__snapshot_progress__pack(sent, bytes);
    message = hubcache__v1__snapshot_progress__unpack(NULL, size, bytes);
    assert_non_null(message);
    return message;
}

static void every_number_of_progress_is_decoded(void **state)
{
    Hubcache__V1__SnapshotProgress sent = HUBCACHE__V1__SNAPSHOT_PROGRESS__INIT;
    Hubcache__V1__SnapshotProgress *message;
    struct hc_client_progress progress;
    char a[] = "a", b[] = "b", *names[] = {a, b};

    (void)state;
    sent.files_total = 7;
    sent.files_done = 3;
    sent.bytes_total = UINT64_C(5000000000);
    sent.bytes_done = 11;
    sent.active_files = names;
    sent.n_active_files = 2;
    sent.bytes_per_second = 13;
    sent.retries = 17;
    sent.files_waiting = 1;
    message = progress_over_the_wire(&sent);

    hc_message_decode_progress(message, &progress);

    assert_int_equal(progress.files_total, 7);
    assert_int_equal(progress.files_done, 3);
    assert_int_equal(progress.bytes_total, UINT64_C(5000000000));
    assert_int_equal(progress.bytes_done, 11);
    assert_int_equal(progress.active_count, 2);
    assert_string_equal(progress.active_files[1], "b");
    assert_int_equal(progress.bytes_per_second, 13);
    assert_int_equal(progress.retries, 17);
    assert_int_equal(progress.waiting_count, 1);
    hubcache__v1__snapshot_progress__free_unpacked(message, NULL);
}

/* Field 1, files_total: 7, and none of the fields that were added later. */
static void numbers_that_an_older_server_does_not_send_are_zero(void **state)
{
    static const uint8_t bytes[] = {0x08, 0x07};
    Hubcache__V1__SnapshotProgress *message =
        hubcache__v1__snapshot_progress__unpack(NULL, sizeof bytes, bytes);
    struct hc_client_progress progress;

    (void)state;
    assert_non_null(message);
    hc_message_decode_progress(message, &progress);

    assert_int_equal(progress.files_total, 7);
    assert_int_equal(progress.retries, 0);
    assert_int_equal(progress.waiting_count, 0);
    hubcache__v1__snapshot_progress__free_unpacked(message, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_of_progress_is_decoded),
        cmocka_unit_test(numbers_that_an_older_server_does_not_send_are_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
