/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A temporary directory of one test, and the files in it. Paths are relative to `dir`.
 * Failures abort the test program. Callable from any thread.
 */
#ifndef HC_SUPPORT_TEMP_DIR_H
#define HC_SUPPORT_TEMP_DIR_H

#include <stdbool.h>
#include <stddef.h>

/* Makes an empty directory, which temp_dir_remove() removes. */
char *temp_dir_make(void);

/* Removes the directory with everything in it, and frees `dir`. */
void temp_dir_remove(char *dir);

/* "<dir>/<path>"; the caller frees. */
char *temp_dir_path(const char *dir, const char *path);

/* Writes a file, and makes its directories. */
void temp_dir_write(const char *dir, const char *path, const char *text);

/* The content, ended by a NUL; the caller frees. NULL when there is no such file. */
char *temp_dir_read(const char *dir, const char *path);

/* Whether there is a file of any kind with this name, a dangling link included. */
bool temp_dir_has(const char *dir, const char *path);

/* The number of files and links below `path` ("": everywhere); 0 when it is not there. */
unsigned temp_dir_count(const char *dir, const char *path);

#endif
