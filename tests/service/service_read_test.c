/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: ReadFile sends exactly the bytes that were asked for, of the file that
 * ResolveFile resolves, and of one file whatever happens to its name meanwhile. A client
 * that does not read takes a bounded amount of memory and no thread, and too many of them
 * are told so. A volume that loses bytes is a failure, never a short file.
 */
#include "hub_blob.h"
#include "random.h"
#include "service_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <hubcache/error.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MESSAGE = 512 * 1024, /* bytes in a message of the server */
    MIB = 1024 * 1024,
    LARGE = 48 * MIB, /* more than what the windows of a stalled connection take */
    SEED = 7,
    RANGES = 40,
    STREAMS_MAX = 128,
    CALLER_MAX = 96, /* three quarters of them */
    STALLED = 24,
    PATIENCE_MS = 20000
};

static const char sizes_repo[] = "org/sizes";
static const uint64_t sizes[] = {0,           1,           2,
                                 MESSAGE - 1, MESSAGE,     MESSAGE + 1,
                                 2 * MESSAGE, 5 * MIB + 3, LARGE};

/* A file "s<size>" of each size. */
static void add_sizes(struct world *world)
{
    char name[32];

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        (void)snprintf(name, sizeof name, "s%llu", (unsigned long long)sizes[i]);
        test_hub_add_generated(world->hub, name, sizes[i], SEED, sizes[i] > 2);
    }
    test_hub_commit(world->hub, "models/org/sizes", "main", world->commit);
}

static int read_setup_with_grace(void **state, const char *grace_period)
{
    (void)world_setup_empty(state);
    add_sizes(*state);
    world_serve(*state, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                              "--grace-period", grace_period, NULL});
    return 0;
}

static int read_setup(void **state)
{
    return read_setup_with_grace(state, "60s");
}

static int read_setup_short_grace(void **state)
{
    return read_setup_with_grace(state, "1s");
}

struct read {
    Hubcache__V1__ReadFileRequest message;
    Hubcache__V1__ResolveFileRequest file;
    Hubcache__V1__FetchOptions options;
    char repo[64], name[64];
};

/* A read of the whole file of that size, to be changed before it starts. */
static void read_init(struct read *read, uint64_t size)
{
    (void)snprintf(read->repo, sizeof read->repo, "%s", sizes_repo);
    (void)snprintf(read->name, sizeof read->name, "s%llu", (unsigned long long)size);
    read->file = file_request(read->name);
    read->file.repo_id = read->repo;
    hubcache__v1__fetch_options__init(&read->options);
    hubcache__v1__read_file_request__init(&read->message);
    read->message.file = &read->file;
}

static struct rpc_call *read_start(struct rpc_client *client, const struct read *read)
{
    return rpc_call_start(client, &(struct rpc_request){.path = METHOD("ReadFile"),
                                                        .message = &read->message.base});
}

static struct rpc_call *start_whole(struct rpc_client *client, uint64_t size)
{
    struct read read;

    read_init(&read, size);
    return read_start(client, &read);
}

/* Fails unless the messages are the bytes from `offset` to `end` of the file. */
static void assert_messages(struct rpc_call *call, uint64_t size, uint64_t offset,
                            uint64_t end)
{
    struct hub_blob *blob = hub_blob_generated(size, SEED, false);
    static unsigned char expected[MESSAGE];
    uint64_t next = offset;
    size_t count;

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    count = rpc_call_await_messages(call, 0);
    assert_int_equal(count, end == offset ? 1 : (end - offset + MESSAGE - 1) / MESSAGE);
    for (size_t i = 0; i < count; i++) {
        ProtobufCMessage *unpacked =
            rpc_call_message(call, i, &hubcache__v1__read_file_response__descriptor);
        const Hubcache__V1__ReadFileResponse *message = (const void *)unpacked;

        assert_int_equal(message->file != NULL, i == 0);
        if (i == 0)
            assert_int_equal(message->file->size_bytes, size);
        assert_int_equal(message->offset, next);
        assert_true(message->data.len <= MESSAGE && message->data.len <= end - next);
        hub_blob_read(blob, next, expected, message->data.len);
        if (message->data.len > 0)
            assert_memory_equal(message->data.data, expected, message->data.len);
        next += message->data.len;
        protobuf_c_message_free_unpacked(unpacked, NULL);
    }
    assert_int_equal(next, end);
    hub_blob_free(blob);
}

static void assert_reads(struct world *world, uint64_t size, uint64_t offset,
                         uint64_t length)
{
    uint64_t left = size - offset;
    struct read read;
    struct rpc_call *call;

    read_init(&read, size);
    read.message.offset = offset;
    read.message.length = length;
    call = read_start(world->client, &read);
    assert_messages(call, size, offset,
                    offset + (length > 0 && length < left ? length : left));
    rpc_call_free(call);
}

static void assert_fails(struct rpc_call *call, enum hc_status status, const char *reason,
                         const char *field)
{
    assert_int_equal(rpc_call_await(call), status);
    assert_string_equal(rpc_call_reason(call), reason);
    assert_string_equal(rpc_call_violation(call), field);
    rpc_call_free(call);
}

/* ---- bytes --------------------------------------------------------------------------
 */

static void a_file_of_every_size_is_read_whole(void **state)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_reads(*state, sizes[i], 0, 0);
}

static void ranges_at_every_boundary_are_read_exactly(void **state)
{
    const uint64_t size = 2 * MESSAGE;
    const uint64_t edges[] = {
        0,        1,          MESSAGE - 1,          MESSAGE,  MESSAGE + 1, size - 1, size,
        size + 1, UINT64_MAX, UINT64_MAX - MESSAGE, INT64_MAX};

    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < sizeof edges / sizeof *edges; j++)
            assert_reads(*state, size, edges[i], edges[j]);
    }
}

static void random_ranges_are_read_exactly(void **state)
{
    const uint64_t size = 5 * MIB + 3;
    struct random_source source;

    random_begin(&source, "ranges");
    for (unsigned i = 0; i < RANGES; i++) {
        uint64_t offset = random_between(&source, 0, size);

        assert_reads(*state, size, offset, random_between(&source, 0, size));
    }
}

/* ---- refusals -----------------------------------------------------------------------
 */

static void an_offset_beyond_the_end_is_refused_by_name(void **state)
{
    const struct world *world = *state;
    const uint64_t offsets[] = {MESSAGE + 1, UINT64_MAX};
    struct read read;

    for (size_t i = 0; i < 2; i++) {
        read_init(&read, MESSAGE);
        read.message.offset = offsets[i];
        read.message.length = UINT64_MAX;
        assert_fails(read_start(world->client, &read), HC_STATUS_INVALID_ARGUMENT,
                     "INVALID_OPTIONS", "offset");
    }
}

static void a_dry_run_is_refused_by_name(void **state)
{
    const struct world *world = *state;
    struct read read;

    read_init(&read, MESSAGE);
    read.file.options = &read.options;
    read.options.dry_run = true;
    assert_fails(read_start(world->client, &read), HC_STATUS_INVALID_ARGUMENT,
                 "INVALID_OPTIONS", "options.dry_run");
}

static void a_request_without_a_file_is_refused_like_an_empty_one(void **state)
{
    const struct world *world = *state;
    struct read read;

    read_init(&read, MESSAGE);
    read.message.file = NULL;
    assert_fails(read_start(world->client, &read), HC_STATUS_INVALID_ARGUMENT,
                 "INVALID_FILENAME", "filename");
}

static void a_file_that_may_not_be_fetched_is_not_cached(void **state)
{
    const struct world *world = *state;
    struct read read;

    read_init(&read, MESSAGE);
    read.file.options = &read.options;
    read.options.local_files_only = true;
    assert_fails(read_start(world->client, &read), HC_STATUS_NOT_FOUND, "NOT_CACHED", "");
}

static void a_read_and_a_resolution_share_one_download(void **state)
{
    struct world *world = *state;
    struct read read;
    struct rpc_call *resolved, *bytes;

    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1});
    read_init(&read, MESSAGE);
    resolved = start_file(world, &read.file);
    bytes = read_start(world->client, &read);
    test_hub_await_stall(world->hub);
    test_hub_release(world->hub);

    assert_messages(bytes, MESSAGE, 0, MESSAGE);
    assert_int_equal(rpc_call_await(resolved), HC_STATUS_OK);
    assert_int_equal(test_hub_count(world->hub, "HEAD", "s524288"), 1);
    rpc_call_free(resolved);
    rpc_call_free(bytes);
}

/* ---- the volume ---------------------------------------------------------------------
 */

/* The path of the blob, or of the pointer's directory entry, of a file that is cached. */
static char *resolve_path(struct world *world, uint64_t size, bool is_blob)
{
    struct read read;
    struct rpc_call *call;
    ProtobufCMessage *message;
    const Hubcache__V1__ResolveFileResponse *answer;
    char *path;

    read_init(&read, size);
    call = ask_file(world, &read.file);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    message = rpc_call_message(call, 0, &hubcache__v1__resolve_file_response__descriptor);
    answer = (const void *)message;
    path = is_blob ? realpath(answer->file->path, NULL) : strdup(answer->file->path);
    assert_non_null(path);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
    return path;
}

/* A read of the large file by a client that does not read on after the first message. */
static struct rpc_call *start_stalled(struct rpc_client *client)
{
    struct rpc_call *call = start_whole(client, LARGE);

    assert_int_equal(rpc_call_await_messages(call, 1), 1);
    return call;
}

static void a_file_that_is_deleted_while_it_is_read_is_read_whole(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *blob = resolve_path(world, LARGE, true);
    struct rpc_call *call = start_stalled(world->client);

    assert_int_equal(unlink(blob), 0);

    assert_messages(call, LARGE, 0, LARGE);
    rpc_call_free(call);
}

static void a_file_that_loses_its_end_while_it_is_read_is_a_failure(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *blob = resolve_path(world, LARGE, true);
    struct rpc_call *call = start_stalled(world->client);

    assert_int_equal(truncate(blob, LARGE - 1), 0);

    assert_fails(call, HC_STATUS_INTERNAL, "CACHE_IO", "");
}

static void a_pointer_that_leads_out_of_the_cache_is_not_read(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *pointer = resolve_path(world, 1, false);
    HC_AUTO_FREE char *secret = temp_dir_path(world->dir, "secret");

    temp_dir_write(world->dir, "secret", "x");
    assert_int_equal(unlink(pointer), 0);
    assert_int_equal(symlink(secret, pointer), 0);

    assert_fails(start_whole(world->client, 1), HC_STATUS_INTERNAL, "CACHE_IO", "");
}

/* ---- clients that do not read -------------------------------------------------------
 */

/* A number of the page of metrics. */
static unsigned long metric(struct world *world, const char *name)
{
    HC_AUTO_FREE char *page = world_get(world, "/metrics");
    char line[128];
    const char *found;

    (void)snprintf(line, sizeof line, "\n%s ", name);
    found = strstr(page, line);
    assert_non_null(found);
    return found ? strtoul(found + strlen(line), NULL, 10) : 0;
}

static void await_streams(struct world *world, unsigned long count)
{
    for (unsigned i = 0; metric(world, "hubcache_read_streams") != count; i++)
        assert_true(i < 1000000);
}

static void stalled_clients_take_bounded_memory_and_do_not_slow_others(void **state)
{
    struct world *world = *state;
    struct rpc_client *clients[STALLED];
    struct rpc_call *calls[STALLED];
    unsigned long before, rss, threads, read;

    assert_reads(world, LARGE, 0, 0);
    before = world_process(world, "VmRSS");
    for (size_t i = 0; i < STALLED; i++) {
        clients[i] = rpc_client_open(world->address);
        calls[i] = start_stalled(clients[i]);
    }
    read = metric(world, "hubcache_read_bytes_total");
    assert_reads(world, 5 * MIB + 3, 0, 0);
    rss = world_process(world, "VmRSS");
    threads = world_process(world, "Threads");
    print_message("%u stalled: %lu KiB before, %lu KiB now, %lu MiB read, %lu threads\n",
                  STALLED, before, rss, (read - LARGE) / MIB, threads);

    assert_int_equal(metric(world, "hubcache_read_streams"), STALLED);
    /* Each has two messages; the allocator and the connections get as much again. A
     * sanitizer keeps memory that was freed. */
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    assert_true(rss < before + STALLED * 4UL * (MESSAGE / 1024));
#endif
    for (size_t i = 0; i < STALLED; i++) {
        rpc_call_cancel(calls[i]);
        rpc_call_free(calls[i]);
        rpc_client_close(clients[i]);
    }
    await_streams(world, 0);
}

static void a_deadline_ends_a_read_that_stalls(void **state)
{
    struct world *world = *state;
    struct read read;
    struct rpc_call *call;

    assert_reads(world, LARGE, 0, 0);
    read_init(&read, LARGE);
    call =
        rpc_call_start(world->client, &(struct rpc_request){.path = METHOD("ReadFile"),
                                                            .message = &read.message.base,
                                                            .timeout_ms = 500});
    await_streams(world, 1);
    await_streams(world, 0);

    assert_int_equal(rpc_call_await(call), HC_STATUS_DEADLINE_EXCEEDED);
    rpc_call_free(call);
}

static void one_caller_has_three_quarters_of_the_streams(void **state)
{
    struct world *world = *state;
    struct rpc_client *other = rpc_client_open(world->address);
    struct rpc_call *calls[CALLER_MAX];
    struct rpc_call *refused;
    struct read read;

    assert_reads(world, LARGE, 0, 0);
    for (size_t i = 0; i < CALLER_MAX; i++)
        calls[i] = start_whole(other, LARGE);
    await_streams(world, CALLER_MAX);
    refused = start_whole(world->client, 1);

    assert_int_equal(rpc_call_await(refused), HC_STATUS_UNAVAILABLE);
    assert_string_equal(rpc_call_reason(refused), "BUSY");
    assert_true(rpc_call_retry_ms(refused) > 0);
    rpc_call_free(refused);
    read_init(&read, 1);
    refused =
        rpc_call_start(world->client, &(struct rpc_request){.path = METHOD("ReadFile"),
                                                            .message = &read.message.base,
                                                            .token = "another"});
    assert_messages(refused, 1, 0, 1);
    rpc_call_free(refused);
    for (size_t i = 0; i < CALLER_MAX; i++)
        rpc_call_cancel(calls[i]);
    for (size_t i = 0; i < CALLER_MAX; i++)
        rpc_call_free(calls[i]);
    await_streams(world, 0);
    assert_reads(world, 1, 0, 0);
    rpc_client_close(other);
}

/* ---- the end of the server ----------------------------------------------------------
 */

static void the_grace_period_lets_a_read_end(void **state)
{
    struct world *world = *state;
    struct rpc_call *call;

    assert_reads(world, LARGE, 0, 0);
    call = start_stalled(world->client);
    world_stop_server(world);

    assert_messages(call, LARGE, 0, LARGE);
    rpc_call_free(call);
    assert_int_equal(world_await_end(world), 0);
}

static void a_read_that_stalls_does_not_keep_the_server_from_its_end(void **state)
{
    struct world *world = *state;
    struct rpc_client *client; /* a new one: gRPC has not widened its windows yet */
    struct rpc_call *call;

    assert_reads(world, LARGE, 0, 0);
    client = rpc_client_open(world->address);
    call = start_stalled(client);
    world_stop_server(world);

    assert_int_equal(world_await_end(world), 0);
    assert_int_not_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
    rpc_client_close(client);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, read_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_file_of_every_size_is_read_whole),
        WORLD_TEST(ranges_at_every_boundary_are_read_exactly),
        WORLD_TEST(random_ranges_are_read_exactly),
        WORLD_TEST(an_offset_beyond_the_end_is_refused_by_name),
        WORLD_TEST(a_dry_run_is_refused_by_name),
        WORLD_TEST(a_request_without_a_file_is_refused_like_an_empty_one),
        WORLD_TEST(a_file_that_may_not_be_fetched_is_not_cached),
        WORLD_TEST(a_read_and_a_resolution_share_one_download),
        WORLD_TEST(a_file_that_is_deleted_while_it_is_read_is_read_whole),
        WORLD_TEST(a_file_that_loses_its_end_while_it_is_read_is_a_failure),
        WORLD_TEST(a_pointer_that_leads_out_of_the_cache_is_not_read),
        WORLD_TEST(stalled_clients_take_bounded_memory_and_do_not_slow_others),
        WORLD_TEST(a_deadline_ends_a_read_that_stalls),
        WORLD_TEST(one_caller_has_three_quarters_of_the_streams),
        WORLD_TEST(the_grace_period_lets_a_read_end),
        cmocka_unit_test_setup_teardown(
            a_read_that_stalls_does_not_keep_the_server_from_its_end,
            read_setup_short_grace, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
