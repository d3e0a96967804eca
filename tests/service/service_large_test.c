/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the edge's thread never decodes a request of more than 256 KiB. While one
 * is being decoded, and others wait for that, small calls are answered by the edge's
 * thread as ever; large requests that cannot wait get BUSY.
 *
 * The server is one of this process, with a method that tells on which thread it runs,
 * and waits, for a large request, until the test lets it go on.
 */
#include "rpc_client.h"
#include "test.h"

#include <base/auto.h>
#include <server/rpc.h>

#include <hubcache/error.h>
#include <hubcache/v1/resolver.pb-c.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

enum { LARGE = 16 << 20, WAITING_MAX = 2 /* that are LARGE */, HEAD_SIZE = 6 };

struct fixture {
    struct hc_rpc *rpc;
    struct rpc_client *client;
    sem_t has_begun, may_go_on, has_failed;
    _Atomic(pthread_t) small_thread, large_thread;
};

/* Only a large request has a name. */
static void method_answer(void *service, struct hc_rpc_call *call,
                          const ProtobufCMessage *message)
{
    struct fixture *fixture = service;
    const Hubcache__V1__ResolveFileRequest *request = (const void *)message;
    Hubcache__V1__ResolveFileResponse answer;

    if (*request->filename) {
        fixture->large_thread = pthread_self();
        (void)sem_post(&fixture->has_begun);
        (void)sem_wait(&fixture->may_go_on);
    } else {
        fixture->small_thread = pthread_self();
    }
    hubcache__v1__resolve_file_response__init(&answer);
    hc_rpc_call_reply(call, &answer.base);
}

static void call_finished(void *ctx, const struct hc_request *request,
                          const struct hc_answer *answer)
{
    struct fixture *fixture = ctx;

    (void)request;
    if (answer->code != 0)
        (void)sem_post(&fixture->has_failed);
}

static int setup(void **state)
{
    static const struct hc_rpc_method methods[] = {
        {.path = "/test/Ask",
         .request = &hubcache__v1__resolve_file_request__descriptor,
         .start = method_answer}};
    const struct hc_rpc_limits limits = {.connections = 8};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char address[128];
    struct hc_error err;

    assert_non_null(fixture);
    (void)sem_init(&fixture->has_begun, 0, 0);
    (void)sem_init(&fixture->may_go_on, 0, 0);
    (void)sem_init(&fixture->has_failed, 0, 0);
    fixture->rpc = hc_rpc_open(&limits, call_finished, fixture, &err);
    assert_non_null(fixture->rpc);
    assert_int_equal(hc_rpc_add(fixture->rpc, methods, 1, fixture, &err), 0);
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

    for (int i = 0; i <= WAITING_MAX; i++) /* a failed test leaves calls */
        (void)sem_post(&fixture->may_go_on);
    rpc_client_close(fixture->client);
    hc_rpc_close(fixture->rpc);
    free(fixture);
    return 0;
}

/* A request whose only field is a file name of the rest of its bytes. */
static struct rpc_call *start(struct fixture *fixture, size_t size)
{
    HC_AUTO_FREE uint8_t *bytes = malloc(size + 1);

    assert_non_null(bytes);
    memset(bytes, 'x', size + 1);
    if (size > 0)
        bytes[0] = 4 << 3 | 2;
    for (unsigned i = 0; size > 0 && i < HEAD_SIZE - 1; i++)
        bytes[1 + i] = (uint8_t)(((size - HEAD_SIZE) >> 7 * i & 0x7f) |
                                 (i < HEAD_SIZE - 2 ? 0x80 : 0));
    return rpc_call_start(fixture->client, &(struct rpc_request){.path = "/test/Ask",
                                                                 .bytes = bytes,
                                                                 .size = size});
}

static void assert_code(struct rpc_call *call, unsigned expected)
{
    assert_int_equal(rpc_call_await(call), expected);
    rpc_call_free(call);
}

/* Makes small calls until that happens. */
static void await(struct fixture *fixture, sem_t *event)
{
    while (sem_trywait(event) != 0)
        assert_code(start(fixture, 0), HC_STATUS_OK);
}

static void
small_calls_are_answered_by_the_edge_while_a_large_request_is_decoded(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *large;
    pthread_t edge;

    assert_code(start(fixture, 0), HC_STATUS_OK);
    edge = fixture->small_thread;
    large = start(fixture, HC_RPC_SMALL_BYTES_MAX + 1);
    await(fixture, &fixture->has_begun);
    assert_code(start(fixture, 0), HC_STATUS_OK);

    assert_true(pthread_equal(fixture->small_thread, edge));
    assert_false(pthread_equal(fixture->large_thread, edge));
    (void)sem_post(&fixture->may_go_on);
    assert_code(large, HC_STATUS_OK);
}

static void a_request_of_the_limit_is_decoded_by_the_edge(void **state)
{
    struct fixture *fixture = *state;

    assert_code(start(fixture, 0), HC_STATUS_OK);
    (void)sem_post(&fixture->may_go_on);
    assert_code(start(fixture, HC_RPC_SMALL_BYTES_MAX), HC_STATUS_OK);

    assert_true(pthread_equal(fixture->small_thread, fixture->large_thread));
}

static void large_requests_that_cannot_wait_get_busy_and_smaller_ones_wait(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *calls[WAITING_MAX + 1];
    struct rpc_call *smaller;
    unsigned busy = 0;

    for (int i = 0; i <= WAITING_MAX; i++)
        calls[i] = start(fixture, LARGE);
    await(fixture, &fixture->has_failed);
    smaller = start(fixture, HC_RPC_SMALL_BYTES_MAX + 1);
    for (int i = 0; i <= WAITING_MAX; i++)
        (void)sem_post(&fixture->may_go_on);

    assert_code(smaller, HC_STATUS_OK);
    for (int i = 0; i <= WAITING_MAX; i++) {
        if (rpc_call_await(calls[i]) != HC_STATUS_OK) {
            assert_string_equal(rpc_call_reason(calls[i]), "BUSY");
            assert_int_equal(rpc_call_retry_ms(calls[i]), 1000);
            busy++;
        }
        rpc_call_free(calls[i]);
    }
    assert_int_equal(busy, 1);
}

static void a_server_that_closes_first_ends_the_large_requests_that_wait(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_call *first = start(fixture, LARGE);
    struct rpc_call *second = start(fixture, LARGE);

    await(fixture, &fixture->has_begun);
    hc_rpc_stop(fixture->rpc);
    assert_int_equal(hc_rpc_end_calls(fixture->rpc), 0);
    (void)sem_post(&fixture->may_go_on);
    (void)sem_post(&fixture->may_go_on);

    assert_code(first, HC_STATUS_OK);
    (void)rpc_call_await(second); /* it may have arrived after the stop */
    rpc_call_free(second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(small_calls_are_answered_by_the_edge_while_a_large_request_is_decoded),
        TEST(a_request_of_the_limit_is_decoded_by_the_edge),
        TEST(large_requests_that_cannot_wait_get_busy_and_smaller_ones_wait),
        TEST(a_server_that_closes_first_ends_the_large_requests_that_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
