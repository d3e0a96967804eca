/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a token is accepted if the issuer has signed it, for this audience, by an
 * allowed algorithm with a key that is known, and now is within its time; everything else
 * is refused, each attack for its own reason. The names of ServiceAccounts give the
 * groups that Kubernetes gives them. Tokens and keys are made with another library.
 */
#include <test.h>

#include <base/auto.h>
#include <jwt_maker.h>
#include <server/jwt.h>
#include <server/jwt_keys.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ISSUER "https://kubernetes.default.svc"
#define SUBJECT "system:serviceaccount:prod:trainer"
#define RS256 "{\"alg\":\"RS256\",\"kid\":\"rsa\"}"

enum { NOW_S = 1000000 };

struct fixture {
    struct jwt_key *rsa, *ec, *foreign;
    struct hc_jwt_keys *keys;
    struct hc_jwt_result result; /* of the last check */
    char *public_rsa;
};

static struct fixture world; /* keys are made once: an RSA key takes a while */

static int keys_set_up(void **state)
{
    HC_AUTO_FREE char *rsa = NULL;
    HC_AUTO_FREE char *ec = NULL;
    HC_AUTO_FREE char *set = NULL;
    struct hc_error err;

    world.rsa = jwt_key_make("RSA", 2048);
    world.ec = jwt_key_make("EC", 256);
    world.foreign = jwt_key_make("RSA", 2048);
    rsa = jwt_key_public(world.rsa, ",\"kid\":\"rsa\",\"use\":\"sig\"");
    ec = jwt_key_public(world.ec, ",\"kid\":\"ec\",\"alg\":\"ES256\"");
    assert_true(asprintf(&set, "{\"keys\":[%s,%s]}", rsa, ec) > 0);
    world.keys = hc_jwt_keys_parse(set, strlen(set), "keys", &err);
    if (!world.keys)
        fail_msg("%s", err.message);
    assert_int_equal(hc_jwt_keys_count(world.keys), 2);
    world.public_rsa = jwt_key_pem(world.rsa);
    *state = &world;
    return 0;
}

static int keys_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_caller_release(f->result.caller);
    hc_jwt_keys_free(f->keys);
    jwt_key_free(f->rsa);
    jwt_key_free(f->ec);
    jwt_key_free(f->foreign);
    free(f->public_rsa);
    return 0;
}

/* Claims that are right, but for `more` and for the members that it replaces. */
static char *claims_of(const char *issuer, const char *audience, const char *subject,
                       const char *more)
{
    char *text = NULL;

    assert_true(asprintf(&text, "{\"iss\":\"%s\",\"aud\":%s,\"sub\":\"%s\",\"exp\":%d%s}",
                         issuer, audience, subject, NOW_S + 600, more) > 0);
    return text;
}

static char *good_claims(void)
{
    return claims_of(ISSUER, "\"hubcache\"", SUBJECT, "");
}

static int check_at(struct fixture *f, const char *token, size_t size, int64_t now_s)
{
    /* On the heap, so that a sanitizer sees a read beyond its end. */
    HC_AUTO_FREE char *copy = malloc(size ? size : 1);
    const struct hc_jwt_rules rules = {.issuer = ISSUER,
                                       .audience = "hubcache",
                                       .keys = f->keys,
                                       .now_s = now_s};

    assert_non_null(copy);
    memcpy(copy, token, size);
    hc_caller_release(f->result.caller);
    return hc_jwt_check(&rules, copy, size, &f->result);
}

static int check(struct fixture *f, const char *token)
{
    return check_at(f, token, strlen(token), NOW_S);
}

static void assert_refused(struct fixture *f, int result, const char *flaw)
{
    assert_int_equal(result, -1);
    assert_null(f->result.caller);
    if (!strstr(f->result.flaw, flaw))
        fail_msg("'%s' is not '%s'", f->result.flaw, flaw);
}

static void assert_token_refused(struct fixture *f, const char *header,
                                 const char *claims, const char *flaw)
{
    HC_AUTO_FREE char *token = jwt_sign(header, claims, "RS256", f->rsa);

    assert_refused(f, check(f, token), flaw);
}

static void a_service_account_has_its_name_and_groups(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();
    HC_AUTO_FREE char *token = jwt_sign(RS256, claims, "RS256", f->rsa);

    assert_int_equal(check(f, token), 1);
    assert_string_equal(f->result.caller->name, SUBJECT);
    assert_int_equal(f->result.caller->kind, HC_CALLER_JWT);
    assert_int_equal(f->result.caller->group_count, 2);
    assert_string_equal(f->result.caller->groups[0], "system:serviceaccounts");
    assert_string_equal(f->result.caller->groups[1], "system:serviceaccounts:prod");
    assert_int_equal(f->result.end_s, NOW_S + 600);
}

static void the_allowed_algorithms_are_checked(void **state)
{
    static const struct {
        const char *header, *alg;
    } rows[] = {
        {RS256, "RS256"},
        {"{\"alg\":\"PS256\",\"kid\":\"rsa\",\"typ\":\"JWT\"}", "PS256"},
        {"{\"alg\":\"ES256\",\"kid\":\"ec\"}", "ES256"},
    };
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = claims_of(ISSUER, "[\"other\",\"hubcache\"]", "ci", "");

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        HC_AUTO_FREE char *token =
            jwt_sign(rows[i].header, claims, rows[i].alg,
                     strcmp(rows[i].alg, "ES256") == 0 ? f->ec : f->rsa);

        if (check(f, token) != 1)
            fail_msg("%s: %s", rows[i].alg, f->result.flaw);
        assert_string_equal(f->result.caller->name, "ci");
        assert_int_equal(f->result.caller->group_count, 0);
    }
}

static void the_times_have_a_leeway(void **state)
{
    static const struct {
        const char *times;
        int result;
        const char *flaw;
    } rows[] = {
        {",\"exp\":1000001", 1, NULL},
        {",\"exp\":999971", 1, NULL},
        {",\"exp\":999970", -1, "expired"},
        {",\"exp\":0", -1, "expired"},
        {",\"exp\":1000600.5,\"nbf\":1000030,\"iat\":1000030", 1, NULL},
        {",\"exp\":1000600,\"nbf\":1000031", -1, "not valid yet"},
        {",\"exp\":1000600,\"iat\":1000031", -1, "not valid yet"},
        {"", -1, "no time of expiry"},
        {",\"exp\":\"1000600\"", -1, "no time of expiry"},
        {",\"exp\":null", -1, "no time of expiry"},
        {",\"exp\":-1", -1, "no time of expiry"},
        {",\"exp\":1e300", -1, "no time of expiry"},
        {",\"exp\":1000600,\"nbf\":\"x\"", -1, "is no number"},
        {",\"exp\":1000600,\"iat\":{}", -1, "is no number"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        HC_AUTO_FREE char *claims = NULL;
        HC_AUTO_FREE char *token = NULL;

        assert_true(asprintf(&claims,
                             "{\"iss\":\"" ISSUER "\",\"aud\":\"hubcache\",\"sub\":\"ci\""
                             "%s}",
                             rows[i].times) > 0);
        token = jwt_sign(RS256, claims, "RS256", f->rsa);
        if (check(f, token) != rows[i].result)
            fail_msg("%s", rows[i].times);
        if (rows[i].flaw)
            assert_refused(f, -1, rows[i].flaw);
    }
}

static void another_issuer_is_refused(void **state)
{
    static const char *const issuers[] = {"https://evil.example", ISSUER "/", "",
                                          "https://kubernetes.default.sv",
                                          "HTTPS://kubernetes.default.svc"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++) {
        HC_AUTO_FREE char *claims = claims_of(issuers[i], "\"hubcache\"", SUBJECT, "");

        assert_token_refused(f, RS256, claims, "another issuer");
    }
    assert_token_refused(f, RS256, "{\"aud\":\"hubcache\",\"exp\":2000000}", "issuer");
}

static void another_audience_is_refused(void **state)
{
    static const char *const audiences[] = {"\"other\"",
                                            "\"\"",
                                            "[]",
                                            "[\"other\"]",
                                            "\"hubcache2\"",
                                            "\"hubcach\"",
                                            "{\"hubcache\":1}",
                                            "null",
                                            "[[\"hubcache\"]]",
                                            "[\"hubcache\",1]",
                                            "\"https://kubernetes.default.svc\""};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof audiences / sizeof *audiences; i++) {
        HC_AUTO_FREE char *claims = claims_of(ISSUER, audiences[i], SUBJECT, "");

        assert_token_refused(f, RS256, claims, "another audience");
    }
}

static void a_subject_must_be_a_name(void **state)
{
    static const char *const subjects[] = {"",
                                           "uid:0",
                                           "a\\nb",
                                           "system:serviceaccount:",
                                           "system:serviceaccount:prod",
                                           "system:serviceaccount:prod:",
                                           "system:serviceaccount::trainer",
                                           "system:serviceaccount:prod:trainer:x",
                                           "system:serviceaccount:Prod:trainer",
                                           "system:serviceaccount:prod:tra/iner"};
    struct fixture *f = *state;
    char name[HC_CALLER_NAME_MAX + 2];

    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        HC_AUTO_FREE char *claims = claims_of(ISSUER, "\"hubcache\"", subjects[i], "");

        assert_token_refused(f, RS256, claims, "subject is no");
    }
    for (size_t beyond = 0; beyond < 2; beyond++) {
        HC_AUTO_FREE char *claims = NULL;
        HC_AUTO_FREE char *long_token = NULL;

        memset(name, 'x', HC_CALLER_NAME_MAX + beyond);
        name[HC_CALLER_NAME_MAX + beyond] = '\0';
        claims = claims_of(ISSUER, "\"hubcache\"", name, "");
        long_token = jwt_sign(RS256, claims, "RS256", f->rsa);
        assert_int_equal(check(f, long_token), beyond ? -1 : 1);
    }
}

static void without_a_signature_a_token_is_refused(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"none\"}",
                                          "{\"alg\":\"None\",\"kid\":\"rsa\"}",
                                          "{\"alg\":\"NONE\",\"kid\":\"rsa\"}",
                                          "{\"kid\":\"rsa\"}",
                                          "{\"alg\":null,\"kid\":\"rsa\"}",
                                          "{\"alg\":\"\",\"kid\":\"rsa\"}",
                                          "{\"alg\":[\"RS256\"],\"kid\":\"rsa\"}"};
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        HC_AUTO_FREE char *empty = jwt_join(headers[i], claims, "");
        HC_AUTO_FREE char *some = jwt_join(headers[i], claims, "AAAA");

        assert_refused(f, check(f, empty), "no signed JWT");
        assert_refused(f, check(f, some), "not signed by RS256, PS256 or ES256");
    }
    {
        HC_AUTO_FREE char *stripped = jwt_join(RS256, claims, "");

        assert_refused(f, check(f, stripped), "no signed JWT");
    }
}

/* The public key, in each form that a careless server might use as the HMAC's secret. */
static void a_public_key_is_no_secret(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"HS256\",\"kid\":\"rsa\"}",
                                          "{\"alg\":\"HS256\"}", RS256};
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();
    HC_AUTO_FREE char *jwk = jwt_key_public(f->rsa, "");
    const char *const secrets[] = {f->public_rsa, jwk, "", "rsa"};

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        for (size_t j = 0; j < sizeof secrets / sizeof *secrets; j++) {
            HC_AUTO_FREE char *token = jwt_sign_hmac(headers[i], claims, secrets[j]);

            assert_refused(f, check(f, token), "sign");
        }
    }
}

static void algorithm_and_key_must_fit(void **state)
{
    static const struct {
        const char *header, *alg;
        bool is_ec;
        int result;
    } rows[] = {
        {"{\"alg\":\"ES256\",\"kid\":\"rsa\"}", "ES256", true, 0}, /* no such EC key */
        {"{\"alg\":\"RS256\",\"kid\":\"ec\"}", "RS256", false, 0},
        {"{\"alg\":\"PS256\",\"kid\":\"rsa\"}", "RS256", false, -1},
        {"{\"alg\":\"RS256\",\"kid\":\"rsa\"}", "PS256", false, -1},
        {"{\"alg\":\"RS256\"}", "RS256", false, 0}, /* which of the two? */
        {"{\"alg\":\"RS512\",\"kid\":\"rsa\"}", "RS256", false, -1},
        {"{\"alg\":\"EdDSA\",\"kid\":\"rsa\"}", "RS256", false, -1},
    };
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        HC_AUTO_FREE char *token =
            jwt_sign(rows[i].header, claims, rows[i].alg, rows[i].is_ec ? f->ec : f->rsa);

        assert_int_equal(check(f, token), rows[i].result);
    }
}

static void a_key_that_is_not_known_may_be_new(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();
    HC_AUTO_FREE char *token =
        jwt_sign("{\"alg\":\"RS256\",\"kid\":\"new\"}", claims, "RS256", f->foreign);
    struct hc_jwt_keys *keys = f->keys;

    assert_int_equal(check(f, token), 0);
    assert_null(f->result.caller);
    f->keys = NULL; /* none is known yet */
    assert_int_equal(check(f, token), 0);
    f->keys = keys;
}

/* It cannot be one of a key, so no key is asked for. */
static void a_kid_that_is_no_short_text_is_refused(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();
    HC_AUTO_FREE char *header = NULL;

    assert_token_refused(f, "{\"alg\":\"RS256\",\"kid\":7}", claims, "kid");
    assert_true(asprintf(&header, "{\"alg\":\"RS256\",\"kid\":\"%0*d\"}",
                         HC_JWT_KID_MAX + 1, 7) > 0);
    assert_token_refused(f, header, claims, "kid");
}

static void a_foreign_key_with_a_known_name_is_refused(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();
    HC_AUTO_FREE char *jwk = jwt_key_public(f->foreign, "");
    HC_AUTO_FREE char *header = NULL;
    HC_AUTO_FREE char *plain = jwt_sign(RS256, claims, "RS256", f->foreign);
    HC_AUTO_FREE char *offering = NULL;

    assert_refused(f, check(f, plain), "signature is wrong");
    /* A header that brings its own key. */
    assert_true(asprintf(&header,
                         "{\"alg\":\"RS256\",\"kid\":\"rsa\",\"jwk\":%s,\"jku\":"
                         "\"https://evil.example\",\"x5u\":\"https://evil.example\"}",
                         jwk) > 0);
    offering = jwt_sign(header, claims, "RS256", f->foreign);
    assert_refused(f, check(f, offering), "signature is wrong");
}

static void a_changed_token_is_refused(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();
    HC_AUTO_FREE char *admin =
        claims_of(ISSUER, "\"hubcache\"", "system:serviceaccount:prod:admin", "");
    HC_AUTO_FREE char *token = jwt_sign(RS256, claims, "RS256", f->rsa);
    HC_AUTO_FREE char *forged = jwt_join(RS256, admin, strrchr(token, '.') + 1);

    assert_refused(f, check(f, forged), "signature is wrong");
}

static void a_name_that_stands_twice_is_refused(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *subjects =
        claims_of(ISSUER, "\"hubcache\"", SUBJECT, ",\"sub\":\"admin\"");
    HC_AUTO_FREE char *times =
        claims_of(ISSUER, "\"hubcache\"", SUBJECT, ",\"exp\":9999999999");
    HC_AUTO_FREE char *claims = good_claims();

    assert_token_refused(f, RS256, subjects, "no JSON object");
    assert_token_refused(f, RS256, times, "no JSON object");
    assert_token_refused(f, "{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"rsa\"}",
                         claims, "no JSON object");
}

static void critical_extensions_are_refused(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();

    assert_token_refused(f, "{\"alg\":\"RS256\",\"kid\":\"rsa\",\"crit\":[\"exp\"]}",
                         claims, "critical");
    assert_token_refused(f, "{\"alg\":\"RS256\",\"kid\":\"rsa\",\"b64\":false}", claims,
                         "critical");
    assert_token_refused(f, "{\"alg\":\"RS256\",\"kid\":7}", claims, "kid");
}

/* Each prefix, and each byte changed: none is accepted, whatever the reason. */
static void a_damaged_token_is_refused(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *claims = good_claims();
    HC_AUTO_FREE char *token = jwt_sign(RS256, claims, "RS256", f->rsa);
    size_t size = strlen(token);

    for (size_t i = 0; i < size; i++)
        assert_int_not_equal(check_at(f, token, i, NOW_S), 1);
    for (size_t i = 0; i < size - 1; i++) { /* the last digit has unused bits */
        char was = token[i];

        token[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(check(f, token), 1);
        token[i] = '\xff';
        assert_int_not_equal(check(f, token), 1);
        token[i] = '\0';
        assert_int_not_equal(check_at(f, token, size, NOW_S), 1);
        token[i] = was;
    }
    assert_int_equal(check(f, token), 1);
}

static void garbage_is_refused(void **state)
{
    static const char *const tokens[] = {"",
                                         ".",
                                         "..",
                                         "...",
                                         "a.b.c",
                                         "a.b",
                                         "e30.e30.AAAA",
                                         "W10.W10.AAAA",
                                         "bnVsbA.bnVsbA.AAAA",
                                         "a.b.c.d",
                                         "e30..AAAA",
                                         ".e30.AAAA",
                                         "e3 0.e30.AAAA",
                                         "e30=.e30.AAAA",
                                         "e3+.e3/.AAAA"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        assert_int_equal(check(f, tokens[i]), -1);
}

static void a_token_has_8_kib_at_most(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *padding = malloc(HC_JWT_MAX + 1);
    HC_AUTO_FREE char *more = NULL;
    HC_AUTO_FREE char *claims = NULL;
    HC_AUTO_FREE char *token = NULL;

    assert_non_null(padding);
    memset(padding, 'x', HC_JWT_MAX);
    padding[HC_JWT_MAX] = '\0';
    assert_true(asprintf(&more, ",\"pad\":\"%s\"", padding) > 0);
    claims = claims_of(ISSUER, "\"hubcache\"", SUBJECT, more);
    token = jwt_sign(RS256, claims, "RS256", f->rsa);
    assert_refused(f, check(f, token), "longer than 8 KiB");
    free(hc_take(&more));
    free(hc_take(&claims));
    free(hc_take(&token));
    padding[5000] = '\0';
    assert_true(asprintf(&more, ",\"pad\":\"%s\"", padding) > 0);
    claims = claims_of(ISSUER, "\"hubcache\"", SUBJECT, more);
    token = jwt_sign(RS256, claims, "RS256", f->rsa);
    assert_int_equal(check(f, token), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_account_has_its_name_and_groups),
        cmocka_unit_test(the_allowed_algorithms_are_checked),
        cmocka_unit_test(the_times_have_a_leeway),
        cmocka_unit_test(another_issuer_is_refused),
        cmocka_unit_test(another_audience_is_refused),
        cmocka_unit_test(a_subject_must_be_a_name),
        cmocka_unit_test(without_a_signature_a_token_is_refused),
        cmocka_unit_test(a_public_key_is_no_secret),
        cmocka_unit_test(algorithm_and_key_must_fit),
        cmocka_unit_test(a_key_that_is_not_known_may_be_new),
        cmocka_unit_test(a_kid_that_is_no_short_text_is_refused),
        cmocka_unit_test(a_foreign_key_with_a_known_name_is_refused),
        cmocka_unit_test(a_changed_token_is_refused),
        cmocka_unit_test(a_name_that_stands_twice_is_refused),
        cmocka_unit_test(critical_extensions_are_refused),
        cmocka_unit_test(a_damaged_token_is_refused),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(a_token_has_8_kib_at_most),
    };

    return cmocka_run_group_tests(tests, keys_set_up, keys_tear_down);
}
