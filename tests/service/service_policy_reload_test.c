/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a policy file that was changed takes effect on SIGHUP, and without it within
 * seconds; each call is decided by one file as a whole, also while the file is replaced;
 * a wrong file changes nothing, and the log, /healthz and the metrics say so; a server
 * does not start with a wrong file, nor does --check-config accept it: the message has
 * file, line and column.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <errno.h>
#include <hubcache/error.h>
#include <signal.h>
#include <string.h>

#define SUCCEEDED "\nhubcache_policy_reads_total{result=\"success\"} "
#define FAILED "\nhubcache_policy_reads_total{result=\"failure\"} "
#define IN_USE "\nhubcache_policy_file_in_use "
#define WAITING "\nhubcache_waiting_calls "

enum { ASKED_MAX = 1000000, POLICIES = 2, ROUNDS = 30, CALLS = 8 };

/* Each denies the file that the other one allows. */
static const struct {
    const char *text, *rule, *excluded;
} policies[POLICIES] = {
    {"version: 1\nrules:\n- {name: no-bin, files: ['*.bin'], action: deny}\n", "no-bin",
     "weights.bin"},
    {"version: 1\nrules:\n- {name: no-json, files: ['*.json'], action: deny}\n",
     "no-json", "config.json"},
};

static const char wrong[] =
    "version: 1\nrules:\n- {name: r, files: ['*.bin'], acton: x}\n";

/* ---- the world --------------------------------------------------------------------- */

/* By rename, as an editor or a ConfigMap does it: a reader sees one or the other. */
static void policy_put(struct world *world, const char *text)
{
    HC_AUTO_FREE char *next = temp_dir_path(world->dir, "next");
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "policy.yaml");

    temp_dir_write(world->dir, "next", text);
    assert_int_equal(rename(next, path), 0);
}

static int reload_setup(void **state)
{
    struct world *world;
    HC_AUTO_FREE char *path = NULL;

    (void)world_setup_empty(state);
    world = *state;
    path = temp_dir_path(world->dir, "policy.yaml");
    policy_put(world, policies[0].text);
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", "--policy",
                                             path, "--grace-period", "0", NULL});
    return 0;
}

static void await_gauge(struct world *world, const char *name, unsigned least)
{
    for (unsigned i = 0; world_gauge(world, name) < least; i++)
        assert_true(i < ASKED_MAX);
}

/* The thread that looks at the file by itself may have read it, too. */
static void reload_with(struct world *world, const char *text, const char *result)
{
    unsigned before = world_gauge(world, result);

    policy_put(world, text);
    assert_int_equal(kill(world->server, SIGHUP), 0);
    await_gauge(world, result, before + 1);
}

/* ---- calls ------------------------------------------------------------------------- */

static struct rpc_call *start_snapshot(struct world *world)
{
    const Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();

    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                .message = &request.base});
}

/* Both files by name: the first that is denied fails the call. */
static struct rpc_call *start_files(struct world *world)
{
    char json[] = "config.json", bin[] = "weights.bin";
    char *names[] = {json, bin};
    Hubcache__V1__ResolveFilesRequest request;
    Hubcache__V1__ResolveFileRequest one = file_request("");

    hubcache__v1__resolve_files_request__init(&request);
    request.repo_id = one.repo_id;
    request.filenames = names;
    request.n_filenames = 2;
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveFiles"),
                                                .message = &request.base});
}

/* Which policy a snapshot was decided by: exactly the one file of it is left out. */
static unsigned snapshot_policy(struct rpc_call *call)
{
    ProtobufCMessage *message;
    const Hubcache__V1__ResolveSnapshotResponse *answer;
    unsigned policy;

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    message =
        rpc_call_message(call, 0, &hubcache__v1__resolve_snapshot_response__descriptor);
    answer = (const void *)message;
    assert_int_equal(answer->file_count, 1);
    assert_int_equal(answer->excluded_total, 1);
    assert_int_equal(answer->n_excluded, 1);
    policy = strcmp(answer->excluded[0], policies[0].excluded) == 0 ? 0 : 1;
    assert_string_equal(answer->excluded[0], policies[policy].excluded);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
    return policy;
}

/* The rule and the file that is named belong together. */
static unsigned files_policy(struct rpc_call *call)
{
    unsigned policy;

    assert_int_equal(rpc_call_await(call), HC_STATUS_PERMISSION_DENIED);
    policy = strcmp(rpc_call_error_info(call, "rule"), policies[0].rule) == 0 ? 0 : 1;
    assert_string_equal(rpc_call_error_info(call, "rule"), policies[policy].rule);
    assert_non_null(strstr(rpc_call_error(call), policies[policy].excluded));
    assert_null(strstr(rpc_call_error(call), policies[!policy].excluded));
    rpc_call_free(call);
    return policy;
}

static void assert_holds(struct world *world, unsigned policy)
{
    assert_int_equal(snapshot_policy(start_snapshot(world)), policy);
    assert_int_equal(files_policy(start_files(world)), policy);
}

/* ---- tests ------------------------------------------------------------------------- */

/* Calls that begin before it may be decided by either, later ones by the new one. */
static void no_call_is_decided_by_two_files(void **state)
{
    struct world *world = *state;

    for (unsigned round = 1; round <= ROUNDS; round++) {
        unsigned before = world_gauge(world, SUCCEEDED);
        struct rpc_call *calls[CALLS];

        policy_put(world, policies[round % POLICIES].text);
        for (unsigned i = 0; i < CALLS; i++) {
            calls[i] = i % 2 == 0 ? start_snapshot(world) : start_files(world);
            if (i == CALLS / 2)
                assert_int_equal(kill(world->server, SIGHUP), 0);
        }
        await_gauge(world, SUCCEEDED, before + 1);
        for (unsigned i = 0; i < CALLS; i++)
            (void)(i % 2 == 0 ? snapshot_policy(calls[i]) : files_policy(calls[i]));
        assert_holds(world, round % POLICIES);
    }
    assert_int_equal(world_gauge(world, FAILED), 0);
}

/* The first call waits for the Hub when the file is replaced. */
static void a_later_call_does_not_join_one_of_the_old_file(void **state)
{
    struct world *world = *state;
    struct rpc_call *old, *later;

    test_hub_rule(world->hub,
                  &(struct test_hub_rule){.contains = "/api/", .fault = TEST_HUB_STALL});
    old = start_snapshot(world);
    test_hub_await_stall(world->hub);
    reload_with(world, policies[1].text, SUCCEEDED);
    later = start_snapshot(world);
    await_gauge(world, WAITING, 2);
    test_hub_clear_rules(world->hub);
    test_hub_release(world->hub);
    assert_int_equal(snapshot_policy(old), 0);
    assert_int_equal(snapshot_policy(later), 1);
}

static void a_changed_file_is_read_without_a_signal(void **state)
{
    struct world *world = *state;

    assert_holds(world, 0);
    policy_put(world, policies[1].text);
    await_gauge(world, SUCCEEDED, 1);
    assert_holds(world, 1);
}

static void assert_page_tells(struct world *world, const char *path, const char *text,
                              bool tells)
{
    HC_AUTO_FREE char *page = world_get(world, path);

    if ((strstr(page, text) != NULL) != tells)
        fail_msg("%s: '%s' %s\n%s", path, text, tells ? "is missing" : "is there", page);
}

static void a_wrong_file_changes_nothing_and_is_told(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    assert_int_equal(world_gauge(world, IN_USE), 1);
    assert_page_tells(world, "/healthz", "policy", false);
    reload_with(world, wrong, FAILED);
    assert_holds(world, 0);
    assert_int_equal(world_gauge(world, IN_USE), 0);
    assert_page_tells(world, "/healthz", "200", true);
    assert_page_tells(world, "/healthz", "the newer policy is wrong", true);
    assert_page_tells(world, "/status.json", "policy.yaml:3:", true);

    reload_with(world, policies[1].text, SUCCEEDED);
    assert_holds(world, 1);
    assert_int_equal(world_gauge(world, IN_USE), 1);
    assert_page_tells(world, "/healthz", "policy", false);
    log = world_log(world);
    assert_non_null(strstr(log, "policy not read again: the old one holds"));
    assert_non_null(strstr(log, "policy.yaml:3:31: "));
}

static void a_server_does_not_start_with_a_wrong_file(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "policy.yaml");
    const char *const checks[] = {NULL, "--check-config"};

    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        HC_AUTO_FREE char *log = NULL;

        policy_put(world, wrong);
        assert_int_not_equal(
            world_run_server(world,
                             (const char *const[]){"--listen", "127.0.0.1:0", "--policy",
                                                   path, checks[i], NULL}),
            0);
        log = temp_dir_read(world->dir, "log");
        assert_non_null(strstr(log, "policy.yaml:3:31: "));
    }
    policy_put(world, policies[0].text);
    assert_int_equal(world_run_server(world,
                                      (const char *const[]){"--policy", path,
                                                            "--check-config", NULL}),
                     0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reload_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(no_call_is_decided_by_two_files),
        TEST(a_later_call_does_not_join_one_of_the_old_file),
        TEST(a_changed_file_is_read_without_a_signal),
        TEST(a_wrong_file_changes_nothing_and_is_told),
        cmocka_unit_test_setup_teardown(a_server_does_not_start_with_a_wrong_file,
                                        world_setup_empty, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
