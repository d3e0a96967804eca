/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a call, and the events of gRPC's queue that move it on:
 *
 *     requested   gRPC may use it for the next call of its method; `arrived` ends this
 *                 state, and requests another one
 *     started     the function of its method runs on the edge's thread, or on the
 *                 decoder's if the request is large (rpc_request.c)
 *     answered    one batch (headers, message, status, close) is on its way; `finished`
 *                 ends it
 *     parked      it waits for its answer without a thread; a batch with the close alone
 *                 completes, as `closed`, when the caller leaves or the call is over
 *     sending     a message of a parked call of a streaming method is on its way; `sent`
 *                 ends it, and sends the newest message since then, or the last batch, or
 *                 tells the method that it may send the next one
 *     receiving   a message of a bidirectional call has been answered, and `received`
 *                 brings the next one, for which its method is started again
 *     over        its method has finished it: the last batch is sent, now or after the
 *                 message that is on its way, and `finished` ends it
 *
 * A parked call is on the list of parked calls until `closed`, or until the shutdown ends
 * it: then `leave` is called, and the method finishes it. Bidirectional calls have a list
 * of their own. Such a call can wait for its caller for ever, so the stop of the server
 * ends it; that, the end of the caller's messages and a caller that leaves may happen at
 * once on different threads, and the first one counts (is_ended).
 *
 * rpc_call_memory.c has the memory and the lists of calls. The call's own lock guards its
 * `shared` part; no thread takes the server's lock as well, nor starts a batch under one
 * of them.
 */
#include "rpc_core.h"

#include <base/error.h>
#include <hubcache/cancellation.h>

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <string.h>

enum { NO_MEMORY_CODE = HC_STATUS_INTERNAL };

/*
 * Calls of a method that are requested from gRPC before they arrive. If more arrive at
 * once, they wait in gRPC, at a cost of 2,500 instructions each. But a gRPC that is built
 * with assertions (Debian's is) searches the requested calls of all methods at each
 * event: so a method has a few until its first call.
 */
enum { REQUESTED_UNUSED = 4, REQUESTED_USED = 64 };

static void call_arrived(struct hc_rpc_call *call, bool ok);
static void call_received(struct hc_rpc_call *call, bool ok);
static void call_closed(struct hc_rpc_call *call, bool ok);
static void call_sent(struct hc_rpc_call *call, bool ok);
static void call_finished(struct hc_rpc_call *call, bool ok);

void hc_rpc_call_set_events(struct hc_rpc_call *call)
{
    call->arrived = (struct hc_rpc_event){call_arrived, call};
    call->received = (struct hc_rpc_event){call_received, call};
    call->closed = (struct hc_rpc_event){call_closed, call};
    call->sent = (struct hc_rpc_event){call_sent, call};
    call->finished = (struct hc_rpc_event){call_finished, call};
}

/* --- answers -------------------------------------------------------------------------
 */

/* What the answer says of itself, for the log. */
static void call_take_facts(struct hc_rpc_call *call, const struct hc_answer *answer)
{
    call->request.facts = answer->facts;
    if (answer->subject && !call->request.subject.repo_id[0])
        call->request.subject = *answer->subject;
}

/* Reports the call as over. `answer` NULL: memory is short. */
static void call_record(struct hc_rpc_call *call, const struct hc_answer *answer)
{
    static const struct hc_answer no_memory = {.code = NO_MEMORY_CODE,
                                               .reason = HC_INTERNAL,
                                               .message = "out of memory"};

    if (call->rpc->finished)
        call->rpc->finished(call->rpc->ctx, &call->request, answer ? answer : &no_memory);
    atomic_fetch_sub_explicit(&call->served->running, 1, memory_order_relaxed);
}

/*
 * A hit: the message is packed into gRPC's own memory, and one batch is the whole call.
 */
void hc_rpc_call_reply(struct hc_rpc_call *call, const ProtobufCMessage *message)
{
    static const struct hc_answer ok = {.message = ""};
    grpc_slice bytes = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    struct hc_rpc_batch batch = {.text = grpc_empty_slice()};

    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(bytes));
    hc_rpc_batch_add_headers(&batch);
    hc_rpc_batch_add_message(&batch, bytes);
    hc_rpc_batch_add_status(&batch, 0, "");
    hc_rpc_batch_add_close(&batch, call);
    call_record(call, &ok);
    hc_rpc_batch_start(&batch, call, &call->finished);
}

/* Only the thread that has set is_sending calls it, so has_started needs no lock. */
static void call_send_message(struct hc_rpc_call *call, struct hc_answer *message)
{
    struct hc_rpc_batch batch = {.text = grpc_empty_slice()};

    if (!call->shared.has_started)
        hc_rpc_batch_add_headers(&batch);
    call->shared.has_started = true;
    hc_rpc_batch_add_shared(&batch, message);
    hc_rpc_batch_start(&batch, call, &call->sent);
}

/* Sends a message of an answer that has several; `sent` goes on with the next one. */
static void call_send_part(struct hc_rpc_call *call, struct hc_answer *part)
{
    assert(call->leave && call->served->row->kind != HC_RPC_UNARY);
    {
        HC_LOCKED(&call->shared.lock);

        call->shared.is_sending = true;
        call->shared.last = hc_answer_hold(part->next);
    }
    call_send_message(call, part);
}

/*
 * Sends the last batch, after the messages before it. Nothing else is on its way, and
 * nothing follows.
 */
static void call_send_last(struct hc_rpc_call *call, struct hc_answer *answer)
{
    struct hc_rpc_batch batch = {.text = grpc_empty_slice()};

    if (answer && answer->next) {
        call_send_part(call, answer);
        return;
    }
    if (!call->shared.has_started)
        hc_rpc_batch_add_headers(&batch);
    hc_rpc_batch_add_answer(&batch, call, answer);
    if (!call->leave)
        hc_rpc_batch_add_close(&batch, call);
    hc_rpc_batch_start(&batch, call, &call->finished);
}

void hc_rpc_call_finish(struct hc_rpc_call *call, struct hc_answer *answer)
{
    HC_AUTO(hc_answer) *superseded = NULL;
    bool must_wait;

    if (hc_rpc_call_is_bidirectional(call) && atomic_exchange(&call->is_ended, true))
        return;
    if (answer)
        call_take_facts(call, answer);
    call_record(call, answer);
    {
        HC_LOCKED(&call->shared.lock);

        call->shared.is_over = true;
        superseded = hc_take(&call->shared.next);
        must_wait = call->shared.is_sending;
        if (must_wait && answer)
            call->shared.last = hc_answer_hold(answer);
    }
    if (!must_wait)
        call_send_last(call, answer);
}

void hc_rpc_call_fail(struct hc_rpc_call *call, const struct hc_error *err)
{
    HC_AUTO(hc_answer) *failure = hc_answer_of_error(err, NULL, NULL);

    hc_rpc_call_finish(call, failure);
}

void hc_rpc_call_send(struct hc_rpc_call *call, struct hc_answer *message)
{
    HC_AUTO(hc_answer) *superseded = NULL;
    bool is_now = false;

    assert(call->leave && call->served->row->kind != HC_RPC_UNARY);
    {
        HC_LOCKED(&call->shared.lock);

        if (!call->shared.is_over && call->shared.is_sending) {
            superseded = call->shared.next;
            call->shared.next = hc_answer_hold(message);
        } else if (!call->shared.is_over) {
            call->shared.is_sending = true;
            is_now = true;
        }
    }
    if (is_now)
        call_send_message(call, message);
}

/* False: the server stops. */
static bool call_park(struct hc_rpc_call *call, void (*leave)(struct hc_rpc_call *call))
{
    struct hc_rpc_batch batch = {.text = grpc_empty_slice()};
    bool goes_on;

    call->leave = leave;
    hc_rpc_call_hold(call);
    goes_on = hc_rpc_parked_add(call);
    hc_rpc_batch_add_close(&batch, call);
    hc_rpc_batch_start(&batch, call, &call->closed);
    return goes_on;
}

void hc_rpc_call_park(struct hc_rpc_call *call, void (*leave)(struct hc_rpc_call *call))
{
    (void)call_park(call, leave);
}

void hc_rpc_call_park_stream(struct hc_rpc_call *call, const struct hc_rpc_stream *stream)
{
    call->stream = stream;
    hc_rpc_call_park(call, stream->leave);
}

/* --- events --------------------------------------------------------------------------
 */

/* The call is held for it until `received`. */
static void call_receive(struct hc_rpc_call *call)
{
    struct hc_rpc_batch batch = {.text = grpc_empty_slice()};

    if (call->payload)
        grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;
    hc_rpc_batch_add_receive(&batch, call);
    hc_rpc_batch_start(&batch, call, &call->received);
}

static void call_sent(struct hc_rpc_call *call, bool ok)
{
    const struct hc_rpc_stream *stream = ok ? call->stream : NULL;
    HC_AUTO(hc_answer) *next = NULL;
    HC_AUTO(hc_answer) *last = NULL;
    bool is_over, is_next_wanted;

    {
        HC_LOCKED(&call->shared.lock);

        is_over = call->shared.is_over;
        next = hc_take(&call->shared.next);
        last = hc_take(&call->shared.last);
        call->shared.is_sending = next;
        is_next_wanted = !is_over && !next && hc_rpc_call_is_bidirectional(call);
        if (is_over || next)
            stream = NULL;
        if (is_next_wanted || stream)
            hc_rpc_call_hold(call); /* another thread may finish it from now on */
    }
    if (is_over)
        call_send_last(call, last);
    else if (next)
        call_send_message(call, next);
    else if (is_next_wanted)
        call_receive(call);
    if (!stream) /* if the caller left, call_closed() gets to know */
        return;
    stream->sent(call);
    hc_rpc_call_release(call);
}

static bool call_is_finished(struct hc_rpc_call *call)
{
    HC_LOCKED(&call->shared.lock);

    return call->shared.is_over;
}

/* The close comes after the finish, too: only a caller that leaves before is reported. */
static void call_closed(struct hc_rpc_call *call, bool ok)
{
    (void)ok;
    if (call->is_cancelled)
        hc_rpc_count_abandoned(call);
    {
        HC_LOCKED(&call->rpc->shared.lock);

        hc_rpc_parked_remove(call);
    }
    if (call->is_cancelled && !call_is_finished(call))
        call->leave(call);
    hc_rpc_call_release(call);
}

unsigned hc_rpc_call_end_all(struct hc_rpc *rpc)
{
    struct hc_rpc_call *call = hc_rpc_parked_take(rpc, &rpc->shared.parked);
    unsigned count = 0;

    while (call) {
        if (!call_is_finished(call)) {
            call->leave(call);
            count++;
        }
        hc_rpc_call_release(call);
        call = hc_rpc_parked_take(rpc, &rpc->shared.parked);
    }
    return count;
}

static void stream_end_stopping(struct hc_rpc_call *call)
{
    struct hc_error err;

    (void)hc_fail(&err, HC_SHUTTING_DOWN, "this hubcached stops: ask another replica");
    err.retry_after_ms = HC_RPC_RETRY_AFTER_MS;
    hc_rpc_call_fail(call, &err);
}

void hc_rpc_call_end_streams(struct hc_rpc *rpc)
{
    struct hc_rpc_call *call = hc_rpc_parked_take(rpc, &rpc->shared.streams);

    while (call) {
        stream_end_stopping(call);
        hc_rpc_call_release(call);
        call = hc_rpc_parked_take(rpc, &rpc->shared.streams);
    }
}

static void call_finished(struct hc_rpc_call *call, bool ok)
{
    (void)ok;
    if (!call->leave && call->is_cancelled)
        hc_rpc_count_abandoned(call);
    hc_rpc_call_release(call);
}

/* The caller has no more messages, or has left. */
static void stream_end(struct hc_rpc_call *call)
{
    HC_AUTO(hc_answer) *end = hc_answer_new_end();

    hc_rpc_call_finish(call, end);
}

/* Starts the method of a bidirectional call, which the calling function holds. */
static void stream_start_method(struct hc_rpc_call *call)
{
    if (call->payload)
        hc_rpc_request_start(call);
    else
        stream_end(call);
}

static void stream_arrived(struct hc_rpc_call *call)
{
    hc_rpc_call_hold(call);
    if (call_park(call, stream_end))
        stream_start_method(call);
    else
        stream_end_stopping(call);
    hc_rpc_call_release(call);
}

static void call_received(struct hc_rpc_call *call, bool ok)
{
    (void)ok; /* then there is no payload either */
    stream_start_method(call);
    hc_rpc_call_release(call);
}

static void call_refuse_unknown(struct hc_rpc_call *call)
{
    HC_AUTO(hc_answer) *failure =
        hc_answer_new_failure(HC_CODE_UNIMPLEMENTED, HC_OK,
                              "hubcached has no such method", NULL);

    hc_rpc_call_finish(call, failure);
}

/* False: the call has been refused. */
static bool call_is_admitted(struct hc_rpc_call *call)
{
    struct hc_error err;

    if (!call->rpc->admit || call->rpc->admit(call->rpc->admit_ctx, call, &err) == 0)
        return true;
    hc_rpc_call_fail(call, &err);
    return false;
}

/* When memory is short, one call less is requested in advance. */
static void call_request_next(struct hc_rpc *rpc, struct hc_rpc_served *served)
{
    struct hc_rpc_call *call = hc_rpc_call_take(rpc);

    if (!call) {
        hc_rpc_call_give_back(rpc, NULL);
        return;
    }
    call->served = served;
    atomic_store(&call->holders, 1);
    hc_rpc_release_order(rpc);
    if (served->row)
        (void)grpc_server_request_registered_call(rpc->server, served->registered,
                                                  &call->core, &call->deadline,
                                                  &call->headers, &call->payload,
                                                  rpc->queue, rpc->queue, &call->arrived);
    else
        (void)grpc_server_request_call(rpc->server, &call->core, &call->details,
                                       &call->headers, rpc->queue, rpc->queue,
                                       &call->arrived);
}

static void served_request_calls(struct hc_rpc *rpc, struct hc_rpc_served *served,
                                 unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        call_request_next(rpc, served);
}

void hc_rpc_call_request_first(struct hc_rpc *rpc, struct hc_rpc_served *served)
{
    served_request_calls(rpc, served, REQUESTED_UNUSED);
}

/* Not `ok`: the server stops, and no call has arrived. */
static void call_arrived(struct hc_rpc_call *call, bool ok)
{
    if (!ok) {
        hc_rpc_call_release(call);
        return;
    }
    call_request_next(call->rpc, call->served);
    if (!atomic_load_explicit(&call->served->is_used, memory_order_relaxed) &&
        !atomic_exchange(&call->served->is_used, true))
        served_request_calls(call->rpc, call->served, REQUESTED_USED - REQUESTED_UNUSED);
    hc_rpc_request_init(call);
    if (!call->served->row)
        call_refuse_unknown(call);
    else if (!call_is_admitted(call))
        return;
    else if (hc_rpc_call_is_bidirectional(call))
        stream_arrived(call);
    else
        hc_rpc_request_start(call);
}

/* --- what services use of a call ------------------------------------------------------
 */

void *hc_rpc_call_scratch(struct hc_rpc_call *call)
{
    return call->scratch;
}

void hc_rpc_call_fail_left(const struct hc_rpc_call *call, struct hc_error *err)
{
    if (call->request.deadline_ms <= hc_monotonic_ms()) {
        (void)hc_fail(err, HC_DEADLINE_EXCEEDED, "the caller's deadline passed");
    } else if (atomic_load(&call->rpc->is_ending)) {
        (void)hc_fail(err, HC_SHUTTING_DOWN,
                      "this hubcached stops before it has the answer: ask again, "
                      "another replica or the next start resumes the download");
        err->retry_after_ms = HC_RPC_RETRY_AFTER_MS;
    } else {
        (void)hc_fail(err, HC_CANCELLED, "the caller left");
    }
}
