/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter, and a condition for those who wait. A caller's cancellation does not reach
 * the condition: waiters look at their call every now and then.
 */
#include "budget.h"

#include <base/condition.h>

#include <pthread.h>

enum { GLANCE_MS = 100 };

struct hc_budget {
    unsigned size;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        unsigned free;
        unsigned waiting;
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

struct hc_budget *hc_budget_new(unsigned connections, struct hc_error *err)
{
    struct hc_budget *budget = calloc(1, sizeof *budget);

    if (!budget) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    budget->size = budget->shared.free = connections;
    (void)pthread_mutex_init(&budget->shared.lock, NULL);
    hc_condition_init(&budget->shared.news);
    return budget;
}

void hc_budget_free(struct hc_budget *budget)
{
    if (!budget)
        return;
    (void)pthread_cond_destroy(&budget->shared.news);
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

static void glance(struct hc_budget *budget)
{
    hc_condition_wait(&budget->shared.news, &budget->shared.lock, GLANCE_MS);
}

int hc_budget_take(struct hc_budget *budget, struct hc_call *call, struct hc_error *err)
{
    int result = 0;

    lock(budget);
    budget->shared.waiting++;
    while (result == 0 && budget->shared.free == 0) {
        result = hc_call_check(call, err);
        if (result == 0)
            glance(budget);
    }
    budget->shared.waiting--;
    if (result == 0)
        budget->shared.free--;
    unlock(budget);
    return result;
}

bool hc_budget_try(struct hc_budget *budget)
{
    bool is_taken;

    lock(budget);
    is_taken = budget->shared.free > 0 && budget->shared.waiting == 0;
    budget->shared.free -= is_taken;
    unlock(budget);
    return is_taken;
}

bool hc_budget_is_short(struct hc_budget *budget)
{
    bool is_short;

    lock(budget);
    is_short = budget->shared.waiting > budget->shared.free;
    unlock(budget);
    return is_short;
}

void hc_budget_give_back(struct hc_budget *budget, unsigned count)
{
    lock(budget);
    budget->shared.free += count;
    (void)pthread_cond_broadcast(&budget->shared.news);
    unlock(budget);
}
