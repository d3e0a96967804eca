/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server over gRPC's C core (<grpc/grpc.h>): connections from listener.c, a table of
 * registered methods, and one thread, the edge's, that takes the events of one completion
 * queue. On two cores one thread answers more calls than two or four. rpc_call.c has the
 * states of a call, rpc_request.c the thread for large requests.
 *
 * A second thread, the relief, looks at the edge's thread ten times a second. If that has
 * waited in one event since the last look, because a volume hangs, the relief takes the
 * events until the edge's thread is done. If it has been busy for nothing, clients flood
 * the server: gRPC 1.51 reads from a connection as long as there is something to read,
 * and takes memory for each call that it reads. Then the relief cuts their connections.
 *
 * The server opens, adds methods and listeners, starts, stops (no new calls), ends its
 * calls and closes. The main thread does all of that. The lock guards the lists of calls.
 */
#include "rpc.h"

#include "connections.h"
#include "log.h"
#include "rpc_core.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <assert.h>
#include <errno.h>
#include <grpc/credentials.h>
#include <grpc/grpc_posix.h>
#include <grpc/support/time.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

enum { LOOK_EVERY_MS = 100 };

/*
 * A flood: the edge's thread has used so much processor time for nothing but reading, or
 * for calls that their clients abandon at once; and of a connection so many bytes still
 * wait, or so many calls were abandoned meanwhile. Clients that obey HTTP/2's windows
 * send fewer bytes unasked.
 */
enum {
    FLOOD_CPU_MS = 200,
    FLOOD_UNREAD_BYTES = 64 * 1024,
    FLOOD_ABANDONED = 512, /* calls of a connection */
    BUSY_CPU_MS = 5        /* between two looks; a thread that uses less was idle */
};

/* What the relief sees of the edge's thread. */
struct relief_look {
    unsigned turns, abandoned;
    int64_t cpu_ms;
};

/*
 * Limits for clients, all in hubcached(8) under LIMITS. The memory is that of requests
 * whose bytes have not all arrived: without it, one message for each stream of each
 * connection would have no bound. The current gRPC counts calls and connections in it
 * too: there is room for all calls that may wait, and each connection adds to it.
 */
enum {
    STREAMS_MAX = 1024, /* of one connection; a call that waits for a download has one */
    REQUEST_BYTES_MAX = 16 * 1024 * 1024,
    METADATA_BYTES_MAX = 64 * 1024,
    READ_BYTES_MAX = 64 * 1024, /* gRPC reads at once: what a flood has at least */
    PENDING_MAX = 32 * 1024,    /* calls that the edge's thread has not taken yet */
    CALL_BYTES = 4 * 1024,
    MEMORY_BYTES_MAX = 64 * 1024 * 1024 + PENDING_MAX * CALL_BYTES,
    CONNECTION_BYTES = 24 * 1024,
    PING_INTERVAL_MS = 10 * 1000, /* of a client's pings, at least */
    KEEPALIVE_MS = 60 * 1000, /* the server pings a connection that is silent so long */
    KEEPALIVE_ANSWER_MS = 20 * 1000
};

static grpc_arg integer_arg(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER,
                      .key = hc_unconst(key),
                      .value.integer = value};
}

/* gRPC has ints, of which the largest is no limit. */
static int milliseconds_limit(int64_t ms)
{
    return ms > 0 && ms < INT_MAX ? (int)ms : INT_MAX;
}

/*
 * No MAX_CONNECTION_AGE_GRACE: a connection that has reached its age takes no new calls,
 * and is closed when the last of its calls is over. It may be a download of hours.
 */
static grpc_server *grpc_server_new(struct hc_rpc *rpc,
                                    const struct hc_rpc_limits *limits)
{
    grpc_arg args[] = {
        integer_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_MAX),
        integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, REQUEST_BYTES_MAX),
        integer_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX),
        /* The current gRPC's: without it a list a quarter larger may pass. */
        integer_arg("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
        /* Likewise: from 1,000 on it would cancel some without a word, not BUSY. */
        integer_arg("grpc.server.max_pending_requests", PENDING_MAX),
        integer_arg("grpc.server.max_pending_requests_hard_limit", PENDING_MAX),
        integer_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HC_RPC_HANDSHAKE_MS),
        integer_arg(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, READ_BYTES_MAX),
        integer_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                    1 << GRPC_COMPRESS_NONE),
        integer_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                    PING_INTERVAL_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_ANSWER_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer_arg(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                    milliseconds_limit(limits->connection_age_ms)),
        integer_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                    milliseconds_limit(limits->connection_idle_ms)),
        {.type = GRPC_ARG_POINTER,
         .key = hc_unconst(GRPC_ARG_RESOURCE_QUOTA),
         .value.pointer = {rpc->quota, grpc_resource_quota_arg_vtable()}},
        hc_rpc_tls_arg(rpc),
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args, .args = args};

    return grpc_server_create(&all, NULL);
}

/* Odd: busy with an event. Only the thread itself writes its count. */
static void thread_count_turn(struct hc_rpc_thread *thread)
{
    unsigned turns = atomic_load_explicit(&thread->turns, memory_order_relaxed);

    atomic_store_explicit(&thread->turns, turns + 1, memory_order_release);
}

/*
 * Takes one event, if one happens until then. False: the queue is shut down and empty.
 * The event without a call is the end of grpc_server_shutdown_and_notify().
 */
static bool thread_take_event(struct hc_rpc_thread *thread, gpr_timespec until)
{
    struct hc_rpc *rpc = thread->rpc;
    grpc_event event = grpc_completion_queue_next(rpc->queue, until, NULL);
    struct hc_rpc_event *tag = event.tag;

    if (event.type != GRPC_OP_COMPLETE)
        return event.type != GRPC_QUEUE_SHUTDOWN;
    thread_count_turn(thread);
    hc_rpc_acquire_order(rpc);
    if (tag && (tag == &tag->call->arrived || tag == &tag->call->received))
        tag->call->thread = thread;
    if (tag)
        tag->happened(tag->call, event.success != 0);
    else
        (void)eventfd_write(rpc->ended_fd, 1);
    thread_count_turn(thread);
    return true;
}

static void *thread_take_events(void *argument)
{
    const gpr_timespec never = gpr_inf_future(GPR_CLOCK_REALTIME);

    while (thread_take_event(argument, never))
        continue;
    return NULL;
}

static unsigned thread_turns(const struct hc_rpc_thread *thread)
{
    return atomic_load_explicit(&thread->turns, memory_order_acquire);
}

static int64_t thread_cpu_ms(const struct hc_rpc_thread *thread)
{
    struct timespec used = {.tv_sec = 0};
    clockid_t clock;

    if (pthread_getcpuclockid(thread->handle, &clock) == 0)
        (void)clock_gettime(clock, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static void relief_look(const struct hc_rpc *rpc, struct relief_look *look)
{
    look->turns = thread_turns(&rpc->edge);
    look->abandoned = atomic_load(&rpc->abandoned);
    look->cpu_ms = thread_cpu_ms(&rpc->edge);
}

/* A call that its client abandons is two events: it arrives, and it is over. */
static bool edge_is_useless(const struct relief_look *now, const struct relief_look *last)
{
    unsigned events = (now->turns - last->turns) / 2;
    unsigned wasted = (now->abandoned - last->abandoned) * 2;

    return now->cpu_ms - last->cpu_ms >= BUSY_CPU_MS && wasted * 4 >= events * 3;
}

static bool relief_cut_floods(struct hc_rpc *rpc)
{
    unsigned count =
        hc_connections_cut(hc_listener_connections(rpc->listener), FLOOD_UNREAD_BYTES,
                           FLOOD_ABANDONED, atomic_load(&rpc->useful_looks));

    if (count > 0)
        HC_LOG(HC_LOG_WARN, "connections cut",
               HC_TEXT("cause", "their clients flood the server"),
               HC_NUMBER("count", count));
    return count > 0;
}

static gpr_timespec next_look(void)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_REALTIME),
                        gpr_time_from_millis(LOOK_EVERY_MS, GPR_TIMESPAN));
}

/* It takes events only while the same event keeps the edge's thread waiting. */
static void relief_take_events(struct hc_rpc *rpc, unsigned turns)
{
    while (thread_turns(&rpc->edge) == turns && !hc_cancellation_is_set(rpc->end) &&
           thread_take_event(&rpc->relief, next_look()))
        continue;
}

static void *relief_run(void *argument)
{
    struct hc_rpc *rpc = argument;
    struct relief_look last = {.turns = 0}, now;
    int64_t useful_ms = 0;
    bool was_flooded = false;
    struct hc_error err;

    while (hc_cancellation_sleep(rpc->end, LOOK_EVERY_MS, &err) == 0) {
        relief_look(rpc, &now);
        if (!edge_is_useless(&now, &last)) {
            useful_ms = now.cpu_ms;
            atomic_fetch_add(&rpc->useful_looks, 1);
            if (was_flooded)
                (void)malloc_trim(0); /* else what gRPC took for it stays */
            was_flooded = false;
            if (now.turns == last.turns && now.turns % 2 == 1)
                relief_take_events(rpc, now.turns);
        } else if (now.cpu_ms - useful_ms >= FLOOD_CPU_MS) {
            was_flooded |= relief_cut_floods(rpc);
        }
        last = now;
    }
    return NULL;
}

static bool descriptor_is_unix(int fd)
{
    int domain = AF_UNSPEC;
    socklen_t size = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           domain == AF_UNIX;
}

/* On the listener's thread. gRPC owns the descriptor from now on. */
static void connection_accepted(void *ctx, int fd, unsigned open)
{
    struct hc_rpc *rpc = ctx;

    grpc_resource_quota_resize(rpc->quota,
                               MEMORY_BYTES_MAX + (size_t)open * CONNECTION_BYTES);
    if (rpc->tls && !descriptor_is_unix(fd))
        hc_rpc_tls_accept(rpc, fd);
    else
        grpc_server_add_channel_from_fd(rpc->server, fd, rpc->plain);
}

void hc_rpc_library_open(void)
{
    grpc_init();
}

const char *hc_rpc_library_version(void)
{
    return grpc_version_string();
}

void hc_rpc_library_close(void)
{
    grpc_shutdown_blocking();
}

struct hc_rpc *hc_rpc_open(const struct hc_rpc_limits *limits,
                           void (*finished)(void *ctx, const struct hc_request *request,
                                            const struct hc_answer *answer),
                           void *ctx, struct hc_error *err)
{
    HC_AUTO_FREE struct hc_rpc *rpc = calloc(1, sizeof *rpc);
    HC_AUTO(hc_listener) *listener =
        hc_listener_new(limits->connections, connection_accepted, rpc, err);
    HC_AUTO(hc_cancellation) *end = hc_cancellation_new(HC_NO_DEADLINE);
    HC_AUTO(hc_workers) *decoders = hc_workers_open(1, HC_RPC_LARGE_WAITING_MAX, err);
    HC_AUTO_CLOSE int drained_fd = eventfd(0, EFD_CLOEXEC);
    HC_AUTO_CLOSE int ended_fd = eventfd(0, EFD_CLOEXEC);

    if (!rpc || !listener || !end || !decoders || drained_fd < 0 || ended_fd < 0) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    hc_rpc_library_open();
    hc_trace_source_init(&rpc->traces);
    rpc->finished = finished;
    rpc->ctx = ctx;
    rpc->end = hc_take(&end);
    rpc->decoders = hc_take(&decoders);
    rpc->drained_fd = drained_fd;
    rpc->ended_fd = ended_fd;
    drained_fd = ended_fd = -1;
    rpc->listener = hc_take(&listener);
    rpc->queue = grpc_completion_queue_create_for_next(NULL);
    rpc->plain = grpc_insecure_server_credentials_create();
    rpc->quota = grpc_resource_quota_create("hubcached");
    grpc_resource_quota_resize(rpc->quota, MEMORY_BYTES_MAX);
    rpc->server = grpc_server_new(rpc, limits);
    grpc_server_register_completion_queue(rpc->server, rpc->queue, NULL);
    rpc->edge.rpc = rpc->relief.rpc = rpc;
    hc_arena_init(&rpc->edge.arena);
    hc_arena_init(&rpc->relief.arena);
    hc_arena_init(&rpc->decoder.arena);
    (void)pthread_mutex_init(&rpc->shared.lock, NULL);
    rpc->served_count = 1; /* the first one is for calls of unknown methods */
    return hc_take(&rpc);
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
            return hc_fail(err, HC_INTERNAL, "the method %s is registered twice",
                           methods[i].path);
        rpc->served[rpc->served_count++] =
            (struct hc_rpc_served){.row = &methods[i],
                                   .service = service,
                                   .registered = registered};
    }
    return 0;
}

int hc_rpc_listen(struct hc_rpc *rpc, const char *address, char *bound, size_t size,
                  struct hc_error *err)
{
    return hc_listener_add(rpc->listener, address, bound, size, err);
}

void hc_rpc_guard(struct hc_rpc *rpc,
                  int (*admit)(void *ctx, struct hc_rpc_call *call, struct hc_error *err),
                  void *ctx)
{
    rpc->admit = admit;
    rpc->admit_ctx = ctx;
}

int hc_rpc_start(struct hc_rpc *rpc, struct hc_error *err)
{
    grpc_server_start(rpc->server);
    if (pthread_create(&rpc->edge.handle, NULL, thread_take_events, &rpc->edge) != 0)
        return hc_fail(err, HC_INTERNAL, "no thread for gRPC's events");
    rpc->is_started = true;
    if (pthread_create(&rpc->relief.handle, NULL, relief_run, rpc) != 0)
        return hc_fail(err, HC_INTERNAL, "no second thread for gRPC's events");
    rpc->has_relief = true;
    for (size_t i = 0; i < rpc->served_count; i++)
        hc_rpc_call_request_first(rpc, &rpc->served[i]);
    return hc_listener_start(rpc->listener, err);
}

struct hc_listener *hc_rpc_listener(const struct hc_rpc *rpc)
{
    return rpc->listener;
}

void hc_rpc_record_peers(struct hc_rpc *rpc)
{
    rpc->records_peers = true;
}

bool hc_rpc_count_calls(const struct hc_rpc *rpc, unsigned number, const char **path,
                        unsigned *count)
{
    const struct hc_rpc_served *served = &rpc->served[number];

    if (number >= rpc->served_count)
        return false;
    *path = served->row ? served->row->path : "unknown";
    *count = atomic_load_explicit(&served->running, memory_order_relaxed);
    return true;
}

void hc_rpc_stop(struct hc_rpc *rpc)
{
    bool was_stopping, is_drained;

    {
        HC_LOCKED(&rpc->shared.lock);

        was_stopping = rpc->shared.is_stopping;
        rpc->shared.is_stopping = true;
        is_drained = rpc->shared.live_count == 0;
    }
    if (was_stopping)
        return;
    hc_listener_stop(rpc->listener);
    if (is_drained)
        (void)eventfd_write(rpc->drained_fd, 1);
    hc_rpc_call_end_streams(rpc);
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

unsigned hc_rpc_end_calls(struct hc_rpc *rpc)
{
    atomic_store(&rpc->is_ending, true);
    return hc_rpc_call_end_all(rpc);
}

void hc_rpc_cancel(struct hc_rpc *rpc)
{
    grpc_server_cancel_all_calls(rpc->server);
}

static void descriptor_await(int fd)
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
        descriptor_await(rpc->drained_fd);
        descriptor_await(rpc->ended_fd);
    }
    /* No event may be on its way then: gRPC asserts it. */
    grpc_completion_queue_shutdown(rpc->queue);
    hc_cancellation_cancel(rpc->end);
    if (rpc->has_relief)
        (void)pthread_join(rpc->relief.handle, NULL);
    if (rpc->is_started)
        (void)pthread_join(rpc->edge.handle, NULL);
    else
        (void)thread_take_events(&rpc->edge);
    grpc_server_destroy(rpc->server);
    grpc_server_credentials_release(rpc->plain);
    if (rpc->secure)
        grpc_server_credentials_release(rpc->secure);
    grpc_resource_quota_unref(rpc->quota);
    hc_listener_close(rpc->listener);
    hc_workers_close(rpc->decoders);
    grpc_completion_queue_destroy(rpc->queue);
    hc_rpc_call_free_all(rpc);
    (void)pthread_mutex_destroy(&rpc->shared.lock);
    (void)close(rpc->drained_fd);
    (void)close(rpc->ended_fd);
    hc_cancellation_free(rpc->end);
    free(rpc);
    hc_rpc_library_close();
}
