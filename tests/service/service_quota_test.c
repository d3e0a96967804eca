/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise, of two replicas on one volume with the same policy: what each has fetched
 * for the callers of a quota counts at both, and what either evicts or deletes gives its
 * room back at both; a refusal says which quota, and by how much; together they exceed a
 * quota by no more than what one of them is fetching; and the first quota that matches a
 * caller or its groups counts for it, and no other.
 */
#include "replicas_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <inttypes.h>
#include <string.h>

#define ALICE "Bearer alice's"
#define BOB "Bearer bob's"

/* The SHA-256 of "alice's" and "bob's"; both are of the group research. */
#define TOKENS                                                                           \
    "alice sha256:339f694afaae46da6ea82f200af9b636304d534bc92054419f5688ea53171240 "     \
    "research\n"                                                                         \
    "bob sha256:ee27442e4ca26b4c7944f1ac68c9fd5c995e84a2cd04b2bad3c41e4b232478f2 "       \
    "research\n"

static void serve_two(struct replicas *f, const char *quotas)
{
    HC_AUTO_FREE char *tokens = temp_dir_path(f->world->dir, "tokens");
    HC_AUTO_FREE char *policy = temp_dir_path(f->world->dir, "policy.yaml");
    const char *const flags[] = {"--auth-tokens", tokens, "--policy", policy, NULL};
    HC_AUTO_FREE char *text = NULL;

    assert_true(asprintf(&text, "version: 1\ndefault: allow\nquotas:\n%s", quotas) > 0);
    temp_dir_write(f->world->dir, "tokens", TOKENS);
    temp_dir_write(f->world->dir, "policy.yaml", text);
    world_serve(f->world, flags);
    world_serve_replica(f->world, &f->other, flags);
}

static void fetch_as(struct world *world, unsigned number, const char *authorization)
{
    (void)snapshot_take(snapshot_start_as(world, number, authorization), NULL);
}

/* Of a repo of REPO_SIZE bytes. */
static void assert_refused(struct rpc_call *call, uint64_t left, uint64_t limit,
                           const char *callers)
{
    char number[32];

    assert_int_equal(rpc_call_await(call), HC_STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(rpc_call_reason(call), "NO_SPACE");
    assert_string_equal(rpc_call_error_info(call, "rule"), "quota");
    (void)snprintf(number, sizeof number, "%d", REPO_SIZE);
    assert_string_equal(rpc_call_error_info(call, "needed_bytes"), number);
    (void)snprintf(number, sizeof number, "%" PRIu64, left);
    assert_string_equal(rpc_call_error_info(call, "free_bytes"), number);
    (void)snprintf(number, sizeof number, "%" PRIu64, limit);
    assert_string_equal(rpc_call_error_info(call, "limit_bytes"), number);
    assert_int_equal(rpc_call_retry_ms(call), -1);
    if (!strstr(rpc_call_error(call), callers) ||
        !strstr(rpc_call_error(call), "(line ") ||
        !strstr(rpc_call_error(call), "remove revisions"))
        fail_msg("%s", rpc_call_error(call));
    rpc_call_free(call);
}

static void what_one_replica_has_fetched_counts_at_the_other(void **state)
{
    struct replicas *f = *state;

    serve_two(f, "- {callers: [alice], bytes: 5000000}\n");
    fetch_as(f->world, 0, ALICE);
    fetch_as(&f->other, 1, ALICE);
    assert_refused(snapshot_start_as(f->world, 2, ALICE), 5000000 - 2 * REPO_SIZE,
                   5000000, "the quota of 'alice'");
    assert_refused(snapshot_start_as(&f->other, 2, ALICE), 5000000 - 2 * REPO_SIZE,
                   5000000, "the quota of 'alice'");
    fetch_as(&f->other, 2, BOB); /* has no quota */
    fetch_as(f->world, 2, ALICE);
    replicas_assert_left(f, "012");
}

static void what_a_replica_evicts_gives_room_back_at_the_other(void **state)
{
    struct replicas *f = *state;

    serve_two(f, "- {callers: [alice], bytes: 5000000}\n");
    fetch_as(f->world, 0, ALICE);
    fetch_as(f->world, 1, ALICE);
    replicas_set_used(f, 0, 1000);
    assert_refused(snapshot_start_as(f->world, 2, ALICE), 5000000 - 2 * REPO_SIZE,
                   5000000, "the quota of 'alice'");
    evict(&f->other, REPO_SIZE);
    replicas_assert_left(f, "1");
    fetch_as(f->world, 2, ALICE);
    assert_refused(snapshot_start_as(&f->other, 0, ALICE), 5000000 - 2 * REPO_SIZE,
                   5000000, "the quota of 'alice'");
}

static void what_is_deleted_gives_room_back(void **state)
{
    struct replicas *f = *state;
    Hubcache__V1__DeleteRevisionsRequest request;
    Hubcache__V1__CacheSelector selector;
    Hubcache__V1__CacheSelector *selectors[] = {&selector};
    char repo_id[] = "org/evict-0";
    struct rpc_call *call;

    serve_two(f, "- {callers: [alice], bytes: 3M}\n");
    fetch_as(f->world, 0, ALICE);
    assert_refused(snapshot_start_as(&f->other, 1, ALICE), 3000000 - REPO_SIZE, 3000000,
                   "the quota of 'alice'");
    hubcache__v1__delete_revisions_request__init(&request);
    hubcache__v1__cache_selector__init(&selector);
    selector.repo_id = repo_id;
    request.selectors = selectors;
    request.n_selectors = 1;
    call =
        rpc_call_start(f->world->client, &(struct rpc_request){
                                             .path = "/hubcache.v1.Cache/DeleteRevisions",
                                             .message = &request.base,
                                         });
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
    fetch_as(&f->other, 1, ALICE);
    replicas_assert_left(f, "1");
}

/* Alice's own quota is the first, although the group's and the last one match her, too:
 * neither counts what she has had fetched. */
static void the_first_quota_that_matches_counts_and_no_other(void **state)
{
    struct replicas *f = *state;

    serve_two(f, "- {callers: [alice], bytes: 3M}\n"
                 "- {callers: [\"group:research\"], bytes: 5M}\n"
                 "- {callers: [\"*\"], bytes: 1M}\n");
    fetch_as(f->world, 0, ALICE);
    assert_refused(snapshot_start_as(f->world, 1, ALICE), 3000000 - REPO_SIZE, 3000000,
                   "the quota of 'alice'");
    fetch_as(&f->other, 1, BOB);
    fetch_as(f->world, 2, BOB);
    assert_refused(snapshot_start_as(f->world, 3, BOB), 5000000 - 2 * REPO_SIZE, 5000000,
                   "the quota of 'group:research'");
    fetch_as(f->world, 1, ALICE); /* is there */
}

/* The group's quota counts both of its callers together. */
static void the_callers_of_a_group_share_its_quota(void **state)
{
    struct replicas *f = *state;

    serve_two(f, "- {callers: [carol, \"group:research\"], bytes: 5M}\n");
    fetch_as(f->world, 0, ALICE);
    fetch_as(&f->other, 1, BOB);
    assert_refused(snapshot_start_as(f->world, 2, BOB), 5000000 - 2 * REPO_SIZE, 5000000,
                   "the quota of 'carol' and 1 more");
    assert_refused(snapshot_start_as(&f->other, 2, ALICE), 5000000 - 2 * REPO_SIZE,
                   5000000, "the quota of 'carol' and 1 more");
}

/* 1: it was fetched; 0: the quota refused it. Frees the call. */
static unsigned end_of(struct rpc_call *call)
{
    bool is_done = rpc_call_await(call) == HC_STATUS_OK;

    if (!is_done)
        assert_string_equal(rpc_call_error_info(call, "rule"), "quota");
    rpc_call_free(call);
    return is_done;
}

/* Each replica has room for two of three at a time; what one fetches when the other looks
 * is all that the other does not see. */
static void downloads_of_two_replicas_at_once_exceed_it_by_those_of_one(void **state)
{
    struct replicas *f = *state;
    struct rpc_call *calls[REPOS];
    unsigned done = 0;

    serve_two(f, "- {callers: [alice], bytes: 5M}\n");
    for (unsigned i = 0; i < REPOS; i++)
        calls[i] = snapshot_start_as(i % 2 ? &f->other : f->world, i, ALICE);
    for (unsigned i = 0; i < REPOS; i++)
        done += end_of(calls[i]);
    assert_in_range(done, 2, 4);
    assert_int_equal(replicas_room(f), (uint64_t)done * REPO_SIZE);
    for (unsigned i = 0; i < REPOS; i++)
        (void)end_of(snapshot_start_as(i % 2 ? f->world : &f->other, i, ALICE));
    assert_int_equal(replicas_room(f), (uint64_t)done * REPO_SIZE);
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, replicas_set_up, replicas_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_one_replica_has_fetched_counts_at_the_other),
        TEST(what_a_replica_evicts_gives_room_back_at_the_other),
        TEST(what_is_deleted_gives_room_back),
        TEST(the_first_quota_that_matches_counts_and_no_other),
        TEST(the_callers_of_a_group_share_its_quota),
        TEST(downloads_of_two_replicas_at_once_exceed_it_by_those_of_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
