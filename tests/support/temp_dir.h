/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of a test's own, and the files in it. Paths are relative to `dir`. What
 * cannot be done aborts the test program. Callable from any thread.
 */
#ifndef HC_SUPPORT_TEMP_DIR_H
#define HC_SUPPORT_TEMP_DIR_H

#include <stdbool.h>
#include <stddef.h>

/* A new, empty directory; give it to temp_dir_remove(). */
char *temp_dir_make(void);

/* Removes it with everything in it, and frees `dir`. */
void temp_dir_remove(char *dir);

/* "<dir>/<path>"; the caller frees. */
char *temp_dir_path(const char *dir, const char *path);

/* Makes the directories on the way. */
void temp_dir_write(const char *dir, const char *path, const char *text);

/* The content, NUL-terminated, NULL when there is no such file; the caller frees. */
char *temp_dir_read(const char *dir, const char *path);

/* Whether there is anything of this name, be it a dangling link. */
bool temp_dir_has(const char *dir, const char *path);

/* Files and links below `path`, in all depths; 0 when it is not there. "": the whole. */
unsigned temp_dir_count(const char *dir, const char *path);

#endif
