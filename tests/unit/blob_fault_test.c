/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: where the volume fails under a blob, an error says how, and nothing is left
 * that is not a whole and right blob.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <store/ingest.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BLOBS "models--org--name/blobs/"

/*
 * The volume fails at the call after `good_calls` more of these have worked, with
 * `volume_errno`; 0: it works.
 */
static int volume_errno;
static int good_calls;
static unsigned flushes; /* calls of fsync(2) */

ssize_t __real_pwrite(int fd, const void *bytes, size_t count, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t at);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);

static bool call_fails_now(void)
{
    if (volume_errno == 0 || good_calls-- > 0)
        return false;
    errno = volume_errno;
    return true;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    if (!call_fails_now())
        return __real_pwrite(fd, bytes, count, at);
    /* As a full disk does: some bytes still fit. */
    (void)__real_pwrite(fd, bytes, count / 2, at);
    errno = volume_errno;
    return -1;
}

int __wrap_fsync(int fd)
{
    flushes++;
    return call_fails_now() ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return call_fails_now() ? -1 : __real_renameat(from_dir, from, to_dir, to);
}

static int calls_work_again(void **state)
{
    volume_errno = 0;
    return remove_cache(state);
}

static struct hc_ingest *hello_begin(struct fixture *f)
{
    struct hc_ingest *ingest = begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), 5, &f->err);

    assert_non_null(ingest);
    return ingest;
}

static int hello_write(struct fixture *f, struct hc_ingest *ingest, const char *text)
{
    return hc_ingest_write(ingest, 0, text, strlen(text), &f->err);
}

static void a_read_only_volume_is_named(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    make_cache_read_only(f);
    ingest = begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), 5, &f->err);
    make_cache_writable(f);
    assert_null(ingest);
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
    assert_non_null(strstr(f->err.message, "models--org--name"));
}

/* The whole way of a blob; -1 where the volume failed. */
static int hello_store(struct fixture *f)
{
    HC_AUTO(hc_ingest) *ingest =
        begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), 5, &f->err);

    if (!ingest || hello_write(f, ingest, "hello") < 0)
        return -1;
    return hc_ingest_commit(ingest, NULL, &f->err);
}

static void a_failure_at_any_step_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    int result = -1;

    for (int i = 0; result < 0; i++) {
        assert_true(i < 20);
        volume_errno = EIO;
        good_calls = i;
        f->err = (struct hc_error){0};
        result = hello_store(f);
        volume_errno = 0;
        assert_int_equal(f->err.reason, result < 0 ? HC_CACHE_IO : HC_OK);
        assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
        assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
        /* Only flushing the directory may fail when the blob has its name already. */
        if (temp_dir_count(f->dir, BLOBS) > 0) {
            assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
            assert_file_content(f, BLOBS HELLO_GIT, "hello");
        }
    }
}

static void a_commit_flushes_the_file_and_its_directory(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = hello_begin(f);

    assert_int_equal(hello_write(f, ingest, "hello"), 0);
    flushes = 0;
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    assert_int_equal(flushes, 2);
    hc_ingest_drop(ingest);
}

static void a_full_volume_says_how_much_is_needed(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = hello_begin(f);

    assert_int_equal(hello_write(f, ingest, "h"), 0);
    volume_errno = ENOSPC;
    good_calls = 0;
    assert_int_equal(hc_ingest_write(ingest, 1, "ello", 4, &f->err), -1);
    volume_errno = 0;
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.needed_bytes, 4);
    assert_true(f->err.free_bytes > 0);
    hc_ingest_drop(ingest);
}

static void a_write_that_failed_halfway_can_be_repeated(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = hello_begin(f);

    volume_errno = EIO;
    good_calls = 0;
    assert_int_equal(hello_write(f, ingest, "hello"), -1);
    volume_errno = 0;
    assert_int_equal(hc_pieces_arrived(hc_ingest_pieces(ingest)), 0);
    assert_int_equal(hello_write(f, ingest, "hello"), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
    hc_ingest_drop(ingest);
    assert_file_content(f, BLOBS HELLO_GIT, "hello");
}

#define WITH_FAULTS(test)                                                                \
    cmocka_unit_test_setup_teardown(test, make_cache, calls_work_again)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FAULTS(a_read_only_volume_is_named),
        WITH_FAULTS(a_failure_at_any_step_leaves_no_trace),
        WITH_FAULTS(a_full_volume_says_how_much_is_needed),
        WITH_FAULTS(a_write_that_failed_halfway_can_be_repeated),
        WITH_FAULTS(a_commit_flushes_the_file_and_its_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
