/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: neither misses and downloads of one slow repo, in any number, nor calls
 * that their callers have left delay the answers for files and snapshots on disk, or for
 * misses and snapshots of other repos. Many snapshots at a time take few threads. While
 * the volume hangs, the server stays healthy.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <grpc/health/v1/health.pb-c.h>
#include <hubcache/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MISSES = 64,
    GIVEN_UP = 400, /* 512 from one connection would be a flood */
    PATIENCE_MS = 20000,
    TEN_MINUTES_MS = 600000
};

/* The Hub answers no request about the repo until the test ends. */
static void slow_down(struct world *world, const char *repo)
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.contains = repo,
                                                      .fault = TEST_HUB_DELAY,
                                                      .number = TEN_MINUTES_MS});
}

/* Starts a call for a file that no other call wants and that is not on disk. */
static struct rpc_call *start_miss(struct world *world, const char *repo, unsigned number)
{
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    char id[64], filename[32];

    (void)snprintf(id, sizeof id, "%s", repo);
    (void)snprintf(filename, sizeof filename, "file-%u", number);
    request.repo_id = id;
    request.filename = filename;
    return start_file(world, &request);
}

static void give_up(struct rpc_call *call)
{
    rpc_call_cancel(call);
    (void)rpc_call_await(call);
    rpc_call_free(call);
}

/* Fails the test rather than waiting for ever. */
static struct rpc_call *call_cached_file(struct world *world, const char *path,
                                         const ProtobufCMessage *message)
{
    struct rpc_call *call =
        rpc_call_start(world->client, &(struct rpc_request){.path = path,
                                                            .message = message,
                                                            .timeout_ms = PATIENCE_MS});

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s: %s", path, rpc_call_reason(call), rpc_call_error(call));
    return call;
}

static void call_all_files(struct world *world)
{
    const Hubcache__V1__ResolveFileRequest file = file_request("config.json");
    Hubcache__V1__ResolveSnapshotRequest snapshot = snapshot_request();
    Hubcache__V1__FetchOptions options;

    rpc_call_free(call_cached_file(world, METHOD("ResolveFile"), &file.base));
    rpc_call_free(call_cached_file(world, METHOD("ResolveSnapshot"), &snapshot.base));
    hubcache__v1__fetch_options__init(&options);
    options.local_files_only = true;
    snapshot.options = &options;
    rpc_call_free(call_cached_file(world, METHOD("ResolveSnapshot"), &snapshot.base));
}

static void files_on_disk_and_other_repos_do_not_wait_for_a_slow_repo(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest weights = file_request("weights.bin");
    Hubcache__V1__ResolveFileRequest other = file_request("other.json");
    struct rpc_call *misses[MISSES];
    char commit[41];

    call_all_files(world);
    test_hub_add(world->hub, "other.json", "[]\n", 3, false);
    test_hub_commit(world->hub, "models/org/other", "main", commit);
    slow_down(world, "org/slow");
    for (unsigned i = 0; i < MISSES; i++)
        misses[i] = start_miss(world, "org/slow", i);
    call_all_files(world);
    rpc_call_free(call_cached_file(world, METHOD("ResolveFile"), &weights.base));
    other.repo_id = strdup("org/other");
    rpc_call_free(call_cached_file(world, METHOD("ResolveFile"), &other.base));
    free(other.repo_id);
    for (unsigned i = 0; i < MISSES; i++)
        give_up(misses[i]);
}

static void calls_whose_callers_left_leave_the_queue(void **state)
{
    static const char waiting[] = "\nhubcache_waiting_calls ";
    static const char queued[] = "\nhubcache_queued_jobs{pool=\"hub\"} ";
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest other = file_request("weights.bin");
    struct rpc_call *misses[GIVEN_UP];

    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    slow_down(world, "org/slow");
    for (unsigned i = 0; i < GIVEN_UP; i++)
        misses[i] = start_miss(world, "org/slow", i);
    while (world_gauge(world, waiting) < GIVEN_UP || world_gauge(world, queued) == 0)
        continue;
    for (unsigned i = 0; i < GIVEN_UP; i++)
        give_up(misses[i]);
    while (world_gauge(world, waiting) > 0 || world_gauge(world, queued) > 0)
        continue;
    rpc_call_free(call_cached_file(world, METHOD("ResolveFile"), &other.base));
}

static void a_snapshot_whose_caller_left_leaves_the_queue_too(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();
    struct rpc_call *call;

    slow_down(world, "org/slow");
    for (unsigned i = 0; i < MISSES; i++) {
        char id[32];

        (void)snprintf(id, sizeof id, "org/slow-%u", i);
        request.repo_id = id;
        call = rpc_call_start(world->client,
                              &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                    .message = &request.base});
        give_up(call);
    }
    call_all_files(world);
}

/* --- snapshots that are being downloaded ----------------------------------------------
 */

enum {
    SNAPSHOTS = 64,
    FILES = 20,
    THREADS_MAX = 100,
    LARGE = 3 << 20,
    CONNECTIONS = 16,
    HUB_WORKERS = 24
};

/* Makes `count` repos "org/<name>-<n>" whose files all differ. */
static void add_repos(struct world *world, const char *name, unsigned count,
                      uint64_t large_size)
{
    for (unsigned repo = 0; repo < count; repo++) {
        char id[64], path[32], text[64], commit[41];

        for (unsigned file = 0; file < FILES; file++) {
            (void)snprintf(path, sizeof path, "file-%02u", file);
            (void)snprintf(text, sizeof text, "%s %u %u", name, repo, file);
            test_hub_add(world->hub, path, text, strlen(text), false);
        }
        if (large_size > 0)
            test_hub_add_generated(world->hub, "a-large.bin", large_size, 100 + repo,
                                   true);
        (void)snprintf(id, sizeof id, "models/org/%s-%u", name, repo);
        test_hub_commit(world->hub, id, "main", commit);
    }
}

/* Each call has another caller. */
static struct rpc_call *start_snapshot(struct world *world, const char *name,
                                       unsigned number)
{
    Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();
    char id[64], token[32];

    (void)snprintf(id, sizeof id, "org/%s-%u", name, number);
    (void)snprintf(token, sizeof token, "token-%u", number);
    request.repo_id = id;
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                .message = &request.base,
                                                .token = token});
}

static void metrics_await_gauge(struct world *world, const char *name, unsigned value)
{
    while (world_gauge(world, name) < value)
        continue;
}

static void count_threads_of_snapshots(struct world *world, uint64_t large_size,
                                       const struct test_hub_rule *slow)
{
    struct rpc_call *calls[SNAPSHOTS];
    unsigned long threads;

    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                             "--min-split-size", "1M", NULL});
    add_repos(world, "many", SNAPSHOTS, large_size);
    test_hub_rule(world->hub, slow);
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        calls[i] = start_snapshot(world, "many", i);
    metrics_await_gauge(world, "hubcache_running_jobs{pool=\"hub\"} ", HUB_WORKERS);
    metrics_await_gauge(world, "\nhubcache_connections ", CONNECTIONS);
    threads = world_process(world, "Threads");
    print_message("%lu threads\n", threads);
    assert_true(threads < THREADS_MAX);
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        give_up(calls[i]);
}

static void sixty_four_snapshots_of_small_files_take_few_threads(void **state)
{
    count_threads_of_snapshots(*state, 0,
                               &(struct test_hub_rule){.contains = "/resolve/",
                                                       .fault = TEST_HUB_DELAY,
                                                       .number = TEN_MINUTES_MS});
}

/*
 * Each snapshot has a file over several connections, each with a thread, and bytes flow.
 */
static void sixty_four_snapshots_of_large_files_take_few_threads(void **state)
{
    count_threads_of_snapshots(*state, LARGE,
                               &(struct test_hub_rule){.on_cdn = true,
                                                       .fault = TEST_HUB_THROTTLE,
                                                       .number = LARGE / 64});
}

static void a_snapshot_does_not_wait_for_the_files_of_a_slow_one(void **state)
{
    struct world *world = *state;
    struct rpc_call *slow[4];
    Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();

    add_repos(world, "slow", 4, 0);
    add_repos(world, "other", 1, 0);
    slow_down(world, "slow-0/resolve/");
    slow_down(world, "slow-1/resolve/");
    slow_down(world, "slow-2/resolve/");
    slow_down(world, "slow-3/resolve/");
    for (unsigned i = 0; i < 4; i++)
        slow[i] = start_snapshot(world, "slow", i);
    test_hub_await(world->hub, "GET", "/resolve/",
                   CONNECTIONS - 3); /* each transfer has its share */
    request.repo_id = strdup("org/other-0");
    rpc_call_free(call_cached_file(world, METHOD("ResolveSnapshot"), &request.base));
    free(request.repo_id);
    call_all_files(world);
    for (unsigned i = 0; i < 4; i++)
        give_up(slow[i]);
}

#ifdef SLOW_VOLUME
/* --- a volume that hangs --------------------------------------------------------------
 */

enum { DISK_WORKERS = 8 };

static void assert_lives(struct world *world)
{
    Grpc__Health__V1__HealthCheckRequest request;
    HC_AUTO_FREE char *metrics = world_get(world, "/metrics");
    HC_AUTO_FREE char *health = world_get(world, "/healthz");

    grpc__health__v1__health_check_request__init(&request);
    rpc_call_free(call_cached_file(world, "/grpc.health.v1.Health/Check", &request.base));
    assert_non_null(strstr(metrics, "hubcache_build_info"));
    assert_non_null(strstr(health, "200 OK"));
}

static struct rpc_call *health_watch_start(struct world *world)
{
    Grpc__Health__V1__HealthCheckRequest request;

    grpc__health__v1__health_check_request__init(&request);
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = "/grpc.health.v1.Health/Watch",
                                                .message = &request.base});
}

/* The waiting threads continue, and later ones do not wait. */
static void volume_let_go(const char *fifo)
{
    HC_AUTO_CLOSE int fd = open(fifo, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(unlink(fifo), 0);
}

static void while_the_volume_hangs_the_server_is_healthy(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest file = file_request("config.json");
    HC_AUTO_FREE char *fifo = temp_dir_path(world->dir, "hang");
    struct rpc_call *hits[20], *snapshots[2 * DISK_WORKERS], *watch;

    world->preload = SLOW_VOLUME;
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    call_all_files(world);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    hits[0] = start_file(world, &file); /* on the thread that takes gRPC's events */
    assert_lives(world);
    for (size_t i = 1; i < 20; i++)
        hits[i] = start_file(world, &file);
    for (unsigned i = 0; i < 2 * DISK_WORKERS; i++)
        snapshots[i] = start_snapshot(world, "any", i);
    metrics_await_gauge(world, "hubcache_running_jobs{pool=\"disk\"} ", DISK_WORKERS);
    assert_lives(world);
    watch = health_watch_start(world);
    assert_int_equal(rpc_call_await_messages(watch, 1), 1);
    volume_let_go(fifo);
    for (size_t i = 0; i < 20; i++) {
        assert_answers_file(world, hits[i], "config.json",
                            HUBCACHE__V1__SOURCE__SOURCE_CACHE);
        rpc_call_free(hits[i]);
    }
    for (unsigned i = 0; i < 2 * DISK_WORKERS; i++) {
        assert_int_equal(rpc_call_await(snapshots[i]), HC_STATUS_NOT_FOUND);
        rpc_call_free(snapshots[i]);
    }
    call_all_files(world);
    give_up(watch);
}

/* Not even one lookup is made on the thread that takes gRPC's events. */
static void on_a_slow_volume_no_event_waits_for_a_lookup(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest config = file_request("config.json");
    const Hubcache__V1__ResolveFileRequest weights = file_request("weights.bin");
    HC_AUTO_FREE char *fifo = temp_dir_path(world->dir, "hang");
    struct rpc_call *hit;

    world->preload = SLOW_VOLUME;
    world->hanging = "/config.json";
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                             "--confirm-after", "0", NULL});
    call_all_files(world);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    hit = start_file(world, &config);
    metrics_await_gauge(world, "hubcache_running_jobs{pool=\"disk\"} ", 1);
    for (unsigned i = 0; i < 20; i++)
        rpc_call_free(call_cached_file(world, METHOD("ResolveFile"), &weights.base));
    volume_let_go(fifo);
    assert_answers_file(world, hit, "config.json", HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    rpc_call_free(hit);
}

static struct rpc_call *start_files(struct world *world, size_t count)
{
    Hubcache__V1__ResolveFilesRequest request;
    char config[] = "config.json", repo[] = "org/name";
    char *names[64];

    hubcache__v1__resolve_files_request__init(&request);
    request.repo_id = repo;
    for (size_t i = 0; i < count; i++)
        names[i] = config;
    request.filenames = names;
    request.n_filenames = count;
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveFiles"),
                                                .message = &request.base});
}

static void
calls_with_more_than_sixteen_files_are_looked_up_by_the_disk_pool(void **state)
{
    static const char gauge_name[] = "hubcache_running_jobs{pool=\"disk\"} ";
    struct world *world = *state;
    HC_AUTO_FREE char *fifo = temp_dir_path(world->dir, "hang");
    struct rpc_call *sixteen, *seventeen;

    world->preload = SLOW_VOLUME;
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    call_all_files(world);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    sixteen = start_files(world, 16);
    assert_lives(world);
    assert_int_equal(world_gauge(world, gauge_name), 0);
    seventeen = start_files(world, 17);
    metrics_await_gauge(world, gauge_name, 1);
    volume_let_go(fifo);
    assert_int_equal(rpc_call_await(sixteen), HC_STATUS_OK);
    assert_int_equal(rpc_call_await(seventeen), HC_STATUS_OK);
    rpc_call_free(sixteen);
    rpc_call_free(seventeen);
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(files_on_disk_and_other_repos_do_not_wait_for_a_slow_repo),
        TEST_EMPTY(calls_whose_callers_left_leave_the_queue),
        TEST(a_snapshot_whose_caller_left_leaves_the_queue_too),
        TEST_EMPTY(sixty_four_snapshots_of_small_files_take_few_threads),
        TEST_EMPTY(sixty_four_snapshots_of_large_files_take_few_threads),
        TEST(a_snapshot_does_not_wait_for_the_files_of_a_slow_one),
#ifdef SLOW_VOLUME
        TEST_EMPTY(while_the_volume_hangs_the_server_is_healthy),
        TEST_EMPTY(on_a_slow_volume_no_event_waits_for_a_lookup),
        TEST_EMPTY(calls_with_more_than_sixteen_files_are_looked_up_by_the_disk_pool),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
