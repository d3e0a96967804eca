/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: each of the five methods answers as the contract says, over TCP and over a
 * Unix socket. For files on disk the server makes no request to the Hub, and offline it
 * makes none at all.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

static struct rpc_call *call_method(struct world *world, const char *path,
                                    const ProtobufCMessage *message)
{
    struct rpc_call *call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = path, .message = message});

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    return call;
}

static void a_missing_file_is_fetched_and_its_path_is_answered(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call = ask_file(world, &request);

    assert_answers_file(world, call, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);

    rpc_call_free(call);
}

static void a_hit_after_a_miss_makes_no_request(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_call *miss = ask_file(world, &request);
    unsigned requests = test_hub_count(world->hub, NULL, NULL);
    struct rpc_call *hit = ask_file(world, &request);

    assert_answers_file(world, miss, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    assert_answers_file(world, hit, "weights.bin", HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    assert_true(requests > 0);
    assert_int_equal(test_hub_count(world->hub, NULL, NULL), requests);

    rpc_call_free(miss);
    rpc_call_free(hit);
}

static void several_files_are_of_one_commit_and_missing_ones_are_listed(void **state)
{
    struct world *world = *state;
    char *names[] = {(char[]){"config.json"}, (char[]){"none"}, (char[]){"weights.bin"}};
    Hubcache__V1__ResolveFilesRequest request;
    ProtobufCMessage *message;
    const Hubcache__V1__ResolveFilesResponse *answer;
    struct rpc_call *call;

    hubcache__v1__resolve_files_request__init(&request);
    request.repo_id = (char[]){"org/name"};
    request.filenames = names;
    request.n_filenames = 3;
    request.allow_missing = true;

    call = call_method(world, METHOD("ResolveFiles"), &request.base);

    message =
        rpc_call_message(call, 0, &hubcache__v1__resolve_files_response__descriptor);
    answer = (const void *)message;
    assert_int_equal(answer->n_files, 2);
    assert_string_equal(answer->files[0]->filename, "config.json");
    assert_string_equal(answer->files[1]->filename, "weights.bin");
    assert_int_equal(answer->n_missing, 1);
    assert_string_equal(answer->missing[0], "none");
    assert_string_equal(answer->commit_hash, world->commit);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
}

static void a_snapshot_is_complete_and_lists_its_files_when_asked(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();
    ProtobufCMessage *message;
    const Hubcache__V1__ResolveSnapshotResponse *answer;
    struct rpc_call *call;

    request.list_files = true;

    call = call_method(world, METHOD("ResolveSnapshot"), &request.base);

    message =
        rpc_call_message(call, 0, &hubcache__v1__resolve_snapshot_response__descriptor);
    answer = (const void *)message;
    assert_int_equal(answer->completeness,
                     HUBCACHE__V1__COMPLETENESS__COMPLETENESS_COMPLETE);
    assert_int_equal(answer->file_count, 2);
    assert_int_equal(answer->n_files, 2);
    assert_int_equal(answer->size_bytes, WEIGHTS_SIZE + 3);
    assert_int_equal(answer->downloaded_bytes, WEIGHTS_SIZE + 3);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
}

/* Watches a snapshot: its last message is the result. */
static void assert_watch_ends_with_result(struct world *world)
{
    Hubcache__V1__ResolveSnapshotRequest inner = snapshot_request();
    Hubcache__V1__WatchSnapshotRequest request;
    ProtobufCMessage *message;
    const Hubcache__V1__WatchSnapshotResponse *last;
    struct rpc_call *call;

    hubcache__v1__watch_snapshot_request__init(&request);
    request.snapshot = &inner;

    call = call_method(world, METHOD("WatchSnapshot"), &request.base);

    message = rpc_call_message(call, rpc_call_await_messages(call, SIZE_MAX) - 1,
                               &hubcache__v1__watch_snapshot_response__descriptor);
    last = (const void *)message;
    assert_int_equal(last->event_case,
                     HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_RESULT);
    assert_string_equal(last->result->commit_hash, world->commit);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
}

static void a_watched_snapshot_ends_with_its_result(void **state)
{
    assert_watch_ends_with_result(*state);
}

/*
 * One after the other, faster than what was looked at is forgotten: most of them are
 * answered from memory.
 */
static void watches_that_memory_answers_end_with_a_result_too(void **state)
{
    for (unsigned i = 0; i < 200; i++)
        assert_watch_ends_with_result(*state);
}

static void server_info_names_cache_and_version(void **state)
{
    struct world *world = *state;
    Hubcache__V1__GetServerInfoRequest request;
    HC_AUTO_FREE char *root = temp_dir_path(world->dir, "cache");
    HC_AUTO_FREE char *id = NULL;
    ProtobufCMessage *message;
    const Hubcache__V1__GetServerInfoResponse *answer;
    struct rpc_call *call;

    hubcache__v1__get_server_info_request__init(&request);
    call = call_method(world, METHOD("GetServerInfo"), &request.base);

    message =
        rpc_call_message(call, 0, &hubcache__v1__get_server_info_response__descriptor);
    answer = (const void *)message;
    id = temp_dir_read(world->dir, "cache/.hubcache/cache-id");
    assert_string_equal(answer->cache_root, root);
    assert_string_equal(answer->endpoint, test_hub_endpoint(world->hub));
    assert_false(answer->offline);
    assert_true(*answer->version != '\0');
    assert_non_null(id);
    assert_int_equal(strncmp(id, answer->cache_id, strlen(answer->cache_id)), 0);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
}

static void offline_the_hub_gets_no_request(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call;

    world_serve(world, (const char *const[]){"--offline", NULL});
    call = ask_file(world, &request);

    assert_int_equal(rpc_call_await(call), HC_STATUS_NOT_FOUND);
    assert_string_equal(rpc_call_reason(call), "NOT_CACHED");
    assert_string_equal(rpc_call_error_info(call, "repo_id"), "org/name");
    assert_string_equal(rpc_call_error_info(call, "repo_type"), "model");
    assert_string_equal(rpc_call_error_info(call, "revision"), "main");
    assert_string_equal(rpc_call_error_info(call, "filename"), "config.json");
    assert_int_equal(test_hub_count(world->hub, NULL, NULL), 0);
    rpc_call_free(call);
}

static void a_directory_below_a_local_root_is_a_repo(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    HC_AUTO_FREE char *root = temp_dir_path(world->dir, "models");
    HC_AUTO_FREE char *repo = temp_dir_path(world->dir, "models/mine");
    ProtobufCMessage *message;
    const Hubcache__V1__ResolveFileResponse *answer;
    struct rpc_call *call;

    temp_dir_write(world->dir, "models/mine/config.json", "{}");
    world_serve(world, (const char *const[]){"--local-root", root, NULL});
    request.repo_id = repo;
    call = ask_file(world, &request);

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    message = rpc_call_message(call, 0, &hubcache__v1__resolve_file_response__descriptor);
    answer = (const void *)message;
    assert_int_equal(answer->file->source, HUBCACHE__V1__SOURCE__SOURCE_LOCAL);
    assert_string_equal(answer->file->cache_path, "");
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
}

static void a_unix_socket_serves_too(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    char listener[256];
    struct rpc_call *call;

    (void)snprintf(listener, sizeof listener, "unix:%s/socket", world->dir);
    world_serve(world, (const char *const[]){"--listen", listener, "--listen",
                                             "127.0.0.1:0", NULL});
    call = ask_file(world, &request);

    assert_string_equal(world->address, listener);
    assert_non_null(strstr(world->lines, "listening 127.0.0.1:"));
    assert_answers_file(world, call, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    rpc_call_free(call);
}

static void the_callers_token_reaches_the_hub_and_not_the_log(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    HC_AUTO_FREE char *log = NULL;
    struct rpc_call *call;

    world_serve(world, (const char *const[]){"--log-level", "debug", NULL});
    call = rpc_call_start(world->client, &(struct rpc_request){
                                             .path = METHOD("ResolveFile"),
                                             .message = &request.base,
                                             .token = "hf_secret_of_mine",
                                         });
    assert_answers_file(world, call, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);

    log = world_log(world);
    assert_true(test_hub_count_authorized(world->hub, false) > 0);
    assert_int_equal(test_hub_count_authorized(world->hub, true), 0);
    assert_non_null(strstr(log, "request done"));
    assert_null(strstr(log, "secret"));
    rpc_call_free(call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_file_is_fetched_and_its_path_is_answered),
        TEST(a_hit_after_a_miss_makes_no_request),
        TEST(several_files_are_of_one_commit_and_missing_ones_are_listed),
        TEST(a_snapshot_is_complete_and_lists_its_files_when_asked),
        TEST(a_watched_snapshot_ends_with_its_result),
        TEST(watches_that_memory_answers_end_with_a_result_too),
        TEST(server_info_names_cache_and_version),
        TEST_EMPTY(offline_the_hub_gets_no_request),
        TEST_EMPTY(a_directory_below_a_local_root_is_a_repo),
        TEST_EMPTY(a_unix_socket_serves_too),
        TEST_EMPTY(the_callers_token_reaches_the_hub_and_not_the_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
