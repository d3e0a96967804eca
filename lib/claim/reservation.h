/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space on the volume that is reserved for a download before its bytes come, so that
 * downloads that fit one by one do not fill the volume together. The claim of a blob
 * reserves what the blob still needs; a reservation does so for many blobs that are
 * fetched one after the other. Both are claim files (claim_record.h), which other
 * replicas see and count as long as their heartbeats last. A blob that has a claim of its
 * own is no longer part of the reservation: the download that made it calls
 * hc_reservation_use().
 *
 * The earlier of two downloads has the space, by the clocks of their hosts: two that
 * begin in the same moment may both have it, and one of them fails later, when the volume
 * is full. Downloads of one repo do not count each other's reservations: as a rule they
 * want the same blobs. Callable from any thread.
 */
#ifndef HC_CLAIM_RESERVATION_H
#define HC_CLAIM_RESERVATION_H

#include "claim_record.h"

#include <base/free_space.h>

enum {
    HC_RESERVATION_MIN_BYTES = 1024 * 1024
}; /* fewer are not counted against others */

struct hc_cancellation;
struct hc_reservation;

/*
 * Reserves `bytes` for a download of blobs of `repo`, after the reclaimers of the cache
 * (base/free_space.h) were asked if need be; -1 with NO_SPACE, which names both figures,
 * when the volume has not as many beyond what is reserved for others, or as the
 * cancellation says, which may be NULL. `*reservation` is NULL when so few bytes need no
 * file, or no file can be written.
 */
int hc_reservation_make(const struct hc_cache *cache, const struct hc_repo *repo,
                        uint64_t bytes, struct hc_cancellation *cancellation,
                        struct hc_reservation **reservation, struct hc_error *err);

/*
 * 1 when that is possible without asking a reclaimer, else 0; -1 when there is no memory.
 */
int hc_reservation_try(const struct hc_cache *cache, const struct hc_repo *repo,
                       uint64_t bytes, struct hc_reservation **reservation,
                       struct hc_error *err);

/* Returns `bytes` of it: they are on the volume, or claimed, or not needed. NULL is fine,
 * here and below. */
void hc_reservation_use(struct hc_reservation *reservation, uint64_t bytes);

void hc_reservation_drop(struct hc_reservation *reservation);
HC_DEFINE_AUTO(hc_reservation, hc_reservation_drop)

/*
 * What other downloads have on the volume, and still need: the latter of claims and
 * reservations that began before `own`, of all replicas, but not of the same blob, nor of
 * the same repo when one of the two is a reservation. `folder` is that of the repo of
 * `own`.
 */
struct hc_claimed hc_claimed_bytes(const struct hc_cache *cache, const char *folder,
                                   const struct hc_claim_record *own, int64_t now_ms);

#endif
