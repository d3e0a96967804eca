/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One completion queue for all calls: awaiting one call takes the events of all of them.
 */
#include "rpc_client.h"

#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/credentials.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { MESSAGES_MAX = 256, AWAIT_S = 30, TEXT_SIZE = 4096 };

struct rpc_client {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    LIST_HEAD(, rpc_call) calls; /* those that are not freed */
};

struct event {
    void (*happened)(struct rpc_call *call);
    struct rpc_call *call;
};

struct rpc_call {
    struct rpc_client *client;
    LIST_ENTRY(rpc_call) link;
    grpc_call *core;
    struct event sent, received, ended;
    unsigned pending;
    bool is_sending; /* until `sent` happens: gRPC takes one message at a time */
    bool is_ended;
    grpc_metadata sent_headers[4];
    size_t sent_header_count;
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *incoming;
    grpc_slice messages[MESSAGES_MAX];
    size_t message_count;
    grpc_status_code code;
    grpc_slice error;
    char text[TEXT_SIZE];
};

static void grpc_must(bool is_good, const char *what)
{
    if (is_good)
        return;
    (void)fprintf(stderr, "rpc_client: %s\n", what);
    abort();
}

static void client_call_start_batch(struct rpc_call *call, const grpc_op *ops,
                                    size_t count, struct event *event)
{
    call->pending++;
    grpc_must(grpc_call_start_batch(call->core, ops, count, event, NULL) == GRPC_CALL_OK,
              "a batch was refused");
}

static void client_call_receive(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &call->incoming;
    client_call_start_batch(call, &op, 1, &call->received);
}

static void client_call_sent(struct rpc_call *call)
{
    call->is_sending = false;
}

static void client_call_received(struct rpc_call *call)
{
    grpc_byte_buffer_reader reader;

    if (!call->incoming)
        return;
    grpc_must(call->message_count < MESSAGES_MAX, "too many messages");
    grpc_must(grpc_byte_buffer_reader_init(&reader, call->incoming), "no reader");
    call->messages[call->message_count++] = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(call->incoming);
    call->incoming = NULL;
    client_call_receive(call);
}

static void client_call_ended(struct rpc_call *call)
{
    call->is_ended = true;
}

static void client_take_event(struct rpc_client *client)
{
    gpr_timespec late = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                     gpr_time_from_seconds(AWAIT_S, GPR_TIMESPAN));
    grpc_event got = grpc_completion_queue_next(client->queue, late, NULL);
    struct event *event = got.tag;

    grpc_must(got.type == GRPC_OP_COMPLETE, "nothing happened for half a minute");
    event->call->pending--;
    event->happened(event->call);
}

/*
 * Afterwards a started call is sent without anything polling the queue. False: an attempt
 * failed, and `is_patient` is not set.
 */
static bool client_connect_now(struct rpc_client *client, bool is_patient)
{
    gpr_timespec late = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                     gpr_time_from_seconds(AWAIT_S, GPR_TIMESPAN));
    grpc_connectivity_state state =
        grpc_channel_check_connectivity_state(client->channel, 1);

    while (state != GRPC_CHANNEL_READY) {
        grpc_event got;

        if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && !is_patient)
            return false;
        grpc_channel_watch_connectivity_state(client->channel, state, late, client->queue,
                                              NULL);
        got = grpc_completion_queue_next(client->queue, late, NULL);
        grpc_must(got.type == GRPC_OP_COMPLETE && got.success, "no connection");
        state = grpc_channel_check_connectivity_state(client->channel, 1);
    }
    return true;
}

/* Takes `credentials`. */
static struct rpc_client *client_new(const char *address,
                                     grpc_channel_credentials *credentials)
{
    struct rpc_client *client = calloc(1, sizeof *client);
    char *key = strdup("grpc.use_local_subchannel_pool");
    grpc_arg own = {.type = GRPC_ARG_INTEGER, .key = key, .value.integer = 1};
    grpc_channel_args args = {.num_args = 1, .args = &own};

    grpc_must(client && key, "out of memory");
    client->channel = grpc_channel_create(address, credentials, &args);
    client->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_channel_credentials_release(credentials);
    free(key);
    return client;
}

struct rpc_client *rpc_client_open(const char *address)
{
    struct rpc_client *client;

    grpc_init();
    client = client_new(address, grpc_insecure_credentials_create());
    (void)client_connect_now(client, true);
    return client;
}

struct rpc_client *rpc_client_open_tls(const char *address, const struct rpc_tls *tls)
{
    grpc_ssl_pem_key_cert_pair pair = {.private_key = tls->key, .cert_chain = tls->cert};
    struct rpc_client *client;

    grpc_init();
    client =
        client_new(address, grpc_ssl_credentials_create(tls->ca, tls->cert ? &pair : NULL,
                                                        NULL, NULL));
    if (client_connect_now(client, false))
        return client;
    rpc_client_close(client);
    return NULL;
}

void rpc_client_close(struct rpc_client *client)
{
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);

    while (!LIST_EMPTY(&client->calls)) {
        rpc_call_cancel(LIST_FIRST(&client->calls));
        rpc_call_free(LIST_FIRST(&client->calls));
    }
    grpc_channel_destroy(client->channel);
    grpc_completion_queue_shutdown(client->queue);
    while (grpc_completion_queue_next(client->queue, never, NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        continue;
    grpc_completion_queue_destroy(client->queue);
    free(client);
    grpc_shutdown_blocking();
}

static grpc_byte_buffer *message_pack(const struct rpc_request *request)
{
    grpc_slice slice;
    grpc_byte_buffer *buffer;

    if (request->message) {
        slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(request->message));
        (void)protobuf_c_message_pack(request->message, GRPC_SLICE_START_PTR(slice));
    } else {
        slice = grpc_slice_from_copied_buffer(request->bytes, request->size);
    }
    buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* `value` NULL: the call does not have it. */
static void client_call_add_header(struct rpc_call *call, const char *name,
                                   const char *value)
{
    if (!value)
        return;
    call->sent_headers[call->sent_header_count++] =
        (grpc_metadata){.key = grpc_slice_from_static_string(name),
                        .value = grpc_slice_from_copied_string(value)};
}

static void client_call_send(struct rpc_call *call, const struct rpc_request *request)
{
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
    grpc_byte_buffer *message = message_pack(request);
    size_t count = request->has_more ? 3 : 4;

    client_call_add_header(call, "x-hub-token", request->token);
    client_call_add_header(call, "authorization", request->authorization);
    client_call_add_header(call, "traceparent", request->traceparent);
    client_call_add_header(call, "x-hubcache-pod", request->pod);
    ops[0].data.send_initial_metadata.count = call->sent_header_count;
    ops[0].data.send_initial_metadata.metadata = call->sent_headers;
    ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &call->headers;
    ops[2].data.send_message.send_message = message;
    if (request->has_no_message)
        ops[2] = ops[--count];
    call->is_sending = true;
    client_call_start_batch(call, ops, count, &call->sent);
    grpc_byte_buffer_destroy(message);
}

static void client_call_await_status(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

    op.data.recv_status_on_client.trailing_metadata = &call->trailers;
    op.data.recv_status_on_client.status = &call->code;
    op.data.recv_status_on_client.status_details = &call->error;
    client_call_start_batch(call, &op, 1, &call->ended);
}

struct rpc_call *rpc_call_start(struct rpc_client *client,
                                const struct rpc_request *request)
{
    struct rpc_call *call = calloc(1, sizeof *call);
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);

    grpc_must(call, "out of memory");
    if (request->timeout_ms > 0)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_millis(request->timeout_ms, GPR_TIMESPAN));
    call->client = client;
    LIST_INSERT_HEAD(&client->calls, call, link);
    call->sent = (struct event){client_call_sent, call};
    call->received = (struct event){client_call_received, call};
    call->ended = (struct event){client_call_ended, call};
    call->core = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                          client->queue,
                                          grpc_slice_from_static_string(request->path),
                                          NULL, deadline, NULL);
    client_call_await_status(call);
    client_call_send(call, request);
    if (!request->reads_nothing)
        client_call_receive(call);
    return call;
}

void rpc_call_cancel(struct rpc_call *call)
{
    (void)grpc_call_cancel(call->core, NULL);
}

static void client_call_send_more(struct rpc_call *call, const grpc_op *op)
{
    while (call->is_sending)
        client_take_event(call->client);
    call->is_sending = true;
    client_call_start_batch(call, op, 1, &call->sent);
    while (call->is_sending)
        client_take_event(call->client);
}

void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    grpc_byte_buffer *packed = message_pack(&(struct rpc_request){.message = message});
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};

    op.data.send_message.send_message = packed;
    client_call_send_more(call, &op);
    grpc_byte_buffer_destroy(packed);
}

void rpc_call_send_end(struct rpc_call *call)
{
    client_call_send_more(call, &(grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT});
}

size_t rpc_call_await_messages(struct rpc_call *call, size_t count)
{
    while (call->message_count < count && call->pending > 0)
        client_take_event(call->client);
    return call->message_count;
}

unsigned rpc_call_await(struct rpc_call *call)
{
    while (call->pending > 0)
        client_take_event(call->client);
    return (unsigned)call->code;
}

void rpc_call_free(struct rpc_call *call)
{
    (void)rpc_call_await(call);
    LIST_REMOVE(call, link);
    for (size_t i = 0; i < call->message_count; i++)
        grpc_slice_unref(call->messages[i]);
    grpc_slice_unref(call->error);
    for (size_t i = 0; i < call->sent_header_count; i++)
        grpc_slice_unref(call->sent_headers[i].value);
    grpc_metadata_array_destroy(&call->headers);
    grpc_metadata_array_destroy(&call->trailers);
    grpc_call_unref(call->core);
    free(call);
}

ProtobufCMessage *rpc_call_message(struct rpc_call *call, size_t number,
                                   const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message;

    grpc_must(number < call->message_count, "there is no such message");
    message =
        protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(call->messages[number]),
                                  GRPC_SLICE_START_PTR(call->messages[number]));
    grpc_must(message, "the answer cannot be unpacked");
    return message;
}

const char *rpc_call_error(struct rpc_call *call)
{
    size_t size = GRPC_SLICE_LENGTH(call->error);

    grpc_must(size < TEXT_SIZE, "the error's text is too long");
    memcpy(call->text, GRPC_SLICE_START_PTR(call->error), size);
    call->text[size] = '\0';
    return call->text;
}

/* One detail of the google.rpc.Status in the trailers. NULL: there is none. */
static ProtobufCMessage *status_find_detail(struct rpc_call *call,
                                            const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *found = NULL;
    Google__Rpc__Status *status = NULL;

    for (size_t i = 0; i < call->trailers.count; i++) {
        const grpc_metadata *trailer = &call->trailers.metadata[i];

        if (grpc_slice_str_cmp(trailer->key, "grpc-status-details-bin") == 0)
            status = google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(trailer->value),
                                                 GRPC_SLICE_START_PTR(trailer->value));
    }
    for (size_t i = 0; status && i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        const char *name = strrchr(any->type_url, '/');

        if (name && strcmp(name + 1, type->name) == 0)
            found =
                protobuf_c_message_unpack(type, NULL, any->value.len, any->value.data);
    }
    if (status)
        google__rpc__status__free_unpacked(status, NULL);
    return found;
}

static const char *client_call_keep_message(struct rpc_call *call, const char *text)
{
    (void)snprintf(call->text, sizeof call->text, "%s", text);
    return call->text;
}

const char *rpc_call_reason(struct rpc_call *call)
{
    ProtobufCMessage *found =
        status_find_detail(call, &google__rpc__error_info__descriptor);
    const Google__Rpc__ErrorInfo *info = (const void *)found;
    const char *reason = client_call_keep_message(call, info ? info->reason : "");

    grpc_must(!info || strcmp(info->domain, "hubcache") == 0, "not hubcache's reason");
    protobuf_c_message_free_unpacked(found, NULL);
    return reason;
}

const char *rpc_call_error_info(struct rpc_call *call, const char *key)
{
    ProtobufCMessage *found =
        status_find_detail(call, &google__rpc__error_info__descriptor);
    const Google__Rpc__ErrorInfo *info = (const void *)found;
    const char *fact = client_call_keep_message(call, "");

    for (size_t i = 0; info && i < info->n_metadata; i++) {
        if (strcmp(info->metadata[i]->key, key) == 0)
            fact = client_call_keep_message(call, info->metadata[i]->value);
    }
    protobuf_c_message_free_unpacked(found, NULL);
    return fact;
}

const char *rpc_call_violation(struct rpc_call *call)
{
    ProtobufCMessage *found =
        status_find_detail(call, &google__rpc__bad_request__descriptor);
    const Google__Rpc__BadRequest *bad = (const void *)found;
    const char *field =
        client_call_keep_message(call, bad ? bad->field_violations[0]->field : "");

    protobuf_c_message_free_unpacked(found, NULL);
    return field;
}

int64_t rpc_call_retry_ms(struct rpc_call *call)
{
    ProtobufCMessage *found =
        status_find_detail(call, &google__rpc__retry_info__descriptor);
    const Google__Rpc__RetryInfo *retry = (const void *)found;
    int64_t ms =
        retry ? retry->retry_delay->seconds * 1000 + retry->retry_delay->nanos / 1000000
              : -1;

    protobuf_c_message_free_unpacked(found, NULL);
    return ms;
}

const char *rpc_call_pushback(struct rpc_call *call)
{
    const char *found = client_call_keep_message(call, "");

    for (size_t i = 0; i < call->trailers.count; i++) {
        const grpc_metadata *trailer = &call->trailers.metadata[i];

        if (grpc_slice_str_cmp(trailer->key, "grpc-retry-pushback-ms") != 0)
            continue;
        (void)snprintf(call->text, sizeof call->text, "%.*s",
                       (int)GRPC_SLICE_LENGTH(trailer->value),
                       (const char *)GRPC_SLICE_START_PTR(trailer->value));
        found = call->text;
    }
    return found;
}
