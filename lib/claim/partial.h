/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partial files: <folder>/blobs/<etag>.<8 hex>.incomplete, the bytes of a blob that is
 * not whole. The name is the one that the reference client gives its own (§1.5), so that
 * its prune finds ours; which of them are ours, only a claim says. Callable from any
 * thread.
 */
#ifndef HC_CLAIM_PARTIAL_H
#define HC_CLAIM_PARTIAL_H

#include <base/cancellation.h>
#include <repo/blob_request.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Whether it is "<etag>.<8 hex>.incomplete" and nothing else. */
bool hc_partial_is_of(const char *name, const char *etag);

/*
 * Removes, renames, finds or copies a file of <folder>/blobs; no part of the path may be
 * a symlink. False when there is no such file, or it cannot be done.
 */
bool hc_partial_remove(int root, const char *folder, const char *name);
bool hc_partial_rename(int root, const char *folder, const char *from, const char *to);
bool hc_partial_exists(int root, const char *folder, const char *name);
bool hc_partial_belongs_to(int root, const char *folder, const char *name, uid_t uid);

/* The copy ends early, and is removed, when `cancellation` is set. */
bool hc_partial_copy(int root, const char *folder, const char *from, const char *to,
                     struct hc_cancellation *cancellation);

/*
 * All partial files of a blob together, those of other clients included: the size of the
 * largest one, and a number that differs when one of them has grown, or there is another
 * one. False when there is none.
 */
bool hc_partial_measure(int root, const struct hc_blob_id *blob, uint64_t *largest,
                        uint64_t *signature);

#endif
