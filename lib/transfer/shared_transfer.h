/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flights: blobs on their way, so that callers of this process who want the same blob
 * share one transfer. Of those aboard one leads and does the work on its own thread; the
 * others wait. A leader who leaves early hands over what has arrived; when nobody is
 * aboard any more it is left on the volume for who comes later.
 *
 * What is on its way is for those whom the Hub would give it to: the caller that begins a
 * flight asks the Hub with its own token; a caller with other credentials proves that the
 * Hub gives it the file before it waits for the bytes or takes them over. The calling
 * sequence, with an hc_shared_transfer_leave for every join:
 *
 *     transfer = hc_shared_transfer_join(transfers, &name, caller, &err);
 *     while ((turn = hc_shared_transfer_wait(transfers, transfer, caller, &err)) == HC_SHARED_TRANSFER_PROVE)
 *         … ask the Hub with the caller's token, then hc_shared_transfer_admit(…)
 *     if (turn == HC_SHARED_TRANSFER_LEAD) {
 *         … hc_shared_transfer_set_partial(…), bring the bytes …
 *         hc_shared_transfer_finish(…) or hc_shared_transfer_hand_over(…)
 *     }
 *     hc_shared_transfer_leave(transfers, transfer);
 *
 * Tokens are kept as keys only (base/hash.h).
 *
 * Callable from any thread.
 */
#ifndef HC_TRANSFER_SHARED_TRANSFER_H
#define HC_TRANSFER_SHARED_TRANSFER_H

#include "transfer.h"

#include <stdatomic.h>

#include <cache/blob_lock.h>
#include <store/ingest.h>

struct hc_shared_transfers; /* those of one process; one lock guards them all */
struct hc_shared_transfer;

/* What a flight brings. A forced fetch does not share with one that may find the blob
 * there. */
struct hc_shared_transfer_key {
    struct hc_blob_id blob;
    bool is_forced;
};

/* What a flight has of the blob so far: the leader's to use, and to fill. */
struct hc_partial_file {
    struct hc_blob_lock *lock;
    struct hc_ingest *ingest;
};

struct hc_shared_transfers *hc_shared_transfers_new(struct hc_error *err);

/* Nobody may be aboard. */
void hc_shared_transfers_free(struct hc_shared_transfers *transfers);
HC_DEFINE_AUTO(hc_shared_transfers, hc_shared_transfers_free)

/* The flight of that name, a new one to which the caller is admitted when there is none.
 * NULL when memory is short. */
struct hc_shared_transfer *
hc_shared_transfer_join(struct hc_shared_transfers *transfers,
                        const struct hc_shared_transfer_key *name,
                        const struct hc_hub_credentials *caller, struct hc_error *err);

/* The Hub has answered about the file with the caller's token: so it may have the blob. */
int hc_shared_transfer_admit(struct hc_shared_transfers *transfers,
                             struct hc_shared_transfer *transfer,
                             const struct hc_hub_credentials *caller,
                             struct hc_error *err);

/* The last one to leave drops the cargo. */
void hc_shared_transfer_leave(struct hc_shared_transfers *transfers,
                              struct hc_shared_transfer *transfer);

enum {
    HC_SHARED_TRANSFER_DONE = 0,
    HC_SHARED_TRANSFER_LEAD = 1,
    HC_SHARED_TRANSFER_PROVE = 2
};

/*
 * Waits until the blob is there (HC_SHARED_TRANSFER_DONE), or it is the caller's turn to lead
 * (HC_SHARED_TRANSFER_LEAD). HC_SHARED_TRANSFER_PROVE, at once, when the caller is not admitted. -1 when the
 * flight failed, when a leader with the caller's token was turned away, or when the
 * caller's patience ended.
 */
int hc_shared_transfer_wait(struct hc_shared_transfers *transfers,
                            struct hc_shared_transfer *transfer,
                            const struct hc_hub_credentials *caller,
                            struct hc_error *err);

/*
 * For the leader: what is on board, and putting it there. Given cargo is the flight's.
 * An ingest that is restarted is loaded again: what it was given is lost.
 */
struct hc_partial_file hc_shared_transfer_partial(struct hc_shared_transfers *transfers,
                                                  struct hc_shared_transfer *transfer);
void hc_shared_transfer_set_partial(struct hc_shared_transfers *transfers,
                                    struct hc_shared_transfer *transfer,
                                    struct hc_partial_file partial);

/* Requests that had to be repeated, for the leader to count. */
atomic_uint *hc_shared_transfer_retries(struct hc_shared_transfer *transfer);

/* For the leader: it is over for all aboard, well (`failure` NULL) or not. Drops the
 * cargo. */
void hc_shared_transfer_finish(struct hc_shared_transfers *transfers,
                               struct hc_shared_transfer *transfer,
                               const struct hc_error *failure);

/*
 * For the leader: steps down for a reason that is its own. With `refused`, the Hub turned
 * it away: whoever has the same token shares the `refusal` rather than trying again.
 */
void hc_shared_transfer_hand_over(struct hc_shared_transfers *transfers,
                                  struct hc_shared_transfer *transfer,
                                  const struct hc_hub_credentials *refused,
                                  const struct hc_error *refusal);

/* For the leader: another process brings the blob and has so many bytes; or no more. */
void hc_shared_transfer_set_remote(struct hc_shared_transfers *transfers,
                                   struct hc_shared_transfer *transfer, uint64_t bytes,
                                   bool is_remote);

/* How the flight goes, forced or not, that brings this blob; zero without one. */
struct hc_transfer_progress
hc_shared_transfers_progress(struct hc_shared_transfers *transfers,
                             const struct hc_blob_id *blob);

/* How many there are. */
unsigned hc_shared_transfers_count(struct hc_shared_transfers *transfers);

/* How many are aboard the flights that bring it. */
unsigned hc_shared_transfers_waiters(struct hc_shared_transfers *transfers,
                                     const struct hc_blob_id *blob);

#endif
