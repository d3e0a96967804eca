/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: with --hub-access caller, each method answers a call about a private or
 * gated repo only if the Hub gives the repo to the call's own x-hub-token, in every
 * sequence of callers and at the same time, with the Hub's refusal else; offline it names
 * the rule; and no token is in the log.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

#define REPO "models/org/name"
#define ALICE "hf_alice_secret"
#define BOB "hf_bob_secret"

enum { CROWD = 200 };

static int access_setup(void **state)
{
    struct world *world;

    (void)world_setup_empty(state);
    world = *state;
    test_hub_set_access(world->hub, REPO, TEST_HUB_GATED);
    test_hub_set_granted(world->hub, REPO, ALICE, true);
    return 0;
}

static void serve(struct world *world, const char *const *more)
{
    const char *flags[FLAGS_MAX] = {"--hub-access", "caller",      "--log-format",
                                    "json",         "--log-level", "info"};

    for (size_t i = 0; more[i]; i++)
        flags[6 + i] = more[i];
    world_serve(world, flags);
}

static void serve_again(struct world *world, const char *const *more)
{
    rpc_client_close(world->client);
    world->client = NULL;
    world_stop_server(world);
    (void)world_await_end(world);
    serve(world, more);
}

/* ---- calls of each method ---------------------------------------------------------- */

enum method {
    FILE_METHOD,
    FILES_METHOD,
    SNAPSHOT_METHOD,
    WATCH_METHOD,
    READ_METHOD,
    METHODS
};

/* `timeout_ms` 0: none. */
static struct rpc_call *start(struct world *world, enum method method, const char *token,
                              int64_t timeout_ms)
{
    static const char *const paths[] = {METHOD("ResolveFile"), METHOD("ResolveFiles"),
                                        METHOD("ResolveSnapshot"),
                                        METHOD("WatchSnapshot"), METHOD("ReadFile")};
    Hubcache__V1__ResolveFileRequest file = file_request("config.json");
    Hubcache__V1__ResolveFilesRequest files;
    Hubcache__V1__ResolveSnapshotRequest snapshot = snapshot_request();
    Hubcache__V1__WatchSnapshotRequest watch;
    Hubcache__V1__ReadFileRequest read;
    const ProtobufCMessage *const messages[] = {&file.base, &files.base, &snapshot.base,
                                                &watch.base, &read.base};

    hubcache__v1__resolve_files_request__init(&files);
    files.repo_id = file.repo_id;
    files.filenames = &file.filename;
    files.n_filenames = 1;
    hubcache__v1__watch_snapshot_request__init(&watch);
    watch.snapshot = &snapshot;
    hubcache__v1__read_file_request__init(&read);
    read.file = &file;
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = paths[method],
                                                .message = messages[method],
                                                .token = token,
                                                .timeout_ms = timeout_ms});
}

static void assert_ends(struct rpc_call *call, const char *reason)
{
    unsigned status = rpc_call_await(call);
    const char *got = status == HC_STATUS_OK ? "OK" : rpc_call_reason(call);

    if (strcmp(got, reason) != 0)
        fail_msg("%s instead of %s: %s", got, reason, rpc_call_error(call));
    rpc_call_free(call);
}

static void assert_each_method_ends(struct world *world, const char *token,
                                    const char *reason)
{
    for (enum method method = FILE_METHOD; method < METHODS; method++)
        assert_ends(start(world, method, token, 0), reason);
}

/* ---- tests ------------------------------------------------------------------------- */

static void each_method_answers_callers_with_access_only(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    serve(world, (const char *const[]){NULL});
    assert_each_method_ends(world, BOB, "GATED_REPO"); /* a miss */
    assert_each_method_ends(world, NULL, "GATED_REPO");
    assert_each_method_ends(world, ALICE, "OK");
    assert_each_method_ends(world, BOB, "GATED_REPO"); /* a hit */
    assert_each_method_ends(world, NULL, "GATED_REPO");
    serve_again(world, (const char *const[]){NULL});
    assert_each_method_ends(world, NULL, "GATED_REPO");
    assert_each_method_ends(world, ALICE, "OK");
    assert_each_method_ends(world, BOB, "GATED_REPO");
    log = world_log(world);
    assert_null(strstr(log, "_secret"));
}

static void a_private_repo_does_not_exist_for_the_others(void **state)
{
    struct world *world = *state;

    test_hub_set_access(world->hub, REPO, TEST_HUB_PRIVATE);
    serve(world, (const char *const[]){NULL});
    assert_each_method_ends(world, BOB, "REPO_NOT_FOUND");
    assert_each_method_ends(world, ALICE, "OK");
    assert_each_method_ends(world, BOB, "REPO_NOT_FOUND");
    assert_each_method_ends(world, NULL, "REPO_NOT_FOUND");
}

/* Nothing that equal calls share goes from one token to another. */
static void callers_at_the_same_time_get_what_is_theirs(void **state)
{
    static const char *const tokens[] = {ALICE, BOB, NULL};
    static const char *const reasons[] = {"OK", "GATED_REPO", "GATED_REPO"};
    struct world *world = *state;
    struct rpc_call *calls[CROWD];

    serve(world, (const char *const[]){NULL});
    for (int round = 0; round < 2; round++) { /* misses, then hits */
        for (int i = 0; i < CROWD; i++)
            calls[i] = start(world, (enum method)(i / 3 % METHODS), tokens[i % 3], 0);
        for (int i = 0; i < CROWD; i++)
            assert_ends(calls[i], reasons[i % 3]);
    }
}

static void access_that_is_taken_away_ends_after_the_time_to_live(void **state)
{
    struct world *world = *state;

    serve(world, (const char *const[]){"--hub-access-ttl", "0", NULL});
    assert_each_method_ends(world, ALICE, "OK");
    test_hub_set_granted(world->hub, REPO, ALICE, false);
    assert_each_method_ends(world, ALICE, "GATED_REPO");
    test_hub_set_granted(world->hub, REPO, BOB, true);
    assert_each_method_ends(world, BOB, "OK");
}

/* Of a public repo, answers are given again from their bytes. */
static void a_repo_that_is_public_no_more_is_answered_to_no_stranger(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest now = file_request("config.json");
    Hubcache__V1__FetchOptions options;
    Google__Protobuf__Duration none;

    hubcache__v1__fetch_options__init(&options);
    google__protobuf__duration__init(&none);
    options.max_staleness = &none;
    now.options = &options;
    test_hub_set_access(world->hub, REPO, TEST_HUB_PUBLIC);
    serve(world, (const char *const[]){NULL});
    for (int i = 0; i < 20; i++)
        assert_each_method_ends(world, i % 2 ? BOB : NULL, "OK");
    test_hub_set_access(world->hub, REPO, TEST_HUB_PRIVATE);
    assert_ends(ask_file(world, &now), "REPO_NOT_FOUND");
    assert_each_method_ends(world, NULL, "REPO_NOT_FOUND");
    assert_each_method_ends(world, BOB, "REPO_NOT_FOUND");
    assert_each_method_ends(world, ALICE, "OK");
}

/* The failure comes when the next retry would be after the deadline. */
static void while_the_hub_is_down_only_what_is_remembered_counts(void **state)
{
    struct world *world = *state;

    serve(world, (const char *const[]){NULL});
    assert_each_method_ends(world, ALICE, "OK");
    test_hub_rule(world->hub, &(struct test_hub_rule){.fault = TEST_HUB_CLOSE});
    assert_each_method_ends(world, ALICE, "OK");
    for (enum method method = FILE_METHOD; method < METHODS; method++) {
        struct rpc_call *call = start(world, method, BOB, 1500);

        assert_int_equal(rpc_call_await(call), HC_STATUS_UNAVAILABLE);
        assert_string_equal(rpc_call_reason(call), "HUB_UNREACHABLE");
        assert_true(rpc_call_retry_ms(call) > 0);
        rpc_call_free(call);
    }
}

static void offline_the_failure_names_the_rule(void **state)
{
    struct world *world = *state;
    struct rpc_call *call;

    serve(world, (const char *const[]){NULL});
    assert_each_method_ends(world, ALICE, "OK");
    serve_again(world, (const char *const[]){"--offline", NULL});
    assert_each_method_ends(world, ALICE, "POLICY_DENIED");
    call = start(world, FILE_METHOD, ALICE, 0);
    assert_int_equal(rpc_call_await(call), HC_STATUS_PERMISSION_DENIED);
    assert_string_equal(rpc_call_error_info(call, "rule"), "hub-access");
    rpc_call_free(call);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, access_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_method_answers_callers_with_access_only),
        TEST(a_private_repo_does_not_exist_for_the_others),
        TEST(callers_at_the_same_time_get_what_is_theirs),
        TEST(access_that_is_taken_away_ends_after_the_time_to_live),
        TEST(a_repo_that_is_public_no_more_is_answered_to_no_stranger),
        TEST(while_the_hub_is_down_only_what_is_remembered_counts),
        TEST(offline_the_failure_names_the_rule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
