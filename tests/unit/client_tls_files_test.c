/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the files of TLS are read and checked before gRPC sees them; each wrong one is
 * refused with its path and its field, and the texts that were read before stay.
 */
#include "test.h"

#include "cert_maker.h"
#include "temp_dir.h"

#include "client/tls_files.h"

#include <hubcache-client/client.h>
#include <stdlib.h>
#include <string.h>

/* Two certificates with their keys, made for this test with openssl(1). */
static const char CERT[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfDCCASGgAwIBAgIUWd5rFzCpIvvRsGH6CWP8x33zHnYwCgYIKoZIzj0EAwIw\n"
    "DTELMAkGA1UEAwwCY2EwHhcNMjYxMTI5MTExNDA0WhcNMjYxMjI5MTExNDA0WjAR\n"
    "MQ8wDQYDVQQDDAZjbGllbnQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQmSgT2\n"
    "zjpfh6xcPlM2ePe7j/s4m1OUnKE6U9zIoKt7KiBmHSiBPvTMx6KWOgiUNZbj3ZBV\n"
    "1LDEEDXJgFfTJ9zmo1swWTAXBgNVHREEEDAOhgxzcGlmZmU6Ly94L3kwHQYDVR0O\n"
    "BBYEFGfqF4kkHzTQ9SR2LEZRyBy3JBNqMB8GA1UdIwQYMBaAFJ/Ryx4zKXIOwM4g\n"
    "OiV8KLIMuDCKMAoGCCqGSM49BAMCA0kAMEYCIQDXzCGeliu2OcXeTHAH+JRsFIzQ\n"
    "ItQMr6n1gOmYHTdR2wIhAJglpJ5yXxsUfewiZriFzaYs60GD2A7Zrd3xbjfZMi73\n"
    "-----END CERTIFICATE-----\n";
static const char KEY[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEINW4Uo9iV+m7VZXkG0KLKTF5I8rGd5eaMCe/AHHNuRkJoAoGCCqGSM49\n"
    "AwEHoUQDQgAEJkoE9s46X4esXD5TNnj3u4/7OJtTlJyhOlPcyKCreyogZh0ogT70\n"
    "zMeiljoIlDWW492QVdSwxBA1yYBX0yfc5g==\n"
    "-----END EC PRIVATE KEY-----\n";
static const char OTHER_CERT[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfzCCASWgAwIBAgIUQlvSzskeQ6NJdTZ3vrtAZsIDyBMwCgYIKoZIzj0EAwIw\n"
    "EDEOMAwGA1UEAwwFb3RoZXIwHhcNMjYxMTI5MTExNDA0WhcNMjYxMjI5MTExNDA0\n"
    "WjASMRAwDgYDVQQDDAdmb3JlaWduMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n"
    "uWJ8wzYD2xMpI6JWriogJhYBYvjXfFnBK0Vvb3M0XLApjkAzyuMdPrbIRPqNB6lD\n"
    "hO/InXjHXYoVhsqAy8xLZqNbMFkwFwYDVR0RBBAwDoYMc3BpZmZlOi8veC95MB0G\n"
    "A1UdDgQWBBTKPyHewQHfrbyMtuOyoJCvgm1VnDAfBgNVHSMEGDAWgBTHTrhwJyuG\n"
    "WielFiM+rv4gfLiBHjAKBggqhkjOPQQDAgNIADBFAiEAoFiC3uFMzMFy2PLluCBP\n"
    "sNpg4kaZje2bKNRe+uENZ+ACIEZ7k5mKiDd8rasQ/AL/OrHEgZrvakNwDx+ntwfa\n"
    "Gz+s\n"
    "-----END CERTIFICATE-----\n";
static const char OTHER_KEY[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIMQ7OoYepMlgMQjVQ5ZU5fxCU/Tgyorkuj2bPxXoEliBoAoGCCqGSM49\n"
    "AwEHoUQDQgAEuWJ8wzYD2xMpI6JWriogJhYBYvjXfFnBK0Vvb3M0XLApjkAzyuMd\n"
    "PrbIRPqNB6lDhO/InXjHXYoVhsqAy8xLZg==\n"
    "-----END EC PRIVATE KEY-----\n";
static const char ENCRYPTED_KEY[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjZbkUDxfkK+QICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEH39heBCiuAonveC6sOlckQEgZAI\n"
    "Aa0YaHZazPk7YroX5+Mvuff3JhaqUFB2qNaz3s36NPLB3Hnv9eFvzDvzj7L6BUqH\n"
    "5NmMc4lL4XOoxMNHMa/COTx7f+4iT94LG4gZr4pxf5SjyUD0SZCRXnkkybWsLBus\n"
    "qW8P+dWVF4kFEiMK0VLGgT4VEy810p1r2u41feEdgdQEabU6pR26F3/vpM+DyuE=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

struct fixture {
    char *dir, *ca, *cert, *key;
    struct hc_tls_texts texts;
    struct hc_error err;
};

static int files_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->dir = temp_dir_make();
    f->ca = temp_dir_path(f->dir, "ca.pem");
    f->cert = temp_dir_path(f->dir, "cert.pem");
    f->key = temp_dir_path(f->dir, "key.pem");
    temp_dir_write(f->dir, "ca.pem", OTHER_CERT);
    temp_dir_write(f->dir, "cert.pem", CERT);
    temp_dir_write(f->dir, "key.pem", KEY);
    *state = f;
    return 0;
}

static int files_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_tls_texts_clear(&f->texts);
    temp_dir_remove(f->dir);
    free(f->ca);
    free(f->cert);
    free(f->key);
    free(f);
    return 0;
}

static int files_read(struct fixture *f)
{
    const struct hc_client_options options = {.tls_ca_file = f->ca,
                                              .tls_cert_file = f->cert,
                                              .tls_key_file = f->key};
    struct hc_tls_files files = {.is_wanted = false};
    int result;

    assert_int_equal(hc_tls_files_init(&files, &options, &f->err), 0);
    assert_true(files.is_wanted);
    hc_tls_texts_clear(&f->texts);
    result = hc_tls_files_read(&files, &f->texts, &f->err);
    hc_tls_files_clear(&files);
    return result;
}

static void the_texts_of_the_files_are_read(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(files_read(f), 0);
    assert_string_equal(f->texts.ca, OTHER_CERT);
    assert_string_equal(f->texts.cert, CERT);
    assert_string_equal(f->texts.key, KEY);
}

/* With "file" in place of the file's content; NULL: there is no such file. */
static void assert_file_refused(struct fixture *f, const char *file, const char *content,
                                const char *field)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, file);
    HC_AUTO_FREE char *before = temp_dir_read(f->dir, file);

    if (content)
        temp_dir_write(f->dir, file, content);
    else
        assert_int_equal(remove(path), 0);
    assert_int_equal(files_read(f), -1);
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(f->err.field, field);
    assert_non_null(strstr(f->err.message, path));
    assert_null(f->texts.ca);
    temp_dir_write(f->dir, file, before);
}

static void a_wrong_file_is_refused_by_its_path(void **state)
{
    static const char *const wrong[] = {NULL, "", "\n", "-----BEGIN CERTIFICATE-----\n"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_file_refused(f, "ca.pem", wrong[i], "tls_ca_file");
        assert_file_refused(f, "cert.pem", wrong[i], "tls_cert_file");
        assert_file_refused(f, "key.pem", wrong[i], "tls_key_file");
    }
    assert_file_refused(f, "ca.pem", KEY, "tls_ca_file");
    assert_file_refused(f, "cert.pem", KEY, "tls_cert_file");
    assert_file_refused(f, "key.pem", CERT, "tls_key_file");
    assert_int_equal(files_read(f), 0);
}

static void the_key_of_another_certificate_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_file_refused(f, "key.pem", OTHER_KEY, "tls_key_file");
    assert_file_refused(f, "cert.pem", OTHER_CERT, "tls_key_file");
    assert_non_null(strstr(f->err.message, f->cert));
}

/* It would ask for the password on a terminal. */
static void a_key_with_a_password_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_file_refused(f, "key.pem", ENCRYPTED_KEY, "tls_key_file");
}

static void a_certificate_and_its_key_belong_together(void **state)
{
    static const struct hc_client_options halves[] = {{.tls_cert_file = "/cert"},
                                                      {.tls_key_file = "/key"}};
    static const char *const fields[] = {"tls_key_file", "tls_cert_file"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct hc_tls_files files = {.is_wanted = false};
        struct hc_error err = {.reason = HC_OK};

        assert_int_equal(hc_tls_files_init(&files, &halves[i], &err), -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_string_equal(err.field, fields[i]);
        hc_tls_files_clear(&files);
    }
}

static void texts_differ_when_one_file_does(void **state)
{
    char one[] = "one", two[] = "two";
    const struct hc_tls_texts texts = {.ca = one, .cert = one, .key = one};
    const struct hc_tls_texts others[] = {{.ca = two, .cert = one, .key = one},
                                          {.ca = one, .cert = two, .key = one},
                                          {.ca = one, .cert = one, .key = two},
                                          {.ca = NULL, .cert = one, .key = one}};
    const struct hc_tls_texts none = {.ca = NULL};

    (void)state;
    assert_true(hc_tls_texts_is_equal(&texts, &texts));
    assert_true(hc_tls_texts_is_equal(&none, &none));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(hc_tls_texts_is_equal(&texts, &others[i]));
}

/* What is known of a certificate that is valid from and to these seconds from now. */
static const char *flaw_of(int64_t begins_in_s, int64_t ends_in_s, bool is_ca)
{
    struct cert *cert = cert_make(&(struct cert_wish){.common_name = "test",
                                                      .is_authority = is_ca,
                                                      .begins_in_s = begins_in_s,
                                                      .ends_in_s = ends_in_s});
    HC_AUTO_FREE char *pem = cert_pem(cert);
    const struct hc_tls_texts texts = {.ca = is_ca ? pem : NULL,
                                       .cert = is_ca ? NULL : pem};
    const char *flaw = hc_tls_texts_flaw(&texts);

    cert_free(cert);
    return flaw ? flaw : "";
}

static void certificates_that_are_not_valid_now_are_told(void **state)
{
    enum { HOUR_S = 3600 };
    const struct hc_tls_texts none = {.ca = NULL};

    (void)state;
    assert_null(hc_tls_texts_flaw(&none));
    assert_string_equal(flaw_of(-HOUR_S, HOUR_S, false), "");
    assert_string_equal(flaw_of(-HOUR_S, HOUR_S, true), "");
    assert_non_null(strstr(flaw_of(-2 * HOUR_S, -HOUR_S, false), "certificate has exp"));
    assert_non_null(strstr(flaw_of(HOUR_S, 2 * HOUR_S, false), "not valid yet"));
    assert_non_null(strstr(flaw_of(-2 * HOUR_S, -HOUR_S, true), "CA has expired"));
}

#define files_test(function)                                                             \
    cmocka_unit_test_setup_teardown(function, files_set_up, files_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        files_test(the_texts_of_the_files_are_read),
        files_test(a_wrong_file_is_refused_by_its_path),
        files_test(the_key_of_another_certificate_is_refused),
        files_test(a_key_with_a_password_is_refused),
        cmocka_unit_test(a_certificate_and_its_key_belong_together),
        cmocka_unit_test(texts_differ_when_one_file_does),
        cmocka_unit_test(certificates_that_are_not_valid_now_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
