/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a hasher, with a thread or without, makes the digest of all bytes in their
 * sequence, and reads none of them after it has said that they may change.
 */
#include "test.h"

#include "client/hasher.h"
#include "random.h"

#include <stdbool.h>
#include <string.h>

enum {
    BUFFERS = 3, /* one is filled while two batches may be hashed */
    BUFFER_MAX = 64 * 1024,
    PIECES_MAX = 200, /* of a batch */
    BATCHES = 500
};

struct stream {
    struct random_source random;
    struct hc_digest *expected;
    struct hc_hasher *hasher;
    unsigned char buffers[BUFFERS][BUFFER_MAX];
};

static void stream_begin(struct stream *stream, bool is_threaded)
{
    struct hc_error err;

    random_begin(&stream->random, "batches");
    stream->expected = hc_digest_new(HC_DIGEST_SHA256, 0, &err);
    stream->hasher = hc_hasher_new(HC_DIGEST_SHA256, 0, &err);
    assert_non_null(stream->expected);
    assert_non_null(stream->hasher);
    if (is_threaded)
        hc_hasher_start(stream->hasher);
}

/* A batch of up to `pieces` pieces, which may be empty, in `buffer`. */
static void stream_hash_batch(struct stream *stream, unsigned char *buffer,
                              uint64_t pieces)
{
    size_t used = 0;
    struct hc_error err;

    assert_int_equal(hc_hasher_next(stream->hasher, &err), 0);
    memset(buffer, (int)random_between(&stream->random, 0, 255), BUFFER_MAX);
    for (uint64_t i = 0; i < pieces; i++) {
        size_t count = random_between(&stream->random, 0, BUFFER_MAX / PIECES_MAX);

        assert_int_equal(hc_hasher_add(stream->hasher, buffer + used, count, &err), 0);
        assert_int_equal(hc_digest_update(stream->expected, buffer + used, count, &err),
                         0);
        used += count;
    }
    hc_hasher_begin(stream->hasher);
}

static void stream_end(struct stream *stream)
{
    char hex[HC_DIGEST_HEX_MAX + 1], expected[HC_DIGEST_HEX_MAX + 1];
    struct hc_error err;

    assert_int_equal(hc_digest_finish(stream->expected, expected, &err), 0);
    assert_int_equal(hc_hasher_finish(stream->hasher, hex, &err), 0);
    assert_string_equal(hex, expected);
    hc_hasher_free(stream->hasher);
    hc_digest_free(stream->expected);
}

static void assert_hashes(bool is_threaded)
{
    static struct stream stream;

    stream_begin(&stream, is_threaded);
    for (unsigned i = 0; i < BATCHES; i++)
        stream_hash_batch(&stream, stream.buffers[i % BUFFERS],
                          random_between(&stream.random, 0, PIECES_MAX));
    stream_end(&stream);
}

static void a_thread_hashes_batches_in_their_sequence(void **state)
{
    (void)state;
    assert_hashes(true);
}

static void without_a_thread_batches_are_hashed_at_once(void **state)
{
    (void)state;
    assert_hashes(false);
}

static void bytes_may_change_after_a_settle(void **state)
{
    static struct stream stream;

    (void)state;
    stream_begin(&stream, true);
    for (unsigned i = 0; i < BATCHES; i++) {
        stream_hash_batch(&stream, stream.buffers[0], PIECES_MAX);
        hc_hasher_settle(stream.hasher);
        memset(stream.buffers[0], 0, BUFFER_MAX);
    }
    stream_end(&stream);
}

static void a_hasher_that_is_given_up_ends_its_thread(void **state)
{
    static unsigned char bytes[BUFFER_MAX];
    struct hc_error err;
    struct hc_hasher *hasher = hc_hasher_new(HC_DIGEST_GIT_BLOB, sizeof bytes, &err);

    (void)state;
    assert_non_null(hasher);
    hc_hasher_start(hasher);
    assert_int_equal(hc_hasher_next(hasher, &err), 0);
    assert_int_equal(hc_hasher_add(hasher, bytes, sizeof bytes, &err), 0);
    hc_hasher_begin(hasher);
    hc_hasher_free(hasher);
    hc_hasher_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_hashes_batches_in_their_sequence),
        cmocka_unit_test(without_a_thread_batches_are_hashed_at_once),
        cmocka_unit_test(bytes_may_change_after_a_settle),
        cmocka_unit_test(a_hasher_that_is_given_up_ends_its_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
