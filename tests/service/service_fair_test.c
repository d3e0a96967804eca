/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: however many misses of one slow repo there are, and however many calls were
 * given up, files and snapshots that are on disk are answered, and so are misses of other
 * repos.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

enum { MISSES = 64, GIVEN_UP = 4200, PATIENCE_MS = 5000, TEN_MINUTES_MS = 600000 };

/* Whatever is asked about the repo, the Hub is slow to answer; until the test ends. */
static void slow_down(struct world *world, const char *repo)
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.contains = repo,
                                                      .fault = TEST_HUB_DELAY,
                                                      .number = TEN_MINUTES_MS});
}

/* A miss of a file of its own. */
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

/* Ends the test rather than waiting for ever. */
static struct rpc_call *ask(struct world *world, const char *path,
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

static void ask_for_all(struct world *world)
{
    const Hubcache__V1__ResolveFileRequest file = file_request("config.json");
    Hubcache__V1__ResolveSnapshotRequest snapshot = snapshot_request();
    Hubcache__V1__FetchOptions options;

    rpc_call_free(ask(world, METHOD("ResolveFile"), &file.base));
    rpc_call_free(ask(world, METHOD("ResolveSnapshot"), &snapshot.base));
    hubcache__v1__fetch_options__init(&options);
    options.local_files_only = true;
    snapshot.options = &options;
    rpc_call_free(ask(world, METHOD("ResolveSnapshot"), &snapshot.base));
}

static void what_is_on_disk_and_other_repos_do_not_wait_for_a_slow_repo(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest weights = file_request("weights.bin");
    Hubcache__V1__ResolveFileRequest other = file_request("other.json");
    struct rpc_call *misses[MISSES];
    char commit[41];

    ask_for_all(world);
    test_hub_add(world->hub, "other.json", "[]\n", 3, false);
    test_hub_commit(world->hub, "models/org/other", "main", commit);
    slow_down(world, "org/slow");
    for (unsigned i = 0; i < MISSES; i++)
        misses[i] = start_miss(world, "org/slow", i);
    ask_for_all(world);
    rpc_call_free(ask(world, METHOD("ResolveFile"), &weights.base));
    other.repo_id = strdup("org/other");
    rpc_call_free(ask(world, METHOD("ResolveFile"), &other.base));
    free(other.repo_id);
    for (unsigned i = 0; i < MISSES; i++)
        give_up(misses[i]);
}

static void calls_that_were_given_up_leave_no_trace_in_the_queue(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest other = file_request("weights.bin");
    struct rpc_call *misses[MISSES];

    slow_down(world, "org/slow");
    for (unsigned i = 0; i < MISSES; i++)
        misses[i] = start_miss(world, "org/slow", i);
    for (unsigned i = 0; i < GIVEN_UP; i++)
        give_up(start_miss(world, "org/slow", MISSES + i));
    rpc_call_free(ask(world, METHOD("ResolveFile"), &other.base));
    for (unsigned i = 0; i < MISSES; i++)
        give_up(misses[i]);
}

static void a_snapshot_that_is_given_up_leaves_the_queue_too(void **state)
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
    ask_for_all(world);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_on_disk_and_other_repos_do_not_wait_for_a_slow_repo),
        TEST(calls_that_were_given_up_leave_no_trace_in_the_queue),
        TEST(a_snapshot_that_is_given_up_leaves_the_queue_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
