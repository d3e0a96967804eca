/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshots/<commit>/<path>, a pointer: a relative symlink to blobs/<etag>, which has the
 * bytes of the file under the name that the Hub's hash gives them. A blob that can be
 * found is whole and verified, unless another client wrote it: store/ingest.h says how it
 * gets there. Callable from any thread.
 *
 * What other clients made is read as well: chains of symlinks into the shared blob store
 * (§1.9), and plain files in snapshots where symlinks were not available (§1.7). A
 * pointer whose blob is gone is absent, and so is a blob that has lost its bytes.
 */
#ifndef HC_CACHE_POINTER_H
#define HC_CACHE_POINTER_H

#include "cache.h"
#include "memo.h"

#include <stdint.h>

struct hc_pointer {
    char cache_path[PATH_MAX];
    char etag[HC_ETAG_MAX + 1]; /* the last part of the link; "" for a plain file */
    uint64_t size;              /* bytes of the blob */
    struct hc_memo_term term;
    bool is_direct; /* a plain file, or a link to blobs/ of the same repo as we make it */
};

/*
 * 1 when `path` is a regular file in that snapshot, seen through symlinks; 0 otherwise
 * (directories are not files, nor is an emptied blob). Two or three system calls: stat,
 * readlink unless the memo has it, and at most once a minute the blob's atime is set to
 * now.
 */
int hc_pointer_find(const struct hc_cache *cache, const struct hc_repo *repo,
                    const char *commit, const char *path, struct hc_pointer *pointer,
                    struct hc_error *err);

/* True, and the pointer, when the last look at it is recent (memo.h): no system call.
 * `is_due` becomes true when the caller is to look again, away from its own caller. */
bool hc_pointer_recall(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *commit, const char *path, struct hc_pointer *pointer,
                       bool *is_due);

/* The etag in `target`, the link of a pointer to the file `path`, if the link leads to
 * blobs/ of the same repo as we make it; else NULL. */
const char *hc_pointer_parse(const char *target, const char *path);

/* The etag that the symlink `name` ends with, wherever it leads: 1. 0, and "": it ends
 * with none, or there is no symlink of that name. -1, and errno: it cannot be read. */
int hc_pointer_read_etag(int dir, const char *name, char etag[HC_ETAG_MAX + 1]);

/*
 * Makes the pointer to blobs/<etag>, which must exist, by symlink under a private name
 * and rename; replaces what is there, also a pointer in the place of one of its
 * directories, and a directory of pointers in its own. `file->revision` is the commit.
 * Where symlink(2) fails for another cause than space or the name, or symlinks are
 * disabled, `may_move` moves the blob to the pointer's place, else it is copied (§1.7).
 * 0; 1 when the blob is not there, as when another thread or process has just moved or
 * removed it; -1.
 */
int hc_pointer_link(const struct hc_cache *cache, const struct hc_repo_file *file,
                    const char *etag, bool may_move, struct hc_error *err);

/*
 * Flushes the names on the way to a pointer, from its directory to the cache root, so
 * that they survive power loss; with no `path`, all of that snapshot.
 */
int hc_pointer_sync(const struct hc_cache *cache, const struct hc_repo_file *file,
                    struct hc_error *err);

/* 1 and its size when the blob is there (through symlinks, a regular file, not emptied);
 * else 0. */
int hc_blob_find(const struct hc_cache *cache, const struct hc_blob_id *blob,
                 uint64_t *size, struct hc_error *err);

/*
 * Whether a file of that name and size has lost its bytes: it has none, and its name is
 * the hash of some. A crash without a flush leaves such files of clients that do not
 * flush.
 */
bool hc_blob_is_emptied(const char *etag, uint64_t size);

/* Whether a blob that should have `expected` bytes, or HC_SIZE_UNKNOWN, may have
 * `size`. */
bool hc_blob_size_matches(uint64_t expected, uint64_t size);

#endif
