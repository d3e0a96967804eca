/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over blobs of the cache (<hubcache/verification.h>), without the repairs: it
 * hashes each selected blob once, moves corrupt ones to quarantine, and finds leftovers.
 * Repos are verified in the order of their folders' names, and the blobs of each by name,
 * so that a pass can be continued from a position. Callable from any thread.
 *
 * What has no symlinks is verified by the listing of its commit: the plain files of its
 * snapshot, and the sizes of blobs whose names are no hashes.
 */
#ifndef HC_MAINTENANCE_VERIFICATION_H
#define HC_MAINTENANCE_VERIFICATION_H

#include <cache/cache.h>
#include <hubcache/verification.h>

/* Where a pass is: after this file of this repo. */
struct hc_verify_position {
    char folder[HC_REPO_FOLDER_MAX + 1]; /* "": at the beginning */
    char path[PATH_MAX];                 /* below the folder; "": before its first file */
};

struct hc_verification {
    /* Required. */
    const struct hc_cache *cache;
    const struct hc_verify_request *request; /* its `found` is not called */

    /* Optional: what is told of each finding; may set its `action`. -1 ends the pass. */
    int (*found)(void *ctx, struct hc_finding *finding, struct hc_error *err);
    /* Optional: fetches right bytes over a corrupt blob, which the finding's pointers
     * lead to, so that these never vanish. -1: it could not; then the blob is moved. */
    int (*fetch_over)(void *ctx, const struct hc_finding *finding, struct hc_error *err);
    /* Optional: called after each file. -1 ends the pass. */
    int (*passed)(void *ctx, const struct hc_verify_position *position,
                  const struct hc_verify_result *result, struct hc_error *err);
    void *ctx;

    const struct hc_verify_position *after; /* Optional: where it continues */
    bool is_idle; /* no caller waits: CPU, too, only when no other thread wants it */
    struct hc_cancellation *cancellation; /* Optional. */
};

/* `result` is zeroed, and says how far it came also after a failure. */
int hc_verification_run(const struct hc_verification *verification,
                        struct hc_verify_result *result, struct hc_error *err);

#endif
