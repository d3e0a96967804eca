/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is
 *
 *     resolving   a waiter of the coalescer, for an answer without a lease; left out when
 *                 memory has one
 *     leasing     queued for, or on, a thread of the pool: the lease is taken, and it is
 *                 looked at whether the answer is still there. If not, the call resolves
 *                 once more
 *     over        hc_rpc_call_finish() has been called
 *
 * If the edge tells it to leave, the thread that leaves finishes the call when it can
 * take it from the coalescer or from the queue of the pool; else the thread that works
 * for it does so when it sees the cancellation, and gives a lease back. One thread works
 * for a call at a time. A local directory has no lease, and is answered without one.
 */
#include "leased_call.h"

#include "caller.h"
#include "resolve.h"
#include "watch_result.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <string.h>

enum { THREADS = 8, QUEUE_MAX = 4096, ATTEMPTS = 5 };

struct hc_leased_calls {
    struct hc_resolver *resolver;
    struct hc_coalescer *coalescer;
    struct hc_workers *workers;
};

struct leased_call {
    struct hc_waiter waiter; /* first: the coalescer's */
    struct hc_task task;
    struct hc_leased_calls *calls;
    struct hc_rpc_call *call;
    struct hc_request_key key; /* its texts follow the struct; its identity is held */
    struct hc_lease_terms terms;
    struct hc_answer *answer; /* without the lease */
    unsigned attempts;
    char pod[HC_LEASE_POD_SIZE];
};

/* In the scratch memory of its call. */
static struct leased_call **leased_slot(struct hc_rpc_call *call)
{
    return hc_rpc_call_scratch(call);
}

/* ---- the end ----------------------------------------------------------------------- */

/* Afterwards the memory may be gone. */
static void leased_finish(struct leased_call *leased, struct hc_answer *answer)
{
    struct hc_rpc_call *call = leased->call;
    HC_AUTO(hc_answer) *event = NULL;
    bool is_event = leased->waiter.wants_progress && answer && answer->code == 0;

    if (is_event)
        event = hc_watch_result_new(answer);
    hc_rpc_call_finish(call, is_event ? event : answer);
    hc_rpc_call_release(call);
}

static void leased_fail(struct leased_call *leased, const struct hc_target *target,
                        const char *filename, const struct hc_error *err)
{
    HC_AUTO(hc_answer) *failure = hc_answer_of_error(err, target, filename);

    leased_finish(leased, failure);
}

static void leased_fail_left(struct leased_call *leased)
{
    struct hc_error err;

    hc_rpc_call_fail_left(leased->call, &err);
    leased_fail(leased, NULL, NULL, &err);
}

static void leased_free(struct leased_call *leased)
{
    if (!leased)
        return;
    explicit_bzero((char *)(leased + 1) + leased->key.size, strlen(leased->key.token));
    hc_caller_release(leased->key.identity);
    hc_answer_release(leased->answer);
    hc_cancellation_free(leased->terms.cancellation);
    free(leased);
}

static void leased_leave(struct hc_rpc_call *call)
{
    struct leased_call *leased = *leased_slot(call);

    hc_cancellation_cancel(leased->terms.cancellation);
    if (hc_coalescer_leave(leased->calls->coalescer, &leased->waiter) ||
        hc_workers_withdraw(leased->calls->workers, &leased->task))
        leased_fail_left(leased);
}

/* Nothing waits for a message to be sent: of progress, the newest is enough. */
static void leased_sent(struct hc_rpc_call *call)
{
    (void)call;
}

static void leased_end(struct hc_rpc_call *call)
{
    leased_free(*leased_slot(call));
}

static const struct hc_rpc_stream leased_hooks = {leased_leave, leased_sent, leased_end};

/* ---- leasing ----------------------------------------------------------------------- */

/* The answer with one more field, the id of the lease. */
static struct hc_answer *answer_add_lease(const struct hc_answer *answer, unsigned field,
                                          const char *id)
{
    enum { TEXT = 2 /* the wire type */ };
    size_t length = strlen(id), at;
    uint8_t head[2 * HC_MESSAGE_VARINT_MAX], *room;
    struct hc_answer *leased;

    at = hc_message_put_varint(head, (uint64_t)field << 3 | TEXT);
    at += hc_message_put_varint(head + at, length);
    leased = hc_answer_new_room(answer->size + at + length, &room);
    if (!leased)
        return NULL;
    memcpy(room, answer->bytes, answer->size);
    memcpy(room + answer->size, head, at);
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): protobuf has lengths */
    memcpy(room + answer->size + at, id, length);
    leased->facts = answer->facts;
    return leased;
}

/* The edge may have told the call to leave before the call is a waiter. */
static void leased_resolve(struct leased_call *leased)
{
    struct hc_rpc_call *call = leased->call;
    struct hc_coalescer *coalescer = leased->calls->coalescer;

    hc_rpc_call_hold(call);
    hc_coalescer_join(coalescer, &leased->key, &leased->waiter);
    if (hc_cancellation_is_set(leased->terms.cancellation) &&
        hc_coalescer_leave(coalescer, &leased->waiter))
        leased_fail_left(leased);
    hc_rpc_call_release(call);
}

/* The caller has left meanwhile: the lease is of no use to it. */
static bool leased_give_back(struct leased_call *leased, const struct hc_lease *lease)
{
    struct hc_error unused;

    if (!hc_cancellation_is_set(leased->terms.cancellation))
        return false;
    (void)hc_resolver_release_lease(leased->calls->resolver, lease->id, &unused);
    leased_fail_left(leased);
    return true;
}

/* `is_leased` is the result of hc_resolve_lease(). */
static void leased_reply(struct leased_call *leased, const struct hc_resolve *resolve,
                         int is_leased, const struct hc_lease *lease,
                         struct hc_error *err)
{
    HC_AUTO(hc_answer) *answer = NULL;

    if (is_leased == 1 && leased_give_back(leased, lease))
        return;
    if (is_leased == 1) {
        answer = answer_add_lease(leased->answer,
                                  hc_resolve_lease_field(leased->key.kind), lease->id);
        leased_finish(leased, answer);
    } else if (hc_cancellation_is_set(leased->terms.cancellation)) {
        leased_fail_left(leased);
    } else if (is_leased == 0 && ++leased->attempts < ATTEMPTS) {
        leased_resolve(leased);
    } else {
        if (is_leased == 0)
            (void)hc_fail(err, HC_CACHE_IO,
                          "what was resolved was removed before it could be leased, %d "
                          "times in a row",
                          ATTEMPTS);
        leased_fail(leased, resolve->target, resolve->filename, err);
    }
}

static bool leased_run(struct hc_task *task)
{
    struct leased_call *leased =
        (struct leased_call *)((char *)task - offsetof(struct leased_call, task));
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_resolve)
    resolve = hc_resolve_new(leased->key.kind, leased->calls->resolver, &arena);
    struct hc_lease lease;
    struct hc_error err;
    int is_leased;

    hc_arena_init(&arena);
    is_leased = hc_resolve_decode_key(&resolve, &leased->key, &err);
    if (is_leased == 0)
        is_leased =
            hc_resolve_lease(&resolve, leased->answer, &leased->terms, &lease, &err);
    leased_reply(leased, &resolve, is_leased, &lease, &err);
    return false;
}

static void leased_submit(struct leased_call *leased)
{
    struct hc_error err;

    leased->task.run = leased_run;
    leased->task.caller = leased->key.caller;
    leased->task.repo = leased->key.repo;
    if (hc_workers_submit(leased->calls->workers, &leased->task, &err) < 0)
        leased_fail(leased, NULL, NULL, &err);
}

/* ---- resolving --------------------------------------------------------------------- */

/* Not a failure, a local directory, or a list of files that are all missing. */
static bool answer_is_to_be_leased(const struct leased_call *leased,
                                   const struct hc_answer *answer)
{
    return answer && answer->code == 0 && answer->facts.commit[0] &&
           (leased->key.kind != &hc_resolve_kind_files || answer->facts.files > 0);
}

static void leased_done(struct hc_waiter *waiter, struct hc_answer *answer)
{
    struct leased_call *leased = (struct leased_call *)waiter;

    if (!answer_is_to_be_leased(leased, answer)) {
        leased_finish(leased, answer);
        return;
    }
    hc_answer_release(leased->answer);
    leased->answer = hc_answer_hold(answer);
    leased_submit(leased);
}

static void leased_send_progress(struct hc_waiter *waiter, struct hc_answer *message)
{
    hc_rpc_call_send(((struct leased_call *)waiter)->call, message);
}

static void leased_hold(struct hc_waiter *waiter)
{
    hc_rpc_call_hold(((struct leased_call *)waiter)->call);
}

static void leased_release(struct hc_waiter *waiter)
{
    hc_rpc_call_release(((struct leased_call *)waiter)->call);
}

static const struct hc_waiter_type leased_waiter = {leased_done, leased_send_progress,
                                                    leased_hold, leased_release};

/* ---- the interface ----------------------------------------------------------------- */

/* Copies the request's bytes and the token behind the struct. NULL: memory is short. */
static struct leased_call *leased_new(struct hc_leased_calls *calls,
                                      struct hc_rpc_call *call,
                                      const struct hc_leased_request *request)
{
    const struct hc_request_key *key = request->key;
    size_t token_size = strlen(key->token) + 1;
    int64_t deadline_ms = hc_rpc_call_request(call)->deadline_ms;
    struct leased_call *leased = calloc(1, sizeof *leased + key->size + token_size);
    uint8_t *bytes;

    if (!leased)
        return NULL;
    bytes = (uint8_t *)(leased + 1);
    leased->key = *key;
    leased->key.request = memcpy(bytes, key->request, key->size);
    leased->key.token = memcpy(bytes + key->size, key->token, token_size);
    leased->key.identity = hc_caller_hold(key->identity);
    leased->calls = calls;
    leased->call = call;
    leased->waiter = (struct hc_waiter){.type = &leased_waiter,
                                        .caller = key->caller,
                                        .deadline_ms = deadline_ms,
                                        .wants_progress = request->watches};
    (void)memcpy(leased->pod, request->terms.pod, strlen(request->terms.pod));
    leased->terms.duration_ms = request->terms.duration_ms;
    leased->terms.pod = leased->pod;
    leased->terms.cancellation = hc_cancellation_new(deadline_ms);
    if (leased->terms.cancellation)
        return leased;
    leased_free(leased);
    return NULL;
}

void hc_leased_call_begin(struct hc_leased_calls *calls, struct hc_rpc_call *call,
                          const struct hc_leased_request *request)
{
    struct leased_call *leased = leased_new(calls, call, request);

    if (!leased) {
        hc_rpc_call_finish(call, NULL);
        return;
    }
    *leased_slot(call) = leased;
    hc_rpc_call_hold(call);
    hc_rpc_call_park_stream(call, &leased_hooks);
    if (request->answer)
        leased_done(&leased->waiter, request->answer);
    else
        leased_resolve(leased);
}

struct hc_leased_calls *hc_leased_calls_open(struct hc_resolver *resolver,
                                             struct hc_coalescer *coalescer,
                                             struct hc_error *err)
{
    HC_AUTO(hc_leased_calls) *calls = calloc(1, sizeof *calls);

    if (!calls) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    calls->resolver = resolver;
    calls->coalescer = coalescer;
    calls->workers = hc_workers_open(THREADS, QUEUE_MAX, err);
    return calls->workers ? hc_take(&calls) : NULL;
}

void hc_leased_calls_close(struct hc_leased_calls *calls)
{
    if (!calls)
        return;
    hc_workers_close(calls->workers);
    free(calls);
}
