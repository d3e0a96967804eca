/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of the cache volume, and what is below them. Other processes write to the
 * volume: no symlink is followed, nor one that another process puts in the place of a
 * directory during a walk, and a walk goes HC_DEPTH_MAX directories deep at most.
 * Callable from any thread; a walk belongs to one.
 *
 *     HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, "models--a--b", 3);
 *
 *     while (hc_directory_walk_next(&walk))
 *         printf("%s\n", walk.path);
 */
#ifndef HC_BASE_DIRECTORY_H
#define HC_BASE_DIRECTORY_H

#include "auto.h"
#include "error.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens a directory for reading that is no symlink. -1 and errno. */
int hc_directory_open(int root, const char *path);

/* The same for the last of nested directories, of which none may be a symlink; `names`
 * ends with NULL. */
int hc_directory_open_nested(int root, const char *const names[]);

/*
 * Opens the directory that holds `path`, of which no part is a symlink. `name` becomes
 * the last component of `path`. -1 and errno.
 */
int hc_directory_open_parent(int root, const char *path, const char **name);

/*
 * Opens the directories on the way to `path`, and it, none of which may be a symlink. A
 * network filesystem answers from what it has read of a directory for up to a minute,
 * both what is there and what is not; when a directory is opened, it asks its server
 * whether that has changed (close-to-open consistency). What is looked up next below
 * these directories is as new as this call.
 */
void hc_directory_refresh(int root, const char *path);

/* Removes directories below `path` that are empty, and leaves all else. */
void hc_directory_remove_empty(int root, const char *path);

enum { HC_DEPTH_MAX = 100 };

/*
 * A walk of all that is below a directory: a directory comes after what is in it. The
 * members down to `errnum` are for the caller. Entries that are created or removed
 * during the walk may be missed; none that stays is.
 */
struct hc_directory_walk {
    char path[PATH_MAX]; /* of the entry, below the directory that is walked */
    const char *name;    /* its last component */
    int dir;             /* the directory that holds it, for openat(2) and its like */
    mode_t type;         /* S_IFREG, S_IFDIR, S_IFLNK …: of the entry itself */
    uint64_t inode;      /* likewise, by readdir(3); 0 of a directory that was entered */
    bool is_incomplete;  /* so far a directory could not be read, or is too deep */
    int errnum;          /* why it could not be read; 0: none, or it is too deep */

    /* Optional: which entries the walk returns; the others it passes over. */
    bool (*accepts)(const struct hc_directory_walk *walk);

    unsigned depth_max;
    unsigned depth; /* of `streams`, those that are open */
    DIR *streams[HC_DEPTH_MAX + 1];
};

/*
 * Begins a walk of the directory `path`, which finds nothing when it is absent. It enters
 * directories up to `depth_max` levels below; 0: none. The caller ends the walk in every
 * case.
 */
struct hc_directory_walk hc_directory_walk(int root, const char *path,
                                           unsigned depth_max);

/* Whether there is another entry. */
bool hc_directory_walk_next(struct hc_directory_walk *walk);

void hc_directory_walk_end(struct hc_directory_walk *walk);
HC_DEFINE_AUTO_VALUE(hc_directory_walk, hc_directory_walk_end)

/* Files and directories below a directory, counted up to `limit`; 0 of an absent one. */
unsigned hc_directory_count(int root, const char *path, unsigned limit);

/* Removes the regular files below a directory that changed last before `then_ms`, and
 * then directories that are empty. Returns how many files. */
unsigned hc_directory_remove_older(int root, const char *path, int64_t then_ms);

/*
 * Removes what keeps a file from getting the name `path`, of which the first `top` bytes
 * name a directory that stays: a file in the place of one of its directories, or a
 * directory in its own, provided that it holds only directories and files of type `kind`
 * (S_IFREG, S_IFLNK). 1 when something was removed; 0 when nothing is in the way; -1 when
 * something is that has to stay.
 */
int hc_directory_remove_obstacle(int root, size_t top, const char *path, mode_t kind);

/* Flushes a directory, so that the names in it survive power loss. */
int hc_directory_sync(int root, const char *path, struct hc_error *err);

/* The same with all directories below it, however deep. An absent one is fine. */
int hc_directory_sync_below(int root, const char *path, struct hc_error *err);

#endif
