/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: calls for the same file share one download and hold no thread each. The
 * download runs as long as one call waits for it, and stops when the last one leaves.
 * Deadlines are kept, and a full queue refuses a call at once.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

enum { CALLERS = 1000, THREADS_MAX = 32 };

static void stall_the_cdn(struct world *world)
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = WEIGHTS_SIZE / 2});
}

static void a_thousand_callers_share_one_download(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    HC_AUTO_FREE struct rpc_call **calls = calloc(CALLERS, sizeof *calls);

    stall_the_cdn(world);
    calls[0] = start_file(world, &request);
    test_hub_await_stall(world->hub);
    for (size_t i = 1; i < CALLERS; i++)
        calls[i] = start_file(world, &request);
    /*
     * One queue takes the calls in sequence: when this one is answered, all have arrived.
     */
    {
        const Hubcache__V1__ResolveFileRequest other = file_request("config.json");

        rpc_call_free(ask_file(world, &other));
    }
    assert_true(world_process(world, "Threads") <= THREADS_MAX);
    test_hub_release(world->hub);

    for (size_t i = 0; i < CALLERS; i++) {
        assert_answers_file(world, calls[i], "weights.bin",
                            HUBCACHE__V1__SOURCE__SOURCE_HUB);
        rpc_call_free(calls[i]);
    }
    assert_int_equal(test_hub_count_cdn(world->hub, "GET"), 1);
}

static struct rpc_call *start_file_within(struct world *world, int64_t timeout_ms)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");

    return rpc_call_start(world->client, &(struct rpc_request){
                                             .path = METHOD("ResolveFile"),
                                             .message = &request.base,
                                             .timeout_ms = timeout_ms,
                                         });
}

static void a_deadline_is_kept_while_the_hub_stalls(void **state)
{
    struct world *world = *state;
    struct rpc_call *call;

    stall_the_cdn(world);
    call = start_file_within(world, 300);

    assert_int_equal(rpc_call_await(call), HC_STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(test_hub_count_cdn(world->hub, "GET"), 1);
    rpc_call_free(call);
}

static void a_caller_with_a_later_deadline_gets_the_answer(void **state)
{
    struct world *world = *state;
    struct rpc_call *hasty, *patient;

    stall_the_cdn(world);
    hasty = start_file_within(world, 300);
    test_hub_await_stall(world->hub);
    patient = start_file_within(world, 0);
    assert_int_equal(rpc_call_await(hasty), HC_STATUS_DEADLINE_EXCEEDED);
    test_hub_release(world->hub);

    assert_answers_file(world, patient, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    assert_int_equal(test_hub_count_cdn(world->hub, "GET"), 1);
    rpc_call_free(hasty);
    rpc_call_free(patient);
}

/* There is one worker: when it takes the next job, the transfer is over. */
static void the_last_caller_to_leave_stops_the_transfer(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest other = file_request("config.json");
    struct rpc_call *call, *next;

    world_serve(world, (const char *const[]){"--workers", "1", NULL});
    stall_the_cdn(world);
    call = start_file_within(world, 0);
    test_hub_await_stall(world->hub);
    rpc_call_cancel(call);
    assert_int_equal(rpc_call_await(call), HC_STATUS_CANCELLED);
    next = ask_file(world, &other);

    assert_answers_file(world, next, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    rpc_call_free(call);
    rpc_call_free(next);
}

static void a_full_queue_answers_busy_at_once(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest third = file_request("b.json");
    const Hubcache__V1__ResolveFileRequest second = file_request("a.json");
    struct rpc_call *running, *queued, *refused;
    HC_AUTO_FREE char *metrics = NULL;

    world_serve(world, (const char *const[]){"--workers", "1", "--queue", "1",
                                             "--http-listen", "127.0.0.1:0", NULL});
    stall_the_cdn(world);
    running = start_file_within(world, 0);
    test_hub_await_stall(world->hub);
    queued = start_file(world, &second);
    refused = ask_file(world, &third);

    assert_int_equal(rpc_call_await(refused), HC_STATUS_UNAVAILABLE);
    assert_string_equal(rpc_call_reason(refused), "BUSY");
    assert_int_equal(rpc_call_retry_ms(refused), 1000);
    assert_string_equal(rpc_call_pushback(refused), "1000");
    metrics = world_get(world, "/metrics"); /* the other two are where they were */
    assert_non_null(strstr(metrics, "\nhubcache_waiting_calls 2\n"));
    assert_non_null(strstr(metrics, "\nhubcache_running_jobs{pool=\"hub\"} 1\n"));
    assert_non_null(strstr(metrics, "\nhubcache_queued_jobs{pool=\"hub\"} 1\n"));
    assert_non_null(strstr(metrics, "\nhubcache_queued_jobs{pool=\"disk\"} 0\n"));
    test_hub_release(world->hub);
    assert_answers_file(world, running, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    assert_int_equal(rpc_call_await(queued), HC_STATUS_NOT_FOUND);
    rpc_call_free(running);
    rpc_call_free(queued);
    rpc_call_free(refused);
}

static struct rpc_call *watch_snapshot_start(struct world *world)
{
    Hubcache__V1__ResolveSnapshotRequest inner = snapshot_request();
    Hubcache__V1__WatchSnapshotRequest request;

    hubcache__v1__watch_snapshot_request__init(&request);
    request.snapshot = &inner;
    return rpc_call_start(world->client, &(struct rpc_request){
                                             .path = METHOD("WatchSnapshot"),
                                             .message = &request.base,
                                         });
}

static void assert_event(struct rpc_call *call, size_t number,
                         Hubcache__V1__WatchSnapshotResponse__EventCase expected)
{
    ProtobufCMessage *message =
        rpc_call_message(call, number,
                         &hubcache__v1__watch_snapshot_response__descriptor);
    const Hubcache__V1__WatchSnapshotResponse *event = (const void *)message;

    assert_int_equal(event->event_case, expected);
    if (expected == HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_PROGRESS)
        assert_int_equal(event->progress->files_total, 2);
    else
        assert_int_equal(event->result->file_count, 2);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void two_watchers_get_progress_and_the_result_last(void **state)
{
    struct world *world = *state;
    struct rpc_call *watches[2];

    stall_the_cdn(world);
    for (size_t i = 0; i < 2; i++)
        watches[i] = watch_snapshot_start(world);
    for (size_t i = 0; i < 2; i++)
        assert_true(rpc_call_await_messages(watches[i], 2) >= 2);
    test_hub_await_stall(world->hub);
    test_hub_release(world->hub);

    for (size_t i = 0; i < 2; i++) {
        size_t count;

        assert_int_equal(rpc_call_await(watches[i]), HC_STATUS_OK);
        count = rpc_call_await_messages(watches[i], SIZE_MAX);
        for (size_t n = 0; n + 1 < count; n++)
            assert_event(watches[i], n,
                         HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_PROGRESS);
        assert_event(watches[i], count - 1,
                     HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_RESULT);
        rpc_call_free(watches[i]);
    }
    assert_int_equal(test_hub_count_cdn(world->hub, "GET"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_thousand_callers_share_one_download),
        TEST(a_deadline_is_kept_while_the_hub_stalls),
        TEST(a_caller_with_a_later_deadline_gets_the_answer),
        TEST_EMPTY(the_last_caller_to_leave_stops_the_transfer),
        TEST_EMPTY(a_full_queue_answers_busy_at_once),
        TEST(two_watchers_get_progress_and_the_result_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
