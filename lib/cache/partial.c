/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names come from files that anybody may have written: directories are opened one by
 * one without following symlinks.
 */
#include "partial.h"

#include "name.h"

#include <base/auto.h>
#include <base/text.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool hc_partial_is_of(const char *name, const char *etag)
{
    size_t length = strlen(etag);

    return hc_etag_is_valid(etag) && hc_text_starts(name, etag) && name[length] == '.' &&
           strspn(name + length + 1, "0123456789abcdef") == 8 &&
           strcmp(name + length + 9, ".incomplete") == 0;
}

static int open_blobs(int root, const char *folder)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    HC_AUTO_CLOSE int repo = openat(root, folder, flags);

    return repo < 0 ? -1 : openat(repo, "blobs", flags);
}

bool hc_partial_remove(int root, const char *folder, const char *name)
{
    HC_AUTO_CLOSE int blobs = open_blobs(root, folder);

    return blobs >= 0 && unlinkat(blobs, name, 0) == 0;
}

bool hc_partial_rename(int root, const char *folder, const char *from, const char *to)
{
    HC_AUTO_CLOSE int blobs = open_blobs(root, folder);

    return blobs >= 0 && renameat(blobs, from, blobs, to) == 0;
}

bool hc_partial_exists(int root, const char *folder, const char *name)
{
    HC_AUTO_CLOSE int blobs = open_blobs(root, folder);
    struct stat status;

    return blobs >= 0 && fstatat(blobs, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(status.st_mode);
}
