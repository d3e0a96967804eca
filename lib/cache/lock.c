/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opened, locked and left as the reference client's filelock does it (§1.4), so that both
 * wait for each other. POSIX record locks would not interoperate.
 */
#include "lock.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { POLL_MS = 50, LOCK_MODE = 0664 };

struct hc_lock {
    int fd;
};

static int format_path(char path[PATH_MAX], const char *folder, const char *etag,
                       struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, ".locks/%s/%s.lock", folder, etag) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "lock of '%s'", folder);
    return 0;
}

/* A shared, sticky directory refuses O_CREAT even for a file that is there. */
static int open_file(int root, const char *path)
{
    const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(root, path, flags | O_CREAT, LOCK_MODE);

    if (fd >= 0 || errno != EACCES)
        return fd;
    fd = openat(root, path, flags);
    if (fd < 0 && errno == ENOENT)
        errno = EACCES; /* that it cannot be made is the trouble */
    return fd;
}

/* 1 locked, or there is no flock here; 0 somebody else has it; -1. */
static int try_lock(int fd, const char *path, struct hc_error *err)
{
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        switch (errno) {
        case EINTR:
            continue;
        case EWOULDBLOCK:
            return 0;
        case ENOSYS:
        case EOPNOTSUPP:
        case ENOLCK:
        case EINVAL:
            return 1;
        default:
            return hc_fail_errno(err, errno, "lock '%s'", path);
        }
    }
    return 1;
}

/* A file that was deleted or replaced while we waited for it locks nothing. */
static bool is_current(int root, const char *path, int fd)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 && ours.st_nlink > 0 &&
           fstatat(root, path, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

/* Waits for the file as it is now: 1 ours; 0 it was replaced meanwhile; -1. */
static int take(int root, const char *path, struct hc_lock *lock, struct hc_call *call,
                struct hc_error *err)
{
    int locked = 0;

    hc_auto_close(&lock->fd);
    if (hc_file_mkparents(root, path, err) < 0)
        return -1;
    lock->fd = open_file(root, path);
    if (lock->fd < 0)
        return hc_fail_errno(err, errno, "open '%s'", path);
    while (locked == 0) {
        locked = try_lock(lock->fd, path, err);
        if (locked == 0 && hc_call_pause(call, POLL_MS, err) < 0)
            return -1;
    }
    if (locked < 0)
        return -1;
    if (!is_current(root, path, lock->fd))
        return 0;
    (void)fchmod(lock->fd, LOCK_MODE); /* whatever the umask: others lock it too */
    return 1;
}

struct hc_lock *hc_lock_take(const struct hc_cache *cache, const struct hc_repo *repo,
                             const char *etag, struct hc_call *call, struct hc_error *err)
{
    HC_AUTO(hc_lock) *lock = calloc(1, sizeof *lock);
    char path[PATH_MAX];
    int taken = 0;

    if (!lock) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    lock->fd = -1;
    if (format_path(path, repo->folder, etag, err) < 0)
        return NULL;
    while (taken == 0) {
        if (hc_call_check(call, err) < 0)
            return NULL;
        taken = take(hc_cache_fd(cache), path, lock, call, err);
    }
    if (taken < 0)
        return NULL;
    return hc_take(&lock);
}

void hc_lock_release(struct hc_lock *lock)
{
    if (!lock)
        return;
    hc_auto_close(&lock->fd);
    free(lock);
}

bool hc_lock_is_held(const struct hc_cache *cache, const char *folder, const char *etag)
{
    HC_AUTO_CLOSE int fd = -1;
    char path[PATH_MAX];
    struct hc_error unused;

    if (format_path(path, folder, etag, &unused) < 0)
        return false;
    fd = openat(hc_cache_fd(cache), path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
