/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a file is published whole or not at all, and reading one never blocks, never
 * overruns, and tells absence from failure.
 */
#include "cache_fixture.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OTHER_UID = 65534 };

static void a_published_file_has_its_content_and_no_private_name(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    assert_int_equal(hc_file_publish(root, "p/one", "a/b/c", "text", 4, &f->err), 0);

    assert_file_content(f, "a/b/c", "text");
    assert_false(temp_dir_has(f->dir, "p/one"));
}

static void publishing_replaces_what_was_there(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, "a", "a longer old text");
    assert_int_equal(hc_file_publish(hc_cache_fd(f->cache), "p", "a", "new", 3, &f->err),
                     0);
    assert_file_content(f, "a", "new");
}

static void a_name_that_cannot_be_had_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, "directory/file", "x");
    assert_int_equal(hc_file_publish(hc_cache_fd(f->cache), "p", "directory", "x", 1,
                                     &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    assert_false(temp_dir_has(f->dir, "p"));
}

static void a_published_file_has_the_mode_of_the_umask(void **state)
{
    struct fixture *f = *state;
    mode_t old = umask(027);

    assert_int_equal(hc_file_publish(hc_cache_fd(f->cache), "p", "d/a", "", 0, &f->err),
                     0);
    (void)umask(old);
    assert_int_equal(file_mode_of(f, "d/a"), 0640);
    assert_int_equal(file_mode_of(f, "d"), 0750);
}

static void *open_and_close(void *argument)
{
    const struct fixture *f = argument;
    int fd = hc_file_open(hc_cache_fd(f->cache), "leased", O_RDWR, 0);

    if (fd < 0)
        return NULL;
    (void)close(fd);
    return argument;
}

/* As the kernel's NFS server has for its clients, where hubcached runs on its host. */
static void a_file_with_a_lease_is_opened_when_the_lease_is_given_back(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    void *opened = NULL;
    sigset_t breaks;
    int number, fd;

    temp_dir_write(f->dir, "leased", "x");
    fd = openat(hc_cache_fd(f->cache), "leased", O_RDONLY | O_CLOEXEC);
    (void)sigemptyset(&breaks);
    (void)sigaddset(&breaks, SIGIO);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &breaks, NULL), 0);
    if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        skip(); /* not on every filesystem */
    assert_int_equal(pthread_create(&thread, NULL, open_and_close, f), 0);
    assert_int_equal(sigwait(&breaks, &number), 0);
    assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    assert_int_equal(pthread_join(thread, &opened), 0);
    (void)close(fd);
    assert_ptr_equal(opened, f);
}

/* As another user than the owner's. */
static void fail_as_another_user(struct fixture *f, const char *path, mode_t mode)
{
    int root = hc_cache_fd(f->cache);
    int fd;

    assert_int_equal(fchmodat(root, path, mode, 0), 0);
    assert_int_equal(seteuid(OTHER_UID), 0);
    fd = hc_file_open(root, "open/file", O_RDONLY, 0);
    if (fd < 0)
        (void)hc_file_fail(&f->err, errno, "open", root, "open/file");
    else
        assert_int_equal(hc_file_publish(root, "p/one", "open/new", "x", 1, &f->err), -1);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
}

static void assert_message_has(const struct fixture *f, const char *part)
{
    if (!strstr(f->err.message, part))
        fail_msg("no \"%s\" in: %s", part, f->err.message);
}

/* The file, the directory that has it, or one further up. Only root can test it. */
static void a_denied_permission_names_the_denying_path_and_the_remedy(void **state)
{
    struct fixture *f = *state;

    if (geteuid() != 0)
        skip();
    temp_dir_write(f->dir, "open/file", "x");
    assert_int_equal(mkdirat(hc_cache_fd(f->cache), "p", 0777), 0);
    assert_int_equal(fchmodat(hc_cache_fd(f->cache), ".", 0755, 0), 0);

    fail_as_another_user(f, "open/file", 0600);
    assert_message_has(
        f, "open 'open/file': Permission denied: 'open/file' belongs to uid 0 "
           "(root), gid 0, mode 0600, and this process has uid 65534, gid 0: ");
    assert_message_has(f, ": change its owner or mode, or set fsGroup");
    assert_int_equal(fchmodat(hc_cache_fd(f->cache), "open/file", 0644, 0), 0);

    fail_as_another_user(f, "open", 0700);
    assert_message_has(
        f, "Permission denied: 'open' belongs to uid 0 (root), gid 0, mode 0700");
    assert_int_equal(fchmodat(hc_cache_fd(f->cache), "open", 0755, 0), 0);

    fail_as_another_user(f, "p", 0755);
    assert_message_has(f,
                       "create 'p/one': Permission denied: 'p' belongs to uid 0 (root)");
    assert_message_has(
        f, ": change its owner or mode, run all writers with its group and umask "
           "002, or set fsGroup");
    assert_int_equal(fchmodat(hc_cache_fd(f->cache), "p", 0777, 0), 0);
    assert_int_equal(fchownat(hc_cache_fd(f->cache), "p", OTHER_UID, 0, 0), 0);

    fail_as_another_user(f, "open", 0755);
    assert_message_has(f,
                       "rename to 'open/new': Permission denied: 'open' belongs to uid 0 "
                       "(root)");
    assert_int_equal(fchmodat(hc_cache_fd(f->cache), ".", 0700, 0), 0);

    fail_as_another_user(f, "open", 0755);
    assert_message_has(f, "Permission denied: the cache root belongs to uid 0 (root)");
}

static void other_failures_are_reported_unchanged(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    (void)hc_file_fail(&f->err, EROFS, "create", root, "a");
    assert_string_equal(f->err.message, "create 'a': Read-only file system");
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
    (void)hc_file_fail(&f->err, EIO, "open", root, "a");
    assert_string_equal(f->err.message, "open 'a': Input/output error");
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    (void)hc_file_fail(&f->err, ENOSPC, "rename to", root, "a");
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    temp_dir_write(f->dir, "directory/file", "");
    (void)hc_file_fail(&f->err, EISDIR, "rename to", root, "directory");
    assert_string_equal(
        f->err.message,
        "rename to 'directory': a directory is in the place of a file; remove it");
}

static void a_small_file_is_read_with_a_nul(void **state)
{
    struct fixture *f = *state;
    char text[5] = "????";

    temp_dir_write(f->dir, "a", "four");
    assert_int_equal(hc_file_read(hc_cache_fd(f->cache), "a", text, sizeof text, &f->err),
                     1);
    assert_string_equal(text, "four");
}

static void a_file_that_does_not_fit_is_absent(void **state)
{
    struct fixture *f = *state;
    char text[4];

    temp_dir_write(f->dir, "a", "four");
    assert_int_equal(hc_file_read(hc_cache_fd(f->cache), "a", text, sizeof text, &f->err),
                     0);
}

static void a_special_file_is_absent(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);
    char text[8];

    assert_int_equal(mkfifoat(root, "fifo", 0600), 0);
    assert_int_equal(mkdirat(root, "directory", 0700), 0);
    temp_dir_write(f->dir, "file", "");
    assert_int_equal(hc_file_read(root, "fifo", text, sizeof text, &f->err), 0);
    assert_int_equal(hc_file_read(root, "directory", text, sizeof text, &f->err), 0);
    assert_int_equal(hc_file_read(root, "nowhere", text, sizeof text, &f->err), 0);
    assert_int_equal(hc_file_read(root, "file/below", text, sizeof text, &f->err), 0);
}

static void directories_that_exist_are_fine(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    assert_int_equal(hc_file_mkdirs(root, "a/b/c", &f->err), 0);
    assert_int_equal(hc_file_mkdirs(root, "a/b/c", &f->err), 0);
    assert_int_equal(hc_file_mkparents(root, "a/d/file", &f->err), 0);
    assert_int_equal(hc_file_mkparents(root, "file", &f->err), 0);
    assert_true(temp_dir_has(f->dir, "a/d"));
    assert_false(temp_dir_has(f->dir, "a/d/file"));
    assert_int_equal(hc_file_sync_parent(root, "a/d/file", &f->err), 0);
}

static void private_names_differ_and_end_as_asked(void **state)
{
    struct fixture *f = *state;
    char one[64], two[64], small[10];

    assert_int_equal(hc_file_private_name(one, sizeof one, "x", ".end", &f->err), 0);
    assert_int_equal(hc_file_private_name(two, sizeof two, "x", ".end", &f->err), 0);
    assert_string_not_equal(one, two);
    assert_int_equal(strlen(one), strlen("x.01234567.end"));
    assert_true(hc_text_starts(one, "x.") && hc_text_ends(one, ".end"));
    assert_int_equal(hc_file_private_name(small, sizeof small, "x", ".end", &f->err), -1);
}

static void a_read_only_directory_is_named_as_the_cause(void **state)
{
    struct fixture *f = *state;
    int result;

    make_cache_read_only(f);
    result = hc_file_publish(hc_cache_fd(f->cache), "p", "a", "x", 1, &f->err);
    make_cache_writable(f);
    assert_int_equal(result, -1);
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
    assert_non_null(strstr(f->err.message, "'p'"));
}

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_published_file_has_its_content_and_no_private_name),
        WITH_CACHE(publishing_replaces_what_was_there),
        WITH_CACHE(a_name_that_cannot_be_had_leaves_nothing_behind),
        WITH_CACHE(a_published_file_has_the_mode_of_the_umask),
        WITH_CACHE(a_file_with_a_lease_is_opened_when_the_lease_is_given_back),
        WITH_CACHE(a_denied_permission_names_the_denying_path_and_the_remedy),
        WITH_CACHE(other_failures_are_reported_unchanged),
        WITH_CACHE(a_small_file_is_read_with_a_nul),
        WITH_CACHE(a_file_that_does_not_fit_is_absent),
        WITH_CACHE(a_special_file_is_absent),
        WITH_CACHE(directories_that_exist_are_fine),
        WITH_CACHE(private_names_differ_and_end_as_asked),
        WITH_CACHE(a_read_only_directory_is_named_as_the_cause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
