/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference of tests/bench/run rpc and load: the least that a server on gRPC's C core
 * can do. One queue thread, one registered method whose request arrives with the call,
 * and one batch of four operations that sends the request back.
 *
 *     bench_echo [--tls-cert FILE --tls-key FILE [--tls-client-ca FILE]]
 *                METHOD [unix:/PATH]
 *
 * Listens on a free port and at the path, and prints "listening 127.0.0.1:<port>".
 */
#include "bench_tls.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64 }; /* as many as hubcached requests of a method in use */

/* Serves one call at a time: waits for the next call, or answers one. */
struct slot {
    grpc_call *call;
    grpc_byte_buffer *message;
    grpc_metadata_array metadata;
    gpr_timespec deadline;
    int is_cancelled;
    bool is_answering;
};

struct echo {
    grpc_server *server;
    grpc_completion_queue *queue;
    void *method;
};

static bool echo_await_call(struct echo *echo, struct slot *slot)
{
    slot->is_answering = false;
    slot->call = NULL;
    slot->message = NULL;
    grpc_metadata_array_init(&slot->metadata);
    return grpc_server_request_registered_call(echo->server, echo->method, &slot->call,
                                               &slot->deadline, &slot->metadata,
                                               &slot->message, echo->queue, echo->queue,
                                               slot) == GRPC_CALL_OK;
}

static bool echo_answer(struct slot *slot)
{
    grpc_op ops[4] = {0};

    slot->is_answering = true;
    ops[0].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[0].data.recv_close_on_server.cancelled = &slot->is_cancelled;
    ops[1].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[2].op = GRPC_OP_SEND_MESSAGE;
    ops[2].data.send_message.send_message = slot->message;
    ops[3].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[3].data.send_status_from_server.status = GRPC_STATUS_OK;
    return grpc_call_start_batch(slot->call, ops, 4, slot, NULL) == GRPC_CALL_OK;
}

static void slot_release(struct slot *slot)
{
    grpc_byte_buffer_destroy(slot->message);
    grpc_metadata_array_destroy(&slot->metadata);
    if (slot->call)
        grpc_call_unref(slot->call);
}

static int echo_serve(struct echo *echo)
{
    static struct slot slots[SLOTS];

    for (size_t i = 0; i < SLOTS; i++)
        if (!echo_await_call(echo, &slots[i]))
            return 1;
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(echo->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                       NULL);
        if (event.type != GRPC_OP_COMPLETE)
            return 1;

        struct slot *slot = event.tag;
        if (event.success && !slot->is_answering) {
            if (!echo_answer(slot))
                return 1;
            continue;
        }
        slot_release(slot);
        if (!echo_await_call(echo, slot))
            return 1;
    }
}

static int echo_usage(void)
{
    (void)fprintf(stderr, "usage: bench_echo [--tls-cert FILE --tls-key FILE "
                          "[--tls-client-ca FILE]] METHOD [unix:/PATH]\n");
    return 2;
}

/* How many arguments were options. */
static int echo_read_options(int argc, char **argv, struct bench_tls *tls)
{
    int i = 1;

    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--tls-cert") == 0)
            tls->cert = bench_tls_read(argv[i + 1]);
        if (strcmp(argv[i], "--tls-key") == 0)
            tls->key = bench_tls_read(argv[i + 1]);
        if (strcmp(argv[i], "--tls-client-ca") == 0)
            tls->ca = bench_tls_read(argv[i + 1]);
    }
    return i - 1;
}

int main(int argc, char **argv)
{
    struct bench_tls tls = {0};
    int options = echo_read_options(argc, argv, &tls);

    argc -= options;
    argv += options;
    if ((argc != 2 && argc != 3) || argv[1][0] == '-' || !tls.cert != !tls.key)
        return echo_usage();
    grpc_init();
    struct echo echo = {.server = grpc_server_create(NULL, NULL),
                        .queue = grpc_completion_queue_create_for_next(NULL)};
    echo.method =
        grpc_server_register_method(echo.server, argv[1], NULL,
                                    GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    grpc_server_register_completion_queue(echo.server, echo.queue, NULL);

    grpc_server_credentials *credentials = bench_tls_server(&tls);
    int port = grpc_server_add_http2_port(echo.server, "127.0.0.1:0", credentials);
    bool has_path =
        argc == 2 || grpc_server_add_http2_port(echo.server, argv[2], credentials) != 0;
    grpc_server_credentials_release(credentials);
    if (port == 0 || !has_path)
        return 1;
    grpc_server_start(echo.server);
    printf("listening 127.0.0.1:%d\n", port);
    (void)fflush(stdout);
    return echo_serve(&echo);
}
