/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk, with a visitor for each purpose. Every directory is opened below the
 * descriptor of the one above it.
 */
#include "directory.h"

#include "auto.h"
#include "file.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 100, IN_THE_WAY_MAX = 10000 };

int hc_directory_open(int root, const char *path)
{
    return openat(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

DIR *hc_directory_stream(int root, const char *path)
{
    int fd = hc_directory_open(root, path);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir)
        hc_auto_close(&fd);
    return dir;
}

const char *hc_directory_next(DIR *dir)
{
    const struct dirent *entry;

    do
        entry = readdir(dir); /* each stream belongs to one thread */
    while (entry && entry->d_name[0] == '.');
    return entry ? entry->d_name : NULL;
}

/* Visits what is below a directory, a directory after what is in it; ends with false. */
struct walk {
    bool (*visit)(struct walk *walk, int dir, const char *name,
                  const struct stat *status);
    mode_t kind;
    int64_t then_ms;
    unsigned count;
    unsigned limit;
};

/* Follows no symlink, nor one that another process puts in place of a directory.
 * NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH_MAX */
static bool walk_below(struct walk *walk, int root, const char *path, unsigned depth)
{
    int fd = depth > DEPTH_MAX ? -1 : hc_directory_open(root, path);
    HC_AUTO_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    struct stat status;

    if (!dir) {
        hc_auto_close(&fd);
        return false;
    }
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(status.st_mode) && !walk_below(walk, fd, entry->d_name, depth + 1))
            return false;
        if (!walk->visit(walk, fd, entry->d_name, &status))
            return false;
    }
    return true;
}

static bool visit_counting(struct walk *walk, int dir, const char *name,
                           const struct stat *status)
{
    (void)dir, (void)name, (void)status;
    return ++walk->count < walk->limit;
}

static bool visit_checking(struct walk *walk, int dir, const char *name,
                           const struct stat *status)
{
    mode_t kind = status->st_mode & S_IFMT;

    return (kind == S_IFDIR || kind == walk->kind) &&
           visit_counting(walk, dir, name, status);
}

static bool remove_name(int dir, const char *name, const struct stat *status)
{
    return unlinkat(dir, name, S_ISDIR(status->st_mode) ? AT_REMOVEDIR : 0) == 0;
}

static bool visit_removing(struct walk *walk, int dir, const char *name,
                           const struct stat *status)
{
    (void)walk;
    return remove_name(dir, name, status);
}

/* A directory that is not empty refuses. */
static bool visit_removing_older(struct walk *walk, int dir, const char *name,
                                 const struct stat *status)
{
    if (S_ISDIR(status->st_mode))
        (void)remove_name(dir, name, status);
    else if (S_ISREG(status->st_mode) && hc_file_changed_ms(status) < walk->then_ms)
        walk->count += remove_name(dir, name, status);
    return true;
}

unsigned hc_directory_count(int root, const char *path, unsigned limit)
{
    struct walk walk = {.visit = visit_counting, .limit = limit};

    (void)walk_below(&walk, root, path, 0);
    return walk.count;
}

unsigned hc_directory_remove_older(int root, const char *path, int64_t then_ms)
{
    struct walk walk = {.visit = visit_removing_older, .then_ms = then_ms};

    (void)walk_below(&walk, root, path, 0);
    return walk.count;
}

/* Only directories and files of that kind, and not too many. */
static bool remove_directory(int root, const char *path, mode_t kind)
{
    struct walk check = {.visit = visit_checking, .kind = kind, .limit = IN_THE_WAY_MAX};
    struct walk removal = {.visit = visit_removing};

    return walk_below(&check, root, path, 0) && walk_below(&removal, root, path, 0) &&
           unlinkat(root, path, AT_REMOVEDIR) == 0;
}

int hc_directory_clear_way(int root, size_t top, const char *path, mode_t kind)
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
    return remove_directory(root, part, kind) ? 1 : -1;
}
