/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: Verify tells each finding and then the result; a corrupt blob is never
 * answered again; a verification ends with its caller, and while one runs, hits are
 * answered. A scrub does the same by itself, and is continued by the next server.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <base/error.h>
#include <hubcache/v1/cache.pb-c.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define VERIFY "/hubcache.v1.Cache/Verify"
#define IN_PROGRESS                                                                      \
    "\nhubcache_requests_in_progress{method=\"/hubcache.v1.Cache/Verify\"} "
#define CORRUPT "\nhubcache_findings_total{kind=\"corrupt_blob\"} "
#define REPAIRED "\nhubcache_repaired_files_total{result=\"fetched\"} "
#define LAST_PASS "\nhubcache_scrub_last_pass_timestamp_seconds "
#define RUNNING "\nhubcache_scrub_running "
#define BLOBS "\nhubcache_verified_blobs_total "

typedef Hubcache__V1__VerifyRequest verify_request;
typedef Hubcache__V1__VerifyResponse verify_event;

enum { ASKED_MAX = 1000000, EVENTS_MAX = 100 };

static int verify_setup(void **state)
{
    (void)world_setup_empty(state);
    world_serve(*state,
                (const char *const[]){"--http-listen", "127.0.0.1:0", "--confirm-after",
                                      "1h", "--max-staleness", "1h", NULL});
    return 0;
}

static struct rpc_call *verify_start(struct world *world, const verify_request *request)
{
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = VERIFY,
                                                .message = &request->base});
}

static void fetch_weights(struct world *world, Hubcache__V1__Source source)
{
    const Hubcache__V1__ResolveFileRequest file = file_request("weights.bin");
    struct rpc_call *call = ask_file(world, &file);

    assert_answers_file(world, call, "weights.bin", source);
    rpc_call_free(call);
}

/* In place, by way of the pointer. */
static void corrupt_weights(struct world *world)
{
    char path[256];
    int fd;

    (void)snprintf(path, sizeof path,
                   "%s/cache/models--org--name/snapshots/%s/weights.bin", world->dir,
                   world->commit);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "#", 1, WEIGHTS_SIZE / 2), 1);
    assert_int_equal(close(fd), 0);
}

/* The last event is the result, and the `finding` before it, unless it is NULL, the only
 * one. The caller frees them. */
static verify_event *verify_await(struct rpc_call *call, verify_event **finding)
{
    verify_event *result = NULL;
    size_t count;

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    count = rpc_call_await_messages(call, EVENTS_MAX);
    if (finding)
        *finding = NULL;
    for (size_t i = 0; i < count; i++) {
        verify_event *event =
            (void *)rpc_call_message(call, i, &hubcache__v1__verify_response__descriptor);

        assert_null(result);
        if (event->event_case == HUBCACHE__V1__VERIFY_RESPONSE__EVENT_RESULT) {
            result = event;
            continue;
        }
        if (event->event_case == HUBCACHE__V1__VERIFY_RESPONSE__EVENT_FINDING) {
            assert_non_null(finding);
            assert_null(*finding);
            *finding = event;
            continue;
        }
        hubcache__v1__verify_response__free_unpacked(event, NULL);
    }
    assert_non_null(result);
    rpc_call_free(call);
    return result;
}

static void event_free(verify_event *event)
{
    hubcache__v1__verify_response__free_unpacked(event, NULL);
}

static void a_right_cache_has_a_result_and_no_finding(void **state)
{
    struct world *world = *state;
    const verify_request request = HUBCACHE__V1__VERIFY_REQUEST__INIT;
    verify_event *event;

    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_HUB);
    event = verify_await(verify_start(world, &request), NULL);
    assert_int_equal(event->result->blobs, 1);
    assert_int_equal(event->result->bytes, WEIGHTS_SIZE);
    assert_int_equal(event->result->findings, 0);
    event_free(event);
    assert_int_equal(world_gauge(world, BLOBS), 1);
}

static void a_corrupt_blob_is_told_and_never_answered_again(void **state)
{
    struct world *world = *state;
    const verify_request request = HUBCACHE__V1__VERIFY_REQUEST__INIT;
    verify_event *event, *finding;

    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_HUB);
    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    corrupt_weights(world);
    event = verify_await(verify_start(world, &request), &finding);
    assert_int_equal(finding->finding->kind,
                     HUBCACHE__V1__FINDING_KIND__FINDING_KIND_CORRUPT_BLOB);
    assert_int_equal(finding->finding->size_bytes, WEIGHTS_SIZE);
    assert_int_equal(finding->finding->n_pointers, 1);
    assert_int_equal(strlen(finding->finding->actual), 64);
    assert_non_null(strstr(finding->finding->action, ".hubcache/quarantine/"));
    assert_int_equal(event->result->corrupt, 1);
    event_free(finding);
    event_free(event);

    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_HUB);
    assert_int_equal(world_gauge(world, CORRUPT), 1);
}

static void a_repair_fetches_the_file_again(void **state)
{
    struct world *world = *state;
    verify_request request = HUBCACHE__V1__VERIFY_REQUEST__INIT;
    verify_event *event, *finding;

    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_HUB);
    corrupt_weights(world);
    request.repair = true;
    event = verify_await(verify_start(world, &request), &finding);
    assert_int_equal(event->result->repaired, 1);
    assert_int_equal(event->result->not_repaired, 0);
    event_free(finding);
    event_free(event);
    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_CACHE);
}

static void what_is_not_cached_or_malformed_is_refused(void **state)
{
    struct world *world = *state;
    verify_request request = HUBCACHE__V1__VERIFY_REQUEST__INIT;
    Hubcache__V1__CacheSelector selector;
    Hubcache__V1__CacheSelector *list[] = {&selector};
    struct rpc_call *call;

    hubcache__v1__cache_selector__init(&selector);
    request.selectors = list;
    request.n_selectors = 1;
    selector.repo_id = (char[]){"org/absent"};
    call = verify_start(world, &request);
    assert_int_equal(rpc_call_await(call), HC_STATUS_NOT_FOUND);
    assert_string_equal(rpc_call_reason(call), "NOT_CACHED");
    rpc_call_free(call);

    selector.repo_id = (char[]){"../name"};
    call = verify_start(world, &request);
    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_reason(call), "INVALID_REPO_ID");
    rpc_call_free(call);
}

/* At a byte a second it would run for days; it holds no thread that a hit needs. */
static void a_verification_ends_with_its_caller(void **state)
{
    struct world *world = *state;
    verify_request request = HUBCACHE__V1__VERIFY_REQUEST__INIT;
    struct rpc_call *call;

    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_HUB);
    request.bytes_per_second = 1;
    call = verify_start(world, &request);
    for (unsigned i = 0; world_gauge(world, IN_PROGRESS) != 1; i++)
        assert_true(i < ASKED_MAX);
    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    rpc_call_cancel(call);
    assert_int_equal(rpc_call_await(call), HC_STATUS_CANCELLED);
    rpc_call_free(call);
    for (unsigned i = 0; world_gauge(world, IN_PROGRESS) != 0; i++)
        assert_true(i < ASKED_MAX);
}

static int scrub_setup(void **state)
{
    (void)world_setup_empty(state);
    world_serve(*state, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                              "--scrub-interval", "400ms", NULL});
    return 0;
}

static void a_scrub_finds_a_corrupt_blob_and_fetches_it_again(void **state)
{
    struct world *world = *state;

    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_HUB);
    corrupt_weights(world);
    for (unsigned i = 0; world_gauge(world, REPAIRED) != 1; i++)
        assert_true(i < ASKED_MAX);
    assert_int_equal(world_gauge(world, CORRUPT), 1);
    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    for (unsigned i = 0; world_gauge(world, LAST_PASS) == 0; i++)
        assert_true(i < ASKED_MAX);
}

static void
a_pass_is_shown_by_the_status_page_and_continued_by_the_next_server(void **state)
{
    static const char *const slow[] = {"--http-listen",
                                       "127.0.0.1:0",
                                       "--scrub-interval",
                                       "1h",
                                       "--scrub-rate",
                                       "1",
                                       NULL};
    static const char *const quick[] = {"--http-listen", "127.0.0.1:0",
                                        "--scrub-interval", "1h", NULL};
    struct world *world = *state;
    HC_AUTO_FREE char *page = NULL, *json = NULL;
    const char *scrub;

    fetch_weights(world, HUBCACHE__V1__SOURCE__SOURCE_HUB);
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
    rpc_client_close(world->client);
    temp_dir_write(world->dir, "cache/.hubcache/scrub.json", "");
    world_serve(world, slow);
    for (unsigned i = 0; world_gauge(world, RUNNING) != 1; i++)
        assert_true(i < ASKED_MAX);
    page = world_get(world, "/");
    assert_non_null(strstr(page, "this process has hashed"));
    json = world_get(world, "/status.json");
    scrub = strstr(json, "\"scrub\"");
    assert_non_null(scrub);
    assert_true(strstr(scrub, "true") < strstr(scrub, "\"pass_began\""));
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
    rpc_client_close(world->client);

    world_serve(world, quick);
    for (unsigned i = 0; world_gauge(world, LAST_PASS) == 0; i++)
        assert_true(i < ASKED_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_right_cache_has_a_result_and_no_finding,
                                        verify_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_corrupt_blob_is_told_and_never_answered_again,
                                        verify_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_repair_fetches_the_file_again, verify_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_cached_or_malformed_is_refused,
                                        verify_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_verification_ends_with_its_caller, verify_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_scrub_finds_a_corrupt_blob_and_fetches_it_again,
                                        scrub_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            a_pass_is_shown_by_the_status_page_and_continued_by_the_next_server,
            scrub_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
