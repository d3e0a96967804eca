/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on gRPC's C core, the only file of the client that includes it. A call has its
 * own completion queue and is driven by the thread that makes it, so calls share nothing
 * but the channel. Two batches run: one that ends with the status of the call, and one
 * for each message of the answer. A unary call is a stream of one message.
 */
#include "channel.h"

#include "address.h"
#include "base/text.h"
#include "channel_status.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/status.h>
#include <grpc/support/time.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_BYTES_MAX = 64 * 1024 * 1024, /* the listing of a large repo */
    METADATA_BYTES_MAX = 64 * 1024,      /* a status with its details */
    CONNECT_MS = 5000,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 1000,
    SETTLE_MS = 300,
    /*
     * A server whose machine vanished is noticed. By default gRPC servers hang up on
     * clients that probe an idle connection more often than every five minutes.
     */
    KEEPALIVE_MS = 310 * 1000,
    METADATA_COUNT_MAX = 2,
    /* Some six seconds of pauses in all: a restart is waited for, an outage is not. */
    ATTEMPTS_MAX = 8,
    RETRY_FIRST_MS = 100,
    RETRY_LAST_MS = 1600
};

struct hc_channel {
    grpc_channel *grpc;
    char *server;
    char *authorization; /* "Bearer …" */
    char *hub_token;
    int64_t timeout_ms;
};

struct attempt { /* of a call, of which there may be several */
    gpr_timespec deadline;
    unsigned number; /* from 0 */
    bool is_retryable;
};

struct exchange { /* one attempt's */
    grpc_completion_queue *queue;
    grpc_call *call;
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *message; /* the one read last; NULL at the end */
    grpc_status_code code;
    grpc_slice text;
};

static void exchange_release(struct exchange *exchange)
{
    grpc_byte_buffer_destroy(exchange->message);
    grpc_metadata_array_destroy(&exchange->headers);
    grpc_metadata_array_destroy(&exchange->trailers);
    grpc_slice_unref(exchange->text);
    grpc_call_unref(exchange->call);
    grpc_completion_queue_destroy(exchange->queue);
}
HC_DEFINE_AUTO_VALUE(exchange, exchange_release)

static gpr_timespec time_from_now(int64_t milliseconds)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(milliseconds, GPR_TIMESPAN));
}

static gpr_timespec channel_deadline(const struct hc_channel *channel)
{
    return channel->timeout_ms == 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
                                    : time_from_now(channel->timeout_ms);
}

/*
 * gRPC connects only while somebody polls, and a call that fails at once polls no longer:
 * a server that came up late would be noticed after many seconds. So a call first waits
 * for an attempt to end; after an earlier one failed it asks for another and gives it a
 * moment.
 */
static void channel_await_connection(const struct hc_channel *channel,
                                     grpc_completion_queue *queue, gpr_timespec deadline)
{
    gpr_timespec moment = gpr_time_min(deadline, time_from_now(SETTLE_MS));
    grpc_connectivity_state state =
        grpc_channel_check_connectivity_state(channel->grpc, 1);
    bool has_failed = state == GRPC_CHANNEL_TRANSIENT_FAILURE;
    bool is_in_time = true;

    if (has_failed)
        grpc_channel_reset_connect_backoff(channel->grpc);
    while (is_in_time && (state < GRPC_CHANNEL_READY ||
                          (state == GRPC_CHANNEL_TRANSIENT_FAILURE && has_failed))) {
        grpc_channel_watch_connectivity_state(channel->grpc, state, moment, queue, queue);
        is_in_time =
            grpc_completion_queue_pluck(queue, queue, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                        NULL)
                .success;
        state = grpc_channel_check_connectivity_state(channel->grpc, 1);
    }
}

static void exchange_open(struct exchange *exchange, const struct hc_channel *channel,
                          const char *method, gpr_timespec deadline)
{
    grpc_slice name = grpc_slice_from_copied_string(method);

    *exchange = (struct exchange){
        .queue = grpc_completion_queue_create_for_pluck(NULL),
        .text = grpc_empty_slice(),
    };
    grpc_metadata_array_init(&exchange->headers);
    grpc_metadata_array_init(&exchange->trailers);
    channel_await_connection(channel, exchange->queue, deadline);
    exchange->call =
        grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS,
                                 exchange->queue, name, NULL, deadline, NULL);
    grpc_slice_unref(name);
}

static void exchange_wait(struct exchange *exchange, void *tag)
{
    (void)grpc_completion_queue_pluck(exchange->queue, tag,
                                      gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

static grpc_byte_buffer *message_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    grpc_byte_buffer *bytes;

    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}

static ProtobufCMessage *message_unpack(grpc_byte_buffer *bytes,
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

static size_t channel_metadata(const struct hc_channel *channel, grpc_metadata *metadata)
{
    size_t count = 0;

    memset(metadata, 0, METADATA_COUNT_MAX * sizeof *metadata);
    if (channel->authorization) {
        metadata[count].key = grpc_slice_from_static_string("authorization");
        metadata[count++].value = grpc_slice_from_copied_string(channel->authorization);
    }
    if (channel->hub_token) {
        metadata[count].key = grpc_slice_from_static_string("x-hub-token");
        metadata[count++].value = grpc_slice_from_copied_string(channel->hub_token);
    }
    return count;
}

/* Sends all there is to send and asks for the first message. */
static grpc_call_error exchange_start(struct exchange *exchange,
                                      const struct hc_channel *channel,
                                      const ProtobufCMessage *request)
{
    grpc_metadata metadata[METADATA_COUNT_MAX];
    size_t count = channel_metadata(channel, metadata);
    grpc_byte_buffer *bytes = message_pack(request);
    grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                     {.op = GRPC_OP_SEND_MESSAGE},
                     {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                     {.op = GRPC_OP_RECV_INITIAL_METADATA},
                     {.op = GRPC_OP_RECV_MESSAGE}};
    grpc_call_error result;

    ops[0].data.send_initial_metadata.metadata = metadata;
    ops[0].data.send_initial_metadata.count = count;
    ops[1].data.send_message.send_message = bytes;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &exchange->headers;
    ops[4].data.recv_message.recv_message = &exchange->message;
    result = grpc_call_start_batch(exchange->call, ops, sizeof ops / sizeof *ops,
                                   &exchange->message, NULL);
    grpc_byte_buffer_destroy(bytes);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(metadata[i].value);
    return result;
}

static grpc_call_error exchange_start_status(struct exchange *exchange)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

    op.data.recv_status_on_client.trailing_metadata = &exchange->trailers;
    op.data.recv_status_on_client.status = &exchange->code;
    op.data.recv_status_on_client.status_details = &exchange->text;
    return grpc_call_start_batch(exchange->call, &op, 1, &exchange->code, NULL);
}

static grpc_call_error exchange_start_read(struct exchange *exchange)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    grpc_byte_buffer_destroy(exchange->message);
    exchange->message = NULL;
    op.data.recv_message.recv_message = &exchange->message;
    return grpc_call_start_batch(exchange->call, &op, 1, &exchange->message, NULL);
}

static int exchange_read_message(const struct exchange *exchange,
                                 const struct hc_channel_request *request,
                                 ProtobufCMessage **last, struct hc_error *err)
{
    if (*last)
        protobuf_c_message_free_unpacked(*last, NULL);
    *last = message_unpack(exchange->message, request->answer);
    if (!*last)
        return hc_fail(err, HC_INTERNAL, "%s: the answer is no %s", request->method,
                       request->answer->name);
    if (request->each && !request->each(request->ctx, *last))
        return hc_fail(err, HC_CANCELLED, "given up before the answer was there");
    return 0;
}

static int exchange_read_messages(struct exchange *exchange,
                                  const struct hc_channel_request *request,
                                  ProtobufCMessage **last, struct hc_error *err)
{
    exchange_wait(exchange, &exchange->message);
    while (exchange->message) {
        if (exchange_read_message(exchange, request, last, err) < 0)
            return -1;
        if (exchange_start_read(exchange) != GRPC_CALL_OK)
            return hc_fail(err, HC_INTERNAL, "%s: gRPC refuses to read", request->method);
        exchange_wait(exchange, &exchange->message);
    }
    return 0;
}

/*
 * A failure after which the same request may succeed, here or at another replica: the
 * server was not reached, stops, or has its queue full; or it had not begun the call when
 * it said GOAWAY, of which gRPC makes UNAVAILABLE or CANCELLED without details. What the
 * server itself says of the Hub is its last word: it has retried that.
 */
static bool status_is_retryable(const struct hc_channel_status *status,
                                const struct hc_error *err)
{
    if (!status->details)
        return status->code == GRPC_STATUS_UNAVAILABLE ||
               status->code == GRPC_STATUS_CANCELLED;
    return err->reason == HC_SHUTTING_DOWN || err->reason == HC_BUSY;
}

static int exchange_fail(const struct exchange *exchange,
                         const struct hc_channel *channel, bool *is_retryable,
                         struct hc_error *err)
{
    HC_AUTO_FREE char *text = strndup((const char *)GRPC_SLICE_START_PTR(exchange->text),
                                      GRPC_SLICE_LENGTH(exchange->text));
    struct hc_channel_status status = {.code = (int)exchange->code,
                                       .text = text ? text : "",
                                       .server = channel->server};

    for (size_t i = 0; i < exchange->trailers.count; i++) {
        const grpc_metadata *entry = &exchange->trailers.metadata[i];

        if (grpc_slice_str_cmp(entry->key, "grpc-status-details-bin") == 0) {
            status.details = GRPC_SLICE_START_PTR(entry->value);
            status.details_size = GRPC_SLICE_LENGTH(entry->value);
        }
    }
    (void)hc_channel_status_fail(&status, err);
    *is_retryable = status_is_retryable(&status, err);
    return -1;
}

/* One attempt. */
static int exchange_run(struct hc_channel *channel,
                        const struct hc_channel_request *request, struct attempt *attempt,
                        ProtobufCMessage **last, struct hc_error *err)
{
    HC_AUTO_VALUE(exchange) exchange;
    int taken;

    attempt->is_retryable = false;
    exchange_open(&exchange, channel, request->method, attempt->deadline);
    /* gRPC refuses what is malformed, and that could only be the first. */
    if (exchange_start(&exchange, channel, request->message) != GRPC_CALL_OK ||
        exchange_start_status(&exchange) != GRPC_CALL_OK)
        return hc_fail(err, HC_INTERNAL, "%s: gRPC refuses the call", request->method);
    taken = exchange_read_messages(&exchange, request, last, err);
    if (taken < 0)
        (void)grpc_call_cancel(exchange.call, NULL);
    exchange_wait(&exchange, &exchange.code);
    if (taken < 0)
        return -1;
    if (exchange.code != GRPC_STATUS_OK)
        return exchange_fail(&exchange, channel, &attempt->is_retryable, err);
    if (!*last)
        return hc_fail(err, HC_INTERNAL, "%s: no answer came", request->method);
    return 0;
}

static grpc_arg integer_argument(const char *key, int value)
{
    /* gRPC declares keys of arguments as char *, and copies them. */
    union {
        const char *given;
        char *taken;
    } name = {.given = key};

    return (
        grpc_arg){.type = GRPC_ARG_INTEGER, .key = name.taken, .value.integer = value};
}

static grpc_channel *grpc_channel_lazy(const char *uri)
{
    char agent_key[] = GRPC_ARG_PRIMARY_USER_AGENT_STRING;
    char agent[] = "hubcache-client/" HC_CLIENT_VERSION;
    grpc_arg args[] = {
        {.type = GRPC_ARG_STRING, .key = agent_key, .value.string = agent},
        integer_argument(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, ANSWER_BYTES_MAX),
        integer_argument(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX),
        integer_argument(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_MS),
        integer_argument(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_FIRST_MS),
        integer_argument(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_LAST_MS),
        integer_argument(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        integer_argument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0), /* 0: no limit */
        /* http_proxy is the way to the Hub, not to a server on this network. */
        integer_argument(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        integer_argument(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_channel_credentials *none = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(uri, none, &all);

    grpc_channel_credentials_release(none);
    return channel;
}

static int channel_copy_options(struct hc_channel *channel,
                                const struct hc_channel_options *options,
                                struct hc_error *err)
{
    channel->timeout_ms = options->timeout_ms;
    channel->server = strdup(options->server);
    if (options->hub_token)
        channel->hub_token = strdup(options->hub_token);
    if (options->bearer_token &&
        asprintf(&channel->authorization, "Bearer %s", options->bearer_token) < 0)
        channel->authorization = NULL;
    if (!channel->server || !channel->hub_token != !options->hub_token ||
        !channel->authorization != !options->bearer_token)
        return hc_fail_memory(err);
    return 0;
}

struct hc_channel *hc_channel_open(const struct hc_channel_options *options,
                                   struct hc_error *err)
{
    char uri[HC_ADDRESS_URI_MAX];
    HC_AUTO(hc_channel) *channel = NULL;

    if (hc_address_to_uri(options->server, uri, sizeof uri, err) < 0)
        return NULL;
    channel = calloc(1, sizeof *channel);
    if (!channel) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    grpc_init();
    if (channel_copy_options(channel, options, err) < 0)
        return NULL;
    channel->grpc = grpc_channel_lazy(uri);
    return hc_take(&channel);
}

void hc_channel_close(struct hc_channel *channel)
{
    if (!channel)
        return;
    if (channel->grpc)
        grpc_channel_destroy(channel->grpc);
    grpc_shutdown();
    free(channel->server);
    free(channel->authorization);
    free(channel->hub_token);
    free(channel);
}

const char *hc_channel_server(const struct hc_channel *channel)
{
    return channel->server;
}

/* Half to one and a half of `ms`, for clients that one restart has hit at once. */
static int64_t pause_with_jitter(int64_t ms)
{
    uint32_t chance = 0;

    (void)getentropy(&chance, sizeof chance);
    return ms / 2 + (int64_t)(chance % (uint32_t)(ms + 1));
}

/* False: there is no next attempt, or the deadline comes before it. */
static bool attempt_pause(struct attempt *attempt, const struct hc_error *err)
{
    int64_t ms = RETRY_FIRST_MS << attempt->number;
    gpr_timespec until;

    if (++attempt->number == ATTEMPTS_MAX)
        return false;
    ms = pause_with_jitter(ms < RETRY_LAST_MS ? ms : RETRY_LAST_MS);
    if (ms < err->retry_after_ms)
        ms = err->retry_after_ms;
    until = time_from_now(ms);
    if (gpr_time_cmp(until, attempt->deadline) >= 0)
        return false;
    gpr_sleep_until(until);
    return true;
}

ProtobufCMessage *hc_channel_call(struct hc_channel *channel,
                                  const struct hc_channel_request *request,
                                  struct hc_error *err)
{
    struct attempt attempt = {.deadline = channel_deadline(channel)};
    ProtobufCMessage *last = NULL;
    struct hc_error failure; /* `err` is left alone when a later attempt succeeds */

    do {
        if (exchange_run(channel, request, &attempt, &last, &failure) == 0)
            return last;
        if (last)
            protobuf_c_message_free_unpacked(last, NULL);
        last = NULL;
    } while (attempt.is_retryable && attempt_pause(&attempt, &failure));
    *err = failure;
    return NULL;
}
