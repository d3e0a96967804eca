/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One leader's part in fetching a blob. It goes through these states, on the leader's
 * thread; the first that finds the blob on the volume ends it well.
 *
 *   lock wait   another process or client holds the blob's lock: wait; when that stalls,
 *               replace the lock (download_lock.h)                         → claim
 *   claim       another process of ours has a claim that is alive: wait until it is gone
 *               or stalls, and try again. An abandoned or stalled claim is taken over
 *               (claim/takeover.h)                                         → resume
 *   resume      the partial file has what an earlier transfer left; an empty one is
 *               filled from a duplicate, if there is one; the rest must fit on the
 *               volume, else NO_SPACE ends it                                           →
 *               transfer
 *   transfer    segments are read from the source and hashed; what breaks one connection
 *               is read over another; a failure of all of them ends it     → hash
 *   hash        what the network was faster than                           → finish
 *   finish      check the hash, flush, rename. Wrong bytes: begin anew in an empty file,
 *               once (twice when some of the bytes were another's)         → transfer
 *               The file was taken over meanwhile                          → lock wait
 *
 * What a leader that ends early has of the blob stays with the shared transfer, and the
 * next leader begins where it was. What becomes of a fault:
 *
 *   a connection breaks, or is slow   its bytes are read over another one; retries and
 *                                     one new address, then the failure is all callers'
 *   the Hub refuses the token         another caller leads; callers with the same token
 *                                     share the refusal
 *   the caller leaves, or is late     another caller leads
 *   the volume is full, or fails      the failure is all callers'; bytes that may be
 *                                     wrong are removed
 *   the process dies                  its claim misses its heartbeats, and another
 *                                     process takes over from the bytes on the volume
 *   the power fails                   the bytes that the claim tells of are hashed again
 */
#ifndef HC_TRANSFER_BLOB_DOWNLOAD_H
#define HC_TRANSFER_BLOB_DOWNLOAD_H

#include "budget.h"
#include "shared_transfer.h"

struct hc_transfers {
    const struct hc_cache *cache;
    struct hc_hub *hub;
    struct hc_single_flights active; /* shared transfers */
    struct hc_budget *budget;
    atomic_uint_least64_t received; /* bytes */
    uint64_t min_split_size;
    int64_t takeover_ms;
    hc_transfer_fn observer;
    void *observer_ctx;
};

struct hc_blob_download {
    /* The caller's to fill. */
    struct hc_transfers *transfers;
    struct hc_shared_transfer *shared; /* which it leads; it fills the partial file */
    const struct hc_blob_request *request;
    const struct hc_hub_credentials *credentials;
    /* Filled by the run, however it ends. */
    struct hc_blob_result result;
    struct hc_transfer report; /* but for names, reason and duration */
    bool has_begun;            /* the blob was not simply there */
};

int hc_blob_download_run(struct hc_blob_download *download, struct hc_error *err);

#endif
