/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two lists under one lock: transfers that have connections, and those that wait for the
 * first, each on a condition of its own. A share is in the list of waiters → of holders →
 * in none, once it is released or its caller has left. Whenever a connection is free, the
 * thread that freed it gives it to the waiter that comes first. What only time changes (a
 * connection becomes idle, a caller leaves) the waiters find out by polling.
 *
 * There are few transfers, for each has a thread: so usage is counted anew each time.
 */
#include "budget.h"

#include <base/cancellation.h>

enum {
    POLL_MS = 100,
    RECENT_MS = 1000,
    SUCCESSES_MAX = 64,
    HOSTS_MAX = 256,
    BACKGROUND_DIVISOR = 8
};

/* Idle connections for each one of the others. */
static const unsigned idle_limits[HC_BUDGET_KEYS] = {
    [HC_BUDGET_CALLER] = 3, [HC_BUDGET_REPO] = 1, [HC_BUDGET_HOST] = 3};

TAILQ_HEAD(share_list, hc_budget_share);

struct hc_budget {
    unsigned size;
    struct {
        pthread_mutex_t lock;
        struct share_list holders, waiters;
        unsigned free;
        struct {
            uint64_t keys[HC_BUDGET_KEYS];
            int64_t ms;
        } successes[SUCCESSES_MAX]; /* the last transfers that ended well */
        unsigned next_success;
        struct {
            uint64_t repo, host;
        } hosts
            [HOSTS_MAX]; /* where repos had their bytes last, as far as there is room */
    } shared;
};

/* ---- usage, all with the lock held ----------------------------------------------------
 */

static uint64_t share_arrived(const struct hc_budget_share *share)
{
    return share->arrived ? share->arrived(share->ctx) : 0;
}

/* A transfer is idle until bytes begin to come, and after a second without any. */
static void budget_mark_idle(struct hc_budget *budget, int64_t now_ms)
{
    struct hc_budget_share *holder;

    TAILQ_FOREACH(holder, &budget->shared.holders, budget.link)
    {
        uint64_t bytes = share_arrived(holder);

        if (bytes != holder->budget.seen)
            holder->budget.moved_ms = now_ms;
        holder->budget.seen = bytes;
        holder->budget.is_idle =
            holder->budget.moved_ms == 0 || now_ms - holder->budget.moved_ms >= RECENT_MS;
    }
}

static bool share_has_key(const uint64_t *keys, const struct hc_budget_share *other,
                          int key)
{
    return keys[key] == other->keys[key] && keys[key] != 0;
}

static bool budget_has_recent_success(const struct hc_budget *budget,
                                      const struct hc_budget_share *share, int key,
                                      int64_t now_ms)
{
    for (unsigned i = 0; i < SUCCESSES_MAX; i++) {
        int64_t ended_ms = budget->shared.successes[i].ms;

        if (ended_ms != 0 && now_ms - ended_ms < RECENT_MS &&
            share_has_key(budget->shared.successes[i].keys, share, key))
            return true;
    }
    return false;
}

/* What all transfers hold, as far as it counts against one that asks for a connection. */
struct usage {
    unsigned held;                /* transfers of its caller, repo and host, together */
    unsigned idle;                /* transfers that bring nothing, */
    unsigned own[HC_BUDGET_KEYS]; /* and those of its caller, of its repo, of its host */
};

static struct usage budget_count_usage(const struct hc_budget *budget,
                                       const struct hc_budget_share *share)
{
    struct usage usage = {0};
    const struct hc_budget_share *holder;

    TAILQ_FOREACH(holder, &budget->shared.holders, budget.link)
    {
        usage.idle += holder->budget.is_idle;
        for (int key = 0; key < HC_BUDGET_KEYS; key++) {
            bool is_own = share_has_key(share->keys, holder, key);

            usage.held += is_own;
            usage.own[key] += is_own && holder->budget.is_idle;
        }
    }
    return usage;
}

static bool share_is_within_limits(const struct hc_budget *budget,
                                   const struct hc_budget_share *share,
                                   const struct usage *usage, int64_t now_ms)
{
    unsigned others = budget->size > usage->idle ? budget->size - usage->idle : 0;

    for (int key = 0; key < HC_BUDGET_KEYS; key++) {
        if (usage->own[key] > 0 && usage->own[key] >= idle_limits[key] * others &&
            !budget_has_recent_success(budget, share, key, now_ms))
            return false;
    }
    return true;
}

static bool share_is_background(const struct hc_budget_share *share)
{
    return share->hurried && atomic_load(share->hurried) == 0;
}

/* Adds what the shares of one list that are in the background hold. True: another one is
 * among them. */
static bool shares_count_background(const struct share_list *list, unsigned *held)
{
    const struct hc_budget_share *share;
    bool has_other = false;

    TAILQ_FOREACH(share, list, budget.link)
    {
        if (share_is_background(share))
            *held += share->budget.held;
        else
            has_other = true;
    }
    return has_other;
}

/* Whether the share is in the background, others are there, and those in the background
 * would have too many connections with `spare` more. */
static bool share_gives_way(const struct hc_budget *budget,
                            const struct hc_budget_share *share, unsigned spare)
{
    unsigned most = budget->size / BACKGROUND_DIVISOR, held = 0;
    bool has_other;

    if (!share_is_background(share))
        return false;
    has_other = shares_count_background(&budget->shared.holders, &held);
    has_other |= shares_count_background(&budget->shared.waiters, &held);
    return has_other && held + spare > (most > 0 ? most : 1);
}

/* Of two that may have a connection. */
static bool waiter_goes_before(const struct hc_budget_share *waiter, unsigned held,
                               const struct hc_budget_share *other, unsigned other_held)
{
    bool is_background = share_is_background(waiter);

    if (is_background != share_is_background(other))
        return !is_background;
    return held < other_held;
}

/* The waiter that comes first, if there is one that may have a connection. */
static struct hc_budget_share *budget_next_waiter(struct hc_budget *budget)
{
    const int64_t now_ms = hc_monotonic_ms();
    struct hc_budget_share *waiter, *next = NULL;
    unsigned fewest = 0;

    if (TAILQ_EMPTY(&budget->shared.waiters))
        return NULL;
    budget_mark_idle(budget, now_ms);
    TAILQ_FOREACH(waiter, &budget->shared.waiters, budget.link)
    {
        struct usage usage = budget_count_usage(budget, waiter);

        if ((next && !waiter_goes_before(waiter, usage.held, next, fewest)) ||
            !share_is_within_limits(budget, waiter, &usage, now_ms) ||
            share_gives_way(budget, waiter, 1))
            continue;
        next = waiter;
        fewest = usage.held;
    }
    return next;
}

/* Returns whether there is a waiter to whom the next connection belongs. */
static bool budget_serve_waiters(struct hc_budget *budget)
{
    struct hc_budget_share *next;

    while ((next = budget_next_waiter(budget)) && budget->shared.free > 0) {
        TAILQ_REMOVE(&budget->shared.waiters, next, budget.link);
        TAILQ_INSERT_TAIL(&budget->shared.holders, next, budget.link);
        next->budget.held = 1;
        budget->shared.free--;
        (void)pthread_cond_signal(&next->budget.changed);
    }
    return next;
}

static void share_guess_host(const struct hc_budget *budget,
                             struct hc_budget_share *share)
{
    uint64_t repo = share->keys[HC_BUDGET_REPO];

    if (share->keys[HC_BUDGET_HOST] == 0 &&
        budget->shared.hosts[repo % HOSTS_MAX].repo == repo)
        share->keys[HC_BUDGET_HOST] = budget->shared.hosts[repo % HOSTS_MAX].host;
}

static void budget_remember_end(struct hc_budget *budget,
                                const struct hc_budget_share *share, bool went_well)
{
    uint64_t repo = share->keys[HC_BUDGET_REPO];

    if (share->keys[HC_BUDGET_HOST] != 0) {
        budget->shared.hosts[repo % HOSTS_MAX].repo = repo;
        budget->shared.hosts[repo % HOSTS_MAX].host = share->keys[HC_BUDGET_HOST];
    }
    if (went_well) {
        unsigned i = budget->shared.next_success++ % SUCCESSES_MAX;

        for (int key = 0; key < HC_BUDGET_KEYS; key++)
            budget->shared.successes[i].keys[key] = share->keys[key];
        budget->shared.successes[i].ms = hc_monotonic_ms();
    }
}

/* ---- public
 * ----------------------------------------------------------------------------
 *  */

struct hc_budget *hc_budget_new(unsigned connections, struct hc_error *err)
{
    struct hc_budget *budget = calloc(1, sizeof *budget);

    if (!budget) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    budget->size = budget->shared.free = connections;
    TAILQ_INIT(&budget->shared.holders);
    TAILQ_INIT(&budget->shared.waiters);
    (void)pthread_mutex_init(&budget->shared.lock, NULL);
    return budget;
}

void hc_budget_free(struct hc_budget *budget)
{
    if (!budget)
        return;
    (void)pthread_mutex_destroy(&budget->shared.lock);
    free(budget);
}

unsigned hc_budget_size(const struct hc_budget *budget)
{
    return budget->size;
}

unsigned hc_budget_used(struct hc_budget *budget)
{
    HC_LOCKED(&budget->shared.lock);

    return budget->size - budget->shared.free;
}

unsigned hc_budget_waiting(struct hc_budget *budget)
{
    const struct hc_budget_share *waiter;
    unsigned waiting = 0;
    HC_LOCKED(&budget->shared.lock);

    TAILQ_FOREACH(waiter, &budget->shared.waiters, budget.link)
    {
        waiting++;
    }
    return waiting;
}

int hc_budget_take(struct hc_budget *budget, struct hc_budget_share *share,
                   struct hc_cancellation *cancellation, struct hc_error *err)
{
    int result = 0;

    hc_condition_init(&share->budget.changed);
    HC_LOCKED(&budget->shared.lock);

    share_guess_host(budget, share);
    share->budget.seen = share_arrived(share);
    TAILQ_INSERT_TAIL(&budget->shared.waiters, share, budget.link);
    (void)budget_serve_waiters(budget);
    while (share->budget.held == 0 &&
           (result = hc_cancellation_wait(cancellation, &share->budget.changed,
                                          &budget->shared.lock, POLL_MS, err)) == 0)
        (void)budget_serve_waiters(budget);
    if (result < 0) {
        TAILQ_REMOVE(&budget->shared.waiters, share, budget.link);
        (void)pthread_cond_destroy(&share->budget.changed);
    }
    return result;
}

bool hc_budget_try_take(struct hc_budget *budget, struct hc_budget_share *share)
{
    const int64_t now_ms = hc_monotonic_ms();
    struct usage usage;
    bool is_taken;
    HC_LOCKED(&budget->shared.lock);

    budget_mark_idle(budget, now_ms);
    usage = budget_count_usage(budget, share);
    is_taken = !budget_serve_waiters(budget) && budget->shared.free > 0 &&
               share_is_within_limits(budget, share, &usage, now_ms) &&
               !share_gives_way(budget, share, 1);
    budget->shared.free -= is_taken;
    share->budget.held += is_taken;
    return is_taken;
}

bool hc_budget_is_contended(struct hc_budget *budget, const struct hc_budget_share *share)
{
    HC_LOCKED(&budget->shared.lock);

    return budget_serve_waiters(budget) || share_gives_way(budget, share, 0);
}

void hc_budget_give_back(struct hc_budget *budget, struct hc_budget_share *share,
                         unsigned count)
{
    HC_LOCKED(&budget->shared.lock);

    share->budget.held -= count;
    budget->shared.free += count;
    (void)budget_serve_waiters(budget);
}

void hc_budget_release(struct hc_budget *budget, struct hc_budget_share *share,
                       uint64_t host, bool went_well)
{
    HC_LOCKED(&budget->shared.lock);

    if (host != 0)
        share->keys[HC_BUDGET_HOST] = host;
    TAILQ_REMOVE(&budget->shared.holders, share, budget.link);
    budget->shared.free += share->budget.held;
    share->budget.held = 0;
    budget_remember_end(budget, share, went_well);
    (void)budget_serve_waiters(budget);
    (void)pthread_cond_destroy(&share->budget.changed);
}
