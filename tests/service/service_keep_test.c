/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: hubcached fetches what the policy keeps before a caller asks for it, and
 * rolls out a branch that moves while callers get the old commit; a server that stops in
 * the middle leaves that to the next one.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

#define STATE(name) "\nhubcache_kept_revisions{state=\"" name "\"} "
#define ROLLED_OUT "\nhubcache_roll_outs_total{result=\"success\"} "
#define FAILED "\nhubcache_roll_outs_total{result=\"failure\"} "

enum { ASKED_MAX = 1000000, LARGE = 200000 };

/* A server that keeps org/name, and asks every second. */
static void serve(struct world *world)
{
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "policy.yaml");

    temp_dir_write(world->dir, "policy.yaml",
                   "version: 1\ndefault: allow\n"
                   "keep: [{repo: org/name, revision: main}]\n");
    world_serve(world,
                (const char *const[]){"--http-listen", "127.0.0.1:0", "--policy", path,
                                      "--keep-interval", "1s", "--max-staleness", "1ms",
                                      "--grace-period", "0", NULL});
}

static int keep_setup(void **state)
{
    (void)world_setup_empty(state);
    serve(*state);
    return 0;
}

static void await_gauge(struct world *world, const char *name, unsigned value)
{
    for (unsigned i = 0; world_gauge(world, name) != value; i++)
        assert_true(i < ASKED_MAX);
}

/* The commit at which config.json is answered; borrowed until the next call. */
static const char *commit_answered(struct world *world,
                                   Hubcache__V1__FetchOptions *options)
{
    static char commit[41];
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    Hubcache__V1__ResolveFileResponse *response;
    struct rpc_call *call;

    request.options = options;
    call = ask_file(world, &request);
    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s", rpc_call_error(call));
    response = (void *)rpc_call_message(call, 0,
                                        &hubcache__v1__resolve_file_response__descriptor);
    assert_false(response->file->stale);
    (void)snprintf(commit, sizeof commit, "%s", response->file->commit_hash);
    hubcache__v1__resolve_file_response__free_unpacked(response, NULL);
    rpc_call_free(call);
    return commit;
}

/* The branch moves, and the server stands still in a file of the new commit. */
static void roll_out_until_stall(struct world *world, char commit[41])
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1000});
    test_hub_add(world->hub, "config.json", "{\"v\": 2}", 8, false);
    test_hub_add_generated(world->hub, "new.bin", LARGE, 5, true);
    test_hub_commit(world->hub, "models/org/name", "main", commit);
    test_hub_await_stall(world->hub);
}

static void what_is_kept_is_fetched_before_a_caller_asks(void **state)
{
    struct world *world = *state;
    Hubcache__V1__FetchOptions options;

    await_gauge(world, STATE("complete"), 1);
    assert_int_equal(world_gauge(world, ROLLED_OUT), 1);
    hubcache__v1__fetch_options__init(&options);
    options.local_files_only = true;
    assert_string_equal(commit_answered(world, &options), world->commit);
}

static void callers_get_the_old_commit_until_the_new_one_is_whole(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *page = NULL, *log = NULL;
    char next[41];

    await_gauge(world, STATE("complete"), 1);
    roll_out_until_stall(world, next);
    assert_int_equal(world_gauge(world, STATE("behind")), 1);
    for (unsigned i = 0; i < 10; i++)
        assert_string_equal(commit_answered(world, NULL), world->commit);
    page = world_get(world, "/status.json");
    assert_non_null(strstr(page, next));
    assert_non_null(strstr(page, "\"fetching\":true"));
    test_hub_release(world->hub);
    await_gauge(world, STATE("complete"), 1);

    assert_string_equal(commit_answered(world, NULL), next);
    assert_int_equal(world_gauge(world, ROLLED_OUT), 2);
    log = world_log(world);
    assert_non_null(strstr(log, "kept revision rolled out"));
}

static void a_failure_leaves_the_old_commit_and_is_told(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;
    char next[41];

    await_gauge(world, STATE("complete"), 1);
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .fault = TEST_HUB_CORRUPT,
                                                      .number = 10});
    test_hub_add(world->hub, "config.json", "{\"v\": 2}", 8, false);
    test_hub_add_generated(world->hub, "new.bin", LARGE, 5, true);
    test_hub_commit(world->hub, "models/org/name", "main", next);
    await_gauge(world, STATE("failing"), 1);
    assert_true(world_gauge(world, FAILED) > 0);
    assert_true(world_gauge(world, "\nhubcache_kept_behind_since_timestamp_seconds ") >
                0);
    assert_string_equal(commit_answered(world, NULL), world->commit);
    test_hub_clear_rules(world->hub);
    await_gauge(world, STATE("complete"), 1);
    assert_string_equal(commit_answered(world, NULL), next);
    log = world_log(world);
    assert_non_null(strstr(log, "roll-out failed"));
    assert_non_null(strstr(log, "CHECKSUM_MISMATCH"));
}

static void the_next_server_goes_on_with_a_roll_out(void **state)
{
    struct world *world = *state;
    char next[41];

    await_gauge(world, STATE("complete"), 1);
    roll_out_until_stall(world, next);
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
    rpc_client_close(world->client);
    test_hub_release(world->hub);
    serve(world);
    await_gauge(world, STATE("complete"), 1);
    assert_string_equal(commit_answered(world, NULL), next);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, keep_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(what_is_kept_is_fetched_before_a_caller_asks),
        WORLD_TEST(callers_get_the_old_commit_until_the_new_one_is_whole),
        WORLD_TEST(a_failure_leaves_the_old_commit_and_is_told),
        WORLD_TEST(the_next_server_goes_on_with_a_roll_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
