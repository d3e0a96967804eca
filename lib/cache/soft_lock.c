/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open(2) with O_EXCL is what only one of many can. Others may not write into the file:
 * the Python clients believe no other.
 */
#include "soft_lock.h"

#include "cache.h"

#include <base/auto.h>
#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { MARKER_SIZE = 256, MARKER_MODE = 0644 };

static int soft_lock_format_marker(char marker[MARKER_SIZE])
{
    char host[65] = "";

    if (gethostname(host, sizeof host - 1) < 0)
        host[0] = '\0';
    return hc_format(marker, MARKER_SIZE, "%ld\n%s\n", (long)getpid(), host);
}

/* Of the form that we write; what others write is theirs to judge. */
static bool soft_lock_owner_is_gone(const char *marker)
{
    char ours[MARKER_SIZE];
    char *host;
    long pid = strtol(marker, &host, 10);

    return soft_lock_format_marker(ours) > 0 && pid > 0 && *host == '\n' &&
           strcmp(host, strchr(ours, '\n')) == 0 && kill((pid_t)pid, 0) < 0 &&
           errno == ESRCH;
}

/* The file, if there is one, locks nothing; nor does what is no regular file. */
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

/*
 * Out of the way, under a name of its own: somebody may have put a living lock in its place
 * since we looked, and then that goes back.
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

static int soft_lock_create_file(int root, const char *path)
{
    return hc_file_open(root, path, O_RDWR | O_CREAT | O_EXCL, MARKER_MODE);
}

int hc_soft_lock_try(int root, const char *path, int *fd, struct hc_error *err)
{
    char marker[MARKER_SIZE];
    int length = soft_lock_format_marker(marker);

    soft_lock_remove_void(root, path);
    *fd = soft_lock_create_file(root, path);
    if (*fd < 0)
        return errno == EEXIST ? 0 : hc_file_fail(err, errno, "create", root, path);
    if (length > 0 && hc_file_write_all(*fd, marker, (size_t)length, err) == 0)
        return 1;
    hc_soft_lock_release(root, path, *fd);
    *fd = -1;
    return hc_context(err, "'%s'", path);
}

void hc_soft_lock_release(int root, const char *path, int fd)
{
    if (hc_file_is_named(root, path, fd))
        (void)unlinkat(root, path, 0);
    (void)close(fd);
}

bool hc_soft_lock_is_held(int root, const char *path)
{
    struct stat status;

    return fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_size > 0 &&
           !soft_lock_is_void(root, path);
}
