/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on gRPC's C core. Each attempt of a call has a completion queue of its own, which
 * the calling thread polls, so calls share nothing but the connection. A unary call is
 * read as a stream of one message.
 *
 * A call makes one attempt after the other, each through these states:
 *
 *   connecting   until the connection is up or an attempt to make it has failed
 *   reading      the request is sent; messages are read until there is no more, one
 *                cannot be decoded, or the caller's function returns false (then it is
 *                cancelled)
 *   ended        gRPC has told the status: OK, or a failure that is final or retryable
 *
 * A retryable failure leads to a pause and the next attempt, until the time to wait has
 * passed since the first failure, or the deadline comes first. Two batches of operations
 * run per attempt: one that ends with the status, and one for each message read.
 */
#include "channel.h"

#include "base/text.h"
#include "channel_status.h"
#include "connection.h"
#include "token_file.h"

#include <hubcache-client/client.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/status.h>
#include <grpc/support/time.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    METADATA_COUNT_MAX = 4,
    TRACEPARENT_SIZE = 55,
    WAIT_DEFAULT_MS = 30 * 1000,
    RETRY_FIRST_MS = 100,
    RETRY_LAST_MS = 1600
};

struct hc_channel {
    struct hc_connection *connection;
    char *server;
    char *authorization;      /* "Bearer …"; NULL: no token */
    char *token_file;         /* or the file that has it, read for each attempt */
    char *hub_token;          /* NULL: no token */
    char *traceparent;        /* a header of W3C's Trace Context; NULL: none */
    char *pod;                /* what the client calls itself */
    int64_t timeout_ms;       /* 0: none */
    int64_t wait_ms;          /* negative: a call is made once */
    hc_client_retry_fn retry; /* NULL: none */
    void *retry_ctx;
};

struct call_attempt {
    const struct hc_channel *channel;
    const struct hc_channel_request *request;
    gpr_timespec deadline; /* of the whole call */
    struct hc_connection_link *link;
    grpc_completion_queue *queue;
    grpc_call *call;
    const char *authorization; /* borrowed */
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *bytes;     /* the message read last; NULL at the end */
    grpc_byte_buffer *before[2]; /* the messages before it, if there are `pieces` */
    struct iovec *pieces; /* the newest one in pieces, with room for `piece_room` */
    size_t piece_room;
    ProtobufCMessage *response; /* the same, decoded; owned */
    grpc_status_code code;
    grpc_slice text;
    bool is_retryable; /* the failure is one after which another attempt makes sense */
};

static void call_attempt_release(struct call_attempt *attempt)
{
    if (attempt->request->settle)
        attempt->request->settle(attempt->request->ctx);
    if (attempt->response)
        protobuf_c_message_free_unpacked(attempt->response, NULL);
    grpc_byte_buffer_destroy(attempt->bytes);
    grpc_byte_buffer_destroy(attempt->before[0]);
    grpc_byte_buffer_destroy(attempt->before[1]);
    free(attempt->pieces);
    grpc_metadata_array_destroy(&attempt->headers);
    grpc_metadata_array_destroy(&attempt->trailers);
    grpc_slice_unref(attempt->text);
    grpc_call_unref(attempt->call);
    grpc_completion_queue_destroy(attempt->queue);
    hc_connection_drop(attempt->channel->connection, attempt->link);
}
HC_DEFINE_AUTO_VALUE(call_attempt, call_attempt_release)

static gpr_timespec time_from_now(int64_t milliseconds)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(milliseconds, GPR_TIMESPAN));
}

static void call_attempt_open(struct call_attempt *attempt)
{
    const struct hc_channel *channel = attempt->channel;
    grpc_slice method = grpc_slice_from_copied_string(attempt->request->method);

    attempt->queue = grpc_completion_queue_create_for_pluck(NULL);
    attempt->text = grpc_empty_slice();
    grpc_metadata_array_init(&attempt->headers);
    grpc_metadata_array_init(&attempt->trailers);
    attempt->link = hc_connection_take(channel->connection);
    hc_connection_await(attempt->link, attempt->queue, attempt->deadline);
    attempt->call = grpc_channel_create_call(hc_connection_grpc(attempt->link), NULL,
                                             GRPC_PROPAGATE_DEFAULTS, attempt->queue,
                                             method, NULL, attempt->deadline, NULL);
    grpc_slice_unref(method);
}

static void call_attempt_wait(struct call_attempt *attempt, void *tag)
{
    (void)grpc_completion_queue_pluck(attempt->queue, tag,
                                      gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

static grpc_byte_buffer *message_to_byte_buffer(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    grpc_byte_buffer *bytes;

    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}

static ProtobufCMessage *message_from_byte_buffer(grpc_byte_buffer *bytes,
                                                  const ProtobufCMessageDescriptor *type)
{
    grpc_byte_buffer_reader reader;
    ProtobufCMessage *message;
    grpc_slice slice;

    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return NULL;
    slice = grpc_byte_buffer_reader_readall(&reader);
    message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(slice),
                                        GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    grpc_byte_buffer_reader_destroy(&reader);
    return message;
}

static size_t call_attempt_metadata(const struct call_attempt *attempt,
                                    grpc_metadata *metadata)
{
    const struct hc_channel *channel = attempt->channel;
    size_t count = 0;

    memset(metadata, 0, METADATA_COUNT_MAX * sizeof *metadata);
    if (attempt->authorization) {
        metadata[count].key = grpc_slice_from_static_string("authorization");
        metadata[count++].value = grpc_slice_from_copied_string(attempt->authorization);
    }
    if (channel->hub_token) {
        metadata[count].key = grpc_slice_from_static_string("x-hub-token");
        metadata[count++].value = grpc_slice_from_copied_string(channel->hub_token);
    }
    if (attempt->request->takes_lease && channel->pod[0]) {
        metadata[count].key = grpc_slice_from_static_string("x-hubcache-pod");
        metadata[count++].value = grpc_slice_from_copied_string(channel->pod);
    }
    if (channel->traceparent) {
        metadata[count].key = grpc_slice_from_static_string("traceparent");
        metadata[count++].value = grpc_slice_from_copied_string(channel->traceparent);
    }
    return count;
}

/* Starts the batch that sends the whole request and reads the first message. */
static grpc_call_error call_attempt_start(struct call_attempt *attempt)
{
    grpc_metadata metadata[METADATA_COUNT_MAX];
    size_t count = call_attempt_metadata(attempt, metadata);
    grpc_byte_buffer *bytes = message_to_byte_buffer(attempt->request->message);
    grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                     {.op = GRPC_OP_SEND_MESSAGE},
                     {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                     {.op = GRPC_OP_RECV_INITIAL_METADATA},
                     {.op = GRPC_OP_RECV_MESSAGE}};
    grpc_call_error result;

    ops[0].data.send_initial_metadata.metadata = metadata;
    ops[0].data.send_initial_metadata.count = count;
    ops[1].data.send_message.send_message = bytes;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &attempt->headers;
    ops[4].data.recv_message.recv_message = &attempt->bytes;
    result = grpc_call_start_batch(attempt->call, ops, sizeof ops / sizeof *ops,
                                   &attempt->bytes, NULL);
    grpc_byte_buffer_destroy(bytes);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(metadata[i].value);
    return result;
}

static grpc_call_error call_attempt_start_status(struct call_attempt *attempt)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

    op.data.recv_status_on_client.trailing_metadata = &attempt->trailers;
    op.data.recv_status_on_client.status = &attempt->code;
    op.data.recv_status_on_client.status_details = &attempt->text;
    return grpc_call_start_batch(attempt->call, &op, 1, &attempt->code, NULL);
}

static grpc_call_error call_attempt_start_read(struct call_attempt *attempt)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    grpc_byte_buffer_destroy(attempt->before[1]);
    attempt->before[1] = attempt->before[0];
    attempt->before[0] = hc_take(&attempt->bytes);
    op.data.recv_message.recv_message = &attempt->bytes;
    return grpc_call_start_batch(attempt->call, &op, 1, &attempt->bytes, NULL);
}

static int call_attempt_add_piece(struct call_attempt *attempt, size_t number,
                                  const grpc_slice *piece, struct hc_error *err)
{
    union { /* an iovec is also for writing, so it has no const */
        const uint8_t *given;
        uint8_t *taken;
    } start = {.given = GRPC_SLICE_START_PTR(*piece)};

    if (number == attempt->piece_room) {
        size_t room = number > 0 ? 2 * number : 64;
        struct iovec *grown = reallocarray(attempt->pieces, room, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        attempt->pieces = grown;
        attempt->piece_room = room;
    }
    attempt->pieces[number] = (struct iovec){start.taken, GRPC_SLICE_LENGTH(*piece)};
    return 0;
}

/* Hands the message that has arrived to the caller's function, without a copy. */
static int call_attempt_pass_pieces(struct call_attempt *attempt, struct hc_error *err)
{
    const struct hc_channel_request *request = attempt->request;
    grpc_byte_buffer_reader reader;
    grpc_slice *piece;
    size_t count = 0;
    int result = 0;

    if (!grpc_byte_buffer_reader_init(&reader, attempt->bytes))
        return hc_fail(err, HC_INTERNAL, "%s: the answer cannot be read",
                       request->method);
    while (result == 0 && grpc_byte_buffer_reader_peek(&reader, &piece))
        result = call_attempt_add_piece(attempt, count++, piece, err);
    if (result == 0 && !request->pieces(request->ctx, attempt->pieces, count))
        result = hc_fail(err, HC_CANCELLED,
                         "the caller gave the call up before its answer came");
    grpc_byte_buffer_reader_destroy(&reader);
    return result;
}

/* Decodes the message that has arrived, and hands it to the caller's function. */
static int call_attempt_read_message(struct call_attempt *attempt, struct hc_error *err)
{
    const struct hc_channel_request *request = attempt->request;

    if (request->pieces)
        return call_attempt_pass_pieces(attempt, err);
    if (attempt->response)
        protobuf_c_message_free_unpacked(attempt->response, NULL);
    attempt->response = message_from_byte_buffer(attempt->bytes, request->response);
    grpc_byte_buffer_destroy(hc_take(&attempt->bytes));
    if (!attempt->response)
        return hc_fail(err, HC_INTERNAL, "%s: the answer is not a %s", request->method,
                       request->response->name);
    if (request->each && !request->each(request->ctx, attempt->response))
        return hc_fail(err, HC_CANCELLED,
                       "the caller gave the call up before its answer came");
    return 0;
}

static int call_attempt_read_messages(struct call_attempt *attempt, struct hc_error *err)
{
    call_attempt_wait(attempt, &attempt->bytes);
    while (attempt->bytes) {
        if (call_attempt_read_message(attempt, err) < 0)
            return -1;
        if (call_attempt_start_read(attempt) != GRPC_CALL_OK)
            return hc_fail(err, HC_INTERNAL, "%s: gRPC refuses to read",
                           attempt->request->method);
        call_attempt_wait(attempt, &attempt->bytes);
    }
    return 0;
}

/*
 * Whether the same request may succeed later, here or at another replica: the server was
 * not reached, the connection broke, the server stops or has its queue full, or it cannot
 * check the caller's token before it has the newest keys. gRPC and proxies report without
 * details what they find themselves, UNAVAILABLE or CANCELLED. What is wrong with TLS
 * stays wrong. Failures of the Hub are final: the server has retried those itself.
 */
static bool status_is_retryable(const struct hc_channel_status *status,
                                const struct hc_error *err)
{
    if (!status->details)
        return (status->code == GRPC_STATUS_UNAVAILABLE ||
                status->code == GRPC_STATUS_CANCELLED) &&
               !hc_channel_status_is_tls_failure(status);
    return err->reason == HC_SHUTTING_DOWN || err->reason == HC_BUSY ||
           (err->reason == HC_CALLER_UNAUTHENTICATED && err->retry_after_ms > 0);
}

static int call_attempt_fail(struct call_attempt *attempt, struct hc_error *err)
{
    HC_AUTO_FREE char *text = strndup((const char *)GRPC_SLICE_START_PTR(attempt->text),
                                      GRPC_SLICE_LENGTH(attempt->text));
    struct hc_channel_status status = {.code = (int)attempt->code,
                                       .text = text ? text : "",
                                       .server = attempt->channel->server,
                                       .has_tls = hc_connection_has_tls(
                                           attempt->channel->connection),
                                       .flaw = hc_connection_flaw(attempt->link)};

    for (size_t i = 0; i < attempt->trailers.count; i++) {
        const grpc_metadata *entry = &attempt->trailers.metadata[i];

        if (grpc_slice_str_cmp(entry->key, "grpc-status-details-bin") == 0) {
            status.details = GRPC_SLICE_START_PTR(entry->value);
            status.details_size = GRPC_SLICE_LENGTH(entry->value);
        }
    }
    (void)hc_channel_status_fail(&status, err);
    attempt->is_retryable = status_is_retryable(&status, err);
    return -1;
}

static int call_attempt_run(struct call_attempt *attempt, struct hc_error *err)
{
    int result;

    call_attempt_open(attempt);
    /* gRPC refuses only malformed batches, so the second cannot fail after the first. */
    if (call_attempt_start(attempt) != GRPC_CALL_OK ||
        call_attempt_start_status(attempt) != GRPC_CALL_OK)
        return hc_fail(err, HC_INTERNAL, "%s: gRPC refuses the call",
                       attempt->request->method);
    result = call_attempt_read_messages(attempt, err);
    if (result < 0)
        (void)grpc_call_cancel(attempt->call, NULL);
    call_attempt_wait(attempt, &attempt->code);
    if (result < 0)
        return -1;
    if (attempt->code != GRPC_STATUS_OK)
        return call_attempt_fail(attempt, err);
    if (!attempt->response && !attempt->request->pieces)
        return hc_fail(err, HC_INTERNAL, "%s: the server sent no message",
                       attempt->request->method);
    return 0;
}

/* The failures of a call since it was last of use. */
struct call_failures {
    unsigned count;
    gpr_timespec begin, end; /* of the time to wait */
};

/*
 * Sleeps before the next attempt for a time that doubles with each attempt, or for as
 * long as the server asks. Half to one and a half of it, so that clients that one restart
 * has hit do not come back at once. False when there is no such attempt: the time to wait
 * or the deadline comes first.
 */
static bool call_failures_pause(struct call_failures *failures,
                                const struct hc_channel *channel, gpr_timespec deadline,
                                const struct hc_error *err)
{
    int64_t ms = RETRY_LAST_MS;
    uint32_t chance = 0;
    gpr_timespec until;

    if (failures->count == 0) {
        failures->begin = time_from_now(0);
        failures->end = time_from_now(channel->wait_ms);
    }
    if (RETRY_FIRST_MS << failures->count < RETRY_LAST_MS)
        ms = RETRY_FIRST_MS << failures->count++;
    (void)getentropy(&chance, sizeof chance);
    ms = ms / 2 + (int64_t)(chance % (uint32_t)(ms + 1));
    if (ms < err->retry_after_ms)
        ms = err->retry_after_ms;
    until = time_from_now(ms);
    if (gpr_time_cmp(until, gpr_time_min(failures->end, deadline)) >= 0)
        return false;
    if (channel->retry)
        channel->retry(channel->retry_ctx, err,
                       gpr_time_to_millis(
                           gpr_time_sub(time_from_now(0), failures->begin)));
    gpr_sleep_until(until);
    return true;
}

/*
 * The trace that a program continues, as OpenTelemetry's convention for the environment
 * has it. The server checks it; here it is only kept from being a header that gRPC
 * refuses.
 */
static const char *environment_traceparent(void)
{
    const char *value = getenv("TRACEPARENT"); /* NOLINT(concurrency-mt-unsafe) */

    return value && strspn(value, "0123456789abcdef-") == TRACEPARENT_SIZE &&
                   value[TRACEPARENT_SIZE] == '\0'
               ? value
               : NULL;
}

static int channel_copy_options(struct hc_channel *channel,
                                const struct hc_client_options *options,
                                struct hc_error *err)
{
    const char *traceparent = environment_traceparent();

    channel->timeout_ms = options->timeout_ms;
    channel->wait_ms = options->wait_ms == 0 ? WAIT_DEFAULT_MS : options->wait_ms;
    channel->retry = options->retry;
    channel->retry_ctx = options->retry_ctx;
    channel->server = strdup(options->server);
    channel->pod = strdup(options->pod ? options->pod : "");
    if (options->hub_token)
        channel->hub_token = strdup(options->hub_token);
    if (options->bearer_token &&
        asprintf(&channel->authorization, "Bearer %s", options->bearer_token) < 0)
        channel->authorization = NULL;
    if (options->bearer_token_file)
        channel->token_file = strdup(options->bearer_token_file);
    if (traceparent)
        channel->traceparent = strdup(traceparent);
    if (!channel->server || !channel->pod || !channel->traceparent != !traceparent ||
        !channel->token_file != !options->bearer_token_file ||
        !channel->hub_token != !options->hub_token ||
        !channel->authorization != !options->bearer_token)
        return hc_fail_memory(err);
    return 0;
}

struct hc_channel *hc_channel_open(const struct hc_client_options *options,
                                   struct hc_error *err)
{
    HC_AUTO(hc_channel) *channel = calloc(1, sizeof *channel);

    if (!channel) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (channel_copy_options(channel, options, err) < 0)
        return NULL;
    channel->connection = hc_connection_open(options, err);
    return channel->connection ? hc_take(&channel) : NULL;
}

void hc_channel_close(struct hc_channel *channel)
{
    if (!channel)
        return;
    hc_connection_close(channel->connection);
    hc_text_wipe(channel->authorization);
    hc_text_wipe(channel->hub_token);
    free(channel->token_file);
    free(channel->traceparent);
    free(channel->pod);
    free(channel->server);
    free(channel);
}

const char *hc_channel_server(const struct hc_channel *channel)
{
    return channel->server;
}

/* Whether another attempt follows the one that failed with `failure`. */
static bool channel_tries_again(const struct hc_channel *channel,
                                const struct hc_channel_request *request,
                                struct call_failures *failures, gpr_timespec deadline,
                                const struct hc_error *failure)
{
    bool has_progress = false;

    if (request->resume && !request->resume(request->ctx, &has_progress))
        return false;
    if (has_progress)
        failures->count = 0;
    return call_failures_pause(failures, channel, deadline, failure);
}

/* `*response` is the last message, NULL if the messages are not decoded. */
static int channel_make_call(struct hc_channel *channel,
                             const struct hc_channel_request *request,
                             ProtobufCMessage **response, struct hc_error *err)
{
    int64_t limit_ms = request->limit_ms ? request->limit_ms : channel->timeout_ms;
    gpr_timespec deadline =
        limit_ms == 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : time_from_now(limit_ms);
    struct hc_error failure; /* `err` is left alone when a later attempt succeeds */
    struct call_failures failures = {0};
    bool is_retryable;

    do {
        HC_AUTO_WIPE char *from_file =
            channel->token_file ? hc_token_file_authorization(channel->token_file, err)
                                : NULL;

        if (channel->token_file && !from_file)
            return -1;
        HC_AUTO_VALUE(call_attempt)
        attempt = {.channel = channel,
                   .request = request,
                   .authorization = from_file ? from_file : channel->authorization,
                   .deadline = deadline};

        if (call_attempt_run(&attempt, &failure) == 0) {
            *response = hc_take(&attempt.response);
            return 0;
        }
        is_retryable = attempt.is_retryable;
    } while (is_retryable && request->limit_ms == 0 &&
             channel_tries_again(channel, request, &failures, deadline, &failure));
    *err = failure;
    return -1;
}

ProtobufCMessage *hc_channel_call(struct hc_channel *channel,
                                  const struct hc_channel_request *request,
                                  struct hc_error *err)
{
    ProtobufCMessage *response = NULL;

    return channel_make_call(channel, request, &response, err) == 0 ? response : NULL;
}

int hc_channel_read(struct hc_channel *channel, const struct hc_channel_request *request,
                    struct hc_error *err)
{
    ProtobufCMessage *none = NULL;

    return channel_make_call(channel, request, &none, err);
}
