/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: each call has a line in the log and in the audit log, whichever way it was
 * answered, and is in the histograms; a trace that a caller has begun goes on to the Hub,
 * and no further; whatever callers send, metrics stay few.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <hubcache/error.h>
#include <string.h>

#define TRACE_ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define TRACEPARENT "00-" TRACE_ID "-00f067aa0ba902b7-01"

static unsigned count_in(const char *text, const char *part)
{
    unsigned times = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        times++;
    return times;
}

/* With flags for an audit log; NULL ends `flags`. */
static void serve(struct world *world, const char *const *flags)
{
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "audit");
    const char *all[FLAGS_MAX] = {
        "--audit-log", path, "--log-format", "json", "--http-listen",
        "127.0.0.1:0", NULL};
    size_t count = 6;

    for (size_t i = 0; flags[i]; i++)
        all[count++] = flags[i];
    world_serve(world, all);
}

static void expect(struct world *world, const struct rpc_request *request, unsigned code)
{
    struct rpc_call *call = rpc_call_start(world->client, request);

    if (rpc_call_await(call) != code)
        fail_msg("%s: %s", request->path, rpc_call_error(call));
    rpc_call_free(call);
}

static void expect_file(struct world *world, const char *filename, unsigned code)
{
    const Hubcache__V1__ResolveFileRequest request = file_request(filename);

    expect(world,
           &(struct rpc_request){.path = METHOD("ResolveFile"),
                                 .message = &request.base,
                                 .traceparent = TRACEPARENT},
           code);
}

static void every_call_has_a_line_and_counts(void **state)
{
    static const char duration[] =
        "hubcache_request_duration_seconds_count{method=\"/hubcache.v1.Resolver/"
        "ResolveFile\",outcome=";
    enum { HITS = 200 };
    struct world *world = *state;
    const Hubcache__V1__ResolveSnapshotRequest snapshot = snapshot_request();
    HC_AUTO_FREE char *metrics = NULL;
    HC_AUTO_FREE char *audit = NULL;
    HC_AUTO_FREE char *log = NULL;
    char expected[256];

    serve(world, (const char *const[]){NULL});
    for (int i = 0; i < HITS; i++) /* the first is no hit, and most others are recalled */
        expect_file(world, "config.json", HC_STATUS_OK);
    expect_file(world, "no-such-file", HC_STATUS_NOT_FOUND);
    expect_file(world, "../x", HC_STATUS_INVALID_ARGUMENT);
    expect(world,
           &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                 .message = &snapshot.base},
           HC_STATUS_OK);

    metrics = world_get(world, "/metrics");
    (void)snprintf(expected, sizeof expected, "%s\"ok\"} %d\n", duration, HITS);
    assert_non_null(strstr(metrics, expected));
    (void)snprintf(expected, sizeof expected, "%s\"not_found\"} 1\n", duration);
    assert_non_null(strstr(metrics, expected));
    (void)snprintf(expected, sizeof expected, "%s\"invalid\"} 1\n", duration);
    assert_non_null(strstr(metrics, expected));
    assert_non_null(strstr(metrics, "\nhubcache_answers_total{source=\"hub\"} 2\n"));
    assert_non_null(strstr(metrics,
                           "\nhubcache_hub_requests_total{kind=\"metadata\",host="
                           "\"endpoint\",status=\"4xx\"} "));
    assert_non_null(strstr(metrics, "\nhubcache_hub_requests_total{kind=\"bytes\",host="
                                    "\"storage\",status=\"2xx\"} 1\n"));
    (void)snprintf(expected, sizeof expected,
                   "\nhubcache_hub_bytes_total{host=\"storage\"} %d\n", WEIGHTS_SIZE);
    assert_non_null(strstr(metrics, expected));
    assert_non_null(strstr(metrics, "\nhubcache_hub_circuit_open{endpoint=\"http://"));
    assert_non_null(strstr(metrics, "\nhubcache_audit_lines_total 203\n"));
    assert_non_null(strstr(metrics, "\nhubcache_audit_lost_total 0\n"));
    log = world_log(world);
    audit = temp_dir_read(world->dir, "audit");
    assert_int_equal(count_in(audit, "\n"), HITS + 3);
    (void)snprintf(expected, sizeof expected,
                   "\"repo\":\"org/name\",\"type\":\"model\",\"revision\":\"main\","
                   "\"file\":\"config.json\",\"commit\":\"%s\",\"etag\":\"",
                   world->commit);
    assert_int_equal(count_in(audit, expected), HITS);
    assert_int_equal(count_in(audit, "\"outcome\":\"ENTRY_NOT_FOUND\""), 1);
    assert_int_equal(count_in(audit, "\"outcome\":\"INVALID_FILENAME\""), 1);
    assert_int_equal(count_in(audit, "\"peer\":\"127.0.0.1\""), HITS + 3);
    assert_int_equal(count_in(audit, "\"trace_id\":\"" TRACE_ID "\""), HITS + 2);
    assert_int_equal(count_in(log, "\"msg\":\"request done\""), HITS + 1);
    assert_int_equal(count_in(log, "\"msg\":\"request failed\""), 2);
    assert_int_equal(count_in(log, "\"trace_id\":\"" TRACE_ID "\""), HITS + 2);
    assert_int_equal(count_in(log, "\"source\":\"cache\",\"files\":1,\"bytes\":"),
                     HITS - 1);
}

static void a_trace_goes_on_to_the_hub_and_no_further(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    serve(world, (const char *const[]){NULL});
    expect_file(world, "weights.bin", HC_STATUS_OK);
    log = test_hub_log(world->hub);

    assert_non_null(strstr(log, "\ncdn "));
    for (char *line = log, *end; (end = strchr(line, '\n')); line = end + 1) {
        bool is_of_hub = strncmp(line, "hub ", 4) == 0;

        *end = '\0';
        assert_non_null(
            strstr(line, is_of_hub ? " trace=00-" TRACE_ID "-" : " trace=- "));
        assert_null(strstr(line, TRACEPARENT)); /* the span is hubcached's own */
    }
}

static void a_read_tells_how_many_bytes_were_read(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest file = file_request("weights.bin");
    Hubcache__V1__ReadFileRequest read = HUBCACHE__V1__READ_FILE_REQUEST__INIT;
    HC_AUTO_FREE char *audit = NULL;
    HC_AUTO_FREE char *log = NULL;
    char expected[128];

    serve(world, (const char *const[]){NULL});
    read.file = &file;
    read.offset = 1000;
    read.length = WEIGHTS_SIZE - 2000;
    expect(world,
           &(struct rpc_request){.path = METHOD("ReadFile"), .message = &read.base},
           HC_STATUS_OK);
    log = world_log(world);
    audit = temp_dir_read(world->dir, "audit");

    (void)snprintf(expected, sizeof expected,
                   "\"files\":1,\"bytes\":%d,\"source\":\"hub\",", WEIGHTS_SIZE - 2000);
    assert_int_equal(count_in(audit, expected), 1);
    assert_int_equal(count_in(audit, "\"file\":\"weights.bin\",\"commit\":\""), 1);
    assert_int_equal(count_in(log, "\"rpc\":\"hubcache.v1.Resolver/ReadFile\""), 1);
}

/* The answer from memory has no list of files, so that the request is decoded again. */
static void the_files_of_a_snapshot_for_a_token_are_noted(void **state)
{
    enum { CALLS = 3, FILES = 2 };
    struct world *world = *state;
    const Hubcache__V1__ResolveSnapshotRequest snapshot = snapshot_request();
    HC_AUTO_FREE char *policy = temp_dir_path(world->dir, "policy");
    HC_AUTO_FREE char *audit = NULL;

    temp_dir_write(world->dir, "policy", "version: 1\n");
    serve(world, (const char *const[]){"--policy", policy, NULL});
    for (int i = 0; i < CALLS; i++)
        expect(world,
               &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                     .message = &snapshot.base,
                                     .token = "hf_token"},
               HC_STATUS_OK);
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
    audit = temp_dir_read(world->dir, "audit");
    assert_int_equal(count_in(audit, "\"event\":\"provenance\""), CALLS * FILES);
}

static void a_disk_that_is_full_stops_no_call(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    world_serve(world,
                (const char *const[]){"--audit-log", "/dev/full", "--http-listen",
                                      "127.0.0.1:0", "--log-format", "json", NULL});
    for (int i = 0; i < 100; i++)
        expect_file(world, "config.json", HC_STATUS_OK);
    log = world_log(world);
    assert_int_equal(count_in(log, "\"msg\":\"audit log not written"), 1);
    assert_non_null(strstr(log, "\"msg\":\"audit lines lost\""));
}

static void unknown_methods_make_no_series(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *before = NULL;
    HC_AUTO_FREE char *after = NULL;
    char path[64];

    serve(world, (const char *const[]){"--log-level", "error", NULL});
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(path, sizeof path, "/a%u\\\"/b%u", i, i);
        expect(world, &(struct rpc_request){.path = path, .bytes = "", .size = 0}, 12);
        if (i == 0)
            before = world_get(world, "/metrics");
    }
    after = world_get(world, "/metrics");
    assert_int_equal(count_in(after, "method=\""), count_in(before, "method=\""));
    assert_non_null(strstr(after, "{method=\"unknown\",outcome=\"invalid\"} 2000\n"));
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_call_has_a_line_and_counts),
        TEST(a_trace_goes_on_to_the_hub_and_no_further),
        TEST(a_read_tells_how_many_bytes_were_read),
        TEST(the_files_of_a_snapshot_for_a_token_are_noted),
        TEST(a_disk_that_is_full_stops_no_call),
        TEST(unknown_methods_make_no_series),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
