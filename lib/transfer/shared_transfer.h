/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The single flight of a blob: callers of this process that want the same blob share one
 * transfer. One of them, the leader, does the work on its own thread; the others wait. A
 * leader that leaves early hands over the lead, and the partial file is where it was; the
 * last caller to leave drops the partial file, which leaves what has arrived on the
 * volume.
 *
 *   idle      no leader: the next caller that waits, or joins, leads → led
 *   led       → finished, well or not; → idle when the leader hands over
 *   finished  all waiters have the outcome; a caller that comes now joins a new transfer,
 *             and looks on the volume first
 *
 * A caller has a part in it only if the Hub would give it the file: the caller that
 * begins a transfer asks the Hub with its own token; one with other credentials proves
 * its access before it waits for the bytes or leads. The calling sequence, with a leave
 * for every join:
 *
 *     transfer = hc_shared_transfer_join(transfers, request, credentials, &err);
 *     while ((role = hc_shared_transfer_wait(transfer, credentials, &err)) ==
 *            HC_SHARED_TRANSFER_PROVE)
 *         … ask the Hub with the caller's token, then hc_shared_transfer_admit(…)
 *     if (role == HC_SHARED_TRANSFER_LEAD) {
 *         … fill the partial file …
 *         hc_shared_transfer_finish(…) or hc_shared_transfer_hand_over(…)
 *     }
 *     hc_shared_transfer_leave(transfer);
 *
 * Tokens are kept as keyed hashes only. Callable from any thread.
 */
#ifndef HC_TRANSFER_SHARED_TRANSFER_H
#define HC_TRANSFER_SHARED_TRANSFER_H

#include "transfer.h"

#include <base/single_flight.h>
#include <cache/blob_lock.h>
#include <store/ingest.h>

struct hc_shared_transfer;

/* What there is of the blob so far. The shared transfer owns it; the leader fills it. */
struct hc_partial_file {
    struct hc_blob_lock *lock; /* NULL: not taken yet */
    struct hc_ingest *ingest;  /* NULL: not begun yet */
};

/* The transfers of a process. Ended with hc_single_flights_clear(). */
void hc_shared_transfers_init(struct hc_single_flights *transfers);

/*
 * The transfer of that blob; a new one, to which the caller is admitted, when there is
 * none. A forced fetch does not share with one that may find the blob on the volume, nor
 * do fetches from different endpoints. NULL when memory is short.
 */
struct hc_shared_transfer *hc_shared_transfer_join(
    struct hc_single_flights *transfers, const struct hc_blob_request *request,
    const struct hc_hub_credentials *credentials, struct hc_error *err);

/* The Hub has answered about the file with the caller's token: so it may have the
 * blob. */
int hc_shared_transfer_admit(struct hc_shared_transfer *transfer,
                             const struct hc_hub_credentials *credentials,
                             struct hc_error *err);

/* The last caller to leave drops the partial file. */
void hc_shared_transfer_leave(struct hc_shared_transfer *transfer);

enum {
    HC_SHARED_TRANSFER_DONE = HC_FLIGHT_FINISHED,
    HC_SHARED_TRANSFER_LEAD = HC_FLIGHT_RUN,
    HC_SHARED_TRANSFER_PROVE = HC_FLIGHT_FIRST_OWN
};

/*
 * Waits until the blob is there (HC_SHARED_TRANSFER_DONE), or it is up to this caller to
 * lead (HC_SHARED_TRANSFER_LEAD). HC_SHARED_TRANSFER_PROVE, at once, when the caller is
 * not admitted. -1 when the transfer failed, when a leader with the caller's token was
 * refused by the Hub, or when the caller's cancellation or deadline ended the wait.
 */
int hc_shared_transfer_wait(struct hc_shared_transfer *transfer,
                            const struct hc_hub_credentials *credentials,
                            struct hc_error *err);

/*
 * For the leader: the partial file, borrowed; and filling it. What is kept is the
 * transfer's from then on; an ingest of NULL drops the one there is.
 */
const struct hc_partial_file *
hc_shared_transfer_partial(const struct hc_shared_transfer *transfer);
void hc_shared_transfer_keep_lock(struct hc_shared_transfer *transfer,
                                  struct hc_blob_lock *lock);
void hc_shared_transfer_keep_ingest(struct hc_shared_transfer *transfer,
                                    struct hc_ingest *ingest);

/* For the leader: another process fetches the blob and has so many bytes; or does not any
 * more. */
void hc_shared_transfer_set_remote(struct hc_shared_transfer *transfer, uint64_t bytes,
                                   bool is_remote);

/* The leaders count there. */
struct hc_transfer_counts *hc_shared_transfer_counts(struct hc_shared_transfer *transfer);

/* For the leader: it is over for all callers, well (`failure` NULL) or not. Drops the
 * partial file. */
void hc_shared_transfer_finish(struct hc_shared_transfer *transfer,
                               const struct hc_error *failure);

/*
 * For the leader: gives up the lead for a reason that is its own. With `refused`, the Hub
 * refused these credentials: callers with the same token share the `refusal` rather than
 * trying again.
 */
void hc_shared_transfer_hand_over(struct hc_shared_transfer *transfer,
                                  const struct hc_hub_credentials *refused,
                                  const struct hc_error *refusal);

/* How far the transfer of this blob is, forced or not; zero without one. */
struct hc_transfer_progress
hc_shared_transfers_progress(struct hc_single_flights *transfers,
                             const struct hc_blob_id *blob);

/*
 * Calls `fn` for each transfer that may be joined, with the lock held. A rate is that
 * since the last listing, or the last but one if that was less than two seconds ago.
 */
void hc_shared_transfers_list(struct hc_single_flights *transfers, int64_t now_ms,
                              hc_running_transfer_fn fn, void *ctx);

/* How many transfers there are. */
unsigned hc_shared_transfers_count(struct hc_single_flights *transfers);

#endif
