/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a call has the caller that its credential proves; a token that is not
 * known is refused and never anonymous; the file of tokens is read again when it changes,
 * and a wrong one changes nothing.
 */
#include <test.h>

#include <base/auto.h>
#include <server/auth.h>

#include <string.h>
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

static int identify(struct fixture *f, const struct hc_credential *credential)
{
    hc_caller_release(hc_take(&f->caller));
    return hc_auth_identify(f->auth, credential, NOW_S, &f->caller, &f->err);
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

static void settings_that_contradict_are_refused(void **state)
{
    static char none[] = "none", file[] = "/tokens";
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
        TEST(a_wrong_file_is_refused_at_the_start),
        cmocka_unit_test(settings_that_contradict_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
