/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the client library speaks TLS with hubcached by its options or the
 * environment, says what is wrong when the two cannot agree, and makes each new
 * connection with the files as they are then.
 */
#include "client_ask.h"
#include "service_fixture.h"

#include <base/auto.h>
#include <cert_maker.h>

#include <hubcache-client/client.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_MAX = 64 };

struct fixture {
    struct world *world;
    struct cert *authority, *other_authority;
    char *ca, *cert, *key; /* paths of the client's files */
    char *server_cert, *server_key, *server_ca;
    char address[ADDRESS_MAX]; /* with TLS */
};

static char *path_of(const struct fixture *f, const char *name)
{
    return temp_dir_path(f->world->dir, name);
}

static int tls_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *world;

    if (!f || world_setup_empty(&world) < 0)
        return -1;
    f->world = world;
    f->authority = cert_make_authority();
    f->other_authority = cert_make_authority();
    f->ca = path_of(f, "ca.pem");
    f->cert = path_of(f, "client.pem");
    f->key = path_of(f, "client.key");
    f->server_cert = path_of(f, "server.pem");
    f->server_key = path_of(f, "server.key");
    f->server_ca = path_of(f, "clients.pem");
    (void)strcpy(f->address, "127.0.0.1:0");
    *state = f;
    return 0;
}

static int tls_tear_down(void **state)
{
    struct fixture *f = *state;
    void *world = f->world;

    cert_free(f->authority);
    cert_free(f->other_authority);
    free(f->ca);
    free(f->cert);
    free(f->key);
    free(f->server_cert);
    free(f->server_key);
    free(f->server_ca);
    free(f);
    return world_teardown(&world);
}

static void write_cert(const struct fixture *f, const char *name, const struct cert *cert)
{
    HC_AUTO_FREE char *pem = cert_pem(cert);

    temp_dir_write(f->world->dir, name, pem);
}

static void write_key(const struct fixture *f, const char *name, const struct cert *cert)
{
    HC_AUTO_FREE char *pem = cert_key_pem(cert);

    temp_dir_write(f->world->dir, name, pem);
}

/* Server, client and what each trusts are all of that authority. */
static void write_files(const struct fixture *f, const struct cert *authority)
{
    struct cert *server = cert_make_server(authority, "hubcache.test");
    struct cert *client = cert_make_client(authority, "spiffe://test/client");

    write_cert(f, "ca.pem", authority);
    write_cert(f, "clients.pem", authority);
    write_cert(f, "server.pem", server);
    write_key(f, "server.key", server);
    write_cert(f, "client.pem", client);
    write_key(f, "client.key", client);
    cert_free(server);
    cert_free(client);
}

/* At the same address as before, if there was one. */
static void serve(struct fixture *f, bool wants_clients)
{
    char socket[256];
    const char *flags[FLAGS_MAX] = {
        "--listen",  socket,        "--listen",
        f->address,  "--tls-cert",  f->server_cert,
        "--tls-key", f->server_key, wants_clients ? "--tls-client-ca" : NULL,
        f->server_ca};
    const char *line;

    (void)snprintf(socket, sizeof socket, "unix:%s/socket", f->world->dir);
    world_serve(f->world, flags);
    line = strstr(f->world->lines, "listening 127.0.0.1:");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "listening %63s", f->address), 1);
}

static void stop_server(struct fixture *f)
{
    world_stop_server(f->world);
    assert_int_equal(world_await_end(f->world), 0);
    rpc_client_close(f->world->client);
    f->world->client = NULL;
}

static struct hc_client *open_client(const struct hc_client_options *options)
{
    struct hc_error err;
    struct hc_client *client = hc_client_open(options, &err);

    if (!client)
        fail_msg("%s", err.message);
    return client;
}

/* One call, made once. */
static enum hc_reason ask_once(struct hc_client_options options, struct hc_error *err)
{
    struct hc_client *client;
    enum hc_reason reason;

    options.wait_ms = -1;
    client = open_client(&options);
    reason = client_ask(client, err);
    hc_client_close(client);
    return reason;
}

static void assert_unavailable(struct hc_client_options options, const char *word)
{
    struct hc_error err;

    assert_int_equal(ask_once(options, &err), HC_SERVER_UNAVAILABLE);
    if (!strstr(err.message, word))
        fail_msg("'%s' is not in: %s", word, err.message);
}

static void options_and_the_address_ask_for_tls(void **state)
{
    struct fixture *f = *state;
    char url[ADDRESS_MAX + 8];
    struct hc_error err;

    write_files(f, f->authority);
    serve(f, false);
    (void)snprintf(url, sizeof url, "https://%s", f->address);
    assert_int_equal(ask_once((struct hc_client_options){.server = f->address,
                                                         .tls_ca_file = f->ca},
                              &err),
                     HC_OK);
    assert_int_equal(
        ask_once((struct hc_client_options){.server = url, .tls_ca_file = f->ca}, &err),
        HC_OK);
    assert_int_equal(ask_once((struct hc_client_options){.server = f->address,
                                                         .tls_ca_file = f->ca,
                                                         .tls_server_name =
                                                             "hubcache.test"},
                              &err),
                     HC_OK);
}

static void the_environment_asks_for_tls(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;

    write_files(f, f->authority);
    serve(f, true);
    /* NOLINTBEGIN(concurrency-mt-unsafe): the test has one thread */
    (void)setenv("HUBCACHE_TLS_CA", f->ca, 1);
    (void)setenv("HUBCACHE_TLS_CERT", f->cert, 1);
    (void)setenv("HUBCACHE_TLS_KEY", f->key, 1);
    assert_int_equal(ask_once((struct hc_client_options){.server = f->address}, &err),
                     HC_OK);
    (void)setenv("HUBCACHE_TLS_SERVER_NAME", "elsewhere.test", 1);
    assert_unavailable((struct hc_client_options){.server = f->address}, "another name");
    (void)unsetenv("HUBCACHE_TLS_CA");
    (void)unsetenv("HUBCACHE_TLS_CERT");
    (void)unsetenv("HUBCACHE_TLS_KEY");
    (void)unsetenv("HUBCACHE_TLS_SERVER_NAME");
    (void)setenv("HUBCACHE_TLS", "1", 1);
    assert_unavailable((struct hc_client_options){.server = f->address}, "authority");
    (void)setenv("HUBCACHE_TLS", "yes", 1);
    assert_null(hc_client_open(&(struct hc_client_options){.server = f->address}, &err));
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    (void)unsetenv("HUBCACHE_TLS");
    /* NOLINTEND(concurrency-mt-unsafe) */
}

static void what_the_sides_disagree_on_is_said(void **state)
{
    struct fixture *f = *state;

    write_files(f, f->authority);
    serve(f, false);
    write_cert(f, "other.pem", f->other_authority);

    HC_AUTO_FREE char *other = path_of(f, "other.pem");
    assert_unavailable((struct hc_client_options){.server = f->address,
                                                  .tls_ca_file = other},
                       "authority");
    assert_unavailable((struct hc_client_options){.server = f->address,
                                                  .tls_ca_file = f->ca,
                                                  .tls_server_name = "elsewhere.test"},
                       "another name");
    assert_unavailable((struct hc_client_options){.server = f->address},
                       "if it speaks TLS");
    assert_unavailable((struct hc_client_options){.server = f->world->address,
                                                  .tls_ca_file = f->ca},
                       "does not speak TLS");
}

static void a_client_without_the_right_certificate_is_not_let_in(void **state)
{
    struct fixture *f = *state;
    struct hc_client_options options = {.tls_ca_file = f->ca,
                                        .tls_cert_file = f->cert,
                                        .tls_key_file = f->key};
    struct cert *foreign = cert_make_client(f->other_authority, "spiffe://test/client");
    struct cert *expired = cert_make(&(struct cert_wish){.issuer = f->authority,
                                                         .common_name = "late",
                                                         .begins_in_s = -7200,
                                                         .ends_in_s = -3600});
    struct hc_error err;

    write_files(f, f->authority);
    serve(f, true);
    options.server = f->address;
    assert_int_equal(ask_once(options, &err), HC_OK);
    write_cert(f, "client.pem", foreign);
    write_key(f, "client.key", foreign);
    assert_unavailable(options, "client certificates");
    write_cert(f, "client.pem", expired);
    write_key(f, "client.key", expired);
    assert_unavailable(options, "this client's certificate has expired");
    options.tls_cert_file = options.tls_key_file = NULL;
    assert_unavailable(options, "client certificates");
    cert_free(foreign);
    cert_free(expired);
}

/* The server comes back with certificates of another authority, and wants such ones. */
static void files_are_read_anew_for_a_new_connection(void **state)
{
    struct fixture *f = *state;
    struct hc_client_options options = {.tls_ca_file = f->ca,
                                        .tls_cert_file = f->cert,
                                        .tls_key_file = f->key};
    struct hc_client *client;
    struct hc_error err;

    write_files(f, f->authority);
    serve(f, true);
    options.server = f->address;
    client = open_client(&options);
    assert_int_equal(client_ask(client, &err), HC_OK);

    stop_server(f);
    write_files(f, f->other_authority);
    serve(f, true);
    assert_int_equal(client_ask(client, &err), HC_OK);
    hc_client_close(client);
}

static void files_that_cannot_be_used_leave_things_as_they_are(void **state)
{
    struct fixture *f = *state;
    struct hc_client_options options = {.tls_ca_file = f->ca};
    struct hc_client *client;
    struct hc_error err;

    write_files(f, f->authority);
    serve(f, false);
    options.server = f->address;
    client = open_client(&options);
    assert_int_equal(client_ask(client, &err), HC_OK);

    stop_server(f);
    temp_dir_write(f->world->dir, "ca.pem", "-----BEGIN CERTIFICATE-----\n");
    serve(f, false);
    assert_int_equal(client_ask(client, &err), HC_OK);
    hc_client_close(client);
}

#define tls_test(function)                                                               \
    cmocka_unit_test_setup_teardown(function, tls_set_up, tls_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        tls_test(options_and_the_address_ask_for_tls),
        tls_test(the_environment_asks_for_tls),
        tls_test(what_the_sides_disagree_on_is_said),
        tls_test(a_client_without_the_right_certificate_is_not_let_in),
        tls_test(files_are_read_anew_for_a_new_connection),
        tls_test(files_that_cannot_be_used_leave_things_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
