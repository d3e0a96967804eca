/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of gRPC's C core, put together into batches: <grpc/grpc.h>, at
 * grpc_call_start_batch(), has the rules. A call sends its headers once, then messages,
 * then the status with the trailer, and receives one close; no operation twice in one
 * batch.
 *
 * Ownership: gRPC holds slices and buffers that it needs when the batch is started, so
 * the batch releases its own at once. The array of a trailer it does not copy: that is a
 * member of the call, which lives until the status is sent.
 */
#include "rpc_core.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <string.h>

enum { RETRY_SOON_MS = 10 * 1000 };

/* At most four operations: headers, message, status, close. */
static grpc_op *batch_add(struct hc_rpc_batch *batch, grpc_op_type type)
{
    grpc_op *op = &batch->ops[batch->count++];

    memset(op, 0, sizeof *op);
    op->op = type;
    return op;
}

void hc_rpc_batch_add_headers(struct hc_rpc_batch *batch)
{
    (void)batch_add(batch, GRPC_OP_SEND_INITIAL_METADATA);
}

void hc_rpc_batch_add_receive(struct hc_rpc_batch *batch, struct hc_rpc_call *call)
{
    batch_add(batch, GRPC_OP_RECV_MESSAGE)->data.recv_message.recv_message =
        &call->payload;
}

void hc_rpc_batch_add_close(struct hc_rpc_batch *batch, struct hc_rpc_call *call)
{
    batch_add(batch, GRPC_OP_RECV_CLOSE_ON_SERVER)->data.recv_close_on_server.cancelled =
        &call->is_cancelled;
}

static void answer_release(void *answer)
{
    hc_answer_release(answer);
}

/* The bytes of the answer without its tail, not copied: the slice holds the answer. */
static grpc_slice answer_share(struct hc_answer *answer)
{
    uint8_t *bytes; /* gRPC only reads them, but its function has no const */

    memcpy(&bytes, &answer->bytes, sizeof bytes);
    return grpc_slice_new_with_user_data(bytes, answer->size, answer_release,
                                         hc_answer_hold(answer));
}

static void batch_add_slices(struct hc_rpc_batch *batch, grpc_slice *slices, size_t count)
{
    batch->message = grpc_raw_byte_buffer_create(slices, count);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);
    batch_add(batch, GRPC_OP_SEND_MESSAGE)->data.send_message.send_message =
        batch->message;
}

void hc_rpc_batch_add_message(struct hc_rpc_batch *batch, grpc_slice bytes)
{
    batch_add_slices(batch, &bytes, 1);
}

void hc_rpc_batch_add_shared(struct hc_rpc_batch *batch, struct hc_answer *answer)
{
    grpc_slice slices[2];
    size_t count = 0;

    slices[count++] = answer_share(answer);
    if (answer->tail)
        slices[count++] = answer_share(answer->tail);
    batch_add_slices(batch, slices, count);
}

void hc_rpc_batch_add_status(struct hc_rpc_batch *batch, unsigned code, const char *text)
{
    grpc_op *op = batch_add(batch, GRPC_OP_SEND_STATUS_FROM_SERVER);

    op->data.send_status_from_server.status = (grpc_status_code)code;
    if (!*text)
        return;
    batch->text = grpc_slice_from_copied_string(text);
    op->data.send_status_from_server.status_details = &batch->text;
}

/*
 * Clients that retry by themselves read it (gRFC A6): the pause in milliseconds, and -1
 * for "do not". A client that would sleep for long in a call decides itself by RetryInfo.
 */
static grpc_slice pushback_slice(unsigned retry_ms)
{
    char text[16] = "-1";

    if (retry_ms <= RETRY_SOON_MS)
        (void)snprintf(text, sizeof text, "%u", retry_ms);
    return grpc_slice_from_copied_string(text);
}

/* A failure without details, or without advice to retry, does not have that trailer. */
static void batch_add_failure(struct hc_rpc_batch *batch, struct hc_rpc_call *call,
                              struct hc_answer *answer)
{
    grpc_op *op = &batch->ops[batch->count];
    size_t count = 0;

    hc_rpc_batch_add_status(batch, answer->code, answer->message);
    if (answer->size > 0) {
        call->trailers[count].key =
            grpc_slice_from_static_string("grpc-status-details-bin");
        call->trailers[count++].value = answer_share(answer);
    }
    if (answer->retry_ms > 0) {
        call->trailers[count].key =
            grpc_slice_from_static_string("grpc-retry-pushback-ms");
        call->trailers[count++].value = pushback_slice(answer->retry_ms);
    }
    op->data.send_status_from_server.trailing_metadata_count = count;
    op->data.send_status_from_server.trailing_metadata = call->trailers;
}

void hc_rpc_batch_add_answer(struct hc_rpc_batch *batch, struct hc_rpc_call *call,
                             struct hc_answer *answer)
{
    if (!answer) {
        hc_rpc_batch_add_status(batch, HC_STATUS_INTERNAL, "out of memory");
        return;
    }
    if (answer->code != 0) {
        batch_add_failure(batch, call, answer);
        return;
    }
    if (answer->bytes)
        hc_rpc_batch_add_shared(batch, answer);
    hc_rpc_batch_add_status(batch, 0, "");
}

void hc_rpc_batch_start(struct hc_rpc_batch *batch, struct hc_rpc_call *call,
                        struct hc_rpc_event *event)
{
    grpc_call *core = call->core; /* another thread may free the call after the start */
    grpc_call_error failed;

    hc_rpc_release_order(call->rpc);
    failed = grpc_call_start_batch(core, batch->ops, batch->count, event, NULL);
    assert(failed == GRPC_CALL_OK);
    (void)failed;
    if (batch->message)
        grpc_byte_buffer_destroy(batch->message);
    grpc_slice_unref(batch->text);
}
