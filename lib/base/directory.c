/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk for all purposes. It opens every directory below the descriptor of the one
 * above it, so that no directory can be exchanged for a symlink on the way; a walk holds
 * as many descriptors as it is deep, hence the limit. Entries are not stat'ed: on a
 * network filesystem that costs a round trip each, and readdir(3) tells their type.
 */
#include "directory.h"

#include "auto.h"
#include "file.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { OBSTACLE_MAX = 10000 };

/* O_NOFOLLOW is for the last component only; the others are the caller's. */
int hc_directory_open(int root, const char *path)
{
    return openat(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int hc_directory_open_nested(int root, const char *const names[])
{
    int dir = hc_directory_open(root, names[0]);

    for (size_t i = 1; dir >= 0 && names[i]; i++) {
        HC_AUTO_CLOSE int above = dir;

        dir = hc_directory_open(above, names[i]);
    }
    return dir;
}

int hc_directory_open_parent(int root, const char *path, const char **name)
{
    int dir = hc_directory_open(root, ".");
    const char *slash;

    for (*name = path; dir >= 0 && (slash = strchr(*name, '/')) != NULL;
         *name = slash + 1) {
        HC_AUTO_CLOSE int above = dir;
        char part[NAME_MAX + 1];

        if (hc_format(part, sizeof part, "%.*s", (int)(slash - *name), *name) < 0) {
            errno = ENAMETOOLONG;
            return -1;
        }
        dir = hc_directory_open(above, part);
    }
    return dir;
}

void hc_directory_refresh(int root, const char *path)
{
    char inside[PATH_MAX];
    const char *name;

    if (hc_format(inside, sizeof inside, "%s/.", path) < 0)
        return;

    int dir = hc_directory_open_parent(root, inside, &name);

    hc_auto_close(&dir);
}

/* ---- the walk: a stack of open directories, of which the last is being read -------- */

/* That a directory is gone tells less than any other failure of the walk. */
static void walk_note_errnum(struct hc_directory_walk *walk, int errnum)
{
    if (walk->errnum == 0 || walk->errnum == ENOENT)
        walk->errnum = errnum;
}

/* Enters the directory `name` of `dir`. False and errno when it cannot, as when another
 * process has put a symlink in its place since its type was read. fdopendir(3) takes the
 * descriptor over, unless it fails. */
static bool walk_push(struct hc_directory_walk *walk, int dir, const char *name)
{
    int fd = hc_directory_open(dir, name);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);

    if (!stream) {
        walk_note_errnum(walk, errno);
        hc_auto_close(&fd);
        return false;
    }
    walk->streams[walk->depth++] = stream;
    return true;
}

/* The path without its last component. */
static void walk_cut_path(struct hc_directory_walk *walk)
{
    char *slash = strrchr(walk->path, '/');

    *(slash ? slash : walk->path) = '\0';
}

/* The entry is the last component of the path, in the directory that is being read. */
static void walk_set_entry(struct hc_directory_walk *walk, mode_t type)
{
    const char *slash = strrchr(walk->path, '/');

    walk->name = slash ? slash + 1 : walk->path;
    walk->dir = dirfd(walk->streams[walk->depth - 1]);
    walk->type = type;
    walk->inode = 0;
}

/* Appends an entry's name to the path of the directory that is being read. */
static bool walk_append_name(struct hc_directory_walk *walk, const char *name)
{
    size_t length = strlen(walk->path);

    return hc_format(walk->path + length, sizeof walk->path - length, "%s%s",
                     length > 0 ? "/" : "", name) > 0;
}

/* The type of an entry; 0 when it has just vanished, or cannot be looked at. Not every
 * filesystem says it. */
static mode_t walk_entry_type(struct hc_directory_walk *walk, int dir,
                              const struct dirent *entry)
{
    struct stat status;

    if (entry->d_type != DT_UNKNOWN)
        return (mode_t)DTTOIF(entry->d_type);
    if (fstatat(dir, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return status.st_mode & S_IFMT;
    if (errno != ENOENT) {
        walk_note_errnum(walk, errno);
        walk->is_incomplete = true;
    }
    return 0;
}

/* Whether `entry` is one to return now, and not the first of those below it. */
static bool walk_take_entry(struct hc_directory_walk *walk, const struct dirent *entry)
{
    int dir = dirfd(walk->streams[walk->depth - 1]);
    mode_t type;

    if (dir < 0 || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return false;
    type = walk_entry_type(walk, dir, entry);
    if (type == 0)
        return false;
    if (!walk_append_name(walk, entry->d_name)) {
        walk->is_incomplete = true;
        return false;
    }
    if (S_ISDIR(type) && walk->depth_max > 0) {
        if (walk->depth <= walk->depth_max && walk_push(walk, dir, entry->d_name))
            return false;
        walk->is_incomplete = true;
    }
    walk_set_entry(walk, type);
    walk->inode = entry->d_ino;
    return true;
}

/* Whether a directory whose entries are all read is one to return: not the first. */
static bool walk_pop(struct hc_directory_walk *walk)
{
    (void)closedir(walk->streams[--walk->depth]);
    if (walk->depth > 0)
        walk_set_entry(walk, S_IFDIR);
    return walk->depth > 0;
}

/* When a stream ends, the directory itself is the next entry: its contents have been. */
static bool walk_next_entry(struct hc_directory_walk *walk)
{
    if (walk->name)
        walk_cut_path(walk);
    walk->name = NULL;
    while (walk->depth > 0) {
        const struct dirent *entry;

        errno = 0;
        entry = readdir(walk->streams[walk->depth - 1]); /* of one thread */
        if (!entry && errno != 0) {
            walk_note_errnum(walk, errno);
            walk->is_incomplete = true;
        }
        if (entry ? walk_take_entry(walk, entry) : walk_pop(walk))
            return true;
    }
    return false;
}

struct hc_directory_walk hc_directory_walk(int root, const char *path, unsigned depth_max)
{
    struct hc_directory_walk walk = {.dir = -1};

    walk.depth_max = depth_max < HC_DEPTH_MAX ? depth_max : HC_DEPTH_MAX;
    walk.is_incomplete = !walk_push(&walk, root, path) && walk.errnum != ENOENT;
    return walk;
}

bool hc_directory_walk_next(struct hc_directory_walk *walk)
{
    while (walk_next_entry(walk)) {
        if (!walk->accepts || walk->accepts(walk))
            return true;
    }
    return false;
}

void hc_directory_walk_end(struct hc_directory_walk *walk)
{
    while (walk->depth > 0)
        (void)closedir(walk->streams[--walk->depth]);
}

/* ---- what walks do ----------------------------------------------------------------- */

/* Ends at the limit: a directory of another client may have millions of entries. */
unsigned hc_directory_count(int root, const char *path, unsigned limit)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, path, HC_DEPTH_MAX);
    unsigned count = 0;

    while (count < limit && hc_directory_walk_next(&walk))
        count++;
    return count;
}

static bool walk_remove_entry(const struct hc_directory_walk *walk)
{
    return unlinkat(walk->dir, walk->name, S_ISDIR(walk->type) ? AT_REMOVEDIR : 0) == 0;
}

void hc_directory_remove_empty(int root, const char *path)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, path, HC_DEPTH_MAX);

    while (hc_directory_walk_next(&walk)) {
        if (S_ISDIR(walk.type)) /* one that is not empty refuses */
            (void)walk_remove_entry(&walk);
    }
}

static bool walk_entry_is_older(const struct hc_directory_walk *walk, int64_t then_ms)
{
    struct stat status;

    return fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(status.st_mode) && hc_file_changed_ms(&status) < then_ms;
}

unsigned hc_directory_remove_older(int root, const char *path, int64_t then_ms)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, path, HC_DEPTH_MAX);
    unsigned removed = 0;

    while (hc_directory_walk_next(&walk)) {
        if (S_ISDIR(walk.type)) /* one that is not empty refuses */
            (void)walk_remove_entry(&walk);
        else if (walk_entry_is_older(&walk, then_ms))
            removed += walk_remove_entry(&walk);
    }
    return removed;
}

/* Whether only directories and files of that type are below, and not too many. */
static bool directory_has_only(int root, const char *path, mode_t type)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, path, HC_DEPTH_MAX);
    unsigned count = 0;

    while (hc_directory_walk_next(&walk)) {
        if ((!S_ISDIR(walk.type) && walk.type != type) || ++count >= OBSTACLE_MAX)
            return false;
    }
    return !walk.is_incomplete;
}

/* Checked as a whole before the first entry is removed: a directory that has anything of
 * another type stays complete. */
static bool directory_remove(int root, const char *path, mode_t type)
{
    if (!directory_has_only(root, path, type))
        return false;

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, path, HC_DEPTH_MAX);

    while (hc_directory_walk_next(&walk)) {
        if (!walk_remove_entry(&walk))
            return false;
    }
    return unlinkat(root, path, AT_REMOVEDIR) == 0;
}

/* The directories above `top` belong to the cache and stay, so only the rest of the path
 * is looked at, from the top down: nothing is below the first part that is absent. */
int hc_directory_remove_obstacle(int root, size_t top, const char *path, mode_t kind)
{
    char part[PATH_MAX];
    struct stat status;

    if (hc_format(part, sizeof part, "%s", path) < 0)
        return 0;
    part[top] = '\0';
    if (fstatat(root, part, &status, 0) == 0 && !S_ISDIR(status.st_mode))
        return -1;
    part[top] = '/';
    for (char *slash = strchr(part + top + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (fstatat(root, part, &status, 0) < 0 &&
            fstatat(root, part, &status, AT_SYMLINK_NOFOLLOW) < 0)
            return 0; /* nor is there anything below */
        if (!S_ISDIR(status.st_mode))
            return unlinkat(root, part, 0) < 0 ? -1 : 1;
        *slash = '/';
    }
    if (fstatat(root, part, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(status.st_mode))
        return 0;
    return directory_remove(root, part, kind) ? 1 : -1;
}

/* ---- flushing ---------------------------------------------------------------------- */

int hc_directory_sync(int root, const char *path, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return hc_file_fail(err, errno, "open", root, path);
    /* Some network filesystems cannot flush directories; there is nothing better to do.
     */
    if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
        return hc_fail_errno(err, errno, "fsync directory '%s'", path);
    return 0;
}

/* fts(3) holds no descriptor for each level, so depth has no limit here. */
int hc_directory_sync_below(int root, const char *path, struct hc_error *err)
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
            result = hc_directory_sync(AT_FDCWD, entry->fts_path, err);
    }
    (void)fts_close(walk);
    return result;
}
