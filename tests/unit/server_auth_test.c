/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a call has the caller that its credential proves; a token that is not
 * known is refused and never anonymous; the files of tokens and of keys are read again
 * when they change, and a wrong one changes nothing.
 */
#include <test.h>

#include <base/auto.h>
#include <cert_maker.h>
#include <jwt_maker.h>
#include <server/auth.h>

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ALICE "0c848abb03307b06cf70cd4e29c157dc81af5e94ab3eb1d0c59a120269572376"
#define BOB "9f03ef1533a68d2f506f81ef463c1183a82a6bd40e45613f36e6fe1889cf1b99"

enum { NOW_S = 1000 };

struct fixture {
    char *dir, *path;
    struct hc_auth_settings settings;
    struct hc_auth *auth;
    struct hc_caller *caller; /* of the last decision */
    struct hc_error err;
};

static int auth_set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.dir = temp_dir_make()};
    f.path = temp_dir_path(f.dir, "tokens");
    *state = &f;
    return 0;
}

static int auth_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_caller_release(f->caller);
    hc_auth_close(f->auth);
    free(f->path);
    temp_dir_remove(f->dir);
    return 0;
}

static void open_auth(struct fixture *f)
{
    f->auth = hc_auth_open(&f->settings, &f->err);
    if (!f->auth)
        fail_msg("%s", f->err.message);
}

static void open_with_tokens(struct fixture *f, const char *text)
{
    temp_dir_write(f->dir, "tokens", text);
    f->settings.tokens_file = f->path;
    open_auth(f);
}

static int identify_at(struct fixture *f, const struct hc_credential *credential,
                       int64_t now_s)
{
    hc_caller_release(hc_take(&f->caller));
    return hc_auth_identify(f->auth, credential, now_s, &f->caller, &f->err);
}

static int identify(struct fixture *f, const struct hc_credential *credential)
{
    return identify_at(f, credential, NOW_S);
}

static int identify_header(struct fixture *f, const char *header)
{
    return identify(f, &(struct hc_credential){.authorization = header,
                                               .size = header ? strlen(header) : 0});
}

static void assert_refused(struct fixture *f, int result)
{
    assert_int_equal(result, -1);
    assert_null(f->caller);
    assert_int_equal(f->err.reason, HC_CALLER_UNAUTHENTICATED);
    assert_non_null(strstr(f->err.message, "authorization: Bearer <token>"));
}

static void a_known_token_is_its_caller(void **state)
{
    struct fixture *f = *state;

    open_with_tokens(f, "alice sha256:" ALICE " ops\nbob sha256:" BOB "\n");
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
        assert_string_equal(f->caller->name, "alice");
        assert_string_equal(f->caller->groups[0], "ops");
        assert_int_equal(identify_header(f, "bearer bob-secret"), 1);
        assert_string_equal(f->caller->name, "bob");
    }
}

static void what_is_no_known_token_is_refused(void **state)
{
    static const char *const headers[] = {
        "",
        "Bearer",
        "Bearer ",
        "Bearer  alice-secret",
        "Bearer alice-secret ",
        "Bearer alice-secre",
        "Bearer alice-secret0",
        "Bearer Alice-secret",
        "Basic alice-secret",
        "alice-secret",
        "Bearer " ALICE,
        "Bearer sha256:" ALICE,
    };
    struct fixture *f = *state;

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        assert_refused(f, identify_header(f, headers[i]));
        assert_null(strstr(f->err.message, "alice"));
    }
    /* Nor does the socket help a call with a wrong token. */
    assert_refused(f, identify(f, &(struct hc_credential){.authorization = "Bearer x",
                                                          .size = 8,
                                                          .has_uid = true}));
}

static void a_header_has_16_kib_at_most(void **state)
{
    struct fixture *f = *state;
    static char header[16 * 1024 + 2];

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    memset(header, 'x', sizeof header - 1);
    memcpy(header, "Bearer ", 7);
    assert_refused(f, identify_header(f, header));
    assert_non_null(strstr(f->err.message, "longer than 16 KiB"));
    header[sizeof header - 2] = '\0';
    assert_refused(f, identify_header(f, header));
    assert_non_null(strstr(f->err.message, "does not know the token"));
}

static void a_call_without_a_header_is_anonymous_unless_that_is_refused(void **state)
{
    struct fixture *f = *state;

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    assert_int_equal(identify_header(f, NULL), 0);
    assert_null(f->caller);
    f->settings.is_required = true;
    assert_refused(f, identify_header(f, NULL));
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
}

static void a_unix_socket_shows_the_user(void **state)
{
    const struct hc_credential thousand = {.has_uid = true, .uid = 1000};
    const struct hc_credential root = {.has_uid = true, .uid = 0};
    struct fixture *f = *state;

    f->settings.is_required = true;
    open_auth(f);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(identify(f, &thousand), 1);
        assert_string_equal(f->caller->name, "uid:1000");
        assert_int_equal(f->caller->kind, HC_CALLER_UID);
        assert_int_equal(identify(f, &root), 1);
        assert_string_equal(f->caller->name, "uid:0");
    }
    /* A header that cannot be checked says nothing. */
    assert_int_equal(identify(f, &(struct hc_credential){.authorization = "Bearer x",
                                                         .size = 8,
                                                         .has_uid = true,
                                                         .uid = 5}),
                     1);
    assert_string_equal(f->caller->name, "uid:5");
}

static void without_tokens_a_header_is_not_checked(void **state)
{
    struct fixture *f = *state;

    open_auth(f);
    assert_int_equal(identify_header(f, "Bearer anything"), 0);
    assert_null(f->caller);
}

static void a_changed_file_is_read_again(void **state)
{
    struct fixture *f = *state;

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    temp_dir_write(f->dir, "tokens", "bob sha256:" BOB "\n");
    hc_auth_look(f->auth);
    assert_int_equal(identify_header(f, "Bearer bob-secret"), 1);
    /* Also what was remembered is over. */
    assert_refused(f, identify_header(f, "Bearer alice-secret"));
}

/* As Kubernetes does: tokens → ..data/tokens, ..data → a directory, then another. */
static void a_swapped_symlink_is_read_again(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *data = temp_dir_path(f->dir, "..data");
    HC_AUTO_FREE char *fresh = temp_dir_path(f->dir, "..data_tmp");

    temp_dir_write(f->dir, "1/tokens", "alice sha256:" ALICE "\n");
    temp_dir_write(f->dir, "2/tokens", "carol sha256:" ALICE "\n");
    assert_int_equal(symlink("1", data), 0);
    assert_int_equal(symlink("..data/tokens", f->path), 0);
    f->settings.tokens_file = f->path;
    open_auth(f);
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    assert_string_equal(f->caller->name, "alice");

    assert_int_equal(symlink("2", fresh), 0);
    assert_int_equal(rename(fresh, data), 0);
    hc_auth_look(f->auth);
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    assert_string_equal(f->caller->name, "carol");
}

static void a_wrong_or_missing_file_changes_nothing(void **state)
{
    static const char *const wrong[] = {"", "bob sha256:" BOB "\nbroken", "\xff"};
    struct fixture *f = *state;

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        temp_dir_write(f->dir, "tokens", wrong[i]);
        hc_auth_look(f->auth);
        assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
        assert_refused(f, identify_header(f, "Bearer bob-secret"));
    }
    assert_int_equal(unlink(f->path), 0);
    hc_auth_look(f->auth);
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    temp_dir_write(f->dir, "tokens", "bob sha256:" BOB "\n");
    hc_auth_look(f->auth);
    assert_int_equal(identify_header(f, "Bearer bob-secret"), 1);
}

/* A reload reads what looks the same, and says what is wrong. */
static void a_reload_reads_the_files_in_any_case(void **state)
{
    struct fixture *f = *state;

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    assert_int_equal(hc_auth_reload(f->auth, &f->err), 0);
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    temp_dir_write(f->dir, "tokens", "broken\n");
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(hc_auth_reload(f->auth, &f->err), -1);
        assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
        assert_non_null(strstr(f->err.message, "tokens, line 1"));
        assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    }
    temp_dir_write(f->dir, "tokens", "bob sha256:" BOB "\n");
    assert_int_equal(hc_auth_reload(f->auth, &f->err), 0);
    assert_int_equal(identify_header(f, "Bearer bob-secret"), 1);
}

static void a_wrong_file_is_refused_at_the_start(void **state)
{
    struct fixture *f = *state;

    f->settings.tokens_file = f->path;
    assert_null(hc_auth_open(&f->settings, &f->err));
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
    assert_non_null(strstr(f->err.message, f->path));
    temp_dir_write(f->dir, "tokens", "alice sha256:" ALICE "\nbob\n");
    assert_null(hc_auth_open(&f->settings, &f->err));
    assert_non_null(strstr(f->err.message, "tokens, line 2"));
    f->settings.tokens_file = f->dir;
    assert_null(hc_auth_open(&f->settings, &f->err));
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
}

/* --- JSON Web Tokens -------------------------------------------------------------------
 */

enum { EXPIRES_S = NOW_S + 600, LEEWAY_S = 30 };

/* Writes the set that has the key under the name, or what is no set. */
static void write_keys(struct fixture *f, const struct jwt_key *key, const char *kid)
{
    HC_AUTO_FREE char *more = NULL;
    HC_AUTO_FREE char *jwk = NULL;
    HC_AUTO_FREE char *set = NULL;

    assert_true(asprintf(&more, ",\"kid\":\"%s\"", kid) > 0);
    jwk = jwt_key_public(key, more);
    assert_true(asprintf(&set, "{\"keys\":[%s]}", jwk) > 0);
    temp_dir_write(f->dir, "keys", set);
}

static void open_with_keys(struct fixture *f, const struct jwt_key *key)
{
    static char issuer[] = "i", audience[] = "hubcache";
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "keys");

    write_keys(f, key, "1");
    f->settings.jwt_issuer = issuer;
    f->settings.jwt_audience = audience;
    f->settings.jwt_keys = hc_take(&path);
    open_auth(f);
}

/* "Bearer <token>" of the caller "ci", which the calling function frees. */
static char *header_of(const struct jwt_key *key, const char *kid)
{
    HC_AUTO_FREE char *head = NULL;
    HC_AUTO_FREE char *claims = NULL;
    HC_AUTO_FREE char *token = NULL;
    char *header = NULL;

    assert_true(asprintf(&head, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid) > 0);
    assert_true(asprintf(&claims,
                         "{\"iss\":\"i\",\"aud\":\"hubcache\",\"sub\":\"ci\","
                         "\"exp\":%d}",
                         EXPIRES_S) > 0);
    token = jwt_sign(head, claims, "ES256", key);
    assert_true(asprintf(&header, "Bearer %s", token) > 0);
    return header;
}

static int identify_header_at(struct fixture *f, const char *header, int64_t now_s)
{
    return identify_at(f,
                       &(struct hc_credential){.authorization = header,
                                               .size = strlen(header)},
                       now_s);
}

static void a_signed_token_is_its_subject_until_it_expires(void **state)
{
    struct fixture *f = *state;
    struct jwt_key *key = jwt_key_make("EC", 256);
    HC_AUTO_FREE char *header = header_of(key, "1");
    HC_AUTO_FREE char *path = NULL;

    open_with_keys(f, key);
    path = f->settings.jwt_keys;
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(identify_header(f, header), 1);
        assert_string_equal(f->caller->name, "ci");
        assert_int_equal(f->caller->kind, HC_CALLER_JWT);
    }
    assert_int_equal(identify_header_at(f, header, EXPIRES_S - 1), 1);
    assert_refused(f, identify_header_at(f, header, EXPIRES_S + LEEWAY_S));
    assert_non_null(strstr(f->err.message, "expired"));
    header[strlen(header) - 3] ^= 1;
    assert_refused(f, identify_header(f, header));
    assert_null(strstr(f->err.message, header + 7));
    jwt_key_free(key);
}

/* One that is remembered, or known without a signature, is not kept waiting. */
static void after_many_forgeries_a_new_token_waits(void **state)
{
    struct fixture *f = *state;
    struct jwt_key *key = jwt_key_make("EC", 256), *foreign = jwt_key_make("EC", 256);
    HC_AUTO_FREE char *header = header_of(key, "1");
    HC_AUTO_FREE char *forged = header_of(foreign, "1");
    HC_AUTO_FREE char *path = NULL;
    unsigned forgeries = 0;

    temp_dir_write(f->dir, "tokens", "alice sha256:" ALICE "\n");
    f->settings.tokens_file = f->path;
    open_with_keys(f, key);
    path = f->settings.jwt_keys;
    assert_int_equal(identify_header(f, header), 1);
    do {
        assert_refused(f, identify_header(f, forged));
        forgeries++;
    } while (f->err.retry_after_ms == 0 && forgeries < 1000);
    assert_non_null(strstr(f->err.message, "many tokens with wrong signatures"));
    assert_true(forgeries > 20); /* a second */
    assert_int_equal(identify_header(f, header), 1);
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    jwt_key_free(key);
    jwt_key_free(foreign);
}

static void a_rotated_key_is_read_and_a_withdrawn_one_refused(void **state)
{
    struct fixture *f = *state;
    struct jwt_key *old = jwt_key_make("EC", 256), *fresh = jwt_key_make("EC", 256);
    HC_AUTO_FREE char *old_header = header_of(old, "1");
    HC_AUTO_FREE char *fresh_header = header_of(fresh, "2");
    HC_AUTO_FREE char *path = NULL;

    open_with_keys(f, old);
    path = f->settings.jwt_keys;
    assert_int_equal(identify_header(f, old_header), 1);
    assert_refused(f, identify_header(f, fresh_header));
    assert_non_null(strstr(f->err.message, "key that has signed the token is not known"));
    assert_true(f->err.retry_after_ms > 0);

    write_keys(f, fresh, "2");
    hc_auth_look(f->auth);
    assert_int_equal(identify_header(f, fresh_header), 1);
    assert_refused(f, identify_header(f, old_header));
    temp_dir_write(f->dir, "keys", "{}"); /* a wrong file changes nothing */
    hc_auth_look(f->auth);
    assert_int_equal(identify_header(f, fresh_header), 1);
    jwt_key_free(old);
    jwt_key_free(fresh);
}

static void both_kinds_of_tokens_can_be_configured(void **state)
{
    struct fixture *f = *state;
    struct jwt_key *key = jwt_key_make("EC", 256);
    HC_AUTO_FREE char *header = header_of(key, "1");
    HC_AUTO_FREE char *path = NULL;

    temp_dir_write(f->dir, "tokens", "alice sha256:" ALICE "\n");
    f->settings.tokens_file = f->path;
    open_with_keys(f, key);
    path = f->settings.jwt_keys;
    assert_int_equal(identify_header(f, header), 1);
    assert_string_equal(f->caller->name, "ci");
    assert_int_equal(identify_header(f, "Bearer alice-secret"), 1);
    assert_string_equal(f->caller->name, "alice");
    assert_refused(f, identify_header(f, "Bearer bob-secret"));
    assert_refused(f, identify_header(f, "Bearer a.b.c"));
    jwt_key_free(key);
}

static void settings_that_contradict_are_refused(void **state)
{
    static char none[] = "none", file[] = "/tokens", text[] = "x";
    static char plain[] = "http://hub/keys", local[] = "http://127.0.0.1:1/keys";
    static char alike[] = "http://127.0.0.1.example/keys";
    static char safe[] = "https://hub/keys", named[] = "https://me:secret@hub/keys";
    static const struct {
        struct hc_auth_settings settings;
        bool has_unix_socket;
        const char *field; /* NULL: they do not */
    } rows[] = {
        {{.mode = NULL}, false, NULL},
        {{.mode = none}, false, NULL},
        {{.tokens_file = file, .is_required = true}, false, NULL},
        {{.is_required = true}, true, NULL},
        {{.mode = none, .tokens_file = file}, false, "auth"},
        {{.jwt_issuer = text,
          .jwt_audience = text,
          .jwt_keys = file,
          .is_required = true},
         false,
         NULL},
        {{.jwt_issuer = text, .jwt_audience = text, .jwt_keys = safe}, false, NULL},
        {{.jwt_issuer = text, .jwt_audience = text, .jwt_keys = local}, false, NULL},
        {{.jwt_issuer = text, .jwt_audience = text, .jwt_keys = plain},
         false,
         "auth-jwt-keys"},
        {{.jwt_issuer = text, .jwt_audience = text, .jwt_keys = alike},
         false,
         "auth-jwt-keys"},
        {{.jwt_issuer = text, .jwt_audience = text, .jwt_keys = named},
         false,
         "auth-jwt-keys"},
        {{.jwt_issuer = text, .jwt_audience = text}, false, "auth-jwt-issuer"},
        {{.jwt_issuer = text, .jwt_keys = file}, false, "auth-jwt-issuer"},
        {{.jwt_audience = text, .jwt_keys = file}, false, "auth-jwt-issuer"},
        {{.jwt_keys_ca = file}, false, "auth-jwt-issuer"},
        {{.mode = none, .jwt_issuer = text, .jwt_audience = text, .jwt_keys = file},
         false,
         "auth"},
        {{.is_required = true}, false, "auth-required"},
        {{.mode = none, .is_required = true}, false, "auth-required"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_error err;
        int result =
            hc_auth_settings_check(&rows[i].settings, rows[i].has_unix_socket, &err);

        assert_int_equal(result, rows[i].field ? -1 : 0);
        if (rows[i].field)
            assert_string_equal(err.field, rows[i].field);
    }
}

/* A header comes first; a certificate is asked again at its end; and one that names no
 * caller is refused, never anonymous. */
static void a_certificate_is_its_caller_unless_a_header_says_more(void **state)
{
    struct fixture *f = *state;
    int64_t now_s = (int64_t)time(NULL);
    struct cert *named = cert_make(&(
        struct cert_wish){.names = {{.kind = CERT_URI, .text = "spiffe://td/ns/ml/sa/a"}},
                          .ends_in_s = 600});
    struct cert *nameless = cert_make(&(struct cert_wish){.common_name = "root"});
    HC_AUTO_FREE char *pem = cert_pem(named);
    HC_AUTO_FREE char *nameless_pem = cert_pem(nameless);
    struct hc_credential shown = {.certificate = pem, .certificate_size = strlen(pem)};

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(identify_at(f, &shown, now_s), 1);
        assert_string_equal(f->caller->name, "spiffe://td/ns/ml/sa/a");
        assert_int_equal(f->caller->kind, HC_CALLER_CERTIFICATE);
    }
    assert_refused(f, identify_at(f, &shown, now_s + 700));
    shown.authorization = "Bearer alice-secret";
    shown.size = strlen(shown.authorization);
    assert_int_equal(identify_at(f, &shown, now_s), 1);
    assert_string_equal(f->caller->name, "alice");
    shown.authorization = "Bearer wrong-secret";
    assert_refused(f, identify_at(f, &shown, now_s));
    shown = (struct hc_credential){.certificate = nameless_pem,
                                   .certificate_size = strlen(nameless_pem)};
    assert_refused(f, identify_at(f, &shown, now_s));
    cert_free(named);
    cert_free(nameless);
}

/* The memory of tokens is another one than that of certificates. */
static void the_text_of_a_certificate_is_no_token(void **state)
{
    struct fixture *f = *state;
    struct cert *named = cert_make_client(NULL, "spiffe://td/ns/ml/sa/a");
    HC_AUTO_FREE char *pem = cert_pem(named);
    char header[4096];

    open_with_tokens(f, "alice sha256:" ALICE "\n");
    assert_int_equal(identify_at(f,
                                 &(struct hc_credential){.certificate = pem,
                                                         .certificate_size = strlen(pem)},
                                 (int64_t)time(NULL)),
                     1);
    (void)snprintf(header, sizeof header, "Bearer %s", pem);
    assert_refused(f, identify_at(f,
                                  &(struct hc_credential){.authorization = header,
                                                          .size = strlen(header)},
                                  (int64_t)time(NULL)));
    cert_free(named);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, auth_set_up, auth_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_known_token_is_its_caller),
        TEST(what_is_no_known_token_is_refused),
        TEST(a_header_has_16_kib_at_most),
        TEST(a_call_without_a_header_is_anonymous_unless_that_is_refused),
        TEST(a_unix_socket_shows_the_user),
        TEST(without_tokens_a_header_is_not_checked),
        TEST(a_changed_file_is_read_again),
        TEST(a_swapped_symlink_is_read_again),
        TEST(a_wrong_or_missing_file_changes_nothing),
        TEST(a_reload_reads_the_files_in_any_case),
        TEST(a_wrong_file_is_refused_at_the_start),
        TEST(a_signed_token_is_its_subject_until_it_expires),
        TEST(after_many_forgeries_a_new_token_waits),
        TEST(a_rotated_key_is_read_and_a_withdrawn_one_refused),
        TEST(both_kinds_of_tokens_can_be_configured),
        TEST(a_certificate_is_its_caller_unless_a_header_says_more),
        TEST(the_text_of_a_certificate_is_no_token),
        cmocka_unit_test(settings_that_contradict_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
