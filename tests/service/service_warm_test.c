/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: with `warm` the files of the answer come into the page cache after the
 * answer, however the answer was found, and only then; equal requests cost one read.
 */
#include "page_cache.h"
#include "service_fixture.h"

#include <base/auto.h>

#include <limits.h>
#include <string.h>

enum { ASKED_MAX = 1000000, SAME = 50 };

static int warm_setup(void **state)
{
    (void)world_setup_empty(state);
    world_serve(*state, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    return 0;
}

/* The LFS file, the largest of the repo. Static: skip() frees nothing. */
static const char *weights_path(const struct world *world)
{
    static char path[PATH_MAX];
    char relative[256];
    HC_AUTO_FREE char *absolute = NULL;

    (void)snprintf(relative, sizeof relative,
                   "cache/models--org--name/snapshots/%s/weights.bin", world->commit);
    absolute = temp_dir_path(world->dir, relative);
    (void)snprintf(path, sizeof path, "%s", absolute);
    return path;
}

static void await_warmed(struct world *world, unsigned bytes)
{
    for (unsigned i = 0; world_gauge(world, "\nhubcache_warmed_bytes_total ") < bytes;
         i++)
        assert_true(i < ASKED_MAX);
}

/* Ends the test, when the file system has no pages that can be dropped. Pages that the
 * kernel is working on stay for a moment. */
static void make_cold(const char *path)
{
    for (int i = 0; i < 1000; i++) {
        page_cache_drop(path);
        if (page_cache_resident(path) == 0)
            return;
    }
    skip();
}

static Hubcache__V1__FetchOptions *warm_options(void)
{
    static Hubcache__V1__FetchOptions options;

    hubcache__v1__fetch_options__init(&options);
    options.warm = true;
    return &options;
}

static void ask_snapshot(struct world *world, Hubcache__V1__FetchOptions *options)
{
    Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();
    struct rpc_call *call;

    request.options = options;
    call = rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                .message = &request.base});
    assert_int_equal(rpc_call_await(call), 0);
    rpc_call_free(call);
}

static void ask_weights(struct world *world, Hubcache__V1__FetchOptions *options)
{
    Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_call *call;

    request.options = options;
    call = ask_file(world, &request);
    assert_int_equal(rpc_call_await(call), 0);
    rpc_call_free(call);
}

static void the_files_of_a_snapshot_are_resident(void **state)
{
    struct world *world = *state;
    const char *weights = weights_path(world);

    ask_snapshot(world, NULL);
    make_cold(weights);
    ask_snapshot(world, warm_options());

    await_warmed(world, WEIGHTS_SIZE);
    assert_int_equal(page_cache_resident(weights), WEIGHTS_SIZE);
}

/* The answer comes from memory, and is one that would be given again as it is. */
static void a_hit_from_memory_is_warmed_too(void **state)
{
    struct world *world = *state;
    const char *weights = weights_path(world);

    for (unsigned i = 0; i < 3; i++)
        ask_weights(world, NULL);
    make_cold(weights);
    for (unsigned i = 0; i < 3; i++)
        ask_weights(world, NULL);
    assert_int_equal(page_cache_resident(weights), 0);
    ask_weights(world, warm_options());

    await_warmed(world, WEIGHTS_SIZE);
    assert_int_equal(page_cache_resident(weights), WEIGHTS_SIZE);
}

static void several_files_are_warmed(void **state)
{
    struct world *world = *state;
    const char *weights = weights_path(world);
    char config[] = "config.json", large[] = "weights.bin", repo[] = "org/name";
    char *names[] = {config, large};
    Hubcache__V1__ResolveFilesRequest request;
    struct rpc_call *call;

    ask_weights(world, NULL);
    make_cold(weights);
    hubcache__v1__resolve_files_request__init(&request);
    request.repo_id = repo;
    request.filenames = names;
    request.n_filenames = 2;
    request.options = warm_options();
    call = rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveFiles"),
                                                .message = &request.base});
    assert_int_equal(rpc_call_await(call), 0);
    rpc_call_free(call);

    await_warmed(world, WEIGHTS_SIZE);
    assert_int_equal(page_cache_resident(weights), WEIGHTS_SIZE);
}

/* A snapshot with patterns is warmed as far as they select it. */
static void patterns_select_what_is_warmed(void **state)
{
    struct world *world = *state;
    const char *weights = weights_path(world);
    Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();
    char pattern[] = "weights*", *ignore[] = {pattern};
    struct rpc_call *call;

    ask_snapshot(world, NULL);
    make_cold(weights);
    request.options = warm_options();
    request.ignore_patterns = ignore;
    request.n_ignore_patterns = 1;
    call = rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                .message = &request.base});
    assert_int_equal(rpc_call_await(call), 0);
    rpc_call_free(call);
    world_stop_server(world); /* which ends what is being read ahead */
    (void)world_await_end(world);

    assert_int_equal(page_cache_resident(weights), 0);
}

static void many_equal_requests_are_one_read(void **state)
{
    struct world *world = *state;
    const char *weights = weights_path(world);

    ask_weights(world, NULL);
    make_cold(weights);
    for (unsigned i = 0; i < SAME; i++)
        ask_weights(world, warm_options());
    await_warmed(world, WEIGHTS_SIZE);
    page_cache_drop(weights);
    for (unsigned i = 0; i < SAME; i++)
        ask_weights(world, warm_options());

    assert_int_equal(world_gauge(world, "\nhubcache_warmed_bytes_total "), WEIGHTS_SIZE);
    assert_int_equal(world_gauge(world, "\nhubcache_unwarmed_bytes_total "), 0);
}

static void a_dry_run_warms_nothing(void **state)
{
    struct world *world = *state;
    const char *weights = weights_path(world);
    Hubcache__V1__FetchOptions *options = warm_options();

    ask_snapshot(world, NULL);
    make_cold(weights);
    options->dry_run = true;
    ask_snapshot(world, options);
    ask_weights(world, options);
    world_stop_server(world);
    (void)world_await_end(world);

    assert_int_equal(page_cache_resident(weights), 0);
}

static void a_server_that_stops_does_not_wait_for_a_warm_up(void **state)
{
    struct world *world = *state;

    ask_snapshot(world, warm_options());
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, warm_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(the_files_of_a_snapshot_are_resident),
        WORLD_TEST(a_hit_from_memory_is_warmed_too),
        WORLD_TEST(several_files_are_warmed),
        WORLD_TEST(patterns_select_what_is_warmed),
        WORLD_TEST(many_equal_requests_are_one_read),
        WORLD_TEST(a_dry_run_warms_nothing),
        WORLD_TEST(a_server_that_stops_does_not_wait_for_a_warm_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
