/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server over gRPC's C core: listeners, a table of registered methods, and one thread
 * that takes the events of one completion queue. Measured on two cores, one thread
 * answers more calls than two or four. What becomes of a call is in rpc_call.c.
 */
#include "rpc.h"

#include "rpc_core.h"
#include "wire.h"

#include <base/error.h>
#include <base/text.h>

#include <assert.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ASKED_AHEAD = 64, PING_INTERVAL_MS = 10000 };

static grpc_server *server_new(void)
{
    grpc_arg args[] = {
        /* A second server on the same port is a mistake, not a load balancer. */
        {.type = GRPC_ARG_INTEGER,
         .key = hc_lend(GRPC_ARG_ALLOW_REUSEPORT),
         .value.integer = 0},
        {.type = GRPC_ARG_INTEGER,
         .key = hc_lend(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS),
         .value.integer = PING_INTERVAL_MS},
        {.type = GRPC_ARG_INTEGER,
         .key = hc_lend(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS),
         .value.integer = 1},
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args, .args = args};

    return grpc_server_create(&all, NULL);
}

/* Until the queue has been shut down and is empty. The server's own event has no call. */
static void *take_events(void *argument)
{
    struct hc_rpc *rpc = argument;
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_REALTIME);
    grpc_event event = grpc_completion_queue_next(rpc->queue, never, NULL);

    while (event.type != GRPC_QUEUE_SHUTDOWN) {
        struct hc_rpc_event *tag = event.tag;

        hc_rpc_take_over(rpc);
        if (tag)
            tag->happened(tag->call, event.success != 0);
        else
            (void)eventfd_write(rpc->ended_fd, 1);
        event = grpc_completion_queue_next(rpc->queue, never, NULL);
    }
    return NULL;
}

struct hc_rpc *hc_rpc_open(const struct hc_rpc_options *options, struct hc_error *err)
{
    struct hc_rpc *rpc = calloc(1, sizeof *rpc);
    int drained_fd = eventfd(0, EFD_CLOEXEC), ended_fd = eventfd(0, EFD_CLOEXEC);

    if (!rpc || drained_fd < 0 || ended_fd < 0) {
        free(rpc);
        hc_auto_close(&drained_fd);
        hc_auto_close(&ended_fd);
        (void)hc_fail_memory(err);
        return NULL;
    }
    grpc_init();
    rpc->options = *options;
    rpc->drained_fd = drained_fd;
    rpc->ended_fd = ended_fd;
    rpc->queue = grpc_completion_queue_create_for_next(NULL);
    rpc->server = server_new();
    grpc_server_register_completion_queue(rpc->server, rpc->queue, NULL);
    hc_arena_init(&rpc->arena);
    (void)pthread_mutex_init(&rpc->shared.lock, NULL);
    rpc->served_count = 1; /* the first one is for calls of unknown methods */
    return rpc;
}

int hc_rpc_add(struct hc_rpc *rpc, const struct hc_rpc_method *methods, size_t count,
               void *service, struct hc_error *err)
{
    for (size_t i = 0; i < count; i++) {
        void *registered;

        if (rpc->served_count == HC_RPC_METHODS_MAX)
            return hc_fail(err, HC_INTERNAL, "more than %d methods", HC_RPC_METHODS_MAX);
        registered =
            grpc_server_register_method(rpc->server, methods[i].path, NULL,
                                        GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
        if (!registered)
            return hc_fail(err, HC_INTERNAL, "%s is there twice", methods[i].path);
        rpc->served[rpc->served_count++] =
            (struct hc_rpc_served){&methods[i], service, registered};
    }
    return 0;
}

/* gRPC would take a socket away from a server that still listens on it. */
static bool is_unix_socket_busy(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    HC_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || hc_format(address.sun_path, sizeof address.sun_path, "%s", path) < 0)
        return false;
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static int add_port(struct hc_rpc *rpc, const char *address)
{
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(rpc->server, address, plain);

    grpc_server_credentials_release(plain);
    return port;
}

int hc_rpc_listen(struct hc_rpc *rpc, const char *address, char *bound, size_t size,
                  struct hc_error *err)
{
    const char *colon = strrchr(address, ':');
    bool is_unix = hc_text_starts(address, "unix:");
    int port, length;

    if (!colon)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "listen",
                             "'%s' is neither host:port nor unix:/path", address);
    if (is_unix && is_unix_socket_busy(colon + 1))
        return hc_fail(err, HC_INTERNAL, "%s: another server listens there", address);
    port = add_port(rpc, address);
    if (port <= 0)
        return hc_fail(err, HC_INTERNAL,
                       "cannot listen on %s: the address is in use or not this machine's",
                       address);
    if (is_unix)
        length = hc_format(bound, size, "%s", address);
    else
        length = hc_format(bound, size, "%.*s:%d", (int)(colon - address), address, port);
    return length < 0 ? hc_fail(err, HC_INTERNAL, "the address is too long") : 0;
}

int hc_rpc_start(struct hc_rpc *rpc, struct hc_error *err)
{
    grpc_server_start(rpc->server);
    if (pthread_create(&rpc->thread, NULL, take_events, rpc) != 0)
        return hc_fail(err, HC_INTERNAL, "no thread for gRPC's events");
    rpc->is_started = true;
    for (size_t i = 0; i < rpc->served_count; i++) {
        for (unsigned n = 0; n < ASKED_AHEAD; n++)
            hc_rpc_call_ask(rpc, &rpc->served[i]);
    }
    return 0;
}

void hc_rpc_stop(struct hc_rpc *rpc)
{
    bool was_stopping, is_drained;

    (void)pthread_mutex_lock(&rpc->shared.lock);
    was_stopping = rpc->shared.is_stopping;
    rpc->shared.is_stopping = true;
    is_drained = rpc->shared.live_count == 0;
    (void)pthread_mutex_unlock(&rpc->shared.lock);
    if (was_stopping)
        return;
    if (is_drained)
        (void)eventfd_write(rpc->drained_fd, 1);
    grpc_server_shutdown_and_notify(rpc->server, rpc->queue, NULL);
}

int hc_rpc_drained_fd(const struct hc_rpc *rpc)
{
    return rpc->drained_fd;
}

int hc_rpc_ended_fd(const struct hc_rpc *rpc)
{
    return rpc->ended_fd;
}

unsigned hc_rpc_cut(struct hc_rpc *rpc)
{
    atomic_store(&rpc->is_cut, true);
    return hc_rpc_call_cut_all(rpc);
}

void hc_rpc_cancel(struct hc_rpc *rpc)
{
    grpc_server_cancel_all_calls(rpc->server);
}

static void await(int fd)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};

    while (poll(&event, 1, -1) < 0 && errno == EINTR)
        continue;
}

void hc_rpc_close(struct hc_rpc *rpc)
{
    if (!rpc)
        return;
    hc_rpc_stop(rpc);
    hc_rpc_cancel(rpc);
    if (rpc->is_started) {
        await(rpc->drained_fd);
        await(rpc->ended_fd);
    }
    grpc_completion_queue_shutdown(rpc->queue);
    if (rpc->is_started)
        (void)pthread_join(rpc->thread, NULL);
    else
        (void)take_events(rpc);
    grpc_server_destroy(rpc->server);
    grpc_completion_queue_destroy(rpc->queue);
    hc_rpc_call_free_all(rpc);
    (void)pthread_mutex_destroy(&rpc->shared.lock);
    (void)close(rpc->drained_fd);
    (void)close(rpc->ended_fd);
    free(rpc);
    grpc_shutdown_blocking();
}
