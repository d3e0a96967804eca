/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of coalesced requests by their keys. One lock guards the table and the lists of
 * waiters; waiters get their answers after it is released. The states of a coalesced
 * request:
 *
 *     queued for the disk   in the queue of the disk pool; skipped if the edge's thread
 *                           has looked at the disk already
 *     looking               a worker thread of the disk pool looks at the disk
 *     queued for the Hub    the disk did not answer it
 *     running               a worker thread of the Hub pool asks the Hub
 *     done                  off the table: its waiters get the answer, and it is freed
 *
 * When its last waiter leaves, a request is taken off the table at once, so that the next
 * equal call begins a new one instead of joining one that is being cancelled. If the
 * request is queued, the thread of the call that leaves withdraws and frees it; else the
 * worker thread finds no waiter at the end, and frees it.
 *
 * Memory has two bounds. Of the calls that may wait, one caller has three quarters at
 * most, as in the queues of base/workers.c. A request may take half of the bytes that are
 * left: so large ones are refused early, and small ones as good as never.
 *
 * The pools and hc_cancellation_cancel() are called with the lock held, an exception from
 * the rule of one lock at a time: the lock keeps the request alive meanwhile, and neither
 * calls back while it holds its own lock for a few instructions.
 */
#include "coalescer.h"

#include "caller.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <string.h>

enum { BUCKETS = 1024, CALLERS = 1024, RETRY_AFTER_MS = 1000 };

struct hc_coalesced_request {
    struct hc_task task;
    struct hc_coalescer *coalescer;
    struct hc_workers *pool; /* the one that it was queued for last */
    struct hc_cancellation *cancellation;
    struct hc_request_key key;
    size_t bucket;
    struct hc_coalesced_request *next, **here; /* NULL `here`: not on the table */
    struct hc_waiter *waiters;
    unsigned waiting, watching;
};

struct hc_coalescer {
    struct hc_workers *disk, *hub;
    const struct hc_coalescer_work *work;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t empty;
        struct hc_coalesced_request *buckets[BUCKETS];
        unsigned unfinished, waiting;
        unsigned waiting_of[CALLERS]; /* by the caller's hash: callers may share one */
        size_t bytes;                 /* of the requests */
        bool is_cancelled;
    } shared;
};

static size_t key_bucket(const struct hc_request_key *key)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, key->request, key->size);

    return hc_hash_bytes(hash, key->token, strlen(key->token)) % BUCKETS;
}

static bool identity_is_same(const struct hc_caller *one, const struct hc_caller *other)
{
    return one && other ? hc_keyed_hash_equals(&one->key, &other->key) : one == other;
}

static bool key_is_same(const struct hc_request_key *one,
                        const struct hc_request_key *other)
{
    return one->kind == other->kind && one->size == other->size &&
           one->policy == other->policy && strcmp(one->token, other->token) == 0 &&
           identity_is_same(one->identity, other->identity) &&
           memcmp(one->request, other->request, one->size) == 0;
}

/* The lock is held here and in the functions up to request_add_waiter(). */
static void request_unlist(struct hc_coalesced_request *request)
{
    if (!request->here)
        return;
    *request->here = request->next;
    if (request->next)
        request->next->here = request->here;
    request->here = NULL;
}

static void request_list(struct hc_coalesced_request *request)
{
    struct hc_coalesced_request **bucket =
        &request->coalescer->shared.buckets[request->bucket];

    request->next = *bucket;
    request->here = bucket;
    if (*bucket)
        (*bucket)->here = &request->next;
    *bucket = request;
}

static struct hc_coalesced_request *coalescer_find(struct hc_coalescer *coalescer,
                                                   const struct hc_request_key *key,
                                                   size_t bucket)
{
    struct hc_coalesced_request *request = coalescer->shared.buckets[bucket];

    while (request && !key_is_same(&request->key, key))
        request = request->next;
    return request;
}

static void request_add_waiter(struct hc_coalesced_request *request,
                               struct hc_waiter *waiter)
{
    waiter->request = request;
    waiter->next = request->waiters;
    waiter->here = &request->waiters;
    if (request->waiters)
        request->waiters->here = &waiter->next;
    request->waiters = waiter;
    request->waiting++;
    request->watching += waiter->wants_progress;
    request->coalescer->shared.waiting++;
    request->coalescer->shared.waiting_of[waiter->caller % CALLERS]++;
    hc_cancellation_extend(request->cancellation, waiter->deadline_ms);
}

static void request_free(struct hc_coalesced_request *request)
{
    if (!request)
        return;
    if (request->key.token)
        explicit_bzero((uint8_t *)(request + 1) + request->key.size,
                       strlen(request->key.token));
    hc_caller_release(request->key.identity);
    hc_cancellation_free(request->cancellation);
    free(request);
}

HC_DEFINE_AUTO(hc_coalesced_request, request_free)

/* Copies the request's bytes and the token behind the struct; request_free() wipes it. */
static struct hc_coalesced_request *request_new(struct hc_coalescer *coalescer,
                                                const struct hc_request_key *key,
                                                int64_t deadline_ms)
{
    size_t token_size = strlen(key->token) + 1;
    HC_AUTO(hc_coalesced_request) *request =
        calloc(1, sizeof *request + key->size + token_size);
    uint8_t *bytes;

    if (!request)
        return NULL;
    bytes = (uint8_t *)(request + 1);
    request->cancellation = hc_cancellation_new(deadline_ms);
    if (!request->cancellation)
        return NULL;
    memcpy(bytes, key->request, key->size);
    request->coalescer = coalescer;
    request->bucket = key_bucket(key);
    request->key = *key;
    request->key.identity = hc_caller_hold(key->identity);
    request->key.request = bytes;
    request->key.token = memcpy(bytes + key->size, key->token, token_size);
    return hc_take(&request);
}

/* The lock is held. Counts one coalesced request less. */
static void coalescer_forget(struct hc_coalescer *coalescer,
                             const struct hc_coalesced_request *request)
{
    coalescer->shared.bytes -= request->key.size;
    if (--coalescer->shared.unfinished == 0)
        (void)pthread_cond_broadcast(&coalescer->shared.empty);
}

/*
 * Takes the request and its waiters apart: from now on no call can join it or leave it,
 * so the waiters of the returned list can be answered without the lock.
 */
static struct hc_waiter *request_close(struct hc_coalesced_request *request)
{
    struct hc_coalescer *coalescer = request->coalescer;
    struct hc_waiter *waiters;
    HC_LOCKED(&coalescer->shared.lock);

    request_unlist(request);
    waiters = request->waiters;
    for (struct hc_waiter *waiter = waiters; waiter; waiter = waiter->next) {
        waiter->request = NULL;
        coalescer->shared.waiting_of[waiter->caller % CALLERS]--;
    }
    coalescer->shared.waiting -= request->waiting;
    coalescer_forget(coalescer, request);
    return waiters;
}

static void request_finish(struct hc_coalesced_request *request, struct hc_answer *answer)
{
    struct hc_waiter *waiter = request_close(request);

    while (waiter) {
        struct hc_waiter *next = waiter->next;

        waiter->type->done(waiter, answer);
        waiter = next;
    }
    request_free(request);
}

/* True, with the failure: the work was cancelled, or the latest deadline has passed. */
static bool request_is_over(struct hc_coalesced_request *request,
                            struct hc_answer **answer)
{
    struct hc_error err;

    if (hc_cancellation_check(request->cancellation, &err) == 0)
        return false;
    *answer = hc_answer_of_error(&err, NULL, NULL);
    return true;
}

static bool request_run(struct hc_task *task)
{
    struct hc_coalesced_request *request = (struct hc_coalesced_request *)task;
    const struct hc_coalescer_work *work = request->coalescer->work;
    HC_AUTO(hc_answer) *answer = NULL;

    if (!request_is_over(request, &answer))
        answer = work->run(work->ctx, &request->key, request->cancellation, request);
    request_finish(request, answer);
    return false;
}

/* The lock is held. */
static int request_submit(struct hc_coalesced_request *request, struct hc_error *err)
{
    struct hc_coalescer *coalescer = request->coalescer;

    request->pool = request->key.was_looked_up ? coalescer->hub : coalescer->disk;
    return hc_workers_submit(request->pool, &request->task, err);
}

/* Queues the request for the Hub's pool, unless every waiter has left. */
static int request_submit_to_hub(struct hc_coalesced_request *request,
                                 struct hc_error *err)
{
    HC_LOCKED(&request->coalescer->shared.lock);

    request->task.run = request_run;
    request->key.was_looked_up = true;
    return request->waiting > 0
               ? request_submit(request, err)
               : hc_fail(err, HC_CANCELLED, "no caller waits for the answer");
}

static void request_continue_at_hub(struct hc_coalesced_request *request)
{
    HC_AUTO(hc_answer) *failure = NULL;
    struct hc_error err;

    if (request_submit_to_hub(request, &err) == 0)
        return;
    failure = hc_answer_of_error(&err, NULL, NULL);
    request_finish(request, failure);
}

static bool request_look_at_disk(struct hc_task *task)
{
    struct hc_coalesced_request *request = (struct hc_coalesced_request *)task;
    const struct hc_coalescer_work *work = request->coalescer->work;
    HC_AUTO(hc_answer) *answer = NULL;

    if (request_is_over(request, &answer) ||
        work->look(work->ctx, &request->key, &answer))
        request_finish(request, answer);
    else
        request_continue_at_hub(request);
    return false;
}

_Static_assert(offsetof(struct hc_coalesced_request, task) == 0,
               "a task is cast to its request");

/* The lock is held. Puts `fresh` on the table, and queues it. */
static int request_begin(struct hc_coalesced_request *fresh, struct hc_error *err)
{
    struct hc_coalescer *coalescer = fresh->coalescer;

    request_list(fresh);
    coalescer->shared.unfinished++;
    coalescer->shared.bytes += fresh->key.size;
    if (coalescer->shared.is_cancelled)
        hc_cancellation_cancel(fresh->cancellation);
    fresh->key.was_looked_up = fresh->key.was_looked_up || !coalescer->work->look;
    fresh->task.run = fresh->key.was_looked_up ? request_run : request_look_at_disk;
    fresh->task.caller = fresh->key.caller;
    fresh->task.repo = fresh->key.repo;
    return request_submit(fresh, err);
}

/* The lock is held. `bytes`: of a request that would be new, else 0. */
static int coalescer_check_room(const struct hc_coalescer *coalescer, uint64_t caller,
                                size_t bytes, struct hc_error *err)
{
    unsigned left = HC_WAITING_MAX - coalescer->shared.waiting;

    if (coalescer->shared.waiting_of[caller % CALLERS] >= 3 * left)
        return hc_fail(err, HC_BUSY,
                       "%u calls wait, or this caller's share of %d: try later",
                       coalescer->shared.waiting, HC_WAITING_MAX);
    if (bytes > (HC_WAITING_BYTES_MAX - coalescer->shared.bytes) / 2)
        return hc_fail(
            err, HC_BUSY,
            "the requests that wait have %zu bytes, and %zu more are too many: "
            "try later, or ask for fewer files at a time",
            coalescer->shared.bytes, bytes);
    return 0;
}

/*
 * The waiter joins the request with an equal key, if there is one, else `*fresh`, which
 * then belongs to the table, and to `*begun`. -1: there is no room for the waiter; or,
 * with `*begun`, the pool's queue does not take that, and the waiter has joined it.
 */
static int coalescer_add_waiter(struct hc_coalescer *coalescer,
                                struct hc_coalesced_request **fresh,
                                struct hc_waiter *waiter,
                                struct hc_coalesced_request **begun, struct hc_error *err)
{
    struct hc_coalesced_request *request;
    HC_LOCKED(&coalescer->shared.lock);

    *begun = NULL;
    request = coalescer_find(coalescer, &(*fresh)->key, (*fresh)->bucket);
    if (coalescer_check_room(coalescer, waiter->caller, request ? 0 : (*fresh)->key.size,
                             err) < 0) {
        err->retry_after_ms = RETRY_AFTER_MS;
        return -1;
    }
    if (request) {
        request_add_waiter(request, waiter);
        hc_workers_add_caller(request->pool, &request->task, waiter->caller);
        return 0;
    }
    *begun = hc_take(fresh);
    request_add_waiter(*begun, waiter);
    return request_begin(*begun, err);
}

void hc_coalescer_join(struct hc_coalescer *coalescer, const struct hc_request_key *key,
                       struct hc_waiter *waiter)
{
    HC_AUTO(hc_coalesced_request) *fresh =
        request_new(coalescer, key, waiter->deadline_ms);
    struct hc_coalesced_request *begun;
    HC_AUTO(hc_answer) *failure = NULL;
    struct hc_error err;

    if (!fresh) {
        waiter->request = NULL;
        waiter->type->done(waiter, NULL);
        return;
    }
    if (coalescer_add_waiter(coalescer, &fresh, waiter, &begun, &err) == 0)
        return;
    failure = hc_answer_of_error(&err, NULL, NULL);
    if (begun)
        request_finish(begun, failure);
    else
        waiter->type->done(waiter, failure);
}

/* The lock is held. Returns the coalesced request when it has to be freed, else NULL. */
static struct hc_coalesced_request *request_remove_waiter(struct hc_waiter *waiter)
{
    struct hc_coalesced_request *request = waiter->request;
    struct hc_coalescer *coalescer = request->coalescer;

    *waiter->here = waiter->next;
    if (waiter->next)
        waiter->next->here = waiter->here;
    waiter->request = NULL;
    request->waiting--;
    request->watching -= waiter->wants_progress;
    coalescer->shared.waiting--;
    coalescer->shared.waiting_of[waiter->caller % CALLERS]--;
    if (request->waiting > 0)
        return NULL;
    request_unlist(request);
    hc_cancellation_cancel(request->cancellation);
    if (!hc_workers_withdraw(request->pool, &request->task))
        return NULL;
    coalescer_forget(coalescer, request);
    return request;
}

bool hc_coalescer_leave(struct hc_coalescer *coalescer, struct hc_waiter *waiter)
{
    HC_AUTO(hc_coalesced_request) *withdrawn = NULL;
    HC_LOCKED(&coalescer->shared.lock); /* released before `withdrawn` is freed */

    if (!waiter->request)
        return false;
    withdrawn = request_remove_waiter(waiter);
    return true;
}

bool hc_coalesced_request_is_watched(struct hc_coalesced_request *request)
{
    HC_LOCKED(&request->coalescer->shared.lock);

    return request->watching > 0;
}

/*
 * An array of the waiters that want progress, each held: their messages are sent without
 * the lock, while any of them may leave. NULL with `*count` 0 when memory is short:
 * progress is then not sent.
 */
static struct hc_waiter **request_hold_watchers(struct hc_coalesced_request *request,
                                                unsigned *count)
{
    struct hc_coalescer *coalescer = request->coalescer;
    struct hc_waiter **watchers;
    HC_LOCKED(&coalescer->shared.lock);

    *count = 0;
    watchers = calloc(request->watching + 1U, sizeof *watchers);
    for (struct hc_waiter *waiter = request->waiters; watchers && waiter;
         waiter = waiter->next) {
        if (!waiter->wants_progress)
            continue;
        waiter->type->hold(waiter);
        watchers[(*count)++] = waiter;
    }
    return watchers;
}

void hc_coalesced_request_send_progress(struct hc_coalesced_request *request,
                                        struct hc_answer *progress)
{
    unsigned count;
    HC_AUTO_FREE struct hc_waiter **watchers = request_hold_watchers(request, &count);

    for (unsigned i = 0; i < count; i++) {
        watchers[i]->type->progress(watchers[i], progress);
        watchers[i]->type->release(watchers[i]);
    }
}

void hc_coalescer_cancel(struct hc_coalescer *coalescer)
{
    HC_LOCKED(&coalescer->shared.lock);

    coalescer->shared.is_cancelled = true;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct hc_coalesced_request *request = coalescer->shared.buckets[i]; request;
             request = request->next)
            hc_cancellation_cancel(request->cancellation);
    }
}

void hc_coalescer_count(struct hc_coalescer *coalescer, unsigned *unfinished,
                        unsigned *waiting)
{
    HC_LOCKED(&coalescer->shared.lock);

    *unfinished = coalescer->shared.unfinished;
    *waiting = coalescer->shared.waiting;
}

struct hc_coalescer *hc_coalescer_open(struct hc_workers *disk, struct hc_workers *hub,
                                       const struct hc_coalescer_work *work,
                                       struct hc_error *err)
{
    struct hc_coalescer *coalescer = calloc(1, sizeof *coalescer);

    if (!coalescer) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    coalescer->disk = disk;
    coalescer->hub = hub;
    coalescer->work = work;
    (void)pthread_mutex_init(&coalescer->shared.lock, NULL);
    (void)pthread_cond_init(&coalescer->shared.empty, NULL);
    return coalescer;
}

void hc_coalescer_close(struct hc_coalescer *coalescer)
{
    if (!coalescer)
        return;
    {
        HC_LOCKED(&coalescer->shared.lock);

        while (coalescer->shared.unfinished > 0)
            (void)pthread_cond_wait(&coalescer->shared.empty, &coalescer->shared.lock);
    }
    (void)pthread_cond_destroy(&coalescer->shared.empty);
    (void)pthread_mutex_destroy(&coalescer->shared.lock);
    free(coalescer);
}
