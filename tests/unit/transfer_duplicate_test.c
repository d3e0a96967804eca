/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a blob that another repo of the cache has is not fetched again, its bytes
 * are not believed before they are hashed, and the other repo's file is never changed.
 */
#include "transfer_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORK "models--org--fork"

/* The blob of that repo, relative to the cache root. */
static void blob_path_of(char path[PATH_MAX], const char *folder, const char *etag)
{
    (void)snprintf(path, PATH_MAX, "%s/blobs/%s", folder, etag);
}

static struct stat blob_stat(struct fixture *f, const char *folder, const char *etag)
{
    char path[PATH_MAX];
    struct stat status;

    blob_path_of(path, folder, etag);
    assert_int_equal(fstatat(hc_cache_fd(f->cache), path, &status, 0), 0);
    return status;
}

/* large.bin, wanted for another repo that has it too. */
static int fetch_fork(struct fixture *f, const struct hc_metadata *metadata, bool force,
                      uint64_t *fetched)
{
    const struct hc_hub_credentials credentials = {0};
    struct hc_blob_request request = blob_request_of(f, "large.bin", metadata);
    struct hc_blob_result blob;
    struct hc_repo fork;
    int result;

    assert_int_equal(hc_repo_init(&fork, HC_REPO_MODEL, "org/fork", &f->err), 0);
    request.blob.folder = fork.folder;
    request.file.repo = &fork;
    request.is_forced = force;
    result = hc_transfers_fetch(f->transfers, &request, &credentials, &blob, &f->err);
    *fetched = blob.fetched_bytes;
    return result;
}

/* Another repo's file of the right name and length; `byte` is all that is in it. */
static void make_duplicate(struct fixture *f, const char *path, const char *byte)
{
    HC_AUTO_FREE char *absolute = temp_dir_path(f->dir, path);

    temp_dir_write(f->dir, path, byte);
    assert_int_equal(truncate(absolute, LARGE_SIZE), 0);
}

static char blob_first_byte(struct fixture *f, const char *path)
{
    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(f->cache), path, O_RDONLY | O_CLOEXEC);
    char byte;

    assert_int_equal(read(fd, &byte, 1), 1);
    return byte;
}

static void note_shared_bytes(void *ctx, const struct hc_transfer *transfer)
{
    *(uint64_t *)ctx = transfer->shared_bytes;
}

static void a_blob_of_another_repo_is_not_fetched(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    uint64_t fetched = 0, shared = 0;

    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    test_hub_clear_log(f->server);
    hc_transfers_observe(f->transfers, note_shared_bytes, &shared);

    assert_int_equal(fetch_fork(f, &metadata, false, &fetched), 0);
    assert_int_equal(fetched, 0);
    assert_int_equal(shared, LARGE_SIZE);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 0);
    assert_int_equal(blob_stat(f, FORK, metadata.etag).st_size, LARGE_SIZE);
    assert_int_equal(temp_dir_count(f->dir, FORK), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void a_duplicate_with_wrong_bytes_is_neither_believed_nor_changed(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    uint64_t fetched = 0;
    char path[PATH_MAX];

    blob_path_of(path, FORK, metadata.etag);
    make_duplicate(f, path, "x");
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, LARGE_SIZE);
    assert_int_equal(blob_first_byte(f, path), 'x');
    assert_int_equal(blob_stat(f, FORK, metadata.etag).st_size, LARGE_SIZE);
    assert_int_equal(blob_stat(f, FORK, metadata.etag).st_nlink, 1);
    expect_only_blob(f, "large.bin");
}

/* Only root can give a file away. */
static void a_file_of_another_user_is_not_linked(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    uint64_t fetched = 0;
    char path[PATH_MAX];

    if (geteuid() != 0)
        skip();
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    blob_path_of(path, f->repo.folder, metadata.etag);
    assert_int_equal(fchownat(hc_cache_fd(f->cache), path, 12345, 12345, 0), 0);
    (void)fetch_fork(f, &metadata, false, &fetched);
    assert_int_equal(blob_stat(f, f->repo.folder, metadata.etag).st_nlink, 1);
}

static void a_forced_fetch_uses_no_duplicate(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    uint64_t fetched = 0;

    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    test_hub_clear_log(f->server);
    assert_int_equal(fetch_fork(f, &metadata, true, &fetched), -1);
    assert_int_equal(f->err.reason, HC_REPO_NOT_FOUND); /* it was asked for */
    assert_int_equal(blob_stat(f, f->repo.folder, metadata.etag).st_nlink, 1);
}

static void a_blob_of_the_shared_store_is_not_linked(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    char path[PATH_MAX], target[PATH_MAX];
    struct stat payload;
    uint64_t fetched = 0;

    make_duplicate(f, "blobs/ab/abcd", "x");
    blob_path_of(path, FORK, metadata.etag);
    temp_dir_write(f->dir, FORK "/blobs/other", "");
    (void)snprintf(target, sizeof target, "../../blobs/ab/abcd");
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, LARGE_SIZE);
    assert_int_equal(fstatat(hc_cache_fd(f->cache), "blobs/ab/abcd", &payload, 0), 0);
    assert_int_equal(payload.st_nlink, 1);
    assert_int_equal(blob_first_byte(f, "blobs/ab/abcd"), 'x');
}

static void a_file_of_another_size_is_no_duplicate(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    uint64_t fetched = 0;
    char path[PATH_MAX];

    blob_path_of(path, FORK, metadata.etag);
    temp_dir_write(f->dir, path, "x");
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, LARGE_SIZE);
    assert_int_equal(blob_stat(f, FORK, metadata.etag).st_size, 1);
}

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_blob_of_another_repo_is_not_fetched),
        test(a_duplicate_with_wrong_bytes_is_neither_believed_nor_changed),
        test(a_file_of_another_user_is_not_linked),
        test(a_forced_fetch_uses_no_duplicate),
        test(a_blob_of_the_shared_store_is_not_linked),
        test(a_file_of_another_size_is_no_duplicate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
