/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of errands by what they fetch. The one lock guards the table and the lists of
 * waiters; waiters are told after it has been let go. An errand is
 *
 *     queued for the disk pool → looking → queued for the Hub pool → running → done
 *
 * and skips the first two when the disk has been asked already. When its last waiter
 * leaves, it is taken off the table at once, so that the next caller begins a new one
 * instead of joining one that is being cancelled. If it is queued, it is withdrawn from
 * the pool and freed; else the thread that works on it finds no waiter, and frees it.
 *
 * The pools and hc_cancellation_cancel() are called with the lock held: that is what keeps the
 * errand alive meanwhile, and their own locks are held for a few instructions only.
 */
#include "errand.h"

#include "status.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct hc_errand {
    struct hc_task task;
    struct hc_errands *errands;
    struct hc_workers *pool; /* that it is queued for, or was */
    struct hc_cancellation *call;
    struct hc_order order;
    size_t bucket;
    struct hc_errand *next, **here; /* NULL `here`: not on the table */
    struct hc_waiter *waiters;
    unsigned waiting, watching;
};

struct hc_errands {
    struct hc_workers *disk, *hub;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t empty;
        struct hc_errand *buckets[BUCKETS];
        unsigned unfinished, waiting;
        bool is_cancelled;
    } shared;
};

static size_t bucket_of(const struct hc_order *order)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, order->request, order->size);

    return hc_hash_bytes(hash, order->token, strlen(order->token)) % BUCKETS;
}

static bool is_same(const struct hc_order *one, const struct hc_order *other)
{
    return one->type == other->type && one->size == other->size &&
           strcmp(one->token, other->token) == 0 &&
           memcmp(one->request, other->request, one->size) == 0;
}

/* With the lock held, as all up to `join`. */
static void table_remove(struct hc_errand *errand)
{
    if (!errand->here)
        return;
    *errand->here = errand->next;
    if (errand->next)
        errand->next->here = errand->here;
    errand->here = NULL;
}

static void table_add(struct hc_errand *errand)
{
    struct hc_errand **bucket = &errand->errands->shared.buckets[errand->bucket];

    errand->next = *bucket;
    errand->here = bucket;
    if (*bucket)
        (*bucket)->here = &errand->next;
    *bucket = errand;
}

static struct hc_errand *table_find(struct hc_errands *errands,
                                    const struct hc_order *order, size_t bucket)
{
    struct hc_errand *errand = errands->shared.buckets[bucket];

    while (errand && !is_same(&errand->order, order))
        errand = errand->next;
    return errand;
}

static void join(struct hc_errand *errand, struct hc_waiter *waiter)
{
    waiter->errand = errand;
    waiter->next = errand->waiters;
    waiter->here = &errand->waiters;
    if (errand->waiters)
        errand->waiters->here = &waiter->next;
    errand->waiters = waiter;
    errand->waiting++;
    errand->watching += waiter->wants_progress;
    errand->errands->shared.waiting++;
    hc_cancellation_extend(errand->call, waiter->deadline_ms);
}

static void errand_free(struct hc_errand *errand)
{
    if (!errand)
        return;
    if (errand->order.token)
        explicit_bzero((uint8_t *)(errand + 1) + errand->order.size,
                       strlen(errand->order.token));
    hc_cancellation_free(errand->call);
    free(errand);
}

HC_DEFINE_AUTO(hc_errand, errand_free)

/* The request and the token are copied behind the struct. */
static struct hc_errand *errand_new(struct hc_errands *errands,
                                    const struct hc_order *order, int64_t deadline_ms)
{
    size_t token_size = strlen(order->token) + 1;
    HC_AUTO(hc_errand) *errand = calloc(1, sizeof *errand + order->size + token_size);
    uint8_t *request;

    if (!errand)
        return NULL;
    request = (uint8_t *)(errand + 1);
    errand->call = hc_cancellation_new(deadline_ms);
    if (!errand->call)
        return NULL;
    memcpy(request, order->request, order->size);
    errand->errands = errands;
    errand->bucket = bucket_of(order);
    errand->order = *order;
    errand->order.request = request;
    errand->order.token = memcpy(request + order->size, order->token, token_size);
    return hc_take(&errand);
}

/* With the lock held: there is one errand less. */
static void forget(struct hc_errands *errands)
{
    if (--errands->shared.unfinished == 0)
        (void)pthread_cond_broadcast(&errands->shared.empty);
}

/* Nobody can join or leave any more. */
static struct hc_waiter *close_list(struct hc_errand *errand)
{
    struct hc_errands *errands = errand->errands;
    struct hc_waiter *waiters;

    (void)pthread_mutex_lock(&errands->shared.lock);
    table_remove(errand);
    waiters = errand->waiters;
    for (struct hc_waiter *waiter = waiters; waiter; waiter = waiter->next)
        waiter->errand = NULL;
    errands->shared.waiting -= errand->waiting;
    forget(errands);
    (void)pthread_mutex_unlock(&errands->shared.lock);
    return waiters;
}

static void finish(struct hc_errand *errand, struct hc_answer *answer)
{
    struct hc_waiter *waiter = close_list(errand);

    while (waiter) {
        struct hc_waiter *next = waiter->next;

        waiter->type->done(waiter, answer);
        waiter = next;
    }
    errand_free(errand);
}

static struct hc_answer *answer_failure(const struct hc_error *err)
{
    return hc_status_answer(err, NULL);
}

/* After the cancellation of all, or the last deadline: nothing more is worth doing. */
static bool is_over(struct hc_errand *errand, struct hc_answer **answer)
{
    struct hc_error err;

    if (hc_cancellation_check(errand->call, &err) == 0)
        return false;
    *answer = answer_failure(&err);
    return true;
}

static bool run(struct hc_task *task)
{
    struct hc_errand *errand = (struct hc_errand *)task;
    const struct hc_errand_type *type = errand->order.type;
    HC_AUTO(hc_answer) *answer = NULL;

    if (!is_over(errand, &answer))
        answer = type->run(type->ctx, &errand->order, errand->call, errand);
    finish(errand, answer);
    return false;
}

/* With the lock held. */
static int submit(struct hc_errand *errand, struct hc_error *err)
{
    struct hc_errands *errands = errand->errands;

    errand->pool = errand->order.has_looked ? errands->hub : errands->disk;
    return hc_workers_submit(errand->pool, &errand->task, err);
}

/* The disk did not answer. An errand that was left meanwhile is not worth a place. */
static void go_on(struct hc_errand *errand)
{
    struct hc_errands *errands = errand->errands;
    HC_AUTO(hc_answer) *failure = NULL;
    struct hc_error err;
    int submitted;

    (void)pthread_mutex_lock(&errands->shared.lock);
    errand->task.run = run;
    errand->order.has_looked = true;
    submitted = errand->waiting > 0
                    ? submit(errand, &err)
                    : hc_fail(&err, HC_CANCELLED, "no caller waits any more");
    (void)pthread_mutex_unlock(&errands->shared.lock);
    if (submitted == 0)
        return;
    failure = answer_failure(&err);
    finish(errand, failure);
}

static bool look(struct hc_task *task)
{
    struct hc_errand *errand = (struct hc_errand *)task;
    const struct hc_errand_type *type = errand->order.type;
    HC_AUTO(hc_answer) *answer = NULL;

    if (is_over(errand, &answer) || type->look(type->ctx, &errand->order, &answer))
        finish(errand, answer);
    else
        go_on(errand);
    return false;
}

_Static_assert(offsetof(struct hc_errand, task) == 0, "run() and look() rely on it");

/* Takes `fresh` onto the table, and queues it. */
static int begin(struct hc_errand *fresh, struct hc_error *err)
{
    struct hc_errands *errands = fresh->errands;

    table_add(fresh);
    errands->shared.unfinished++;
    if (errands->shared.is_cancelled)
        hc_cancellation_cancel(fresh->call);
    fresh->order.has_looked = fresh->order.has_looked || !fresh->order.type->look;
    fresh->task.run = fresh->order.has_looked ? run : look;
    fresh->task.caller = fresh->order.caller;
    fresh->task.repo = fresh->order.repo;
    return submit(fresh, err);
}

/* The waiter joins the errand that is there, else `*fresh`, which is taken; -1 when that
 * one cannot be queued. */
static int join_either(struct hc_errands *errands, struct hc_errand **fresh,
                       struct hc_waiter *waiter, struct hc_error *err)
{
    struct hc_errand *errand;
    int result = 0;

    (void)pthread_mutex_lock(&errands->shared.lock);
    errand = table_find(errands, &(*fresh)->order, (*fresh)->bucket);
    if (errand) {
        join(errand, waiter);
        hc_workers_add_caller(errand->pool, &errand->task, (*fresh)->order.caller);
    } else {
        errand = hc_take(fresh);
        join(errand, waiter);
        result = begin(errand, err);
    }
    (void)pthread_mutex_unlock(&errands->shared.lock);
    return result;
}

void hc_errand_join(struct hc_errands *errands, const struct hc_order *order,
                    struct hc_waiter *waiter)
{
    HC_AUTO(hc_errand) *fresh = errand_new(errands, order, waiter->deadline_ms);
    struct hc_errand *begun = fresh;
    HC_AUTO(hc_answer) *failure = NULL;
    struct hc_error err;

    if (!fresh) {
        waiter->errand = NULL;
        waiter->type->done(waiter, NULL);
        return;
    }
    if (join_either(errands, &fresh, waiter, &err) == 0)
        return;
    failure = answer_failure(&err);
    finish(begun, failure);
}

/* With the lock held: the errand that is to be freed, or NULL. */
static struct hc_errand *quit(struct hc_waiter *waiter)
{
    struct hc_errand *errand = waiter->errand;
    struct hc_errands *errands = errand->errands;

    *waiter->here = waiter->next;
    if (waiter->next)
        waiter->next->here = waiter->here;
    waiter->errand = NULL;
    errand->waiting--;
    errand->watching -= waiter->wants_progress;
    errands->shared.waiting--;
    if (errand->waiting > 0)
        return NULL;
    table_remove(errand);
    hc_cancellation_cancel(errand->call);
    if (!hc_workers_withdraw(errand->pool, &errand->task))
        return NULL;
    forget(errands);
    return errand;
}

bool hc_errand_leave(struct hc_errands *errands, struct hc_waiter *waiter)
{
    HC_AUTO(hc_errand) *withdrawn = NULL;
    bool waits;

    (void)pthread_mutex_lock(&errands->shared.lock);
    waits = waiter->errand;
    if (waits)
        withdrawn = quit(waiter);
    (void)pthread_mutex_unlock(&errands->shared.lock);
    return waits;
}

bool hc_errand_is_watched(struct hc_errand *errand)
{
    bool is_watched;

    (void)pthread_mutex_lock(&errand->errands->shared.lock);
    is_watched = errand->watching > 0;
    (void)pthread_mutex_unlock(&errand->errands->shared.lock);
    return is_watched;
}

/* Those who watch, held; `*count` of them. */
static struct hc_waiter **hold_watchers(struct hc_errand *errand, unsigned *count)
{
    struct hc_errands *errands = errand->errands;
    struct hc_waiter **watchers;

    *count = 0;
    (void)pthread_mutex_lock(&errands->shared.lock);
    watchers = calloc(errand->watching + 1U, sizeof *watchers);
    for (struct hc_waiter *waiter = errand->waiters; watchers && waiter;
         waiter = waiter->next) {
        if (!waiter->wants_progress)
            continue;
        waiter->type->hold(waiter);
        watchers[(*count)++] = waiter;
    }
    (void)pthread_mutex_unlock(&errands->shared.lock);
    return watchers;
}

void hc_errand_tell(struct hc_errand *errand, struct hc_answer *progress)
{
    unsigned count;
    HC_AUTO_FREE struct hc_waiter **watchers = hold_watchers(errand, &count);

    for (unsigned i = 0; i < count; i++) {
        watchers[i]->type->progress(watchers[i], progress);
        watchers[i]->type->release(watchers[i]);
    }
}

void hc_errands_cancel(struct hc_errands *errands)
{
    (void)pthread_mutex_lock(&errands->shared.lock);
    errands->shared.is_cancelled = true;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct hc_errand *errand = errands->shared.buckets[i]; errand;
             errand = errand->next)
            hc_cancellation_cancel(errand->call);
    }
    (void)pthread_mutex_unlock(&errands->shared.lock);
}

void hc_errands_count(struct hc_errands *errands, unsigned *unfinished, unsigned *waiting)
{
    (void)pthread_mutex_lock(&errands->shared.lock);
    *unfinished = errands->shared.unfinished;
    *waiting = errands->shared.waiting;
    (void)pthread_mutex_unlock(&errands->shared.lock);
}

struct hc_errands *hc_errands_open(struct hc_workers *disk, struct hc_workers *hub,
                                   struct hc_error *err)
{
    struct hc_errands *errands = calloc(1, sizeof *errands);

    if (!errands) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    errands->disk = disk;
    errands->hub = hub;
    (void)pthread_mutex_init(&errands->shared.lock, NULL);
    (void)pthread_cond_init(&errands->shared.empty, NULL);
    return errands;
}

void hc_errands_close(struct hc_errands *errands)
{
    if (!errands)
        return;
    (void)pthread_mutex_lock(&errands->shared.lock);
    while (errands->shared.unfinished > 0)
        (void)pthread_cond_wait(&errands->shared.empty, &errands->shared.lock);
    (void)pthread_mutex_unlock(&errands->shared.lock);
    (void)pthread_cond_destroy(&errands->shared.empty);
    (void)pthread_mutex_destroy(&errands->shared.lock);
    free(errands);
}
