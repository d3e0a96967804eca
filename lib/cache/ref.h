/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refs/<revision>: which commit a revision meant when a client last asked the Hub, and,
 * as the file's mtime, when that was. 40 bytes and no newline, as the reference client
 * writes it; one that an editor has added is read (§2.1 step 7). Callable from any
 * thread.
 *
 * A commit means itself: a ref with the name of a commit is never written and never read.
 */
#ifndef HC_CACHE_REF_H
#define HC_CACHE_REF_H

#include "cache.h"
#include "memo.h"

#include <stdint.h>

struct hc_ref {
    char commit[HC_COMMIT_SIZE];
    int64_t confirmed_ms; /* by the Hub; milliseconds since the epoch */
    struct hc_memo_term term;
};

/* Trims `content`, that of a ref, in place, and copies its commit; false: it has none. */
bool hc_ref_parse(char *content, char commit[HC_COMMIT_SIZE]);

/* 1: known; 0: there is no such ref, or its content is no commit. One system call when
 * the memo has it. */
int hc_ref_find(const struct hc_cache *cache, const struct hc_repo *repo,
                const char *revision, struct hc_ref *ref, struct hc_error *err);

/* The commit that `revision` is, or that its ref names: 1; 0: there is no such ref; -1,
 * also INVALID_REVISION. */
int hc_ref_find_commit(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *revision, char commit[HC_COMMIT_SIZE],
                       struct hc_error *err);

/* True, and the ref, when the last look at it is recent (memo.h): no system call.
 * `is_due` becomes true when the caller is to look again, away from its own caller. */
bool hc_ref_recall(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *revision, struct hc_ref *ref, bool *is_due);

/*
 * Records that the Hub just said that `revision` means `commit`: publishes the file when
 * its content is another, else only sets its mtime. Does nothing when `revision` is the
 * commit; BAD_HUB_REPLY when it is another commit. A ref whose name is in the way
 * (`release` of `release/v1`, or the reverse) is removed; if it cannot be, the revision
 * is left without a ref.
 */
int hc_ref_update(const struct hc_cache *cache, const struct hc_repo *repo,
                  const char *revision, const char *commit, struct hc_error *err);

/* The same for a ref whose commit the Hub has said again, but that publishes nothing: a
 * ref that was removed meanwhile, with its snapshot, stays removed. */
void hc_ref_confirm(const struct hc_cache *cache, const struct hc_repo *repo,
                    const char *revision, const char *commit);

/* Sets the mtime to the epoch: the next caller that wants it fresh asks the Hub. Its
 * commit stays. */
void hc_ref_expire(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *revision);

#endif
