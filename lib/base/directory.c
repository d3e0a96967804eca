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
struct directory_walk {
    bool (*visit)(struct directory_walk *directory_walk, int dir, const char *name,
                  const struct stat *status);
    mode_t kind;
    int64_t then_ms;
    unsigned count;
    unsigned limit;
};

/* Follows no symlink, nor one that another process puts in place of a directory.
 * NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH_MAX */
static bool directory_walk_below(struct directory_walk *directory_walk, int root,
                                 const char *path, unsigned depth)
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
        if (S_ISDIR(status.st_mode) &&
            !directory_walk_below(directory_walk, fd, entry->d_name, depth + 1))
            return false;
        if (!directory_walk->visit(directory_walk, fd, entry->d_name, &status))
            return false;
    }
    return true;
}

static bool visit_counting(struct directory_walk *directory_walk, int dir,
                           const char *name, const struct stat *status)
{
    (void)dir, (void)name, (void)status;
    return ++directory_walk->count < directory_walk->limit;
}

static bool visit_checking(struct directory_walk *directory_walk, int dir,
                           const char *name, const struct stat *status)
{
    mode_t kind = status->st_mode & S_IFMT;

    return (kind == S_IFDIR || kind == directory_walk->kind) &&
           visit_counting(directory_walk, dir, name, status);
}

static bool entry_remove(int dir, const char *name, const struct stat *status)
{
    return unlinkat(dir, name, S_ISDIR(status->st_mode) ? AT_REMOVEDIR : 0) == 0;
}

static bool visit_removing(struct directory_walk *directory_walk, int dir,
                           const char *name, const struct stat *status)
{
    (void)directory_walk;
    return entry_remove(dir, name, status);
}

/* A directory that is not empty refuses. */
static bool visit_removing_older(struct directory_walk *directory_walk, int dir,
                                 const char *name, const struct stat *status)
{
    if (S_ISDIR(status->st_mode))
        (void)entry_remove(dir, name, status);
    else if (S_ISREG(status->st_mode) &&
             hc_file_changed_ms(status) < directory_walk->then_ms)
        directory_walk->count += entry_remove(dir, name, status);
    return true;
}

unsigned hc_directory_count(int root, const char *path, unsigned limit)
{
    struct directory_walk directory_walk = {.visit = visit_counting, .limit = limit};

    (void)directory_walk_below(&directory_walk, root, path, 0);
    return directory_walk.count;
}

unsigned hc_directory_remove_older(int root, const char *path, int64_t then_ms)
{
    struct directory_walk directory_walk = {.visit = visit_removing_older,
                                            .then_ms = then_ms};

    (void)directory_walk_below(&directory_walk, root, path, 0);
    return directory_walk.count;
}

/* Only directories and files of that kind, and not too many. */
static bool directory_remove(int root, const char *path, mode_t kind)
{
    struct directory_walk check = {.visit = visit_checking,
                                   .kind = kind,
                                   .limit = IN_THE_WAY_MAX};
    struct directory_walk removal = {.visit = visit_removing};

    return directory_walk_below(&check, root, path, 0) &&
           directory_walk_below(&removal, root, path, 0) &&
           unlinkat(root, path, AT_REMOVEDIR) == 0;
}

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
