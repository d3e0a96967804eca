/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of errands by what they fetch. The one lock guards the table and the lists of
 * waiters; waiters are told after it has been let go. An errand that everybody has left
 * is taken off the table at once, so that who comes next begins a new one instead of
 * joining one that is being cancelled; the worker that runs it frees it.
 *
 * hc_call_cancel() is called with the lock held: that is what keeps the errand alive
 * meanwhile, and a call's own lock is held for a few instructions only.
 */
#include "errand.h"

#include "status.h"

#include <base/error.h>

#include <pthread.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct hc_errand {
    struct hc_task task;
    struct hc_errands *errands;
    struct hc_call *call;
    struct hc_order order;
    size_t bucket;
    struct hc_errand *next, **here; /* NULL `here`: not on the table */
    struct hc_waiter *waiters;
    unsigned waiting, watching;
};

struct hc_errands {
    struct hc_workers *workers;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t empty;
        struct hc_errand *buckets[BUCKETS];
        unsigned unfinished, waiting;
        bool is_cancelled;
    } shared;
};

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

static size_t bucket_of(const struct hc_order *order)
{
    uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), order->request, order->size);

    return hash_bytes(hash, order->token, strlen(order->token)) % BUCKETS;
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
    hc_call_extend(errand->call, waiter->deadline_ms);
}

static void errand_free(struct hc_errand *errand)
{
    if (!errand)
        return;
    hc_call_free(errand->call);
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
    errand->call = hc_call_new(deadline_ms);
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
    if (--errands->shared.unfinished == 0)
        (void)pthread_cond_broadcast(&errands->shared.empty);
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

static void run(struct hc_task *task)
{
    struct hc_errand *errand = (struct hc_errand *)task;
    const struct hc_errand_type *type = errand->order.type;
    HC_AUTO(hc_answer) *answer =
        type->run(type->ctx, &errand->order, errand->call, errand);

    finish(errand, answer);
}

_Static_assert(offsetof(struct hc_errand, task) == 0, "run() relies on it");

/* The waiter joins the errand that is there, else `fresh`: then true. */
static bool join_either(struct hc_errands *errands, struct hc_errand *fresh,
                        struct hc_waiter *waiter)
{
    struct hc_errand *found;

    (void)pthread_mutex_lock(&errands->shared.lock);
    found = table_find(errands, &fresh->order, fresh->bucket);
    if (!found) {
        table_add(fresh);
        errands->shared.unfinished++;
    }
    if (errands->shared.is_cancelled)
        hc_call_cancel(fresh->call);
    join(found ? found : fresh, waiter);
    (void)pthread_mutex_unlock(&errands->shared.lock);
    return !found;
}

void hc_errand_join(struct hc_errands *errands, const struct hc_order *order,
                    struct hc_waiter *waiter)
{
    HC_AUTO(hc_errand) *fresh = errand_new(errands, order, waiter->deadline_ms);
    HC_AUTO(hc_answer) *failure = NULL;
    struct hc_errand *begun;
    struct hc_error err;

    if (!fresh) {
        waiter->errand = NULL;
        waiter->type->done(waiter, NULL);
        return;
    }
    if (!join_either(errands, fresh, waiter))
        return;
    begun = hc_take(&fresh);
    begun->task.run = run;
    if (hc_workers_submit(errands->workers, &begun->task, &err) == 0)
        return;
    failure = hc_status_answer(&err, NULL);
    finish(begun, failure);
}

/* With the lock held. */
static void quit(struct hc_waiter *waiter)
{
    struct hc_errand *errand = waiter->errand;

    *waiter->here = waiter->next;
    if (waiter->next)
        waiter->next->here = waiter->here;
    waiter->errand = NULL;
    errand->waiting--;
    errand->watching -= waiter->wants_progress;
    errand->errands->shared.waiting--;
    if (errand->waiting > 0)
        return;
    table_remove(errand);
    hc_call_cancel(errand->call);
}

bool hc_errand_leave(struct hc_errands *errands, struct hc_waiter *waiter)
{
    bool waits;

    (void)pthread_mutex_lock(&errands->shared.lock);
    waits = waiter->errand;
    if (waits)
        quit(waiter);
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
            hc_call_cancel(errand->call);
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

struct hc_errands *hc_errands_open(struct hc_workers *workers, struct hc_error *err)
{
    struct hc_errands *errands = calloc(1, sizeof *errands);

    if (!errands) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    errands->workers = workers;
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
