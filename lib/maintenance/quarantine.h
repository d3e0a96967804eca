/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/quarantine/<repo folder>/<etag>.<time>: corrupt blobs, for an operator to
 * look at. Beside each, <etag>.<time>.json says what it hashes to and which files led to
 * it.
 *
 * A blob is moved under its lock, in an order that readers and crashes do not mind:
 *
 *   1. the record: from now on a resolution that finds a file missing can say why
 *   2. the blob is renamed: pointers dangle, which every client takes for absent
 *   3. the pointers are removed, so that the reference client's scanner finds none that
 *      dangles, and what this process remembers of them is forgotten
 *
 * If the blob can be fetched again, its path need not vanish: hc_quarantine_link() gives
 * the file a name in the quarantine, and then right bytes are renamed over the blob.
 *
 * A payload of the shared store (§1.9) is moved only if no repo that has it under another
 * name proves it right; then every repo's symlink to it is removed, and its manifest.
 *
 * The quarantine has a limit (quarantine_limit.h). Callable from any thread.
 */
#ifndef HC_MAINTENANCE_QUARANTINE_H
#define HC_MAINTENANCE_QUARANTINE_H

#include "blob_check.h"

#include <base/text.h>
#include <cache/cache.h>

#define HC_QUARANTINE_PATH ".hubcache/quarantine"

struct hc_quarantined {
    char path[PATH_MAX];        /* where the blob is now */
    struct hc_strings pointers; /* files of snapshots that led to it, below the root */
};

/*
 * Moves what `check` has found corrupt. 1: moved; 0: left, because it is being fetched,
 * or is another file by now; -1: `quarantined` says how far it came. The caller clears
 * `quarantined` in every case.
 */
int hc_quarantine_move(const struct hc_cache *cache, const struct hc_repo *repo,
                       const struct hc_blob_check *check,
                       struct hc_quarantined *quarantined, struct hc_error *err);
void hc_quarantined_clear(struct hc_quarantined *quarantined);

/* The same, but the blob stays in its place, too: for a caller that fetches it anew next,
 * over it. 0 also of a file without pointers, or that cannot have a second name: a plain
 * file of a snapshot, a payload, and any file of a volume without hard links. */
int hc_quarantine_link(const struct hc_cache *cache, const struct hc_repo *repo,
                       const struct hc_blob_check *check,
                       struct hc_quarantined *quarantined, struct hc_error *err);

/* Takes the second name back, and clears `quarantined`. */
void hc_quarantine_unlink(const struct hc_cache *cache,
                          struct hc_quarantined *quarantined);
HC_DEFINE_AUTO_VALUE(hc_quarantined, hc_quarantined_clear)

/* Adds the files of snapshots of `repo` that lead to blobs/<etag>. */
int hc_quarantine_find_pointers(const struct hc_cache *cache, const struct hc_repo *repo,
                                const char *etag, struct hc_strings *pointers,
                                struct hc_error *err);

/* Whether a file of the repo, "<commit>/<path>", was quarantined and is not back. It
 * reads a bounded number of records. */
bool hc_quarantine_has(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *commit, const char *path);

/* Completes what a process has begun that died after the rename: removes the pointers
 * that the record `name` of the open quarantine names, and that dangle. A record may say
 * anything: only a path that a pointer can have counts. */
void hc_quarantine_complete(const struct hc_cache *cache, int dir, const char *name);

#endif
