/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a blocking call runs its function on a thread of the pool, while the edge
 * answers others. No message of a stream is lost, in whatever pieces the client takes
 * them. A caller that leaves, a deadline and the end of the server cancel a call, be it
 * queued or running; a queue that is full is BUSY.
 *
 * The edge is one of this process; the function waits until the test lets it go on.
 */
#include "rpc_client.h"
#include "test.h"

#include <base/auto.h>
#include <server/blocking_call.h>

#include <hubcache/error.h>
#include <hubcache/v1/cache.pb-c.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

enum { THREADS = 2, QUEUE = 2, MESSAGES = 200, WAITERS_MAX = 16 };

#define WAIT "/test/Wait"
#define STREAM "/test/Stream"

struct fixture {
    struct hc_rpc *rpc;
    struct hc_workers *workers;
    struct rpc_client *client;
    sem_t has_begun, may_go_on;
    atomic_uint cancelled; /* functions that saw the cancellation */
};

/* Replies when the test says so, or ends as the cancellation says. */
static int function_wait(void *service, struct hc_blocking_call *call,
                         const ProtobufCMessage *message, struct hc_error *err)
{
    struct fixture *fixture = service;
    const Hubcache__V1__PinRequest *request = (const void *)message;
    Hubcache__V1__PinResponse answer;

    (void)sem_post(&fixture->has_begun);
    while (sem_trywait(&fixture->may_go_on) < 0) {
        if (hc_cancellation_sleep(hc_blocking_call_cancellation(call), 1, err) < 0) {
            atomic_fetch_add(&fixture->cancelled, 1);
            return -1;
        }
    }
    hubcache__v1__pin_response__init(&answer);
    answer.commit_hash = request->repo_id; /* which lives as long as the function */
    return hc_blocking_call_reply(call, &answer.base, err);
}

static int function_stream(void *service, struct hc_blocking_call *call,
                           const ProtobufCMessage *message, struct hc_error *err)
{
    Hubcache__V1__UnpinResponse answer;
    char number[16];

    (void)service;
    (void)message;
    hubcache__v1__unpin_response__init(&answer);
    answer.commit_hash = number;
    for (unsigned i = 0; i < MESSAGES; i++) {
        (void)snprintf(number, sizeof number, "%u", i);
        if (hc_blocking_call_send(call, &answer.base, err) < 0)
            return -1;
    }
    return 0;
}

static const struct hc_blocking_method functions[] = {
    {WAIT, &hubcache__v1__pin_request__descriptor, function_wait, HC_RPC_UNARY},
    {STREAM, &hubcache__v1__unpin_request__descriptor, function_stream,
     HC_RPC_SERVER_STREAMING},
};

static void function_start(void *ctx, struct hc_rpc_call *call,
                           const ProtobufCMessage *message)
{
    struct fixture *fixture = ctx;
    bool is_wait = message->descriptor == functions[0].request;

    hc_blocking_call_start(fixture->workers, call, &functions[!is_wait], fixture);
}

static int setup(void **state)
{
    static struct hc_rpc_method methods[2];
    const struct hc_rpc_limits limits = {.connections = 8};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char address[128];
    struct hc_error err;

    assert_non_null(fixture);
    for (unsigned i = 0; i < 2; i++)
        methods[i] = (struct hc_rpc_method){.path = functions[i].path,
                                            .request = functions[i].request,
                                            .start = function_start,
                                            .kind = functions[i].kind};
    (void)sem_init(&fixture->has_begun, 0, 0);
    (void)sem_init(&fixture->may_go_on, 0, 0);
    fixture->workers = hc_workers_open(THREADS, QUEUE, &err);
    fixture->rpc = hc_rpc_open(&limits, NULL, NULL, &err);
    assert_true(fixture->workers && fixture->rpc);
    assert_int_equal(hc_rpc_add(fixture->rpc, methods, 2, fixture, &err), 0);
    assert_int_equal(hc_rpc_listen(fixture->rpc, "127.0.0.1:0", address, sizeof address,
                                   &err),
                     0);
    assert_int_equal(hc_rpc_start(fixture->rpc, &err), 0);
    fixture->client = rpc_client_open(address);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < WAITERS_MAX; i++) /* a failed test leaves calls */
        (void)sem_post(&fixture->may_go_on);
    rpc_client_close(fixture->client);
    hc_rpc_close(fixture->rpc);
    hc_workers_close(fixture->workers);
    free(fixture);
    return 0;
}

static struct rpc_call *start_wait(struct fixture *fixture, int64_t timeout_ms)
{
    char id[] = "org/name";
    Hubcache__V1__PinRequest request;

    hubcache__v1__pin_request__init(&request);
    request.repo_id = id;
    return rpc_call_start(fixture->client,
                          &(struct rpc_request){.path = WAIT,
                                                .message = &request.base,
                                                .timeout_ms = timeout_ms});
}

/* A call whose function runs. */
static struct rpc_call *begin_wait(struct fixture *fixture, int64_t timeout_ms)
{
    struct rpc_call *call = start_wait(fixture, timeout_ms);

    (void)sem_wait(&fixture->has_begun);
    return call;
}

static void a_call_is_answered_when_its_function_returns(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *call = begin_wait(fixture, 0);
    ProtobufCMessage *message;

    (void)sem_post(&fixture->may_go_on);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    message = rpc_call_message(call, 0, &hubcache__v1__pin_response__descriptor);
    assert_string_equal(((Hubcache__V1__PinResponse *)message)->commit_hash, "org/name");
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
}

static void a_stream_loses_no_message(void **state)
{
    struct fixture *fixture = *state;
    Hubcache__V1__UnpinRequest request;
    struct rpc_call *call;
    char number[16];

    hubcache__v1__unpin_request__init(&request);
    call =
        rpc_call_start(fixture->client,
                       &(struct rpc_request){.path = STREAM, .message = &request.base});
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    assert_int_equal(rpc_call_await_messages(call, SIZE_MAX), MESSAGES);
    for (unsigned i = 0; i < MESSAGES; i++) {
        ProtobufCMessage *message =
            rpc_call_message(call, i, &hubcache__v1__unpin_response__descriptor);

        (void)snprintf(number, sizeof number, "%u", i);
        assert_string_equal(((Hubcache__V1__UnpinResponse *)message)->commit_hash,
                            number);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    rpc_call_free(call);
}

static void a_caller_that_leaves_cancels_the_function(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *call = begin_wait(fixture, 0);

    rpc_call_cancel(call);
    assert_int_equal(rpc_call_await(call), HC_STATUS_CANCELLED);
    rpc_call_free(call);
    while (atomic_load(&fixture->cancelled) == 0)
        continue;
}

static void a_deadline_ends_a_running_and_a_queued_call(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *running = begin_wait(fixture, 300);
    struct rpc_call *queued = start_wait(fixture, 300);

    assert_int_equal(rpc_call_await(running), HC_STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(rpc_call_await(queued), HC_STATUS_DEADLINE_EXCEEDED);
    rpc_call_free(running);
    rpc_call_free(queued);
}

/* One method has half of the threads at most, so one of two. */
static void a_full_queue_is_busy_and_leaves_the_others_alone(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *running = begin_wait(fixture, 0);
    struct rpc_call *calls[WAITERS_MAX];
    unsigned busy = 0, done = 0;

    for (unsigned i = 0; i < WAITERS_MAX; i++)
        calls[i] = start_wait(fixture, 0);
    assert_int_equal(rpc_call_await(calls[WAITERS_MAX - 1]), HC_STATUS_UNAVAILABLE);
    assert_string_equal(rpc_call_reason(calls[WAITERS_MAX - 1]), "BUSY");
    for (unsigned i = 0; i < WAITERS_MAX; i++)
        (void)sem_post(&fixture->may_go_on);
    for (unsigned i = 0; i < WAITERS_MAX; i++) {
        unsigned code = rpc_call_await(calls[i]);

        done += code == HC_STATUS_OK;
        busy += code == HC_STATUS_UNAVAILABLE &&
                strcmp(rpc_call_reason(calls[i]), "BUSY") == 0;
        rpc_call_free(calls[i]);
    }
    (void)sem_post(&fixture->may_go_on);
    assert_int_equal(rpc_call_await(running), HC_STATUS_OK);
    assert_int_equal(done + busy, WAITERS_MAX);
    rpc_call_free(running);
}

static void the_end_of_the_server_ends_running_calls(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *running = begin_wait(fixture, 0);

    hc_rpc_stop(fixture->rpc);
    assert_int_equal(hc_rpc_end_calls(fixture->rpc), 1);
    assert_int_equal(rpc_call_await(running), HC_STATUS_UNAVAILABLE);
    assert_string_equal(rpc_call_reason(running), "SHUTTING_DOWN");
    rpc_call_free(running);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_answered_when_its_function_returns),
        TEST(a_stream_loses_no_message),
        TEST(a_caller_that_leaves_cancels_the_function),
        TEST(a_deadline_ends_a_running_and_a_queued_call),
        TEST(a_full_queue_is_busy_and_leaves_the_others_alone),
        TEST(the_end_of_the_server_ends_running_calls),
    };
    int result;

    hc_rpc_library_open();
    result = cmocka_run_group_tests(tests, NULL, NULL);
    hc_rpc_library_close();
    return result;
}
