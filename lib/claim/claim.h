/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claim of a blob: the file .hubcache/transfers/<repo folder>/<etag>, by which a
 * process tells the other replicas of a volume that it fetches the blob, into which
 * partial file, and which bytes have arrived there (claim_record.h). The file's mtime is
 * its heartbeat. A claim is a lease: where flock does nothing, it keeps two replicas from
 * fetching the same bytes. It is advice all the same; no reader is ever given wrong bytes
 * for the lack of one.
 *
 * States of a claim, and what moves one to the next:
 *
 *   free        No claim file of the blob.
 *               → held: hc_claim_acquire() links a new file into place; of two, one can.
 *   held        The file names a process that lives: one of this host with that pid and
 *               start time, or one of another host with a heartbeat in the last
 *               HC_HEARTBEAT_TIMEOUT_MS.
 *               → free: hc_claim_drop() removes the file, after a commit or a failure.
 *               → abandoned: hc_claim_abandon() writes pid 0, so that the bytes can be
 *                 resumed; or the owner dies, and its pid or heartbeat is missed.
 *               → superseded: a waiter finds it stalled (takeover.h) and takes it over.
 *   stalled     Held, but neither claim nor partial file has changed for longer than a
 *               waiter allows. On the volume it is a held claim with an old mtime.
 *   abandoned   The file names pid 0, no process of this host, or has no heartbeat.
 *               → held: the next hc_claim_acquire() takes it over, and renames the
 *                 partial file to the name in its own claim.
 *               → free: hc_claim_sweep() removes claim and partial file when these are
 *                 not worth keeping, and hc_claim_reclaim() when another repo needs the
 *                 space.
 *   superseded  The file has the name <etag>.<8 hex> beside the successor's. Its owner,
 *               if it comes back, goes on with its own partial file, and may even commit
 *               it first.
 *               → removed: by its owner's hc_claim_drop(), by a successor of an abandoned
 *                 claim at once, or by the sweep when its owner is gone.
 */
#ifndef HC_CLAIM_CLAIM_H
#define HC_CLAIM_CLAIM_H

#include "claim_record.h"

#include <base/cancellation.h>

#include <stdint.h>
#include <sys/types.h>

struct hc_claim;

struct hc_claim_options {
    uint64_t piece_length; /* Optional: see hc_pieces_new() */
    const char *stalled;   /* Optional: the partial file of a holder that has stalled */
                           /* (hc_claim_holder.partial), which is taken over */
    struct hc_cancellation *cancellation; /* Optional: ends the copy of its bytes */
};

/*
 * Claims a blob whose lock the caller has, with a fresh name for its partial file. 1 and
 * the claim; 0 when another process holds one, or is about to take an earlier one over:
 * watch it (takeover.h) and try again. A claim that cannot be written does not fail the
 * transfer: -1 only when there is no memory, or no name for the partial file.
 */
int hc_claim_acquire(const struct hc_cache *cache, const struct hc_blob_request *request,
                     const struct hc_claim_options *options, struct hc_claim **claim,
                     struct hc_error *err);

/* Which bytes of the blob have arrived: after a takeover, those that are in the partial
 * file already. Borrowed until the drop. */
struct hc_pieces *hc_claim_pieces(const struct hc_claim *claim);

/*
 * The user that the volume takes this process for, as the owner of its claim file shows:
 * an NFS server may map root to another one. A partial file of another user is copied,
 * not renamed, and not resumed in place: its owner may still have it open for writing.
 */
uid_t hc_claim_owner_uid(const struct hc_claim *claim);

/* "<repo folder>/blobs/<etag>.<8 hex>.incomplete", relative to the root. Borrowed. */
const char *hc_claim_partial_path(const struct hc_claim *claim);

/*
 * NO_SPACE, which names both figures, when the volume of `fd` has not `needed` bytes for
 * the blob beyond what is reserved for claims and reservations that began earlier, even
 * after the cache's reclaimers were asked (base/free_space.h).
 */
int hc_claim_require_space(const struct hc_claim *claim, int fd, uint64_t needed,
                           struct hc_cancellation *cancellation, struct hc_error *err);

/*
 * Writes the progress when a mebibyte has come since it was written last, and the
 * heartbeat when it is due. The heartbeat thread calls it too. Callable from any thread.
 */
void hc_claim_heartbeat(struct hc_claim *claim);

/*
 * Leaves the claim and its partial file to the next process that wants the blob. False
 * when there is no claim file to say so. Drop it afterwards all the same.
 */
bool hc_claim_abandon(struct hc_claim *claim);

/* Removes the claim file unless it was abandoned. NULL is fine. */
void hc_claim_drop(struct hc_claim *claim);
HC_DEFINE_AUTO(hc_claim, hc_claim_drop)

/* Bytes of a blob that have arrived with its current or an abandoned claim. */
uint64_t hc_claim_arrived_bytes(const struct hc_cache *cache,
                                const struct hc_blob_id *blob);

#endif
