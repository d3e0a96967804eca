/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file stays when the lock is free. A process that has locked a file which has lost
 * its name meanwhile has locked nothing, and tries again.
 */
#include "eviction_lock.h"

#include <base/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char eviction_path[] = ".hubcache/eviction";

static void lock_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    const struct hc_eviction_lock *lock =
        (const struct hc_eviction_lock *)((char *)heartbeat -
                                          offsetof(struct hc_eviction_lock, heartbeat));

    (void)futimens(lock->fd, NULL);
}

static bool lock_keep(struct hc_eviction_lock *lock, int fd)
{
    lock->fd = fd;
    lock->is_taken = true;
    if (fd < 0)
        return true;
    (void)futimens(fd, NULL);
    lock->heartbeat.beat = lock_on_heartbeat;
    hc_heartbeats_start(hc_cache_heartbeats(lock->cache), &lock->heartbeat);
    return true;
}

/* Whether another process has had the lock for long without a heartbeat. */
static bool lock_is_stalled(struct hc_eviction_lock *lock, const struct stat *status,
                            int64_t now_ms)
{
    if (lock->seen.tv_sec != status->st_mtim.tv_sec ||
        lock->seen.tv_nsec != status->st_mtim.tv_nsec) {
        lock->seen = status->st_mtim;
        lock->seen_ms = now_ms;
    }
    return now_ms - lock->seen_ms >= HC_EVICTION_STALLED_MS;
}

bool hc_eviction_lock_try(struct hc_eviction_lock *lock, int64_t now_ms)
{
    const char *lock_path = lock->path ? lock->path : eviction_path;
    int root = hc_cache_fd(lock->cache);
    struct stat status;
    struct hc_error unused;
    int fd;

    if (lock->is_taken)
        return true;
    (void)hc_file_mkparents(root, lock_path, &unused);
    fd = hc_file_open(root, lock_path, O_RDWR | O_CREAT, 0666);
    if (fd < 0)
        return lock_keep(lock, -1);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (hc_file_is_named(root, lock_path, fd))
            return lock_keep(lock, fd);
    } else if (errno != EWOULDBLOCK) {
        (void)close(fd);
        return lock_keep(lock, -1);
    } else if (fstat(fd, &status) == 0 && lock_is_stalled(lock, &status, now_ms) &&
               hc_file_is_named(root, lock_path, fd)) {
        (void)unlinkat(root, lock_path, 0);
    }
    (void)close(fd);
    return false;
}

void hc_eviction_lock_release(struct hc_eviction_lock *lock)
{
    if (!lock->is_taken)
        return;
    if (lock->fd >= 0) {
        hc_heartbeats_stop(hc_cache_heartbeats(lock->cache), &lock->heartbeat);
        (void)close(lock->fd);
    }
    lock->is_taken = false;
}
