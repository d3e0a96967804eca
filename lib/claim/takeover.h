/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one claim of a blob (claim.h) follows another that is in its place, so that of many
 * who would follow, one does, and the bytes that are there are never lost or anybody
 * else's. Not thread-safe.
 */
#ifndef HC_CLAIM_TAKEOVER_H
#define HC_CLAIM_TAKEOVER_H

#include "claim_record.h"

#include <base/cancellation.h>

/* Who claimed the blob before. */
enum hc_claim_state {
    HC_CLAIM_FREE,
    HC_CLAIM_ABANDONED,
    HC_CLAIM_HELD,
    HC_CLAIM_UNREADABLE /* the claim cannot be read just now */
};

struct hc_takeover {
    int root;         /* borrowed, as the next three */
    const char *path; /* where the blob's claim is */
    const struct hc_blob_id *blob;
    uid_t uid; /* ours, see hc_claim_owner_uid() */
    enum hc_claim_state state;
    char partial[NAME_MAX + 1];     /* the file it names, by which it is known; or "" */
    struct hc_claim_record earlier; /* whose `incomplete` is where its bytes are; or "" */
};

/* Fills `standing` and `earlier`. `now_ms`: by the volume's clock, as below. */
void hc_takeover_inspect(struct hc_takeover *takeover, int64_t now_ms);

/* False: somebody else follows that claim, or it is not there any more. */
bool hc_takeover_begin(const struct hc_takeover *takeover, int64_t now_ms);

/*
 * With our claim in its place: gives the earlier one's bytes the name `ours`. The file of
 * a process that is gone is renamed, that of one that may come back, or of another user,
 * is copied. False when that cannot be.
 */
bool hc_takeover_adopt_partial(const struct hc_takeover *takeover, const char *name,
                               struct hc_cancellation *cancellation);

/* Removes what is left of who is gone. */
void hc_takeover_remove_earlier(const struct hc_takeover *takeover);

/*
 * Where a claim is found that another one followed: "<path>.<8 hex of its file>". False
 * when it has no such name.
 */
bool hc_superseded_claim_path(char superseded[PATH_MAX], const char *path,
                              const char *incomplete);

#endif
