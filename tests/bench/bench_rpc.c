/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of tests/bench/run rpc and load: calls of ResolveFile or, if FILENAME is "",
 * of ResolveSnapshot. One thread, gRPC's C core, registered methods.
 *
 *     bench_rpc [OPTION]... SERVER REPO FILENAME REVISION IN-FLIGHT SECONDS
 *
 *     --rate N      starts N calls a second, whatever the answers take, with IN-FLIGHT
 *                   of them under way at most: calls beyond that are unsent. The latency
 *                   of a call counts from the time at which it was due. Without --rate
 *                   the next call starts when one ends
 *     --calls N     makes N calls instead of calls for SECONDS, and counts all of them
 *     --distinct    no two requests are equal: each asks for another file (appends a
 *                   number to FILENAME), or ignores another pattern of a snapshot
 *     --local       nothing is asked of the Hub (local_files_only)
 *     --callers N   the calls come from as many callers, in turn
 *     --connections N   over as many connections, in turn; else over one
 *     --token-file FILE   all calls show the token in FILE, instead of --callers
 *     --tls-ca FILE     over TLS; and with --tls-cert FILE --tls-key FILE the client
 *                       shows that certificate
 *     --counted     also counts calls that fail with BUSY; else a failure ends the
 *                   program
 *
 * Prints one line: calls that were answered in a second; their p50, p99 and p99.9 in µs;
 * calls that failed with BUSY, their p50 and p99; unsent calls; and all calls, those of
 * the warm-up too.
 */
#include "bench_tls.h"

#include <hubcache/v1/resolver.pb-c.h>

#include <getopt.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LATENCIES_MAX = 4000000,
    CONNECTIONS_MAX = 64,
    WARM_UP_MS = 300,
    SECOND_NS = 1000000000
};

struct latencies {
    uint32_t *us; /* of the first LATENCIES_MAX calls */
    size_t count;
};

struct load {
    struct {
        double rate;        /* 0: a closed loop */
        uint64_t calls_max; /* 0: as many as the time allows */
        unsigned callers, connections;
        bool is_distinct, is_local, is_counted;
        const char *token;
        struct bench_tls tls;
    } options;
    char *repo, *filename, *revision;
    struct {
        grpc_channel *channel;
        void *method;
    } connections[CONNECTIONS_MAX];
    grpc_completion_queue *queue;
    struct slot *free;
    size_t running;
    uint64_t started, unsent, ended; /* `ended`: answered while calls count */
    int64_t warm_ns, end_ns;         /* calls that start between them count */
    struct latencies answered, busy;
};

struct slot {
    struct slot *next_free;
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *answer;
    grpc_metadata caller;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice details;
    int64_t start_ns;
};

static int64_t rpc_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* ---- requests ---------------------------------------------------------------------- */

static grpc_byte_buffer *message_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    grpc_byte_buffer *buffer;

    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static grpc_byte_buffer *load_pack_file(const struct load *load,
                                        Hubcache__V1__FetchOptions *options)
{
    Hubcache__V1__ResolveFileRequest request;
    char numbered[256];

    hubcache__v1__resolve_file_request__init(&request);
    request.repo_id = load->repo;
    request.filename = load->filename;
    request.revision = load->revision;
    request.options = options;
    if (load->options.is_distinct) {
        (void)snprintf(numbered, sizeof numbered, "%s-%llu", load->filename,
                       (unsigned long long)load->started);
        request.filename = numbered;
    }
    return message_pack(&request.base);
}

static grpc_byte_buffer *load_pack_snapshot(const struct load *load,
                                            Hubcache__V1__FetchOptions *options)
{
    Hubcache__V1__ResolveSnapshotRequest request;
    char pattern[32], *patterns[] = {pattern};

    hubcache__v1__resolve_snapshot_request__init(&request);
    request.repo_id = load->repo;
    request.revision = load->revision;
    request.options = options;
    if (load->options.is_distinct) {
        (void)snprintf(pattern, sizeof pattern, "none-%llu",
                       (unsigned long long)load->started);
        request.ignore_patterns = patterns;
        request.n_ignore_patterns = 1;
    }
    return message_pack(&request.base);
}

static grpc_byte_buffer *load_pack(const struct load *load)
{
    Hubcache__V1__FetchOptions local;

    hubcache__v1__fetch_options__init(&local);
    local.local_files_only = true;
    return *load->filename
               ? load_pack_file(load, load->options.is_local ? &local : NULL)
               : load_pack_snapshot(load, load->options.is_local ? &local : NULL);
}

/* ---- calls ------------------------------------------------------------------------- */

static size_t load_name_caller(const struct load *load, struct slot *slot)
{
    char text[32];

    slot->caller.value = grpc_empty_slice();
    slot->caller.key = grpc_slice_from_static_string("authorization");
    if (load->options.token) {
        slot->caller.value = grpc_slice_from_static_string(load->options.token);
        return 1;
    }
    if (load->options.callers == 0)
        return 0;
    (void)snprintf(text, sizeof text, "Bearer caller-%u",
                   (unsigned)(load->started % load->options.callers));
    slot->caller.value = grpc_slice_from_copied_string(text);
    return 1;
}

static bool load_start_call(struct load *load, int64_t due_ns)
{
    struct slot *slot = load->free;
    size_t number = load->started % load->options.connections;
    grpc_op ops[6] = {0};

    load->free = slot->next_free;
    *slot = (struct slot){.start_ns = due_ns};
    slot->call =
        grpc_channel_create_registered_call(load->connections[number].channel, NULL,
                                            GRPC_PROPAGATE_DEFAULTS, load->queue,
                                            load->connections[number].method,
                                            gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    slot->request = load_pack(load);
    grpc_metadata_array_init(&slot->initial);
    grpc_metadata_array_init(&slot->trailing);

    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.count = load_name_caller(load, slot);
    ops[0].data.send_initial_metadata.metadata = &slot->caller;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = slot->request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &slot->initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &slot->answer;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &slot->trailing;
    ops[5].data.recv_status_on_client.status = &slot->status;
    ops[5].data.recv_status_on_client.status_details = &slot->details;
    load->started++;
    load->running++;
    return grpc_call_start_batch(slot->call, ops, 6, slot, NULL) == GRPC_CALL_OK;
}

/* BUSY is the one UNAVAILABLE with details that a server at work answers. */
static bool slot_is_busy(const struct slot *slot)
{
    return slot->status == GRPC_STATUS_UNAVAILABLE && slot->trailing.count > 0;
}

static void load_count(struct load *load, const struct slot *slot)
{
    struct latencies *latencies = slot_is_busy(slot) ? &load->busy : &load->answered;
    int64_t now_ns = rpc_clock_ns();

    load->ended +=
        !slot_is_busy(slot) && now_ns >= load->warm_ns && now_ns < load->end_ns;
    if (slot->start_ns >= load->warm_ns && latencies->count < LATENCIES_MAX)
        latencies->us[latencies->count++] = (uint32_t)((now_ns - slot->start_ns) / 1000);
}

static bool slot_is_right(const struct load *load, const struct slot *slot)
{
    char *details;

    if ((slot->status == GRPC_STATUS_OK && slot->answer) ||
        (load->options.is_counted && slot_is_busy(slot)))
        return true;
    details = grpc_slice_to_c_string(slot->details);
    (void)fprintf(stderr, "bench_rpc: status %d: %s\n", (int)slot->status, details);
    gpr_free(details);
    return false;
}

static bool load_finish_call(struct load *load, struct slot *slot)
{
    bool is_right = slot_is_right(load, slot);

    load_count(load, slot);
    grpc_byte_buffer_destroy(slot->request);
    grpc_byte_buffer_destroy(slot->answer);
    grpc_slice_unref(slot->caller.value);
    grpc_metadata_array_destroy(&slot->initial);
    grpc_metadata_array_destroy(&slot->trailing);
    grpc_slice_unref(slot->details);
    grpc_call_unref(slot->call);
    slot->next_free = load->free;
    load->free = slot;
    load->running--;
    return is_right;
}

/* ---- the loop ---------------------------------------------------------------------- */

static bool load_is_over(const struct load *load, int64_t now_ns)
{
    return load->options.calls_max > 0 ? load->started >= load->options.calls_max
                                       : now_ns >= load->end_ns;
}

/* Starts the calls that are due, and returns when the next one is. */
static int64_t load_start_due(struct load *load, int64_t began_ns)
{
    int64_t now_ns = rpc_clock_ns();

    while (!load_is_over(load, now_ns) && load->options.rate == 0 && load->free)
        if (!load_start_call(load, now_ns))
            abort();
    while (load->options.rate > 0) {
        double due = (double)(load->started + load->unsent) / load->options.rate;
        int64_t due_ns = began_ns + (int64_t)(due * 1e9);

        if (due_ns > now_ns || due_ns >= load->end_ns)
            return due_ns;
        if (!load->free)
            load->unsent++;
        else if (!load_start_call(load, due_ns))
            abort();
    }
    return INT64_MAX;
}

/*
 * Takes an event that has happened, or waits for one until then. In an open loop it takes
 * all that have happened: a client that is late must not starve the answers. In a closed
 * loop the next call starts after each, so that calls do not gather to bursts.
 */
static bool load_take_events(struct load *load, int64_t until_ns)
{
    gpr_timespec until = until_ns >= load->end_ns
                             ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
                             : gpr_time_from_nanos(until_ns, GPR_CLOCK_MONOTONIC);
    grpc_event event = grpc_completion_queue_next(load->queue, until, NULL);
    bool is_right = true;

    while (is_right && event.type == GRPC_OP_COMPLETE) {
        is_right = load_finish_call(load, event.tag);
        if (load->options.rate == 0)
            break;
        event = grpc_completion_queue_next(load->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC),
                                           NULL);
    }
    return is_right;
}

/* The first calls connect and warm up; those that start after them count. */
static bool load_run(struct load *load, double seconds)
{
    int64_t began_ns = rpc_clock_ns(), next_ns;
    bool is_right = true;

    load->warm_ns = began_ns + (int64_t)WARM_UP_MS * 1000000;
    load->end_ns = load->warm_ns + (int64_t)(seconds * 1e9);
    if (load->options.calls_max > 0) {
        load->warm_ns = began_ns;
        load->end_ns = INT64_MAX;
    }
    while (is_right && (load->running > 0 || !load_is_over(load, rpc_clock_ns()))) {
        next_ns = load_start_due(load, began_ns);
        if (load->running > 0 || next_ns < load->end_ns)
            is_right = load_take_events(load, next_ns);
    }
    return is_right;
}

static int compare_latencies(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

static uint32_t latencies_at(const struct latencies *latencies, unsigned per_mille)
{
    return latencies->count ? latencies->us[latencies->count * per_mille / 1000] : 0;
}

static void load_report(struct load *load, double seconds)
{
    struct latencies *answered = &load->answered, *busy = &load->busy;

    qsort(answered->us, answered->count, sizeof *answered->us, compare_latencies);
    qsort(busy->us, busy->count, sizeof *busy->us, compare_latencies);
    printf("%.0f %u %u %u %zu %u %u %llu %llu\n", (double)load->ended / seconds,
           latencies_at(answered, 500), latencies_at(answered, 990),
           latencies_at(answered, 999), busy->count, latencies_at(busy, 500),
           latencies_at(busy, 990), (unsigned long long)load->unsent,
           (unsigned long long)load->started);
}

/* ---- the command ------------------------------------------------------------------- */

/* "Bearer <token>", which stays. */
static const char *token_header(const char *path)
{
    char *header = NULL;
    const char *token = bench_tls_read(path);

    return asprintf(&header, "Bearer %.*s", (int)strcspn(token, "\n"), token) < 0
               ? NULL
               : header;
}

static void load_read_file_option(struct load *load, int key)
{
    if (key == 't')
        load->options.token = token_header(optarg);
    else if (key == 'A')
        load->options.tls.ca = bench_tls_read(optarg);
    else if (key == 'C')
        load->options.tls.cert = bench_tls_read(optarg);
    else if (key == 'K')
        load->options.tls.key = bench_tls_read(optarg);
}

static bool load_read_options(struct load *load, int argc, char **argv)
{
    static const struct option rows[] = {
        {"rate", required_argument, NULL, 'r'},
        {"calls", required_argument, NULL, 'm'},
        {"distinct", no_argument, NULL, 'd'},
        {"local", no_argument, NULL, 'l'},
        {"callers", required_argument, NULL, 'c'},
        {"counted", no_argument, NULL, 'b'},
        {"connections", required_argument, NULL, 'n'},
        {"token-file", required_argument, NULL, 't'},
        {"tls-ca", required_argument, NULL, 'A'},
        {"tls-cert", required_argument, NULL, 'C'},
        {"tls-key", required_argument, NULL, 'K'},
        {0},
    };
    int key;

    load->options.connections = 1;
    while ((key = getopt_long(/* NOLINT(concurrency-mt-unsafe): one thread */
                              argc, argv, "", rows, NULL)) != -1) {
        if (key == 'r')
            load->options.rate = strtod(optarg, NULL);
        else if (key == 'm')
            load->options.calls_max = strtoull(optarg, NULL, 10);
        else if (key == 'c')
            load->options.callers = (unsigned)strtoul(optarg, NULL, 10);
        else if (key == 'n')
            load->options.connections = (unsigned)strtoul(optarg, NULL, 10);
        else if (key == '?')
            return false;
        else
            load_read_file_option(load, key);
        load->options.is_distinct = load->options.is_distinct || key == 'd';
        load->options.is_local = load->options.is_local || key == 'l';
        load->options.is_counted = load->options.is_counted || key == 'b';
    }
    return argc - optind == 6 && load->options.connections > 0 &&
           load->options.connections <= CONNECTIONS_MAX;
}

static void load_connect(struct load *load, char *server)
{
    const char *method = *load->filename ? "/hubcache.v1.Resolver/ResolveFile"
                                         : "/hubcache.v1.Resolver/ResolveSnapshot";
    char key[] = GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL; /* else channels share one */
    grpc_arg own = {.type = GRPC_ARG_INTEGER, .key = key, .value.integer = 1};
    const grpc_channel_args args = {.num_args = 1, .args = &own};
    grpc_channel_credentials *credentials = bench_tls_channel(&load->options.tls);

    load->queue = grpc_completion_queue_create_for_next(NULL);
    for (unsigned i = 0; i < load->options.connections; i++) {
        grpc_channel *channel = grpc_channel_create(server, credentials, &args);

        load->connections[i].channel = channel;
        load->connections[i].method =
            grpc_channel_register_call(channel, method, NULL, NULL);
    }
    grpc_channel_credentials_release(credentials);
}

int main(int argc, char **argv)
{
    struct load load = {0};
    size_t in_flight;
    double seconds;
    int64_t began_ns;
    struct slot *slots;
    bool is_right;

    if (!load_read_options(&load, argc, argv)) {
        (void)fprintf(stderr, "usage: bench_rpc [OPTION]... SERVER REPO FILENAME "
                              "REVISION IN-FLIGHT SECONDS\n");
        return 2;
    }
    argv += optind;
    load.repo = argv[1];
    load.filename = argv[2];
    load.revision = argv[3];
    in_flight = strtoul(argv[4], NULL, 10);
    seconds = strtod(argv[5], NULL);
    slots = calloc(in_flight, sizeof *slots);
    load.answered.us = calloc(LATENCIES_MAX, sizeof *load.answered.us);
    load.busy.us = calloc(LATENCIES_MAX, sizeof *load.busy.us);
    if (!slots || !load.answered.us || !load.busy.us)
        return 1;
    for (size_t i = 0; i < in_flight; i++) {
        slots[i].next_free = load.free;
        load.free = &slots[i];
    }

    grpc_init();
    load_connect(&load, argv[0]);
    began_ns = rpc_clock_ns();
    is_right = load_run(&load, seconds);
    if (load.options.calls_max > 0)
        seconds = (double)(rpc_clock_ns() - began_ns) / SECOND_NS;
    if (is_right)
        load_report(&load, seconds);
    free(slots);
    free(load.answered.us);
    free(load.busy.us);
    return is_right ? 0 : 1;
}
