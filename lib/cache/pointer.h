/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshots/<commit>/<path>: a symlink, relative, to the blob. What other clients made is
 * read as well: chains of symlinks into the shared blob store, and plain files where
 * symlinks were not to be had. A pointer whose blob is gone is absent.
 */
#ifndef HC_CACHE_POINTER_H
#define HC_CACHE_POINTER_H

#include "cache.h"

#include <stdint.h>

struct hc_pointer {
    char cache_path[PATH_MAX];
    char etag[HC_ETAG_MAX + 1]; /* the last part of the link; "" for a plain file */
    uint64_t size;
};

/*
 * 1 when `path` is a regular file in that snapshot, seen through symlinks; 0 otherwise
 * (directories are not files, nor is an emptied blob). Two or three system calls: stat,
 * readlink, and at most once a minute the blob's atime is set to now.
 */
int hc_pointer_find(const struct hc_cache *cache, const struct hc_repo *repo,
                    const char *commit, const char *path, struct hc_pointer *pointer,
                    struct hc_error *err);

/*
 * Makes the pointer to blobs/<etag>, which must exist, by symlink under a private name
 * and rename; replaces what is there, also a pointer in the place of one of its
 * directories, and a directory of pointers in its own. Where symlink(2) fails for
 * another cause than room or the name, or symlinks are unwanted, `may_move` moves the
 * blob to the pointer's place, else it is copied (§1.7). 0; 1 when the blob is
 * not there, as when somebody who brought it has moved it just now; -1.
 */
int hc_pointer_link(const struct hc_cache *cache, const struct hc_repo_file *file,
                    const char *etag, bool may_move, struct hc_error *err);

/*
 * Flushes the names on the way to a pointer, from its directory to the cache root, so
 * that they survive power loss; with no `path`, all of that snapshot.
 */
int hc_pointer_sync(const struct hc_cache *cache, const struct hc_repo_file *file,
                    struct hc_error *err);

#endif
