/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file stays when the lock is free. A process that has locked a file which has lost
 * its name meanwhile has locked nothing, and tries again.
 */
#include "replica_lock.h"

#include <base/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void lock_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    const struct hc_replica_lock *lock =
        (const struct hc_replica_lock *)((char *)heartbeat -
                                         offsetof(struct hc_replica_lock, heartbeat));

    (void)futimens(lock->fd, NULL);
}

static bool lock_keep(struct hc_replica_lock *lock, int fd)
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
static bool lock_is_stalled(struct hc_replica_lock *lock, const struct stat *status,
                            int64_t now_ms)
{
    if (lock->seen.tv_sec != status->st_mtim.tv_sec ||
        lock->seen.tv_nsec != status->st_mtim.tv_nsec) {
        lock->seen = status->st_mtim;
        lock->seen_ms = now_ms;
    }
    return now_ms - lock->seen_ms >= HC_REPLICA_STALLED_MS;
}

bool hc_replica_lock_try(struct hc_replica_lock *lock, int64_t now_ms)
{
    int root = hc_cache_fd(lock->cache);
    struct stat status;
    struct hc_error unused;
    int fd;

    if (lock->is_taken)
        return true;
    (void)hc_file_mkparents(root, lock->path, &unused);
    fd = hc_file_open(root, lock->path, O_RDWR | O_CREAT, 0666);
    if (fd < 0)
        return lock_keep(lock, -1);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (hc_file_is_named(root, lock->path, fd))
            return lock_keep(lock, fd);
    } else if (errno != EWOULDBLOCK) {
        (void)close(fd);
        return lock_keep(lock, -1);
    } else if (fstat(fd, &status) == 0 && lock_is_stalled(lock, &status, now_ms) &&
               hc_file_is_named(root, lock->path, fd)) {
        (void)unlinkat(root, lock->path, 0);
    }
    (void)close(fd);
    return false;
}

void hc_replica_lock_release(struct hc_replica_lock *lock)
{
    if (!lock->is_taken)
        return;
    if (lock->fd >= 0) {
        hc_heartbeats_stop(hc_cache_heartbeats(lock->cache), &lock->heartbeat);
        (void)close(lock->fd);
    }
    lock->is_taken = false;
}
