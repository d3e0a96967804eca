/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: operators can see where bytes came from: each transfer is one line of the
 * log and counts once in the metrics, a watcher of a snapshot sees the retries, and none
 * of that contains a secret.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

#define WEIGHTS_LINE                                                                     \
    "\"msg\":\"transfer\",\"repo\":\"org/"                                               \
    "name\",\"type\":\"model\",\"file\":\"weights.bin\""

static const char *const with_metrics[] = {"--http-listen", "127.0.0.1:0", "--log-level",
                                           "debug", NULL};

/* The Hub's first answer ends in the middle. */
static void hub_cut_once(struct world *world)
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .times = 1,
                                                      .fault = TEST_HUB_CUT,
                                                      .number = WEIGHTS_SIZE / 2});
}

static void spoil_always(struct world *world)
{
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .fault = TEST_HUB_CORRUPT,
                                                      .number = WEIGHTS_SIZE / 2});
}

static unsigned call_file(struct world *world, const char *filename, const char *token)
{
    const Hubcache__V1__ResolveFileRequest request = file_request(filename);
    struct rpc_call *call =
        rpc_call_start(world->client, &(struct rpc_request){
                                          .path = METHOD("ResolveFile"),
                                          .message = &request.base,
                                          .token = token,
                                      });
    unsigned code = rpc_call_await(call);

    rpc_call_free(call);
    return code;
}

static unsigned lines_count(const char *text, const char *part)
{
    unsigned times = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        times++;
    return times;
}

/* The one line about weights.bin; the caller frees. */
static char *line_of_weights(struct world *world)
{
    HC_AUTO_FREE char *log = world_log(world);
    char *start, *end;

    assert_int_equal(lines_count(log, WEIGHTS_LINE), 1);
    start = strstr(log, WEIGHTS_LINE);
    while (start > log && start[-1] != '\n')
        start--;
    end = strchr(start, '\n');
    assert_non_null(end);
    *end = '\0';
    return strdup(start);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("there is no '%s' in '%s'", part, text);
}

static void a_transfer_is_one_line_of_the_log(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *line = NULL;

    assert_int_equal(call_file(world, "weights.bin", NULL), HC_STATUS_OK);
    assert_int_equal(call_file(world, "weights.bin", NULL), HC_STATUS_OK);

    line = line_of_weights(world);
    assert_has(line, "\"level\":\"info\"");
    assert_has(line, ",\"size\":1048576,\"fetched\":1048576,\"resumed\":0,\"shared\":0,");
    assert_has(line, ",\"waited_ms\":0,");
    assert_has(line, ",\"connections\":1,\"retries\":0}");
    assert_null(strstr(line, "reason"));
}

static void small_files_without_retries_are_logged_for_debugging_only(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    assert_int_equal(call_file(world, "config.json", NULL), HC_STATUS_OK);

    log = world_log(world);
    assert_null(strstr(log, "\"transfer\""));
}

static void a_transfer_that_failed_is_a_warning_with_its_reason(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *line = NULL;

    spoil_always(world);
    assert_int_equal(call_file(world, "weights.bin", NULL), HC_STATUS_DATA_LOSS);

    line = line_of_weights(world);
    assert_has(line, "\"level\":\"warn\"");
    assert_has(line, ",\"reason\":\"CHECKSUM_MISMATCH\"}");
}

static void a_transfer_whose_callers_all_left_is_no_warning(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_call *call;
    HC_AUTO_FREE char *line = NULL;

    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1000});
    world_serve(world, (const char *const[]){"--workers", "1", NULL});
    call = start_file(world, &request);
    test_hub_await_stall(world->hub);
    rpc_call_cancel(call);
    (void)rpc_call_await(call);
    /* There is one worker: when it takes the next job, the transfer is over. */
    assert_int_equal(call_file(world, "config.json", NULL), HC_STATUS_OK);

    line = line_of_weights(world);
    assert_has(line, "\"level\":\"info\"");
    assert_has(line, ",\"reason\":\"CANCELLED\"}");
    rpc_call_free(call);
}

static void neither_token_nor_signature_reaches_the_log(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;
    HC_AUTO_FREE char *asked = NULL;

    world_serve(world, with_metrics);
    hub_cut_once(world);
    assert_int_equal(call_file(world, "weights.bin", "hf_secret_of_mine"), HC_STATUS_OK);
    test_hub_clear_rules(world->hub);
    assert_int_equal(call_file(world, "config.json", "hf_secret_of_mine"), HC_STATUS_OK);

    log = world_log(world);
    asked = test_hub_log(world->hub);
    assert_has(asked, "Signature=");
    assert_int_equal(lines_count(log, "\"msg\":\"transfer\""), 2);
    assert_null(strstr(log, "secret"));
    assert_null(strstr(log, "Signature"));
    assert_null(strstr(log, "?"));
    assert_null(strstr(log, test_hub_cdn(world->hub)));
}

static void the_metrics_count_transfers_and_bytes_by_source(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *metrics = NULL;

    world_serve(world, with_metrics);
    hub_cut_once(world);
    assert_int_equal(call_file(world, "weights.bin", NULL), HC_STATUS_OK);
    assert_int_equal(call_file(world, "weights.bin", NULL), HC_STATUS_OK);

    metrics = world_get(world, "/metrics");
    assert_has(metrics, "\nhubcache_transfers_total{reason=\"OK\"} 1\n");
    assert_has(metrics, "\nhubcache_transfer_bytes_total{source=\"hub\"} 1048576\n");
    assert_has(metrics, "\nhubcache_transfer_bytes_total{source=\"resumed\"} 0\n");
    assert_has(metrics, "\nhubcache_transfer_bytes_total{source=\"shared\"} 0\n");
    assert_has(metrics, "\nhubcache_downloaded_bytes_total 1048576\n");
    assert_has(metrics, "\nhubcache_transfer_retries_total 1\n");
    assert_has(metrics, "\nhubcache_transfer_waited_seconds_total 0.000\n");
    assert_has(metrics, "\nhubcache_running_transfers{state=\"fetching\"} 0\n");
    assert_has(metrics, "\nhubcache_connections 0\n");
    assert_null(strstr(metrics, "\nhubcache_transfer_seconds_total 0.000\n"));
}

static void the_metrics_name_the_reason_of_a_failure(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *metrics = NULL;

    world_serve(world, with_metrics);
    spoil_always(world);
    assert_int_equal(call_file(world, "weights.bin", NULL), HC_STATUS_DATA_LOSS);

    metrics = world_get(world, "/metrics");
    assert_has(metrics, "\nhubcache_transfers_total{reason=\"CHECKSUM_MISMATCH\"} 1\n");
    assert_null(strstr(metrics, "hubcache_transfers_total{reason=\"OK\"}"));
}

static void a_running_transfer_is_a_gauge_with_its_connection(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_call *call;
    HC_AUTO_FREE char *metrics = NULL;
    HC_AUTO_FREE char *status = NULL;

    world_serve(world, with_metrics);
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1000});
    call = start_file(world, &request);
    test_hub_await_stall(world->hub);
    metrics = world_get(world, "/metrics");
    status = world_get(world, "/");
    test_hub_release(world->hub);

    assert_answers_file(world, call, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    assert_has(metrics, "\nhubcache_running_transfers{state=\"fetching\"} 1\n");
    assert_has(metrics, "\nhubcache_connections 1\n");
    assert_has(status, "<bdi class=\"file\">weights.bin</bdi>");
    rpc_call_free(call);
}

static struct rpc_call *watch_weights_start(struct world *world)
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

/* The retries of a progress event; SIZE_MAX: another event. */
static size_t retries_of(struct rpc_call *call, size_t number)
{
    ProtobufCMessage *message =
        rpc_call_message(call, number,
                         &hubcache__v1__watch_snapshot_response__descriptor);
    const Hubcache__V1__WatchSnapshotResponse *event = (const void *)message;
    size_t retries = SIZE_MAX;

    if (event->event_case == HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_PROGRESS)
        retries = event->progress->retries;
    protobuf_c_message_free_unpacked(message, NULL);
    return retries;
}

static void a_watcher_sees_the_retries_of_the_transfer(void **state)
{
    struct world *world = *state;
    struct rpc_call *watch;
    size_t retries = 0;

    hub_cut_once(world);
    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1000});
    watch = watch_weights_start(world);
    test_hub_await_stall(world->hub); /* the second request */
    for (size_t i = 0; retries == 0; i++) {
        assert_int_equal(rpc_call_await_messages(watch, i + 1), i + 1);
        retries = retries_of(watch, i);
    }
    test_hub_release(world->hub);

    assert_int_equal(retries, 1);
    assert_int_equal(rpc_call_await(watch), HC_STATUS_OK);
    rpc_call_free(watch);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_transfer_is_one_line_of_the_log),
        TEST(small_files_without_retries_are_logged_for_debugging_only),
        TEST(a_transfer_that_failed_is_a_warning_with_its_reason),
        TEST_EMPTY(a_transfer_whose_callers_all_left_is_no_warning),
        TEST_EMPTY(neither_token_nor_signature_reaches_the_log),
        TEST_EMPTY(the_metrics_count_transfers_and_bytes_by_source),
        TEST_EMPTY(the_metrics_name_the_reason_of_a_failure),
        TEST_EMPTY(a_running_transfer_is_a_gauge_with_its_connection),
        TEST(a_watcher_sees_the_retries_of_the_transfer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
