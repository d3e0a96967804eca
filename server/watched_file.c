/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is known by device, inode, size, and the times of its last changes. stat(2)
 * follows the symlinks, so a swapped one leads to another inode.
 */
#include "watched_file.h"

#include <base/error.h>
#include <base/file.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static bool is_same_time(const struct timespec *time, const struct timespec *other)
{
    return time->tv_sec == other->tv_sec && time->tv_nsec == other->tv_nsec;
}

static bool is_same_file(const struct stat *status, const struct stat *other)
{
    return status->st_dev == other->st_dev && status->st_ino == other->st_ino &&
           status->st_size == other->st_size &&
           is_same_time(&status->st_mtim, &other->st_mtim) &&
           is_same_time(&status->st_ctim, &other->st_ctim);
}

bool hc_watched_file_has_changed(struct hc_watched_file *file)
{
    struct stat status = {0};
    bool has_changed;

    if (stat(file->path, &status) < 0)
        status = (struct stat){0};
    has_changed = !file->was_looked_at || !is_same_file(&status, &file->status);
    file->status = status;
    file->was_looked_at = true;
    return has_changed;
}

static char *file_refuse(const struct hc_watched_file *file, const char *why,
                         struct hc_error *err)
{
    (void)hc_fail(err, HC_INVALID_OPTIONS, "cannot read '%s': %s", file->path, why);
    return NULL;
}

char *hc_watched_file_read(const struct hc_watched_file *file, size_t most, size_t *size,
                           struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = hc_file_open_linked(AT_FDCWD, file->path);
    HC_AUTO_FREE char *text = NULL;
    ssize_t got;

    if (fd < 0)
        return file_refuse(file, strerrordesc_np(errno), err);
    text = malloc(most + 2);
    if (!text) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    got = hc_file_read_all(fd, text, most + 1);
    if (got < 0)
        return file_refuse(file, strerrordesc_np(errno), err);
    if ((size_t)got > most)
        return file_refuse(file, "it is too long", err);
    *size = (size_t)got;
    text[got] = '\0';
    return hc_take(&text);
}
