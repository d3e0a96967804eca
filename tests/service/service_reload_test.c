/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: SIGHUP reads configuration and files again, while calls run. What is right
 * takes effect, what needs a restart is named, and what is wrong changes nothing and is
 * said in the log and in the metrics.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <cert_maker.h>

#include <errno.h>
#include <hubcache/error.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"
#define BOB "9f03ef1533a68d2f506f81ef463c1183a82a6bd40e45613f36e6fe1889cf1b99"

static const char succeeded[] = "\nhubcache_reloads_total{result=\"success\"} ";
static const char failed[] = "\nhubcache_reloads_total{result=\"failure\"} ";
static const char is_successful[] = "\nhubcache_config_last_reload_successful ";

/* Starts the server with that configuration file and the flags; NULL ends them. */
static void serve(struct world *world, const char *config, const char *const *flags)
{
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "config.yaml");
    const char *all[FLAGS_MAX] = {"--http-listen", "127.0.0.1:0", "--config", path};

    for (size_t i = 0; flags[i]; i++)
        all[i + 4] = flags[i];
    temp_dir_write(world->dir, "config.yaml", config);
    world_serve(world, all);
}

/* A test that hangs here has failed. */
static void reload(struct world *world, const char *result)
{
    unsigned before = world_gauge(world, result);

    assert_int_equal(kill(world->server, SIGHUP), 0);
    while (world_gauge(world, result) == before)
        continue;
}

static void reload_with(struct world *world, const char *config, const char *result)
{
    temp_dir_write(world->dir, "config.yaml", config);
    reload(world, result);
}

/* Offline, a download cannot be forced. */
static bool is_offline(struct world *world)
{
    Hubcache__V1__FetchOptions options;
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call;
    bool is_refused;

    hubcache__v1__fetch_options__init(&options);
    options.force_download = true;
    request.options = &options;
    call = ask_file(world, &request);
    is_refused = strcmp(rpc_call_reason(call), "INVALID_OPTIONS") == 0;
    rpc_call_free(call);
    return is_refused;
}

static void a_changed_option_takes_effect(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    serve(world, "log-format: text\n", (const char *const[]){NULL});
    assert_int_equal(world_gauge(world, is_successful), 1);
    assert_false(is_offline(world));
    reload_with(world, "log-format: json\noffline: true\n", succeeded);
    assert_true(is_offline(world));
    reload_with(world, "log-format: text\n", succeeded);
    assert_false(is_offline(world));
    assert_true(
        world_gauge(world, "\nhubcache_config_last_reload_success_timestamp_seconds ") >
        0);

    log = world_log(world);
    assert_non_null(strstr(log, "\"changed\":\"offline, log-format\""));
    assert_non_null(strstr(log, "changed=\"offline, log-format\""));
}

static void flags_still_win_over_the_file(void **state)
{
    struct world *world = *state;

    serve(world, "", (const char *const[]){"--offline", NULL});
    reload_with(world, "offline: false\n", succeeded);
    assert_true(is_offline(world));
}

static void options_that_need_a_restart_are_named(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *log = NULL;

    serve(world, "workers: 3\n", (const char *const[]){NULL});
    reload_with(world, "workers: 4\nmirror: [\"https://mirror.example\"]\n", succeeded);

    log = world_log(world);
    assert_non_null(strstr(log, "changed options need a restart"));
    assert_non_null(strstr(log, "mirror, workers"));
}

static void a_wrong_configuration_changes_nothing(void **state)
{
    static const char *const wrong[] = {"offline: false\nno-such-option: 1\n",
                                        "offline: false\nworkers: none\n",
                                        "offline: false\nmirror: [nowhere]\n",
                                        "offline: false\nca-file: /no/such/file\n",
                                        "offline: [false"};
    struct world *world = *state;
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "config.yaml");
    HC_AUTO_FREE char *log = NULL;

    serve(world, "offline: true\n", (const char *const[]){NULL});
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        reload_with(world, wrong[i], failed);
        assert_true(is_offline(world));
        assert_int_equal(world_gauge(world, is_successful), 0);
    }
    assert_int_equal(unlink(path), 0);
    reload(world, failed);
    assert_true(is_offline(world));
    reload_with(world, "offline: true\n", succeeded);
    assert_int_equal(world_gauge(world, is_successful), 1);

    log = world_log(world);
    assert_non_null(strstr(log, "configuration not reloaded: the old one holds"));
    assert_non_null(strstr(log, "config.yaml, line 2: there is no option"));
    assert_non_null(strstr(log, "config.yaml': No such file"));
}

static void link_config(struct world *world, const char *to)
{
    HC_AUTO_FREE char *next = temp_dir_path(world->dir, "next");
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "config.yaml");

    assert_int_equal(symlink(to, next), 0);
    assert_int_equal(rename(next, path), 0);
}

/* As Kubernetes replaces a mounted ConfigMap. */
static void a_symlink_that_is_swapped_is_followed(void **state)
{
    struct world *world = *state;

    serve(world, "", (const char *const[]){NULL});
    temp_dir_write(world->dir, "first", "offline: true\n");
    temp_dir_write(world->dir, "second", "offline: false\n");
    link_config(world, "first");
    reload(world, succeeded);
    assert_true(is_offline(world));
    link_config(world, "second");
    reload(world, succeeded);
    assert_false(is_offline(world));
}

static unsigned status_with(struct world *world, const char *authorization)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call =
        rpc_call_start(world->client, &(struct rpc_request){
                                          .path = METHOD("ResolveFile"),
                                          .message = &request.base,
                                          .authorization = authorization,
                                      });
    unsigned status = rpc_call_await(call);

    rpc_call_free(call);
    return status;
}

/* The thread that looks at the files by itself would find both, up to two seconds later.
 */
static void callers_tokens_are_read_again_with_a_wrong_configuration(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *tokens = temp_dir_path(world->dir, "tokens");

    temp_dir_write(world->dir, "tokens", "alice sha256:" ALICE "\n");
    serve(world, "", (const char *const[]){"--auth-tokens", tokens, NULL});
    assert_int_equal(status_with(world, "Bearer alice-secret"), HC_STATUS_OK);
    temp_dir_write(world->dir, "tokens", "bob sha256:" BOB "\n");
    reload_with(world, "no-such-option: 1\n", failed);
    assert_int_equal(status_with(world, "Bearer bob-secret"), HC_STATUS_OK);
    assert_int_equal(status_with(world, "Bearer alice-secret"),
                     HC_STATUS_UNAUTHENTICATED);
    temp_dir_write(world->dir, "tokens", "alice sha256:wrong\n");
    reload_with(world, "offline: true\n", failed);
    assert_true(is_offline(world));
    assert_int_equal(status_with(world, "Bearer bob-secret"), HC_STATUS_OK);
}

static void a_wrong_token_file_of_the_hub_is_said(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *token = temp_dir_path(world->dir, "hub-token");
    HC_AUTO_FREE char *log = NULL;

    temp_dir_write(world->dir, "hub-token", "hf_first\n");
    serve(world, "", (const char *const[]){"--token-file", token, NULL});
    temp_dir_write(world->dir, "hub-token", "hf_two words\n");
    reload(world, failed);
    temp_dir_write(world->dir, "hub-token", "hf_second\n");
    reload(world, succeeded);

    log = world_log(world);
    assert_non_null(strstr(log, "the token for the Hub cannot be used"));
    assert_null(strstr(log, "hf_"));
}

static void write_certificate(struct world *world, const struct cert *cert,
                              const struct cert *key)
{
    HC_AUTO_FREE char *cert_text = cert_pem(cert);
    HC_AUTO_FREE char *key_text = cert_key_pem(key);

    temp_dir_write(world->dir, "tls.crt", cert_text);
    temp_dir_write(world->dir, "tls.key", key_text);
}

/* That the new one is shown is a promise of service_tls_test. */
static void certificates_are_read_again(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *cert_path = temp_dir_path(world->dir, "tls.crt");
    HC_AUTO_FREE char *key_path = temp_dir_path(world->dir, "tls.key");
    struct cert *authority = cert_make_authority();
    struct cert *first = cert_make_server(authority, "first.test");
    struct cert *second = cert_make_server(authority, "second.test");
    HC_AUTO_FREE char *log = NULL;
    char address[256]; /* for the world's client, which speaks no TLS */

    (void)snprintf(address, sizeof address, "unix:%s/socket", world->dir);
    write_certificate(world, first, first);
    serve(world, "",
          (const char *const[]){"--listen", address, "--tls-cert", cert_path, "--tls-key",
                                key_path, NULL});
    write_certificate(world, second, first);
    reload(world, failed);
    assert_int_equal(world_gauge(world, is_successful), 0);
    write_certificate(world, second, second);
    reload(world, succeeded);

    log = world_log(world);
    assert_non_null(strstr(log, "certificate not read again: the old one holds"));
    cert_free(first);
    cert_free(second);
    cert_free(authority);
}

/* Without a configuration file, and while calls run: each call succeeds. */
static void many_reloads_fail_no_call(void **state)
{
    enum { ROUNDS = 50, CALLS = 8 };
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");

    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rpc_call *calls[CALLS];

        for (unsigned i = 0; i < CALLS; i++) {
            calls[i] = start_file(world, &request);
            assert_int_equal(kill(world->server, SIGHUP), 0);
        }
        for (unsigned i = 0; i < CALLS; i++) {
            assert_int_equal(rpc_call_await(calls[i]), HC_STATUS_OK);
            rpc_call_free(calls[i]);
        }
    }
    reload(world, succeeded);
    assert_int_equal(world_gauge(world, failed), 0);
    world_stop_server(world);
    assert_int_equal(kill(world->server, SIGHUP), 0);
    assert_int_equal(world_await_end(world), 0);
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_changed_option_takes_effect),
        TEST(flags_still_win_over_the_file),
        TEST(options_that_need_a_restart_are_named),
        TEST(a_wrong_configuration_changes_nothing),
        TEST(a_symlink_that_is_swapped_is_followed),
        TEST(callers_tokens_are_read_again_with_a_wrong_configuration),
        TEST(a_wrong_token_file_of_the_hub_is_said),
        TEST(certificates_are_read_again),
        TEST(many_reloads_fail_no_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
