/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The download lock: which process downloads a blob. The blob's lock says so, and where
 * locks do nothing the claim does (claim/claim.h). A process that waits watches the one
 * that downloads meanwhile: how many bytes it has, for the callers' progress, and whether
 * it still moves.
 *
 *   waiting   the lock is held → taken, when its holder releases it; the holder has not
 *             moved for too long → waiting anew, with the lock's file replaced and
 *             `stalled` set
 *   taken     a claim that is alive is in the way → waiting for it to go, for the blob to
 *             be there, or for the claim to miss its heartbeats, which sets `stalled`
 *
 * One thread uses a download lock; the blob's lock that it takes is the caller's.
 */
#ifndef HC_TRANSFER_DOWNLOAD_LOCK_H
#define HC_TRANSFER_DOWNLOAD_LOCK_H

#include "transfer.h"

#include <cache/blob_lock.h>

/* How long a claim may miss its heartbeat: without the blob's lock, and with it. */
enum { HC_CLAIM_LEASE_MS = 5000, HC_LOCKED_CLAIM_LEASE_MS = 10000 };

struct hc_download_lock {
    const struct hc_cache *cache;
    const struct hc_blob_request *request;
    struct hc_cancellation *cancellation; /* Optional: ends the waits */
    int64_t takeover_ms; /* how long a holder of the lock may go without any movement */
    /* Optional: told now and then how many bytes another process has; `is_remote` is
     * false when it is not there any more. */
    void (*note_remote)(void *ctx, uint64_t bytes, bool is_remote);
    void *ctx;
    /* The partial file of a holder that has stalled, to be taken over (struct
     * hc_claim_options); or "". */
    char stalled[NAME_MAX + 1];
    int64_t waited_ms; /* for other processes, in all */
};

/* 1 when the blob is on the volume, as requested; 0 when it is not; -1. */
int hc_download_lock_finds_blob(const struct hc_download_lock *wait,
                                struct hc_error *err);

/* Waits until the blob's lock is taken; the caller releases it. NULL on failure. */
struct hc_blob_lock *hc_download_lock_take(struct hc_download_lock *wait,
                                           struct hc_error *err);

/* With the lock taken, and another process's claim in the way: waits until the claim is
 * gone, or the blob is there, or the claim has stalled, which sets `stalled`. */
int hc_download_lock_await_claim(struct hc_download_lock *wait, struct hc_error *err);

#endif
