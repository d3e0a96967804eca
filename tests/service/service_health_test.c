/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: health tells whether the server can serve. While the volume is gone,
 * replaced by another directory, or hangs, the server as a whole and the Resolver are
 * NOT_SERVING, and SERVING again without a restart when the volume is back; watchers get
 * each change. "liveness" depends on nothing, reflection and health not on the volume.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <grpc/health/v1/health.pb-c.h>
#include <hubcache/error.h>
#include <string.h>
#include <sys/stat.h>

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

enum { WATCHERS = 40 };

static const char *const services_of_the_volume[] = {"", "hubcache.v1.Resolver"};
static const char *const other_services[] = {"grpc.health.v1.Health",
                                             "grpc.reflection.v1.ServerReflection",
                                             "grpc.reflection.v1alpha.ServerReflection",
                                             "liveness"};

static struct rpc_call *health_start(struct world *world, const char *method,
                                     const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request;

    grpc__health__v1__health_check_request__init(&request);
    memcpy(&request.service, &service, sizeof request.service);
    return rpc_call_start(world->client, &(struct rpc_request){.path = method,
                                                               .message = &request.base});
}

static struct rpc_call *watch_start(struct world *world, const char *service)
{
    return health_start(world, "/grpc.health.v1.Health/Watch", service);
}

static int health_status(struct rpc_call *call, size_t number)
{
    ProtobufCMessage *message =
        rpc_call_message(call, number,
                         &grpc__health__v1__health_check_response__descriptor);
    const Grpc__Health__V1__HealthCheckResponse *answer = (const void *)message;
    int status = (int)answer->status;

    protobuf_c_message_free_unpacked(message, NULL);
    return status;
}

static void assert_check(struct world *world, const char *service, int expected)
{
    struct rpc_call *call = health_start(world, "/grpc.health.v1.Health/Check", service);

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    assert_int_equal(health_status(call, 0), expected);
    rpc_call_free(call);
}

static void assert_checks(struct world *world, int of_the_volume)
{
    for (size_t i = 0; i < 2; i++)
        assert_check(world, services_of_the_volume[i], of_the_volume);
    for (size_t i = 0; i < 4; i++)
        assert_check(world, other_services[i], STATUS(SERVING));
}

/* Waits for message `number` of a watch, from 0. */
static void await_status(struct rpc_call *watch, size_t number, int expected)
{
    assert_int_equal(rpc_call_await_messages(watch, number + 1), number + 1);
    assert_int_equal(health_status(watch, number), expected);
}

static void move_cache(struct world *world, const char *from, const char *to)
{
    HC_AUTO_FREE char *source = temp_dir_path(world->dir, from);
    HC_AUTO_FREE char *target = temp_dir_path(world->dir, to);

    assert_int_equal(rename(source, target), 0);
}

static void give_up(struct rpc_call *call)
{
    rpc_call_cancel(call);
    rpc_call_free(call);
}

static void every_name_is_known_and_others_are_not(void **state)
{
    struct world *world = *state;
    struct rpc_call *unknown =
        health_start(world, "/grpc.health.v1.Health/Check", "hubcache.v2.Resolver");
    struct rpc_call *later = watch_start(world, "hubcache.v2.Resolver");

    assert_checks(world, STATUS(SERVING));
    assert_int_equal(rpc_call_await(unknown), HC_STATUS_NOT_FOUND);
    await_status(later, 0, STATUS(SERVICE_UNKNOWN));
    rpc_call_free(unknown);
    give_up(later);
}

static void a_volume_that_is_gone_and_back_is_unusable_meanwhile(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest file = file_request("config.json");
    struct rpc_call *watches[WATCHERS];
    struct rpc_call *alive = watch_start(world, "liveness");
    struct rpc_call *call;

    for (size_t i = 0; i < WATCHERS; i++)
        watches[i] = watch_start(world, services_of_the_volume[i % 2]);
    for (size_t i = 0; i < WATCHERS; i++)
        await_status(watches[i], 0, STATUS(SERVING));
    move_cache(world, "cache", "elsewhere");
    for (size_t i = 0; i < WATCHERS; i++)
        await_status(watches[i], 1, STATUS(NOT_SERVING));
    assert_checks(world, STATUS(NOT_SERVING));
    move_cache(world, "elsewhere", "cache");
    for (size_t i = 0; i < WATCHERS; i++)
        await_status(watches[i], 2, STATUS(SERVING));
    assert_checks(world, STATUS(SERVING));
    call = ask_file(world, &file);
    assert_answers_file(world, call, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    rpc_call_free(call);
    for (size_t i = 0; i < WATCHERS; i++)
        give_up(watches[i]);
    assert_int_equal(rpc_call_await_messages(alive, 1), 1);
    give_up(alive);
}

/* The main thread sets it just after it has told health. */
static void await_gauge(struct world *world, int expected)
{
    char line[64];
    bool is_expected = false;

    (void)snprintf(line, sizeof line, "\nhubcache_volume_usable %d\n", expected);
    while (!is_expected) {
        HC_AUTO_FREE char *metrics = world_get(world, "/metrics");

        is_expected = strstr(metrics, line);
    }
}

static void assert_page(struct world *world, const char *path, const char *status)
{
    HC_AUTO_FREE char *page = world_get(world, path);

    assert_non_null(strstr(page, status));
}

/* As after an unmount, which uncovers the directory below. */
static void an_empty_directory_in_the_place_of_the_cache_is_unusable(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "cache");
    HC_AUTO_FREE char *log = NULL;
    struct rpc_call *watch;

    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    watch = watch_start(world, "");
    await_status(watch, 0, STATUS(SERVING));
    move_cache(world, "cache", "elsewhere");
    assert_int_equal(mkdir(path, 0700), 0);
    await_status(watch, 1, STATUS(NOT_SERVING));
    await_gauge(world, 0);
    assert_page(world, "/readyz", " 503 ");
    assert_page(world, "/healthz", " 200 ");
    assert_page(world, "/", "volume unusable");
    assert_int_equal(rmdir(path), 0);
    move_cache(world, "elsewhere", "cache");
    await_status(watch, 2, STATUS(SERVING));
    await_gauge(world, 1);
    assert_page(world, "/readyz", " 200 ");
    give_up(watch);
    log = world_log(world);
    assert_non_null(strstr(log, "volume unusable"));
    assert_non_null(strstr(log, "volume usable again"));
}

static void the_stop_is_the_last_message_of_every_watch(void **state)
{
    struct world *world = *state;
    struct rpc_call *watches[4];
    static const char *const names[] = {"", "grpc.health.v1.Health", "liveness", "?"};
    static const int last[] = {STATUS(NOT_SERVING), STATUS(NOT_SERVING), STATUS(SERVING),
                               STATUS(SERVICE_UNKNOWN)};

    for (size_t i = 0; i < 4; i++) {
        watches[i] = watch_start(world, names[i]);
        assert_int_equal(rpc_call_await_messages(watches[i], 1), 1);
    }
    world_stop_server(world);
    for (size_t i = 0; i < 4; i++) {
        await_status(watches[i], 1, last[i]);
        assert_int_equal(rpc_call_await(watches[i]), HC_STATUS_OK);
        rpc_call_free(watches[i]);
    }
    assert_int_equal(world_await_end(world), 0);
}

#ifdef SLOW_VOLUME
static void a_volume_that_hangs_is_unusable_until_it_answers(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *fifo = temp_dir_path(world->dir, "hang-probe");
    struct rpc_call *watch;
    HC_AUTO_CLOSE int writer = -1;

    world->preload = SLOW_VOLUME;
    world_serve(world, (const char *const[]){NULL});
    watch = watch_start(world, "");
    await_status(watch, 0, STATUS(SERVING));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    await_status(watch, 1, STATUS(NOT_SERVING));
    assert_checks(world, STATUS(NOT_SERVING));
    writer = open(fifo, O_WRONLY | O_CLOEXEC); /* the probe continues */
    assert_true(writer >= 0);
    assert_int_equal(unlink(fifo), 0);
    await_status(watch, 2, STATUS(SERVING));
    give_up(watch);
}

/* The scan of the cache hangs at a blob; the page says what there is to say. */
static void the_status_page_does_not_wait_for_a_volume_that_hangs(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *fifo = temp_dir_path(world->dir, "hang");
    HC_AUTO_CLOSE int writer = -1;
    bool is_scanned = false;

    world->preload = SLOW_VOLUME;
    world->hanging = "blob-that-hangs";
    temp_dir_write(world->dir, "cache/models--org--other/blobs/blob-that-hangs", "12345");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    assert_page(world, "/", "The first scan of the cache is under way.");
    assert_page(world, "/status.json", "\"cache\":null");
    writer = open(fifo, O_WRONLY | O_CLOEXEC); /* once the scan waits: it continues */
    assert_true(writer >= 0);
    assert_int_equal(unlink(fifo), 0);
    while (!is_scanned) {
        HC_AUTO_FREE char *page = world_get(world, "/");

        is_scanned = strstr(page, "1 repo, 1 file, 5 B");
    }
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_name_is_known_and_others_are_not),
        TEST(a_volume_that_is_gone_and_back_is_unusable_meanwhile),
        TEST_EMPTY(an_empty_directory_in_the_place_of_the_cache_is_unusable),
        TEST(the_stop_is_the_last_message_of_every_watch),
#ifdef SLOW_VOLUME
        TEST_EMPTY(a_volume_that_hangs_is_unusable_until_it_answers),
        TEST_EMPTY(the_status_page_does_not_wait_for_a_volume_that_hangs),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
