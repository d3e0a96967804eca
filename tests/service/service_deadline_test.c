/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: when a call's deadline passes while the Hub answers no connect, or stalls
 * or trickles in a TLS handshake, the server closes that connection and its worker is
 * free for the next call. The server's own time limits are an hour.
 */
#include "relay.h"
#include "service_fixture.h"
#include "tls_server.h"

#include <base/auto.h>
#include <hubcache/error.h>

#include <stdlib.h>

enum { SOON_MS = 2000 };

/* A world whose Hub is behind TLS and a bad network. */
struct far_hub {
    struct tls_server *site;
    struct relay *relay;
};

static void far_hub_serve(struct far_hub *far, struct world *world,
                          enum relay_fault fault)
{
    HC_AUTO_FREE char *authority = temp_dir_path(world->dir, "authority.pem");

    far->site = tls_server_start(world->dir, "authority.pem");
    far->relay = relay_start(tls_server_url(far->site), fault);
    /* NOLINTBEGIN(concurrency-mt-unsafe): no other thread reads variables */
    assert_int_equal(setenv("SSL_CERT_FILE", authority, 1), 0);
    assert_int_equal(setenv("HF_HUB_ETAG_TIMEOUT", "3600", 1), 0); /* only deadlines */
    /* NOLINTEND(concurrency-mt-unsafe) */
    world_serve(world,
                (const char *const[]){"--endpoint", relay_url(far->relay), "--workers",
                                      "1", "--http-listen", "127.0.0.1:0", NULL});
}

static void far_hub_stop(struct far_hub *far)
{
    relay_stop(far->relay);
    tls_server_stop(far->site);
}

static struct rpc_call *start_file_within(struct world *world, const char *filename,
                                          int64_t timeout_ms)
{
    const Hubcache__V1__ResolveFileRequest request = file_request(filename);

    return rpc_call_start(world->client, &(struct rpc_request){
                                             .path = METHOD("ResolveFile"),
                                             .message = &request.base,
                                             .timeout_ms = timeout_ms,
                                         });
}

/* Returns when the worker has no job; a test that hangs here has failed. */
static void await_idle_worker(struct world *world)
{
    while (world_gauge(world, "hubcache_running_jobs{pool=\"hub\"} ") > 0)
        continue;
}

static void serve_hasty_and_patient(struct world *world, enum relay_fault fault)
{
    struct far_hub far;
    struct rpc_call *hasty, *patient;

    far_hub_serve(&far, world, fault);
    hasty = start_file_within(world, "a.json", SOON_MS);
    if (fault != RELAY_DROPS_CONNECTS)
        relay_await_opened(far.relay, 1);
    assert_int_equal(rpc_call_await(hasty), HC_STATUS_DEADLINE_EXCEEDED);
    await_idle_worker(world);
    if (fault != RELAY_DROPS_CONNECTS)
        relay_await_closed(far.relay, 1);
    relay_release(far.relay);

    patient = start_file_within(world, "b.json", 0);
    if (rpc_call_await(patient) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(patient), rpc_call_error(patient));
    rpc_call_free(hasty);
    rpc_call_free(patient);
    far_hub_stop(&far);
}

static void a_connect_that_is_never_answered_ends_at_the_deadline(void **state)
{
    serve_hasty_and_patient(*state, RELAY_DROPS_CONNECTS);
}

static void a_handshake_that_stalls_ends_at_the_deadline(void **state)
{
    serve_hasty_and_patient(*state, RELAY_KEEPS_ANSWERS);
}

static void a_handshake_that_trickles_ends_at_the_deadline(void **state)
{
    serve_hasty_and_patient(*state, RELAY_TRICKLES_ANSWERS);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connect_that_is_never_answered_ends_at_the_deadline),
        TEST(a_handshake_that_stalls_ends_at_the_deadline),
        TEST(a_handshake_that_trickles_ends_at_the_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
