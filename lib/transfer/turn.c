/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ways of waiting look every so often; no filesystem that is shared between hosts
 * would wake us.
 */
#include "turn.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <cache/blob.h>
#include <claim/rival.h>

#include <string.h>

enum { POLL_MS = 50 };

static void start(const struct hc_turn *turn, struct hc_rival *rival, int64_t now_ms)
{
    hc_rival_init(rival, turn->cache, turn->request->repo, turn->request->etag, now_ms);
}

static void watch(const struct hc_turn *turn, struct hc_rival *rival)
{
    if (hc_rival_look(rival, hc_monotonic_ms()) && turn->sight)
        turn->sight(turn->ctx,
                    &(const struct hc_blob_progress){rival->bytes, rival->is_there});
}

static void finish(struct hc_turn *turn, int64_t began_ms)
{
    turn->waited_ms += hc_monotonic_ms() - began_ms;
    if (turn->sight)
        turn->sight(turn->ctx, &(const struct hc_blob_progress){0});
}

int hc_turn_is_there(const struct hc_turn *turn, struct hc_error *err)
{
    const struct hc_blob_request *request = turn->request;
    uint64_t size;
    int found;

    if (request->force)
        return 0;
    found = hc_blob_find(turn->cache, request->repo, request->etag, &size, err);
    return found == 1 ? hc_blob_may_have(request->size, size) : found;
}

/* Other clients have no heartbeat; bytes may be long in coming. */
static bool is_stuck(struct hc_turn *turn, struct hc_rival *rival)
{
    int64_t patience_ms = turn->takeover_ms;

    if (rival->is_claimed && patience_ms > HC_TURN_LOCKED_LEASE_MS)
        patience_ms = HC_TURN_LOCKED_LEASE_MS;
    if (!hc_rival_is_still(rival, patience_ms, hc_monotonic_ms()))
        return false;
    memcpy(turn->stuck, rival->claimed, sizeof turn->stuck);
    return true;
}

/* Who loses the lock has as much time again, should it not be possible to take it. */
static int await_lock(struct hc_turn *turn, struct hc_lock *lock, struct hc_rival *rival,
                      struct hc_error *err)
{
    int taken;

    while ((taken = hc_lock_try(lock, err)) == 0) {
        watch(turn, rival);
        if (is_stuck(turn, rival)) {
            hc_lock_replace(lock);
            start(turn, rival, hc_monotonic_ms());
        }
        if (hc_cancellation_sleep(turn->call, POLL_MS, err) < 0)
            return -1;
    }
    return taken < 0 ? -1 : 0;
}

struct hc_lock *hc_turn_lock(struct hc_turn *turn, struct hc_error *err)
{
    HC_AUTO(hc_lock) *lock =
        hc_lock_new(turn->cache, turn->request->repo->folder, turn->request->etag, err);
    int64_t began_ms = hc_monotonic_ms();
    struct hc_rival rival;
    int taken;

    if (!lock || hc_cancellation_check(turn->call, err) < 0)
        return NULL;
    taken = hc_lock_try(lock, err);
    if (taken == 0) {
        start(turn, &rival, began_ms);
        taken = await_lock(turn, lock, &rival, err) < 0 ? -1 : 1;
        finish(turn, began_ms);
    }
    return taken < 0 ? NULL : hc_take(&lock);
}

int hc_turn_await(struct hc_turn *turn, struct hc_error *err)
{
    int64_t began_ms = hc_monotonic_ms();
    struct hc_rival rival;
    bool is_still = false;
    int result = 0;

    start(turn, &rival, began_ms);
    rival.is_ours = true;
    do {
        watch(turn, &rival);
        result = rival.is_there ? hc_turn_is_there(turn, err) : 1;
        if (result != 0)
            break;
        is_still = hc_rival_is_still(&rival, HC_TURN_LEASE_MS, hc_monotonic_ms());
        if (!is_still)
            result = hc_cancellation_sleep(turn->call, POLL_MS, err);
    } while (result == 0 && !is_still);
    if (is_still)
        memcpy(turn->stuck, rival.claimed, sizeof turn->stuck);
    finish(turn, began_ms);
    return result < 0 ? -1 : 0;
}
