/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both waits poll: no filesystem that hosts share would wake a waiter.
 *
 * A holder with a claim has a heartbeat, whatever it waits for: missing that for
 * HC_LOCKED_CLAIM_LEASE_MS is enough. Other clients have none, and their bytes may be
 * long in coming: they may go without any movement for `takeover_ms`.
 */
#include "download_lock.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <cache/pointer.h>
#include <claim/takeover.h>

#include <string.h>

enum { POLL_MS = 50 };

static void wait_poll_holder(const struct hc_download_lock *wait,
                             struct hc_claim_holder *holder)
{
    if (hc_claim_holder_poll(holder, hc_monotonic_ms()) && wait->note_remote)
        wait->note_remote(wait->ctx, holder->bytes, holder->is_present);
}

static bool wait_holder_is_stalled(struct hc_download_lock *wait,
                                   struct hc_claim_holder *holder, int64_t limit_ms)
{
    if (!hc_claim_holder_is_stalled(holder, limit_ms, hc_monotonic_ms()))
        return false;
    memcpy(wait->stalled, holder->partial, sizeof wait->stalled);
    return true;
}

static void wait_end(struct hc_download_lock *wait, int64_t began_ms)
{
    wait->waited_ms += hc_monotonic_ms() - began_ms;
    if (wait->note_remote)
        wait->note_remote(wait->ctx, 0, false);
}

int hc_download_lock_finds_blob(const struct hc_download_lock *wait, struct hc_error *err)
{
    const struct hc_blob_request *request = wait->request;
    uint64_t size;
    int found;

    if (request->is_forced)
        return 0;
    found = hc_blob_find(wait->cache, &request->blob, &size, err);
    return found == 1 ? hc_blob_size_matches(request->size, size) : found;
}

/* A lock whose file cannot be replaced is waited for as long again each time. */
static int wait_for_lock(struct hc_download_lock *wait, struct hc_blob_lock *lock,
                         struct hc_error *err)
{
    const struct hc_blob_id *blob = &wait->request->blob;
    struct hc_claim_holder holder;
    int taken;

    hc_claim_holder_init(&holder, wait->cache, blob, hc_monotonic_ms());
    while ((taken = hc_blob_lock_try(lock, err)) == 0) {
        int64_t limit_ms = wait->takeover_ms;

        wait_poll_holder(wait, &holder);
        if (holder.has_claim && limit_ms > HC_LOCKED_CLAIM_LEASE_MS)
            limit_ms = HC_LOCKED_CLAIM_LEASE_MS;
        if (wait_holder_is_stalled(wait, &holder, limit_ms)) {
            hc_blob_lock_replace(lock);
            hc_claim_holder_init(&holder, wait->cache, blob, hc_monotonic_ms());
        }
        if (hc_cancellation_sleep(wait->cancellation, POLL_MS, err) < 0)
            return -1;
    }
    return taken;
}

struct hc_blob_lock *hc_download_lock_take(struct hc_download_lock *wait,
                                           struct hc_error *err)
{
    HC_AUTO(hc_blob_lock) *lock =
        hc_blob_lock_new(wait->cache, &wait->request->blob, err);
    int64_t began_ms = hc_monotonic_ms();
    int taken;

    if (!lock || hc_cancellation_check(wait->cancellation, err) < 0)
        return NULL;
    taken = hc_blob_lock_try(lock, err);
    if (taken == 0) {
        taken = wait_for_lock(wait, lock, err);
        wait_end(wait, began_ms);
    }
    return taken < 0 ? NULL : hc_take(&lock);
}

/* 1 once more; 0 the wait is over; -1. */
static int wait_for_claim_once(struct hc_download_lock *wait,
                               struct hc_claim_holder *holder, struct hc_error *err)
{
    int found;

    wait_poll_holder(wait, holder);
    if (!holder->is_present)
        return 0;
    found = hc_download_lock_finds_blob(wait, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (wait_holder_is_stalled(wait, holder, HC_CLAIM_LEASE_MS))
        return 0;
    return hc_cancellation_sleep(wait->cancellation, POLL_MS, err) < 0 ? -1 : 1;
}

int hc_download_lock_await_claim(struct hc_download_lock *wait, struct hc_error *err)
{
    int64_t began_ms = hc_monotonic_ms();
    struct hc_claim_holder holder;
    int result;

    hc_claim_holder_init(&holder, wait->cache, &wait->request->blob, began_ms);
    holder.only_claims = true;
    do
        result = wait_for_claim_once(wait, &holder, err);
    while (result > 0);
    wait_end(wait, began_ms);
    return result;
}
