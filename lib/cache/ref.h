/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refs/<revision>: which commit a name meant when a client last heard it from the Hub.
 * The file's mtime is when that was. 40 bytes, no newline; trailing white space is read. A
 * commit means itself: a ref that has the name of one is never written and never read.
 */
#ifndef HC_CACHE_REF_H
#define HC_CACHE_REF_H

#include "cache.h"

#include <stdint.h>

struct hc_ref {
    char commit[HC_COMMIT_SIZE];
    int64_t heard_ms; /* mtime, milliseconds since the epoch */
};

/* What a ref's `content` says, which is trimmed in place; false: it names no commit. */
bool hc_ref_parse(char *content, char commit[HC_COMMIT_SIZE]);

/* 1 known; 0 not, or the content is no commit. */
int hc_ref_find(const struct hc_cache *cache, const struct hc_repo *repo,
                const char *revision, struct hc_ref *ref, struct hc_error *err);

/*
 * Records that the Hub just said `revision` means `commit`: publishes the file when it
 * says something else, else only sets its mtime. Does nothing when `revision` is the
 * commit; BAD_HUB_REPLY when it is another one. A ref whose name is in the way (`release`
 * of `release/v1`, or the reverse) is dead and removed; when it cannot be, the revision is
 * left without a ref.
 */
int hc_ref_update(const struct hc_cache *cache, const struct hc_repo *repo,
                  const char *revision, const char *commit, struct hc_error *err);

/* The ref counts as never heard, for all who would have it fresh; what it says stays. */
void hc_ref_expire(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *revision);

#endif
