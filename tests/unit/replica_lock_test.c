/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: one process at a time has the lock of a kind of work; that of a process which
 * is gone, or has stalled, is another one's at the next attempt.
 */
#include "cache_fixture.h"

#include <maintenance/replica_lock.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define LOCK ".hubcache/eviction"

static int flock_errno; /* of every attempt; 0: it does its work */

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
    if (flock_errno == 0)
        return __real_flock(fd, operation);
    errno = flock_errno;
    return -1;
}

static void one_at_a_time_has_the_lock(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_replica_lock) first = {.cache = f->cache, .path = LOCK};
    HC_AUTO_VALUE(hc_replica_lock) second = {.cache = f->cache, .path = LOCK};

    assert_true(hc_replica_lock_try(&first, 1));
    assert_true(hc_replica_lock_try(&first, 1));
    assert_false(hc_replica_lock_try(&second, 1));
    hc_replica_lock_release(&first);
    assert_true(hc_replica_lock_try(&second, 1));
    assert_false(hc_replica_lock_try(&first, 1));
}

static void the_lock_of_a_killed_process_is_free(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_replica_lock) lock = {.cache = f->cache, .path = LOCK};
    int ready[2];
    char byte;
    pid_t child;

    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        int fd = openat(hc_cache_fd(f->cache), LOCK, O_RDWR | O_CREAT, 0666);

        (void)flock(fd, LOCK_EX);
        (void)!write(ready[1], "x", 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_false(hc_replica_lock_try(&lock, 1));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(hc_replica_lock_try(&lock, 1));
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static int lock_without_heartbeat(const struct fixture *f)
{
    int fd = openat(hc_cache_fd(f->cache), LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    return fd;
}

static void a_stalled_owner_loses_the_lock_and_not_before(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_replica_lock) lock = {.cache = f->cache, .path = LOCK};
    HC_AUTO_VALUE(hc_replica_lock) third = {.cache = f->cache, .path = LOCK};
    HC_AUTO_CLOSE int stalled = lock_without_heartbeat(f);

    assert_false(hc_replica_lock_try(&lock, 1000));
    assert_false(hc_replica_lock_try(&lock, 1000 + HC_REPLICA_STALLED_MS - 1));
    assert_int_equal(futimens(stalled, NULL), 0); /* it lives */
    assert_false(hc_replica_lock_try(&lock, 1000 + HC_REPLICA_STALLED_MS));
    assert_false(hc_replica_lock_try(&lock, 999 + 2 * HC_REPLICA_STALLED_MS));
    assert_false(hc_replica_lock_try(&lock, 1000 + 2 * HC_REPLICA_STALLED_MS));
    assert_true(hc_replica_lock_try(&lock, 1000 + 2 * HC_REPLICA_STALLED_MS));
    assert_false(hc_replica_lock_try(&third, 1));
}

static void a_volume_without_locks_lets_all_evict(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_replica_lock) first = {.cache = f->cache, .path = LOCK};
    HC_AUTO_VALUE(hc_replica_lock) second = {.cache = f->cache, .path = LOCK};

    flock_errno = ENOLCK;
    assert_true(hc_replica_lock_try(&first, 1));
    assert_true(hc_replica_lock_try(&second, 1));
    flock_errno = 0;
}

static void a_read_only_volume_lets_all_try(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_replica_lock) lock = {.cache = f->cache, .path = LOCK};

    make_cache_read_only(f);
    assert_true(hc_replica_lock_try(&lock, 1));
    make_cache_writable(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(one_at_a_time_has_the_lock),
        WITH_CACHE(the_lock_of_a_killed_process_is_free),
        WITH_CACHE(a_stalled_owner_loses_the_lock_and_not_before),
        WITH_CACHE(a_volume_without_locks_lets_all_evict),
        WITH_CACHE(a_read_only_volume_lets_all_try),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
