/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search costs one stat for each repo of the cache. The link is made under a name of
 * its own and renamed over the new file, so that there is a file at `path` at all times.
 */
#include "duplicate.h"

#include <cache/walk.h>

#include <base/auto.h>
#include <base/file.h>
#include <base/hash.h>
#include <base/text.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static bool file_has_size(int root, const char *path, uint64_t size)
{
    struct stat status;

    return fstatat(root, path, &status, 0) == 0 && S_ISREG(status.st_mode) &&
           (uint64_t)status.st_size == size;
}

bool hc_duplicate_find(const struct hc_cache *cache, const struct hc_blob_id *blob,
                       uint64_t size, char path[PATH_MAX])
{
    struct hc_repo other;

    if (hc_digest_kind_of(blob->etag) == HC_DIGEST_NONE)
        return false;

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(cache);

    while (hc_walk_next_repo(&walk, &other)) {
        if (strcmp(other.folder, blob->folder) != 0 &&
            hc_format(path, PATH_MAX, "%s/blobs/%s", other.folder, blob->etag) > 0 &&
            file_has_size(hc_cache_fd(cache), path, size))
            return true;
    }
    return false;
}

/* The cheapest copy: the filesystem shares the blocks until one file is written to. It
 * refuses where it cannot, and then a link is tried. */
static bool duplicate_clone(int root, const char *duplicate, int fd)
{
    HC_AUTO_CLOSE int from = hc_file_open_linked(root, duplicate);

    return from >= 0 && ioctl(fd, FICLONE, from) == 0;
}

/* Not through a symlink, nor a file that another user may write to; and no user may lose
 * a permission that our own file would give. */
static bool duplicate_may_link(int root, const char *duplicate, int fd)
{
    const mode_t readers = S_IRUSR | S_IRGRP | S_IROTH;
    struct stat theirs, ours;

    return fstatat(root, duplicate, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(theirs.st_mode) && fstat(fd, &ours) == 0 &&
           theirs.st_uid == ours.st_uid &&
           (ours.st_mode & readers & ~theirs.st_mode) == 0;
}

/* linkat() replaces nothing, and a crash between unlink and link would leave no file at
 * `path`, where the claim says that there is one. */
static bool duplicate_link(const struct hc_cache *cache, const char *duplicate,
                           const char *path)
{
    int root = hc_cache_fd(cache);
    char private[PATH_MAX];
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) < 0 ||
        linkat(root, duplicate, root, private, 0) < 0)
        return false;
    if (renameat(root, private, root, path) == 0)
        return true;
    (void)unlinkat(root, private, 0);
    return false;
}

enum hc_duplicate_kind hc_duplicate_use(const struct hc_cache *cache,
                                        const char *duplicate, int fd, const char *path)
{
    int root = hc_cache_fd(cache);

    if (duplicate_clone(root, duplicate, fd))
        return HC_DUPLICATE_CLONED;
    return duplicate_may_link(root, duplicate, fd) &&
                   duplicate_link(cache, duplicate, path)
               ? HC_DUPLICATE_LINKED
               : HC_DUPLICATE_NONE;
}
