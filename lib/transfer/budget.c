/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two lists under one lock: transfers that have connections, and those that wait for the
 * first, each on a condition of its own. Whenever a connection is free, serve() gives it to
 * the waiter whose turn it is. What only time changes (a connection has become idle, a
 * caller has left) the waiters find out by looking every now and then.
 *
 * There are few transfers, for each has a thread: so shares are counted anew each time.
 */
#include "budget.h"

#include <base/condition.h>

enum { GLANCE_MS = 100, RECENT_MS = 1000, ENDS_MAX = 64, HOSTS_MAX = 256 };

/* Idle connections for each one of the others. */
static const unsigned weights[HC_GRANT_KEYS] = {
    [HC_GRANT_CALLER] = 3, [HC_GRANT_REPO] = 1, [HC_GRANT_HOST] = 3};

TAILQ_HEAD(grant_list, hc_grant);

/* A transfer that has ended well. */
struct end {
    uint64_t keys[HC_GRANT_KEYS];
    int64_t ms;
};

struct hc_budget {
    unsigned size;
    struct {
        pthread_mutex_t lock;
        struct grant_list holders, waiters;
        unsigned free;
        struct end ends[ENDS_MAX]; /* the last ones */
        unsigned next_end;
        struct {
            uint64_t repo, host;
        } hosts
            [HOSTS_MAX]; /* where repos had their bytes last, as far as there is room */
    } shared;
};

static void lock(struct hc_budget *budget)
{
    (void)pthread_mutex_lock(&budget->shared.lock);
}

static void unlock(struct hc_budget *budget)
{
    (void)pthread_mutex_unlock(&budget->shared.lock);
}

/* --- shares, all with the lock held ----------------------------------------------------
 */

static uint64_t arrived(const struct hc_grant *grant)
{
    return grant->arrived ? grant->arrived(grant->ctx) : 0;
}

/* A transfer is idle until bytes begin to come, and after a second without any. */
static void look_for_idle(struct hc_budget *budget, int64_t now_ms)
{
    struct hc_grant *holder;

    TAILQ_FOREACH(holder, &budget->shared.holders, budget.link)
    {
        uint64_t bytes = arrived(holder);

        if (bytes != holder->budget.seen)
            holder->budget.moved_ms = now_ms;
        holder->budget.seen = bytes;
        holder->budget.is_idle =
            holder->budget.moved_ms == 0 || now_ms - holder->budget.moved_ms >= RECENT_MS;
    }
}

static bool is_same(const uint64_t *keys, const struct hc_grant *other, int key)
{
    return keys[key] == other->keys[key] && keys[key] != 0;
}

static bool has_ended_well(const struct hc_budget *budget, const struct hc_grant *grant,
                           int key, int64_t now_ms)
{
    for (unsigned i = 0; i < ENDS_MAX; i++) {
        const struct end *end = &budget->shared.ends[i];

        if (end->ms != 0 && is_same(end->keys, grant, key) &&
            now_ms - end->ms < RECENT_MS)
            return true;
    }
    return false;
}

/* What others hold as it stands for a transfer that wants a connection. */
struct standing {
    unsigned held;               /* transfers of its caller, repo and host, together */
    unsigned idle;               /* transfers that bring nothing, */
    unsigned own[HC_GRANT_KEYS]; /* and those of its caller, of its repo, of its host */
};

static struct standing stand(const struct hc_budget *budget, const struct hc_grant *grant)
{
    struct standing standing = {0};
    const struct hc_grant *holder;

    TAILQ_FOREACH(holder, &budget->shared.holders, budget.link)
    {
        standing.idle += holder->budget.is_idle;
        for (int key = 0; key < HC_GRANT_KEYS; key++) {
            bool is_own = is_same(grant->keys, holder, key);

            standing.held += is_own;
            standing.own[key] += is_own && holder->budget.is_idle;
        }
    }
    return standing;
}

static bool has_share(const struct hc_budget *budget, const struct hc_grant *grant,
                      const struct standing *standing, int64_t now_ms)
{
    unsigned others = budget->size > standing->idle ? budget->size - standing->idle : 0;

    for (int key = 0; key < HC_GRANT_KEYS; key++) {
        if (standing->own[key] > 0 && standing->own[key] >= weights[key] * others &&
            !has_ended_well(budget, grant, key, now_ms))
            return false;
    }
    return true;
}

/* The waiter whose turn it is, if there is one that may have a connection. */
static struct hc_grant *find_next(struct hc_budget *budget)
{
    const int64_t now_ms = hc_monotonic_ms();
    struct hc_grant *waiter, *next = NULL;
    unsigned fewest = 0;

    if (TAILQ_EMPTY(&budget->shared.waiters))
        return NULL;
    look_for_idle(budget, now_ms);
    TAILQ_FOREACH(waiter, &budget->shared.waiters, budget.link)
    {
        struct standing standing = stand(budget, waiter);

        if ((next && standing.held >= fewest) ||
            !has_share(budget, waiter, &standing, now_ms))
            continue;
        next = waiter;
        fewest = standing.held;
    }
    return next;
}

/* Returns whether there is a waiter to whom the next connection belongs. */
static bool serve(struct hc_budget *budget)
{
    struct hc_grant *next;

    while ((next = find_next(budget)) && budget->shared.free > 0) {
        TAILQ_REMOVE(&budget->shared.waiters, next, budget.link);
        TAILQ_INSERT_TAIL(&budget->shared.holders, next, budget.link);
        next->budget.held = 1;
        budget->shared.free--;
        (void)pthread_cond_signal(&next->budget.news);
    }
    return next;
}

static void find_host(const struct hc_budget *budget, struct hc_grant *grant)
{
    uint64_t repo = grant->keys[HC_GRANT_REPO];

    if (grant->keys[HC_GRANT_HOST] == 0 &&
        budget->shared.hosts[repo % HOSTS_MAX].repo == repo)
        grant->keys[HC_GRANT_HOST] = budget->shared.hosts[repo % HOSTS_MAX].host;
}

static void remember(struct hc_budget *budget, const struct hc_grant *grant,
                     bool went_well)
{
    uint64_t repo = grant->keys[HC_GRANT_REPO];

    if (grant->keys[HC_GRANT_HOST] != 0) {
        budget->shared.hosts[repo % HOSTS_MAX].repo = repo;
        budget->shared.hosts[repo % HOSTS_MAX].host = grant->keys[HC_GRANT_HOST];
    }
    if (went_well) {
        struct end *end = &budget->shared.ends[budget->shared.next_end++ % ENDS_MAX];

        for (int key = 0; key < HC_GRANT_KEYS; key++)
            end->keys[key] = grant->keys[key];
        end->ms = hc_monotonic_ms();
    }
}

/* --- public ----------------------------------------------------------------------------
 */

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
    unsigned used;

    lock(budget);
    used = budget->size - budget->shared.free;
    unlock(budget);
    return used;
}

unsigned hc_budget_waiting(struct hc_budget *budget)
{
    const struct hc_grant *waiter;
    unsigned waiting = 0;

    lock(budget);
    TAILQ_FOREACH(waiter, &budget->shared.waiters, budget.link)
    {
        waiting++;
    }
    unlock(budget);
    return waiting;
}

int hc_budget_take(struct hc_budget *budget, struct hc_grant *grant,
                   struct hc_cancellation *call, struct hc_error *err)
{
    int result = 0;

    hc_condition_init(&grant->budget.news);
    lock(budget);
    find_host(budget, grant);
    grant->budget.seen = arrived(grant);
    TAILQ_INSERT_TAIL(&budget->shared.waiters, grant, budget.link);
    (void)serve(budget);
    while (grant->budget.held == 0 && (result = hc_cancellation_check(call, err)) == 0) {
        hc_condition_wait(&grant->budget.news, &budget->shared.lock, GLANCE_MS);
        (void)serve(budget);
    }
    if (result < 0)
        TAILQ_REMOVE(&budget->shared.waiters, grant, budget.link);
    unlock(budget);
    if (result < 0)
        (void)pthread_cond_destroy(&grant->budget.news);
    return result;
}

bool hc_budget_try(struct hc_budget *budget, struct hc_grant *grant)
{
    const int64_t now_ms = hc_monotonic_ms();
    struct standing standing;
    bool is_taken;

    lock(budget);
    look_for_idle(budget, now_ms);
    standing = stand(budget, grant);
    is_taken = !serve(budget) && budget->shared.free > 0 &&
               has_share(budget, grant, &standing, now_ms);
    budget->shared.free -= is_taken;
    grant->budget.held += is_taken;
    unlock(budget);
    return is_taken;
}

bool hc_budget_is_short(struct hc_budget *budget)
{
    bool is_short;

    lock(budget);
    is_short = serve(budget);
    unlock(budget);
    return is_short;
}

void hc_budget_give_back(struct hc_budget *budget, struct hc_grant *grant, unsigned count)
{
    lock(budget);
    grant->budget.held -= count;
    budget->shared.free += count;
    (void)serve(budget);
    unlock(budget);
}

void hc_budget_end(struct hc_budget *budget, struct hc_grant *grant, uint64_t host,
                   bool went_well)
{
    lock(budget);
    if (host != 0)
        grant->keys[HC_GRANT_HOST] = host;
    TAILQ_REMOVE(&budget->shared.holders, grant, budget.link);
    budget->shared.free += grant->budget.held;
    grant->budget.held = 0;
    remember(budget, grant, went_well);
    (void)serve(budget);
    unlock(budget);
    (void)pthread_cond_destroy(&grant->budget.news);
}
