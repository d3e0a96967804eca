/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a page is for clients that show a token that gRPC would accept, in either
 * form; a wrong token is refused even where none is needed; and an address that shows
 * many wrong ones is not listened to for a minute.
 */
#include "test.h"

#include <server/http_login.h>
#include <server/log.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* Of "token-of-alice". */
#define ALICE "alice sha256:" ALICE_HASH "\n"
#define ALICE_HASH "19c28a50b1a09097592e7ceddb7e0771ff4d469747541a7536579eef857e05ce"
#define BASIC_ALICE "Basic YnJvd3Nlcjp0b2tlbi1vZi1hbGljZQ==" /* browser:token-of-alice */

enum { LONG_SIZE = 70006 }; /* its base64 has whole groups */

struct fixture {
    char *dir, *path;
    struct hc_auth_settings settings;
    struct hc_http_login login;
    struct sockaddr_in peer;
    int64_t now_ms;
    struct hc_error err;
};

static int login_set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.dir = temp_dir_make(), .now_ms = 1000000};
    f.path = temp_dir_path(f.dir, "tokens");
    f.peer = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}};
    hc_log_set(HC_LOG_ERROR, false);
    *state = &f;
    return 0;
}

static int login_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_auth_close(f->login.auth);
    free(f->path);
    temp_dir_remove(f->dir);
    return 0;
}

static void open_login(struct fixture *f, bool is_required)
{
    temp_dir_write(f->dir, "tokens", ALICE);
    f->settings.tokens_file = f->path;
    f->settings.is_required = is_required;
    f->login.auth = hc_auth_open(&f->settings, &f->err);
    if (!f->login.auth)
        fail_msg("%s", f->err.message);
}

static enum hc_login_result log_in(struct fixture *f, const char *authorization)
{
    const struct hc_login_attempt attempt = {.authorization = authorization,
                                             .peer = (const struct sockaddr *)&f->peer,
                                             .now_ms = f->now_ms,
                                             .now_s = 1000};
    HC_AUTO(hc_caller) *caller = NULL;

    return hc_http_login_check(&f->login, &attempt, &caller, &f->err);
}

static void a_token_is_accepted_in_either_form(void **state)
{
    struct fixture *f = *state;

    open_login(f, true);
    assert_int_equal(log_in(f, "Bearer token-of-alice"), HC_LOGIN_OK);
    assert_int_equal(log_in(f, BASIC_ALICE), HC_LOGIN_OK);
    assert_int_equal(log_in(f, "basic OnRva2VuLW9mLWFsaWNl"), HC_LOGIN_OK); /* no user */
}

static void no_token_is_refused_if_one_is_required(void **state)
{
    struct fixture *f = *state;

    open_login(f, true);
    assert_int_equal(log_in(f, NULL), HC_LOGIN_REFUSED);
    assert_int_equal(f->err.reason, HC_CALLER_UNAUTHENTICATED);
}

static void a_wrong_token_is_refused_where_none_is_needed(void **state)
{
    struct fixture *f = *state;

    open_login(f, false);
    assert_int_equal(log_in(f, NULL), HC_LOGIN_OK);
    assert_int_equal(log_in(f, "Bearer token-of-bob"), HC_LOGIN_REFUSED);
    assert_int_equal(log_in(f, "Digest username=alice"), HC_LOGIN_REFUSED);
}

static void what_is_no_password_is_refused(void **state)
{
    static const char *const headers[] = {
        "Basic",
        "Basic ",
        "Basic ====",
        "Basic !!!!",
        "Basic YWxpY2U=",                         /* alice */
        "Basic YWxpY2U6",                         /* alice: */
        "Basic YnJvd3Nlcjp0b2tlbi1vZi1hbGljZQ",   /* not padded */
        "Basic YnJvd3Nlcjp0b2tlbi1vZi1hbGljZQA=", /* a NUL at its end */
    };
    struct fixture *f = *state;

    open_login(f, true);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_int_equal(log_in(f, headers[i]), HC_LOGIN_REFUSED);
}

static void an_endless_header_is_refused(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *header = calloc(1, LONG_SIZE + 1);

    open_login(f, true);
    memset(header, 'A', LONG_SIZE);
    assert_int_equal(log_in(f, header), HC_LOGIN_REFUSED);
    memcpy(header, "Basic ", 6);
    assert_int_equal(log_in(f, header), HC_LOGIN_REFUSED);
}

static void ten_wrong_tokens_in_a_minute_are_too_many(void **state)
{
    struct fixture *f = *state;

    open_login(f, true);
    for (int i = 0; i < HC_LOGIN_FAILURES_MAX; i++)
        assert_int_equal(log_in(f, "Bearer guess"), HC_LOGIN_REFUSED);
    assert_int_equal(log_in(f, "Bearer guess"), HC_LOGIN_TOO_MANY);
    assert_int_equal(log_in(f, BASIC_ALICE), HC_LOGIN_TOO_MANY);
    assert_int_equal(log_in(f, NULL), HC_LOGIN_REFUSED);

    f->peer.sin_addr.s_addr = htonl(0x0a000002);
    assert_int_equal(log_in(f, BASIC_ALICE), HC_LOGIN_OK);
    f->peer.sin_addr.s_addr = htonl(0x0a000001);
    f->now_ms += HC_LOGIN_PERIOD_MS;
    assert_int_equal(log_in(f, BASIC_ALICE), HC_LOGIN_OK);
}

/* Of many addresses the oldest is forgotten, not the one that is shut out. */
static void other_addresses_do_not_end_a_limit_at_once(void **state)
{
    struct fixture *f = *state;

    open_login(f, true);
    for (unsigned i = 0; i < HC_LOGIN_ADDRESSES + 5; i++) {
        f->peer.sin_addr.s_addr = htonl(0x0b000000 + i);
        f->now_ms++;
        assert_int_equal(log_in(f, "Bearer guess"), HC_LOGIN_REFUSED);
    }
    f->peer.sin_addr.s_addr = htonl(0x0a000001);
    for (int i = 0; i < HC_LOGIN_FAILURES_MAX; i++)
        assert_int_equal(log_in(f, "Bearer guess"), HC_LOGIN_REFUSED);
    f->peer.sin_addr.s_addr = htonl(0x0b000001);
    assert_int_equal(log_in(f, "Bearer guess"), HC_LOGIN_REFUSED);
    f->peer.sin_addr.s_addr = htonl(0x0a000001);
    assert_int_equal(log_in(f, "Bearer guess"), HC_LOGIN_TOO_MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_LOGIN(test)                                                                 \
    cmocka_unit_test_setup_teardown(test, login_set_up, login_tear_down)
        WITH_LOGIN(a_token_is_accepted_in_either_form),
        WITH_LOGIN(no_token_is_refused_if_one_is_required),
        WITH_LOGIN(a_wrong_token_is_refused_where_none_is_needed),
        WITH_LOGIN(what_is_no_password_is_refused),
        WITH_LOGIN(an_endless_header_is_refused),
        WITH_LOGIN(ten_wrong_tokens_in_a_minute_are_too_many),
        WITH_LOGIN(other_addresses_do_not_end_a_limit_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
