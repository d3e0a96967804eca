/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few file operations that all files on the cache volume are read and written with.
 *
 * Nothing is trusted to be what its name says. A file is opened with O_NONBLOCK, because
 * an open of a FIFO would wait for its other end for ever, and then asked what it is; a
 * file that is read is read as far as fstat(2) said, so that one that grows meanwhile is
 * harmless. Publishing is write, fsync(2), rename(2); the directory is flushed
 * separately, by callers that need the new name to survive power loss.
 */
#include "file.h"

#include "directory.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

enum {
    COPY_CHUNK =
        16 * 1024 *
        1024, /* small enough that other replicas see the mtime of the copy move */
    BUFFER_SIZE = 64 * 1024,
    VANISHED_MAX = 4, /* times that others remove a directory before its file is there */
    LEASE_PAUSES = 100,
    LEASE_PAUSE_NS = 10 * 1000 * 1000
};

/* Returns `fd`, which is open; or closes it: -1 with errno when it is no regular file. */
static int fd_require_regular(int fd)
{
    struct stat status;
    int errnum = 0;

    if (fd < 0)
        return -1;
    if (fstat(fd, &status) < 0)
        errnum = errno;
    else if (!S_ISREG(status.st_mode))
        errnum = S_ISDIR(status.st_mode) ? EISDIR : ENXIO;
    if (errnum == 0)
        return fd;
    (void)close(fd);
    errno = errnum;
    return -1;
}

/*
 * With O_NONBLOCK, an open of a file on which an NFS or SMB server holds a lease for one
 * of its clients fails (EWOULDBLOCK) until the client has given it back, which the
 * attempt to open asks for.
 */
static int open_nonblocking(int root, const char *path, int flags, mode_t mode)
{
    const struct timespec pause = {.tv_nsec = LEASE_PAUSE_NS};
    int fd = openat(root, path, flags | O_NONBLOCK | O_CLOEXEC, mode);

    for (int i = 0; i < LEASE_PAUSES && fd < 0 && errno == EWOULDBLOCK; i++) {
        (void)nanosleep(&pause, NULL);
        fd = openat(root, path, flags | O_NONBLOCK | O_CLOEXEC, mode);
    }
    return fd;
}

int hc_file_open(int root, const char *path, int flags, mode_t mode)
{
    return fd_require_regular(open_nonblocking(root, path, flags | O_NOFOLLOW, mode));
}

int hc_file_open_linked(int root, const char *path)
{
    return fd_require_regular(open_nonblocking(root, path, O_RDONLY, 0));
}

int hc_file_create(int root, const char *path, int flags)
{
    return openat(root, path, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
}

/* open(2) with O_NOFOLLOW says ELOOP of a symlink, ENXIO of a socket, ENODEV of a device
 * without a driver; hc_file_open says EISDIR and ENXIO of the rest. */
bool hc_file_is_special(int errnum)
{
    return errnum == EISDIR || errnum == ELOOP || errnum == ENXIO || errnum == ENODEV;
}

bool hc_file_is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP ||
           errnum == ENAMETOOLONG;
}

/* The directory part of `path` into `parent`; "." when it has none. */
static int path_parent(const char *path, char parent[PATH_MAX], struct hc_error *err)
{
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash - path) : 0;

    if (length >= PATH_MAX)
        return hc_fail_errno(err, ENAMETOOLONG, "'%s'", path);
    if (!slash)
        return hc_format(parent, PATH_MAX, ".") < 0 ? -1 : 0;
    if (length == 0)
        length = 1; /* "/file" */
    memcpy(parent, path, (size_t)length);
    parent[length] = '\0';
    return 0;
}

/* What is in the place of a regular file; NULL: one is, or nothing is. */
static const char *special_file_type(int root, const char *path)
{
    struct stat status;

    if (fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return NULL;
    switch (status.st_mode & S_IFMT) {
    case S_IFREG:
        return NULL;
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symlink";
    case S_IFIFO:
        return "FIFO";
    case S_IFSOCK:
        return "socket";
    default:
        return "device";
    }
}

/* The file itself, when it could not be opened; else the nearest directory above that
 * this process may look at: it denies a new name in it, or the way through it. */
static void find_denying_path(int root, const char *path, bool is_file,
                              char denying[PATH_MAX], struct stat *status)
{
    struct hc_error unused;
    char child[PATH_MAX];

    *status = (struct stat){0};
    if (hc_format(denying, PATH_MAX, "%s", path) < 0 ||
        (is_file && fstatat(root, denying, status, 0) == 0))
        return;
    do {
        memcpy(child, denying, sizeof child);
        if (path_parent(child, denying, &unused) < 0)
            return;
    } while (fstatat(root, denying, status, 0) < 0 && strcmp(denying, child) != 0);
}

/* " (alice)"; "" when the user database of this container does not know the user. */
static void user_name_suffix(uid_t uid, char name[64])
{
    struct passwd entry, *found = NULL;
    char buffer[4096];

    name[0] = '\0';
    if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
        (void)snprintf(name, 64, " (%.32s)", found->pw_name);
}

/* Adds to "Permission denied" which path denies it, its owner and mode, and what to
 * do. */
static int explain_permission_denied(struct hc_error *err, int root, const char *path,
                                     bool is_open)
{
    char denying[PATH_MAX], user[64];
    struct stat status;
    bool is_root = false;

    find_denying_path(root, path, is_open, denying, &status);
    user_name_suffix(status.st_uid, user);
    is_root = strcmp(denying, ".") == 0;
    return hc_fail(
        err, err->reason,
        "%s: %s%.120s%s belongs to uid %u%s, gid %u, mode %04o, and this "
        "process has uid %u, gid %u: change its owner or mode%s, or set fsGroup",
        err->message, is_root ? "" : "'", is_root ? "the cache root" : denying,
        is_root ? "" : "'", status.st_uid, user, status.st_gid, status.st_mode & 07777U,
        geteuid(), getegid(),
        is_open ? "" : ", run all writers with its group and umask 002");
}

int hc_file_fail(struct hc_error *err, int errnum, const char *verb, int root,
                 const char *path)
{
    const char *special =
        hc_file_is_special(errnum) ? special_file_type(root, path) : NULL;

    if (special)
        return hc_fail(err, HC_CACHE_IO,
                       "%s '%s': a %s is in the place of a file; remove it", verb, path,
                       special);
    (void)hc_fail_errno(err, errnum, "%s '%s'", verb, path);
    return errnum == EACCES || errnum == EPERM
               ? explain_permission_denied(err, root, path, strcmp(verb, "open") == 0)
               : -1;
}

/* Each directory from the first one on: 0 or errno, with the path that failed. */
static int file_mkdirs_down(int root, char partial[PATH_MAX])
{
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(root, partial, 0777) < 0 && errno != EEXIST)
            return errno;
        *slash = '/';
    }
    return mkdirat(root, partial, 0777) < 0 && errno != EEXIST ? errno : 0;
}

/* Most often all parents are there, so that one system call is enough. Another process
 * may remove one that is empty while the next one is made. */
int hc_file_mkdirs(int root, const char *path, struct hc_error *err)
{
    char partial[PATH_MAX];
    int failure = mkdirat(root, path, 0777) == 0 || errno == EEXIST ? 0 : errno;

    (void)snprintf(partial, sizeof partial, "%s", path);
    if (failure == ENOENT && strlen(path) >= sizeof partial)
        return hc_fail_errno(err, ENAMETOOLONG, "make directory '%s'", path);
    for (int i = 0; failure == ENOENT && i < VANISHED_MAX; i++) {
        (void)snprintf(partial, sizeof partial, "%s", path);
        failure = file_mkdirs_down(root, partial);
    }
    return failure == 0 ? 0 : hc_file_fail(err, failure, "make directory", root, partial);
}

int hc_file_mkparents(int root, const char *path, struct hc_error *err)
{
    char parent[PATH_MAX];

    if (path_parent(path, parent, err) < 0)
        return -1;
    return hc_file_mkdirs(root, parent, err);
}

/* The result of a read whose open has just failed: 0 absent, or no regular file; -1. */
static int open_failure(int root, const char *path, struct hc_error *err)
{
    if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG ||
        hc_file_is_special(errno))
        return 0;
    return hc_file_fail(err, errno, "open", root, path);
}

/* The content of the open file `path`: 1; 0 too long; -1. */
static int fd_read_text(int fd, const char *path, char *buffer, size_t size,
                        struct stat *status, struct hc_error *err)
{
    ssize_t count;

    if (fstat(fd, status) < 0)
        return hc_fail_errno(err, errno, "stat '%s'", path);
    if ((uintmax_t)status->st_size >= size)
        return 0;
    count = hc_file_read_all(fd, buffer, (size_t)status->st_size);
    if (count < 0)
        return hc_fail_errno(err, errno, "read '%s'", path);
    buffer[count] = '\0';
    return 1;
}

int hc_file_read_stat(int root, const char *path, char *buffer, size_t size,
                      struct stat *status, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = hc_file_open(root, path, O_RDONLY, 0);

    return fd < 0 ? open_failure(root, path, err)
                  : fd_read_text(fd, path, buffer, size, status, err);
}

int hc_file_read(int root, const char *path, char *buffer, size_t size,
                 struct hc_error *err)
{
    struct stat status;

    return hc_file_read_stat(root, path, buffer, size, &status, err);
}

int hc_file_read_linked(const char *path, char *buffer, size_t size, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = hc_file_open_linked(AT_FDCWD, path);
    struct stat status;

    return fd < 0 ? open_failure(AT_FDCWD, path, err)
                  : fd_read_text(fd, path, buffer, size, &status, err);
}

ssize_t hc_file_read_all(int fd, char *buffer, size_t size)
{
    size_t used = 0;

    while (used < size) {
        ssize_t count = read(fd, buffer + used, size - used);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        if (count == 0)
            break;
        used += (size_t)count;
    }
    return (ssize_t)used;
}

int hc_file_write_all(int fd, const void *bytes, size_t count, struct hc_error *err)
{
    const char *next = bytes;

    while (count > 0) {
        ssize_t written = write(fd, next, count);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return hc_fail_errno(err, errno, "write");
        next += written;
        count -= (size_t)written;
    }
    return 0;
}

int hc_file_write_all_at(int fd, const void *bytes, size_t count, uint64_t at,
                         struct hc_error *err)
{
    const char *next = bytes;

    while (count > 0) {
        ssize_t written = pwrite(fd, next, count, (off_t)at);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return hc_fail_errno(err, errno, "write");
        next += written;
        at += (uint64_t)written;
        count -= (size_t)written;
    }
    return 0;
}

/* 1: a part was copied; 0: there is no more; -1. */
static int fd_copy_chunk(int from, int to, struct hc_error *err)
{
    char buffer[BUFFER_SIZE];
    ssize_t count = copy_file_range(from, NULL, to, NULL, COPY_CHUNK, 0);

    if (count > 0)
        return 1;
    /* It has come to the end or cannot be done on these filesystems: read(2) tells. */
    count = read(from, buffer, sizeof buffer);
    if (count < 0)
        return hc_fail_errno(err, errno, "read");
    if (count > 0 && hc_file_write_all(to, buffer, (size_t)count, err) < 0)
        return -1;
    return count > 0;
}

/* In chunks, so that a copy of many gigabytes ends soon after it is cancelled. */
int hc_file_copy(int from, int to, struct hc_cancellation *cancellation,
                 struct hc_error *err)
{
    int result;

    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    do
        result = hc_cancellation_check(cancellation, err) < 0
                     ? -1
                     : fd_copy_chunk(from, to, err);
    while (result > 0);
    return result;
}

int64_t hc_file_time_ms(const struct timespec *time)
{
    return time->tv_sec * 1000 + time->tv_nsec / 1000000;
}

int64_t hc_file_changed_ms(const struct stat *status)
{
    int64_t written_ms = hc_file_time_ms(&status->st_mtim);
    int64_t changed_ms = hc_file_time_ms(&status->st_ctim);

    return written_ms < changed_ms ? written_ms : changed_ms;
}

/* Device and inode: another process may have replaced the file since it was opened. */
bool hc_file_is_named(int root, const char *path, int fd)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 &&
           fstatat(root, path, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

/* Random, not counted: other processes, on other machines, write to the same
 * directory. */
int hc_file_private_name(char *buffer, size_t size, const char *path, const char *suffix,
                         struct hc_error *err)
{
    uint32_t random;

    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return hc_fail(err, HC_INTERNAL, "the system gives no random numbers");
    if (hc_format(buffer, size, "%s.%08x%s", path, random, suffix) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "'%s'", path);
    return 0;
}

int hc_file_create_below(int root, const char *path, int flags, struct hc_error *err)
{
    int fd = -1;

    errno = ENOENT;
    for (int i = 0; fd < 0 && errno == ENOENT && i < VANISHED_MAX; i++) {
        if (hc_file_mkparents(root, path, err) < 0)
            return -1;
        fd = hc_file_create(root, path, flags);
    }
    return fd < 0 ? hc_file_fail(err, errno, "create", root, path) : fd;
}

/* Writes and flushes a new file; on failure nothing is left behind. */
static int file_write_new(int root, const char *path, const char *content, size_t size,
                          struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = hc_file_create(root, path, O_WRONLY);

    if (fd < 0)
        return hc_file_fail(err, errno, "create", root, path);
    if (hc_file_write_all(fd, content, size, err) < 0) {
        (void)unlinkat(root, path, 0);
        return hc_context(err, "'%s'", path);
    }
    if (fsync(fd) < 0) {
        (void)hc_fail_errno(err, errno, "fsync '%s'", path);
        (void)unlinkat(root, path, 0);
        return -1;
    }
    return 0;
}

int hc_file_rename_below(int root, const char *from, const char *path)
{
    struct hc_error unused;
    int renamed = renameat(root, from, root, path);

    for (int i = 0; renamed < 0 && errno == ENOENT && i < VANISHED_MAX; i++) {
        (void)hc_file_mkparents(root, path, &unused);
        renamed = renameat(root, from, root, path);
    }
    return renamed;
}

int hc_file_publish(int root, const char *private, const char *path, const char *content,
                    size_t size, struct hc_error *err)
{
    if (hc_file_mkparents(root, private, err) < 0 ||
        hc_file_mkparents(root, path, err) < 0)
        return -1;
    if (file_write_new(root, private, content, size, err) < 0)
        return -1;
    if (hc_file_rename_below(root, private, path) < 0) {
        (void)hc_file_fail(err, errno, "rename to", root, path);
        (void)unlinkat(root, private, 0);
        return -1;
    }
    return 0;
}

int hc_file_sync_parent(int root, const char *path, struct hc_error *err)
{
    char parent[PATH_MAX];

    if (path_parent(path, parent, err) < 0)
        return -1;
    return hc_directory_sync(root, parent, err);
}
