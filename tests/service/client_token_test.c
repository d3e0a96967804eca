/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a client shows hubcached its caller's token, from the options, or from a
 * file, which is read for each call, or from the environment; a file without a token
 * fails the call.
 */
#include "client_ask.h"
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache-client/client.h>
#include <string.h>

#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"
#define BOB "9f03ef1533a68d2f506f81ef463c1183a82a6bd40e45613f36e6fe1889cf1b99"

struct fixture {
    struct world *world;
    char *path; /* of the file with the token */
};

static int token_set_up(void **state)
{
    static struct fixture f;
    HC_AUTO_FREE char *tokens = NULL;

    if (world_setup_empty(state) < 0)
        return -1;
    f.world = *state;
    f.path = temp_dir_path(f.world->dir, "token");
    tokens = temp_dir_path(f.world->dir, "tokens");
    temp_dir_write(f.world->dir, "tokens",
                   "alice sha256:" ALICE "\nbob sha256:" BOB "\n");
    world_serve(f.world,
                (const char *const[]){"--auth-tokens", tokens, "--auth-required", NULL});
    *state = &f;
    return 0;
}

static int token_tear_down(void **state)
{
    struct fixture *f = *state;
    void *world = f->world;

    /* NOLINTBEGIN(concurrency-mt-unsafe): the test has one thread */
    (void)unsetenv("HUBCACHE_TOKEN");
    (void)unsetenv("HUBCACHE_TOKEN_FILE");
    /* NOLINTEND(concurrency-mt-unsafe) */
    free(f->path);
    return world_teardown(&world);
}

static struct hc_client *open_client(const struct fixture *f, const char *token,
                                     const char *file)
{
    const struct hc_client_options options = {.server = f->world->address,
                                              .bearer_token = token,
                                              .bearer_token_file = file};
    struct hc_error err;
    struct hc_client *client = hc_client_open(&options, &err);

    assert_non_null(client);
    return client;
}

static enum hc_reason ask_with(const struct fixture *f, const char *token,
                               const char *file)
{
    struct hc_client *client = open_client(f, token, file);
    struct hc_error err;
    enum hc_reason reason = client_ask(client, &err);

    hc_client_close(client);
    return reason;
}

static void the_file_is_read_for_each_call(void **state)
{
    struct fixture *f = *state;
    struct hc_client *client;
    struct hc_error err;

    temp_dir_write(f->world->dir, "token", "alice-secret\n");
    client = open_client(f, NULL, f->path);
    assert_int_equal(client_ask(client, &err), HC_OK);
    temp_dir_write(f->world->dir, "token", "mallory-secret");
    assert_int_equal(client_ask(client, &err), HC_CALLER_UNAUTHENTICATED);
    temp_dir_write(f->world->dir, "token", "  bob-secret  ");
    assert_int_equal(client_ask(client, &err), HC_OK);
    hc_client_close(client);
}

/* What is no header of a trace is not sent. */
static void the_trace_of_the_environment_is_sent(void **state)
{
    static const char trace_id[] = "4bf92f3577b34da6a3ce929d0e0e4736";
    struct fixture *f = *state;
    HC_AUTO_FREE char *log = NULL;
    char value[64];

    (void)snprintf(value, sizeof value, "00-%s-00f067aa0ba902b7-01", trace_id);
    /* NOLINTBEGIN(concurrency-mt-unsafe): the test has one thread */
    (void)setenv("TRACEPARENT", value, 1);
    assert_int_equal(ask_with(f, "alice-secret", NULL), HC_OK);
    value[10] = '\n';
    (void)setenv("TRACEPARENT", value, 1);
    assert_int_equal(ask_with(f, "alice-secret", NULL), HC_OK);
    (void)unsetenv("TRACEPARENT");
    /* NOLINTEND(concurrency-mt-unsafe) */

    log = world_log(f->world);
    assert_non_null(strstr(log, trace_id));
    assert_ptr_equal(strstr(strstr(log, trace_id) + 1, trace_id), NULL);
}

static void a_file_without_a_token_fails_the_call(void **state)
{
    static const char *const wrong[] = {"", " \n", "alice secret", "a\x01"};
    struct fixture *f = *state;
    struct hc_client *client = open_client(f, NULL, f->path);
    struct hc_error err;

    assert_int_equal(client_ask(client, &err), HC_INVALID_OPTIONS); /* it is not there */
    assert_non_null(strstr(err.message, f->path));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        temp_dir_write(f->world->dir, "token", wrong[i]);
        assert_int_equal(client_ask(client, &err), HC_INVALID_OPTIONS);
        assert_non_null(strstr(err.message, f->path));
        assert_null(strstr(err.message, "secret"));
    }
    hc_client_close(client);
}

/* As in the Hub's own clients: options, then the token's variable, then the file's. */
static void options_come_before_the_environment(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->world->dir, "token", "bob-secret");
    assert_int_equal(ask_with(f, NULL, NULL), HC_CALLER_UNAUTHENTICATED);
    /* NOLINTBEGIN(concurrency-mt-unsafe): the test has one thread */
    (void)setenv("HUBCACHE_TOKEN_FILE", f->path, 1);
    assert_int_equal(ask_with(f, NULL, NULL), HC_OK);
    (void)setenv("HUBCACHE_TOKEN", "mallory-secret", 1);
    assert_int_equal(ask_with(f, NULL, NULL), HC_CALLER_UNAUTHENTICATED);
    assert_int_equal(ask_with(f, NULL, f->path), HC_OK);
    assert_int_equal(ask_with(f, "alice-secret", NULL), HC_OK);
    (void)setenv("HUBCACHE_TOKEN", " alice-secret\n", 1);
    assert_int_equal(ask_with(f, NULL, NULL), HC_OK);
    assert_int_equal(ask_with(f, "mallory-secret", f->path), HC_CALLER_UNAUTHENTICATED);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, token_set_up, token_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_file_is_read_for_each_call),
        TEST(the_trace_of_the_environment_is_sent),
        TEST(a_file_without_a_token_fails_the_call),
        TEST(options_come_before_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
