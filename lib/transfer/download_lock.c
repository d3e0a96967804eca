/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ways of waiting look every so often; no filesystem that is shared between hosts
 * would wake us.
 */
#include "download_lock.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <cache/pointer.h>
#include <claim/takeover.h>

#include <string.h>

enum { POLL_MS = 50 };

static void holder_start(const struct hc_download_lock *download_lock,
                         struct hc_claim_holder *holder, int64_t now_ms)
{
    hc_claim_holder_init(holder, download_lock->cache, &download_lock->request->blob,
                         now_ms);
}

static void holder_poll(const struct hc_download_lock *download_lock,
                        struct hc_claim_holder *holder)
{
    if (hc_claim_holder_poll(holder, hc_monotonic_ms()) && download_lock->note_remote)
        download_lock->note_remote(download_lock->ctx, holder->bytes, holder->is_present);
}

static void download_lock_end_wait(struct hc_download_lock *download_lock,
                                   int64_t began_ms)
{
    download_lock->waited_ms += hc_monotonic_ms() - began_ms;
    if (download_lock->note_remote)
        download_lock->note_remote(download_lock->ctx, 0, false);
}

int hc_download_lock_finds_blob(const struct hc_download_lock *download_lock,
                                struct hc_error *err)
{
    const struct hc_blob_request *request = download_lock->request;
    uint64_t size;
    int found;

    if (request->is_forced)
        return 0;
    found = hc_blob_find(download_lock->cache, &request->blob, &size, err);
    return found == 1 ? hc_blob_size_matches(request->size, size) : found;
}

/* Other clients have no heartbeat; bytes may be long in coming. */
static bool holder_is_stalled(struct hc_download_lock *download_lock,
                              struct hc_claim_holder *holder)
{
    int64_t limit_ms = download_lock->takeover_ms;

    if (holder->has_claim && limit_ms > HC_LOCKED_CLAIM_LEASE_MS)
        limit_ms = HC_LOCKED_CLAIM_LEASE_MS;
    if (!hc_claim_holder_is_stalled(holder, limit_ms, hc_monotonic_ms()))
        return false;
    memcpy(download_lock->stalled, holder->partial, sizeof download_lock->stalled);
    return true;
}

/* Who loses the lock has as much time again, should it not be possible to take it. */
static int download_lock_await(struct hc_download_lock *download_lock,
                               struct hc_blob_lock *lock, struct hc_claim_holder *holder,
                               struct hc_error *err)
{
    int taken;

    while ((taken = hc_blob_lock_try(lock, err)) == 0) {
        holder_poll(download_lock, holder);
        if (holder_is_stalled(download_lock, holder)) {
            hc_blob_lock_replace(lock);
            holder_start(download_lock, holder, hc_monotonic_ms());
        }
        if (hc_cancellation_sleep(download_lock->cancellation, POLL_MS, err) < 0)
            return -1;
    }
    return taken < 0 ? -1 : 0;
}

struct hc_blob_lock *hc_download_lock_take(struct hc_download_lock *download_lock,
                                           struct hc_error *err)
{
    HC_AUTO(hc_blob_lock) *lock =
        hc_blob_lock_new(download_lock->cache, &download_lock->request->blob, err);
    int64_t began_ms = hc_monotonic_ms();
    struct hc_claim_holder holder;
    int taken;

    if (!lock || hc_cancellation_check(download_lock->cancellation, err) < 0)
        return NULL;
    taken = hc_blob_lock_try(lock, err);
    if (taken == 0) {
        holder_start(download_lock, &holder, began_ms);
        taken = download_lock_await(download_lock, lock, &holder, err) < 0 ? -1 : 1;
        download_lock_end_wait(download_lock, began_ms);
    }
    return taken < 0 ? NULL : hc_take(&lock);
}

int hc_download_lock_await_claim(struct hc_download_lock *download_lock,
                                 struct hc_error *err)
{
    int64_t began_ms = hc_monotonic_ms();
    struct hc_claim_holder holder;
    bool is_still = false;
    int result = 0;

    holder_start(download_lock, &holder, began_ms);
    holder.only_claims = true;
    do {
        holder_poll(download_lock, &holder);
        result = holder.is_present ? hc_download_lock_finds_blob(download_lock, err) : 1;
        if (result != 0)
            break;
        is_still =
            hc_claim_holder_is_stalled(&holder, HC_CLAIM_LEASE_MS, hc_monotonic_ms());
        if (!is_still)
            result = hc_cancellation_sleep(download_lock->cancellation, POLL_MS, err);
    } while (result == 0 && !is_still);
    if (is_still)
        memcpy(download_lock->stalled, holder.partial, sizeof download_lock->stalled);
    download_lock_end_wait(download_lock, began_ms);
    return result < 0 ? -1 : 0;
}
