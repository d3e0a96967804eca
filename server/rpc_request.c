/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request of a call: its context, its headers, and its bytes, which are unpacked for
 * the function of the method. To do that on the edge's thread keeps all other calls
 * waiting: 0.1 ms for a request of 64 KiB, 2 ms for 10,000 file names, 50 ms for 16 MiB.
 * So requests that are large wait for a thread of their own, the decoder, on which the
 * function runs then too. The callers take turns there. What waits is bounded; more is
 * refused with BUSY.
 */
#include "rpc_core.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stddef.h>

/* gRPC gives the deadline on a clock of its own choice; the library's is monotonic. */
static int64_t call_deadline_ms(const struct hc_rpc_call *call, int64_t now_ns)
{
    gpr_timespec left;

    if (gpr_time_cmp(call->deadline, gpr_inf_future(call->deadline.clock_type)) == 0)
        return HC_NO_DEADLINE;
    left = gpr_time_sub(call->deadline, gpr_now(call->deadline.clock_type));
    return now_ns / 1000000 + gpr_time_to_millis(left);
}

/* NULL: there is none, or there are several, which is none, too (W3C, 3.2.1). */
static const char *call_traceparent(const struct hc_rpc_call *call, size_t *size)
{
    const char *value = NULL;

    for (size_t i = 0; i < call->headers.count; i++) {
        const grpc_metadata *header = &call->headers.metadata[i];

        if (grpc_slice_str_cmp(header->key, "traceparent") != 0)
            continue;
        if (value)
            return NULL;
        value = (const char *)GRPC_SLICE_START_PTR(header->value);
        *size = GRPC_SLICE_LENGTH(header->value);
    }
    return value;
}

void hc_rpc_request_init(struct hc_rpc_call *call)
{
    size_t size = 0;
    const char *traceparent = call_traceparent(call, &size);
    int64_t now_ns = hc_monotonic_ns();

    atomic_fetch_add_explicit(&call->served->running, 1, memory_order_relaxed);
    hc_request_init(&call->request, ++call->rpc->last_id, now_ns, &call->thread->arena);
    call->request.deadline_ms = call_deadline_ms(call, now_ns);
    call->request.trace = hc_trace_begin(&call->rpc->traces, traceparent, size);
    if (call->rpc->records_peers)
        hc_rpc_call_peer(call, call->request.peer);
    call->request.method = call->served->row ? call->served->row->path : "unknown";
    call->request.method_number = (unsigned)(call->served - call->rpc->served);
}

struct hc_request *hc_rpc_call_request(struct hc_rpc_call *call)
{
    return &call->request;
}

bool hc_rpc_call_header(const struct hc_rpc_call *call, const char *name,
                        const char **value, size_t *size)
{
    for (size_t i = 0; i < call->headers.count; i++) {
        const grpc_metadata *header = &call->headers.metadata[i];

        if (grpc_slice_str_cmp(header->key, name) != 0)
            continue;
        *value = (const char *)GRPC_SLICE_START_PTR(header->value);
        *size = GRPC_SLICE_LENGTH(header->value);
        return true;
    }
    return false;
}

/*
 * The bytes of the request; the calling function releases the slice. A small request is
 * in one slice, which is not copied. There is no payload if the client closed its side
 * before a message or within one; an empty message has one. A call that waits for hours
 * must not keep it.
 */
static int call_read_payload(struct hc_rpc_call *call, grpc_slice *bytes,
                             struct hc_error *err)
{
    grpc_byte_buffer_reader reader;

    *bytes = grpc_empty_slice();
    if (!call->payload || !grpc_byte_buffer_reader_init(&reader, call->payload))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "request",
                             "the call ended before its request was whole");
    if (grpc_byte_buffer_reader_next(&reader, bytes) &&
        GRPC_SLICE_LENGTH(*bytes) < grpc_byte_buffer_length(call->payload)) {
        grpc_slice_unref(*bytes);
        (void)grpc_byte_buffer_reader_init(&reader, call->payload);
        *bytes = grpc_byte_buffer_reader_readall(&reader);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(hc_take(&call->payload));
    return 0;
}

/* On `thread`, whose arena holds the message. */
static void call_start_method(struct hc_rpc_call *call, struct hc_rpc_thread *thread)
{
    const struct hc_rpc_method *method = call->served->row;
    void *service = call->served->service; /* `call` may be freed meanwhile */
    HC_AUTO(hc_answer) *recalled = NULL;
    ProtobufCMessage *request = NULL;
    grpc_slice bytes;
    struct hc_error err;
    bool is_whole = call_read_payload(call, &bytes, &err) == 0;

    call->request.arena = &thread->arena;
    call->request.bytes = GRPC_SLICE_START_PTR(bytes);
    call->request.size = GRPC_SLICE_LENGTH(bytes);
    if (is_whole && method->recall)
        recalled = method->recall(service, call);
    if (is_whole && !recalled)
        request = hc_message_unpack(method->request, call->request.bytes,
                                    call->request.size, &thread->arena, &err);
    if (recalled)
        hc_rpc_call_finish(call, recalled);
    else if (request)
        method->start(service, call, request);
    else
        hc_rpc_call_fail(call, &err);
    grpc_slice_unref(bytes);
    hc_arena_reset(&thread->arena);
}

/* --- the decoder ---------------------------------------------------------------------
 */

static bool call_decode_large(struct hc_task *task)
{
    struct hc_rpc_call *call =
        (struct hc_rpc_call *)((char *)task - offsetof(struct hc_rpc_call, decoding));
    struct hc_rpc *rpc = call->rpc;
    size_t size = grpc_byte_buffer_length(call->payload);

    call_start_method(call, &rpc->decoder);
    atomic_fetch_sub(&rpc->large_bytes, size);
    hc_rpc_call_release(call);
    return false;
}

/* The services identify the caller themselves, after the request is unpacked. */
static uint64_t call_caller(const struct hc_rpc_call *call)
{
    struct hc_request request = call->request;
    struct hc_error err;

    request.arena = &call->thread->arena;
    (void)hc_request_read_token(&request, call, &err);
    hc_request_identify(&request, call);
    hc_request_identify_by_address(&request, call);
    hc_arena_reset(request.arena);
    return request.caller;
}

/*
 * A request that is larger than half of what is left of the bytes does not wait, so a
 * caller of the largest ones leaves room for the others' smaller ones.
 */
static bool bytes_reserve(struct hc_rpc *rpc, size_t size)
{
    size_t used = atomic_fetch_add(&rpc->large_bytes, size);

    if (used < HC_RPC_LARGE_BYTES_MAX && size <= (HC_RPC_LARGE_BYTES_MAX - used) / 2)
        return true;
    atomic_fetch_sub(&rpc->large_bytes, size);
    return false;
}

/* Holds the call until its method has started. */
static int call_submit_large(struct hc_rpc_call *call, size_t size, struct hc_error *err)
{
    struct hc_rpc *rpc = call->rpc;

    if (!bytes_reserve(rpc, size))
        return hc_fail(err, HC_BUSY, "large requests of many MiB wait: try later");
    call->decoding =
        (struct hc_task){.run = call_decode_large, .caller = call_caller(call)};
    hc_rpc_call_hold(call);
    if (hc_workers_submit(rpc->decoders, &call->decoding, err) == 0)
        return 0;
    hc_rpc_call_release(call);
    atomic_fetch_sub(&rpc->large_bytes, size);
    return -1;
}

void hc_rpc_request_start(struct hc_rpc_call *call)
{
    size_t size = call->payload ? grpc_byte_buffer_length(call->payload) : 0;
    struct hc_error err;

    if (size <= HC_RPC_SMALL_BYTES_MAX) {
        call_start_method(call, call->thread);
    } else if (call_submit_large(call, size, &err) < 0) {
        err.retry_after_ms = HC_RPC_RETRY_AFTER_MS;
        grpc_byte_buffer_destroy(hc_take(&call->payload));
        hc_rpc_call_fail(call, &err);
    }
}
