/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a revision's leases, .hubcache/leases/<repo folder>/<commit>, by its
 * descriptor: what is created in it cannot land in a directory that has taken its place.
 * It holds leases by their names (lease_record.h); "<name>.ended", a lease that a process
 * is about to remove; and "bar" (lease_bar.h). Callable from any thread.
 */
#ifndef HC_CLAIM_LEASE_DIRECTORY_H
#define HC_CLAIM_LEASE_DIRECTORY_H

#include <base/error.h>
#include <repo/repo.h>

#include <stdbool.h>
#include <stdint.h>

#define HC_LEASES_PATH ".hubcache/leases"

/* -1 and errno. With NULL for the commit it is the directory above, of the repo. */
int hc_lease_directory_open(int root, const struct hc_repo *repo, const char *commit);

/* The same; makes the directories that are missing, and flushes their names. */
int hc_lease_directory_make(int root, const struct hc_repo *repo, const char *commit);

/* Whether `errnum` says that the directory was removed since it was opened. */
bool hc_lease_directory_is_gone(int errnum);

/* When the lease of that name ends: 1; 0 when there is none; -1. */
int hc_lease_end_ms(int dir, const char *name, int64_t *until_ms);

/* Removes an entry of it that is a lease which has ended, or a bar whose process is gone.
 * Returns how many leases. */
unsigned hc_lease_clean_entry(int dir, const char *entry, int64_t now_ms);

/* Removes leases that have ended and a bar whose process is gone; whether any entry is
 * left. */
bool hc_lease_directory_clean(int dir, int64_t now_ms);

#endif
