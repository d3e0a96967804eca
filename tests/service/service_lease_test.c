/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: each call that asks for a lease gets one of its own, whatever answered it;
 * the lease is on the volume, for every replica and after any crash; what the answer
 * names is there; and only its caller renews it.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <base/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <hubcache/error.h>
#include <hubcache/v1/cache.pb-c.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_METHOD(name) "/hubcache.v1.Cache/" name
#define LEASES "cache/.hubcache/leases"

enum { ID_SIZE = 400, HOUR = 3600 };

/* A request for a lease lives as long as its options. */
struct leased_request {
    Hubcache__V1__ResolveSnapshotRequest snapshot;
    Hubcache__V1__ResolveFileRequest file;
    Hubcache__V1__FetchOptions options;
    Google__Protobuf__Duration lease;
};

static void ask_for(struct leased_request *request, int64_t seconds)
{
    request->snapshot = snapshot_request();
    request->file = file_request("config.json");
    hubcache__v1__fetch_options__init(&request->options);
    google__protobuf__duration__init(&request->lease);
    request->lease.seconds = seconds;
    request->options.lease = &request->lease;
    request->snapshot.options = request->file.options = &request->options;
}

static struct rpc_call *start(struct world *world, const char *path,
                              const ProtobufCMessage *message, const char *authorization)
{
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = path,
                                                .message = message,
                                                .authorization = authorization,
                                                .pod = "vllm-0"});
}

static struct rpc_call *ask(struct world *world, const char *path,
                            const ProtobufCMessage *message, const char *authorization)
{
    struct rpc_call *call = start(world, path, message, authorization);

    (void)rpc_call_await(call);
    return call;
}

static void assert_ok(struct rpc_call *call)
{
    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
}

/* The lease of a snapshot's answer; frees the call. */
static void take_id(struct rpc_call *call, char id[ID_SIZE])
{
    Hubcache__V1__ResolveSnapshotResponse *answer;

    assert_ok(call);
    answer =
        (void *)rpc_call_message(call, 0,
                                 &hubcache__v1__resolve_snapshot_response__descriptor);
    assert_true(hc_format(id, ID_SIZE, "%s", answer->lease_id) >= 0);
    assert_int_equal(access(answer->path, F_OK), 0);
    protobuf_c_message_free_unpacked(&answer->base, NULL);
    rpc_call_free(call);
}

static void lease_snapshot(struct world *world, const char *authorization,
                           char id[ID_SIZE])
{
    struct leased_request request;

    ask_for(&request, HOUR);
    take_id(ask(world, METHOD("ResolveSnapshot"), &request.snapshot.base, authorization),
            id);
}

/* The call is over; frees it. */
static unsigned renew(struct world *world, const char *id, const char *authorization,
                      const char *reason)
{
    Hubcache__V1__RenewLeaseRequest request;
    Google__Protobuf__Duration lease = GOOGLE__PROTOBUF__DURATION__INIT;
    char copy[ID_SIZE];
    struct rpc_call *call;
    unsigned status;

    hubcache__v1__renew_lease_request__init(&request);
    assert_true(hc_format(copy, sizeof copy, "%s", id) >= 0);
    lease.seconds = 2 * (int64_t)HOUR;
    request.lease_id = copy;
    request.lease = &lease;
    call = ask(world, CACHE_METHOD("RenewLease"), &request.base, authorization);
    status = rpc_call_await(call);
    assert_string_equal(rpc_call_reason(call), reason);
    rpc_call_free(call);
    return status;
}

static unsigned release(struct world *world, const char *id, const char *authorization,
                        const char *reason)
{
    Hubcache__V1__ReleaseLeaseRequest request;
    char copy[ID_SIZE];
    struct rpc_call *call;
    unsigned status;

    hubcache__v1__release_lease_request__init(&request);
    assert_true(hc_format(copy, sizeof copy, "%s", id) >= 0);
    request.lease_id = copy;
    call = ask(world, CACHE_METHOD("ReleaseLease"), &request.base, authorization);
    status = rpc_call_await(call);
    assert_string_equal(rpc_call_reason(call), reason);
    rpc_call_free(call);
    return status;
}

/* The caller frees it with protobuf_c_message_free_unpacked(). */
static Hubcache__V1__ListLeasesResponse *list(struct world *world,
                                              Hubcache__V1__ListLeasesRequest *request,
                                              const char *authorization)
{
    struct rpc_call *call =
        ask(world, CACHE_METHOD("ListLeases"), &request->base, authorization);
    Hubcache__V1__ListLeasesResponse *answer;

    assert_ok(call);
    answer = (void *)rpc_call_message(call, 0,
                                      &hubcache__v1__list_leases_response__descriptor);
    rpc_call_free(call);
    return answer;
}

/* ---- taking ------------------------------------------------------------------------ */

static void each_kind_of_answer_has_a_lease_of_its_own(void **state)
{
    static char config[] = "config.json", weights[] = "weights.bin";
    char *names[] = {config, weights};
    struct world *world = *state;
    Hubcache__V1__ResolveFilesRequest several;
    Hubcache__V1__WatchSnapshotRequest watch = HUBCACHE__V1__WATCH_SNAPSHOT_REQUEST__INIT;
    Hubcache__V1__ResolveFileResponse *file;
    Hubcache__V1__ResolveFilesResponse *files;
    Hubcache__V1__WatchSnapshotResponse *event;
    struct leased_request request;
    struct rpc_call *call;

    hubcache__v1__resolve_files_request__init(&several);
    ask_for(&request, HOUR);
    call = ask(world, METHOD("ResolveFile"), &request.file.base, NULL);
    assert_ok(call);
    file = (void *)rpc_call_message(call, 0,
                                    &hubcache__v1__resolve_file_response__descriptor);
    assert_string_not_equal(file->lease_id, "");
    assert_string_equal(file->file->filename, "config.json");
    protobuf_c_message_free_unpacked(&file->base, NULL);
    rpc_call_free(call);

    several.repo_id = request.file.repo_id;
    several.filenames = names;
    several.n_filenames = 2;
    several.options = &request.options;
    call = ask(world, METHOD("ResolveFiles"), &several.base, NULL);
    assert_ok(call);
    files = (void *)rpc_call_message(call, 0,
                                     &hubcache__v1__resolve_files_response__descriptor);
    assert_string_not_equal(files->lease_id, "");
    assert_int_equal(files->n_files, 2);
    protobuf_c_message_free_unpacked(&files->base, NULL);
    rpc_call_free(call);

    watch.snapshot = &request.snapshot;
    call = ask(world, METHOD("WatchSnapshot"), &watch.base, NULL);
    assert_ok(call);
    event = (void *)rpc_call_message(call, rpc_call_await_messages(call, 1000) - 1,
                                     &hubcache__v1__watch_snapshot_response__descriptor);
    assert_int_equal(event->event_case,
                     HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_RESULT);
    assert_string_not_equal(event->result->lease_id, "");
    protobuf_c_message_free_unpacked(&event->base, NULL);
    rpc_call_free(call);
    assert_int_equal(temp_dir_count(world->dir, LEASES), 3);
}

static void calls_that_share_a_download_have_a_lease_each(void **state)
{
    struct world *world = *state;
    struct leased_request request;
    struct rpc_call *calls[4];
    char ids[4][ID_SIZE];

    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .times = 1,
                                                      .fault = TEST_HUB_STALL,
                                                      .number = WEIGHTS_SIZE / 2});
    ask_for(&request, HOUR);
    for (int i = 0; i < 4; i++)
        calls[i] = start(world, METHOD("ResolveSnapshot"), &request.snapshot.base, NULL);
    test_hub_await_stall(world->hub);
    test_hub_release(world->hub);
    for (int i = 0; i < 4; i++) {
        take_id(calls[i], ids[i]);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    assert_int_equal(test_hub_count_cdn(world->hub, "GET"), 1);
    assert_int_equal(temp_dir_count(world->dir, LEASES), 4);
}

static void hits_have_a_lease_each_and_calls_without_one_none(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveSnapshotRequest plain = snapshot_request();
    char one[ID_SIZE], two[ID_SIZE], none[ID_SIZE];

    lease_snapshot(world, NULL, one);
    lease_snapshot(world, NULL, two);
    take_id(ask(world, METHOD("ResolveSnapshot"), &plain.base, NULL), none);
    assert_string_not_equal(one, "");
    assert_string_not_equal(two, "");
    assert_string_not_equal(one, two);
    assert_string_equal(none, "");
    assert_int_equal(temp_dir_count(world->dir, LEASES), 2);
}

/* Another client removes the snapshot after it was answered. */
static void what_is_answered_with_a_lease_is_there(void **state)
{
    struct world *world = *state;
    char id[ID_SIZE], path[512];
    HC_AUTO_FREE char *snapshot = NULL;

    for (int i = 0; i < 5; i++) {
        lease_snapshot(world, NULL, id);
        assert_true(hc_format(path, sizeof path,
                              "cache/models--org--name/snapshots/%s/config.json",
                              world->commit) > 0);
        snapshot = temp_dir_path(world->dir, path);
        assert_int_equal(unlink(snapshot), 0);
        free(hc_take(&snapshot));
    }
    lease_snapshot(world, NULL, id);
    assert_true(temp_dir_has(world->dir, path));
}

static void a_local_directory_has_no_lease(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *root = temp_dir_path(world->dir, "local");
    char id[ID_SIZE];

    temp_dir_write(world->dir, "local/org/name/config.json", "{}");
    world_serve(world, (const char *const[]){"--local-root", root, NULL});
    lease_snapshot(world, NULL, id);
    assert_string_equal(id, "");
    assert_int_equal(temp_dir_count(world->dir, LEASES), 0);
}

static void assert_refused(struct world *world, struct leased_request *request,
                           const char *reason)
{
    struct rpc_call *call =
        ask(world, METHOD("ResolveSnapshot"), &request->snapshot.base, NULL);

    assert_string_equal(rpc_call_reason(call), reason);
    rpc_call_free(call);
}

static void a_lease_of_no_time_or_too_long_or_of_a_dry_run_is_refused(void **state)
{
    static const int64_t bad[] = {0, -1, 61, INT64_MAX};
    struct world *world = *state;
    Hubcache__V1__ReadFileRequest read = HUBCACHE__V1__READ_FILE_REQUEST__INIT;
    struct leased_request request;
    struct rpc_call *call;
    char id[ID_SIZE];

    world_serve(world, (const char *const[]){"--max-lease", "60s", NULL});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask_for(&request, bad[i]);
        assert_refused(world, &request, "INVALID_OPTIONS");
    }
    ask_for(&request, 60);
    request.options.dry_run = true;
    assert_refused(world, &request, "INVALID_OPTIONS");
    ask_for(&request, 60);
    read.file = &request.file;
    call = ask(world, METHOD("ReadFile"), &read.base, NULL);
    assert_string_equal(rpc_call_reason(call), "INVALID_OPTIONS");
    assert_string_equal(rpc_call_violation(call), "options.lease");
    rpc_call_free(call);
    take_id(ask(world, METHOD("ResolveSnapshot"), &request.snapshot.base, NULL), id);
    assert_string_not_equal(id, "");
}

static void a_caller_has_as_many_leases_as_it_may(void **state)
{
    struct world *world = *state;
    struct leased_request request;
    struct rpc_call *call;
    char ids[3][ID_SIZE];

    world_serve(world, (const char *const[]){"--leases-per-caller", "3", NULL});
    for (int i = 0; i < 3; i++)
        lease_snapshot(world, NULL, ids[i]);
    ask_for(&request, HOUR);
    call = ask(world, METHOD("ResolveSnapshot"), &request.snapshot.base, NULL);
    assert_string_equal(rpc_call_reason(call), "POLICY_DENIED");
    assert_string_equal(rpc_call_error_info(call, "rule"), "leases-per-caller");
    rpc_call_free(call);
    assert_int_equal(release(world, ids[0], NULL, ""), HC_STATUS_OK);
    lease_snapshot(world, NULL, ids[0]);
    assert_int_equal(temp_dir_count(world->dir, LEASES), 3);
}

static void without_a_place_for_leases_a_call_for_one_fails(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveSnapshotRequest plain = snapshot_request();
    struct leased_request request;
    char id[ID_SIZE];

    temp_dir_write(world->dir, LEASES, "in the way");
    ask_for(&request, HOUR);
    assert_refused(world, &request, "CACHE_IO");
    take_id(ask(world, METHOD("ResolveSnapshot"), &plain.base, NULL), id);
}

/* ---- renewing, releasing, listing -------------------------------------------------- */

static void another_replica_lists_renews_and_releases(void **state)
{
    struct world *world = *state, second;
    Hubcache__V1__ListLeasesRequest request;
    Hubcache__V1__ListLeasesResponse *leases;
    char id[ID_SIZE];

    hubcache__v1__list_leases_request__init(&request);
    lease_snapshot(world, NULL, id);
    world_serve_replica(world, &second, (const char *const[]){NULL});
    leases = list(&second, &request, NULL);
    assert_int_equal(leases->n_leases, 1);
    assert_string_equal(leases->leases[0]->lease_id, id);
    assert_string_equal(leases->leases[0]->repo_id, "org/name");
    assert_string_equal(leases->leases[0]->commit_hash, world->commit);
    assert_string_equal(leases->leases[0]->caller, "");
    assert_string_equal(leases->leases[0]->pod, "vllm-0");
    assert_in_range(leases->leases[0]->until->seconds - leases->leases[0]->since->seconds,
                    HOUR, HOUR + 1);
    protobuf_c_message_free_unpacked(&leases->base, NULL);
    assert_int_equal(renew(&second, id, NULL, ""), HC_STATUS_OK);
    leases = list(world, &request, NULL);
    assert_in_range(leases->leases[0]->until->seconds - leases->leases[0]->since->seconds,
                    2 * HOUR, 2 * HOUR + 60); /* it was renewed later than taken */
    protobuf_c_message_free_unpacked(&leases->base, NULL);
    assert_int_equal(release(&second, id, NULL, ""), HC_STATUS_OK);
    assert_int_equal(release(&second, id, NULL, ""), HC_STATUS_OK);
    assert_int_equal(renew(world, id, NULL, "NOT_CACHED"), HC_STATUS_NOT_FOUND);
    world_end_replica(&second);
}

static void a_lease_outlives_the_server_that_gave_it(void **state)
{
    struct world *world = *state;
    char id[ID_SIZE];

    lease_snapshot(world, NULL, id);
    rpc_client_close(world->client);
    assert_int_equal(kill(world->server, SIGKILL), 0);
    (void)world_await_end(world);
    world_serve(world, (const char *const[]){NULL});
    assert_int_equal(renew(world, id, NULL, ""), HC_STATUS_OK);
}

/* Sets the mtime of the only lease to an hour ago. */
static void end_lease(struct world *world)
{
    static const struct timespec past[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    char path[512];
    HC_AUTO_FREE char *full = NULL;
    HC_AUTO_CLOSEDIR DIR *dir = NULL;
    const struct dirent *entry;

    assert_true(
        hc_format(path, sizeof path, LEASES "/models--org--name/%s", world->commit) > 0);
    full = temp_dir_path(world->dir, path);
    dir = opendir(full);
    assert_non_null(dir);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            assert_int_equal(utimensat(dirfd(dir), entry->d_name, past, 0), 0);
    }
}

static void a_lease_whose_time_has_passed_is_not_renewed(void **state)
{
    struct world *world = *state;
    char id[ID_SIZE];

    lease_snapshot(world, NULL, id);
    end_lease(world);
    assert_int_equal(renew(world, id, NULL, "NOT_CACHED"), HC_STATUS_NOT_FOUND);
    assert_int_equal(release(world, id, NULL, ""), HC_STATUS_OK);
}

static void what_is_no_lease_is_refused(void **state)
{
    static const char *const bad[] = {"", "x", "../../../etc/passwd", "models--a--b.1.2"};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(renew(world, bad[i], NULL, "INVALID_OPTIONS"),
                         HC_STATUS_INVALID_ARGUMENT);
        assert_int_equal(release(world, bad[i], NULL, "INVALID_OPTIONS"),
                         HC_STATUS_INVALID_ARGUMENT);
    }
}

/* The SHA-256 of "alice's" and "bob's". */
#define TOKENS                                                                           \
    "alice sha256:339f694afaae46da6ea82f200af9b636304d534bc92054419f5688ea53171240\n"    \
    "bob sha256:ee27442e4ca26b4c7944f1ac68c9fd5c995e84a2cd04b2bad3c41e4b232478f2\n"

static void a_lease_is_renewed_by_its_own_caller_alone(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *tokens = temp_dir_path(world->dir, "tokens");
    char id[ID_SIZE];

    temp_dir_write(world->dir, "tokens", TOKENS);
    world_serve(world, (const char *const[]){"--auth-tokens", tokens, NULL});
    lease_snapshot(world, "Bearer alice's", id);
    assert_int_equal(renew(world, id, "Bearer bob's", "POLICY_DENIED"),
                     HC_STATUS_PERMISSION_DENIED);
    assert_int_equal(renew(world, id, NULL, "POLICY_DENIED"),
                     HC_STATUS_PERMISSION_DENIED);
    assert_int_equal(renew(world, id, "Bearer alice's", ""), HC_STATUS_OK);
}

static void a_list_has_the_ids_of_the_leases_that_its_caller_may_end(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *tokens = temp_dir_path(world->dir, "tokens");
    HC_AUTO_FREE char *policy = temp_dir_path(world->dir, "policy.yaml");
    Hubcache__V1__ListLeasesRequest request;
    Hubcache__V1__ListLeasesResponse *leases;
    char id[ID_SIZE];

    hubcache__v1__list_leases_request__init(&request);
    temp_dir_write(world->dir, "tokens", TOKENS);
    temp_dir_write(world->dir, "policy.yaml",
                   "version: 1\ndefault: allow\nrules:\n- name: operators\n"
                   "  callers: [\"bob\"]\n  action: admin\n");
    world_serve(world,
                (const char *const[]){"--auth-tokens", tokens, "--policy", policy, NULL});
    lease_snapshot(world, "Bearer alice's", id);
    leases = list(world, &request, "Bearer alice's");
    assert_string_equal(leases->leases[0]->lease_id, id);
    assert_string_equal(leases->leases[0]->caller, "alice");
    protobuf_c_message_free_unpacked(&leases->base, NULL);
    leases = list(world, &request, "Bearer bob's");
    assert_string_equal(leases->leases[0]->lease_id, id);
    protobuf_c_message_free_unpacked(&leases->base, NULL);
    leases = list(world, &request, NULL);
    assert_string_equal(leases->leases[0]->lease_id, "");
    protobuf_c_message_free_unpacked(&leases->base, NULL);
    request.mine = true;
    leases = list(world, &request, "Bearer bob's");
    assert_int_equal(leases->n_leases, 0);
    protobuf_c_message_free_unpacked(&leases->base, NULL);
    assert_int_equal(release(world, id, NULL, "POLICY_DENIED"),
                     HC_STATUS_PERMISSION_DENIED);
    assert_int_equal(release(world, id, "Bearer bob's", ""), HC_STATUS_OK);
    assert_int_equal(temp_dir_count(world->dir, LEASES), 0);
}

/* A snapshot without the files that a rule denies is whole for its caller; an alias names
 * another repo than the lease. */
static void a_lease_is_given_as_the_policy_has_it(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *policy = temp_dir_path(world->dir, "policy.yaml");
    struct leased_request request;
    char alias[] = "prod-llm", id[ID_SIZE];

    temp_dir_write(world->dir, "policy.yaml",
                   "version: 1\ndefault: allow\nrules:\n- name: no-pickle\n"
                   "  files: [\"*.bin\"]\n  action: deny\naliases:\n"
                   "  prod-llm: {repo: org/name, revision: main}\n");
    world_serve(world, (const char *const[]){"--policy", policy, NULL});
    lease_snapshot(world, NULL, id);
    assert_string_not_equal(id, "");
    lease_snapshot(world, NULL, id);
    ask_for(&request, HOUR);
    request.snapshot.repo_id = alias;
    take_id(ask(world, METHOD("ResolveSnapshot"), &request.snapshot.base, NULL), id);
    assert_non_null(strstr(id, "models--org--name"));
    assert_int_equal(temp_dir_count(world->dir, LEASES), 3);
}

static void a_list_has_pages(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ListLeasesRequest request;
    Hubcache__V1__ListLeasesResponse *leases = NULL;
    char id[ID_SIZE], token[ID_SIZE] = "";
    size_t seen = 0;

    hubcache__v1__list_leases_request__init(&request);
    for (int i = 0; i < 5; i++)
        lease_snapshot(world, NULL, id);
    request.page_size = 2;
    request.repo_id = (char[]){"org/name"};
    do {
        request.page_token = token;
        leases = list(world, &request, NULL);
        assert_true(leases->n_leases <= 2);
        seen += leases->n_leases;
        for (size_t i = 0; i < leases->n_leases; i++)
            assert_null(strstr(leases->next_page_token, leases->leases[i]->lease_id));
        assert_true(hc_format(token, sizeof token, "%s", leases->next_page_token) >= 0);
        protobuf_c_message_free_unpacked(&leases->base, NULL);
    } while (token[0]);
    assert_int_equal(seen, 5);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define test_of(name)                                                                    \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        test(each_kind_of_answer_has_a_lease_of_its_own),
        test(calls_that_share_a_download_have_a_lease_each),
        test(hits_have_a_lease_each_and_calls_without_one_none),
        test(what_is_answered_with_a_lease_is_there),
        test_of(a_local_directory_has_no_lease),
        test_of(a_lease_of_no_time_or_too_long_or_of_a_dry_run_is_refused),
        test_of(a_caller_has_as_many_leases_as_it_may),
        test(without_a_place_for_leases_a_call_for_one_fails),
        test(another_replica_lists_renews_and_releases),
        test(a_lease_outlives_the_server_that_gave_it),
        test(a_lease_whose_time_has_passed_is_not_renewed),
        test(what_is_no_lease_is_refused),
        test_of(a_lease_is_renewed_by_its_own_caller_alone),
        test_of(a_list_has_the_ids_of_the_leases_that_its_caller_may_end),
        test_of(a_lease_is_given_as_the_policy_has_it),
        test(a_list_has_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
