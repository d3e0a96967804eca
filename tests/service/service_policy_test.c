/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: each call of a real server that asks for what the policy denies fails with the
 * rule, its message and the alternative, also when the cache has it, and the Hub is not
 * asked for the file; a snapshot is without the files that are denied to its caller, and
 * says so; two callers of different rights that ask the same at the same time never share
 * an answer.
 *
 * What a change of the file does is service_policy_reload_test's.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <hubcache/v1/cache.pb-c.h>
#include <string.h>

#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"
#define BOB "9f03ef1533a68d2f506f81ef463c1183a82a6bd40e45613f36e6fe1889cf1b99"
#define AS_ALICE "Bearer alice-secret"
#define AS_BOB "Bearer bob-secret"
#define WAITING "\nhubcache_waiting_calls "

enum { NAME_MAX_SIZE = 64, EXCLUDED_MAX = 100, ASKED_MAX = 1000000 };

/* alice may have everything. */
static const char policy[] =
    "version: 1\n"
    "rules:\n"
    "- {name: alice, callers: [alice], action: allow}\n"
    "- {name: closed, repos: ['closed/*'], action: deny, message: ask the owners}\n"
    "- {name: no-bin, files: ['*.bin'], action: deny, message: use safetensors}\n";

/* ---- calls, one of each method ----------------------------------------------------- */

/* All requests for one file or snapshot, and what they borrow. */
struct requests {
    char repo_id[NAME_MAX_SIZE], filename[NAME_MAX_SIZE];
    char *filenames[1];
    Hubcache__V1__ResolveFileRequest file;
    Hubcache__V1__ResolveFilesRequest files;
    Hubcache__V1__ResolveSnapshotRequest snapshot, *snapshots[1];
    Hubcache__V1__WatchSnapshotRequest watch;
    Hubcache__V1__ReadFileRequest read;
    Hubcache__V1__PrefetchRequest prefetch;
};

enum method {
    FILE_CALL,
    FILES_CALL,
    READ_CALL,
    SNAPSHOT_CALL,
    WATCH_CALL,
    PREFETCH_CALL,
    METHODS
};

static void requests_init(struct requests *r, const char *repo_id, const char *filename)
{
    *r = (struct requests){.filenames = {r->filename}, .snapshots = {&r->snapshot}};
    (void)snprintf(r->repo_id, sizeof r->repo_id, "%s", repo_id);
    (void)snprintf(r->filename, sizeof r->filename, "%s", filename);
    r->file = file_request("");
    r->file.repo_id = r->repo_id;
    r->file.filename = r->filename;
    hubcache__v1__resolve_files_request__init(&r->files);
    r->files.repo_id = r->repo_id;
    r->files.filenames = r->filenames;
    r->files.n_filenames = 1;
    hubcache__v1__read_file_request__init(&r->read);
    r->read.file = &r->file;
    r->snapshot = snapshot_request();
    r->snapshot.repo_id = r->repo_id;
    hubcache__v1__watch_snapshot_request__init(&r->watch);
    r->watch.snapshot = &r->snapshot;
    hubcache__v1__prefetch_request__init(&r->prefetch);
    r->prefetch.snapshots = r->snapshots;
    r->prefetch.n_snapshots = 1;
}

/* Without a filename for the last three. */
static struct rpc_call *start(struct world *world, enum method method, const char *caller,
                              const char *repo_id, const char *filename)
{
    struct requests r;
    const struct {
        const char *path;
        const ProtobufCMessage *message;
    } calls[METHODS] = {
        [FILE_CALL] = {METHOD("ResolveFile"), &r.file.base},
        [FILES_CALL] = {METHOD("ResolveFiles"), &r.files.base},
        [READ_CALL] = {METHOD("ReadFile"), &r.read.base},
        [SNAPSHOT_CALL] = {METHOD("ResolveSnapshot"), &r.snapshot.base},
        [WATCH_CALL] = {METHOD("WatchSnapshot"), &r.watch.base},
        [PREFETCH_CALL] = {"/hubcache.v1.Cache/Prefetch", &r.prefetch.base},
    };

    requests_init(&r, repo_id, filename);
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = calls[method].path,
                                                .message = calls[method].message,
                                                .authorization = caller});
}

/* ---- answers ----------------------------------------------------------------------- */

static ProtobufCMessage *last_message(struct rpc_call *call,
                                      const ProtobufCMessageDescriptor *type)
{
    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    return rpc_call_message(call, rpc_call_await_messages(call, 0) - 1, type);
}

static bool status_tells(const Google__Rpc__Status *status, const char *text)
{
    bool tells = false;

    for (size_t i = 0; i < status->n_details; i++) {
        const ProtobufCBinaryData *detail = &status->details[i]->value;

        tells = tells || memmem(detail->data, detail->len, text, strlen(text));
    }
    return tells;
}

/* A prefetch ends well, and tells of the failure of each snapshot. */
static void assert_prefetch_denied(struct rpc_call *call, const char *rule,
                                   const char *rule_message)
{
    ProtobufCMessage *message =
        last_message(call, &hubcache__v1__prefetch_response__descriptor);
    const Hubcache__V1__PrefetchResponse *event = (const void *)message;

    assert_int_equal(event->event_case, HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_ERROR);
    assert_int_equal(event->error->code, HC_STATUS_PERMISSION_DENIED);
    assert_true(status_tells(event->error, "POLICY_DENIED"));
    assert_true(status_tells(event->error, rule));
    assert_true(status_tells(event->error, rule_message));
    protobuf_c_message_free_unpacked(message, NULL);
}

static void assert_denied(struct rpc_call *call, const char *rule,
                          const char *rule_message, const char *alternative)
{
    assert_int_equal(rpc_call_await(call), HC_STATUS_PERMISSION_DENIED);
    assert_string_equal(rpc_call_reason(call), "POLICY_DENIED");
    assert_string_equal(rpc_call_error_info(call, "rule"), rule);
    assert_string_equal(rpc_call_error_info(call, "rule_message"), rule_message);
    assert_string_equal(rpc_call_error_info(call, "alternative"), alternative);
    assert_int_equal(rpc_call_retry_ms(call), -1);
    assert_int_equal(rpc_call_await_messages(call, 0), 0);
    rpc_call_free(call);
}

/* The result of one of the three methods for snapshots. */
static void assert_snapshot(struct rpc_call *call, enum method method, unsigned files,
                            unsigned excluded)
{
    static const ProtobufCMessageDescriptor *const types[METHODS] = {
        [SNAPSHOT_CALL] = &hubcache__v1__resolve_snapshot_response__descriptor,
        [WATCH_CALL] = &hubcache__v1__watch_snapshot_response__descriptor,
        [PREFETCH_CALL] = &hubcache__v1__prefetch_response__descriptor,
    };
    ProtobufCMessage *message = last_message(call, types[method]);
    const Hubcache__V1__ResolveSnapshotResponse *result =
        method == SNAPSHOT_CALL ? (const void *)message
        : method == WATCH_CALL
            ? ((const Hubcache__V1__WatchSnapshotResponse *)message)->result
            : ((const Hubcache__V1__PrefetchResponse *)message)->result;

    assert_non_null(result);
    assert_int_equal(result->file_count, files);
    assert_int_equal(result->excluded_total, excluded);
    assert_int_equal(result->n_excluded,
                     excluded < EXCLUDED_MAX ? excluded : EXCLUDED_MAX);
    for (size_t i = 0; i < result->n_excluded; i++)
        assert_non_null(strstr(result->excluded[i], ".bin"));
    assert_int_equal(result->n_missing, 0);
    assert_int_equal(result->completeness,
                     HUBCACHE__V1__COMPLETENESS__COMPLETENESS_COMPLETE);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
}

static void assert_answers(struct rpc_call *call)
{
    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    rpc_call_free(call);
}

/* ---- the world --------------------------------------------------------------------- */

static int policy_setup(void **state)
{
    struct world *world;
    HC_AUTO_FREE char *tokens = NULL;
    HC_AUTO_FREE char *path = NULL;

    (void)world_setup_empty(state);
    world = *state;
    tokens = temp_dir_path(world->dir, "tokens");
    path = temp_dir_path(world->dir, "policy.yaml");
    temp_dir_write(world->dir, "tokens", "alice sha256:" ALICE "\nbob sha256:" BOB "\n");
    temp_dir_write(world->dir, "policy.yaml", policy);
    test_hub_add(world->hub, "a.txt", "a", 1, false);
    test_hub_commit(world->hub, "models/closed/name", "main", world->commit);
    test_hub_add(world->hub, "pytorch_model.bin", "pickle", 6, true);
    test_hub_add(world->hub, "model.safetensors", "tensors", 7, true);
    test_hub_commit(world->hub, "models/org/both", "main", world->commit);
    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                             "--auth-tokens", tokens, "--policy", path,
                                             "--grace-period", "0", NULL});
    return 0;
}

/* `bins` files that are denied, and one that is not. */
static void hub_commit_bins(struct world *world, const char *repo_id, unsigned bins)
{
    char name[NAME_MAX_SIZE];

    for (unsigned i = 0; i < bins; i++) {
        (void)snprintf(name, sizeof name, "part-%u.bin", i);
        test_hub_add(world->hub, name, name, strlen(name), false);
    }
    test_hub_add(world->hub, "config.json", "{}", 2, false);
    (void)snprintf(name, sizeof name, "models/%s", repo_id);
    test_hub_commit(world->hub, name, "main", world->commit);
}

/* ---- denied ------------------------------------------------------------------------ */

static void assert_each_method_denies(struct world *world, const char *caller)
{
    for (enum method method = 0; method < METHODS; method++) {
        struct rpc_call *call = start(world, method, caller, "closed/name", "a.txt");

        if (method == PREFETCH_CALL) {
            assert_prefetch_denied(call, "closed", "ask the owners");
            rpc_call_free(call);
        } else {
            assert_denied(call, "closed", "ask the owners", "");
        }
    }
    assert_int_equal(test_hub_count(world->hub, NULL, NULL), 0);
}

static void a_denied_repo_is_denied_by_each_method_cached_or_not(void **state)
{
    struct world *world = *state;

    assert_each_method_denies(world, AS_BOB);
    assert_each_method_denies(world, NULL);
    for (enum method method = 0; method < METHODS; method++)
        assert_answers(start(world, method, AS_ALICE, "closed/name", "a.txt"));
    test_hub_clear_log(world->hub);
    for (enum method method = 0; method < METHODS; method++)
        assert_answers(start(world, method, AS_ALICE, "closed/name", "a.txt"));
    test_hub_clear_log(world->hub);
    assert_each_method_denies(world, AS_BOB);
    assert_each_method_denies(world, NULL);
}

static void assert_denies_file(struct world *world)
{
    for (enum method method = FILE_CALL; method <= READ_CALL; method++)
        assert_denied(start(world, method, AS_BOB, "org/both", "pytorch_model.bin"),
                      "no-bin", "use safetensors", "model.safetensors");
    assert_int_equal(test_hub_count(world->hub, NULL, "/resolve/"), 0);
}

/* Also if the cache does not have the listing of the commit yet. */
static void a_denied_file_is_refused_with_its_alternative(void **state)
{
    struct world *world = *state;

    assert_denies_file(world);
    assert_snapshot(start(world, SNAPSHOT_CALL, AS_ALICE, "org/both", ""), SNAPSHOT_CALL,
                    2, 0);
    test_hub_clear_log(world->hub);
    assert_denies_file(world);
    assert_int_equal(test_hub_count(world->hub, NULL, NULL), 0);
    for (enum method method = FILE_CALL; method <= READ_CALL; method++) {
        assert_answers(start(world, method, AS_ALICE, "org/both", "pytorch_model.bin"));
        assert_answers(start(world, method, AS_BOB, "org/both", "model.safetensors"));
    }
}

static bool lists_repos(struct world *world, const char *caller, const char *repo_id)
{
    Hubcache__V1__ListReposRequest request;
    struct rpc_call *call;
    ProtobufCMessage *message;
    const Hubcache__V1__ListReposResponse *answer;
    bool has_it = false;

    hubcache__v1__list_repos_request__init(&request);
    call = rpc_call_start(world->client,
                          &(struct rpc_request){.path = "/hubcache.v1.Cache/ListRepos",
                                                .message = &request.base,
                                                .authorization = caller});
    message = last_message(call, &hubcache__v1__list_repos_response__descriptor);
    answer = (const void *)message;
    for (size_t i = 0; i < answer->n_repos; i++)
        has_it = has_it || strcmp(answer->repos[i]->repo_id, repo_id) == 0;
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_call_free(call);
    return has_it;
}

static void lists_are_without_denied_repos(void **state)
{
    struct world *world = *state;

    assert_answers(start(world, SNAPSHOT_CALL, AS_ALICE, "closed/name", ""));
    assert_answers(start(world, SNAPSHOT_CALL, AS_ALICE, "org/both", ""));
    assert_true(lists_repos(world, AS_ALICE, "closed/name"));
    assert_false(lists_repos(world, AS_BOB, "closed/name"));
    assert_false(lists_repos(world, NULL, "closed/name"));
    assert_true(lists_repos(world, AS_BOB, "org/both"));
}

/* ---- filtered ---------------------------------------------------------------------- */

/* From the Hub, from the cache, and from the cache after another caller had all. */
static void a_snapshot_names_at_most_a_hundred_files_that_it_is_without(void **state)
{
    static const unsigned counts[] = {0, 1, 100, 101};
    struct world *world = *state;
    char repo_id[NAME_MAX_SIZE];

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (enum method method = SNAPSHOT_CALL; method < METHODS; method++) {
            (void)snprintf(repo_id, sizeof repo_id, "org/bins-%u-%u", counts[i], method);
            hub_commit_bins(world, repo_id, counts[i]);
            for (unsigned times = 0; times < 3; times++)
                assert_snapshot(start(world, method, AS_BOB, repo_id, ""), method, 1,
                                counts[i]);
            assert_int_equal(test_hub_count(world->hub, "GET", ".bin"), 0);
            assert_snapshot(start(world, method, AS_ALICE, repo_id, ""), method,
                            counts[i] + 1, 0);
            assert_snapshot(start(world, method, AS_BOB, repo_id, ""), method, 1,
                            counts[i]);
            test_hub_clear_log(world->hub);
        }
    }
}

/* ---- at the same time -------------------------------------------------------------- */

static void await_waiting(struct world *world, unsigned count)
{
    for (unsigned i = 0; world_gauge(world, WAITING) < count; i++)
        assert_true(i < ASKED_MAX);
}

static void hub_stall(struct world *world)
{
    test_hub_rule(world->hub,
                  &(struct test_hub_rule){.contains = "/api/", .fault = TEST_HUB_STALL});
}

static void hub_go_on(struct world *world)
{
    test_hub_clear_rules(world->hub);
    test_hub_release(world->hub);
}

/* Two calls of each, of which the second joins the first; `first` asks first. */
static void ask_together(struct world *world, enum method method, const char *first,
                         const char *second)
{
    const char *const callers[] = {first, second, first, second};
    struct rpc_call *calls[4];
    char repo_id[NAME_MAX_SIZE];

    (void)snprintf(repo_id, sizeof repo_id, "org/together-%s-%u",
                   strcmp(first, AS_ALICE) == 0 ? "a" : "b", method);
    hub_commit_bins(world, repo_id, 1);
    hub_stall(world);
    for (unsigned i = 0; i < 4; i++) {
        calls[i] = start(world, method, callers[i], repo_id, "");
        await_waiting(world, i + 1);
    }
    hub_go_on(world);
    for (unsigned i = 0; i < 4; i++) {
        bool is_alice = strcmp(callers[i], AS_ALICE) == 0;

        assert_snapshot(calls[i], method, is_alice ? 2 : 1, is_alice ? 0 : 1);
    }
}

static void callers_of_different_rights_share_no_answer(void **state)
{
    struct world *world = *state;

    for (enum method method = SNAPSHOT_CALL; method <= WATCH_CALL; method++) {
        ask_together(world, method, AS_ALICE, AS_BOB);
        ask_together(world, method, AS_BOB, AS_ALICE);
    }
}

/* alice's download of a file is under way when bob asks for it. */
static void a_file_that_is_being_fetched_is_denied_to_another_caller(void **state)
{
    struct world *world = *state;

    test_hub_rule(world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                      .method = "GET",
                                                      .fault = TEST_HUB_STALL,
                                                      .number = 1000});
    for (enum method method = FILE_CALL; method <= READ_CALL; method++) {
        struct rpc_call *fetch;
        char repo_id[NAME_MAX_SIZE], path[NAME_MAX_SIZE + 8];

        (void)snprintf(repo_id, sizeof repo_id, "org/fetched-%u", method);
        (void)snprintf(path, sizeof path, "models/%s", repo_id);
        test_hub_add_generated(world->hub, "weights.bin", WEIGHTS_SIZE, 10 + method,
                               true);
        test_hub_commit(world->hub, path, "main", world->commit);
        fetch = start(world, method, AS_ALICE, repo_id, "weights.bin");
        test_hub_await_stall(world->hub);
        for (enum method asked = FILE_CALL; asked <= READ_CALL; asked++)
            assert_denied(start(world, asked, AS_BOB, repo_id, "weights.bin"), "no-bin",
                          "use safetensors", "");
        test_hub_release(world->hub);
        assert_answers(fetch);
    }
}

#define WORLD_TEST(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, policy_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_denied_repo_is_denied_by_each_method_cached_or_not),
        WORLD_TEST(a_denied_file_is_refused_with_its_alternative),
        WORLD_TEST(lists_are_without_denied_repos),
        WORLD_TEST(a_snapshot_names_at_most_a_hundred_files_that_it_is_without),
        WORLD_TEST(callers_of_different_rights_share_no_answer),
        WORLD_TEST(a_file_that_is_being_fetched_is_denied_to_another_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
