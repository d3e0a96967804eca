/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files below a directory descriptor: open one, read a small one, publish one by rename,
 * make the directories on the way. Paths are relative to the directory `root`.
 *
 * Other processes and other clients of the Hub write to the volume, too, so a path may
 * name anything: these functions open regular files only, and no open waits or follows a
 * symlink in the last part of the path unless it says so. Every failure is CACHE_IO,
 * CACHE_READ_ONLY or NO_SPACE as hc_file_fail says. Callable from any thread.
 */
#ifndef HC_BASE_FILE_H
#define HC_BASE_FILE_H

#include "auto.h"
#include "cancellation.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stat;
struct timespec;

/*
 * Opens a regular file that is no symlink, without waiting for a device or for the other
 * end of a FIFO; `flags` are those of open(2), to which O_NOFOLLOW, O_NONBLOCK and
 * O_CLOEXEC are added. -1 and errno; when something else is in the place of the file,
 * errno is EISDIR (a directory), ELOOP (a symlink) or ENXIO (a FIFO, socket or device),
 * for which hc_file_is_special() is true. When another process holds a lease on the file
 * (fcntl(2), F_SETLEASE), it waits a second at most for the lease to be given back.
 */
int hc_file_open(int root, const char *path, int flags, mode_t mode);

/* The same for reading, through symlinks: a blob may be one (spec §1.9). */
int hc_file_open_linked(int root, const char *path);

/* Creates a file that is not there: -1 and EEXIST when anything has that name. */
int hc_file_create(int root, const char *path, int flags);

/* Whether `errnum` means that no regular file is in the place of one. */
bool hc_file_is_special(int errnum);

/* Whether stat(2) or open(2) failed because there is nothing at the path: a component is
 * missing, is no directory, is a symlink to itself, or is longer than any name. */
bool hc_file_is_absent(int errnum);

/*
 * Fails because of `errnum`, after `verb` ("open", "rename to") was tried on `path`. When
 * the permission was denied, the message names the directory or file that denies it, its
 * owner and mode, and what to do; when something else is in the place of a file, what it
 * is. Otherwise as hc_fail_errno.
 */
int hc_file_fail(struct hc_error *err, int errnum, const char *verb, int root,
                 const char *path);

/* Makes `path` and its parents with 0777 & ~umask. Existing directories are fine. */
int hc_file_mkdirs(int root, const char *path, struct hc_error *err);

/* Makes the directories above the file `path`. */
int hc_file_mkparents(int root, const char *path, struct hc_error *err);

/* hc_file_create() with the directories above, which other processes may remove while
 * they are empty. -1 and the failure. */
int hc_file_create_below(int root, const char *path, int flags, struct hc_error *err);

/* Renames `from`, which exists, likewise. -1 and errno. */
int hc_file_rename_below(int root, const char *from, const char *path);

/* 1 and a NUL-terminated text; 0 absent, or not a regular file, or longer than size-1. */
int hc_file_read(int root, const char *path, char *buffer, size_t size,
                 struct hc_error *err);

/* The same for a file that the operator names, such as that of the token: it may be a
 * symlink, as Kubernetes mounts secrets. */
int hc_file_read_linked(const char *path, char *buffer, size_t size,
                        struct hc_error *err);

/* As hc_file_read, with the status of that very file as of fstat(2). */
int hc_file_read_stat(int root, const char *path, char *buffer, size_t size,
                      struct stat *status, struct hc_error *err);

/*
 * Writes and flushes `content` under the name `private`, then renames that to `path`, so
 * that readers see the old file or the new one. The mode is 0666 & ~umask. Makes the
 * directories of both. On failure nothing is left behind.
 */
int hc_file_publish(int root, const char *private, const char *path, const char *content,
                    size_t size, struct hc_error *err);

/* Appends `suffix` made of 8 random hexadecimal digits: "<path>.<8 hex><suffix>". */
int hc_file_private_name(char *buffer, size_t size, const char *path, const char *suffix,
                         struct hc_error *err);

/* Flushes the directory that holds `path`, so that a rename in it survives power loss. */
int hc_file_sync_parent(int root, const char *path, struct hc_error *err);

/* A file's time stamp in milliseconds since the epoch. */
int64_t hc_file_time_ms(const struct timespec *time);

/* When a file changed last: its mtime, but no later than its ctime, since any client may
 * set an mtime in the future. */
int64_t hc_file_changed_ms(const struct stat *status);

/* Whether `path` is a name of the file that is open as `fd`, and no symlink to it. */
bool hc_file_is_named(int root, const char *path, int fd);

/*
 * Puts all bytes of `from` into `to`, both just opened: as a clone (ioctl_ficlone(2))
 * where the filesystem can, else with copy_file_range(2) where that works, else through
 * memory.
 */
int hc_file_copy(int from, int to, struct hc_cancellation *cancellation,
                 struct hc_error *err);

/* Up to the end of the file, `size` bytes at most; how many, or -1 and errno. */
ssize_t hc_file_read_all(int fd, char *buffer, size_t size);

/* All of `count` bytes, or -1. */
int hc_file_write_all(int fd, const void *bytes, size_t count, struct hc_error *err);

/* The same from the offset `at` on; leaves the position of the file alone. */
int hc_file_write_all_at(int fd, const void *bytes, size_t count, uint64_t at,
                         struct hc_error *err);

#endif
