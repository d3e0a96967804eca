/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same blob in another repo of this cache: forks, quantizations and datasets share
 * files, and etags are hashes, so the bytes need not come a second time. Callable from
 * any thread.
 *
 * A clone where the filesystem has such: two files then, one of which may be written to
 * or removed without the other's noticing. Else a hard link, which every client removes
 * and replaces by name like any file; whoever writes into a blob in place breaks both, as
 * with the store that the Hub's clients share between repos themselves (§1.9). Only a
 * file that others may read as they could our own is linked, and never what is in that
 * store, whose files it counts. Whatever it is, its bytes are hashed before they are
 * believed: other clients do not verify.
 */
#ifndef HC_STORE_DUPLICATE_H
#define HC_STORE_DUPLICATE_H

#include <cache/cache.h>

#include <stdint.h>

enum { HC_DUPLICATE_MIN_BYTES = 1024 * 1024 }; /* smaller ones are quicker fetched */

/* Whether another repo has it, of that size; none has one whose name is no hash. `path` is
 * relative to the root. */
bool hc_duplicate_find(const struct hc_cache *cache, const struct hc_blob_id *blob,
                       uint64_t size, char path[PATH_MAX]);

enum hc_duplicate_kind { HC_DUPLICATE_NONE, HC_DUPLICATE_CLONED, HC_DUPLICATE_LINKED };

/*
 * Makes `fd`, the new and empty file at `path`, the same as the twin. Linked: the name is
 * another file's now, and `fd` of no use.
 */
enum hc_duplicate_kind hc_duplicate_use(const struct hc_cache *cache,
                                        const char *duplicate, int fd, const char *path);

#endif
