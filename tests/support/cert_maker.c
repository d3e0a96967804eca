/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names are put together by hand: OpenSSL's own notation has no NUL.
 */
#include "cert_maker.h"

#include "base/auto.h"
#include "hub_abort.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

enum { HOUR_S = 3600 };

/* OpenSSL returns 1 for success, and 0 or less for a failure. */
static void openssl_require(int is_done)
{
    if (is_done <= 0)
        hub_abort("OpenSSL", "making a certificate failed");
}

static GENERAL_NAME *name_make(const struct cert_name *name)
{
    GENERAL_NAME *made = hub_require(GENERAL_NAME_new());
    size_t size = name->size > 0 ? name->size : strlen(name->text);
    ASN1_STRING *text;
    struct in_addr address;

    if (name->kind == CERT_IP) {
        text = hub_require(ASN1_OCTET_STRING_new());
        openssl_require(inet_pton(AF_INET, name->text, &address));
        openssl_require(ASN1_STRING_set(text, &address, sizeof address));
    } else {
        text = hub_require(ASN1_IA5STRING_new());
        openssl_require(ASN1_STRING_set(text, name->text, (int)size));
    }
    GENERAL_NAME_set0_value(made, (int)name->kind, text);
    return made;
}

static void cert_add_names(X509 *x509, const struct cert_name *names)
{
    GENERAL_NAMES *list = hub_require(GENERAL_NAMES_new());

    for (size_t i = 0; i < CERT_NAMES_MAX && names[i].text; i++)
        openssl_require(sk_GENERAL_NAME_push(list, name_make(&names[i])));
    if (sk_GENERAL_NAME_num(list) > 0)
        openssl_require(X509_add1_ext_i2d(x509, NID_subject_alt_name, list, 0, 0));
    GENERAL_NAMES_free(list);
}

static void cert_add_authority(X509 *x509)
{
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

    openssl_require(extension != NULL);
    openssl_require(X509_add_ext(x509, extension, -1));
    X509_EXTENSION_free(extension);
}

static void cert_add_times(X509 *x509, const struct cert_wish *wish)
{
    int64_t begin = wish->begins_in_s ? wish->begins_in_s : -HOUR_S;
    int64_t end = wish->ends_in_s ? wish->ends_in_s : HOUR_S;

    openssl_require(X509_gmtime_adj(X509_getm_notBefore(x509), begin) != NULL);
    openssl_require(X509_gmtime_adj(X509_getm_notAfter(x509), end) != NULL);
}

static void cert_add_common_name(X509 *x509, const char *name)
{
    const unsigned char *text = (const unsigned char *)(name ? name : "test");

    openssl_require(X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN",
                                               MBSTRING_ASC, text, -1, -1, 0));
}

struct cert *cert_make(const struct cert_wish *wish)
{
    struct cert *cert = hub_require(calloc(1, sizeof *cert));
    const struct cert *issuer = wish->issuer ? wish->issuer : cert;
    long number;

    cert->x509 = hub_require(X509_new());
    cert->key = hub_require(EVP_EC_gen("P-256"));
    openssl_require(RAND_bytes((unsigned char *)&number, sizeof number));
    openssl_require(X509_set_version(cert->x509, X509_VERSION_3));
    openssl_require(ASN1_INTEGER_set(X509_get_serialNumber(cert->x509), labs(number)));
    cert_add_times(cert->x509, wish);
    cert_add_common_name(cert->x509, wish->common_name);
    openssl_require(
        X509_set_issuer_name(cert->x509, X509_get_subject_name(issuer->x509)));
    openssl_require(X509_set_pubkey(cert->x509, cert->key));
    if (wish->is_authority)
        cert_add_authority(cert->x509);
    cert_add_names(cert->x509, wish->names);
    openssl_require(X509_sign(cert->x509, issuer->key, EVP_sha256()));
    return cert;
}

void cert_free(struct cert *cert)
{
    if (!cert)
        return;
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
    free(cert);
}

/* Frees `bio`. */
static char *bio_text(BIO *bio)
{
    char *bytes;
    long size = BIO_get_mem_data(bio, &bytes);
    char *text = hub_format("%.*s", (int)size, bytes);

    BIO_free(bio);
    return text;
}

char *cert_pem(const struct cert *cert)
{
    BIO *bio = hub_require(BIO_new(BIO_s_mem()));

    openssl_require(PEM_write_bio_X509(bio, cert->x509));
    return bio_text(bio);
}

char *cert_key_pem(const struct cert *cert)
{
    BIO *bio = hub_require(BIO_new(BIO_s_mem()));

    openssl_require(PEM_write_bio_PrivateKey(bio, cert->key, NULL, NULL, 0, NULL, NULL));
    return bio_text(bio);
}

struct cert *cert_make_server(const struct cert *issuer, const char *name)
{
    return cert_make(
        &(struct cert_wish){.issuer = issuer,
                            .names = {{.kind = CERT_IP, .text = "127.0.0.1"},
                                      {.kind = CERT_DNS, .text = "localhost"},
                                      {.kind = CERT_DNS, .text = name}}});
}

struct cert *cert_make_client(const struct cert *issuer, const char *uri)
{
    return cert_make(&(struct cert_wish){.issuer = issuer,
                                         .names = {{.kind = CERT_URI, .text = uri}}});
}

struct cert *cert_make_authority(void)
{
    return cert_make(
        &(struct cert_wish){.common_name = "test authority", .is_authority = true});
}
