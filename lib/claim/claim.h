/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/transfers/<repo folder>/<etag>: who is fetching a blob (host, pid, when it
 * started), under which private name, and which of its bytes are there. The file's mtime
 * is its heartbeat. A claim is a lease: where flock does nothing, it is what keeps two
 * replicas from fetching the same bytes. Still only advice: correctness never rests on
 * it. It lets whoever fetches the blob next go on where a transfer ended whose owner is
 * gone, and a later start know which *.incomplete files are its own kind's and belong to
 * nobody any more.
 */
#ifndef HC_CLAIM_CLAIM_H
#define HC_CLAIM_CLAIM_H

#include "claim_record.h"
#include <cache/cache.h>

#include <stdint.h>
#include <sys/types.h>

struct hc_claim;

struct hc_claim_request {
    const struct hc_blob_id *blob;
    struct hc_pieces *pieces; /* where the bytes arrive; borrowed until it is dropped */
    const char *stalled; /* the file of somebody who seems to live, but does not move: */
                         /* he is followed all the same; or NULL */
    struct hc_cancellation *cancellation; /* ends the copy of his bytes */
};

/*
 * Claims a blob whose lock the caller has, with a fresh private name for its bytes. 1 and
 * the claim; 0 when somebody else has one who is alive as far as can be told: see
 * claim_holder.h, or is just about to follow an earlier one. When an earlier claim is abandoned,
 * its file gets our name, and when its owner is stuck, ours becomes a copy; `pieces` says
 * what is in it, if that is worth going on with. Failure to write a claim is not a failure
 * of the transfer: -1 only when there is no memory, or no such name.
 */
int hc_claim_acquire(const struct hc_cache *cache, const struct hc_claim_request *request,
                     struct hc_claim **claim, struct hc_error *err);

/*
 * The user that the volume takes this process for, as its record shows: an NFS server may
 * map root to another. A partial file of another user's is copied, not taken over, and
 * not gone on with in place: its owner may still have it open for writing.
 */
uid_t hc_claim_owner_uid(const struct hc_claim *claim);

/* "<repo folder>/blobs/<etag>.<8 hex>.incomplete", relative to the root. Borrowed. */
const char *hc_claim_partial_path(const struct hc_claim *claim);

/*
 * Says "still here, this far", at most once in a second or a mebibyte. It also beats by
 * itself (heartbeat.h). Callable from any thread.
 */
void hc_claim_heartbeat(struct hc_claim *claim);

/*
 * What has arrived is left to whoever comes next; false when no record says so. Drop
 * afterwards all the same.
 */
bool hc_claim_abandon(struct hc_claim *claim);

/* Removes the record unless it was left. NULL is fine. */
void hc_claim_drop(struct hc_claim *claim);
HC_DEFINE_AUTO(hc_claim, hc_claim_drop)

/* Bytes of a blob that an earlier transfer left, or that are just coming, as claimed. */
uint64_t hc_claim_arrived_bytes(const struct hc_cache *cache,
                                const struct hc_blob_id *blob);

/* Bytes that running transfers, here and elsewhere, which began before this one still
 * need. */
uint64_t hc_claim_reserved_before(const struct hc_cache *cache,
                                  const struct hc_claim *claim);

/*
 * Removes claims that are abandoned and whose blob nobody has locked, with the
 * *.incomplete file they name, unless that is worth going on with and younger than
 * HC_PARTIAL_KEEP_MS at `now_ms`; and private files below .hubcache/tmp that are older than
 * HC_HEARTBEAT_TIMEOUT_MS. Returns how many files were removed. What cannot be removed is left.
 */
unsigned hc_claim_sweep(const struct hc_cache *cache, int64_t now_ms);

/* Now, by the clock that dates the volume's files; by this host's when it takes none. */
int64_t hc_volume_now_ms(const struct hc_cache *cache);

#endif
