/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: with a certificate, hubcached speaks TLS alone over TCP, while unix
 * sockets stay as they are; it lets clients in as --tls-client-ca says; a certificate
 * that is replaced is shown without a restart, and no call fails; a wrong one changes
 * nothing and is logged; without one, it serves no address that other machines reach.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <cert_maker.h>

#include <fcntl.h>
#include <hubcache/error.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"

/* Certificates of one test; the server's is in the world's directory. */
struct tls_world {
    struct world *world;
    struct cert *authority, *server, *client;
    char *ca, *client_cert, *client_key; /* in PEM */
    char address[64];                    /* of the TLS listener */
};

static int tls_setup(void **state)
{
    struct tls_world *f = calloc(1, sizeof *f);
    void *world;

    if (!f || world_setup_empty(&world) != 0)
        return -1;
    f->world = world;
    f->authority = cert_make_authority();
    f->server = cert_make_server(f->authority, "hubcache.test");
    f->client = cert_make_client(f->authority, "spiffe://test/ns/ml/sa/train");
    f->ca = cert_pem(f->authority);
    f->client_cert = cert_pem(f->client);
    f->client_key = cert_key_pem(f->client);
    *state = f;
    return 0;
}

static int tls_teardown(void **state)
{
    struct tls_world *f = *state;
    void *world = f->world;

    cert_free(f->authority);
    cert_free(f->server);
    cert_free(f->client);
    free(f->ca);
    free(f->client_cert);
    free(f->client_key);
    free(f);
    return world_teardown(&world);
}

/* Writes `<dir>/<name>.crt` and, unless `key` is NULL, `<dir>/<name>.key`. */
static void write_pair(struct tls_world *f, const char *name, const struct cert *cert,
                       const struct cert *key)
{
    HC_AUTO_FREE char *pem = cert_pem(cert);
    HC_AUTO_FREE char *key_pem = key ? cert_key_pem(key) : NULL;
    char path[64];

    (void)snprintf(path, sizeof path, "%s.key", name);
    if (key)
        temp_dir_write(f->world->dir, path, key_pem);
    (void)snprintf(path, sizeof path, "%s.crt", name);
    temp_dir_write(f->world->dir, path, pem);
}

/* A unix socket, for the world's client, and TLS on a free port. */
static void serve_files(struct tls_world *f, const char *cert, const char *key,
                        const char *const *flags)
{
    HC_AUTO_FREE char *cert_path = temp_dir_path(f->world->dir, cert);
    HC_AUTO_FREE char *key_path = temp_dir_path(f->world->dir, key);
    char socket[256];
    const char *all[FLAGS_MAX] = {"--listen",   socket,    "--listen",  "127.0.0.1:0",
                                  "--tls-cert", cert_path, "--tls-key", key_path};
    const char *second;
    size_t count = 8;

    (void)snprintf(socket, sizeof socket, "unix:%s/socket", f->world->dir);
    for (size_t i = 0; flags[i]; i++)
        all[count++] = flags[i];
    world_serve(f->world, all);
    second = strstr(f->world->lines, "listening 127.0.0.1:");
    assert_non_null(second);
    assert_int_equal(sscanf(second, "listening %63s", f->address), 1);
}

static void serve(struct tls_world *f, const char *const *flags)
{
    write_pair(f, "server", f->server, f->server);
    serve_files(f, "server.crt", "server.key", flags);
}

/* With the authority of clients in a file, and one more flag, which may be NULL. */
static void serve_mutual(struct tls_world *f, const char *flag)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->world->dir, "clients.crt");

    temp_dir_write(f->world->dir, "clients.crt", f->ca);
    serve(f, (const char *const[]){"--tls-client-ca", path, flag, NULL});
}

static bool answers(struct tls_world *f, const struct rpc_tls *tls)
{
    struct rpc_client *client = rpc_client_open_tls(f->address, tls);
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call;
    unsigned status;

    if (!client)
        return false;
    call = rpc_call_start(client, &(struct rpc_request){.path = METHOD("ResolveFile"),
                                                        .message = &request.base});
    status = rpc_call_await(call);
    rpc_call_free(call);
    rpc_client_close(client);
    assert_int_equal(status, HC_STATUS_OK);
    return true;
}

/* Whether a client with that certificate is let in. */
static bool answers_client(struct tls_world *f, const struct cert *client)
{
    HC_AUTO_FREE char *cert = cert_pem(client);
    HC_AUTO_FREE char *key = cert_key_pem(client);

    return answers(f, &(struct rpc_tls){.ca = f->ca, .cert = cert, .key = key});
}

static bool answers_anonymous(struct tls_world *f)
{
    return answers(f, &(struct rpc_tls){.ca = f->ca});
}

static void the_audit_log_has_the_address_of_a_client_over_tls(void **state)
{
    struct tls_world *f = *state;
    HC_AUTO_FREE char *path = temp_dir_path(f->world->dir, "audit");
    HC_AUTO_FREE char *log = NULL;
    HC_AUTO_FREE char *audit = NULL;

    serve(f, (const char *const[]){"--audit-log", path, NULL});
    assert_true(answers_anonymous(f));
    log = world_log(f->world); /* ends the server, and so all lines are written */
    audit = temp_dir_read(f->world->dir, "audit");
    assert_non_null(strstr(audit, "\"peer\":\"127.0.0.1\""));
}

static void over_tcp_only_tls_is_answered(void **state)
{
    struct tls_world *f = *state;
    struct cert *foreign = cert_make_authority();
    HC_AUTO_FREE char *foreign_pem = cert_pem(foreign);
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call;

    serve(f, (const char *const[]){NULL});
    assert_true(answers_anonymous(f));
    assert_false(answers(f, &(struct rpc_tls){.ca = foreign_pem}));
    call = start_file(f->world, &request); /* over the unix socket */
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
    cert_free(foreign);
}

static int connect_raw(const struct tls_world *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)strtoul(strrchr(f->address, ':') + 1, NULL, 10));
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail_msg("no connection");
    return fd;
}

/* The bytes that the server sends to a client that speaks HTTP/2 in clear text; it ends
 * the connection. */
static size_t bytes_for_clear_text(const struct tls_world *f)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    int fd = connect_raw(f);
    size_t total = 0;
    char buffer[4096];
    ssize_t got;

    assert_int_equal(write(fd, preface, sizeof preface), sizeof preface);
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        total += (size_t)got;
    (void)close(fd);
    return total;
}

static void clear_text_gets_no_answer_from_a_tls_listener(void **state)
{
    struct tls_world *f = *state;

    serve(f, (const char *const[]){NULL});
    assert_true(bytes_for_clear_text(f) < 16); /* a TLS alert, at most */
    assert_true(answers_anonymous(f));
}

static void tls_to_a_listener_in_clear_text_fails(void **state)
{
    struct tls_world *f = *state;

    world_serve(f->world, (const char *const[]){NULL});
    assert_int_equal(sscanf(f->world->lines, "listening %63s", f->address), 1);
    assert_false(answers_anonymous(f));
}

static void clients_need_a_valid_certificate_of_the_authority(void **state)
{
    struct tls_world *f = *state;
    struct cert *foreign = cert_make_authority();
    struct cert *made[] = {
        cert_make_client(foreign, "spiffe://test/ns/ml/sa/train"),
        cert_make_client(NULL, "spiffe://test/ns/ml/sa/train"), /* signs itself */
        cert_make(&(struct cert_wish){.issuer = f->authority, .ends_in_s = -60}),
        cert_make(&(struct cert_wish){.issuer = f->authority, .begins_in_s = 600}),
    };

    serve_mutual(f, NULL);
    assert_true(answers_client(f, f->client));
    assert_false(answers_anonymous(f));
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        assert_false(answers_client(f, made[i]));
        cert_free(made[i]);
    }
    assert_true(answers_client(f, f->client));
    cert_free(foreign);
}

static void optional_certificates_are_checked_if_shown(void **state)
{
    struct tls_world *f = *state;
    struct cert *foreign = cert_make_authority();
    struct cert *stranger = cert_make_client(foreign, "spiffe://test/ns/ml/sa/train");

    serve_mutual(f, "--tls-client-optional");
    assert_true(answers_client(f, f->client));
    assert_true(answers_anonymous(f));
    assert_false(answers_client(f, stranger));
    cert_free(stranger);
    cert_free(foreign);
}

/* Calls for a file; the reason of the failure, or "". */
static void assert_call(struct tls_world *f, const struct cert *client,
                        const char *authorization, const char *reason)
{
    HC_AUTO_FREE char *cert = cert_pem(client);
    HC_AUTO_FREE char *key = cert_key_pem(client);
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_client *connected =
        rpc_client_open_tls(f->address,
                            &(struct rpc_tls){.ca = f->ca, .cert = cert, .key = key});
    struct rpc_call *call;

    assert_non_null(connected);
    call =
        rpc_call_start(connected, &(struct rpc_request){.path = METHOD("ResolveFile"),
                                                        .message = &request.base,
                                                        .authorization = authorization});
    (void)rpc_call_await(call);
    assert_string_equal(rpc_call_reason(call), reason);
    rpc_call_free(call);
    rpc_client_close(connected);
}

/* It is enough for --auth-required. A certificate without a name is let in by TLS, and
 * calls with a token. */
static void a_certificate_names_the_caller(void **state)
{
    struct tls_world *f = *state;
    struct cert *nameless =
        cert_make(&(struct cert_wish){.issuer = f->authority, .common_name = "root"});
    HC_AUTO_FREE char *tokens = temp_dir_path(f->world->dir, "tokens");
    HC_AUTO_FREE char *clients = temp_dir_path(f->world->dir, "clients.crt");
    HC_AUTO_FREE char *log = NULL;

    temp_dir_write(f->world->dir, "clients.crt", f->ca);
    temp_dir_write(f->world->dir, "tokens", "alice sha256:" ALICE "\n");
    serve(f,
          (const char *const[]){"--tls-client-ca", clients, "--auth-required",
                                "--auth-tokens", tokens, "--log-level", "debug", NULL});
    assert_call(f, f->client, NULL, "");
    assert_call(f, f->client, "Bearer alice-secret", "");
    assert_call(f, f->client, "Bearer wrong", "CALLER_UNAUTHENTICATED");
    assert_call(f, nameless, NULL, "CALLER_UNAUTHENTICATED");
    assert_call(f, nameless, "Bearer alice-secret", "");
    cert_free(nameless);
    log = world_log(f->world);
    assert_non_null(strstr(log, "\"caller\":\"spiffe://test/ns/ml/sa/train\","
                                "\"kind\":\"certificate\""));
    assert_non_null(strstr(log, "\"caller\":\"alice\",\"kind\":\"token\""));
    assert_null(strstr(log, "BEGIN"));
}

/* --- rotation ------------------------------------------------------------------------
 */

static void a_certificate_is_replaced_while_calls_run(void **state)
{
    struct tls_world *f = *state;
    HC_AUTO_FCLOSE FILE *log = world_open_log(f->world);
    struct cert *next = cert_make_authority();
    struct cert *shown = cert_make_server(next, "hubcache.test");
    HC_AUTO_FREE char *next_ca = cert_pem(next);
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_client *client;
    struct rpc_call *call;
    char line[4096];

    serve(f, (const char *const[]){NULL});
    test_hub_rule(f->world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                         .times = 1,
                                                         .fault = TEST_HUB_STALL});
    client = rpc_client_open_tls(f->address, &(struct rpc_tls){.ca = f->ca});
    assert_non_null(client);
    call = rpc_call_start(client, &(struct rpc_request){.path = METHOD("ResolveFile"),
                                                        .message = &request.base});
    log_await_line(log, "listening", line, sizeof line);
    test_hub_await_stall(f->world->hub);
    write_pair(f, "server", shown, shown);
    log_await_line(log, "certificate read", line, sizeof line);

    assert_false(answers_anonymous(f));
    assert_true(answers(f, &(struct rpc_tls){.ca = next_ca}));
    test_hub_release(f->world->hub);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
    rpc_client_close(client);
    cert_free(shown);
    cert_free(next);
}

/* As Kubernetes keeps a Secret: tls.crt -> ..data/tls.crt, ..data -> ..<number>. */
static void write_secret(struct tls_world *f, const char *number, const struct cert *cert)
{
    HC_AUTO_FREE char *next = temp_dir_path(f->world->dir, "secret/..next");
    HC_AUTO_FREE char *data = temp_dir_path(f->world->dir, "secret/..data");
    char name[64];

    (void)snprintf(name, sizeof name, "secret/%s/tls", number);
    write_pair(f, name, cert, cert);
    assert_int_equal(symlink(number, next), 0);
    assert_int_equal(rename(next, data), 0);
}

static void a_secret_whose_symlinks_are_swapped_is_read_again(void **state)
{
    struct tls_world *f = *state;
    HC_AUTO_FCLOSE FILE *log = world_open_log(f->world);
    HC_AUTO_FREE char *cert = temp_dir_path(f->world->dir, "secret/tls.crt");
    HC_AUTO_FREE char *key = temp_dir_path(f->world->dir, "secret/tls.key");
    struct cert *next = cert_make_authority();
    struct cert *shown = cert_make_server(next, "hubcache.test");
    HC_AUTO_FREE char *next_ca = cert_pem(next);
    char line[4096];

    write_secret(f, "..1", f->server);
    assert_int_equal(symlink("..data/tls.crt", cert), 0);
    assert_int_equal(symlink("..data/tls.key", key), 0);
    serve_files(f, "secret/tls.crt", "secret/tls.key", (const char *const[]){NULL});
    log_await_line(log, "listening", line, sizeof line);
    assert_true(answers_anonymous(f));
    write_secret(f, "..2", shown);
    log_await_line(log, "certificate read", line, sizeof line);

    assert_true(answers(f, &(struct rpc_tls){.ca = next_ca}));
    cert_free(shown);
    cert_free(next);
}

static void a_wrong_certificate_changes_nothing_and_is_logged(void **state)
{
    struct tls_world *f = *state;
    HC_AUTO_FCLOSE FILE *log = world_open_log(f->world);
    struct cert *other = cert_make_server(f->authority, "other.test");
    char line[4096];

    serve(f, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    assert_int_equal(world_gauge(f->world, "\nhubcache_tls_files_in_use "), 1);
    write_pair(f, "server", other, NULL);
    log_await_line(log, "certificate not read again", line, sizeof line);
    assert_int_equal(world_gauge(f->world, "\nhubcache_tls_files_in_use "), 0);
    assert_non_null(strstr(line, "tls-key: it does not belong to the certificate"));
    assert_true(answers_anonymous(f));
    write_pair(f, "server", other, other);
    log_await_line(log, "certificate read", line, sizeof line);
    assert_int_equal(world_gauge(f->world, "\nhubcache_tls_files_in_use "), 1);
    assert_int_equal(world_gauge(f->world, "\nhubcache_tls_replaced_total "), 1);
    assert_true(answers_anonymous(f));
    cert_free(other);
}

/* The certificates of gRPC's clients do not protect the tokens of the page's readers. */
static void tokens_for_the_status_page_in_clear_text_are_warned_of(void **state)
{
    struct tls_world *f = *state;
    HC_AUTO_FREE char *clients = temp_dir_path(f->world->dir, "clients.crt");
    HC_AUTO_FREE char *tokens = temp_dir_path(f->world->dir, "tokens");
    HC_AUTO_FREE char *log = NULL;

    temp_dir_write(f->world->dir, "clients.crt", f->ca);
    temp_dir_write(f->world->dir, "tokens", "alice sha256:" ALICE "\n");
    serve(f, (const char *const[]){"--tls-client-ca", clients, "--auth-tokens", tokens,
                                   "--http-listen", "0.0.0.0:0", NULL});
    log = world_log(f->world);
    assert_non_null(strstr(log, "tokens for the status page pass in clear text"));
}

/* --- the start -----------------------------------------------------------------------
 */

/* Runs it with these flags to its end, with --check-config too: both exit with 2. */
static void assert_does_not_start(struct tls_world *f, const char *const *flags,
                                  const char *message)
{
    const char *all[FLAGS_MAX] = {"--check-config"};
    HC_AUTO_FREE char *log = NULL;

    for (size_t i = 0; flags[i]; i++)
        all[i + 1] = flags[i];
    assert_int_equal(world_run_server(f->world, all), 2);
    assert_int_equal(world_run_server(f->world, all + 1), 2);
    log = temp_dir_read(f->world->dir, "log");
    assert_non_null(strstr(log, message));
    assert_non_null(strstr(strstr(log, message) + 1, message));
}

static void a_wrong_certificate_stops_the_start(void **state)
{
    struct tls_world *f = *state;
    struct cert *expired =
        cert_make(&(struct cert_wish){.issuer = f->authority, .ends_in_s = -60});
    HC_AUTO_FREE char *cert = temp_dir_path(f->world->dir, "old.crt");
    HC_AUTO_FREE char *key = temp_dir_path(f->world->dir, "old.key");

    write_pair(f, "old", expired, expired);
    assert_does_not_start(f,
                          (const char *const[]){"--tls-cert", cert, "--tls-key", key,
                                                NULL},
                          "tls-cert: the certificate has expired");
    assert_does_not_start(f, (const char *const[]){"--tls-cert", cert, NULL},
                          "tls-cert and tls-key: give both, or none");
    assert_does_not_start(f, (const char *const[]){"--tls-client-ca", cert, NULL},
                          "tls-client-ca: clients show certificates over TLS alone");
    assert_does_not_start(f, (const char *const[]){"--tls-client-optional", NULL},
                          "tls-client-optional: give tls-client-ca");
    cert_free(expired);
}

static void clear_text_for_other_machines_must_be_allowed(void **state)
{
    static const char *const addresses[] = {"0.0.0.0:0", "[::]:0", ":0"};
    struct tls_world *f = *state;
    struct rpc_call *call;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");

    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        assert_does_not_start(f, (const char *const[]){"--listen", addresses[i], NULL},
                              "in clear text: give tls-cert and tls-key, or allow it "
                              "with allow-plaintext");
    world_serve(f->world, (const char *const[]){"--allow-plaintext", "--listen",
                                                "0.0.0.0:0", NULL});
    call = start_file(f->world, &request);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
}

static void tls_needs_no_leave_for_other_machines(void **state)
{
    struct tls_world *f = *state;

    serve(f, (const char *const[]){"--listen", "0.0.0.0:0", NULL});
    assert_non_null(strstr(f->world->lines, "listening 0.0.0.0:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(over_tcp_only_tls_is_answered, tls_setup,
                                        tls_teardown),
        cmocka_unit_test_setup_teardown(
            the_audit_log_has_the_address_of_a_client_over_tls, tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(clear_text_gets_no_answer_from_a_tls_listener,
                                        tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(tls_to_a_listener_in_clear_text_fails, tls_setup,
                                        tls_teardown),
        cmocka_unit_test_setup_teardown(clients_need_a_valid_certificate_of_the_authority,
                                        tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(optional_certificates_are_checked_if_shown,
                                        tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(a_certificate_names_the_caller, tls_setup,
                                        tls_teardown),
        cmocka_unit_test_setup_teardown(a_certificate_is_replaced_while_calls_run,
                                        tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(a_secret_whose_symlinks_are_swapped_is_read_again,
                                        tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(a_wrong_certificate_changes_nothing_and_is_logged,
                                        tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(
            tokens_for_the_status_page_in_clear_text_are_warned_of, tls_setup,
            tls_teardown),
        cmocka_unit_test_setup_teardown(a_wrong_certificate_stops_the_start, tls_setup,
                                        tls_teardown),
        cmocka_unit_test_setup_teardown(clear_text_for_other_machines_must_be_allowed,
                                        tls_setup, tls_teardown),
        cmocka_unit_test_setup_teardown(tls_needs_no_leave_for_other_machines, tls_setup,
                                        tls_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
