/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A duplicate: the same blob in another repo of this cache. Forks, quantizations and
 * datasets share files, and etags are hashes, so the bytes need not come a second time.
 * Callable from any thread.
 *
 * A duplicate is cloned where the filesystem can: then there are two files, one of which
 * may be written to or removed without the other. Else it is linked: every client removes
 * and replaces blobs by name like any file; a program that writes into a blob in place
 * breaks both, as in the store that the Hub's clients share between repos (§1.9). Only a
 * file that is readable by all who could read our own is linked, and never a file of that
 * store, which counts its links. Either way, its bytes are hashed before they are
 * believed: other clients do not verify.
 */
#ifndef HC_STORE_DUPLICATE_H
#define HC_STORE_DUPLICATE_H

#include <cache/cache.h>

#include <stdint.h>

enum { HC_DUPLICATE_MIN_BYTES = 1024 * 1024 }; /* smaller ones are quicker fetched */

/* Whether another repo has it, of that size; never for an etag that is no hash. `path` is
 * set to its path, relative to the root. */
bool hc_duplicate_find(const struct hc_cache *cache, const struct hc_blob_id *blob,
                       uint64_t size, char path[PATH_MAX]);

enum hc_duplicate_kind { HC_DUPLICATE_NONE, HC_DUPLICATE_CLONED, HC_DUPLICATE_LINKED };

/*
 * Gives `fd`, the new and empty file at `path`, the bytes of the duplicate. When it was
 * linked, `path` names another file afterwards, and `fd` is of no use.
 */
enum hc_duplicate_kind hc_duplicate_use(const struct hc_cache *cache,
                                        const char *duplicate, int fd, const char *path);

#endif
