/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks are those that gRPC makes with OpenSSL when it takes the texts into use, for
 * it says no more than that it refused them. That a certificate is not valid yet is no
 * fault: clients judge by their own clocks.
 */
#include "tls_pem.h"

#include <base/error.h>
#include <base/text.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

HC_DEFINE_AUTO(bio_st, BIO_vfree)
HC_DEFINE_AUTO(x509_st, X509_free)
HC_DEFINE_AUTO(evp_pkey_st, EVP_PKEY_free)
HC_DEFINE_AUTO(ssl_ctx_st, SSL_CTX_free)

void hc_tls_pem_clear(struct hc_tls_pem *pem)
{
    free(pem->cert);
    hc_text_wipe(pem->key);
    free(pem->client_ca);
    *pem = (struct hc_tls_pem){.cert = NULL};
}

int hc_tls_pem_copy(const struct hc_tls_pem *pem, struct hc_tls_pem *copy,
                    struct hc_error *err)
{
    *copy = (struct hc_tls_pem){.cert = hc_text_copy(pem->cert, err),
                                .key = hc_text_copy(pem->key, err),
                                .client_ca = hc_text_copy(pem->client_ca, err)};
    if (copy->cert && copy->key && !copy->client_ca == !pem->client_ca)
        return 0;
    hc_tls_pem_clear(copy);
    return -1;
}

bool hc_tls_pem_is_equal(const struct hc_tls_pem *pem, const struct hc_tls_pem *other)
{
    return hc_text_equals(pem->cert, other->cert) &&
           hc_text_equals(pem->key, other->key) &&
           hc_text_equals(pem->client_ca, other->client_ca);
}

static int pem_refuse(const char *option, const char *why, struct hc_error *err)
{
    return hc_fail_field(err, HC_INVALID_OPTIONS, option, "%s: %s", option, why);
}

/* With OpenSSL's own words; forgets them. */
static int openssl_refuse(const char *option, const char *what, struct hc_error *err)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return hc_fail_field(err, HC_INVALID_OPTIONS, option, "%s: %s: %s", option, what,
                         why ? why : "OpenSSL refuses it");
}

/* A key with a passphrase is refused; without this OpenSSL would ask on the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is OpenSSL's */
static int passphrase_refuse(char *buffer, int size, int is_writing, void *ctx)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)ctx;
    return -1;
}

/* False: what follows the last certificate is not one, or not a whole one. */
static bool pem_is_at_end(void)
{
    unsigned long failed = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(failed) == ERR_LIB_PEM &&
                  ERR_GET_REASON(failed) == PEM_R_NO_START_LINE;

    if (is_end)
        ERR_clear_error();
    return is_end;
}

/* -1 also for a certificate whose time OpenSSL cannot read. */
static int cert_end(const X509 *cert, int64_t *end_s)
{
    struct tm end;

    if (!ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end))
        return -1;
    *end_s = timegm(&end);
    return 0;
}

/* The first certificate is the server's own; the others are those of its issuers. */
static int cert_check(const char *pem, int64_t now_s, SSL_CTX *context, int64_t *end_s,
                      struct hc_error *err)
{
    HC_AUTO(bio_st) *bio = BIO_new_mem_buf(pem, -1);
    HC_AUTO(x509_st) *cert =
        bio ? PEM_read_bio_X509_AUX(bio, NULL, passphrase_refuse, NULL) : NULL;
    X509 *issuer;

    if (!cert)
        return openssl_refuse("tls-cert", "no certificate in PEM", err);
    if (cert_end(cert, end_s) < 0)
        return openssl_refuse("tls-cert", "the certificate has no end", err);
    if (*end_s <= now_s)
        return pem_refuse("tls-cert", "the certificate has expired", err);
    if (SSL_CTX_use_certificate(context, cert) != 1)
        return openssl_refuse("tls-cert", "the certificate is refused", err);
    while ((issuer = PEM_read_bio_X509(bio, NULL, passphrase_refuse, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(context, issuer) != 1) {
            X509_free(issuer);
            return openssl_refuse("tls-cert", "the chain is refused", err);
        }
    }
    return pem_is_at_end() ? 0 : openssl_refuse("tls-cert", "the chain", err);
}

static int key_check(const char *pem, SSL_CTX *context, struct hc_error *err)
{
    HC_AUTO(bio_st) *bio = BIO_new_mem_buf(pem, -1);
    HC_AUTO(evp_pkey_st) *key =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, passphrase_refuse, NULL) : NULL;

    if (!key)
        return openssl_refuse("tls-key", "no key in PEM without a passphrase", err);
    if (SSL_CTX_use_PrivateKey(context, key) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return openssl_refuse("tls-key", "it does not belong to the certificate", err);
    return 0;
}

/* Authorities are replaced by adding the next one, so some may have expired, not all. */
static int client_ca_check(const char *pem, int64_t now_s, struct hc_error *err)
{
    HC_AUTO(bio_st) *bio = BIO_new_mem_buf(pem, -1);
    X509 *authority = NULL;
    size_t count = 0, valid = 0;
    int64_t end_s;

    while (bio &&
           (authority = PEM_read_bio_X509(bio, NULL, passphrase_refuse, NULL)) != NULL) {
        count++;
        valid += cert_end(authority, &end_s) == 0 && end_s > now_s;
        X509_free(authority);
    }
    if (count == 0 || !pem_is_at_end())
        return openssl_refuse("tls-client-ca", "no certificates in PEM", err);
    return valid > 0 ? 0
                     : pem_refuse("tls-client-ca", "the authorities have expired", err);
}

int hc_tls_pem_check(const struct hc_tls_pem *pem, int64_t now_s, int64_t *end_s,
                     struct hc_error *err)
{
    HC_AUTO(ssl_ctx_st) *context = SSL_CTX_new(TLS_server_method());

    ERR_clear_error();
    if (!context)
        return hc_fail_memory(err);
    if (cert_check(pem->cert, now_s, context, end_s, err) < 0 ||
        key_check(pem->key, context, err) < 0)
        return -1;
    return pem->client_ca ? client_ca_check(pem->client_ca, now_s, err) : 0;
}
