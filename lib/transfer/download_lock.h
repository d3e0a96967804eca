/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose turn it is to bring a blob, among processes. The lock says so, and where locks do
 * nothing the claim does (claim.h). Whoever is at it is watched meanwhile: how far it is,
 * for those who wait, and whether it still moves. Who stands still for too long, with the
 * lock in its hand, loses its turn.
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
    struct hc_cancellation *cancellation;
    int64_t takeover_ms; /* how long who has the lock may stand still at all */
    /* Optional: told now and then how many bytes another process has; `is_remote` is
     * false when it is not there any more. */
    void (*note_remote)(void *ctx, uint64_t bytes, bool is_remote);
    void *ctx;
    char stalled[NAME_MAX + 1]; /* the file of who stood still for too long, or "": go on
                                 without him (struct hc_claim_request) */
    int64_t waited_ms;          /* for others, in all */
};

/* 1 when the blob is there as wanted. */
int hc_download_lock_finds_blob(const struct hc_download_lock *download_lock,
                                struct hc_error *err);

/* Waits until the lock is ours, or `cancellation` ends. NULL on failure. */
struct hc_blob_lock *hc_download_lock_take(struct hc_download_lock *download_lock,
                                           struct hc_error *err);

/*
 * With the lock in hand, and somebody else's claim in the way: waits until it is gone, or
 * the blob is there, or it stands still, which sets `stuck`.
 */
int hc_download_lock_await_claim(struct hc_download_lock *download_lock,
                                 struct hc_error *err);

#endif
