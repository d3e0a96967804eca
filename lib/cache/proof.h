/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/proofs/<repo folder>/<commit>: which files of a commit's listing were seen
 * whole in its snapshot. On a volume where each look takes its time, the next process, or
 * another replica, then looks at a few directories instead of each file.
 *
 * A proof states the facts that it depends on: the listing, by its hash; and the inode,
 * mtime and ctime of each directory of the snapshot and of the repo's blobs/. A pointer
 * or blob that any client adds, replaces or removes changes one of these. The proof
 * counts only if all facts are still so, byte by byte; anything else in its file is no
 * proof.
 *
 * What the facts do not show: bytes that a client changes within a blob. So each file is
 * looked at again once an hour (hc_proof_is_old). And a change in the same tick of the
 * file system's clock as the one before: so no proof is written within two seconds of the
 * last change. A client that forges a proof could as well forge the listing or the blobs.
 *
 * A proof belongs to one thread.
 */
#ifndef HC_CACHE_PROOF_H
#define HC_CACHE_PROOF_H

#include "cache.h"

#include <base/parallel.h>
#include <repo/tree.h>

enum {
    HC_PROOF_DIRECTORIES_MAX = 1024, /* of a snapshot; one with more has no proof */
    HC_PROOF_MIN_AGE_MS = 2 * 1000,
    HC_PROOF_OLD_MS = 60 * 60 * 1000
};

struct hc_proof;

/*
 * Looks at the directories, side by side (`run` and `ctx` of `looks` do not matter), and
 * reads the file. `place` has no path; it and `tree` are borrowed. NULL: the directories
 * cannot be looked at, are too many, or are none. To be opened before the first look at a
 * file that is added to it.
 */
struct hc_proof *hc_proof_open(const struct hc_cache *cache,
                               const struct hc_repo_file *place,
                               const struct hc_tree *tree,
                               const struct hc_parallel *looks);
void hc_proof_close(struct hc_proof *proof);
HC_DEFINE_AUTO(hc_proof, hc_proof_close)

/* Whether the entry of that number was seen whole, and still is. */
bool hc_proof_has(const struct hc_proof *proof, size_t entry);

/* For an entry that is seen whole, or is not, in the repo's own blobs/ or as a plain
 * file. */
void hc_proof_set(struct hc_proof *proof, size_t entry, bool is_whole);

/* Whether it says something new. */
bool hc_proof_is_changed(const struct hc_proof *proof);

/* Writes the proof; or removes it if a directory changed too recently. `opened_ms` is the
 * time of the volume's clock when the proof was opened. */
void hc_proof_save(const struct hc_proof *proof, int64_t opened_ms);

/* Whether its files should be looked at again: true for one caller, and on one replica,
 * in an hour. */
bool hc_proof_is_old(const struct hc_proof *proof);

/* Removes the proof of a commit, of which files are removed. */
void hc_proof_drop(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *commit);

/* Removes proofs that were not written for a month. */
void hc_proof_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
