/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few file operations that everything in cache/ is made of.
 */
#include "file.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
    COPY_CHUNK =
        16 * 1024 * 1024, /* small enough that others see the copy's mtime move */
    BUFFER_SIZE = 64 * 1024
};

int hc_file_mkdirs(int root, const char *path, struct hc_error *err)
{
    char partial[PATH_MAX];

    if (mkdirat(root, path, 0777) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return hc_fail_errno(err, errno, "make directory '%s'", path);
    if (hc_format(partial, sizeof partial, "%s", path) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "make directory '%s'", path);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(root, partial, 0777) < 0 && errno != EEXIST)
            return hc_fail_errno(err, errno, "make directory '%s'", partial);
        *slash = '/';
    }
    if (mkdirat(root, path, 0777) < 0 && errno != EEXIST)
        return hc_fail_errno(err, errno, "make directory '%s'", path);
    return 0;
}

/* The directory part of `path` into `parent`; "." when it has none. */
static int parent_of(const char *path, char parent[PATH_MAX], struct hc_error *err)
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

int hc_file_mkparents(int root, const char *path, struct hc_error *err)
{
    char parent[PATH_MAX];

    if (parent_of(path, parent, err) < 0)
        return -1;
    return hc_file_mkdirs(root, parent, err);
}

/* Opens a regular file for reading: 1, 0 absent or something else, -1. */
static int open_regular(int root, const char *path, int *fd, struct stat *status,
                        struct hc_error *err)
{
    *status = (struct stat){0};
    *fd = openat(root, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
            errno == ENAMETOOLONG)
            return 0;
        return hc_fail_errno(err, errno, "open '%s'", path);
    }
    if (fstat(*fd, status) < 0)
        return hc_fail_errno(err, errno, "stat '%s'", path);
    return S_ISREG(status->st_mode) ? 1 : 0;
}

/* Up to `size` bytes; the count read, or -1. */
static ssize_t read_all(int fd, char *buffer, size_t size)
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

int hc_file_read_stat(int root, const char *path, char *buffer, size_t size,
                      struct stat *status, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = -1;
    ssize_t count;
    int found = open_regular(root, path, &fd, status, err);

    if (found <= 0)
        return found;
    if ((uintmax_t)status->st_size >= size)
        return 0;
    count = read_all(fd, buffer, (size_t)status->st_size);
    if (count < 0)
        return hc_fail_errno(err, errno, "read '%s'", path);
    buffer[count] = '\0';
    return 1;
}

int hc_file_read(int root, const char *path, char *buffer, size_t size,
                 struct hc_error *err)
{
    struct stat status;

    return hc_file_read_stat(root, path, buffer, size, &status, err);
}

int hc_file_slurp(int root, const char *path, size_t limit, char **content, size_t *size,
                  struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = -1;
    HC_AUTO_FREE char *bytes = NULL;
    struct stat status;
    ssize_t count;
    int found = open_regular(root, path, &fd, &status, err);

    if (found <= 0)
        return found;
    if ((uintmax_t)status.st_size > limit)
        return hc_fail(err, HC_CACHE_IO, "'%s' is larger than %zu bytes", path, limit);
    bytes = malloc((size_t)status.st_size + 1);
    if (!bytes)
        return hc_fail_memory(err);
    count = read_all(fd, bytes, (size_t)status.st_size);
    if (count < 0)
        return hc_fail_errno(err, errno, "read '%s'", path);
    bytes[count] = '\0';
    *size = (size_t)count;
    *content = hc_take(&bytes);
    return 1;
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

/* 1 some more was copied; 0 at the end; -1. */
static int copy_some(int from, int to, struct hc_error *err)
{
    char buffer[BUFFER_SIZE];
    ssize_t count = copy_file_range(from, NULL, to, NULL, COPY_CHUNK, 0);

    if (count > 0)
        return 1;
    /* Whatever stopped it, end of file or refusal: reading on tells. */
    count = read(from, buffer, sizeof buffer);
    if (count < 0)
        return hc_fail_errno(err, errno, "read");
    if (count > 0 && hc_file_write_all(to, buffer, (size_t)count, err) < 0)
        return -1;
    return count > 0;
}

int hc_file_copy(int from, int to, struct hc_call *call, struct hc_error *err)
{
    int result;

    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    do
        result = hc_call_check(call, err) < 0 ? -1 : copy_some(from, to, err);
    while (result > 0);
    return result;
}

int64_t hc_file_time_ms(const struct timespec *time)
{
    return time->tv_sec * 1000 + time->tv_nsec / 1000000;
}

bool hc_file_is_named(int root, const char *path, int fd)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 &&
           fstatat(root, path, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

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

/* Writes and flushes a new file; on failure nothing is left behind. */
static int write_new(int root, const char *path, const char *content, size_t size,
                     struct hc_error *err)
{
    HC_AUTO_CLOSE int fd =
        openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);

    if (fd < 0)
        return hc_fail_errno(err, errno, "create '%s'", path);
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

int hc_file_publish(int root, const char *private, const char *path, const char *content,
                    size_t size, struct hc_error *err)
{
    if (hc_file_mkparents(root, private, err) < 0 ||
        hc_file_mkparents(root, path, err) < 0)
        return -1;
    if (write_new(root, private, content, size, err) < 0)
        return -1;
    if (renameat(root, private, root, path) < 0) {
        (void)hc_fail_errno(err, errno, "rename to '%s'", path);
        (void)unlinkat(root, private, 0);
        return -1;
    }
    return 0;
}

static int sync_dir(int root, const char *path, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return hc_fail_errno(err, errno, "open directory '%s'", path);
    /* Some network filesystems cannot flush directories; there is nothing better to do.
     */
    if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
        return hc_fail_errno(err, errno, "fsync directory '%s'", path);
    return 0;
}

int hc_file_sync_parent(int root, const char *path, struct hc_error *err)
{
    char parent[PATH_MAX];

    if (parent_of(path, parent, err) < 0)
        return -1;
    return sync_dir(root, parent, err);
}

int hc_file_sync_tree(int root, const char *path, struct hc_error *err)
{
    char top[PATH_MAX];
    char *tops[] = {top, NULL};
    int result = 0;
    FTS *walk;

    if (hc_format(top, sizeof top, "/proc/self/fd/%d/%s", root, path) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "'%s'", path);
    walk = fts_open(tops, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    if (!walk)
        return hc_fail_errno(err, errno, "walk '%s'", path);
    for (FTSENT *entry = fts_read(walk); entry && result == 0; entry = fts_read(walk)) {
        if (entry->fts_info == FTS_D)
            result = sync_dir(AT_FDCWD, entry->fts_path, err);
    }
    (void)fts_close(walk);
    return result;
}
