/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the service Cache lists what is on the volume, page by page. Its calls
 * are in the audit log and in the metrics.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <base/error.h>
#include <hubcache/v1/cache.pb-c.h>
#include <string.h>

#define CACHE_METHOD(name) "/hubcache.v1.Cache/" name

typedef Hubcache__V1__ListReposRequest list_request;
typedef Hubcache__V1__ListReposResponse list_response;

static struct rpc_call *list_start(struct world *world, const list_request *request)
{
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = CACHE_METHOD("ListRepos"),
                                                .message = &request->base});
}

/* The caller frees it. */
static list_response *list_ask(struct world *world, const list_request *request)
{
    struct rpc_call *call = list_start(world, request);
    list_response *response;

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    response =
        (list_response *)rpc_call_message(call, 0,
                                          &hubcache__v1__list_repos_response__descriptor);
    rpc_call_free(call);
    return response;
}

static void list_free(list_response *response)
{
    hubcache__v1__list_repos_response__free_unpacked(response, NULL);
}

static void a_fetched_repo_is_listed_with_its_size_and_last_use(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest file = file_request("weights.bin");
    list_request request;
    list_response *before, *after;

    hubcache__v1__list_repos_request__init(&request);
    before = list_ask(world, &request);
    rpc_call_free(ask_file(world, &file));
    after = list_ask(world, &request);

    assert_int_equal(before->n_repos, 0);
    assert_int_equal(after->n_repos, 1);
    assert_string_equal(after->repos[0]->repo_id, "org/name");
    assert_int_equal(after->repos[0]->repo_type,
                     HUBCACHE__V1__REPO_TYPE__REPO_TYPE_MODEL);
    assert_int_equal(after->repos[0]->size_bytes, WEIGHTS_SIZE);
    assert_int_equal(after->repos[0]->file_count, 1);
    assert_int_equal(after->repos[0]->n_revisions, 0);
    assert_non_null(after->repos[0]->last_used);
    assert_string_equal(after->repos[0]->cache_path, "models--org--name");
    assert_string_equal(after->next_page_token, "");
    list_free(before);
    list_free(after);
}

static void pages_of_one_repo_have_each_repo_once(void **state)
{
    static const char *const folders[] = {"datasets--a--b", "models--a--b", "models--c",
                                          "spaces--x--y"};
    struct world *world = *state;
    list_request request;
    HC_AUTO_FREE char *token = strdup("");
    char path[128];

    hubcache__v1__list_repos_request__init(&request);
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof path, "cache/%s/blobs/x", folders[i]);
        temp_dir_write(world->dir, path, "x");
    }
    request.page_size = 1;
    for (unsigned i = 0; i < 4; i++) {
        list_response *page;

        request.page_token = token;
        page = list_ask(world, &request);
        assert_int_equal(page->n_repos, 1);
        assert_string_equal(page->repos[0]->cache_path, folders[i]);
        free(token);
        token = strdup(page->next_page_token);
        assert_int_equal(*token == '\0', i == 3);
        list_free(page);
    }
}

static void a_token_of_another_request_is_refused(void **state)
{
    struct world *world = *state;
    list_request request;
    struct rpc_call *call;

    hubcache__v1__list_repos_request__init(&request);
    request.page_token = (char[]){"models--a--b"};
    call = list_start(world, &request);

    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_reason(call), "INVALID_OPTIONS");
    assert_string_equal(rpc_call_violation(call), "page_token");
    rpc_call_free(call);
}

static void an_unknown_type_is_refused(void **state)
{
    struct world *world = *state;
    list_request request;
    Hubcache__V1__RepoType type = (Hubcache__V1__RepoType)9;
    struct rpc_call *call;

    hubcache__v1__list_repos_request__init(&request);
    request.repo_types = &type;
    request.n_repo_types = 1;
    call = list_start(world, &request);

    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_violation(call), "repo_type");
    rpc_call_free(call);
}

static void a_call_is_in_the_audit_log_and_in_the_metrics(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "audit");
    list_request request;
    HC_AUTO_FREE char *lines = NULL;

    hubcache__v1__list_repos_request__init(&request);
    world_serve(world, (const char *const[]){"--audit-log", path, "--http-listen",
                                             "127.0.0.1:0", NULL});
    list_free(list_ask(world, &request));

    assert_int_equal(world_gauge(world, "hubcache_requests_total{method=\""
                                        "/hubcache.v1.Cache/ListRepos\",reason=\"OK\"} "),
                     1);
    assert_int_equal(world_gauge(world, "hubcache_running_jobs{pool=\"admin\"} "), 0);
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
    lines = temp_dir_read(world->dir, "audit");
    assert_non_null(strstr(lines, "hubcache.v1.Cache/ListRepos"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_fetched_repo_is_listed_with_its_size_and_last_use),
        TEST(pages_of_one_repo_have_each_repo_once),
        TEST(a_token_of_another_request_is_refused),
        TEST(an_unknown_type_is_refused),
        TEST_EMPTY(a_call_is_in_the_audit_log_and_in_the_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
