/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a file of a snapshot is found whichever client put it there, and a pointer
 * made here reads as the reference client's own, with symlinks and without.
 */
#include "cache_fixture.h"

#include <cache/pointer.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define SNAPSHOT REPO "snapshots/" COMMIT "/"
#define BLOB REPO "blobs/" HELLO_GIT

/* The errno of symlinkat(2) and copy_file_range(2); 0: they work. */
static int symlink_errno;
static int copy_errno;

int __real_symlinkat(const char *target, int fd, const char *path);
int __wrap_symlinkat(const char *target, int fd, const char *path);
ssize_t __real_copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset,
                               size_t size, unsigned flags);
ssize_t __wrap_copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset,
                               size_t size, unsigned flags);

int __wrap_symlinkat(const char *target, int fd, const char *path)
{
    if (symlink_errno == 0)
        return __real_symlinkat(target, fd, path);
    errno = symlink_errno;
    return -1;
}

ssize_t __wrap_copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset,
                               size_t size, unsigned flags)
{
    if (copy_errno == 0)
        return __real_copy_file_range(from, from_offset, to, to_offset, size, flags);
    errno = copy_errno;
    return -1;
}

static int symlinks_work_again(void **state)
{
    symlink_errno = 0;
    copy_errno = 0;
    return remove_cache(state);
}

static int pointer_find(struct fixture *f, const char *path, struct hc_pointer *pointer)
{
    return hc_pointer_find(f->cache, &f->repo, COMMIT, path, pointer, &f->err);
}

static int pointer_link_hello(struct fixture *f, const char *path, bool is_fresh)
{
    const struct hc_repo_file place = {&f->repo, COMMIT, path};

    return hc_pointer_link(f->cache, &place, HELLO_GIT, is_fresh, &f->err);
}

static void symlink_in(const struct fixture *f, const char *target, const char *path)
{
    assert_int_equal(__real_symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

static void a_linked_file_is_found_with_etag_and_size(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;

    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "config.json", true), 0);
    assert_int_equal(pointer_find(f, "config.json", &pointer), 1);
    assert_string_equal(pointer.cache_path, SNAPSHOT "config.json");
    assert_string_equal(pointer.etag, HELLO_GIT);
    assert_int_equal(pointer.size, 5);
}

static void the_link_is_relative_and_as_deep_as_the_file(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "a", true), 0);
    assert_int_equal(pointer_link_hello(f, "sub/dir/x", true), 0);
    assert_link(f, SNAPSHOT "a", "../../blobs/" HELLO_GIT);
    assert_link(f, SNAPSHOT "sub/dir/x", "../../../../blobs/" HELLO_GIT);
    assert_file_content(f, SNAPSHOT "sub/dir/x", "hello");
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void linking_replaces_an_earlier_pointer(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, BLOB, "hello");
    temp_dir_write(f->dir, SNAPSHOT "a", "a user's own file");
    assert_int_equal(pointer_link_hello(f, "a", true), 0);
    assert_file_content(f, SNAPSHOT "a", "hello");
    assert_int_equal(pointer_link_hello(f, "a", false), 0);
    assert_file_content(f, SNAPSHOT "a", "hello");
}

static void a_chain_into_the_shared_store_is_followed(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;

    temp_dir_write(f->dir, "blobs/ab/abcd", "shared");
    temp_dir_write(f->dir, REPO "blobs/other", "");
    symlink_in(f, "../../blobs/ab/abcd", BLOB);
    assert_int_equal(pointer_link_hello(f, "a", false), 0);
    assert_int_equal(pointer_find(f, "a", &pointer), 1);
    assert_string_equal(pointer.etag, HELLO_GIT);
    assert_int_equal(pointer.size, 6);
}

static void a_plain_file_is_found_without_an_etag(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;

    temp_dir_write(f->dir, SNAPSHOT "a", "plain");
    assert_int_equal(pointer_find(f, "a", &pointer), 1);
    assert_string_equal(pointer.etag, "");
    assert_int_equal(pointer.size, 5);
}

static void a_link_whose_name_is_no_etag_has_none(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;

    temp_dir_write(f->dir, SNAPSHOT "x y", "plain");
    symlink_in(f, "x y", SNAPSHOT "a");
    assert_int_equal(pointer_find(f, "a", &pointer), 1);
    assert_string_equal(pointer.etag, "");
}

static void dangling_links_loops_and_directories_are_absent(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;

    temp_dir_write(f->dir, SNAPSHOT "directory/file", "x");
    symlink_in(f, "../../blobs/gone", SNAPSHOT "dangling");
    symlink_in(f, "loop", SNAPSHOT "loop");
    assert_int_equal(pointer_find(f, "directory", &pointer), 0);
    assert_int_equal(pointer_find(f, "dangling", &pointer), 0);
    assert_int_equal(pointer_find(f, "loop", &pointer), 0);
    assert_int_equal(pointer_find(f, "nothing", &pointer), 0);
    assert_int_equal(pointer_find(f, "directory/file/below", &pointer), 0);
}

static long seconds_since(struct timespec then)
{
    return (long)(time(NULL) - then.tv_sec);
}

static struct stat stat_blob(const struct fixture *f)
{
    struct stat status;

    assert_int_equal(fstatat(hc_cache_fd(f->cache), BLOB, &status, 0), 0);
    return status;
}

static void a_use_is_recorded_in_the_blobs_atime_and_nowhere_else(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;

    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "a", true), 0);
    age_file(f, BLOB, 1000);
    assert_int_equal(pointer_find(f, "a", &pointer), 1);
    assert_true(seconds_since(stat_blob(f).st_atim) < 500);
    assert_true(seconds_since(stat_blob(f).st_mtim) >= 1000);
}

static void a_recent_use_is_not_recorded_again(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;
    struct stat before;

    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "a", true), 0);
    age_file(f, BLOB, 30);
    before = stat_blob(f);
    assert_int_equal(pointer_find(f, "a", &pointer), 1);
    assert_int_equal(stat_blob(f).st_atim.tv_sec, before.st_atim.tv_sec);
}

static void a_volume_that_is_read_only_is_read(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;
    int found;

    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "a", true), 0);
    age_file(f, BLOB, 1000);
    make_cache_read_only(f);
    found = pointer_find(f, "a", &pointer);
    make_cache_writable(f);
    assert_int_equal(found, 1);
}

static void without_symlinks_a_fresh_blob_moves(void **state)
{
    struct fixture *f = *state;

    reopen_cache(f, true);
    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "sub/a", true), 0);
    assert_file_content(f, SNAPSHOT "sub/a", "hello");
    assert_false(temp_dir_has(f->dir, BLOB));
}

static void without_symlinks_an_old_blob_is_copied(void **state)
{
    struct fixture *f = *state;

    reopen_cache(f, true);
    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "a", false), 0);
    assert_file_content(f, SNAPSHOT "a", "hello");
    assert_file_content(f, BLOB, "hello");
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

/* These are about space or the name; all others say that the volume has no symlinks. */
static bool symlink_errno_is_final(int errnum)
{
    return errnum == ENOSPC || errnum == EDQUOT || errnum == ENAMETOOLONG ||
           errnum == ENOENT;
}

static void where_symlinks_fail_for_any_cause_the_bytes_are_put_in_place(void **state)
{
    struct fixture *f = *state;

    for (int errnum = 1; errnum <= EHWPOISON; errnum++) {
        symlink_errno = errnum;
        if (symlink_errno_is_final(errnum) || !strerrordesc_np(errnum))
            continue;
        temp_dir_write(f->dir, BLOB, "hello");
        assert_int_equal(pointer_link_hello(f, "a", true), 0);
        assert_file_content(f, SNAPSHOT "a", "hello");
        assert_false(temp_dir_has(f->dir, BLOB));
    }
}

static void a_full_volume_is_not_one_without_symlinks(void **state)
{
    static const int failures[] = {ENOSPC, EDQUOT, ENAMETOOLONG, ENOENT};
    struct fixture *f = *state;

    temp_dir_write(f->dir, BLOB, "hello");
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        symlink_errno = failures[i];
        assert_int_equal(pointer_link_hello(f, "a", true), -1);
        assert_file_content(f, BLOB, "hello");
        assert_false(temp_dir_has(f->dir, SNAPSHOT "a"));
    }
}

static void a_pointer_in_the_place_of_a_directory_is_replaced(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "x", true), 0);
    assert_int_equal(pointer_link_hello(f, "x/y/z", true), 0);
    assert_file_content(f, SNAPSHOT "x/y/z", "hello");
}

static void a_directory_of_pointers_in_the_place_of_a_file_is_replaced(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "x/y/z", true), 0);
    assert_int_equal(pointer_link_hello(f, "x/w", true), 0);
    assert_int_equal(pointer_link_hello(f, "x", true), 0);
    assert_file_content(f, SNAPSHOT "x", "hello");
}

static void an_obstacle_is_removed_without_symlinks_too(void **state)
{
    struct fixture *f = *state;

    reopen_cache(f, true);
    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "x", false), 0);
    assert_int_equal(pointer_link_hello(f, "x/y", false), 0);
    assert_file_content(f, SNAPSHOT "x/y", "hello");
}

static void nothing_above_the_snapshot_is_removed(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, BLOB, "hello");
    temp_dir_write(f->dir, REPO "snapshots/" COMMIT, "a file of another kind");
    assert_int_equal(pointer_link_hello(f, "x/y", true), -1);
    assert_file_content(f, REPO "snapshots/" COMMIT, "a file of another kind");
    assert_file_content(f, BLOB, "hello");
}

static void a_copy_works_without_copy_file_range(void **state)
{
    struct fixture *f = *state;

    reopen_cache(f, true);
    copy_errno = EXDEV;
    temp_dir_write(f->dir, BLOB, "hello");
    assert_int_equal(pointer_link_hello(f, "a", false), 0);
    assert_file_content(f, SNAPSHOT "a", "hello");
}

static void a_copy_has_the_mode_of_the_umask(void **state)
{
    struct fixture *f = *state;
    mode_t old;

    reopen_cache(f, true);
    temp_dir_write(f->dir, BLOB, "hello");
    old = umask(027);
    assert_int_equal(pointer_link_hello(f, "a", false), 0);
    (void)umask(old);
    assert_int_equal(file_mode_of(f, SNAPSHOT "a"), 0640);
}

static void a_copy_of_a_missing_blob_reports_it_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    reopen_cache(f, true);
    assert_int_equal(pointer_link_hello(f, "a", false), 1);
    assert_false(temp_dir_has(f->dir, SNAPSHOT "a"));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void a_path_that_cannot_be_created_is_a_failure(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, BLOB, "hello");
    temp_dir_write(f->dir, SNAPSHOT "a/file", "");
    assert_int_equal(pointer_link_hello(f, "a", true), -1);
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    assert_file_content(f, SNAPSHOT "a/file", "");
    assert_file_content(f, BLOB, "hello");
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_linked_file_is_found_with_etag_and_size),
        WITH_CACHE(the_link_is_relative_and_as_deep_as_the_file),
        WITH_CACHE(linking_replaces_an_earlier_pointer),
        WITH_CACHE(a_chain_into_the_shared_store_is_followed),
        WITH_CACHE(a_plain_file_is_found_without_an_etag),
        WITH_CACHE(a_link_whose_name_is_no_etag_has_none),
        WITH_CACHE(dangling_links_loops_and_directories_are_absent),
        WITH_CACHE(a_use_is_recorded_in_the_blobs_atime_and_nowhere_else),
        WITH_CACHE(a_recent_use_is_not_recorded_again),
        WITH_CACHE(a_volume_that_is_read_only_is_read),
        WITH_CACHE(without_symlinks_a_fresh_blob_moves),
        WITH_CACHE(without_symlinks_an_old_blob_is_copied),
        cmocka_unit_test_setup_teardown(
            where_symlinks_fail_for_any_cause_the_bytes_are_put_in_place, make_cache,
            symlinks_work_again),
        cmocka_unit_test_setup_teardown(a_full_volume_is_not_one_without_symlinks,
                                        make_cache, symlinks_work_again),
        WITH_CACHE(a_pointer_in_the_place_of_a_directory_is_replaced),
        WITH_CACHE(a_directory_of_pointers_in_the_place_of_a_file_is_replaced),
        WITH_CACHE(an_obstacle_is_removed_without_symlinks_too),
        WITH_CACHE(nothing_above_the_snapshot_is_removed),
        cmocka_unit_test_setup_teardown(a_copy_works_without_copy_file_range, make_cache,
                                        symlinks_work_again),
        WITH_CACHE(a_copy_has_the_mode_of_the_umask),
        WITH_CACHE(a_copy_of_a_missing_blob_reports_it_and_leaves_nothing),
        WITH_CACHE(a_path_that_cannot_be_created_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
