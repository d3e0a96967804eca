/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of tests/bench/run rpc: keeps a number of ResolveFile calls in flight on one
 * connection for some seconds, and prints "<calls per second> <p50 µs> <p99 µs>".
 *
 *     bench_rpc SERVER REPO FILENAME REVISION IN-FLIGHT SECONDS
 *
 * One thread, gRPC's C core, a registered method; a call that fails ends the program.
 */
#include <hubcache/v1/resolver.pb-c.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LATENCIES_MAX = 4000000, WARM_UP_CALLS = 2000 };

struct load {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    void *method;
    grpc_slice request;
    int64_t end_ns;
    bool is_warm;
    uint32_t *latencies; /* µs */
    size_t count;
};

struct slot {
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *answer;
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
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool load_start_call(struct load *load, struct slot *slot)
{
    grpc_op ops[6] = {0};

    *slot = (struct slot){.start_ns = rpc_clock_ns()};
    slot->call =
        grpc_channel_create_registered_call(load->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                            load->queue, load->method,
                                            gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    slot->request = grpc_raw_byte_buffer_create(&load->request, 1);
    grpc_metadata_array_init(&slot->initial);
    grpc_metadata_array_init(&slot->trailing);

    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
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
    return grpc_call_start_batch(slot->call, ops, 6, slot, NULL) == GRPC_CALL_OK;
}

static bool load_finish_call(struct load *load, struct slot *slot)
{
    bool is_good = slot->status == GRPC_STATUS_OK && slot->answer;

    if (!is_good) {
        char *details = grpc_slice_to_c_string(slot->details);
        (void)fprintf(stderr, "bench_rpc: status %d: %s\n", (int)slot->status, details);
        gpr_free(details);
    }
    if (load->is_warm && load->count < LATENCIES_MAX)
        load->latencies[load->count++] =
            (uint32_t)((rpc_clock_ns() - slot->start_ns) / 1000);
    grpc_byte_buffer_destroy(slot->request);
    grpc_byte_buffer_destroy(slot->answer);
    grpc_metadata_array_destroy(&slot->initial);
    grpc_metadata_array_destroy(&slot->trailing);
    grpc_slice_unref(slot->details);
    grpc_call_unref(slot->call);
    return is_good;
}

static struct slot *load_next_done(struct load *load)
{
    grpc_event event =
        grpc_completion_queue_next(load->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                   NULL);

    return event.type == GRPC_OP_COMPLETE ? event.tag : NULL;
}

/* The first calls connect and warm up; measuring starts after them. */
static bool load_run(struct load *load, struct slot *slots, size_t in_flight,
                     int64_t for_ns)
{
    size_t warm_up = 0, running = in_flight;

    for (size_t i = 0; i < in_flight; i++)
        if (!load_start_call(load, &slots[i]))
            return false;
    while (running > 0) {
        struct slot *slot = load_next_done(load);
        if (!slot || !load_finish_call(load, slot))
            return false;
        if (!load->is_warm && ++warm_up >= WARM_UP_CALLS) {
            load->is_warm = true;
            load->end_ns = rpc_clock_ns() + for_ns;
        }
        if (load->is_warm && rpc_clock_ns() >= load->end_ns) {
            running--;
            continue;
        }
        if (!load_start_call(load, slot))
            return false;
    }
    return true;
}

static int compare_latencies(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

static void load_report(struct load *load, double seconds)
{
    qsort(load->latencies, load->count, sizeof(*load->latencies), compare_latencies);
    printf("%.0f %u %u\n", (double)load->count / seconds,
           load->latencies[load->count / 2], load->latencies[load->count * 99 / 100]);
}

static grpc_slice pack_request(char *repo, char *filename, char *revision)
{
    Hubcache__V1__ResolveFileRequest request;

    hubcache__v1__resolve_file_request__init(&request);
    request.repo_id = repo;
    request.filename = filename;
    request.revision = revision;
    grpc_slice slice =
        grpc_slice_malloc(hubcache__v1__resolve_file_request__get_packed_size(&request));
    hubcache__v1__resolve_file_request__pack(&request, GRPC_SLICE_START_PTR(slice));
    return slice;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        (void)fprintf(
            stderr, "usage: bench_rpc SERVER REPO FILENAME REVISION IN-FLIGHT SECONDS\n");
        return 2;
    }
    size_t in_flight = strtoul(argv[5], NULL, 10);
    double seconds = strtod(argv[6], NULL);
    struct slot *slots = calloc(in_flight, sizeof(*slots));
    struct load load = {.latencies = calloc(LATENCIES_MAX, sizeof(uint32_t))};

    grpc_init();
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    load.channel = grpc_channel_create(argv[1], insecure, NULL);
    grpc_channel_credentials_release(insecure);
    load.queue = grpc_completion_queue_create_for_next(NULL);
    load.method =
        grpc_channel_register_call(load.channel, "/hubcache.v1.Resolver/ResolveFile",
                                   NULL, NULL);
    load.request = pack_request(argv[2], argv[3], argv[4]);

    bool is_good = slots && load.latencies && in_flight > 0 &&
                   load_run(&load, slots, in_flight, (int64_t)(seconds * 1e9));
    if (is_good)
        load_report(&load, seconds);
    free(slots);
    free(load.latencies);
    return is_good ? 0 : 1;
}
