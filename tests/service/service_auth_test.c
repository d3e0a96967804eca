/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: hubcached knows its callers by their tokens, those of Kubernetes included,
 * or by the user behind a unix socket, refuses a wrong token and, with --auth-required, a
 * call without one, but for health; tokens and keys that are rotated take effect without
 * a restart, and no token is logged.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <jwt_maker.h>
#include <raw_server.h>

#include <fcntl.h>
#include <grpc/health/v1/health.pb-c.h>
#include <hubcache/error.h>
#include <string.h>
#include <time.h>

#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"
#define BOB "9f03ef1533a68d2f506f81ef463c1183a82a6bd40e45613f36e6fe1889cf1b99"

/* Starts the server with the tokens and the flags; NULL ends them. */
static void serve(struct world *world, const char *tokens, const char *const *flags)
{
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "tokens");
    const char *all[FLAGS_MAX] = {"--log-level", "debug",         "--log-format",
                                  "json",        "--auth-tokens", tokens ? path : NULL};
    size_t count = tokens ? 6 : 4;

    if (tokens)
        temp_dir_write(world->dir, "tokens", tokens);
    else
        all[4] = NULL;
    for (size_t i = 0; flags[i]; i++)
        all[count++] = flags[i];
    world_serve(world, all);
}

static struct rpc_call *ask(struct world *world, const char *authorization)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call =
        rpc_call_start(world->client, &(struct rpc_request){
                                          .path = METHOD("ResolveFile"),
                                          .message = &request.base,
                                          .authorization = authorization,
                                      });

    (void)rpc_call_await(call);
    return call;
}

static void assert_answered(struct world *world, const char *authorization)
{
    struct rpc_call *call = ask(world, authorization);

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    rpc_call_free(call);
}

static void assert_refused(struct world *world, const char *authorization)
{
    struct rpc_call *call = ask(world, authorization);

    assert_int_equal(rpc_call_await(call), HC_STATUS_UNAUTHENTICATED);
    assert_string_equal(rpc_call_reason(call), "CALLER_UNAUTHENTICATED");
    assert_non_null(strstr(rpc_call_error(call), "authorization: Bearer <token>"));
    rpc_call_free(call);
}

static void a_token_names_its_caller_and_is_not_logged(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    serve(world, "alice sha256:" ALICE " ops\n", (const char *const[]){NULL});
    assert_answered(world, "Bearer alice-secret");
    assert_answered(world, NULL);
    assert_refused(world, "Bearer mallory-secret");
    log = world_log(world);

    assert_non_null(strstr(log, "\"caller\":\"alice\",\"kind\":\"token\""));
    assert_null(strstr(log, "-secret"));
    assert_null(strstr(log, ALICE));
}

static unsigned method_status(struct world *world, const char *path)
{
    struct rpc_call *call =
        rpc_call_start(world->client, &(struct rpc_request){.path = path, .bytes = ""});
    unsigned status = rpc_call_await(call);

    rpc_call_free(call);
    return status;
}

static void without_an_identity_only_health_answers(void **state)
{
    static const char *const refused[] = {
        METHOD("ResolveFile"),
        METHOD("ResolveFiles"),
        METHOD("ResolveSnapshot"),
        METHOD("WatchSnapshot"),
        METHOD("ReadFile"),
        METHOD("GetServerInfo"),
        "/hubcache.v1.Cache/ListRepos",
        "/hubcache.v1.Cache/ListRevisions",
        "/hubcache.v1.Cache/ListFiles",
        "/hubcache.v1.Cache/GetUsage",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    };
    struct world *world = *state;

    serve(world, "alice sha256:" ALICE "\n",
          (const char *const[]){"--auth-required", NULL});
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(method_status(world, refused[i]), HC_STATUS_UNAUTHENTICATED);
    assert_int_equal(method_status(world, "/grpc.health.v1.Health/Check"), HC_STATUS_OK);
    assert_refused(world, NULL);
    assert_answered(world, "Bearer alice-secret");
}

/* Of a request that is refused, not even the Hub hears. */
static void a_refused_call_has_no_effect(void **state)
{
    struct world *world = *state;

    serve(world, "alice sha256:" ALICE "\n",
          (const char *const[]){"--auth-required", NULL});
    assert_refused(world, "Bearer wrong");
    assert_refused(world, NULL);
    assert_int_equal(test_hub_count(world->hub, NULL, NULL), 0);
}

static void a_unix_socket_shows_its_user(void **state)
{
    struct world *world = *state;
    char address[256], expected[64];
    HC_AUTO_FREE char *log = NULL;

    (void)snprintf(address, sizeof address, "unix:%s/socket", world->dir);
    (void)snprintf(expected, sizeof expected, "\"caller\":\"uid:%ju\",\"kind\":\"uid\"",
                   (uintmax_t)geteuid());
    serve(world, "alice sha256:" ALICE "\n",
          (const char *const[]){"--auth-required", "--listen", address, NULL});
    assert_answered(world, NULL);
    assert_answered(world, "Bearer alice-secret");
    assert_refused(world, "Bearer wrong");
    log = world_log(world);

    assert_non_null(strstr(log, expected));
    assert_non_null(strstr(log, "\"caller\":\"alice\""));
}

static void tokens_are_rotated_without_a_failed_call(void **state)
{
    struct world *world = *state;
    HC_AUTO_FCLOSE FILE *log = world_open_log(world);
    char line[4096];

    serve(world, "alice sha256:" ALICE "\n",
          (const char *const[]){"--auth-required", "--log-level", "info", NULL});
    assert_answered(world, "Bearer alice-secret");
    temp_dir_write(world->dir, "tokens",
                   "alice sha256:" ALICE "\nalice sha256:" BOB "\n");
    log_await_line(log, "callers' tokens read again", line, sizeof line);
    assert_answered(world, "Bearer alice-secret");
    assert_answered(world, "Bearer bob-secret");
    temp_dir_write(world->dir, "tokens", "alice sha256:" BOB "\n");
    log_await_line(log, "callers' tokens read again", line, sizeof line);
    assert_answered(world, "Bearer bob-secret");
    assert_refused(world, "Bearer alice-secret");
}

static void a_wrong_file_changes_nothing_and_is_logged(void **state)
{
    struct world *world = *state;
    HC_AUTO_FCLOSE FILE *log = world_open_log(world);
    char line[4096];

    serve(world, "alice sha256:" ALICE "\n",
          (const char *const[]){"--log-level", "info", NULL});
    temp_dir_write(world->dir, "tokens", "bob sha256:" BOB "\nalice\n");
    log_await_line(log, "not read again", line, sizeof line);
    assert_non_null(strstr(line, "/tokens, line 2: "));
    assert_answered(world, "Bearer alice-secret");
    assert_refused(world, "Bearer bob-secret");
}

/* --- JSON Web Tokens ------------------------------------------------------------------
 */

#define ISSUER "https://kubernetes.default.svc.cluster.local"

/* A JWKS, which the calling function frees. */
static char *set_of(const struct jwt_key *key, const char *kid)
{
    HC_AUTO_FREE char *more = NULL;
    HC_AUTO_FREE char *jwk = NULL;
    char *set = NULL;

    assert_true(asprintf(&more, ",\"kid\":\"%s\",\"use\":\"sig\"", kid) > 0);
    jwk = jwt_key_public(key, more);
    assert_true(asprintf(&set, "{\"keys\":[%s]}", jwk) > 0);
    return set;
}

/* "Bearer <token>" as Kubernetes makes it, which the calling function frees. */
static char *account_header(const struct jwt_key *key, const char *kid,
                            const char *audience, int64_t expires_in_s)
{
    int64_t now_s = (int64_t)time(NULL);
    HC_AUTO_FREE char *head = NULL;
    HC_AUTO_FREE char *claims = NULL;
    HC_AUTO_FREE char *token = NULL;
    char *header = NULL;

    assert_true(asprintf(&head, "{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid) > 0);
    assert_true(asprintf(&claims,
                         "{\"aud\":[\"%s\"],\"exp\":%jd,\"iat\":%jd,\"iss\":\"" ISSUER
                         "\","
                         "\"kubernetes.io\":{\"namespace\":\"prod\"},\"nbf\":%jd,"
                         "\"sub\":\"system:serviceaccount:prod:trainer\"}",
                         audience, (intmax_t)(now_s + expires_in_s), (intmax_t)now_s,
                         (intmax_t)now_s) > 0);
    token = jwt_sign(head, claims, "RS256", key);
    assert_true(asprintf(&header, "Bearer %s", token) > 0);
    return header;
}

static void serve_with_keys(struct world *world, const char *location, const char *level)
{
    serve(world, NULL,
          (const char *const[]){"--auth-jwt-issuer", ISSUER, "--auth-jwt-audience",
                                "hubcache", "--auth-jwt-keys", location,
                                "--auth-required", "--log-level", level, NULL});
}

static void a_service_account_calls_with_its_token(void **state)
{
    struct world *world = *state;
    struct jwt_key *key = jwt_key_make("RSA", 2048);
    HC_AUTO_FREE char *set = set_of(key, "k1");
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "keys");
    HC_AUTO_FREE char *good = account_header(key, "k1", "hubcache", 600);
    HC_AUTO_FREE char *other = account_header(key, "k1", ISSUER, 600);
    HC_AUTO_FREE char *old = account_header(key, "k1", "hubcache", -600);
    HC_AUTO_FREE char *log = NULL;

    temp_dir_write(world->dir, "keys", set);
    serve_with_keys(world, path, "debug");
    assert_answered(world, good);
    assert_answered(world, good);
    assert_refused(world, other);
    assert_refused(world, old);
    assert_refused(world, "Bearer alice-secret");
    assert_refused(world, NULL);
    log = world_log(world);

    assert_non_null(strstr(log, "\"caller\":\"system:serviceaccount:prod:trainer\","
                                "\"kind\":\"jwt\""));
    assert_non_null(strstr(log, "the token is for another audience"));
    assert_non_null(strstr(log, "the token has expired"));
    assert_null(strstr(log, "eyJ")); /* how every token begins */
    jwt_key_free(key);
}

static void answer_with_keys(struct raw_server *issuer, const char *set)
{
    HC_AUTO_FREE char *bytes = NULL;

    assert_true(asprintf(&bytes,
                         "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: "
                         "close\r\n\r\n%s",
                         strlen(set), set) > 0);
    raw_server_answer(issuer, "GET /jwks", bytes);
}

/* The first call with a new key makes hubcached ask for it. */
static void keys_at_a_url_are_rotated(void **state)
{
    struct world *world = *state;
    struct raw_server *issuer = raw_server_start();
    struct jwt_key *old = jwt_key_make("RSA", 2048), *fresh = jwt_key_make("RSA", 2048);
    HC_AUTO_FREE char *old_set = set_of(old, "k1");
    HC_AUTO_FREE char *fresh_set = set_of(fresh, "k2");
    HC_AUTO_FREE char *old_header = account_header(old, "k1", "hubcache", 600);
    HC_AUTO_FREE char *fresh_header = account_header(fresh, "k2", "hubcache", 600);
    HC_AUTO_FREE char *url = NULL;
    HC_AUTO_FCLOSE FILE *log = world_open_log(world);
    char line[4096];

    assert_true(asprintf(&url, "%s/jwks", raw_server_url(issuer)) > 0);
    answer_with_keys(issuer, old_set);
    serve_with_keys(world, url, "info");
    log_await_line(log, "keys of tokens read", line, sizeof line);
    assert_answered(world, old_header);
    answer_with_keys(issuer, fresh_set);
    assert_refused(world, fresh_header);
    log_await_line(log, "keys of tokens read", line, sizeof line);
    assert_answered(world, fresh_header);
    assert_refused(world, old_header);
    raw_server_stop(issuer);
    jwt_key_free(old);
    jwt_key_free(fresh);
}

static void without_keys_at_the_start_hubcached_serves_others(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    serve_with_keys(world, "http://127.0.0.1:1/jwks", "info");
    assert_int_equal(method_status(world, "/grpc.health.v1.Health/Check"), HC_STATUS_OK);
    assert_refused(world, NULL);
    log = world_log(world);
    assert_non_null(strstr(log, "keys of tokens not read again"));
}

static void wrong_options_end_the_start(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "tokens");
    HC_AUTO_FREE char *log = NULL;

    temp_dir_write(world->dir, "tokens", "alice\n");
    assert_int_equal(world_run_server(world,
                                      (const char *const[]){"--auth-tokens", path, NULL}),
                     2);
    assert_int_equal(world_run_server(world,
                                      (const char *const[]){"--check-config",
                                                            "--auth-tokens", path, NULL}),
                     2);
    assert_int_equal(world_run_server(world,
                                      (const char *const[]){"--auth-required", NULL}),
                     2);
    log = temp_dir_read(world->dir, "log");
    assert_non_null(strstr(log, "tokens, line 1"));
}

static void an_open_listener_is_warned_of(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    world_serve(world, (const char *const[]){"--allow-plaintext", "--listen", "0.0.0.0:0",
                                             NULL});
    log = world_log(world);
    assert_non_null(strstr(log, "any client may call"));
}

static void a_listener_that_is_open_by_choice_is_not(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    world_serve(world,
                (const char *const[]){"--auth", "none", "--allow-plaintext", "--listen",
                                      "0.0.0.0:0", "--listen", "127.0.0.1:0", NULL});
    assert_answered(world, "Bearer anything");
    log = world_log(world);
    assert_null(strstr(log, "any client may call"));
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_token_names_its_caller_and_is_not_logged),
        TEST(without_an_identity_only_health_answers),
        TEST(a_refused_call_has_no_effect),
        TEST(a_unix_socket_shows_its_user),
        TEST(tokens_are_rotated_without_a_failed_call),
        TEST(a_wrong_file_changes_nothing_and_is_logged),
        TEST(a_service_account_calls_with_its_token),
        TEST(keys_at_a_url_are_rotated),
        TEST(without_keys_at_the_start_hubcached_serves_others),
        TEST(wrong_options_end_the_start),
        TEST(an_open_listener_is_warned_of),
        TEST(a_listener_that_is_open_by_choice_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
