/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: of the service Cache, each method that changes something needs the right to
 * administer, under every policy that gives it to some callers; and to a caller that may
 * not resolve a repo, each method answers as if the repo were not there.
 *
 * The table has the methods of the contract but for Prefetch, and for RenewLease and
 * ReleaseLease, which are service_lease_test's. One that the server does not have is
 * passed over, and is tested once it has it.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <hubcache/error.h>
#include <hubcache/v1/cache.pb-c.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"
#define BOB "9f03ef1533a68d2f506f81ef463c1183a82a6bd40e45613f36e6fe1889cf1b99"
#define COMMIT "1111111111111111111111111111111111111111"

enum { UNIMPLEMENTED = 12, ID_MAX = 64, HOUR = 3600 };

/* A caller's header; NULL: anonymous. */
#define AS_ALICE "Bearer alice-secret"
#define AS_BOB "Bearer bob-secret"

static const char no_admin[] = "version: 1\ndefault: allow\n";
static const char alice_administers[] =
    "version: 1\ndefault: allow\nrules:\n"
    "- {name: ops, callers: [alice], action: admin}\n";
static const char others_are_denied[] = "version: 1\ndefault: deny\nrules:\n"
                                        "- {name: ops, callers: [alice], action: admin}\n"
                                        "- {name: open, repos: [\"org/*\"], "
                                        "action: allow}\n";

/* ---- requests, one of each method -------------------------------------------------- */

/* All requests for one repo, and what they borrow. */
struct requests {
    char repo_id[ID_MAX];
    char commit[41], empty[1], lease_id[128];
    Hubcache__V1__CacheSelector selector, *selectors[1];
    Hubcache__V1__ResolveSnapshotRequest snapshot, *snapshots[1];
    Google__Protobuf__Duration hour;
    char *repo_ids[1];
    union {
        ProtobufCMessage base;
        Hubcache__V1__ListReposRequest list_repos;
        Hubcache__V1__ListRevisionsRequest list_revisions;
        Hubcache__V1__ListFilesRequest list_files;
        Hubcache__V1__GetUsageRequest get_usage;
        Hubcache__V1__DeleteRevisionsRequest delete_revisions;
        Hubcache__V1__PruneRequest prune;
        Hubcache__V1__EvictRequest evict;
        Hubcache__V1__VerifyRequest verify;
        Hubcache__V1__PinRequest pin;
        Hubcache__V1__UnpinRequest unpin;
        Hubcache__V1__ListLeasesRequest list_leases;
        Hubcache__V1__TestPolicyRequest test_policy;
    } message;
};

static void make_list_repos(struct requests *r)
{
    hubcache__v1__list_repos_request__init(&r->message.list_repos);
    r->message.list_repos.with_revisions = true;
}

static void make_list_revisions(struct requests *r)
{
    hubcache__v1__list_revisions_request__init(&r->message.list_revisions);
    r->message.list_revisions.repo_id = r->repo_id;
}

static void make_list_files(struct requests *r)
{
    hubcache__v1__list_files_request__init(&r->message.list_files);
    r->message.list_files.repo_id = r->repo_id;
    r->message.list_files.revision = r->commit;
}

static void make_get_usage(struct requests *r)
{
    hubcache__v1__get_usage_request__init(&r->message.get_usage);
}

static void make_delete_revisions(struct requests *r)
{
    hubcache__v1__delete_revisions_request__init(&r->message.delete_revisions);
    r->message.delete_revisions.selectors = r->selectors;
    r->message.delete_revisions.n_selectors = 1;
    r->message.delete_revisions.dry_run = true;
}

static void make_prune(struct requests *r)
{
    hubcache__v1__prune_request__init(&r->message.prune);
    r->message.prune.repo_ids = r->repo_ids;
    r->message.prune.n_repo_ids = 1;
    r->message.prune.dry_run = true;
}

static void make_evict(struct requests *r)
{
    hubcache__v1__evict_request__init(&r->message.evict);
    r->message.evict.bytes = 1;
    r->message.evict.dry_run = true;
}

static void make_verify(struct requests *r)
{
    hubcache__v1__verify_request__init(&r->message.verify);
    r->message.verify.selectors = r->selectors;
    r->message.verify.n_selectors = 1;
    r->message.verify.dry_run = true;
}

static void make_pin(struct requests *r)
{
    hubcache__v1__pin_request__init(&r->message.pin);
    r->message.pin.repo_id = r->repo_id;
    r->message.pin.revision = r->commit;
}

static void make_unpin(struct requests *r)
{
    hubcache__v1__unpin_request__init(&r->message.unpin);
    r->message.unpin.repo_id = r->repo_id;
    r->message.unpin.revision = r->commit;
}

static void make_list_leases(struct requests *r)
{
    hubcache__v1__list_leases_request__init(&r->message.list_leases);
}

static void make_list_leases_of_repo(struct requests *r)
{
    make_list_leases(r);
    r->message.list_leases.repo_id = r->repo_id;
}

static void make_test_policy(struct requests *r)
{
    hubcache__v1__test_policy_request__init(&r->message.test_policy);
    r->message.test_policy.repo_id = r->repo_id;
}

static const struct method {
    const char *path;
    void (*make)(struct requests *requests);
    bool changes;      /* needs the right to administer */
    bool is_of_repo;   /* names one */
    bool answers_open; /* also about a repo that is not there */
} methods[] = {
    {"ListRepos", make_list_repos, false, false, true},
    {"ListRevisions", make_list_revisions, false, true, false},
    {"ListFiles", make_list_files, false, true, false},
    {"GetUsage", make_get_usage, false, false, true},
    {"DeleteRevisions", make_delete_revisions, true, true, false},
    {"Prune", make_prune, true, true, true},
    {"Evict", make_evict, true, false, true},
    {"Verify", make_verify, true, true, false},
    {"Pin", make_pin, true, true, false},
    {"Unpin", make_unpin, true, true, true},
    {"ListLeases", make_list_leases, false, false, true},
    {"ListLeases", make_list_leases_of_repo, false, true, true},
    {"TestPolicy", make_test_policy, false, true, true},
};

enum { METHODS = sizeof methods / sizeof *methods };

static void requests_init(struct requests *r, const char *repo_id)
{
    *r = (struct requests){.commit = COMMIT};
    (void)snprintf(r->repo_id, sizeof r->repo_id, "%s", repo_id);
    hubcache__v1__cache_selector__init(&r->selector);
    r->selector.repo_id = r->repo_id;
    r->selectors[0] = &r->selector;
    r->repo_ids[0] = r->repo_id;
}

/* The caller frees the call, which is over. */
static struct rpc_call *ask(struct world *world, const struct method *method,
                            const char *repo_id, const char *authorization)
{
    char path[64];
    struct requests requests;
    struct rpc_call *call;

    requests_init(&requests, repo_id);
    method->make(&requests);
    (void)snprintf(path, sizeof path, "/hubcache.v1.Cache/%s", method->path);
    call = rpc_call_start(world->client,
                          &(struct rpc_request){.path = path,
                                                .message = &requests.message.base,
                                                .authorization = authorization});
    (void)rpc_call_await(call);
    return call;
}

/* ---- the world --------------------------------------------------------------------- */

/* One that ends in an hour. */
static void put_lease(struct world *world, const char *folder)
{
    const struct timespec end = {.tv_sec = time(NULL) + HOUR};
    const struct timespec times[2] = {end, end};
    char path[512];
    HC_AUTO_FREE char *whole = NULL;

    (void)snprintf(path, sizeof path,
                   "cache/.hubcache/leases/%s/" COMMIT
                   "/0123456789abcdef0123456789abcdef",
                   folder);
    temp_dir_write(world->dir, path, "{\"caller\": \"x\", \"pod\": \"p\"}");
    whole = temp_dir_path(world->dir, path);
    assert_int_equal(utimensat(AT_FDCWD, whole, times, 0), 0);
}

static void put_repo(struct world *world, const char *folder)
{
    char path[256];

    (void)snprintf(path, sizeof path, "cache/%s/snapshots/" COMMIT "/a.txt", folder);
    temp_dir_write(world->dir, path, "a file");
    (void)snprintf(path, sizeof path, "cache/%s/refs/main", folder);
    temp_dir_write(world->dir, path, COMMIT);
    put_lease(world, folder);
}

/* Repos org/shown and team/hidden; a policy of NULL: none. */
static void serve(struct world *world, const char *policy)
{
    HC_AUTO_FREE char *tokens = temp_dir_path(world->dir, "tokens");
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "policy.yaml");

    put_repo(world, "models--org--shown");
    put_repo(world, "models--team--hidden");
    temp_dir_write(world->dir, "tokens", "alice sha256:" ALICE "\nbob sha256:" BOB "\n");
    if (policy)
        temp_dir_write(world->dir, "policy.yaml", policy);
    world_serve(world, (const char *const[]){"--auth-tokens", tokens,
                                             policy ? "--policy" : NULL, path, NULL});
}

/* ---- rights ------------------------------------------------------------------------ */

/* Says of which method, and stops at the first. */
static void assert_may_change(struct world *world, const char *authorization,
                              bool is_allowed)
{
    for (size_t i = 0; i < METHODS; i++) {
        struct rpc_call *call;
        unsigned status;

        if (!methods[i].changes)
            continue;
        call = ask(world, &methods[i], "org/shown", authorization);
        status = rpc_call_await(call);
        if (status != UNIMPLEMENTED &&
            (is_allowed ? status == HC_STATUS_PERMISSION_DENIED
                        : status != HC_STATUS_PERMISSION_DENIED ||
                              strcmp(rpc_call_reason(call), "POLICY_DENIED") != 0 ||
                              strcmp(rpc_call_error_info(call, "rule"), "admin") != 0))
            fail_msg("%s for %s: %u %s %s", methods[i].path,
                     authorization ? authorization : "an anonymous caller", status,
                     rpc_call_reason(call), rpc_call_error(call));
        rpc_call_free(call);
    }
}

static void without_a_policy_every_caller_may_change_the_cache(void **state)
{
    struct world *world = *state;

    serve(world, NULL);
    assert_may_change(world, NULL, true);
    assert_may_change(world, AS_BOB, true);
    assert_may_change(world, AS_ALICE, true);
}

static void without_a_rule_of_administration_every_caller_may_change_it(void **state)
{
    struct world *world = *state;

    serve(world, no_admin);
    assert_may_change(world, NULL, true);
    assert_may_change(world, AS_BOB, true);
    assert_may_change(world, AS_ALICE, true);
}

static void with_such_a_rule_only_its_callers_may(void **state)
{
    static const char *const policies[] = {alice_administers, others_are_denied};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        serve(world, policies[i]);
        assert_may_change(world, NULL, false);
        assert_may_change(world, AS_BOB, false);
        assert_may_change(world, AS_ALICE, true);
        world_stop_server(world);
        assert_int_equal(world_await_end(world), 0);
        rpc_client_close(hc_take(&world->client));
    }
}

/* ---- what a caller sees ------------------------------------------------------------ */

/* Whether an answer, or the failure, has the text. */
static bool call_tells(struct rpc_call *call, const struct method *method,
                       const char *text)
{
    static const struct {
        const char *path;
        const ProtobufCMessageDescriptor *type;
    } answers[] = {
        {"ListRepos", &hubcache__v1__list_repos_response__descriptor},
        {"ListRevisions", &hubcache__v1__list_revisions_response__descriptor},
        {"ListFiles", &hubcache__v1__list_files_response__descriptor},
        {"GetUsage", &hubcache__v1__get_usage_response__descriptor},
        {"ListLeases", &hubcache__v1__list_leases_response__descriptor},
    };
    HC_AUTO_FREE unsigned char *bytes = NULL;
    bool tells = strstr(rpc_call_error(call), text) != NULL;

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        ProtobufCMessage *message;
        size_t size;

        if (strcmp(answers[i].path, method->path) != 0 ||
            rpc_call_await(call) != HC_STATUS_OK)
            continue;
        message = rpc_call_message(call, 0, answers[i].type);
        bytes = malloc(protobuf_c_message_get_packed_size(message) + 1);
        assert_non_null(bytes);
        size = protobuf_c_message_pack(message, bytes);
        tells = tells || memmem(bytes, size, text, strlen(text));
        protobuf_c_message_free_unpacked(message, NULL);
    }
    return tells;
}

static void assert_lists_show(struct world *world, const char *authorization,
                              const char *name, bool is_shown)
{
    for (size_t i = 0; i < METHODS; i++) {
        struct rpc_call *call;

        if (methods[i].is_of_repo || methods[i].changes)
            continue;
        call = ask(world, &methods[i], "", authorization);
        if (rpc_call_await(call) != UNIMPLEMENTED) {
            assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
            if (call_tells(call, &methods[i], name) != is_shown)
                fail_msg("%s %s %s", methods[i].path, is_shown ? "hides" : "shows", name);
        }
        rpc_call_free(call);
    }
}

static void lists_show_a_caller_what_it_may_resolve(void **state)
{
    struct world *world = *state;

    serve(world, others_are_denied);
    assert_lists_show(world, AS_BOB, "hidden", false);
    assert_lists_show(world, NULL, "hidden", false);
    assert_lists_show(world, AS_ALICE, "hidden", true);
    assert_lists_show(world, AS_BOB, "shown", true);
}

/* The status, the reason and the message of two calls, whose repos have names of one
 * length. */
static void assert_same_answer(struct world *world, const struct method *method,
                               const char *authorization)
{
    struct rpc_call *hidden = ask(world, method, "team/hidden", authorization);
    struct rpc_call *absent = ask(world, method, "team/absent", authorization);
    HC_AUTO_FREE char *told = strdup(rpc_call_error(hidden));
    HC_AUTO_FREE char *reason = strdup(rpc_call_reason(hidden));
    char *name;

    assert_non_null(told);
    while ((name = strstr(told, "hidden")) != NULL)
        memcpy(name, "absent", strlen("absent"));
    if (rpc_call_await(hidden) != rpc_call_await(absent) ||
        strcmp(reason, rpc_call_reason(absent)) != 0 ||
        strcmp(told, rpc_call_error(absent)) != 0)
        fail_msg("%s: '%s' of a hidden repo, '%s' of an absent one", method->path, told,
                 rpc_call_error(absent));
    rpc_call_free(hidden);
    rpc_call_free(absent);
}

static void
a_repo_that_a_caller_may_not_resolve_is_answered_like_an_absent_one(void **state)
{
    struct world *world = *state;

    serve(world, others_are_denied);
    for (size_t i = 0; i < METHODS; i++) {
        if (!methods[i].is_of_repo)
            continue;
        assert_same_answer(world, &methods[i], AS_BOB);
        assert_same_answer(world, &methods[i], NULL);
    }
}

/* So that the test above compares something. */
static void an_administrator_is_told_that_a_hidden_repo_is_there(void **state)
{
    struct world *world = *state;

    serve(world, others_are_denied);
    for (size_t i = 0; i < METHODS; i++) {
        struct rpc_call *hidden, *absent;

        if (!methods[i].is_of_repo || methods[i].answers_open)
            continue;
        hidden = ask(world, &methods[i], "team/hidden", AS_ALICE);
        absent = ask(world, &methods[i], "team/absent", AS_ALICE);
        if (rpc_call_await(hidden) != UNIMPLEMENTED &&
            (rpc_call_await(hidden) != HC_STATUS_OK ||
             rpc_call_await(absent) != HC_STATUS_NOT_FOUND))
            fail_msg("%s: %u for a hidden repo, %u for an absent one", methods[i].path,
                     rpc_call_await(hidden), rpc_call_await(absent));
        rpc_call_free(hidden);
        rpc_call_free(absent);
    }
}

/* ---- usage ------------------------------------------------------------------------- */

static Hubcache__V1__GetUsageResponse *usage_of(struct world *world,
                                                const char *authorization)
{
    const struct method usage = {"GetUsage", make_get_usage, false, false, true};
    struct rpc_call *call = ask(world, &usage, "", authorization);
    ProtobufCMessage *message;

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    message = rpc_call_message(call, 0, &hubcache__v1__get_usage_response__descriptor);
    rpc_call_free(call);
    return (Hubcache__V1__GetUsageResponse *)message;
}

static void fetch_as(struct world *world, const char *filename, const char *authorization)
{
    const Hubcache__V1__ResolveFileRequest request = file_request(filename);
    struct rpc_call *call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = METHOD("ResolveFile"),
                                             .message = &request.base,
                                             .authorization = authorization});

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
}

static void usage_shows_callers_to_administrators_and_each_caller_itself(void **state)
{
    static const char policy[] = "version: 1\ndefault: allow\nrules:\n"
                                 "- {name: ops, callers: [alice], action: admin}\n"
                                 "- {name: rest, repos: [\"org/*\"], action: allow}\n"
                                 "quotas: [{callers: [bob], bytes: 2M}]\n";
    struct world *world = *state;
    Hubcache__V1__GetUsageResponse *all, *own, *anonymous;

    serve(world, policy);
    fetch_as(world, "weights.bin", AS_BOB);
    fetch_as(world, "config.json", AS_ALICE);
    all = usage_of(world, AS_ALICE);
    own = usage_of(world, AS_BOB);
    anonymous = usage_of(world, NULL);

    assert_int_equal(all->n_callers, 2);
    assert_string_equal(all->callers[0]->name, "bob");
    assert_int_equal(all->callers[0]->size_bytes, WEIGHTS_SIZE);
    assert_int_equal(all->callers[0]->file_count, 1);
    assert_int_equal(all->callers[0]->quota_bytes, 2000000);
    assert_string_equal(all->callers[1]->name, "alice");
    assert_int_equal(all->callers[1]->quota_bytes, 0);
    assert_int_equal(all->n_rules, 2);
    assert_string_equal(all->rules[0]->name, "rest");
    assert_string_equal(all->rules[1]->name, "ops");
    assert_int_equal(own->n_callers, 1);
    assert_string_equal(own->callers[0]->name, "bob");
    assert_int_equal(own->n_rules + anonymous->n_callers + anonymous->n_rules, 0);
    protobuf_c_message_free_unpacked(&all->base, NULL);
    protobuf_c_message_free_unpacked(&own->base, NULL);
    protobuf_c_message_free_unpacked(&anonymous->base, NULL);
}

static void a_caller_beyond_its_quota_is_refused_with_what_is_left(void **state)
{
    static const char policy[] = "version: 1\ndefault: allow\n"
                                 "quotas: [{callers: [bob], bytes: 1M}]\n";
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct world *world = *state;
    struct rpc_call *call;

    serve(world, policy);
    fetch_as(world, "config.json", AS_BOB);
    call = rpc_call_start(world->client, &(struct rpc_request){
                                             .path = METHOD("ResolveFile"),
                                             .message = &request.base,
                                             .authorization = AS_BOB,
                                         });
    assert_int_equal(rpc_call_await(call), HC_STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(rpc_call_reason(call), "NO_SPACE");
    assert_string_equal(rpc_call_error_info(call, "rule"), "quota");
    assert_string_equal(rpc_call_error_info(call, "needed_bytes"), "1048576");
    assert_string_equal(rpc_call_error_info(call, "limit_bytes"), "1000000");
    assert_int_equal(rpc_call_retry_ms(call), -1);
    rpc_call_free(call);
    fetch_as(world, "weights.bin", AS_ALICE);
    fetch_as(world, "weights.bin", AS_BOB); /* a hit */
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_policy_every_caller_may_change_the_cache),
        TEST(without_a_rule_of_administration_every_caller_may_change_it),
        TEST(with_such_a_rule_only_its_callers_may),
        TEST(lists_show_a_caller_what_it_may_resolve),
        TEST(a_repo_that_a_caller_may_not_resolve_is_answered_like_an_absent_one),
        TEST(an_administrator_is_told_that_a_hidden_repo_is_there),
        TEST(usage_shows_callers_to_administrators_and_each_caller_itself),
        TEST(a_caller_beyond_its_quota_is_refused_with_what_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
