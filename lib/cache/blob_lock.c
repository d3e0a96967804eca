/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opened, locked and left as the reference client's filelock does it (§1.4), so that both
 * wait for each other. POSIX record locks (fcntl) would not interoperate.
 *
 * The soft lock of volumes without flock is filelock's too: the file exists, created with
 * O_EXCL, which only one of many can do, and says "<pid>\n<host>\n". Three kinds of file
 * lock nothing, or the volume would stay locked after a crash: an empty one, which a
 * client leaves that has just found out that there is no flock; that of a process of this
 * host which is gone; and what is no regular file. They are void.
 */
#include "blob_lock.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum {
    LOCK_MODE = 0664,
    MARKER_MODE = 0644, /* the Python clients believe no file that others may write to */
    MARKER_SIZE = 256
};

struct hc_blob_lock {
    int root; /* borrowed from the cache */
    int fd;   /* -1: free */
    bool is_soft;
    char path[PATH_MAX];
};

/* ---- the soft lock: the file exists ------------------------------------------------ */

static int soft_lock_format_marker(char marker[MARKER_SIZE])
{
    char host[65] = "";

    if (gethostname(host, sizeof host - 1) < 0)
        host[0] = '\0';
    return hc_format(marker, MARKER_SIZE, "%ld\n%s\n", (long)getpid(), host);
}

/* Only of a marker in the form written here; others may have been written by a client
 * that adds a start token (§1.4), and count as alive. */
static bool soft_lock_owner_is_gone(const char *marker)
{
    char ours[MARKER_SIZE];
    char *host;
    long pid = strtol(marker, &host, 10);

    return soft_lock_format_marker(ours) > 0 && pid > 0 && *host == '\n' &&
           strcmp(host, strchr(ours, '\n')) == 0 && kill((pid_t)pid, 0) < 0 &&
           errno == ESRCH;
}

static bool soft_lock_is_void(int root, const char *path)
{
    char marker[MARKER_SIZE];
    struct hc_error unused;
    struct stat status;

    if (fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if (!S_ISREG(status.st_mode))
        return true;
    return hc_file_read(root, path, marker, sizeof marker, &unused) == 1 &&
           (marker[0] == '\0' || soft_lock_owner_is_gone(marker));
}

static bool soft_lock_is_held(int root, const char *path)
{
    struct stat status;

    return fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_size > 0 &&
           !soft_lock_is_void(root, path);
}

/*
 * Moved to a private name and looked at again, not just removed: another process may have
 * put a valid lock in its place since, and then that goes back.
 */
static void soft_lock_remove_void(int root, const char *path)
{
    char private[PATH_MAX];
    struct hc_error unused;

    if (!soft_lock_is_void(root, path) || hc_cache_private_path(private, &unused) < 0 ||
        hc_file_mkparents(root, private, &unused) < 0 ||
        renameat(root, path, root, private) < 0)
        return;
    if (!soft_lock_is_void(root, private))
        (void)linkat(root, private, root, path, 0);
    (void)unlinkat(root, private, 0);
}

/* Removes the file, unless another one is in its place by now. */
static void soft_lock_release(int root, const char *path, int fd)
{
    if (hc_file_is_named(root, path, fd))
        (void)unlinkat(root, path, 0);
    (void)close(fd);
}

static int soft_lock_try(struct hc_blob_lock *lock, struct hc_error *err)
{
    char marker[MARKER_SIZE];
    int length = soft_lock_format_marker(marker);
    int fd;

    soft_lock_remove_void(lock->root, lock->path);
    fd = hc_file_open(lock->root, lock->path, O_RDWR | O_CREAT | O_EXCL, MARKER_MODE);
    if (fd < 0)
        return errno == EEXIST
                   ? 0
                   : hc_file_fail(err, errno, "create", lock->root, lock->path);
    if (length <= 0 || hc_file_write_all(fd, marker, (size_t)length, err) < 0) {
        soft_lock_release(lock->root, lock->path, fd);
        return hc_context(err, "'%s'", lock->path);
    }
    lock->fd = fd;
    return 1;
}

/* ---- the lock ---------------------------------------------------------------------- */

static int blob_lock_format_path(char path[PATH_MAX], const struct hc_blob_id *blob,
                                 struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, ".locks/%s/%s.lock", blob->folder, blob->etag) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "lock of '%s'", blob->folder);
    return 0;
}

/* A shared, sticky directory refuses O_CREAT even for a file that is there (§1.4). */
static int blob_lock_open_file(int root, const char *path)
{
    int fd = hc_file_open(root, path, O_RDWR | O_CREAT, LOCK_MODE);

    if (fd >= 0 || errno != EACCES)
        return fd;
    fd = hc_file_open(root, path, O_RDWR, 0);
    if (fd < 0 && errno == ENOENT)
        errno = EACCES; /* the cause is that it cannot be created */
    return fd;
}

/* Directories are created only when it turns out that they are missing. */
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

/* 1: locked, or the filesystem refuses locks; 0: another open file has it; NO_FLOCK. */
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

static int blob_lock_try_flock(struct hc_blob_lock *lock, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = blob_lock_open_or_create(lock->root, lock->path, err);
    int locked;

    if (fd < 0)
        return -1;
    locked = fd_flock(fd);
    lock->is_soft = locked == NO_FLOCK;
    /* A file that was removed or replaced between open and flock locks nothing. */
    if (locked != 1 || !hc_file_is_named(lock->root, lock->path, fd))
        return 0;
    (void)fchmod(fd, LOCK_MODE); /* whatever the umask: other users lock it too */
    lock->fd = fd;
    fd = -1;
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

int hc_blob_lock_try(struct hc_blob_lock *lock, struct hc_error *err)
{
    int locked = lock->fd >= 0 ? 1 : 0;

    if (locked == 0 && !lock->is_soft)
        locked = blob_lock_try_flock(lock, err);
    if (locked == 0 && lock->is_soft)
        locked = soft_lock_try(lock, err);
    return locked;
}

/* If several processes do this at once, some lose the lock that they have just taken;
 * then their claims keep the order (claim/claim.h). */
void hc_blob_lock_replace(struct hc_blob_lock *lock)
{
    (void)unlinkat(lock->root, lock->path, 0);
}

void hc_blob_lock_release(struct hc_blob_lock *lock)
{
    if (!lock)
        return;
    if (lock->is_soft && lock->fd >= 0)
        soft_lock_release(lock->root, lock->path, lock->fd);
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
           (errno == ENOSYS && soft_lock_is_held(hc_cache_fd(cache), path));
}
