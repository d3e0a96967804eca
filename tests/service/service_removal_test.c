/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the service Cache deletes, prunes, pins and unpins; what it has removed is
 * not answered any more, by memory neither; a wrong name removes nothing; and each call
 * is in the audit log and in the metrics.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <base/error.h>
#include <hubcache/v1/cache.pb-c.h>
#include <string.h>
#include <unistd.h>

#define CACHE_METHOD(name) "/hubcache.v1.Cache/" name
#define SNAPSHOTS "cache/models--org--name/snapshots"
#define BLOBS "cache/models--org--name/blobs"

typedef Hubcache__V1__DeleteRevisionsResponse delete_response;

static struct rpc_call *ask(struct world *world, const char *method,
                            const ProtobufCMessage *message)
{
    struct rpc_call *call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = method, .message = message});

    (void)rpc_call_await(call);
    return call;
}

/* One selector; "" and NULL: all. */
static struct rpc_call *delete_start(struct world *world, const char *repo_id,
                                     const char *revision, const char *pattern,
                                     bool is_dry_run)
{
    Hubcache__V1__DeleteRevisionsRequest request;
    Hubcache__V1__CacheSelector selector;
    Hubcache__V1__CacheSelector *selectors[] = {&selector};
    HC_AUTO_FREE char *id = strdup(repo_id);
    HC_AUTO_FREE char *rev = strdup(revision);
    HC_AUTO_FREE char *glob = strdup(pattern ? pattern : "");

    hubcache__v1__delete_revisions_request__init(&request);
    hubcache__v1__cache_selector__init(&selector);
    selector.repo_id = id;
    selector.revision = rev;
    selector.patterns = &glob;
    selector.n_patterns = pattern ? 1 : 0;
    request.selectors = selectors;
    request.n_selectors = 1;
    request.dry_run = is_dry_run;
    return ask(world, CACHE_METHOD("DeleteRevisions"), &request.base);
}

/* The caller frees it. */
static delete_response *delete_ask(struct world *world, const char *revision,
                                   const char *pattern, bool is_dry_run)
{
    struct rpc_call *call =
        delete_start(world, "org/name", revision, pattern, is_dry_run);
    delete_response *response;

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    response = (delete_response *)
        rpc_call_message(call, 0, &hubcache__v1__delete_revisions_response__descriptor);
    rpc_call_free(call);
    return response;
}

static void delete_free(delete_response *response)
{
    hubcache__v1__delete_revisions_response__free_unpacked(response, NULL);
}

static void fetch(struct world *world, const char *name)
{
    const Hubcache__V1__ResolveFileRequest file = file_request(name);
    struct rpc_call *call = ask_file(world, &file);

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
}

/* The status of a call for a file that the Hub is not asked for. */
static int ask_cached(struct world *world, const char *name)
{
    Hubcache__V1__ResolveFileRequest file = file_request(name);
    Hubcache__V1__FetchOptions options;
    struct rpc_call *call;
    int status;

    hubcache__v1__fetch_options__init(&options);
    options.local_files_only = true;
    file.options = &options;
    call = ask_file(world, &file);
    status = (int)rpc_call_await(call);
    rpc_call_free(call);
    return status;
}

static void a_dry_run_tells_and_removes_nothing(void **state)
{
    struct world *world = *state;
    delete_response *planned;

    fetch(world, "weights.bin");
    planned = delete_ask(world, "main", NULL, true);
    assert_int_equal(planned->n_removed, 2);
    assert_string_equal(planned->removed[0]->repo_id, "org/name");
    assert_string_not_equal(planned->removed[0]->commit_hash, "");
    assert_string_equal(planned->removed[1]->commit_hash, "");
    assert_true(planned->freed_bytes >= WEIGHTS_SIZE);
    assert_int_equal(temp_dir_count(world->dir, BLOBS), 1);
    delete_free(planned);
}

static void what_was_removed_is_not_answered_any_more(void **state)
{
    struct world *world = *state;

    fetch(world, "weights.bin");
    assert_int_equal(ask_cached(world, "weights.bin"), HC_STATUS_OK);
    assert_int_equal(ask_cached(world, "weights.bin"), HC_STATUS_OK);
    delete_free(delete_ask(world, "", NULL, false));
    assert_int_equal(ask_cached(world, "weights.bin"), HC_STATUS_NOT_FOUND);
    assert_false(temp_dir_has(world->dir, "cache/models--org--name"));
    fetch(world, "weights.bin");
    assert_int_equal(ask_cached(world, "weights.bin"), HC_STATUS_OK);
}

static void a_file_of_a_revision_is_removed_by_its_pattern(void **state)
{
    struct world *world = *state;
    delete_response *done;

    fetch(world, "weights.bin");
    fetch(world, "config.json");
    done = delete_ask(world, "main", "*.bin", false);
    assert_int_equal(done->n_removed, 1);
    assert_string_equal(done->removed[0]->filename, "weights.bin");
    assert_int_equal(ask_cached(world, "weights.bin"), HC_STATUS_NOT_FOUND);
    assert_int_equal(ask_cached(world, "config.json"), HC_STATUS_OK);
    delete_free(done);
}

static void what_is_not_in_the_cache_is_not_cached(void **state)
{
    struct world *world = *state;
    struct rpc_call *call;

    fetch(world, "weights.bin");
    call = delete_start(world, "org/other", "", NULL, false);
    assert_int_equal(rpc_call_await(call), HC_STATUS_NOT_FOUND);
    assert_string_equal(rpc_call_reason(call), "NOT_CACHED");
    rpc_call_free(call);
    call = delete_start(world, "org/name", "v9", NULL, false);
    assert_string_equal(rpc_call_reason(call), "NOT_CACHED");
    rpc_call_free(call);
    call = delete_start(world, "../etc", "", NULL, false);
    assert_string_equal(rpc_call_reason(call), "INVALID_REPO_ID");
    rpc_call_free(call);
    assert_int_equal(temp_dir_count(world->dir, BLOBS), 1);
}

static void a_request_without_a_selector_is_refused(void **state)
{
    struct world *world = *state;
    Hubcache__V1__DeleteRevisionsRequest request;
    struct rpc_call *call;

    hubcache__v1__delete_revisions_request__init(&request);
    call = ask(world, CACHE_METHOD("DeleteRevisions"), &request.base);
    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_violation(call), "selectors");
    rpc_call_free(call);
}

static void a_pinned_revision_is_kept_until_it_is_unpinned(void **state)
{
    struct world *world = *state;
    Hubcache__V1__PinRequest pin;
    Hubcache__V1__UnpinRequest unpin;
    char id[] = "org/name", reason[] = "production";
    struct rpc_call *call;
    delete_response *kept;

    hubcache__v1__pin_request__init(&pin);
    hubcache__v1__unpin_request__init(&unpin);
    fetch(world, "weights.bin");
    pin.repo_id = unpin.repo_id = id;
    pin.reason = reason;
    call = ask(world, CACHE_METHOD("Pin"), &pin.base);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);

    kept = delete_ask(world, "", NULL, false);
    assert_int_equal(kept->n_removed, 0);
    assert_int_equal(kept->n_kept, 1);
    assert_int_equal(kept->kept[0]->held_by, HUBCACHE__V1__HELD_BY__HELD_BY_PIN);
    assert_string_equal(kept->kept[0]->detail, "production");
    delete_free(kept);

    call = ask(world, CACHE_METHOD("Unpin"), &unpin.base);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
    kept = delete_ask(world, "", NULL, false);
    assert_int_equal(kept->n_kept, 0);
    delete_free(kept);
}

static void a_revision_that_is_not_there_is_not_pinned(void **state)
{
    struct world *world = *state;
    Hubcache__V1__PinRequest pin;
    char id[] = "org/name";
    struct rpc_call *call;

    hubcache__v1__pin_request__init(&pin);
    pin.repo_id = id;
    call = ask(world, CACHE_METHOD("Pin"), &pin.base);
    assert_string_equal(rpc_call_reason(call), "NOT_CACHED");
    rpc_call_free(call);
}

static void a_prune_removes_a_revision_without_a_ref(void **state)
{
    struct world *world = *state;
    Hubcache__V1__PruneRequest request;
    Google__Protobuf__Duration now;
    Hubcache__V1__PruneResponse *response;
    HC_AUTO_FREE char *ref = NULL;
    struct rpc_call *call;

    hubcache__v1__prune_request__init(&request);
    google__protobuf__duration__init(&now);
    fetch(world, "weights.bin");
    ref = temp_dir_path(world->dir, "cache/models--org--name/refs/main");
    assert_int_equal(unlink(ref), 0);
    call = ask(world, CACHE_METHOD("Prune"), &request.base);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
    assert_int_equal(temp_dir_count(world->dir, BLOBS), 1);

    request.unused_for = &now;
    call = ask(world, CACHE_METHOD("Prune"), &request.base);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    response = (Hubcache__V1__PruneResponse *)
        rpc_call_message(call, 0, &hubcache__v1__prune_response__descriptor);
    assert_true(response->n_removed >= 1);
    assert_string_equal(response->removed[0]->detail, "no ref names it");
    assert_int_equal(temp_dir_count(world->dir, SNAPSHOTS), 0);
    hubcache__v1__prune_response__free_unpacked(response, NULL);
    rpc_call_free(call);
}

static void removals_are_in_the_audit_log_and_in_the_metrics(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "audit");
    HC_AUTO_FREE char *lines = NULL;
    const char *line;

    world_serve(world, (const char *const[]){"--audit-log", path, "--http-listen",
                                             "127.0.0.1:0", NULL});
    fetch(world, "weights.bin");
    delete_free(delete_ask(world, "main", NULL, false));
    assert_int_equal(world_gauge(world,
                                 "hubcache_removed_files_total{cause=\"delete\"} "),
                     1);
    assert_true(world_gauge(world, "hubcache_removed_bytes_total{cause=\"delete\"} ") >=
                WEIGHTS_SIZE);
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
    lines = temp_dir_read(world->dir, "audit");
    line = strstr(lines, "hubcache.v1.Cache/DeleteRevisions");
    assert_non_null(line);
    assert_non_null(strstr(line, "\"repo\":\"org/name\""));
    assert_non_null(strstr(line, "\"files\":1,"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_dry_run_tells_and_removes_nothing),
        TEST(what_was_removed_is_not_answered_any_more),
        TEST(a_file_of_a_revision_is_removed_by_its_pattern),
        TEST(what_is_not_in_the_cache_is_not_cached),
        TEST(a_request_without_a_selector_is_refused),
        TEST(a_pinned_revision_is_kept_until_it_is_unpinned),
        TEST(a_revision_that_is_not_there_is_not_pinned),
        TEST(a_prune_removes_a_revision_without_a_ref),
        TEST_EMPTY(removals_are_in_the_audit_log_and_in_the_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
