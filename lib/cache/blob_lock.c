/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opened, locked and left as the reference client's filelock does it (§1.4), so that both
 * wait for each other. POSIX record locks would not interoperate.
 */
#include "blob_lock.h"

#include "soft_lock.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { LOCK_MODE = 0664 };

struct hc_blob_lock {
    int root; /* borrowed from the cache */
    int fd;   /* -1: not ours */
    bool is_soft;
    char path[PATH_MAX];
};

static int blob_lock_format_path(char path[PATH_MAX], const struct hc_blob_id *blob,
                                 struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, ".locks/%s/%s.lock", blob->folder, blob->etag) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "lock of '%s'", blob->folder);
    return 0;
}

/* A shared, sticky directory refuses O_CREAT even for a file that is there. */
static int blob_lock_open_file(int root, const char *path)
{
    int fd = hc_file_open(root, path, O_RDWR | O_CREAT, LOCK_MODE);

    if (fd >= 0 || errno != EACCES)
        return fd;
    fd = hc_file_open(root, path, O_RDWR, 0);
    if (fd < 0 && errno == ENOENT)
        errno = EACCES; /* that it cannot be made is the trouble */
    return fd;
}

/* Directories are made only when it turns out that they are missing. */
static int blob_lock_open_or_create(int root, const char *path, struct hc_error *err)
{
    int fd = blob_lock_open_file(root, path);

    if (fd < 0 && errno == ENOENT) {
        if (hc_file_mkparents(root, path, err) < 0)
            return -1;
        fd = blob_lock_open_file(root, path);
    }
    return fd < 0 ? hc_file_fail(err, errno, "open", root, path) : fd;
}

enum { NO_FLOCK = 2 };

/* 1 locked, or it cannot be; 0 another process has it; NO_FLOCK. */
static int fd_flock(int fd)
{
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        switch (errno) {
        case EINTR:
            continue;
        case EWOULDBLOCK:
            return 0;
        case ENOSYS:
            return NO_FLOCK;
        default: /* each filesystem that refuses locks has an errno of its own */
            return 1;
        }
    }
    return 1;
}

struct hc_blob_lock *hc_blob_lock_new(const struct hc_cache *cache,
                                      const struct hc_blob_id *blob, struct hc_error *err)
{
    HC_AUTO(hc_blob_lock) *lock = calloc(1, sizeof *lock);

    if (!lock) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    lock->root = hc_cache_fd(cache);
    lock->fd = -1;
    return blob_lock_format_path(lock->path, blob, err) < 0 ? NULL : hc_take(&lock);
}

static int blob_lock_try_flock(struct hc_blob_lock *lock, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = blob_lock_open_or_create(lock->root, lock->path, err);
    int locked;

    if (fd < 0)
        return -1;
    locked = fd_flock(fd);
    lock->is_soft = locked == NO_FLOCK;
    /* A file that was deleted or replaced while we waited for it locks nothing. */
    if (locked != 1 || !hc_file_is_named(lock->root, lock->path, fd))
        return 0;
    (void)fchmod(fd, LOCK_MODE); /* whatever the umask: others lock it too */
    lock->fd = fd;
    fd = -1;
    return 1;
}

int hc_blob_lock_try(struct hc_blob_lock *lock, struct hc_error *err)
{
    int locked = lock->fd >= 0 ? 1 : 0;

    if (locked == 0 && !lock->is_soft)
        locked = blob_lock_try_flock(lock, err);
    if (locked == 0 && lock->is_soft)
        locked = hc_soft_lock_try(lock->root, lock->path, &lock->fd, err);
    return locked;
}

/* Of several who do this at once some may lose what they just got; then their claims keep
 * the turns (claim.h). */
void hc_blob_lock_replace(struct hc_blob_lock *lock)
{
    (void)unlinkat(lock->root, lock->path, 0);
}

void hc_blob_lock_release(struct hc_blob_lock *lock)
{
    if (!lock)
        return;
    if (lock->is_soft && lock->fd >= 0)
        hc_soft_lock_release(lock->root, lock->path, lock->fd);
    else
        hc_auto_close(&lock->fd);
    free(lock);
}

bool hc_blob_lock_is_held(const struct hc_cache *cache, const struct hc_blob_id *blob)
{
    HC_AUTO_CLOSE int fd = -1;
    char path[PATH_MAX];
    struct hc_error unused;

    if (blob_lock_format_path(path, blob, &unused) < 0)
        return false;
    fd = hc_file_open(hc_cache_fd(cache), path, O_RDONLY, 0);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0)
        return false;
    return errno == EWOULDBLOCK ||
           (errno == ENOSYS && hc_soft_lock_is_held(hc_cache_fd(cache), path));
}
