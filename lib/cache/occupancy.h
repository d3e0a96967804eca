/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The occupancy of a cache: the bytes of the volume that its blobs take, known without a
 * scan at each download. It is the result of a scan, plus what all processes of the
 * volume have added and removed since. Each process counts that in a file of its own,
 * which the others read: .hubcache/occupancy/process.<8 hex>.
 *
 * Room is counted by the blocks of each inode once, so that a blob with several names
 * counts once. A clone (ioctl_ficlone(2)) counts as a copy: the blocks that it shares
 * cannot be told. Partial files that have a claim are not part of it: the claims say how
 * long they are. Callable from any thread.
 */
#ifndef HC_CACHE_OCCUPANCY_H
#define HC_CACHE_OCCUPANCY_H

#include "cache.h"

#include <stddef.h>
#include <stdint.h>

enum {
    HC_OCCUPANCY_KEEP_MS = 600 * 1000 /* how long the file of a process that is gone stays
                                         for the others to read */
};

struct hc_occupancy;
struct stat;

struct hc_occupancy *hc_occupancy_new(const struct hc_cache *cache, struct hc_error *err);

/* The file stays. Before the heartbeats of the cache end. NULL is fine. */
void hc_occupancy_free(struct hc_occupancy *occupancy);
HC_DEFINE_AUTO(hc_occupancy, hc_occupancy_free)

/* This process has added or removed a file that takes so many bytes. Other processes see
 * it before this returns, unless it is less than a mebibyte: then within a second. */
void hc_occupancy_add(struct hc_occupancy *occupancy, uint64_t bytes);
void hc_occupancy_remove(struct hc_occupancy *occupancy, uint64_t bytes);

/* What a file takes, if this is its last name; else 0. */
uint64_t hc_occupancy_of_file(const struct stat *status);

/*
 * 1 and the bytes; 0: neither this process nor another one has scanned the cache. Reads
 * the files of the other processes. Its argument is a struct hc_occupancy, so that it is
 * an hc_occupied_fn (base/free_space.h).
 */
int hc_occupancy_find(void *ctx, uint64_t *bytes);

/* The same as it was found last, without a look at the volume; false: never. */
bool hc_occupancy_recall(const struct hc_occupancy *occupancy, uint64_t *bytes);

/* What all processes had added by the beginning of a scan. */
struct hc_occupancy_scan {
    uint64_t added;
};

/*
 * Around a scan, which has found `bytes`. What is added meanwhile counts in any case, and
 * what is removed meanwhile never, whether or not the scan has seen it: until the next
 * scan the occupancy is too large by that at most, and not too small.
 */
struct hc_occupancy_scan hc_occupancy_begin_scan(struct hc_occupancy *occupancy);
void hc_occupancy_end_scan(struct hc_occupancy *occupancy,
                           const struct hc_occupancy_scan *scan, uint64_t bytes);

/* Removes the files of processes that have been gone for HC_OCCUPANCY_KEEP_MS. */
void hc_occupancy_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
