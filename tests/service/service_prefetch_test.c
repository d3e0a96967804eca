/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: Prefetch fetches each snapshot and says of each what came of it; a failure
 * of one does not stop the others; it goes on when its caller leaves, holds no thread
 * that other calls use, and ends with the server.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <hubcache/v1/cache.pb-c.h>
#include <string.h>

#define PREFETCH "/hubcache.v1.Cache/Prefetch"
#define FETCHED "\nhubcache_prefetched_snapshots_total{result=\"success\"} "
#define FAILED "\nhubcache_prefetched_snapshots_total{result=\"failure\"} "
#define RUNNING "\nhubcache_running_jobs{pool=\"prefetch\"} "

enum { SNAPSHOTS_MAX = 101, ASKED_MAX = 1000000, THREADS = 4, MANY = 12 };
enum { LARGE = 16 << 20, THROTTLE = 200000 };

static int prefetch_setup(void **state)
{
    (void)world_setup_empty(state);
    world_serve(*state, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                              "--grace-period", "0", NULL});
    return 0;
}

/* A request for these repos; "" is org/name. Borrowed until the next one. */
static const Hubcache__V1__PrefetchRequest *prefetch_request(const char *const *repos,
                                                             size_t count)
{
    static Hubcache__V1__ResolveSnapshotRequest snapshots[SNAPSHOTS_MAX];
    static Hubcache__V1__ResolveSnapshotRequest *list[SNAPSHOTS_MAX];
    static char ids[SNAPSHOTS_MAX][64];
    static Hubcache__V1__PrefetchRequest request;

    hubcache__v1__prefetch_request__init(&request);
    for (size_t i = 0; i < count; i++) {
        snapshots[i] = snapshot_request();
        if (repos && *repos[i]) {
            (void)snprintf(ids[i], sizeof ids[i], "%s", repos[i]);
            snapshots[i].repo_id = ids[i];
        }
        list[i] = &snapshots[i];
    }
    request.snapshots = list;
    request.n_snapshots = count;
    return &request;
}

static struct rpc_call *prefetch_start(struct world *world, const char *const *repos,
                                       size_t count)
{
    return rpc_call_start(
        world->client,
        &(struct rpc_request){.path = PREFETCH,
                              .message = &prefetch_request(repos, count)->base});
}

static void await_gauge(struct world *world, const char *name, unsigned value)
{
    for (unsigned i = 0; world_gauge(world, name) != value; i++)
        assert_true(i < ASKED_MAX);
}

/* The event that is no progress of snapshot `index`: the caller frees. */
static Hubcache__V1__PrefetchResponse *prefetch_outcome(struct rpc_call *call,
                                                        unsigned index)
{
    size_t count = rpc_call_await_messages(call, 0);

    for (size_t i = 0; i < count; i++) {
        Hubcache__V1__PrefetchResponse *event =
            (void *)rpc_call_message(call, i,
                                     &hubcache__v1__prefetch_response__descriptor);

        if (event->index == index &&
            event->event_case != HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_PROGRESS)
            return event;
        hubcache__v1__prefetch_response__free_unpacked(event, NULL);
    }
    fail_msg("nothing is said of snapshot %u", index);
    return NULL;
}

static void hub_stall_weights(struct world *world)
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1000});
}

static void a_failure_does_not_stop_the_others(void **state)
{
    static const char *const repos[] = {"org/missing", "", "no/such/repo"};
    struct world *world = *state;
    struct rpc_call *call = prefetch_start(world, repos, 3);
    Hubcache__V1__PrefetchResponse *first, *second, *third;

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    first = prefetch_outcome(call, 0);
    second = prefetch_outcome(call, 1);
    third = prefetch_outcome(call, 2);
    assert_int_equal(first->event_case, HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_ERROR);
    assert_int_equal(first->error->code, HC_STATUS_NOT_FOUND);
    assert_int_equal(first->error->n_details > 0, true);
    assert_int_equal(second->event_case, HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_RESULT);
    assert_string_equal(second->result->commit_hash, world->commit);
    assert_int_equal(second->result->completeness,
                     HUBCACHE__V1__COMPLETENESS__COMPLETENESS_COMPLETE);
    assert_int_equal(third->error->code, HC_STATUS_INVALID_ARGUMENT);
    hubcache__v1__prefetch_response__free_unpacked(first, NULL);
    hubcache__v1__prefetch_response__free_unpacked(second, NULL);
    hubcache__v1__prefetch_response__free_unpacked(third, NULL);
    rpc_call_free(call);
    assert_int_equal(world_gauge(world, FETCHED), 1);
    assert_int_equal(world_gauge(world, FAILED), 2);
}

static void a_lease_is_refused(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__PrefetchRequest *request = prefetch_request(NULL, 1);
    Hubcache__V1__FetchOptions options;
    Google__Protobuf__Duration lease;
    Hubcache__V1__PrefetchResponse *event;
    struct rpc_call *call;

    hubcache__v1__fetch_options__init(&options);
    google__protobuf__duration__init(&lease);
    lease.seconds = 60;
    options.lease = &lease;
    request->snapshots[0]->options = &options;
    call =
        rpc_call_start(world->client, &(struct rpc_request){.path = PREFETCH,
                                                            .message = &request->base});
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    event = prefetch_outcome(call, 0);
    assert_int_equal(event->error->code, HC_STATUS_INVALID_ARGUMENT);
    hubcache__v1__prefetch_response__free_unpacked(event, NULL);
    rpc_call_free(call);
}

static void it_goes_on_when_its_caller_leaves(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    Hubcache__V1__FetchOptions options;
    struct rpc_call *call;

    hub_stall_weights(world);
    call = prefetch_start(world, NULL, 1);
    (void)rpc_call_await_messages(call, 1);
    test_hub_await_stall(world->hub);
    rpc_call_cancel(call);
    assert_int_equal(rpc_call_await(call), HC_STATUS_CANCELLED);
    rpc_call_free(call);
    assert_int_equal(world_gauge(world, RUNNING), 1);
    test_hub_release(world->hub);
    await_gauge(world, FETCHED, 1);

    hubcache__v1__fetch_options__init(&options);
    options.local_files_only = true;
    request.options = &options;
    call = ask_file(world, &request);
    assert_answers_file(world, call, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    rpc_call_free(call);
}

/* A deadline is the caller's, not that of the prefetch. */
static void it_goes_on_when_the_deadline_passes(void **state)
{
    struct world *world = *state;
    struct rpc_call *call;

    hub_stall_weights(world);
    call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = PREFETCH,
                                             .message = &prefetch_request(NULL, 1)->base,
                                             .timeout_ms = 300});
    assert_int_equal(rpc_call_await(call), HC_STATUS_DEADLINE_EXCEEDED);
    rpc_call_free(call);
    test_hub_release(world->hub);
    await_gauge(world, FETCHED, 1);
}

static void it_ends_with_the_server(void **state)
{
    struct world *world = *state;
    struct rpc_call *call;

    hub_stall_weights(world);
    call = prefetch_start(world, NULL, 1);
    test_hub_await_stall(world->hub);
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
    assert_int_equal(rpc_call_await(call), HC_STATUS_UNAVAILABLE);
    rpc_call_free(call);
}

/* More than there are threads for them: other calls of the service are answered. */
static void many_hold_no_thread_of_other_calls(void **state)
{
    struct world *world = *state;
    struct rpc_call *calls[MANY], *list;
    Hubcache__V1__ListReposRequest request;
    const Hubcache__V1__ResolveFileRequest file = file_request("config.json");

    hubcache__v1__list_repos_request__init(&request);
    hub_stall_weights(world);
    for (size_t i = 0; i < MANY; i++)
        calls[i] = prefetch_start(world, NULL, 1);
    for (size_t i = 0; i < MANY; i++) /* each is told that it is queued */
        assert_true(rpc_call_await_messages(calls[i], 1) >= 1);
    test_hub_await_stall(world->hub);
    list = rpc_call_start(world->client,
                          &(struct rpc_request){.path = "/hubcache.v1.Cache/ListRepos",
                                                .message = &request.base});
    assert_int_equal(rpc_call_await(list), HC_STATUS_OK);
    rpc_call_free(list);
    list = ask_file(world, &file);
    assert_int_equal(rpc_call_await(list), HC_STATUS_OK);
    rpc_call_free(list);
    assert_true(world_gauge(world, RUNNING) <= THREADS);
    test_hub_release(world->hub);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(rpc_call_await(calls[i]), HC_STATUS_OK);
        rpc_call_free(calls[i]);
    }
    assert_int_equal(test_hub_count_cdn(world->hub, "GET"), 1);
}

/* A number of the transfer of that file in /status.json, or 0 without one. */
static unsigned transfer_connections(struct world *world, const char *file)
{
    HC_AUTO_FREE char *page = world_get(world, "/status.json");
    char key[128];
    const char *found;

    (void)snprintf(key, sizeof key, "\"file\":\"%s\"", file);
    found = strstr(page, key);
    found = found ? strstr(found, "\"connections\":") : NULL;
    return found ? (unsigned)strtoul(found + strlen("\"connections\":"), NULL, 10) : 0;
}

static int give_way_setup(void **state)
{
    struct world *world;

    (void)world_setup_empty(state);
    world = *state;
    test_hub_add_generated(world->hub, "large.bin", LARGE, 7, true);
    test_hub_commit(world->hub, "models/org/large", "main", world->commit);
    test_hub_add_generated(world->hub, "wanted.bin", LARGE, 8, true);
    test_hub_commit(world->hub, "models/org/wanted", "main", world->commit);
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .fault = TEST_HUB_THROTTLE,
                                                      .number = THROTTLE});
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                             "--connections", "16", "--min-split-size",
                                             "1M", "--grace-period", "0", NULL});
    return 0;
}

/* Alone it takes more than an eighth of the connections; while a caller waits for a file
 * it gives them back, each at the end of its span of bytes. */
static void a_prefetch_gives_way_to_a_call(void **state)
{
    static const char *const repos[] = {"org/large"};
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request = file_request("wanted.bin");
    struct rpc_call *prefetch = prefetch_start(world, repos, 1);
    char wanted[] = "org/wanted";
    struct rpc_call *call;

    for (unsigned i = 0; transfer_connections(world, "large.bin") <= 2; i++)
        assert_true(i < ASKED_MAX);
    request.repo_id = wanted;
    call = start_file(world, &request);
    while (transfer_connections(world, "wanted.bin") == 0)
        continue;
    while (transfer_connections(world, "large.bin") > 2)
        assert_int_not_equal(transfer_connections(world, "wanted.bin"), 0);
    rpc_call_cancel(call);
    rpc_call_free(call);
    rpc_call_cancel(prefetch);
    rpc_call_free(prefetch);
}

static void a_request_names_a_hundred_snapshots_at_most(void **state)
{
    struct world *world = *state;
    static const struct {
        size_t count;
        unsigned code;
    } cases[] = {{0, HC_STATUS_INVALID_ARGUMENT},
                 {100, HC_STATUS_OK},
                 {101, HC_STATUS_INVALID_ARGUMENT}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_call *call = prefetch_start(world, NULL, cases[i].count);

        assert_int_equal(rpc_call_await(call), cases[i].code);
        if (cases[i].code != HC_STATUS_OK)
            assert_string_equal(rpc_call_violation(call), "snapshots");
        rpc_call_free(call);
    }
    assert_int_equal(world_gauge(world, FETCHED), 100);
}

#define WORLD_TEST(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, prefetch_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_failure_does_not_stop_the_others),
        WORLD_TEST(a_lease_is_refused),
        WORLD_TEST(it_goes_on_when_its_caller_leaves),
        WORLD_TEST(it_goes_on_when_the_deadline_passes),
        WORLD_TEST(it_ends_with_the_server),
        WORLD_TEST(many_hold_no_thread_of_other_calls),
        cmocka_unit_test_setup_teardown(a_prefetch_gives_way_to_a_call, give_way_setup,
                                        world_teardown),
        WORLD_TEST(a_request_names_a_hundred_snapshots_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
