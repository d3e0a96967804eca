/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of the cache volume, and what is below them. No symlink is followed, nor one
 * that another process puts in the place of a directory meanwhile; what is more than a
 * hundred directories deep is left alone. Callable from any thread.
 */
#ifndef HC_BASE_DIRECTORY_H
#define HC_BASE_DIRECTORY_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens a directory for reading that is no symlink. -1 and errno. */
int hc_directory_open(int root, const char *path);

/* The same as a stream, which the caller closes; NULL and errno. */
DIR *hc_directory_stream(int root, const char *path);

/* The next name of a stream that does not start with a dot; NULL at its end. */
const char *hc_directory_next(DIR *stream);

/* Files and directories below a directory, counted up to `limit`; 0 of an absent one. */
unsigned hc_directory_count(int root, const char *path, unsigned limit);

/* Removes the regular files below a directory that changed last before `then_ms`, and then
 * directories that are empty. Returns how many files. */
unsigned hc_directory_remove_older(int root, const char *path, int64_t then_ms);

/*
 * Removes what keeps a file from getting the name `path`, of which the first `top` bytes
 * name a directory that stays: a file in the place of one of its directories, or a
 * directory in its own, provided that it holds only directories and files of type `kind`
 * (S_IFREG, S_IFLNK). 1 when something was removed; 0 when nothing is in the way; -1 when
 * something is that has to stay.
 */
int hc_directory_remove_obstacle(int root, size_t top, const char *path, mode_t kind);

#endif
