/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: certificate, key and authorities are taken into use together, and only if
 * all are right; the state says what is wrong, and since when what is in use was read.
 */
#include <server/tls.h>

#include <cert_maker.h>
#include <string.h>
#include <test.h>
#include <time.h>

struct fixture {
    char *dir, *cert_path, *key_path, *ca_path;
    struct cert *authority, *first, *second;
    struct hc_tls_settings settings;
    struct hc_tls *tls;
};

static void write_cert(struct fixture *f, const char *name, const struct cert *cert)
{
    HC_AUTO_FREE char *pem = cert_pem(cert);

    temp_dir_write(f->dir, name, pem);
}

static void write_key(struct fixture *f, const struct cert *cert)
{
    HC_AUTO_FREE char *pem = cert_key_pem(cert);

    temp_dir_write(f->dir, "key", pem);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct hc_error err;

    if (!f)
        return -1;
    f->dir = temp_dir_make();
    f->cert_path = temp_dir_path(f->dir, "cert");
    f->key_path = temp_dir_path(f->dir, "key");
    f->ca_path = temp_dir_path(f->dir, "ca");
    f->authority = cert_make_authority();
    f->first = cert_make_server(f->authority, "first.test");
    f->second = cert_make_server(f->authority, "second.test");
    write_cert(f, "cert", f->first);
    write_cert(f, "ca", f->authority);
    write_key(f, f->first);
    f->settings = (struct hc_tls_settings){.cert = f->cert_path,
                                           .key = f->key_path,
                                           .client_ca = f->ca_path};
    f->tls = hc_tls_open(&f->settings, &err);
    *state = f;
    return f->tls ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    hc_tls_close(f->tls);
    cert_free(f->authority);
    cert_free(f->first);
    cert_free(f->second);
    temp_dir_remove(f->dir);
    free(f->cert_path);
    free(f->key_path);
    free(f->ca_path);
    free(f);
    return 0;
}

/* That the pair of `cert` is in use, and no other. */
static void assert_in_use(struct fixture *f, const struct cert *cert)
{
    HC_AUTO_VALUE(hc_tls_pem) pem = {.cert = NULL};
    HC_AUTO_FREE char *expected = cert_pem(cert);
    HC_AUTO_FREE char *expected_key = cert_key_pem(cert);
    uint64_t generation = 0;

    assert_true(hc_tls_copy_newer(f->tls, &generation, &pem));
    assert_string_equal(pem.cert, expected);
    assert_string_equal(pem.key, expected_key);
}

static void a_wrong_file_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct cert *expired =
        cert_make(&(struct cert_wish){.issuer = f->authority, .ends_in_s = -5});
    struct cert *old_authority =
        cert_make(&(struct cert_wish){.is_authority = true, .ends_in_s = -5});
    HC_AUTO_FREE char *good = cert_pem(f->first);
    HC_AUTO_FREE char *good_ca = cert_pem(f->authority);
    HC_AUTO_FREE char *late = cert_pem(expired);
    HC_AUTO_FREE char *late_ca = cert_pem(old_authority);
    HC_AUTO_FREE char *half = strndup(good, strlen(good) / 2);
    HC_AUTO_FREE char *half_chain = calloc(1, 2 * strlen(good) + 1);
    const struct {
        const char *file, *text, *message;
    } wrong[] = {
        {"cert", "", "tls-cert: no certificate in PEM"},
        {"cert", "garbage\n", "tls-cert: no certificate in PEM"},
        {"cert", half, "tls-cert: no certificate in PEM"},
        {"cert", half_chain, "tls-cert: the chain"},
        {"cert", late, "tls-cert: the certificate has expired"},
        {"key", "", "tls-key: no key in PEM"},
        {"key", good, "tls-key: no key in PEM"},
        {"ca", "", "tls-client-ca: no certificates in PEM"},
        {"ca", half, "tls-client-ca: no certificates in PEM"},
        {"ca", late_ca, "tls-client-ca: the authorities have expired"},
    };
    struct hc_tls_state seen;
    struct hc_error err;

    (void)strcat(strcat(half_chain, good), half);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        temp_dir_write(f->dir, wrong[i].file, wrong[i].text);
        assert_int_equal(hc_tls_read(f->tls, &err), -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        if (!strstr(err.message, wrong[i].message))
            fail_msg("%s, not: %s", err.message, wrong[i].message);
        assert_in_use(f, f->first);
        hc_tls_look_at_state(f->tls, &seen);
        assert_string_equal(seen.err.message, err.message);
        assert_int_equal(seen.failed, i + 1);
        temp_dir_write(f->dir, "cert", good);
        temp_dir_write(f->dir, "ca", good_ca);
        write_key(f, f->first);
    }
    assert_int_equal(hc_tls_read(f->tls, &err), 0);
    hc_tls_look_at_state(f->tls, &seen);
    assert_string_equal(seen.err.message, "");
    assert_int_equal(seen.replaced, 0);
    cert_free(expired);
    cert_free(old_authority);
}

static void a_missing_file_or_one_with_a_nul_is_wrong(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FCLOSE FILE *file = NULL;
    struct hc_error err;

    assert_int_equal(unlink(f->key_path), 0);
    assert_int_equal(hc_tls_read(f->tls, &err), -1);
    assert_non_null(strstr(err.message, "tls-key"));
    write_key(f, f->first);
    file = fopen(f->cert_path, "ae");
    assert_non_null(file);
    assert_int_equal(fputc('\0', file), '\0');
    assert_int_equal(fflush(file), 0);
    assert_int_equal(hc_tls_read(f->tls, &err), -1);
    assert_non_null(strstr(err.message, "has a NUL"));
    assert_in_use(f, f->first);
}

/* Between the two files of a pair a look finds a wrong one; the next look mends it, also
 * if no file has changed since. */
static void a_pair_is_replaced_together(void **state)
{
    struct fixture *f = *state;
    struct hc_tls_state seen;

    write_cert(f, "cert", f->second);
    hc_tls_look(f->tls);
    assert_in_use(f, f->first);
    write_key(f, f->second);
    hc_tls_look(f->tls);
    assert_in_use(f, f->second);
    hc_tls_look_at_state(f->tls, &seen);
    assert_string_equal(seen.err.message, "");
    assert_int_equal(seen.replaced, 1);
    assert_int_equal(seen.failed, 1);
    assert_true(seen.since_s <= (int64_t)time(NULL));
    assert_true(seen.end_s > (int64_t)time(NULL));
}

static void authorities_are_replaced_while_some_have_expired(void **state)
{
    struct fixture *f = *state;
    struct cert *old =
        cert_make(&(struct cert_wish){.is_authority = true, .ends_in_s = -5});
    HC_AUTO_FREE char *old_pem = cert_pem(old);
    HC_AUTO_FREE char *new_pem = cert_pem(f->authority);
    HC_AUTO_FREE char *both = calloc(1, strlen(old_pem) + strlen(new_pem) + 1);
    struct hc_error err;

    temp_dir_write(f->dir, "ca", strcat(strcat(both, old_pem), new_pem));
    assert_int_equal(hc_tls_read(f->tls, &err), 1);
    cert_free(old);
}

static void what_is_in_use_is_copied_once(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_tls_pem) pem = {.cert = NULL};
    uint64_t generation = 0;
    struct hc_error err;

    assert_true(hc_tls_copy_newer(f->tls, &generation, &pem));
    hc_tls_pem_clear(&pem);
    assert_false(hc_tls_copy_newer(f->tls, &generation, &pem));
    write_cert(f, "cert", f->second);
    write_key(f, f->second);
    assert_int_equal(hc_tls_read(f->tls, &err), 1);
    assert_true(hc_tls_copy_newer(f->tls, &generation, &pem));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wrong_file_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_file_or_one_with_a_nul_is_wrong, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_pair_is_replaced_together, setup, teardown),
        cmocka_unit_test_setup_teardown(authorities_are_replaced_while_some_have_expired,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_in_use_is_copied_once, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
