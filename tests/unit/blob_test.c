/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a blob that can be found is whole and right; one that is not never gets its
 * name and leaves nothing behind.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/size.h>
#include <base/text.h>
#include <cache/pointer.h>
#include <store/ingest.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define BLOBS "models--org--name/blobs/"
#define CLAIM ".hubcache/transfers/models--org--name/" HELLO_GIT

static struct hc_ingest *blob_begin(struct fixture *f, const char *etag, uint64_t size)
{
    struct hc_ingest *ingest = begin_ingest(f->cache, BLOB_OF(f, etag), size, &f->err);

    assert_non_null(ingest);
    return ingest;
}

static uint64_t blob_arrived(struct hc_ingest *ingest)
{
    return hc_pieces_arrived(hc_ingest_pieces(ingest));
}

static void blob_write(struct fixture *f, struct hc_ingest *ingest, const char *text)
{
    assert_int_equal(hc_ingest_write(ingest, blob_arrived(ingest), text, strlen(text),
                                     &f->err),
                     0);
}

static int blob_find(struct fixture *f, const char *etag, uint64_t *size)
{
    return hc_blob_find(f->cache, BLOB_OF(f, etag), size, &f->err);
}

static void a_committed_blob_is_found_and_nothing_else_is_left(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_GIT, 5);
    uint64_t size = 0;

    blob_write(f, ingest, "he");
    blob_write(f, ingest, "llo");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);

    assert_int_equal(blob_find(f, HELLO_GIT, &size), 1);
    assert_int_equal(size, 5);
    assert_file_content(f, BLOBS HELLO_GIT, "hello");
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    assert_false(temp_dir_has(f->dir, CLAIM));
}

static void nothing_is_found_before_commit(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_SHA256, 5);
    uint64_t size;

    blob_write(f, ingest, "hello");
    assert_int_equal(blob_find(f, HELLO_SHA256, &size), 0);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
}

static void a_blob_with_the_wrong_digest_is_not_stored(void **state)
{
    static const char *const etags[] = {HELLO_GIT, HELLO_SHA256};
    struct fixture *f = *state;
    uint64_t size;

    for (size_t i = 0; i < 2; i++) {
        struct hc_ingest *ingest = blob_begin(f, etags[i], 5);

        blob_write(f, ingest, "hallo");
        assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
        assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
        hc_ingest_drop(ingest);
        assert_int_equal(blob_find(f, etags[i], &size), 0);
    }
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
}

static void a_blob_that_is_too_short_is_not_stored(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_GIT, 5);

    blob_write(f, ingest, "hell");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    hc_ingest_drop(ingest);
}

static void more_bytes_than_promised_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_GIT, 5);

    blob_write(f, ingest, "hell");
    assert_int_equal(hc_ingest_write(ingest, 4, "oo", 2, &f->err), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(blob_arrived(ingest), 4);
    blob_write(f, ingest, "o");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
}

static void an_empty_blob_is_a_blob(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest =
        blob_begin(f, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", 0);
    uint64_t size = 9;

    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(blob_find(f, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", &size), 1);
    assert_int_equal(size, 0);
}

static void an_etag_that_is_no_hash_vouches_for_the_size_only(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, "mirror-1", 5);

    blob_write(f, ingest, "hallo");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_file_content(f, BLOBS "mirror-1", "hallo");
}

/* An earlier release, or another one, may have left it. */
static void bytes_without_a_hash_are_not_resumed(void **state)
{
    const uint64_t size = UINT64_C(2) << 20;
    struct fixture *f = *state;
    HC_AUTO_FREE char *partial =
        temp_dir_path(f->dir, BLOBS "mirror-1.01234567.incomplete");
    struct hc_ingest *ingest;

    temp_dir_write(f->dir, BLOBS "mirror-1.01234567.incomplete", "");
    assert_int_equal(truncate(partial, (off_t)size), 0);
    temp_dir_write(f->dir, ".hubcache/transfers/models--org--name/mirror-1",
                   "host=x\npid=0\nstart=0\nincomplete=mirror-1.01234567.incomplete\n"
                   "size=2097152\nbytes=2000000\nranges=0-2000000\n");
    ingest = blob_begin(f, "mirror-1", size);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), 0);
    assert_int_equal(blob_arrived(ingest), 0);
    assert_false(temp_dir_has(f->dir, BLOBS "mirror-1.01234567.incomplete"));
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, "models--org--name/blobs"), 0);
}

/* Whole, though its size is told with the first byte, in the middle or at the end. */
static void a_blob_of_unknown_size_is_whole_once_its_size_is_known(void **state)
{
    static const char *const etags[] = {HELLO_GIT, HELLO_SHA256};
    struct fixture *f = *state;
    uint64_t size;

    for (size_t i = 0; i < 6; i++) {
        struct hc_ingest *ingest = blob_begin(f, etags[i % 2], HC_SIZE_UNKNOWN);

        assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
        if (i / 2 == 0)
            assert_int_equal(hc_ingest_set_size(ingest, 5, NULL, &f->err), 0);
        blob_write(f, ingest, "he");
        assert_in_range(hc_ingest_hash_next(ingest, &f->err), 0, 1);
        if (i / 2 == 1)
            assert_int_equal(hc_ingest_set_size(ingest, 5, NULL, &f->err), 0);
        blob_write(f, ingest, "llo");
        assert_int_equal(hc_ingest_set_size(ingest, 5, NULL, &f->err), 0);
        assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
        hc_ingest_drop(ingest);
        assert_int_equal(blob_find(f, etags[i % 2], &size), 1);
        assert_int_equal(size, 5);
        temp_dir_remove(temp_dir_path(f->dir, "models--org--name"));
    }
}

static void a_size_that_the_bytes_contradict_is_a_bad_reply(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_GIT, HC_SIZE_UNKNOWN);

    blob_write(f, ingest, "hello!");
    assert_int_equal(hc_ingest_set_size(ingest, 5, NULL, &f->err), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    assert_int_equal(hc_ingest_set_size(ingest, 5, NULL, &f->err), 0);
    assert_int_equal(hc_ingest_set_size(ingest, 6, NULL, &f->err), -1);
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    blob_write(f, ingest, "hello");
    assert_int_equal(hc_ingest_set_size(ingest, 5, NULL, &f->err), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
}

static void no_blob_of_unknown_size_fills_the_volume(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_SHA256, HC_SIZE_UNKNOWN);

    assert_int_equal(hc_ingest_set_size(ingest, UINT64_MAX / 4, NULL, &f->err), -1);
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    hc_ingest_drop(ingest);
}

/* A piece has a beginning only: bytes beyond it would have no place. */
static void bytes_that_would_leave_a_hole_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_SHA256, 5);

    assert_int_equal(hc_ingest_write(ingest, 2, "llo", 3, &f->err), -1);
    assert_int_equal(f->err.reason, HC_INTERNAL);
    assert_int_equal(blob_arrived(ingest), 0);
    blob_write(f, ingest, "hello");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
}

/* What an earlier transfer had written beyond what its claim says, and beyond the
 * blob. */
static void a_blob_is_no_longer_than_its_size(void **state)
{
    const uint64_t size = UINT64_C(2) << 20;
    struct fixture *f = *state;
    HC_AUTO_FREE char *zeros = calloc(1, size);
    HC_AUTO_FREE char *partial = NULL, *path = NULL;
    char hex[HC_DIGEST_HEX_MAX + 1], text[512];
    struct hc_digest *digest = hc_digest_new(HC_DIGEST_SHA256, 0, &f->err);
    struct hc_ingest *ingest;
    uint64_t there = 0;

    assert_int_equal(hc_digest_update(digest, zeros, size, &f->err), 0);
    assert_int_equal(hc_digest_finish(digest, hex, &f->err), 0);
    hc_digest_free(digest);
    assert_true(hc_format(text, sizeof text, BLOBS "%s.01234567.incomplete", hex) > 0);
    temp_dir_write(f->dir, text, "");
    partial = temp_dir_path(f->dir, text);
    assert_int_equal(truncate(partial, (off_t)size + 77), 0);
    assert_true(hc_format(text, sizeof text,
                          "host=x\npid=0\nstart=0\nincomplete=%s.01234567.incomplete\n"
                          "size=2097152\nbytes=2000000\nranges=0-2000000\n",
                          hex) > 0);
    assert_true(asprintf(&path, ".hubcache/transfers/models--org--name/%s", hex) > 0);
    temp_dir_write(f->dir, path, text);

    ingest = blob_begin(f, hex, size);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), 2000000);
    assert_int_equal(hc_ingest_write(ingest, 2000000, zeros, size - 2000000, &f->err), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(blob_find(f, hex, &there), 1);
    assert_int_equal(there, size);
}

static void an_emptied_blob_is_not_there(void **state)
{
    struct fixture *f = *state;
    uint64_t size;

    temp_dir_write(f->dir, BLOBS HELLO_GIT, "");
    temp_dir_write(f->dir, BLOBS HELLO_SHA256, "");
    temp_dir_write(f->dir, BLOBS "mirror-1", "");
    assert_int_equal(blob_find(f, HELLO_GIT, &size), 0);
    assert_int_equal(blob_find(f, HELLO_SHA256, &size), 0);
    assert_int_equal(blob_find(f, "mirror-1", &size), 1);
}

static void a_restart_forgets_what_came(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_SHA256, 5);

    blob_write(f, ingest, "xyz");
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    assert_int_equal(blob_arrived(ingest), 0);
    blob_write(f, ingest, "hello");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_file_content(f, BLOBS HELLO_SHA256, "hello");
}

static void a_blob_may_be_tried_again_after_a_mismatch(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_SHA256, 5);

    blob_write(f, ingest, "hallo");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    blob_write(f, ingest, "hello");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_file_content(f, BLOBS HELLO_SHA256, "hello");
}

static void two_ingests_of_one_blob_both_succeed(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *one = blob_begin(f, HELLO_GIT, 5);
    struct hc_ingest *two = take_ingest_over(f->cache, BLOB_OF(f, HELLO_GIT), 5);

    blob_write(f, one, "hello");
    blob_write(f, two, "hello");
    assert_int_equal(hc_ingest_commit(one, NULL, &f->err), 0);
    assert_int_equal(hc_ingest_commit(two, NULL, &f->err), 0);
    hc_ingest_drop(one);
    hc_ingest_drop(two);
    assert_file_content(f, BLOBS HELLO_GIT, "hello");
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void an_ingest_knows_that_it_was_taken_over(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = blob_begin(f, HELLO_GIT, 5);
    int root = hc_cache_fd(f->cache);

    blob_write(f, ingest, "hello");
    assert_false(hc_ingest_was_taken_over(ingest));
    assert_int_equal(renameat(root, BLOBS, root, "taken"), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
    assert_true(hc_ingest_was_taken_over(ingest));
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
    assert_int_equal(temp_dir_count(f->dir, "taken"), 1);
}

static void a_link_into_the_shared_store_is_replaced_not_written_through(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;
    uint64_t size = 0;

    temp_dir_write(f->dir, "blobs/ab/abcd", "shared");
    temp_dir_write(f->dir, BLOBS "other", "");
    assert_int_equal(symlinkat("../../blobs/ab/abcd", hc_cache_fd(f->cache),
                               BLOBS HELLO_GIT),
                     0);
    assert_int_equal(blob_find(f, HELLO_GIT, &size), 1);
    assert_int_equal(size, 6);
    ingest = blob_begin(f, HELLO_GIT, 5);
    blob_write(f, ingest, "hello");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_file_content(f, BLOBS HELLO_GIT, "hello");
    assert_file_content(f, "blobs/ab/abcd", "shared");
}

static void a_blob_has_the_mode_of_the_umask(void **state)
{
    struct fixture *f = *state;
    mode_t old = umask(027);
    struct hc_ingest *ingest = blob_begin(f, HELLO_GIT, 5);

    (void)umask(old);
    blob_write(f, ingest, "hello");
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(file_mode_of(f, BLOBS HELLO_GIT), 0640);
}

static void an_etag_that_is_no_name_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_null(begin_ingest(f->cache, BLOB_OF(f, "../evil"), 1, &f->err));
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
}

static void what_is_no_regular_file_is_no_blob(void **state)
{
    struct fixture *f = *state;
    uint64_t size;

    temp_dir_write(f->dir, BLOBS HELLO_GIT "/file", "");
    assert_int_equal(blob_find(f, HELLO_GIT, &size), 0);
    assert_int_equal(blob_find(f, HELLO_SHA256, &size), 0);
}

struct watcher {
    struct hc_ingest *ingest;
    atomic_bool is_done;
    bool went_back;
};

static void *watcher_main(void *argument)
{
    struct watcher *watcher = argument;
    uint64_t last = 0;

    while (!atomic_load(&watcher->is_done)) {
        uint64_t offset = blob_arrived(watcher->ingest);

        watcher->went_back |= offset < last;
        last = offset;
    }
    return NULL;
}

static void another_thread_may_watch_it_grow(void **state)
{
    enum { CHUNKS = 2000 };
    struct fixture *f = *state;
    struct watcher watcher = {.ingest = blob_begin(f, "watched", CHUNKS)};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, watcher_main, &watcher), 0);
    for (int i = 0; i < CHUNKS; i++)
        blob_write(f, watcher.ingest, "x");
    atomic_store(&watcher.is_done, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(watcher.went_back);
    assert_int_equal(blob_arrived(watcher.ingest), CHUNKS);
    hc_ingest_drop(watcher.ingest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_committed_blob_is_found_and_nothing_else_is_left),
        WITH_CACHE(nothing_is_found_before_commit),
        WITH_CACHE(a_blob_with_the_wrong_digest_is_not_stored),
        WITH_CACHE(a_blob_that_is_too_short_is_not_stored),
        WITH_CACHE(more_bytes_than_promised_are_refused),
        WITH_CACHE(an_empty_blob_is_a_blob),
        WITH_CACHE(an_etag_that_is_no_hash_vouches_for_the_size_only),
        WITH_CACHE(bytes_without_a_hash_are_not_resumed),
        WITH_CACHE(an_emptied_blob_is_not_there),
        WITH_CACHE(bytes_that_would_leave_a_hole_are_refused),
        WITH_CACHE(a_blob_is_no_longer_than_its_size),
        WITH_CACHE(a_blob_of_unknown_size_is_whole_once_its_size_is_known),
        WITH_CACHE(a_size_that_the_bytes_contradict_is_a_bad_reply),
        WITH_CACHE(no_blob_of_unknown_size_fills_the_volume),
        WITH_CACHE(a_restart_forgets_what_came),
        WITH_CACHE(a_blob_may_be_tried_again_after_a_mismatch),
        WITH_CACHE(two_ingests_of_one_blob_both_succeed),
        WITH_CACHE(an_ingest_knows_that_it_was_taken_over),
        WITH_CACHE(a_link_into_the_shared_store_is_replaced_not_written_through),
        WITH_CACHE(a_blob_has_the_mode_of_the_umask),
        WITH_CACHE(an_etag_that_is_no_name_is_refused),
        WITH_CACHE(what_is_no_regular_file_is_no_blob),
        WITH_CACHE(another_thread_may_watch_it_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
