/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a blob is right exactly if its content hashes to its name, whatever its size;
 * a blob that is gone, replaced, written to or unreadable is not called corrupt; the pace
 * is kept, the page cache is left as it was, and a cancellation ends the check.
 */
#include "cache_fixture.h"

#include "random.h"

#include <base/file.h>
#include <base/size.h>
#include <base/text.h>
#include <maintenance/blob_check.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define BLOBS "models--org--name/blobs/"

enum { CHUNK = HC_IDLE_CHUNK };

/* ---- helper functions -------------------------------------------------------------- */

static struct hc_idle_reader *open_reader(struct fixture *f,
                                          const struct hc_idle_options *options)
{
    struct hc_idle_reader *reader = hc_idle_reader_open(options, &f->err);

    assert_non_null(reader);
    return reader;
}

static void hash_bytes(const char *bytes, size_t size, enum hc_digest_kind kind,
                       char hex[HC_DIGEST_HEX_MAX + 1])
{
    struct hc_error err;
    HC_AUTO(hc_digest) *digest = hc_digest_new(kind, size, &err);

    assert_int_equal(hc_digest_update(digest, bytes, size, &err), 0);
    assert_int_equal(hc_digest_finish(digest, hex, &err), 0);
}

static void write_bytes(const struct fixture *f, const char *path, const char *bytes,
                        size_t size)
{
    struct hc_error err;
    HC_AUTO_CLOSE int fd = -1;

    assert_int_equal(hc_file_mkparents(hc_cache_fd(f->cache), path, &err), 0);
    fd = openat(hc_cache_fd(f->cache), path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                0644);
    assert_true(fd >= 0);
    assert_int_equal(hc_file_write_all(fd, bytes, size, &err), 0);
}

/* Of the blob with that name, without a limit of the rate. */
static struct hc_blob_check check_blob(struct fixture *f, const char *path,
                                       const char *etag)
{
    const struct hc_idle_options options = {.is_urgent = true};
    HC_AUTO(hc_idle_reader) *reader = open_reader(f, &options);
    struct hc_blob_check check = {.root = hc_cache_fd(f->cache),
                                  .path = path,
                                  .etag = etag,
                                  .size = HC_SIZE_UNKNOWN};

    assert_int_equal(hc_blob_check_run(&check, reader, &f->err), 0);
    return check;
}

static void change_byte(const struct fixture *f, const char *path, size_t at)
{
    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(f->cache), path, O_RDWR | O_CLOEXEC);
    char byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static void check_size(struct fixture *f, size_t size, enum hc_digest_kind kind)
{
    HC_AUTO_FREE char *bytes = calloc(1, size + 1);
    char etag[HC_DIGEST_HEX_MAX + 1], path[128];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 31 + i / 4096);
    hash_bytes(bytes, size, kind, etag);
    assert_true(hc_format(path, sizeof path, BLOBS "%s", etag) > 0);
    write_bytes(f, path, bytes, size);
    assert_int_equal(check_blob(f, path, etag).state, HC_BLOB_RIGHT);

    for (int last = 0; size > 0 && last < 2; last++) {
        struct hc_blob_check check;
        char actual[HC_DIGEST_HEX_MAX + 1];
        size_t at = last ? size - 1 : 0;

        change_byte(f, path, at);
        check = check_blob(f, path, etag);
        assert_int_equal(check.state, HC_BLOB_CORRUPT);
        bytes[at] ^= 1;
        hash_bytes(bytes, size, kind, actual);
        assert_string_equal(check.actual, actual);
        bytes[at] ^= 1;
        change_byte(f, path, at);
    }
    write_bytes(f, path, bytes, size + 1);
    assert_int_equal(check_blob(f, path, etag).state, HC_BLOB_CORRUPT);
    if (size > 0) {
        write_bytes(f, path, bytes, size - 1);
        assert_int_equal(check_blob(f, path, etag).state, HC_BLOB_CORRUPT);
    }
}

/* ---- content ----------------------------------------------------------------------- */

static void a_blob_of_any_size_is_right_until_a_byte_or_its_length_changes(void **state)
{
    static const size_t sizes[] = {0,         1,     4095,      4096,      4097,
                                   CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1};
    struct fixture *f = *state;
    struct random_source random;

    random_begin(&random, "sizes");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_size(f, sizes[i], HC_DIGEST_GIT_BLOB);
        check_size(f, sizes[i], HC_DIGEST_SHA256);
    }
    for (int i = 0; i < 4; i++)
        check_size(f, random_between(&random, 2, 3 * (uint64_t)CHUNK), HC_DIGEST_SHA256);
}

static void a_name_that_is_no_hash_cannot_be_verified_but_by_size(void **state)
{
    const struct hc_idle_options options = {.is_urgent = true};
    struct fixture *f = *state;
    HC_AUTO(hc_idle_reader) *reader = open_reader(f, &options);
    struct hc_blob_check check = {.root = hc_cache_fd(f->cache),
                                  .path = BLOBS "mirror-etag",
                                  .etag = "mirror-etag",
                                  .size = HC_SIZE_UNKNOWN};

    temp_dir_write(f->dir, BLOBS "mirror-etag", "hello");
    for (uint64_t size = 4; size <= 6; size++) {
        check.size = size;
        assert_int_equal(hc_blob_check_run(&check, reader, &f->err), 0);
        assert_int_equal(check.state, size == 5 ? HC_BLOB_UNVERIFIABLE : HC_BLOB_CORRUPT);
    }
    check.size = HC_SIZE_UNKNOWN;
    assert_int_equal(hc_blob_check_run(&check, reader, &f->err), 0);
    assert_int_equal(check.state, HC_BLOB_UNVERIFIABLE);
}

static void a_blob_behind_a_symlink_is_checked_by_the_name_of_the_symlink(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, "blobs/ab/payload", "hello");
    temp_dir_write(f->dir, BLOBS "x", "");
    assert_int_equal(symlinkat("../../blobs/ab/payload", hc_cache_fd(f->cache),
                               BLOBS HELLO_SHA256),
                     0);

    assert_int_equal(check_blob(f, BLOBS HELLO_SHA256, HELLO_SHA256).state,
                     HC_BLOB_RIGHT);
    temp_dir_write(f->dir, "blobs/ab/payload", "jello");
    assert_int_equal(check_blob(f, BLOBS HELLO_SHA256, HELLO_SHA256).state,
                     HC_BLOB_CORRUPT);
}

/* ---- what is no corruption --------------------------------------------------------- */

static void a_blob_that_is_gone_is_no_finding(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(check_blob(f, BLOBS HELLO_GIT, HELLO_GIT).state, HC_BLOB_CHANGED);
}

static void a_special_file_is_unreadable(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, BLOBS HELLO_GIT);

    temp_dir_write(f->dir, BLOBS "x", "");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(check_blob(f, BLOBS HELLO_GIT, HELLO_GIT).state, HC_BLOB_UNREADABLE);
}

/* What another process does when the reader has read the first chunk. */
struct interference {
    struct fixture *f;
    void (*act)(const struct fixture *f);
    struct hc_cancellation *cancellation;
    unsigned calls;
};

static void interfere(void *ctx, uint64_t bytes)
{
    struct interference *interference = ctx;

    if (bytes == 0 || interference->calls++ > 0)
        return;
    if (interference->act)
        interference->act(interference->f);
    if (interference->cancellation)
        hc_cancellation_cancel(interference->cancellation);
}

/* A wrong blob of several chunks, read so slowly that the interference comes between. */
static int check_slowly(struct fixture *f, struct interference *interference,
                        struct hc_blob_check *check)
{
    const struct hc_idle_options options = {.bytes_per_second = 1024 * 1024,
                                            .is_urgent = true,
                                            .cancellation = interference->cancellation,
                                            .progress = interfere,
                                            .ctx = interference};
    HC_AUTO(hc_idle_reader) *reader = open_reader(f, &options);
    static const char zeros[512 * 1024];

    write_bytes(f, BLOBS HELLO_SHA256, zeros, sizeof zeros);
    age_file(f, BLOBS HELLO_SHA256, 100);
    *check = (struct hc_blob_check){.root = hc_cache_fd(f->cache),
                                    .path = BLOBS HELLO_SHA256,
                                    .etag = HELLO_SHA256,
                                    .size = HC_SIZE_UNKNOWN};
    return hc_blob_check_run(check, reader, &f->err);
}

static void replace_blob(const struct fixture *f)
{
    int root = hc_cache_fd(f->cache);

    temp_dir_write(f->dir, BLOBS "new", "hello");
    assert_int_equal(renameat(root, BLOBS "new", root, BLOBS HELLO_SHA256), 0);
}

static void a_blob_that_is_replaced_while_it_is_read_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct interference interference = {.f = f, .act = replace_blob};
    struct hc_blob_check check;

    assert_int_equal(check_slowly(f, &interference, &check), 0);
    assert_int_equal(check.state, HC_BLOB_RIGHT);
    assert_true(hc_blob_check_holds(&check));
}

static void remove_blob(const struct fixture *f)
{
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), BLOBS HELLO_SHA256, 0), 0);
}

static void a_blob_that_is_removed_while_it_is_read_is_no_finding(void **state)
{
    struct fixture *f = *state;
    struct interference interference = {.f = f, .act = remove_blob};
    struct hc_blob_check check;

    assert_int_equal(check_slowly(f, &interference, &check), 0);
    assert_int_equal(check.state, HC_BLOB_CHANGED);
    assert_false(hc_blob_check_holds(&check));
}

static void cut_blob(const struct fixture *f)
{
    write_bytes(f, BLOBS HELLO_SHA256, "hello", 5);
}

static void a_blob_that_changes_its_size_while_it_is_read_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct interference interference = {.f = f, .act = cut_blob};
    struct hc_blob_check check;

    assert_int_equal(check_slowly(f, &interference, &check), 0);
    assert_int_equal(check.state, HC_BLOB_RIGHT);
}

static void a_cancellation_ends_the_check(void **state)
{
    struct fixture *f = *state;
    struct interference interference = {.f = f,
                                        .cancellation =
                                            hc_cancellation_new(HC_NO_DEADLINE)};
    struct hc_blob_check check;

    assert_int_equal(check_slowly(f, &interference, &check), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
    hc_cancellation_free(interference.cancellation);
}

/* ---- manners ----------------------------------------------------------------------- */

static void a_byte_rate_is_kept_from_the_first_byte_on(void **state)
{
    const struct hc_idle_options options = {.bytes_per_second = 4 * 1024 * 1024,
                                            .is_urgent = true};
    struct fixture *f = *state;
    HC_AUTO(hc_idle_reader) *reader = open_reader(f, &options);
    struct hc_blob_check check = {.root = hc_cache_fd(f->cache),
                                  .path = BLOBS HELLO_SHA256,
                                  .etag = HELLO_SHA256,
                                  .size = HC_SIZE_UNKNOWN};
    int64_t began_ms = hc_monotonic_ms();
    static const char zeros[1024 * 1024];

    write_bytes(f, BLOBS HELLO_SHA256, zeros, sizeof zeros);
    assert_int_equal(hc_blob_check_run(&check, reader, &f->err), 0);
    assert_int_equal(check.state, HC_BLOB_CORRUPT); /* so it was read twice */
    assert_true(hc_monotonic_ms() - began_ms >= 450);
}

static unsigned cached_pages(const struct fixture *f, const char *path, size_t size)
{
    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(f->cache), path, O_RDONLY | O_CLOEXEC);
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char pages[4 * CHUNK / 4096];
    unsigned count = 0;

    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, size, pages), 0);
    for (size_t i = 0; i < size / (size_t)sysconf(_SC_PAGESIZE); i++)
        count += pages[i] & 1;
    assert_int_equal(munmap(map, size), 0);
    return count;
}

/* Of a file system in memory, all pages are always cached. */
static bool pages_can_be_dropped(const struct fixture *f, const char *path, size_t size)
{
    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(f->cache), path, O_RDWR | O_CLOEXEC);

    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    return cached_pages(f, path, size) == 0;
}

static void the_page_cache_has_the_pages_that_it_had_before(void **state)
{
    struct fixture *f = *state;
    const size_t size = 3 * CHUNK, page = (size_t)sysconf(_SC_PAGESIZE);
    static char bytes[3 * CHUNK]; /* skip() frees nothing */
    HC_AUTO_CLOSE int fd = -1;
    unsigned before;

    write_bytes(f, BLOBS HELLO_SHA256, bytes, size);
    if (!pages_can_be_dropped(f, BLOBS HELLO_SHA256, size))
        skip();
    (void)check_blob(f, BLOBS HELLO_SHA256, HELLO_SHA256);
    assert_int_equal(cached_pages(f, BLOBS HELLO_SHA256, size), 0);

    fd = openat(hc_cache_fd(f->cache), BLOBS HELLO_SHA256, O_RDONLY | O_CLOEXEC);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    assert_int_equal(pread(fd, bytes, 8 * page, (off_t)(CHUNK + 16 * page)), 8 * page);
    before = cached_pages(f, BLOBS HELLO_SHA256, size);
    assert_true(before >= 8);
    (void)check_blob(f, BLOBS HELLO_SHA256, HELLO_SHA256);
    assert_int_equal(cached_pages(f, BLOBS HELLO_SHA256, size), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_blob_of_any_size_is_right_until_a_byte_or_its_length_changes),
        WITH_CACHE(a_name_that_is_no_hash_cannot_be_verified_but_by_size),
        WITH_CACHE(a_blob_behind_a_symlink_is_checked_by_the_name_of_the_symlink),
        WITH_CACHE(a_blob_that_is_gone_is_no_finding),
        WITH_CACHE(a_special_file_is_unreadable),
        WITH_CACHE(a_blob_that_is_replaced_while_it_is_read_is_read_again),
        WITH_CACHE(a_blob_that_is_removed_while_it_is_read_is_no_finding),
        WITH_CACHE(a_blob_that_changes_its_size_while_it_is_read_is_read_again),
        WITH_CACHE(a_cancellation_ends_the_check),
        WITH_CACHE(a_byte_rate_is_kept_from_the_first_byte_on),
        WITH_CACHE(the_page_cache_has_the_pages_that_it_had_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
