/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free is what statvfs(3) says an unprivileged process may still write. It knows no
 * quotas, so a write may fail all the same, and some filesystems give the space of a
 * removed file back a moment later: the figures in an error are those measured last, not
 * sums.
 *
 * States of a request:
 *
 *   enough      the volume has `needed` bytes beyond what is reserved and the floor, and
 *               the cache stays within its limit: 0, and no reclaimer runs.
 *   impossible  not even the empty volume has, or they are more than the limit: NO_SPACE,
 *               and nothing is removed in vain.
 *   waiting     it is short, and other requests came before: it waits for their end, for
 *               what they free may do. If its caller leaves first, that is all.
 *   reclaiming  it is the first of those that wait: its thread asks one reclaimer after
 *               the other for what is still missing, and measures again whenever one
 *               says that it freed something. A reclaimer also measures what the cache
 *               occupies if that is not known yet; if it cannot, the limit does not hold.
 *   paused      all were asked, it is still short, and would fit beside what is leased,
 *               pinned or kept: all else may go soon, be it fetched, in the trash of a
 *               removal, or counted wrongly. The turn goes to the next, and the request
 *               is back after a while, as long as its caller waits.
 *   refused     all were asked, and it fits not even then; or nothing has come or gone
 *               for HC_SPACE_STILL_MS, and no earlier download is to come: NO_SPACE.
 *
 * Only the queue is guarded by the lock: a reclaimer works on the volume, and no lock is
 * held meanwhile.
 */
#include "free_space.h"

#include "size.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/statvfs.h>

enum { ROUNDS_MAX = 8, PAUSE_MIN_MS = 100, PAUSE_MAX_MS = 1600, HELD_SIZE = 192 };

/* A request that waits or reclaims, on the stack of its thread. */
struct space_turn {
    TAILQ_ENTRY(space_turn) link;
};

struct hc_free_space {
    hc_reclaim_fn reclaim[HC_RECLAIMERS_MAX]; /* complete before the first request */
    void *ctx[HC_RECLAIMERS_MAX];
    size_t count;
    hc_occupied_fn occupied; /* Optional */
    void *occupied_ctx;
    atomic_uint_least64_t limit, floor; /* 0: none */
    atomic_uint_least64_t refusals;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t ended;
        TAILQ_HEAD(, space_turn) turns; /* the first one reclaims */
    } shared;
};

/* A request compared with what there is. */
struct space_balance {
    uint64_t missing;    /* bytes; 0: there are enough */
    uint64_t free_bytes; /* that the request might have */
    uint64_t reserved;   /* for others, of those that are free */
    uint64_t limit;      /* that refuses it; 0: the volume does */
    bool is_unmeasured;  /* there is a limit, and what the cache occupies is not known */
    struct hc_space_held held; /* by what, as the reclaimers say */
};

static uint64_t size_subtract(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static bool volume_find_free(int fd, uint64_t *free_bytes)
{
    struct statvfs volume;

    if (fstatvfs(fd, &volume) < 0 || volume.f_blocks == 0)
        return false;
    *free_bytes = (uint64_t)volume.f_bavail * volume.f_frsize;
    return true;
}

static void balance_compare(struct space_balance *balance, uint64_t needed,
                            uint64_t taken, uint64_t room)
{
    balance->free_bytes = size_subtract(room, taken);
    balance->missing = size_subtract(hc_size_add(needed, taken), room);
}

/* Fills in the larger of two shortages: that of the volume, and that of the limit. */
static struct space_balance space_compare(const struct hc_free_space *space,
                                          const struct hc_space_request *request)
{
    uint64_t floor = atomic_load(&space->floor), limit = atomic_load(&space->limit);
    struct hc_claimed claimed = {0};
    struct space_balance volume = {0}, cache = {.limit = limit};
    uint64_t available, occupied;

    if (request->claimed)
        claimed = request->claimed(request->ctx);
    if (volume_find_free(request->fd, &available))
        balance_compare(&volume, request->needed, hc_size_add(claimed.reserved, floor),
                        available);
    volume.reserved = cache.reserved = claimed.reserved;
    if (limit == 0 || !space->occupied)
        return volume;
    volume.is_unmeasured = space->occupied(space->occupied_ctx, &occupied) <= 0;
    if (volume.is_unmeasured)
        return volume;
    occupied = hc_size_add(occupied, claimed.arrived);
    balance_compare(&cache, request->needed, hc_size_add(occupied, claimed.reserved),
                    limit);
    return cache.missing > volume.missing ? cache : volume;
}

uint64_t hc_free_space_missing(struct hc_free_space *space,
                               const struct hc_space_request *request)
{
    return space_compare(space, request).missing;
}

/* Whether the bytes would fit if everything else were removed. */
static bool space_is_large_enough(const struct hc_free_space *space,
                                  const struct hc_space_request *request,
                                  const struct space_balance *balance)
{
    uint64_t limit = atomic_load(&space->limit);
    struct statvfs volume;

    if (limit > 0 && space->occupied && request->needed > limit)
        return false;
    return fstatvfs(request->fd, &volume) == 0 &&
           hc_size_add(hc_size_add(request->needed, balance->reserved),
                       atomic_load(&space->floor)) <=
               (uint64_t)volume.f_blocks * volume.f_frsize;
}

static bool balance_has_room(const struct space_balance *balance)
{
    return balance->missing == 0 && !balance->is_unmeasured;
}

/* A request for nothing needs no look at the volume. */
bool hc_free_space_has(struct hc_free_space *space,
                       const struct hc_space_request *request)
{
    struct space_balance balance;

    if (request->needed == 0)
        return true;
    balance = space_compare(space, request);
    return balance_has_room(&balance);
}

static void turn_end(struct hc_free_space *space, struct space_turn *turn)
{
    HC_LOCKED(&space->shared.lock);

    TAILQ_REMOVE(&space->shared.turns, turn, link);
    (void)pthread_cond_broadcast(&space->shared.ended);
}

/* Waits until the turn is the first; -1, and it has ended, when the caller leaves. */
static int turn_begin(struct hc_free_space *space, struct space_turn *turn,
                      struct hc_cancellation *cancellation, struct hc_error *err)
{
    int waited = 0;

    {
        HC_LOCKED(&space->shared.lock);

        TAILQ_INSERT_TAIL(&space->shared.turns, turn, link);
        while (waited == 0 && TAILQ_FIRST(&space->shared.turns) != turn)
            waited = hc_cancellation_wait(cancellation, &space->shared.ended,
                                          &space->shared.lock, HC_NO_DEADLINE, err);
    }
    if (waited < 0)
        turn_end(space, turn);
    return waited;
}

/* What is there now; what holds it, only a reclaimer finds out. */
static void balance_update(struct space_balance *balance,
                           const struct hc_free_space *space,
                           const struct hc_space_request *request)
{
    struct hc_space_held held = balance->held;

    *balance = space_compare(space, request);
    balance->held = held;
}

/* Again while it frees something: downloads of other processes may have the room that was
 * made by the time that this one looks. */
static void space_ask_reclaimer(const struct hc_free_space *space, size_t number,
                                const struct hc_space_request *request,
                                struct space_balance *balance)
{
    for (int i = 0; i < ROUNDS_MAX && !balance_has_room(balance); i++) {
        if (space->reclaim[number](space->ctx[number], request, balance->missing,
                                   &balance->held) == 0)
            return;
        balance_update(balance, space, request);
    }
}

/* 1 there is room now; 0 all reclaimers were asked, and there is not; -1 the caller has
 * left. */
static int space_take_turn(struct hc_free_space *space,
                           const struct hc_space_request *request,
                           struct space_balance *balance, struct hc_error *err)
{
    struct space_turn turn;

    if (turn_begin(space, &turn, request->cancellation, err) < 0)
        return -1;
    balance_update(balance, space, request); /* another thread may have freed it */
    for (size_t i = 0; i < space->count; i++)
        space_ask_reclaimer(space, i, request, balance);
    if (balance->is_unmeasured) /* perhaps no more, though nothing was freed */
        balance_update(balance, space, request);
    turn_end(space, &turn);
    if (!balance_has_room(balance) &&
        hc_cancellation_check(request->cancellation, err) < 0)
        return -1;
    return balance->missing == 0;
}

/* Whether the bytes would fit if all of the cache went that is not held for good. What
 * moves from one sum to the next meanwhile counts in both: then the request waits. */
static bool space_may_have(const struct hc_free_space *space,
                           const struct hc_space_request *request,
                           const struct hc_space_held *held)
{
    uint64_t limit = atomic_load(&space->limit), floor = atomic_load(&space->floor);
    uint64_t stays = hc_size_add(held->leased, hc_size_add(held->pinned, held->kept));
    uint64_t wanted = hc_size_add(request->needed, stays);
    struct hc_claimed claimed = {0};
    uint64_t available, occupied;

    if (!held->is_known || !space->occupied || (limit > 0 && wanted > limit))
        return false;
    if (!volume_find_free(request->fd, &available))
        return true;
    if (request->claimed)
        claimed = request->claimed(request->ctx);
    return space->occupied(space->occupied_ctx, &occupied) > 0 &&
           hc_size_add(wanted, floor) <=
               hc_size_add(available, hc_size_add(claimed.arrived, occupied));
}

/* Whether nothing has come or gone for so long that nothing will. */
static bool balance_is_still(const struct space_balance *balance, uint64_t *missing,
                             int64_t *since_ms)
{
    int64_t now_ms = hc_monotonic_ms();

    if (*since_ms == 0 || balance->missing != *missing || balance->reserved > 0)
        *since_ms = now_ms;
    *missing = balance->missing;
    return now_ms - *since_ms >= HC_SPACE_STILL_MS;
}

/* As space_take_turn(); 0 is for good. A pause keeps no turn: what the request waits for
 * may need one itself. */
static int space_reclaim(struct hc_free_space *space,
                         const struct hc_space_request *request,
                         struct space_balance *balance, struct hc_error *err)
{
    int64_t pause_ms = PAUSE_MIN_MS, still_since_ms = 0;
    uint64_t missing = 0;

    for (;;) {
        int has_room = space_take_turn(space, request, balance, err);

        if (has_room != 0 || !space_may_have(space, request, &balance->held) ||
            balance_is_still(balance, &missing, &still_since_ms))
            return has_room;
        if (hc_cancellation_sleep(request->cancellation, pause_ms, err) < 0)
            return -1;
        balance_update(balance, space, request);
        if (balance_has_room(balance))
            return 1;
        pause_ms = 2 * pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : PAUSE_MAX_MS;
    }
}

/* "; the rest: 3 bytes leased, 4 bytes pinned", as far as it is known. */
static void held_describe(const struct hc_space_held *held, char text[HELD_SIZE])
{
    const struct {
        uint64_t bytes;
        const char *what;
    } rows[] = {{held->leased, "leased"},
                {held->pinned, "pinned"},
                {held->kept, "kept by the policy"},
                {held->fetched, "being fetched"}};
    const char *before = "; the rest: ";
    int length = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].bytes == 0)
            continue;
        length += snprintf(text + length, HELD_SIZE - (size_t)length,
                           "%s%" PRIu64 " bytes %s", before, rows[i].bytes, rows[i].what);
        before = ", ";
    }
}

static int space_refuse(struct hc_free_space *space,
                        const struct hc_space_request *request,
                        const struct space_balance *balance, struct hc_error *err)
{
    char held[HELD_SIZE];

    (void)atomic_fetch_add(&space->refusals, 1);
    held_describe(&balance->held, held);
    if (balance->limit > 0)
        (void)hc_fail(err, HC_NO_SPACE,
                      "the cache may take %" PRIu64
                      " bytes (cache-limit), of which %" PRIu64 " are free, %" PRIu64
                      " are needed%s: end leases, unpin, or raise the limit",
                      balance->limit, balance->free_bytes, request->needed, held);
    else
        (void)hc_fail(err, HC_NO_SPACE,
                      "the cache volume has %" PRIu64 " bytes free (%" PRIu64
                      " more are promised to running downloads), %" PRIu64
                      " are needed%s: make room, or use a larger volume",
                      balance->free_bytes, balance->reserved, request->needed, held);
    err->needed_bytes = request->needed;
    err->free_bytes = balance->free_bytes;
    err->limit_bytes = balance->limit;
    return -1;
}

int hc_free_space_require(struct hc_free_space *space,
                          const struct hc_space_request *request, struct hc_error *err)
{
    struct space_balance balance;
    int has_room;

    if (request->needed == 0)
        return 0;
    balance = space_compare(space, request);
    has_room = balance_has_room(&balance);
    if (!has_room && space->count > 0 && space_is_large_enough(space, request, &balance))
        has_room = space_reclaim(space, request, &balance, err);
    if (has_room != 0)
        return has_room < 0 ? -1 : 0;
    return space_refuse(space, request, &balance, err);
}

void hc_free_space_describe(int fd, uint64_t needed, struct hc_error *err)
{
    uint64_t free_bytes;

    if (err->reason != HC_NO_SPACE || !volume_find_free(fd, &free_bytes))
        return;
    err->needed_bytes = needed;
    err->free_bytes = free_bytes;
}

struct hc_free_space *hc_free_space_new(struct hc_error *err)
{
    struct hc_free_space *space = calloc(1, sizeof *space);

    if (!space) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&space->shared.lock, NULL);
    hc_condition_init(&space->shared.ended);
    TAILQ_INIT(&space->shared.turns);
    return space;
}

void hc_free_space_free(struct hc_free_space *space)
{
    if (!space)
        return;
    (void)pthread_cond_destroy(&space->shared.ended);
    (void)pthread_mutex_destroy(&space->shared.lock);
    free(space);
}

void hc_free_space_add_reclaimer(struct hc_free_space *space, hc_reclaim_fn reclaim,
                                 void *ctx)
{
    assert(space->count < HC_RECLAIMERS_MAX);
    space->reclaim[space->count] = reclaim;
    space->ctx[space->count++] = ctx;
}

void hc_free_space_set_occupied(struct hc_free_space *space, hc_occupied_fn occupied,
                                void *ctx)
{
    space->occupied = occupied;
    space->occupied_ctx = ctx;
}

void hc_free_space_set_bounds(struct hc_free_space *space, uint64_t limit, uint64_t floor)
{
    atomic_store(&space->limit, limit);
    atomic_store(&space->floor, floor);
}

uint64_t hc_free_space_refusals(const struct hc_free_space *space)
{
    return atomic_load(&space->refusals);
}

void hc_free_space_get_bounds(const struct hc_free_space *space, uint64_t *limit,
                              uint64_t *floor)
{
    *limit = atomic_load(&space->limit);
    *floor = atomic_load(&space->floor);
}

uint64_t hc_free_space_bounds(const struct hc_free_space *space)
{
    uint64_t limit, floor;

    hc_free_space_get_bounds(space, &limit, &floor);
    return limit > floor ? limit : floor;
}
