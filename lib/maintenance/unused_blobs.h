/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes blobs out of a repo: those that the pointers in a trash led to, or that the
 * caller names, and to which no pointer of the repo leads.
 *
 * Another process may make a pointer to such a blob at any moment. So a blob is moved to
 * the trash, with its lock held, then the pointers are looked at once more, and it is
 * moved back if one leads to it. A process that makes a pointer looks afterwards whether
 * its blob is there (hc_pointer_link): so one of the two sees the other.
 */
#ifndef HC_MAINTENANCE_UNUSED_BLOBS_H
#define HC_MAINTENANCE_UNUSED_BLOBS_H

#include "hold.h"
#include "trash.h"

struct hc_unused_blobs {
    const struct hc_cache *cache;
    const struct hc_repo *repo;
    struct hc_trash *trash;
    int64_t now_ms;                /* hc_volume_now_ms() */
    const struct hc_strings *also; /* Optional: etags of others that may be unused */
    /* Optional: told of each blob that has been taken (HC_HELD_BY_NONE), or was not. */
    void (*note)(void *ctx, const char *etag, const struct hc_hold *hold);
    void *ctx;
};

/* -1 when the pointers, or the blobs' directory, cannot be read: then all blobs stay.
 * Payloads of the shared store to which the last symlink is in the trash are removed. */
int hc_unused_blobs_take(const struct hc_unused_blobs *blobs, struct hc_error *err);

#endif
