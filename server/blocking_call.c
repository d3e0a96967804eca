/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is
 *
 *     queued    for a thread; if the edge tells it to leave, it is withdrawn and fails
 *     running   its function; told to leave, it is cancelled, and fails when that returns
 *     over      hc_rpc_call_finish() has been called, by the thread that withdrew the
 *               task or by the one that ran it
 *
 * The task holds the call while it is queued or runs; the memory is freed with the call.
 */
#include "blocking_call.h"

#include <base/error.h>

#include <pthread.h>

struct hc_blocking_call {
    struct hc_task task;
    struct hc_workers *workers;
    struct hc_rpc_call *call;
    hc_blocking_fn run;
    void *service;
    struct hc_cancellation *cancellation;
    const ProtobufCMessage *message; /* in the arena, as the next */
    const char *hub_token;
    struct hc_answer *reply; /* NULL: the function has not replied */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool is_sending; /* a message is on its way */
    } shared;
    struct hc_arena arena;
};

/* In the scratch memory of its call. */
static struct hc_blocking_call **blocking_slot(struct hc_rpc_call *call)
{
    return hc_rpc_call_scratch(call);
}

/* ---- the end ----------------------------------------------------------------------- */

static void blocking_fail(struct hc_blocking_call *blocking, const struct hc_error *err)
{
    const struct hc_subject *subject = &hc_rpc_call_request(blocking->call)->subject;
    const struct hc_target target = {.id = subject->repo_id,
                                     .type = subject->repo_type,
                                     .revision = subject->revision};
    HC_AUTO(hc_answer) *failure =
        hc_answer_of_error(err, subject->repo_id[0] ? &target : NULL,
                           subject->filename[0] ? subject->filename : NULL);

    hc_rpc_call_finish(blocking->call, failure);
}

static void blocking_leave(struct hc_rpc_call *call)
{
    struct hc_blocking_call *blocking = *blocking_slot(call);
    struct hc_error err;

    hc_cancellation_cancel(blocking->cancellation);
    if (!hc_workers_withdraw(blocking->workers, &blocking->task))
        return;
    hc_rpc_call_fail_left(call, &err);
    blocking_fail(blocking, &err);
    hc_rpc_call_release(call);
}

static void blocking_sent(struct hc_rpc_call *call)
{
    struct hc_blocking_call *blocking = *blocking_slot(call);
    HC_LOCKED(&blocking->shared.lock);

    blocking->shared.is_sending = false;
    (void)pthread_cond_signal(&blocking->shared.changed);
}

static void blocking_free(struct hc_blocking_call *blocking)
{
    if (!blocking)
        return;
    hc_cancellation_free(blocking->cancellation);
    hc_answer_release(blocking->reply);
    (void)pthread_cond_destroy(&blocking->shared.changed);
    (void)pthread_mutex_destroy(&blocking->shared.lock);
    hc_arena_reset(&blocking->arena);
    free(blocking);
}

static void blocking_end(struct hc_rpc_call *call)
{
    blocking_free(*blocking_slot(call));
}

static const struct hc_rpc_stream blocking_hooks = {blocking_leave, blocking_sent,
                                                    blocking_end};

/* ---- the task ---------------------------------------------------------------------- */

static void blocking_finish(struct hc_blocking_call *blocking)
{
    HC_AUTO(hc_answer) *end = NULL;

    if (!blocking->reply)
        end = hc_answer_new_end();
    hc_rpc_call_finish(blocking->call, blocking->reply ? blocking->reply : end);
}

static bool blocking_run(struct hc_task *task)
{
    struct hc_blocking_call *blocking = (struct hc_blocking_call *)task;
    struct hc_rpc_call *call = blocking->call;
    struct hc_error err;
    int result = hc_cancellation_check(blocking->cancellation, &err);

    if (result == 0)
        result = blocking->run(blocking->service, blocking, blocking->message, &err);
    if (result == 0) {
        blocking_finish(blocking);
    } else {
        if (hc_cancellation_is_set(blocking->cancellation))
            hc_rpc_call_fail_left(call, &err);
        blocking_fail(blocking, &err);
    }
    hc_rpc_call_release(call);
    return false;
}

/* ---- the start --------------------------------------------------------------------- */

static struct hc_blocking_call *blocking_new(struct hc_rpc_call *call,
                                             struct hc_error *err)
{
    struct hc_blocking_call *blocking = calloc(1, sizeof *blocking);

    if (!blocking) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    hc_arena_init(&blocking->arena);
    (void)pthread_mutex_init(&blocking->shared.lock, NULL);
    hc_condition_init(&blocking->shared.changed);
    blocking->call = call;
    blocking->cancellation = hc_cancellation_new(hc_rpc_call_request(call)->deadline_ms);
    if (blocking->cancellation)
        return blocking;
    (void)hc_fail_memory(err);
    blocking_free(blocking);
    return NULL;
}

/* What the edge wipes when `start` returns is copied: the message and the token. */
static int blocking_copy_request(struct hc_blocking_call *blocking,
                                 const ProtobufCMessageDescriptor *type,
                                 struct hc_error *err)
{
    struct hc_request *request = hc_rpc_call_request(blocking->call);
    size_t size;
    char *token;

    if (hc_request_read_token(request, blocking->call, err) < 0)
        return -1;
    size = strlen(request->hub_token) + 1;
    token = hc_arena_take_secret(&blocking->arena, size);
    if (!token)
        return hc_fail_memory(err);
    memcpy(token, request->hub_token, size);
    blocking->hub_token = token;
    blocking->message =
        hc_message_unpack(type, request->bytes, request->size, &blocking->arena, err);
    return blocking->message ? 0 : -1;
}

static void call_fail(struct hc_rpc_call *call, const struct hc_error *err)
{
    HC_AUTO(hc_answer) *failure = hc_answer_of_error(err, NULL, NULL);

    hc_rpc_call_finish(call, failure);
}

/* The pool shares its threads by caller and by method: the "repo" of the task. */
static void blocking_submit(struct hc_blocking_call *blocking)
{
    struct hc_rpc_call *call = blocking->call;
    const struct hc_request *request = hc_rpc_call_request(call);
    struct hc_error err;

    blocking->task.run = blocking_run;
    blocking->task.caller = request->caller;
    blocking->task.repo = request->method_number;
    hc_rpc_call_hold(call);
    hc_rpc_call_park_stream(call, &blocking_hooks);
    if (hc_workers_submit(blocking->workers, &blocking->task, &err) == 0)
        return;
    blocking_fail(blocking, &err);
    hc_rpc_call_release(call);
}

void hc_blocking_call_start(struct hc_workers *workers, struct hc_rpc_call *call,
                            const struct hc_blocking_method *method, void *service)
{
    struct hc_request *request = hc_rpc_call_request(call);
    struct hc_error err;
    struct hc_blocking_call *blocking = blocking_new(call, &err);
    int result = blocking ? blocking_copy_request(blocking, method->request, &err) : -1;

    hc_request_identify(request, call);
    if (result < 0) {
        blocking_free(blocking);
        call_fail(call, &err);
        return;
    }
    hc_request_identify_by_address(request, call);
    blocking->workers = workers;
    blocking->run = method->run;
    blocking->service = service;
    *blocking_slot(call) = blocking;
    blocking_submit(blocking);
}

/* ---- for the function -------------------------------------------------------------- */

int hc_blocking_call_reply(struct hc_blocking_call *blocking,
                           const ProtobufCMessage *message, struct hc_error *err)
{
    hc_answer_release(blocking->reply);
    blocking->reply = hc_answer_new(message);
    if (!blocking->reply)
        return hc_fail_memory(err);
    blocking->reply->facts = hc_rpc_call_request(blocking->call)->facts;
    return 0;
}

static int blocking_await_sent(struct hc_blocking_call *blocking, struct hc_error *err)
{
    int64_t end_ms = hc_monotonic_ms() + HC_BLOCKING_SEND_MS;
    HC_LOCKED(&blocking->shared.lock);

    while (blocking->shared.is_sending) {
        int64_t left_ms = end_ms - hc_monotonic_ms();

        if (left_ms <= 0)
            return hc_fail(err, HC_DEADLINE_EXCEEDED,
                           "the client has taken no message for %d seconds",
                           HC_BLOCKING_SEND_MS / 1000);
        if (hc_cancellation_wait(blocking->cancellation, &blocking->shared.changed,
                                 &blocking->shared.lock, left_ms, err) < 0)
            return -1;
    }
    blocking->shared.is_sending = true;
    return 0;
}

int hc_blocking_call_send(struct hc_blocking_call *blocking,
                          const ProtobufCMessage *message, struct hc_error *err)
{
    HC_AUTO(hc_answer) *answer = hc_answer_new(message);

    if (!answer)
        return hc_fail_memory(err);
    answer->facts = hc_rpc_call_request(blocking->call)->facts;
    if (blocking_await_sent(blocking, err) < 0)
        return -1;
    hc_rpc_call_send(blocking->call, answer);
    return 0;
}

static bool blocking_is_sending(struct hc_blocking_call *blocking)
{
    HC_LOCKED(&blocking->shared.lock);

    return blocking->shared.is_sending;
}

/* Only the function's thread sends, so what is idle now stays so. */
void hc_blocking_call_offer(struct hc_blocking_call *blocking,
                            const ProtobufCMessage *message)
{
    struct hc_error unused;

    if (!blocking_is_sending(blocking))
        (void)hc_blocking_call_send(blocking, message, &unused);
}

struct hc_cancellation *hc_blocking_call_cancellation(struct hc_blocking_call *blocking)
{
    return blocking->cancellation;
}

struct hc_request *hc_blocking_call_request(struct hc_blocking_call *blocking)
{
    return hc_rpc_call_request(blocking->call);
}

struct hc_arena *hc_blocking_call_arena(struct hc_blocking_call *blocking)
{
    return &blocking->arena;
}

struct hc_fetch_options hc_blocking_call_options(struct hc_blocking_call *blocking)
{
    struct hc_fetch_options options =
        hc_request_options(hc_rpc_call_request(blocking->call));

    options.hub_token = *blocking->hub_token ? blocking->hub_token : NULL;
    return options;
}
