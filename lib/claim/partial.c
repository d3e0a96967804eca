/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names come from claims, which any process may have written: each directory on the
 * way is opened by itself, and no symlink is followed.
 */
#include "partial.h"

#include <repo/name.h>

#include <base/auto.h>
#include <base/directory.h>
#include <base/file.h>
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

static int partial_open_folder(int root, const char *folder)
{
    HC_AUTO_CLOSE int repo = hc_directory_open(root, folder);

    return repo < 0 ? -1 : hc_directory_open(repo, "blobs");
}

bool hc_partial_remove(int root, const char *folder, const char *name)
{
    HC_AUTO_CLOSE int blobs = partial_open_folder(root, folder);

    return blobs >= 0 && unlinkat(blobs, name, 0) == 0;
}

bool hc_partial_rename(int root, const char *folder, const char *from, const char *to)
{
    HC_AUTO_CLOSE int blobs = partial_open_folder(root, folder);

    return blobs >= 0 && renameat(blobs, from, blobs, to) == 0;
}

static bool partial_stat(int root, const char *folder, const char *name,
                         struct stat *status)
{
    HC_AUTO_CLOSE int blobs = partial_open_folder(root, folder);

    return blobs >= 0 && fstatat(blobs, name, status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(status->st_mode);
}

bool hc_partial_exists(int root, const char *folder, const char *name)
{
    struct stat status;

    return partial_stat(root, folder, name, &status);
}

bool hc_partial_belongs_to(int root, const char *folder, const char *name, uid_t uid)
{
    struct stat status;

    return partial_stat(root, folder, name, &status) && status.st_uid == uid;
}

bool hc_partial_copy(int root, const char *folder, const char *from, const char *to,
                     struct hc_cancellation *cancellation)
{
    HC_AUTO_CLOSE int blobs = partial_open_folder(root, folder);
    HC_AUTO_CLOSE int source = -1;
    HC_AUTO_CLOSE int copy = -1;
    struct hc_error unused;

    if (blobs >= 0)
        source = hc_file_open(blobs, from, O_RDONLY, 0);
    if (source < 0)
        return false;
    copy = hc_file_create(blobs, to, O_WRONLY);
    if (copy >= 0 && hc_file_copy(source, copy, cancellation, &unused) == 0)
        return true;
    (void)unlinkat(blobs, to, 0);
    return false;
}

/* Also "<etag>.incomplete", as older clients and the Rust client name it. */
static bool partial_is_of_any_client(const char *name, const char *etag)
{
    return hc_text_starts(name, etag) && name[strlen(etag)] == '.' &&
           hc_text_ends(name, ".incomplete");
}

bool hc_partial_measure(int root, const struct hc_blob_id *blob, uint64_t *largest,
                        uint64_t *signature)
{
    HC_AUTO_CLOSE int repo = hc_directory_open(root, blob->folder);
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(repo, "blobs", 0);
    struct stat status;
    bool is_found = false;

    *largest = *signature = 0;
    while (hc_directory_walk_next(&walk)) {
        if (!partial_is_of_any_client(walk.name, blob->etag) ||
            fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(status.st_mode))
            continue;
        is_found = true;
        if (*largest < (uint64_t)status.st_size)
            *largest = (uint64_t)status.st_size;
        *signature += (uint64_t)status.st_size +
                      (uint64_t)status.st_mtim.tv_sec * 1000000000 +
                      (uint64_t)status.st_mtim.tv_nsec;
    }
    return is_found;
}
