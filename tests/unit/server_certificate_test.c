/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a client's certificate names its caller by its URI, else its DNS name,
 * else its e-mail address, as they are, and never by its common name; a SPIFFE id must be
 * valid and the only URI; a name with a NUL, or with anything that is not printable, is
 * refused; and so is a certificate after its end.
 */
#include <server/certificate.h>

#include <base/auto.h>
#include <cert_maker.h>

#include <string.h>
#include <test.h>
#include <time.h>

#define URI(value) {.kind = CERT_URI, .text = (value)}
#define DNS(value) {.kind = CERT_DNS, .text = (value)}
#define EMAIL(value) {.kind = CERT_EMAIL, .text = (value)}

static int identify_at(const struct cert_wish *wish, int64_t now_s,
                       struct hc_certificate_result *result)
{
    struct cert *cert = cert_make(wish);
    HC_AUTO_FREE char *pem = cert_pem(cert);
    int identified = hc_certificate_identify(pem, strlen(pem), now_s, result);

    cert_free(cert);
    return identified;
}

static int identify(const struct cert_wish *wish, struct hc_certificate_result *result)
{
    return identify_at(wish, (int64_t)time(NULL), result);
}

static void the_first_name_of_the_best_kind_is_the_callers(void **state)
{
    static const struct {
        const char *name;
        struct cert_wish wish;
    } cases[] = {
        {"spiffe://td/ns/ml/sa/train",
         {.names = {DNS("a.test"), EMAIL("a@b.test"),
                    URI("spiffe://td/ns/ml/sa/train")}}},
        {"https://a.test/x",
         {.names = {DNS("a.test"), URI("https://a.test/x"), URI("https://a.test/y")}}},
        {"A.test",
         {.common_name = "root",
          .names = {DNS("A.test"), DNS("b.test"), EMAIL("a@b.test")}}},
        {"a@b.test",
         {.names = {{.kind = CERT_IP, .text = "10.0.0.1"}, EMAIL("a@b.test")}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hc_certificate_result result;

        assert_int_equal(identify(&cases[i].wish, &result), 1);
        assert_string_equal(result.caller->name, cases[i].name);
        assert_int_equal(result.caller->kind, HC_CALLER_CERTIFICATE);
        assert_string_equal(hc_caller_kind_name(result.caller->kind), "certificate");
        assert_true(result.end_s > (int64_t)time(NULL));
        hc_caller_release(result.caller);
    }
}

static void the_groups_are_trust_domain_and_namespace(void **state)
{
    static const struct {
        const char *id, *groups[2];
    } cases[] = {
        {"spiffe://td/ns/ml/sa/train", {"spiffe://td", "spiffe://td/ns/ml"}},
        {"spiffe://cluster.local/ns/a-b/sa/c.d",
         {"spiffe://cluster.local", "spiffe://cluster.local/ns/a-b"}},
        {"spiffe://td/ns/ml/sa/train/x", {"spiffe://td", NULL}},
        {"spiffe://td/ns/ml", {"spiffe://td", NULL}},
        {"spiffe://td/ns/ml/so/train", {"spiffe://td", NULL}},
        {"spiffe://td/workload", {"spiffe://td", NULL}},
        {"spiffe://td", {"spiffe://td", NULL}},
        {"https://td/ns/ml/sa/train", {NULL, NULL}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hc_certificate_result result;
        size_t expected = 0;

        while (expected < 2 && cases[i].groups[expected])
            expected++;

        assert_int_equal(identify(&(struct cert_wish){.names = {URI(cases[i].id)}},
                                  &result),
                         1);
        assert_int_equal(result.caller->group_count, expected);
        for (size_t n = 0; n < expected; n++)
            assert_string_equal(result.caller->groups[n], cases[i].groups[n]);
        hc_caller_release(result.caller);
    }
}

static void assert_refused(const struct cert_wish *wish, const char *flaw)
{
    struct hc_certificate_result result;

    assert_int_equal(identify(wish, &result), -1);
    assert_null(result.caller);
    if (!strstr(result.flaw, flaw))
        fail_msg("%s, not: %s", result.flaw, flaw);
}

static void what_is_no_spiffe_id_is_refused(void **state)
{
    static const char *const ids[] = {
        "spiffe:",          "spiffe://",        "spiffe:td/x",      "spiffe:///x",
        "SPIFFE://td/x",    "spiffe://Td/x",    "spiffe://td/",     "spiffe://td//x",
        "spiffe://td/x/",   "spiffe://td/../x", "spiffe://td/./x",  "spiffe://td/x?y",
        "spiffe://td/x#y",  "spiffe://td:1/x",  "spiffe://a@td/x",  "spiffe://td/%61",
        "spiffe://td/x\"y", "spiffe://td/x*",   "sPiffe://td/ns/x",
    };

    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        assert_refused(&(struct cert_wish){.names = {URI(ids[i])}}, "SPIFFE id");
    assert_refused(&(struct cert_wish){.names = {URI("spiffe://td/a"),
                                                 URI("spiffe://td/b")}},
                   "SPIFFE id");
    assert_refused(&(struct cert_wish){.names = {URI("https://a.test"),
                                                 URI("spiffe://td/b")}},
                   "SPIFFE id");
    assert_refused(&(struct cert_wish){.names = {URI("spiffe://td/b"),
                                                 URI("https://a.test")}},
                   "SPIFFE id");
}

static void names_of_other_kinds_that_read_like_uris_are_refused(void **state)
{
    static const struct cert_name names[] = {
        {.kind = CERT_DNS, .text = "spiffe://td/ns/ml/sa/train"},
        {.kind = CERT_DNS, .text = "system:serviceaccount:ml:train"},
        {.kind = CERT_DNS, .text = "a.test/x"},
        {.kind = CERT_EMAIL, .text = "spiffe://td/a@b.test"},
        {.kind = CERT_EMAIL, .text = "uid:0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_refused(&(struct cert_wish){.names = {names[i]}}, "colon or a slash");
}

static void names_with_bytes_that_are_not_printable_are_refused(void **state)
{
    static const struct cert_name names[] = {
        {.kind = CERT_URI, .text = "spiffe://td/a\0.evil", .size = 19},
        {.kind = CERT_DNS, .text = "a.test\0.evil.test", .size = 17},
        {.kind = CERT_DNS, .text = "\0", .size = 1},
        {.kind = CERT_EMAIL, .text = "a@b.test\0", .size = 9},
        {.kind = CERT_DNS, .text = "a.test\nb"},
        {.kind = CERT_URI, .text = "https://a b"},
        {.kind = CERT_DNS, .text = "a\x7f"},
        {.kind = CERT_DNS, .text = "a\xc3\xa4.test"},
    };
    static char long_name[HC_CALLER_NAME_MAX + 2];

    (void)state;
    memset(long_name, 'a', sizeof long_name - 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_refused(&(struct cert_wish){.names = {names[i]}}, "printable");
        /* also if another name would be the caller's */
        assert_refused(&(struct cert_wish){.names = {URI("spiffe://td/a"), names[i]}},
                       "printable");
    }
    assert_refused(&(struct cert_wish){.names = {DNS(long_name)}}, "longer than 512");
}

static void a_certificate_without_such_a_name_names_no_caller(void **state)
{
    (void)state;
    assert_refused(&(struct cert_wish){.common_name = "root"}, "no URI, DNS name");
    assert_refused(&(struct cert_wish){.common_name = "root",
                                       .names = {{.kind = CERT_IP, .text = "10.0.0.1"}}},
                   "no URI, DNS name");
    assert_refused(&(struct cert_wish){.names = {URI(
                                           "system:serviceaccount:kube-system:root")}},
                   "no URI, DNS name");
    assert_refused(&(struct cert_wish){.names = {URI("uid:0")}}, "no URI, DNS name");
}

static void a_certificate_ends(void **state)
{
    const struct cert_wish wish = {.names = {DNS("a.test")}, .ends_in_s = 60};
    struct hc_certificate_result result;
    int64_t now_s = (int64_t)time(NULL);

    (void)state;
    assert_int_equal(identify_at(&wish, now_s + 30, &result), 1);
    hc_caller_release(result.caller);
    assert_int_equal(identify_at(&wish, result.end_s + 120, &result), -1);
    assert_string_equal(result.flaw,
                        "the certificate has expired since its connection was made");
}

static void what_is_no_certificate_is_refused(void **state)
{
    static const char no_certificate[] = "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                         "-----END CERTIFICATE-----\n";
    static const char *const texts[] = {"", "x", "-----BEGIN CERTIFICATE-----\n",
                                        no_certificate};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct hc_certificate_result result;

        assert_int_equal(hc_certificate_identify(texts[i], strlen(texts[i]), 0, &result),
                         -1);
        assert_string_equal(result.flaw, "the certificate cannot be read");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_name_of_the_best_kind_is_the_callers),
        cmocka_unit_test(the_groups_are_trust_domain_and_namespace),
        cmocka_unit_test(what_is_no_spiffe_id_is_refused),
        cmocka_unit_test(names_of_other_kinds_that_read_like_uris_are_refused),
        cmocka_unit_test(names_with_bytes_that_are_not_printable_are_refused),
        cmocka_unit_test(a_certificate_without_such_a_name_names_no_caller),
        cmocka_unit_test(a_certificate_ends),
        cmocka_unit_test(what_is_no_certificate_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
