/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: hubcached starts, prints its addresses, reports its health, and ends
 * within the grace period. A failure of the configuration names the line, and no output
 * has a secret.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <dirent.h>
#include <grpc/health/v1/health.pb-c.h>
#include <hubcache/error.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

static struct rpc_call *start_health(struct world *world, const char *method,
                                     const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request;

    grpc__health__v1__health_check_request__init(&request);
    memcpy(&request.service, &service, sizeof request.service);
    return rpc_call_start(world->client, &(struct rpc_request){
                                             .path = method,
                                             .message = &request.base,
                                         });
}

static void assert_health(struct rpc_call *call, size_t number, int expected)
{
    ProtobufCMessage *message =
        rpc_call_message(call, number,
                         &grpc__health__v1__health_check_response__descriptor);
    const Grpc__Health__V1__HealthCheckResponse *answer = (const void *)message;

    assert_int_equal(answer->status, expected);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void stall_weights(struct world *world)
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1000});
}

static struct rpc_call *start_stalled_file(struct world *world)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_call *call;

    stall_weights(world);
    call = start_file(world, &request);
    test_hub_await_stall(world->hub);
    return call;
}

static void assert_is_shut_down(struct rpc_call *call)
{
    assert_int_equal(rpc_call_await(call), HC_STATUS_UNAVAILABLE);
    assert_string_equal(rpc_call_reason(call), "SHUTTING_DOWN");
    assert_int_equal(rpc_call_retry_ms(call), 1000);
    assert_string_equal(rpc_call_pushback(call), "1000");
}

static void sigterm_lets_a_running_call_finish(void **state)
{
    struct world *world = *state;
    struct rpc_call *health =
        start_health(world, "/grpc.health.v1.Health/Watch", "hubcache.v1.Resolver");
    struct rpc_call *running = start_stalled_file(world);

    assert_int_equal(rpc_call_await_messages(health, 1), 1);
    world_stop_server(world);
    assert_int_equal(rpc_call_await_messages(health, 2), 2);
    test_hub_release(world->hub);

    assert_health(health, 0, STATUS(SERVING));
    assert_health(health, 1, STATUS(NOT_SERVING));
    assert_answers_file(world, running, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    assert_int_equal(world_await_end(world), 0);
    rpc_call_free(health);
    rpc_call_free(running);
}

static void a_second_sigterm_ends_running_calls(void **state)
{
    struct world *world = *state;
    struct rpc_call *health = start_health(world, "/grpc.health.v1.Health/Watch", "");
    struct rpc_call *running = start_stalled_file(world);

    world_stop_server(world);
    (void)rpc_call_await(health); /* the first signal has been taken */
    world_stop_server(world);

    assert_int_equal(world_await_end(world), 0);
    assert_is_shut_down(running);
    rpc_call_free(health);
    rpc_call_free(running);
}

static void when_the_grace_period_is_over_running_calls_end(void **state)
{
    struct world *world = *state;
    struct rpc_call *running;

    world_serve(world, (const char *const[]){"--grace-period", "100ms", NULL});
    running = start_stalled_file(world);
    world_stop_server(world);

    assert_int_equal(world_await_end(world), 0);
    assert_is_shut_down(running);
    rpc_call_free(running);
}

static void a_watcher_gets_an_answer_at_the_end_of_the_grace_period(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveSnapshotRequest snapshot = snapshot_request();
    Hubcache__V1__WatchSnapshotRequest request;
    struct rpc_call *running;

    hubcache__v1__watch_snapshot_request__init(&request);
    request.snapshot = &snapshot;
    world_serve(world, (const char *const[]){"--grace-period", "100ms", NULL});
    stall_weights(world);
    running = rpc_call_start(world->client,
                             &(struct rpc_request){.path = METHOD("WatchSnapshot"),
                                                   .message = &request.base});
    test_hub_await_stall(world->hub);
    world_stop_server(world);

    assert_int_equal(world_await_end(world), 0);
    assert_is_shut_down(running);
    rpc_call_free(running);
}

/*
 * Stops every thread but the first, as a volume that hangs would. This process traces the
 * threads, so it has to wait for their stop and for their end.
 */
static size_t hang_threads(const struct world *world, pid_t *threads, size_t room)
{
    char path[64];
    const struct dirent *entry;
    DIR *tasks;
    size_t count = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)world->server);
    tasks = opendir(path);
    assert_non_null(tasks);
    while (tasks && (entry = readdir(tasks))) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);

        if (thread == 0 || thread == world->server)
            continue;
        assert_int_equal(ptrace(PTRACE_SEIZE, thread, NULL, NULL), 0);
        assert_int_equal(ptrace(PTRACE_INTERRUPT, thread, NULL, NULL), 0);
        assert_int_equal(waitpid(thread, NULL, __WALL), thread);
        assert_true(count < room);
        threads[count++] = thread;
    }
    if (tasks)
        (void)closedir(tasks);
    assert_true(count > 0);
    return count;
}

static void a_thread_that_hangs_does_not_keep_the_process_alive(void **state)
{
    struct world *world = *state;
    struct rpc_call *running;
    pid_t threads[256];
    size_t count;

    world_serve(world, (const char *const[]){"--grace-period", "100ms",
                                             "--allow-core-dumps", NULL});
    running = start_stalled_file(world);
    count = hang_threads(world, threads, sizeof threads / sizeof *threads);
    world_stop_server(world);
    for (size_t i = 0; i < count; i++)
        (void)waitpid(threads[i], NULL, __WALL);

    assert_int_equal(world_await_end(world), 1);
    assert_int_equal(rpc_call_await(running), HC_STATUS_UNAVAILABLE);
    rpc_call_free(running);
}

#ifdef HANGING_LIBRARY
static void a_library_that_hangs_after_everything_else_is_no_failure(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    world->preload = HANGING_LIBRARY;
    world_serve(world, (const char *const[]){NULL});
    world_stop_server(world);

    assert_int_equal(world_await_end(world), 0);
    log = world_log(world);
    assert_non_null(strstr(log, "stopped"));
}
#endif

static void an_address_in_use_is_an_error(void **state)
{
    struct world *world = *state;
    pid_t first = world->server;

    assert_int_equal(world_run_server(world, (const char *const[]){"--listen",
                                                                   world->address, NULL}),
                     1);
    world->server = first;
}

static void metrics_and_status_are_served_over_http(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    HC_AUTO_FREE char *metrics = NULL;
    HC_AUTO_FREE char *health = NULL;
    HC_AUTO_FREE char *status = NULL;
    HC_AUTO_FREE char *other = NULL;

    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    rpc_call_free(ask_file(world, &request));
    rpc_call_free(ask_file(world, &request));
    metrics = world_get(world, "/metrics");
    health = world_get(world, "/healthz");
    status = world_get(world, "/");
    other = world_get(world, "/../etc/passwd");

    assert_non_null(strstr(metrics, "\nhubcache_hits_total 1\n"));
    assert_non_null(strstr(metrics, "\nhubcache_downloaded_bytes_total 3\n"));
    assert_non_null(strstr(metrics,
                           "hubcache_requests_total{method=\"/hubcache.v1.Resolver/"
                           "ResolveFile\",reason=\"OK\"} 2\n"));
    assert_non_null(strstr(health, " 200 "));
    assert_non_null(strstr(status, test_hub_endpoint(world->hub)));
    assert_non_null(strstr(status, "No file is being fetched."));
    assert_non_null(strstr(other, " 404 "));
}

static void a_configuration_file_is_read_and_flags_replace_it(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *config = temp_dir_path(world->dir, "config.yaml");
    HC_AUTO_FREE char *token = temp_dir_path(world->dir, "token");
    char text[512];

    temp_dir_write(world->dir, "token", "hf_secret_of_the_server\n");
    (void)snprintf(text, sizeof text,
                   "listen: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n"
                   "max-staleness: 5m\nqueue: 7\noffline: true\ntoken-file: %s\n",
                   token);
    temp_dir_write(world->dir, "config.yaml", text);
    assert_int_equal(world_run_server(world, (const char *const[]){"--check-config",
                                                                   "--config", config,
                                                                   "--queue", "9", NULL}),
                     0);

    assert_int_equal(strncmp(world->lines, "configuration ok\n", 17), 0);
    assert_non_null(strstr(world->lines, "listen: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n"));
    assert_non_null(strstr(world->lines, "max-staleness: 300000ms\n"));
    assert_non_null(strstr(world->lines, "queue: 9\n"));
    assert_non_null(strstr(world->lines, "offline: true\n"));
    assert_null(strstr(world->lines, "secret"));
}

static void an_unknown_key_is_an_error_with_its_line(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *config = temp_dir_path(world->dir, "config.yaml");
    HC_AUTO_FREE char *log = NULL;

    temp_dir_write(world->dir, "config.yaml", "queue: 7\n\nquue: 8\n");
    assert_int_equal(world_run_server(world,
                                      (const char *const[]){"--config", config, NULL}),
                     2);

    log = world_log(world);
    assert_non_null(strstr(log, "line 3: there is no option 'quue'"));
}

static void assert_refused(struct world *world, const char *const *flags)
{
    HC_AUTO_FREE char *log = NULL;

    assert_int_equal(world_run_server(world, flags), 2);
    log = world_log(world);
    assert_non_null(strstr(log, "hubcached: "));
}

/* --check-config finds all that the start finds. */
static void bad_usage_exits_with_2(void **state)
{
    static const char *const bad[][3] = {
        {"--no-such-flag", NULL, NULL},        {"--workers", "none", NULL},
        {"--grace-period", "5 minutes", NULL}, {"--log-level", "loud", NULL},
        {"--endpoint", "ftp://hub", NULL},     {"--token-file", "/no/such/file", NULL},
        {"--ca-file", "/no/such/file", NULL},  {"--mirror", "foo", NULL},
        {"--listen", "nowhere", NULL},         {"--listen", "unix:", NULL},
        {"--http-listen", "nowhere", NULL},    {"--auth-tokens", "/no/such/file", NULL},
        {"--log-format", "xml", NULL},         {"argument", NULL, NULL}};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(world, bad[i]);
        assert_refused(world, (const char *const[]){"--check-config", bad[i][0],
                                                    bad[i][1], NULL});
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(sigterm_lets_a_running_call_finish),
        TEST(a_second_sigterm_ends_running_calls),
        TEST_EMPTY(when_the_grace_period_is_over_running_calls_end),
        TEST_EMPTY(a_watcher_gets_an_answer_at_the_end_of_the_grace_period),
        TEST_EMPTY(a_thread_that_hangs_does_not_keep_the_process_alive),
#ifdef HANGING_LIBRARY
        TEST_EMPTY(a_library_that_hangs_after_everything_else_is_no_failure),
#endif
        TEST(an_address_in_use_is_an_error),
        TEST_EMPTY(metrics_and_status_are_served_over_http),
        TEST_EMPTY(a_configuration_file_is_read_and_flags_replace_it),
        TEST_EMPTY(an_unknown_key_is_an_error_with_its_line),
        TEST_EMPTY(bad_usage_exits_with_2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
