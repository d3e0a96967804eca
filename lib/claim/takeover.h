/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process that wants a blob watches another one that has it, and how it takes over
 * the claim (claim.h) and the partial file when that one is gone or has stalled. Of many
 * that try, one succeeds, and the bytes that have arrived are neither lost nor written by
 * two processes.
 *
 * The steps of a takeover, each of which shows on the volume; C is the claim file of the
 * blob, S is C.<8 hex of the partial file that C names>:
 *
 *   inspect       C is read: see enum hc_claim_state.
 *   begin         link(2) gives C the second name S. It succeeds for one process; for the
 *                 others S exists, and they go on waiting.
 *   put in place  the successor's own claim is renamed over C. When the owner is gone it
 *                 names both partial files, the new one as `incomplete` and the earlier
 *                 one as `previous`.
 *   adopt         the earlier partial file is renamed to the new name, or copied when its
 *                 owner may still write to it.
 *   end           of an owner that is gone, the earlier partial file and S are removed.
 *                 An owner that stalled may come back: it finds its claim superseded as
 *                 S, goes on with its own partial file, and removes both when it ends;
 *                 otherwise the sweep does so once it is gone.
 *
 * A successor may die after each step. After `begin`, S stands beside its own C: when it
 * is older than a few seconds, the next process removes it and begins again. After `put
 * in place`, C is an abandoned claim that names the bytes by one of its two names, so the
 * next takeover finds them. After `adopt`, only files are left that the sweep removes.
 *
 * A holder or a takeover belongs to one thread.
 */
#ifndef HC_CLAIM_TAKEOVER_H
#define HC_CLAIM_TAKEOVER_H

#include "claim_record.h"

#include <base/cancellation.h>

/*
 * Another process that fetches the blob: one of hubcache, known by its claim, or another
 * client, known by a partial file that grows. No clock but the caller's `now_ms`, a
 * monotonic one, tells how long it has stalled: what counts is whether claim or files
 * changed between two looks at them.
 */
struct hc_claim_holder {
    const struct hc_cache *cache; /* borrowed, as the names in the next */
    struct hc_blob_id blob;
    /* Set it after init: other clients' files do not count, but a claim does even when
     * its owner is gone. */
    bool only_claims;
    bool is_present; /* there is a claim or a partial file */
    bool has_claim;  /* there is a claim, with a heartbeat also while no byte comes */
    char partial[NAME_MAX + 1]; /* that the claim names, by which it is known; or "" */
    uint64_t bytes;             /* that have arrived there */
    uint64_t claim_signature;   /* differs when the claim has changed, */
    uint64_t files_signature;   /* or a partial file */
    int64_t progressed_ms;      /* when one of them changed last */
    int64_t polled_ms;
};

void hc_claim_holder_init(struct hc_claim_holder *holder, const struct hc_cache *cache,
                          const struct hc_blob_id *blob, int64_t now_ms);

/* Reads claim and files, four times a second at most; false when it did so shortly
 * before. */
bool hc_claim_holder_poll(struct hc_claim_holder *holder, int64_t now_ms);

/* Whether nothing has changed for `for_ms`; reads claim and files again before it says
 * so. */
bool hc_claim_holder_is_stalled(struct hc_claim_holder *holder, int64_t for_ms,
                                int64_t now_ms);

enum hc_claim_state {
    HC_CLAIM_FREE,      /* there is no claim file */
    HC_CLAIM_HELD,      /* its owner lives, as far as can be told */
    HC_CLAIM_ABANDONED, /* its owner is gone, or gave it up; or it is malformed */
    HC_CLAIM_UNREADABLE /* it may name a partial file, but cannot be read just now */
};

struct hc_takeover {
    int root;         /* borrowed, as the next two */
    const char *path; /* of the blob's claim file */
    const struct hc_blob_id *blob;
    uid_t uid;                  /* hc_claim_owner_uid() of the successor */
    int64_t now_ms;             /* hc_volume_now_ms() */
    enum hc_claim_state state;  /* set by hc_takeover_inspect(), as the next two */
    char partial[NAME_MAX + 1]; /* that the claim names, by which it is known; or "" */
    struct hc_claim_record earlier; /* its `partial` is where the bytes are; or "" */
};

/* Reads the claim. The other members are set by then. */
void hc_takeover_inspect(struct hc_takeover *takeover);

/* False when another process takes that claim over, or it is there no more. */
bool hc_takeover_begin(const struct hc_takeover *takeover);

/*
 * Gives the earlier partial file the name `name`, once the successor's claim is in place;
 * a copy ends with `cancellation`. False when there are no bytes under that name
 * afterwards.
 */
bool hc_takeover_adopt_partial(const struct hc_takeover *takeover, const char *name,
                               struct hc_cancellation *cancellation);

/* Removes what is left of an owner that is gone. */
void hc_takeover_end(const struct hc_takeover *takeover);

/* S, of the claim at `path` that names `partial`. False when it has no such name. */
bool hc_superseded_claim_path(char superseded[PATH_MAX], const char *path,
                              const char *partial);

#endif
