/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the lock is the Hub clients' own, and a volume without locks can be used all
 * the same.
 */
#include "blob_id.h"
#include "cache_fixture.h"

#include <cache/blob_lock.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define WITHOUT_FLOCK(test)                                                              \
    cmocka_unit_test_setup_teardown(test, make_cache, flock_works_again)
#define LOCK ".locks/models--org--name/" HELLO_GIT ".lock"

/* The errno of flock(2); 0: it works. */
static int flock_errno;

/* The cache root in which the next flock(2) that works is followed by the removal of the
 * file; -1: none. */
static int removing_root = -1;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
    int result;

    if (flock_errno != 0) {
        errno = flock_errno;
        return -1;
    }
    result = __real_flock(fd, operation);
    if (result == 0 && removing_root >= 0) {
        assert_int_equal(unlinkat(removing_root, LOCK, 0), 0);
        removing_root = -1;
    }
    return result;
}

static int flock_works_again(void **state)
{
    flock_errno = 0;
    return remove_cache(state);
}

/* NULL when the volume refuses. A file that is replaced just then is tried again. */
static struct hc_blob_lock *blob_lock_take(struct fixture *f)
{
    HC_AUTO(hc_blob_lock) *lock =
        hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);
    int taken;

    do
        taken = hc_blob_lock_try(lock, &f->err);
    while (taken == 0);
    return taken == 1 ? hc_take(&lock) : NULL;
}

/* Another client has the lock. */
static int flock_as_another_client(const struct fixture *f)
{
    int fd;

    temp_dir_write(f->dir, LOCK, "");
    fd = openat(hc_cache_fd(f->cache), LOCK, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(__real_flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

static bool blob_lock_is_held(const struct fixture *f)
{
    return hc_blob_lock_is_held(f->cache, BLOB_OF(f, HELLO_GIT));
}

static void a_taken_lock_is_held_until_it_is_released(void **state)
{
    struct fixture *f = *state;
    struct hc_blob_lock *lock = blob_lock_take(f);

    assert_non_null(lock);
    assert_true(blob_lock_is_held(f));
    hc_blob_lock_release(lock);
    assert_false(blob_lock_is_held(f));
    hc_blob_lock_release(NULL);
}

static void other_clients_see_that_it_is_taken(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = blob_lock_take(f);
    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(f->cache), LOCK, O_RDWR | O_CLOEXEC);

    assert_non_null(lock);
    assert_true(fd >= 0);
    assert_int_equal(__real_flock(fd, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
}

static void the_file_stays_empty_and_writable_for_the_group(void **state)
{
    struct fixture *f = *state;
    mode_t old = umask(077);

    hc_blob_lock_release(blob_lock_take(f));
    (void)umask(old);
    assert_file_content(f, LOCK, "");
    assert_int_equal(file_mode_of(f, LOCK), 0664);
}

static void asking_whether_a_lock_is_held_creates_no_file(void **state)
{
    struct fixture *f = *state;

    assert_false(blob_lock_is_held(f));
    assert_false(temp_dir_has(f->dir, ".locks"));
}

static void a_lock_file_removed_while_it_was_locked_is_created_again(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = NULL;

    removing_root = hc_cache_fd(f->cache);
    lock = blob_lock_take(f);
    assert_non_null(lock);
    assert_true(temp_dir_has(f->dir, LOCK));
    assert_true(blob_lock_is_held(f));
}

static void a_lock_of_another_client_is_not_taken(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock =
        hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);
    int other = flock_as_another_client(f);

    assert_int_equal(hc_blob_lock_try(lock, &f->err), 0);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 0);
    assert_int_equal(close(other), 0);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 1);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 1);
}

static void a_replaced_lock_blocks_no_waiter(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock =
        hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);
    HC_AUTO_CLOSE int other = flock_as_another_client(f);

    assert_true(other >= 0);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 0);
    hc_blob_lock_replace(lock);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 1);
    assert_true(blob_lock_is_held(f));
}

static void threads_exclude_each_other(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = blob_lock_take(f);
    HC_AUTO(hc_blob_lock) *second =
        hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);

    assert_non_null(lock);
    assert_int_equal(hc_blob_lock_try(second, &f->err), 0);
}

static void where_locks_are_refused_every_client_gets_the_lock(void **state)
{
    struct fixture *f = *state;

    for (int errnum = 1; errnum <= EHWPOISON; errnum++) {
        struct hc_blob_lock *lock;

        if (errnum == EINTR || errnum == EWOULDBLOCK || errnum == ENOSYS)
            continue;
        flock_errno = errnum;
        lock = blob_lock_take(f);
        assert_non_null(lock);
        assert_false(blob_lock_is_held(f));
        hc_blob_lock_release(lock);
    }
}

/* Without flock, as the Python clients do it: the file is the lock. */
static void without_flock_the_file_is_the_lock(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *second =
        hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);
    HC_AUTO_FREE char *marker = NULL;
    struct hc_blob_lock *lock;
    char pid[32];

    flock_errno = ENOSYS;
    lock = blob_lock_take(f);
    assert_non_null(lock);
    marker = temp_dir_read(f->dir, LOCK);
    (void)snprintf(pid, sizeof pid, "%d\n", getpid());
    assert_memory_equal(marker, pid, strlen(pid));
    assert_int_equal(file_mode_of(f, LOCK), 0644);
    assert_true(blob_lock_is_held(f));
    assert_int_equal(hc_blob_lock_try(second, &f->err), 0);
    hc_blob_lock_release(lock);
    assert_false(temp_dir_has(f->dir, LOCK)); /* or the Python clients wait for ever */
    assert_int_equal(hc_blob_lock_try(second, &f->err), 1);
}

static void without_flock_a_lock_file_of_another_client_is_respected(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock =
        hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);

    flock_errno = ENOSYS;
    temp_dir_write(f->dir, LOCK, "1\nelsewhere.invalid\n");
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 0);
    assert_true(blob_lock_is_held(f));
    assert_file_content(f, LOCK, "1\nelsewhere.invalid\n");
    hc_blob_lock_replace(lock); /* its owner hangs */
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 1);
}

static void without_flock_a_lock_of_a_dead_process_does_not_count(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = NULL;
    pid_t child = fork();
    int status;

    flock_errno = ENOSYS;
    assert_true(child >= 0);
    if (child == 0)
        _exit(blob_lock_take(f) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(temp_dir_has(f->dir, LOCK));
    assert_false(blob_lock_is_held(f));
    lock = blob_lock_take(f);
    assert_non_null(lock);
}

/* A directory, a FIFO and a symlink say nothing of a process that has the lock. */
static void without_flock_a_special_file_locks_nothing(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    flock_errno = ENOSYS;
    temp_dir_write(f->dir, "victim", "x");
    for (int i = 0; i < 3; i++) {
        HC_AUTO(hc_blob_lock) *lock =
            hc_blob_lock_new(f->cache, BLOB_OF(f, HELLO_GIT), &f->err);
        int made = -1;

        temp_dir_write(f->dir, LOCK, "1\nelsewhere.invalid\n");
        assert_int_equal(hc_blob_lock_try(lock, &f->err), 0); /* a soft lock, then */
        assert_int_equal(unlinkat(root, LOCK, 0), 0);
        if (i == 0)
            made = mkdirat(root, LOCK, 0777);
        else if (i == 1)
            made = mkfifoat(root, LOCK, 0666);
        else
            made = symlinkat("../../victim", root, LOCK);
        assert_int_equal(made, 0);
        assert_false(blob_lock_is_held(f));
        assert_int_equal(hc_blob_lock_try(lock, &f->err), 1);
        assert_true(blob_lock_is_held(f));
    }
    assert_file_content(f, "victim", "x");
}

static void a_symlink_in_place_of_the_lock_is_refused(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, "victim", "x");
    temp_dir_write(f->dir, ".locks/models--org--name/other", "");
    assert_int_equal(symlinkat("../../victim", hc_cache_fd(f->cache), LOCK), 0);
    assert_null(blob_lock_take(f));
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    assert_file_content(f, "victim", "x");
}

static void a_read_only_volume_is_named_when_a_lock_fails(void **state)
{
    struct fixture *f = *state;
    struct hc_blob_lock *lock;

    make_cache_read_only(f);
    lock = blob_lock_take(f);
    make_cache_writable(f);
    assert_null(lock);
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
    assert_non_null(strstr(f->err.message, ".locks"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_taken_lock_is_held_until_it_is_released),
        WITH_CACHE(other_clients_see_that_it_is_taken),
        WITH_CACHE(the_file_stays_empty_and_writable_for_the_group),
        WITH_CACHE(asking_whether_a_lock_is_held_creates_no_file),
        WITH_CACHE(a_lock_file_removed_while_it_was_locked_is_created_again),
        WITH_CACHE(a_lock_of_another_client_is_not_taken),
        WITH_CACHE(a_replaced_lock_blocks_no_waiter),
        WITH_CACHE(threads_exclude_each_other),
        WITHOUT_FLOCK(where_locks_are_refused_every_client_gets_the_lock),
        WITHOUT_FLOCK(without_flock_the_file_is_the_lock),
        WITHOUT_FLOCK(without_flock_a_lock_file_of_another_client_is_respected),
        WITHOUT_FLOCK(without_flock_a_lock_of_a_dead_process_does_not_count),
        WITHOUT_FLOCK(without_flock_a_special_file_locks_nothing),
        WITH_CACHE(a_symlink_in_place_of_the_lock_is_refused),
        WITH_CACHE(a_read_only_volume_is_named_when_a_lock_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
