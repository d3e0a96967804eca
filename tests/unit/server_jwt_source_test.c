/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: keys come from a file when it changes, or from a URL once a minute, and at
 * most once in five seconds if a token names a key that is not known. The same keys are
 * no news. What is no answer of keys is a failure that names the place.
 */
#include <test.h>

#include <base/auto.h>
#include <base/cancellation.h>
#include <jwt_maker.h>
#include <raw_server.h>
#include <server/jwt_keys.h>
#include <server/jwt_source.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { START_MS = 1000000 };

struct fixture {
    char *dir, *path, *url, *token_path;
    struct raw_server *server;
    struct hc_cancellation *end;
    struct hc_jwt_source_settings settings;
    struct hc_jwt_source *source;
    char *one, *two; /* sets of keys */
    struct hc_error err;
};

static char *set_of(const char *kid)
{
    struct jwt_key *key = jwt_key_make("EC", 256);
    HC_AUTO_FREE char *more = NULL;
    HC_AUTO_FREE char *jwk = NULL;
    char *text = NULL;

    assert_true(asprintf(&more, ",\"kid\":\"%s\"", kid) > 0);
    jwk = jwt_key_public(key, more);
    assert_true(asprintf(&text, "{\"keys\":[%s]}", jwk) > 0);
    jwt_key_free(key);
    return text;
}

static int source_set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.dir = temp_dir_make(),
                         .server = raw_server_start(),
                         .end = hc_cancellation_new(HC_NO_DEADLINE),
                         .one = set_of("1"),
                         .two = set_of("2")};
    f.path = temp_dir_path(f.dir, "keys");
    f.token_path = temp_dir_path(f.dir, "token");
    assert_true(asprintf(&f.url, "%s/openid/v1/jwks", raw_server_url(f.server)) > 0);
    *state = &f;
    return 0;
}

static int source_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_jwt_source_free(f->source);
    hc_cancellation_free(f->end);
    raw_server_stop(f->server);
    temp_dir_remove(f->dir);
    free(f->path);
    free(f->url);
    free(f->token_path);
    free(f->one);
    free(f->two);
    return 0;
}

static void open_source(struct fixture *f, const char *location)
{
    f->settings.location = location;
    f->source = hc_jwt_source_new(&f->settings, f->end, &f->err);
    assert_non_null(f->source);
}

static void answer_with(struct fixture *f, const char *head, const char *body)
{
    HC_AUTO_FREE char *bytes = NULL;

    assert_true(asprintf(&bytes,
                         "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: "
                         "close\r\n\r\n%s",
                         head, strlen(body), body) > 0);
    raw_server_answer(f->server, "GET /openid/v1/jwks", bytes);
}

static int read_at(struct fixture *f, int64_t after_ms, bool is_wanted)
{
    HC_AUTO(hc_jwt_keys) *keys = NULL;
    int result =
        hc_jwt_source_read(f->source, START_MS + after_ms, is_wanted, &keys, &f->err);

    assert_int_equal(keys != NULL, result == 1);
    return result;
}

static unsigned requests(struct fixture *f)
{
    return raw_server_count(f->server, "GET /openid/v1/jwks");
}

static void a_file_is_read_when_it_changes(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, "keys", f->one);
    open_source(f, f->path);
    assert_int_equal(read_at(f, 0, false), 1);
    assert_int_equal(read_at(f, 100000, true), 0);
    temp_dir_write(f->dir, "keys", f->two);
    assert_int_equal(read_at(f, 100001, false), 1);
    temp_dir_write(f->dir, "keys", "{}");
    assert_int_equal(read_at(f, 100002, false), -1);
    assert_non_null(strstr(f->err.message, f->path));
    assert_int_equal(read_at(f, 100003, false), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(read_at(f, 100004, false), -1);
    assert_non_null(strstr(f->err.message, f->path));
}

static void a_url_is_asked_once_a_minute(void **state)
{
    struct fixture *f = *state;

    answer_with(f, "200 OK", f->one);
    open_source(f, f->url);
    assert_int_equal(read_at(f, 0, false), 1);
    assert_int_equal(read_at(f, 59999, false), 0);
    assert_int_equal(requests(f), 1);
    assert_int_equal(read_at(f, 60000, false), 0); /* the same keys */
    assert_int_equal(requests(f), 2);
    answer_with(f, "200 OK", f->two);
    assert_int_equal(read_at(f, 120000, false), 1);
}

static void a_key_that_is_wanted_is_asked_for_sooner(void **state)
{
    struct fixture *f = *state;

    answer_with(f, "200 OK", f->one);
    open_source(f, f->url);
    assert_int_equal(read_at(f, 0, false), 1);
    answer_with(f, "200 OK", f->two);
    assert_int_equal(read_at(f, 1000, true), 0); /* too soon, but not forgotten */
    assert_int_equal(read_at(f, 4999, false), 0);
    assert_int_equal(requests(f), 1);
    assert_int_equal(read_at(f, 5000, false), 1);
    assert_int_equal(read_at(f, 20000, false), 0);
    assert_int_equal(requests(f), 2);
}

static void a_failed_answer_is_no_key(void **state)
{
    static const struct {
        const char *head, *body;
    } rows[] = {
        {"500 Internal Server Error", "x"},
        {"403 Forbidden", "x"},
        {"302 Found\r\nLocation: /other", ""},
        {"204 No Content", ""},
        {"200 OK", "<html>"},
        {"200 OK", ""},
        {"200 OK", "{\"keys\":[]}"},
    };
    struct fixture *f = *state;

    open_source(f, f->url);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        answer_with(f, rows[i].head, rows[i].body);
        assert_int_equal(read_at(f, (int64_t)i * 60000, false), -1);
        assert_non_null(strstr(f->err.message, f->url));
    }
    answer_with(f, "200 OK", f->one);
    assert_int_equal(read_at(f, 600000, false), 1);
}

static void an_answer_has_256_kib_at_most(void **state)
{
    struct fixture *f = *state;
    size_t size = HC_JWT_KEYS_BYTES_MAX + 1;
    HC_AUTO_FREE char *body = malloc(size + 1);

    assert_non_null(body);
    memset(body, ' ', size);
    memcpy(body, f->one, strlen(f->one));
    body[size] = '\0';
    open_source(f, f->url);
    answer_with(f, "200 OK", body);
    assert_int_equal(read_at(f, 0, false), -1);
    assert_non_null(strstr(f->err.message, "256 KiB"));
    body[size - 1] = '\0';
    answer_with(f, "200 OK", body);
    assert_int_equal(read_at(f, 60000, false), 1);
}

static void no_server_is_a_failure(void **state)
{
    struct fixture *f = *state;

    open_source(f, "http://127.0.0.1:1/jwks");
    assert_int_equal(read_at(f, 0, false), -1);
    assert_non_null(strstr(f->err.message, "http://127.0.0.1:1/jwks"));
}

/* Kubernetes rotates the file of a ServiceAccount's token. */
static void the_token_is_read_for_each_request(void **state)
{
    struct fixture *f = *state;

    answer_with(f, "200 OK", f->one);
    f->settings.token_file = f->token_path;
    open_source(f, f->url);
    assert_int_equal(read_at(f, 0, false), -1); /* it is not there */
    assert_int_equal(requests(f), 0);
    temp_dir_write(f->dir, "token", "first\n");
    assert_int_equal(read_at(f, 60000, false), 1);
    assert_int_equal(raw_server_count(f->server, "Authorization: Bearer first\r\n"), 1);
    temp_dir_write(f->dir, "token", "second");
    assert_int_equal(read_at(f, 120000, false), 0);
    assert_int_equal(raw_server_count(f->server, "Authorization: Bearer second\r\n"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, source_set_up, source_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_read_when_it_changes),
        TEST(a_url_is_asked_once_a_minute),
        TEST(a_key_that_is_wanted_is_asked_for_sooner),
        TEST(a_failed_answer_is_no_key),
        TEST(an_answer_has_256_kib_at_most),
        TEST(no_server_is_a_failure),
        TEST(the_token_is_read_for_each_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
