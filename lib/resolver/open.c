/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a file that was resolved, for a caller that reads it through this process. Such
 * a caller gets bytes that this process may read, so symlinks count: other clients write
 * to the volume, and a pointer of theirs may lead anywhere. The kernel says where the
 * descriptor led (proc(5), /proc/pid/fd); only a file below the cache root or a local
 * root is given out. No check of names before the open could say so without a race.
 */
#include "resolver.h"

#include <base/file.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The real path of what is open as `fd`. */
static int descriptor_path(int fd, char path[PATH_MAX], struct hc_error *err)
{
    char entry[64];
    ssize_t length;

    if (hc_format(entry, sizeof entry, "/proc/self/fd/%d", fd) < 0)
        return hc_fail(err, HC_INTERNAL, "no descriptor has the number %d", fd);
    /* NOLINTNEXTLINE(readability-suspicious-call-argument): `path` is the answer */
    length = readlink(entry, path, PATH_MAX);
    if (length < 0)
        return hc_fail_errno(err, errno, "readlink '%s'", entry);
    if (length == PATH_MAX)
        return hc_fail_errno(err, ENAMETOOLONG, "readlink '%s'", entry);
    path[length] = '\0';
    return 0;
}

int hc_resolver_open_file(const struct hc_resolver *resolver, const char *path, int *fd,
                          struct hc_error *err)
{
    HC_AUTO_CLOSE int opened = hc_file_open_linked(AT_FDCWD, path);
    char real[PATH_MAX];

    if (opened < 0 && hc_file_is_absent(errno))
        return 0;
    if (opened < 0)
        return hc_file_fail(err, errno, "open", AT_FDCWD, path);
    if (descriptor_path(opened, real, err) < 0)
        return -1;
    if (!hc_path_is_within(real, hc_cache_root(resolver->cache)) &&
        !hc_local_has(resolver, real))
        return hc_fail(err, HC_CACHE_IO,
                       "'%s' leads to '%s', which is outside of the cache root and of "
                       "every local root: its bytes are not given out",
                       path, real);
    *fd = opened;
    opened = -1;
    return 1;
}
