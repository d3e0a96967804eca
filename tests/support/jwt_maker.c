/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7515 to 7518 with OpenSSL's EVP. ES256 wants r and s as two numbers of 32 bytes,
 * which OpenSSL has in DER.
 */
#include "jwt_maker.h"

#include <test.h>

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ES256_PART = 32, NUMBER_MAX = 1024 };

struct jwt_key {
    EVP_PKEY *pair;
};

struct jwt_key *jwt_key_make(const char *kind, unsigned bits)
{
    struct jwt_key *key = calloc(1, sizeof *key);

    assert_non_null(key);
    key->pair = strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(bits)
                                         : EVP_EC_gen(bits == 384 ? "P-384" : "P-256");
    assert_non_null(key->pair);
    return key;
}

void jwt_key_free(struct jwt_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pair);
    free(key);
}

char *jwt_encode(const void *bytes, size_t size)
{
    char *text = calloc(1, 4 * ((size + 2) / 3) + 1);
    size_t length;

    assert_non_null(text);
    (void)EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
    length = strcspn(text, "=");
    text[length] = '\0';
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '+')
            text[i] = '-';
        else if (text[i] == '/')
            text[i] = '_';
    }
    return text;
}

/* A parameter of the key in base64url; `size` 0: as many bytes as it has. */
static char *key_number(const struct jwt_key *key, const char *name, int size)
{
    unsigned char bytes[NUMBER_MAX];
    BIGNUM *number = NULL;
    char *text;

    assert_int_equal(EVP_PKEY_get_bn_param(key->pair, name, &number), 1);
    if (size == 0)
        size = BN_num_bytes(number);
    assert_int_equal(BN_bn2binpad(number, bytes, size), size);
    BN_free(number);
    text = jwt_encode(bytes, (size_t)size);
    return text;
}

char *jwt_key_public(const struct jwt_key *key, const char *more)
{
    bool is_rsa = EVP_PKEY_is_a(key->pair, "RSA");
    int bytes = (EVP_PKEY_get_bits(key->pair) + 7) / 8;
    char *first =
        key_number(key, is_rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X,
                   is_rsa ? 0 : bytes);
    char *second =
        key_number(key, is_rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y,
                   is_rsa ? 0 : bytes);
    char *text = NULL;
    int length;

    if (is_rsa)
        length = asprintf(&text, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", first,
                          second, more);
    else
        length = asprintf(&text,
                          "{\"kty\":\"EC\",\"crv\":\"P-%d\",\"x\":\"%s\",\"y\":\"%s\"%s}",
                          bytes * 8, first, second, more);
    assert_true(length > 0);
    free(first);
    free(second);
    return text;
}

char *jwt_key_pem(const struct jwt_key *key)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *bytes, *text;
    long size;

    assert_int_equal(PEM_write_bio_PUBKEY(memory, key->pair), 1);
    size = BIO_get_mem_data(memory, &bytes);
    text = strndup(bytes, (size_t)size);
    BIO_free(memory);
    assert_non_null(text);
    return text;
}

/* "<header>.<claims>" in base64url. */
static char *jwt_body(const char *header, const char *claims)
{
    char *first = jwt_encode(header, strlen(header));
    char *second = jwt_encode(claims, strlen(claims));
    char *text = NULL;

    assert_true(asprintf(&text, "%s.%s", first, second) > 0);
    free(first);
    free(second);
    return text;
}

/* Takes all three over but the signature. */
static char *body_end(char *body, const char *signature)
{
    char *text = NULL;

    assert_true(asprintf(&text, "%s.%s", body, signature) > 0);
    free(body);
    return text;
}

char *jwt_join(const char *header, const char *claims, const char *signature)
{
    return body_end(jwt_body(header, claims), signature);
}

char *jwt_sign_hmac(const char *header, const char *claims, const char *secret)
{
    char *body = jwt_body(header, claims);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char *signature, *token;

    assert_non_null(HMAC(EVP_sha256(), secret, (int)strlen(secret),
                         (const unsigned char *)body, strlen(body), bytes, &size));
    signature = jwt_encode(bytes, size);
    token = body_end(body, signature);
    free(signature);
    return token;
}

/* DER becomes r and s. */
static size_t signature_flatten(unsigned char *bytes, size_t size)
{
    const unsigned char *der = bytes;
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &der, (long)size);

    assert_non_null(parts);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(parts), bytes, ES256_PART),
                     ES256_PART);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(parts), bytes + ES256_PART,
                                  ES256_PART),
                     ES256_PART);
    ECDSA_SIG_free(parts);
    return (size_t)2 * ES256_PART;
}

char *jwt_sign(const char *header, const char *claims, const char *alg,
               const struct jwt_key *key)
{
    char *body = jwt_body(header, claims);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *padding = NULL;
    unsigned char bytes[NUMBER_MAX];
    size_t size = sizeof bytes;
    char *signature, *token;

    assert_int_equal(EVP_DigestSignInit(context, &padding, EVP_sha256(), NULL, key->pair),
                     1);
    if (strcmp(alg, "PS256") == 0) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(padding,
                                                          RSA_PSS_SALTLEN_DIGEST),
                         1);
    }
    assert_int_equal(EVP_DigestSign(context, bytes, &size, (const unsigned char *)body,
                                    strlen(body)),
                     1);
    EVP_MD_CTX_free(context);
    if (strcmp(alg, "ES256") == 0)
        size = signature_flatten(bytes, size);
    signature = jwt_encode(bytes, size);
    token = body_end(body, signature);
    free(signature);
    return token;
}
