/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: over TLS a peer is trusted when a certificate authority has signed it, the
 * system's or the one that was named in its place; and an authority that is not there is
 * an error at the start.
 */
#include "test.h"

#include "tls_server.h"

#include <base/error.h>
#include <hub/http_exchange.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_S = 5 };

struct fixture {
    char *dir;
    struct tls_server *site;
    struct hc_hub_response reply;
    struct hc_error err;
};

static int tls_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->dir = temp_dir_make();
    f->site = tls_server_start(f->dir, "authority.pem");
    *state = f;
    return 0;
}

static int tls_tear_down(void **state)
{
    struct fixture *f = *state;

    tls_server_stop(f->site);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

static int tls_request_trusting(struct fixture *f, const char *authorities,
                                const char *url)
{
    HC_AUTO(hc_http_pool) *pool = hc_http_pool_open("test", authorities, 0, &f->err);
    struct hc_http_request request = {.timeout_s = TIMEOUT_S};

    if (!pool)
        return -1;
    (void)strncpy(request.url, url, sizeof request.url - 1);
    return hc_http_perform(pool, &request, &f->reply, &f->err);
}

/* One exchange with the server, trusting `<dir>/<ca_file>`, NULL: the system. */
static int tls_request(struct fixture *f, const char *ca_file)
{
    HC_AUTO_FREE char *path = ca_file ? temp_dir_path(f->dir, ca_file) : NULL;

    return tls_request_trusting(f, path, tls_server_url(f->site));
}

static void a_peer_that_the_named_authority_signed_is_trusted(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(tls_request(f, "authority.pem"), 0);
    assert_int_equal(f->reply.status, 200);
}

/* In `<dir>/authorities`, as OpenSSL keeps them. */
static void tls_fill_directory(struct fixture *f)
{
    char *name = tls_server_hashed_name(f->site);
    char *pem = temp_dir_read(f->dir, "authority.pem");
    char path[64] = "authorities/";

    (void)strncat(path, name, sizeof path - strlen(path) - 1);
    temp_dir_write(f->dir, path, pem);
    free(pem);
    free(name);
}

static void a_directory_of_authorities_will_do(void **state)
{
    struct fixture *f = *state;

    tls_fill_directory(f);
    assert_int_equal(tls_request(f, "authorities"), 0);
    assert_int_equal(f->reply.status, 200);
}

/* As in SSL_CERT_DIR; OpenSSL does not mind those that are not there. */
static void several_directories_will_do(void **state)
{
    static const char *const others[] = {"/no/such", "/", ""};
    struct fixture *f = *state;

    tls_fill_directory(f);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        HC_AUTO_FREE char *list = NULL;

        assert_true(asprintf(&list, "%s:%s/authorities", others[i], f->dir) > 0);
        assert_int_equal(tls_request_trusting(f, list, tls_server_url(f->site)), 0);
        assert_int_equal(f->reply.status, 200);
    }
    assert_int_equal(tls_request_trusting(f, "/no/such:/nor/this",
                                          tls_server_url(f->site)),
                     -1);
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
}

static void a_peer_that_no_authority_signed_is_unreachable(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(tls_request(f, NULL), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_non_null(strstr(f->err.message, "certificate"));
}

static void the_named_authority_stands_in_for_the_others(void **state)
{
    struct fixture *f = *state;
    struct tls_server *other = tls_server_start(f->dir, "other.pem");

    assert_int_equal(tls_request(f, "other.pem"), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    tls_server_stop(other);
}

/* Curl looks for proxies in the environment, and no other thread of the test does. */
static void tls_set_proxy(const char *url)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe) */
    assert_int_equal(setenv("http_proxy", url, 1), 0);
}

/* The site answers whatever it is asked, so it will do for one. */
static void a_proxy_is_trusted_like_any_other_peer(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "authority.pem");
    HC_AUTO_FREE char *dir = temp_dir_path(f->dir, "authorities");

    tls_fill_directory(f);
    tls_set_proxy(tls_server_url(f->site));
    assert_int_equal(tls_request_trusting(f, file, "http://hub.example/"), 0);
    assert_int_equal(tls_request_trusting(f, dir, "http://hub.example/"), 0);
    assert_int_equal(tls_request_trusting(f, NULL, "http://hub.example/"), -1);
    assert_non_null(strstr(f->err.message, "certificate"));
    tls_set_proxy("");
}

static void an_authority_that_is_not_there_is_said_at_the_start(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(tls_request(f, "no-such.pem"), -1);
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(f->err.field, "ca_file");
    assert_non_null(strstr(f->err.message, "no-such.pem"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tls_set_up, tls_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_peer_that_the_named_authority_signed_is_trusted),
        TEST(a_directory_of_authorities_will_do),
        TEST(several_directories_will_do),
        TEST(a_proxy_is_trusted_like_any_other_peer),
        TEST(a_peer_that_no_authority_signed_is_unreachable),
        TEST(the_named_authority_stands_in_for_the_others),
        TEST(an_authority_that_is_not_there_is_said_at_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
