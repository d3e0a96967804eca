/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of volumes without flock (ENOSYS): there the Hub's Python clients take the
 * lock file's existence for the lock (§1.4), with "<pid>\n<host>\n" in it. An empty file
 * is what somebody left who found out that there is no flock, and locks nothing; nor does
 * that of a process of this host which is gone. For lock.c.
 */
#ifndef HC_CACHE_SOFT_LOCK_H
#define HC_CACHE_SOFT_LOCK_H

#include <base/error.h>

#include <stdbool.h>

/* 1 ours, and `*fd` is to be given back; 0 somebody else has it; -1. */
int hc_soft_lock_try(int root, const char *path, int *fd, struct hc_error *err);

/* Removes the file, unless another one is in its place by now. Closes `fd`. */
void hc_soft_lock_release(int root, const char *path, int fd);

/* Whether somebody has it. */
bool hc_soft_lock_is_held(int root, const char *path);

#endif
