/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to decide which caller calls, and whether it may: the first time that a
 * credential is shown, and when it is remembered. Every credential is another one, of
 * CREDENTIALS in all.
 *
 *     bench_decision
 *
 * Prints for each kind its name, the microseconds of the first decision and those of a
 * later one.
 */
#include <base/auto.h>
#include <cert_maker.h>
#include <jwt_maker.h>
#include <resolver/access_memory.h>
#include <server/auth.h>
#include <temp_dir.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CREDENTIALS = 400, ROUNDS = 50, BITS_RSA = 2048, BITS_EC = 256 };

#define ISSUER "https://issuer.example"

struct decision {
    struct hc_auth *auth;
    char *headers[CREDENTIALS]; /* all NULL: a certificate, or the user of a socket */
    char *certificates[CREDENTIALS];
};

static double clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void identify(const struct decision *decision, size_t number)
{
    const char *header = decision->headers[number];
    const char *certificate = decision->certificates[number];
    const struct hc_credential credential = {.authorization = header,
                                             .size = header ? strlen(header) : 0,
                                             .certificate = certificate,
                                             .certificate_size =
                                                 certificate ? strlen(certificate) : 0,
                                             .has_uid = !header,
                                             .uid = (uid_t)number};
    struct hc_caller *caller = NULL;
    struct hc_error err;

    if (hc_auth_identify(decision->auth, &credential, time(NULL), &caller, &err) != 1) {
        (void)fprintf(stderr, "bench_decision: %s\n", err.message);
        exit(1); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    }
    hc_caller_release(caller);
}

static void decision_measure(struct decision *decision, const char *name)
{
    double begin = clock_us(), middle, end;

    for (size_t i = 0; i < CREDENTIALS; i++)
        identify(decision, i);
    middle = clock_us();
    for (size_t i = 0; i < (size_t)ROUNDS * CREDENTIALS; i++)
        identify(decision, i % CREDENTIALS);
    end = clock_us();
    printf("%s %.2f %.2f\n", name, (middle - begin) / (double)CREDENTIALS,
           (end - middle) / (double)(CREDENTIALS * ROUNDS));
    for (size_t i = 0; i < CREDENTIALS; i++) {
        free(decision->headers[i]);
        free(decision->certificates[i]);
    }
    hc_auth_close(decision->auth);
}

static void decision_open(struct decision *decision,
                          const struct hc_auth_settings *settings)
{
    struct hc_error err;

    decision->auth = hc_auth_open(settings, &err);
    if (!decision->auth) {
        (void)fprintf(stderr, "bench_decision: %s\n", err.message);
        exit(1); /* NOLINT(concurrency-mt-unsafe) */
    }
}

static void sha256_hex(const char *text, char hex[65])
{
    unsigned char digest[32];

    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    for (size_t i = 0; i < sizeof digest; i++)
        (void)sprintf(hex + 2 * i, "%02x", digest[i]);
}

static void measure_tokens(const char *dir)
{
    struct decision decision = {0};
    HC_AUTO_FREE char *path = temp_dir_path(dir, "tokens");
    HC_AUTO_FREE char *lines = calloc(CREDENTIALS, 128);
    char *end = lines;

    if (!lines)
        abort();
    for (size_t i = 0; i < CREDENTIALS; i++) {
        char token[32], hex[65];

        (void)snprintf(token, sizeof token, "secret-%zu", i);
        sha256_hex(token, hex);
        end += sprintf(end, "caller-%zu sha256:%s\n", i, hex);
        if (asprintf(&decision.headers[i], "Bearer %s", token) < 0)
            abort();
    }
    temp_dir_write(dir, "tokens", lines);
    decision_open(&decision, &(struct hc_auth_settings){.tokens_file = path});
    decision_measure(&decision, "token");
}

static char *jwt_header(const char *alg, const struct jwt_key *key, size_t number)
{
    char header[64], claims[256];
    char *result = NULL;

    (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"k\"}", alg);
    (void)snprintf(claims, sizeof claims,
                   "{\"iss\":\"" ISSUER "\",\"aud\":\"hubcache\",\"exp\":4000000000,"
                   "\"sub\":\"system:serviceaccount:prod:caller-%zu\"}",
                   number);

    HC_AUTO_FREE char *token = jwt_sign(header, claims, alg, key);

    if (asprintf(&result, "Bearer %s", token) < 0)
        abort();
    return result;
}

static void measure_jwt(const char *dir, const char *alg, const char *kind, unsigned bits)
{
    struct decision decision = {0};
    struct jwt_key *key = jwt_key_make(kind, bits);
    HC_AUTO_FREE char *path = temp_dir_path(dir, "keys");
    HC_AUTO_FREE char *public = jwt_key_public(key, ",\"kid\":\"k\"");
    HC_AUTO_FREE char *set = NULL;
    char name[32];
    char issuer[] = ISSUER, audience[] = "hubcache";

    if (asprintf(&set, "{\"keys\":[%s]}", public) < 0)
        abort();
    temp_dir_write(dir, "keys", set);
    for (size_t i = 0; i < CREDENTIALS; i++)
        decision.headers[i] = jwt_header(alg, key, i);
    decision_open(&decision, &(struct hc_auth_settings){.jwt_issuer = issuer,
                                                        .jwt_audience = audience,
                                                        .jwt_keys = path});
    (void)snprintf(name, sizeof name, "JWT, %s", alg);
    decision_measure(&decision, name);
    jwt_key_free(key);
}

/* Whether a Hub token may have a repo: what the memory costs, not the Hub. */
static void access_find(struct hc_access_memory *memory, size_t number, int expected)
{
    struct hc_access_key key = {.repo = "models--organisation--model-of-a-usual-length"};
    struct hc_memo_term term;
    struct hc_error err;
    char token[64];

    (void)snprintf(token, sizeof token, "hf_abcdefghijklmnopqrstuvwxyz%08zu", number);
    if (hc_access_memory_find(memory, &key, 0, &term, &err) != 0)
        abort();
    key.token = hc_keyed_hash_of(token);
    if (hc_access_memory_find(memory, &key, 0, &term, &err) != expected)
        abort();
    if (expected == 0)
        hc_access_memory_grant(memory, &key, 0);
}

static void measure_access(void)
{
    struct hc_error err;
    HC_AUTO(hc_access_memory) *memory = hc_access_memory_new(600000, &err);
    double begin = clock_us(), middle, end;

    for (size_t i = 0; i < CREDENTIALS; i++)
        access_find(memory, i, 0);
    middle = clock_us();
    for (size_t i = 0; i < (size_t)ROUNDS * CREDENTIALS; i++)
        access_find(memory, CREDENTIALS - 1, 1); /* others may have lost their slots */
    end = clock_us();
    printf("access of a Hub token (without the Hub) %.2f %.2f\n",
           (middle - begin) / (double)CREDENTIALS,
           (end - middle) / (double)(CREDENTIALS * ROUNDS));
}

/* TLS has checked the signature before. */
static void measure_certificates(void)
{
    struct decision decision = {0};
    struct cert *authority = cert_make_authority();

    for (size_t i = 0; i < CREDENTIALS; i++) {
        char uri[64];
        struct cert *cert;

        (void)snprintf(uri, sizeof uri, "spiffe://bench/ns/prod/sa/caller-%zu", i);
        cert = cert_make_client(authority, uri);
        decision.certificates[i] = cert_pem(cert);
        cert_free(cert);
    }
    cert_free(authority);
    decision_open(&decision, &(struct hc_auth_settings){.is_required = true});
    decision_measure(&decision, "certificate");
}

int main(void)
{
    struct decision users = {0};
    char *dir = temp_dir_make();

    measure_tokens(dir);
    measure_jwt(dir, "RS256", "RSA", BITS_RSA);
    measure_jwt(dir, "ES256", "EC", BITS_EC);
    measure_certificates();
    decision_open(&users, &(struct hc_auth_settings){.is_required = true});
    decision_measure(&users, "user of a unix socket");
    measure_access();
    temp_dir_remove(dir);
    return 0;
}
