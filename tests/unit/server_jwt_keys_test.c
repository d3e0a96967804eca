/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: of a JWKS those keys count that can check an allowed signature; keys of
 * other kinds are passed over; what is broken, weak or private is refused, and the set as
 * a whole with it.
 */
#include <test.h>

#include <base/auto.h>
#include <jwt_maker.h>
#include <server/jwt_keys.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct jwt_key *rsa, *ec, *weak, *wide;

static int keys_set_up(void **state)
{
    (void)state;
    rsa = jwt_key_make("RSA", 2048);
    weak = jwt_key_make("RSA", 1024);
    ec = jwt_key_make("EC", 256);
    wide = jwt_key_make("EC", 384);
    return 0;
}

static int keys_tear_down(void **state)
{
    (void)state;
    jwt_key_free(rsa);
    jwt_key_free(weak);
    jwt_key_free(ec);
    jwt_key_free(wide);
    return 0;
}

static struct hc_jwt_keys *parse(const char *text, struct hc_error *err)
{
    size_t size = strlen(text);
    HC_AUTO_FREE char *copy = malloc(size ? size : 1); /* without a NUL */

    assert_non_null(copy);
    memcpy(copy, text, size);
    return hc_jwt_keys_parse(copy, size, "keys.json", err);
}

/* The number of keys that can be used; 0 and the failure: the set is refused. */
static size_t count(const char *keys, struct hc_error *err)
{
    HC_AUTO_FREE char *text = NULL;
    HC_AUTO(hc_jwt_keys) *set = NULL;

    assert_true(asprintf(&text, "{\"keys\":[%s],\"more\":1}", keys) > 0);
    set = parse(text, err);
    return set ? hc_jwt_keys_count(set) : 0;
}

static void assert_refused(const char *keys, const char *message)
{
    struct hc_error err = {.reason = HC_OK};

    assert_int_equal(count(keys, &err), 0);
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    if (!strstr(err.message, message) || !strstr(err.message, "keys.json"))
        fail_msg("'%s' is not '%s'", err.message, message);
}

static void keys_of_other_kinds_are_passed_over(void **state)
{
    static const char *const others[] = {
        "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-521\"}",
        "{\"kty\":\"EC\"}",
        "{\"kty\":7}",
        "{}",
        "7",
        "null",
        "[]",
        "{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AA\"}",
        "{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\",\"n\":\"AA\"}",
        "{\"kty\":\"RSA\",\"alg\":\"HS256\",\"n\":\"AA\"}",
    };
    HC_AUTO_FREE char *good = jwt_key_public(rsa, ",\"kid\":\"1\"");
    HC_AUTO_FREE char *curve = jwt_key_public(wide, ",\"kid\":\"2\"");

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        HC_AUTO_FREE char *keys = NULL;
        struct hc_error err;

        assert_true(asprintf(&keys, "%s,%s", others[i], good) > 0);
        assert_int_equal(count(keys, &err), 1);
        assert_refused(others[i], "no key is for RS256, PS256 or ES256");
    }
    assert_refused(curve, "no key is for");
    assert_refused("", "no key is for");
}

static void what_is_broken_or_weak_is_refused(void **state)
{
    HC_AUTO_FREE char *small = jwt_key_public(weak, "");
    HC_AUTO_FREE char *private = jwt_key_public(rsa, ",\"d\":\"AQAB\"");
    HC_AUTO_FREE char *secret = jwt_key_public(ec, ",\"d\":\"AQAB\"");
    HC_AUTO_FREE char *huge = malloc(3000);
    HC_AUTO_FREE char *keys = NULL;

    (void)state;
    assert_non_null(huge);
    memset(huge, 'x', 2999);
    huge[2999] = '\0';
    assert_true(asprintf(&keys, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}", huge) >
                0);
    assert_refused(small, "key 1: an RSA key has 2048 bits at least");
    assert_refused(keys, "8192 bits at most");
    assert_refused(private, "private");
    assert_refused(secret, "private");
    assert_refused("{\"kty\":\"RSA\"}", "no modulus");
    assert_refused("{\"kty\":\"RSA\",\"n\":7,\"e\":\"AQAB\"}", "no modulus");
    assert_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"}", "broken");
    assert_refused("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}",
                   "broken");
}

static void an_exponent_must_be_odd_and_more_than_one(void **state)
{
    static const char *const exponents[] = {
        "", "AA", "AQ", "Ag", "AAAAAAAAAAAAAQAB", "AQABAQABAQABAQAB"};
    HC_AUTO_FREE char *good = jwt_key_public(rsa, "");
    size_t modulus = (size_t)(strstr(good, ",\"e\"") - good);

    (void)state;
    for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++) {
        HC_AUTO_FREE char *key = NULL;
        struct hc_error err;
        bool is_fine = i == 4; /* zeros before 65537 */

        assert_true(
            asprintf(&key, "%.*s,\"e\":\"%s\"}", (int)modulus, good, exponents[i]) > 0);
        if (is_fine)
            assert_int_equal(count(key, &err), 1);
        else
            assert_refused(key, "exponent");
    }
}

/* cjose aborts at padding in the middle, and at the end it is no base64url either. */
static void padding_is_refused(void **state)
{
    static const char *const names[] = {"\"x\":\"", "\"y\":\"", "\"n\":\"", "\"e\":\""};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t at = 0; at < 4; at++) {
            HC_AUTO_FREE char *key = jwt_key_public(i < 2 ? ec : rsa, "");
            char *number = strstr(key, names[i]) + strlen(names[i]);

            number[at] = '=';
            assert_refused(key, "key 1: it");
        }
    }
}

/* On the curve, but for one bit. */
static void a_point_must_be_on_its_curve(void **state)
{
    HC_AUTO_FREE char *key = jwt_key_public(ec, "");
    char *x = strstr(key, "\"x\":\"") + 5;

    (void)state;
    x[3] = x[3] == 'A' ? 'B' : 'A';
    assert_refused(key, "broken");
}

static void two_keys_need_names(void **state)
{
    HC_AUTO_FREE char *one = jwt_key_public(rsa, ",\"kid\":\"1\"");
    HC_AUTO_FREE char *same = jwt_key_public(ec, ",\"kid\":\"1\"");
    HC_AUTO_FREE char *twins = NULL;
    HC_AUTO_FREE char *kinds = NULL;
    struct hc_error err;

    (void)state;
    assert_true(asprintf(&twins, "%s,%s", one, one) > 0);
    assert_true(asprintf(&kinds, "%s,%s", one, same) > 0);
    assert_refused(twins, "key 2: an earlier key has the same kid");
    assert_int_equal(count(kinds, &err), 2); /* the algorithm tells */
}

static void a_set_has_limits(void **state)
{
    char kid[HC_JWT_KID_MAX + 32];
    struct hc_error err;

    (void)state;
    for (size_t beyond = 0; beyond < 2; beyond++) {
        HC_AUTO_FREE char *key = NULL;

        (void)snprintf(kid, sizeof kid, ",\"kid\":\"%0*d\"",
                       (int)(HC_JWT_KID_MAX + beyond), 7);
        key = jwt_key_public(ec, kid);
        if (beyond)
            assert_refused(key, "longer than 256 bytes");
        else
            assert_int_equal(count(key, &err), 1);
    }
    for (size_t beyond = 0; beyond < 2; beyond++) {
        HC_AUTO_FREE char *keys = calloc(1, 65536);

        assert_non_null(keys);
        for (size_t i = 0; i < HC_JWT_KEYS_MAX + beyond; i++) {
            HC_AUTO_FREE char *key = NULL;

            (void)snprintf(kid, sizeof kid, ",\"kid\":\"%zu\"", i);
            key = jwt_key_public(ec, kid);
            (void)strcat(strcat(keys, i ? "," : ""), key);
        }
        if (beyond)
            assert_refused(keys, "more than 64 keys");
        else
            assert_int_equal(count(keys, &err), HC_JWT_KEYS_MAX);
    }
}

static void what_is_no_set_is_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "it is no JSON"},
        {"{", "it is no JSON"},
        {"{}\n{}", "line 2"},
        {"7", "it is no JSON"},
        {"[]", "it is no JWKS"},
        {"{}", "it is no JWKS"},
        {"{\"keys\":{}}", "it is no JWKS"},
        {"{\"keys\":[],\"keys\":[]}", "it is no JSON"},
        {"\xff", "it is no JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_error err = {.reason = HC_OK};

        assert_null(parse(rows[i].text, &err));
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        if (!strstr(err.message, rows[i].message))
            fail_msg("%zu: %s", i, err.message);
    }
}

/* A set of one key needs no names. */
static void the_only_key_needs_no_name(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"RS256\"}",
                                          "{\"alg\":\"RS256\",\"kid\":\"x\"}"};
    HC_AUTO_FREE char *jwk = jwt_key_public(rsa, "");
    HC_AUTO_FREE char *text = NULL;
    HC_AUTO(hc_jwt_keys) *set = NULL;
    struct hc_error err;

    (void)state;
    assert_true(asprintf(&text, "{\"keys\":[%s]}", jwk) > 0);
    set = parse(text, &err);
    assert_non_null(set);
    for (size_t i = 0; i < 2; i++) {
        HC_AUTO_FREE char *token = jwt_sign(headers[i], "{}", "RS256", rsa);

        assert_int_equal(hc_jwt_keys_verify(set, i ? "x" : NULL, "RS256", token,
                                            strlen(token)),
                         i ? 0 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_other_kinds_are_passed_over),
        cmocka_unit_test(what_is_broken_or_weak_is_refused),
        cmocka_unit_test(an_exponent_must_be_odd_and_more_than_one),
        cmocka_unit_test(padding_is_refused),
        cmocka_unit_test(a_point_must_be_on_its_curve),
        cmocka_unit_test(two_keys_need_names),
        cmocka_unit_test(a_set_has_limits),
        cmocka_unit_test(what_is_no_set_is_refused),
        cmocka_unit_test(the_only_key_needs_no_name),
    };

    return cmocka_run_group_tests(tests, keys_set_up, keys_tear_down);
}
