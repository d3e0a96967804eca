/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the token of the caller is used, else that of the environment, else that of
 * the file, which is read anew each time. No token can forge a header, and none is ever
 * part of a message.
 */
#include "cache_fixture.h"

#include <policy/policy.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

struct choice {
    int result;
    char token[HC_TOKEN_MAX + 1];
    struct hc_error err;
};

static struct choice token_choice(char *token, char *file, const char *caller)
{
    const struct hc_settings settings = {.token = token, .token_file = file};
    struct choice choice = {0};

    choice.result = hc_token_choose(&settings, caller, NULL, choice.token, &choice.err);
    return choice;
}

static void assert_token_refused(const struct choice *choice, const char *secret)
{
    assert_int_equal(choice->result, -1);
    assert_int_equal(choice->err.reason, HC_HUB_UNAUTHORIZED);
    assert_string_equal(choice->token, "");
    assert_null(strstr(choice->err.message, secret));
}

static void the_nearest_token_wins(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");
    char token[] = "hf_environment";

    temp_dir_write(f->dir, "token", "hf_file\n");
    assert_string_equal(token_choice(token, file, "hf_caller").token, "hf_caller");
    assert_string_equal(token_choice(token, file, "").token, "hf_environment");
    assert_string_equal(token_choice(token, file, NULL).token, "hf_environment");
    assert_string_equal(token_choice(NULL, file, NULL).token, "hf_file");
    assert_string_equal(token_choice(NULL, NULL, NULL).token, "");
}

static void a_rotated_file_is_read_anew(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");

    temp_dir_write(f->dir, "token", "hf_old");
    assert_string_equal(token_choice(NULL, file, NULL).token, "hf_old");
    temp_dir_write(f->dir, "token", " hf_new \r\n");
    assert_string_equal(token_choice(NULL, file, NULL).token, "hf_new");
}

static void a_file_that_is_absent_or_empty_is_no_token(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");
    struct choice choice = token_choice(NULL, file, NULL);

    assert_int_equal(choice.result, 0);
    assert_string_equal(choice.token, "");
    temp_dir_write(f->dir, "token", "\n");
    choice = token_choice(NULL, file, NULL);
    assert_int_equal(choice.result, 0);
    assert_string_equal(choice.token, "");
}

static void no_implicit_token_leaves_only_the_callers(void **state)
{
    char secret[] = "hf_environment";
    const struct hc_settings settings = {.token = secret, .no_implicit_token = true};
    struct fixture *f = *state;
    char token[HC_TOKEN_MAX + 1];

    assert_int_equal(hc_token_choose(&settings, NULL, NULL, token, &f->err), 0);
    assert_string_equal(token, "");
    assert_int_equal(hc_token_choose(&settings, "hf_caller", NULL, token, &f->err), 0);
    assert_string_equal(token, "hf_caller");
}

static void a_token_that_would_forge_a_header_is_refused(void **state)
{
    static const char *const bad[] = {"hf_secret\r\nX: y", "hf_secret x", "hf_secret\x01",
                                      "hf_secret\xc3\xa9"};
    struct choice choice;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        choice = token_choice(NULL, NULL, bad[i]);
        assert_token_refused(&choice, "hf_secret");
    }
}

static void a_file_that_cannot_be_a_token_is_named(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");
    char text[HC_TOKEN_MAX + 2];
    struct choice choice;

    temp_dir_write(f->dir, "token", "hf_secret two");
    choice = token_choice(NULL, file, NULL);
    assert_token_refused(&choice, "hf_secret");
    assert_non_null(strstr(choice.err.message, file));
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    temp_dir_write(f->dir, "token", text);
    choice = token_choice(NULL, file, NULL);
    assert_token_refused(&choice, "aaaa");
    assert_non_null(strstr(choice.err.message, file));
}

/* Nothing that the Hub has said, so nothing that is final. */
static void assert_temporary_failure(const struct choice *choice, const char *file)
{
    assert_int_equal(choice->result, -1);
    assert_int_equal(choice->err.reason, HC_INTERNAL);
    assert_true(choice->err.retry_after_ms > 0);
    assert_string_equal(choice->token, "");
    assert_non_null(strstr(choice->err.message, file));
}

static void a_file_that_may_not_be_read_is_named(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");
    struct choice choice;

    temp_dir_write(f->dir, "token", "hf_secret");
    assert_int_equal(chmod(file, 0), 0);
    make_cache_read_only(f);
    choice = token_choice(NULL, file, NULL);
    make_cache_writable(f);
    assert_temporary_failure(&choice, file);
}

static void without_a_descriptor_to_read_it_a_file_is_not_no_token(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");
    struct rlimit before, none;
    struct choice choice;

    temp_dir_write(f->dir, "token", "hf_secret");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    choice = token_choice(NULL, file, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_temporary_failure(&choice, file);
    assert_string_equal(token_choice(NULL, file, NULL).token, "hf_secret");
}

static struct choice token_choice_after(char *file, atomic_bool *had_token)
{
    const struct hc_settings settings = {.token_file = file};
    struct choice choice = {0};

    choice.result =
        hc_token_choose(&settings, NULL, had_token, choice.token, &choice.err);
    return choice;
}

static void a_file_that_held_a_token_and_lost_it_is_a_failure(void **state)
{
    static const char *const lost[] = {NULL, "", " \n"};
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");
    atomic_bool had_token = false;
    struct choice choice;

    assert_int_equal(token_choice_after(file, &had_token).result,
                     0); /* it never was there */
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) {
        temp_dir_write(f->dir, "token", "hf_secret");
        assert_string_equal(token_choice_after(file, &had_token).token, "hf_secret");
        (void)unlink(file);
        if (lost[i])
            temp_dir_write(f->dir, "token", lost[i]);
        choice = token_choice_after(file, &had_token);
        assert_temporary_failure(&choice, file);
    }
}

/* As Kubernetes mounts a secret. */
static void a_file_behind_symlinks_is_read(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "token");
    HC_AUTO_FREE char *data = temp_dir_path(f->dir, "..data");

    temp_dir_write(f->dir, "..2026/token", "hf_secret");
    assert_int_equal(symlink("..2026", data), 0);
    assert_int_equal(symlink("..data/token", file), 0);
    assert_string_equal(token_choice(NULL, file, NULL).token, "hf_secret");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(the_nearest_token_wins),
        WITH_CACHE(a_rotated_file_is_read_anew),
        WITH_CACHE(a_file_that_is_absent_or_empty_is_no_token),
        WITH_CACHE(no_implicit_token_leaves_only_the_callers),
        WITH_CACHE(a_token_that_would_forge_a_header_is_refused),
        WITH_CACHE(a_file_that_cannot_be_a_token_is_named),
        WITH_CACHE(a_file_that_may_not_be_read_is_named),
        WITH_CACHE(without_a_descriptor_to_read_it_a_file_is_not_no_token),
        WITH_CACHE(a_file_that_held_a_token_and_lost_it_is_a_failure),
        WITH_CACHE(a_file_behind_symlinks_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
