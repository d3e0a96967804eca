/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_files.h"

#include "base/file.h"
#include "base/text.h"

#include <hubcache-client/client.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum {
    PEM_MAX = 2 * 1024 * 1024, /* the bundles of a system have 200 to 400 KB */
    PAIR_READS_MAX = 3
};

static void cert_auto(X509 **cert)
{
    X509_free(*cert);
}

static void key_auto(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

/* A key that is encrypted is refused: no terminal is asked for its password. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL decides on the type */
static int password_refuse(char *buffer, int size, int is_writing, void *ctx)
{
    (void)buffer, (void)size, (void)is_writing, (void)ctx;
    return -1;
}

/* What the first certificate of a PEM text is; NULL: it has none. The caller frees. */
static X509 *pem_cert(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, password_refuse, NULL) : NULL;

    BIO_free(bio);
    ERR_clear_error();
    return cert;
}

static EVP_PKEY *pem_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, password_refuse, NULL) : NULL;

    BIO_free(bio);
    ERR_clear_error();
    return key;
}

/* The text of a file, which the caller wipes. */
static char *pem_read(const char *path, const char *field, struct hc_error *err)
{
    struct hc_error cause = {.reason = HC_OK};
    HC_AUTO_WIPE char *text = calloc(1, PEM_MAX);
    int found;

    if (!text) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    found = hc_file_read_linked(path, text, PEM_MAX, &cause);
    if (found == 0)
        (void)hc_fail_field(err, HC_INVALID_OPTIONS, field,
                            "'%.400s' is not there, or no file of PEM", path);
    if (found < 0)
        (void)hc_fail_field(err, HC_INVALID_OPTIONS, field, "%.400s", cause.message);
    return found > 0 ? hc_text_copy(text, err) : NULL;
}

static int ca_read(const struct hc_tls_files *tls, struct hc_tls_texts *content,
                   struct hc_error *err)
{
    __attribute__((cleanup(cert_auto))) X509 *cert = NULL;

    if (!tls->ca_file)
        return 0;
    content->ca = pem_read(tls->ca_file, "tls_ca_file", err);
    if (!content->ca)
        return -1;
    cert = pem_cert(content->ca);
    if (!cert)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls_ca_file",
                             "there is no certificate in PEM in '%.400s'", tls->ca_file);
    return 0;
}

static int identity_check(const struct hc_tls_files *tls,
                          const struct hc_tls_texts *content, struct hc_error *err)
{
    __attribute__((cleanup(cert_auto))) X509 *cert = pem_cert(content->cert);
    __attribute__((cleanup(key_auto))) EVP_PKEY *key = pem_key(content->key);
    bool is_pair;

    if (!cert)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls_cert_file",
                             "there is no certificate in PEM in '%.400s'",
                             tls->cert_file);
    if (!key)
        return hc_fail_field(
            err, HC_INVALID_OPTIONS, "tls_key_file",
            "there is no private key in PEM, without a password, in '%.400s'",
            tls->key_file);
    is_pair = X509_check_private_key(cert, key) == 1;
    ERR_clear_error();
    if (!is_pair)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls_key_file",
                             "the key in '%.200s' is not that of the certificate in "
                             "'%.200s'",
                             tls->key_file, tls->cert_file);
    return 0;
}

static int identity_read(const struct hc_tls_files *tls, struct hc_tls_texts *texts,
                         struct hc_error *err)
{
    texts->cert = pem_read(tls->cert_file, "tls_cert_file", err);
    if (!texts->cert)
        return -1;
    texts->key = pem_read(tls->key_file, "tls_key_file", err);
    return texts->key ? identity_check(tls, texts, err) : -1;
}

/* A pair may be replaced between the two reads, and then fits when it is read again. */
static int identity_read_pair(const struct hc_tls_files *tls, struct hc_tls_texts *texts,
                              struct hc_error *err)
{
    for (unsigned i = 1; tls->cert_file; i++) {
        HC_AUTO_VALUE(hc_tls_texts) pair = {0};

        if (identity_read(tls, &pair, err) == 0) {
            texts->cert = hc_take(&pair.cert);
            texts->key = hc_take(&pair.key);
            return 0;
        }
        if (i == PAIR_READS_MAX)
            return -1;
    }
    return 0;
}

int hc_tls_files_read(const struct hc_tls_files *tls, struct hc_tls_texts *content,
                      struct hc_error *err)
{
    HC_AUTO_VALUE(hc_tls_texts) read = {0};

    if (ca_read(tls, &read, err) < 0 || identity_read_pair(tls, &read, err) < 0)
        return -1;
    *content = read;
    read = (struct hc_tls_texts){0};
    return 0;
}

bool hc_tls_texts_is_equal(const struct hc_tls_texts *one,
                           const struct hc_tls_texts *other)
{
    return hc_text_equals(one->ca, other->ca) && hc_text_equals(one->cert, other->cert) &&
           hc_text_equals(one->key, other->key);
}

/* Whether there are certificates, and each has expired. */
static bool pem_has_expired(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    bool has_expired = true;
    size_t count = 0;
    X509 *cert;

    while (bio && (cert = PEM_read_bio_X509(bio, NULL, password_refuse, NULL))) {
        has_expired = has_expired && X509_cmp_current_time(X509_get0_notAfter(cert)) < 0;
        X509_free(cert);
        count++;
    }
    BIO_free(bio);
    ERR_clear_error();
    return has_expired && count > 0;
}

const char *hc_tls_texts_flaw(const struct hc_tls_texts *texts)
{
    __attribute__((cleanup(cert_auto))) X509 *cert =
        texts->cert ? pem_cert(texts->cert) : NULL;

    if (texts->ca && pem_has_expired(texts->ca))
        return "the TLS CA has expired";
    if (cert && X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        return "this client's certificate has expired";
    if (cert && X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        return "this client's certificate is not valid yet";
    return NULL;
}

void hc_tls_texts_clear(struct hc_tls_texts *content)
{
    free(content->ca);
    free(content->cert);
    hc_text_wipe(content->key);
    *content = (struct hc_tls_texts){0};
}

int hc_tls_files_init(struct hc_tls_files *tls, const struct hc_client_options *options,
                      struct hc_error *err)
{
    if (options->tls_cert_file && !options->tls_key_file)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls_key_file",
                             "a client certificate needs its key");
    if (options->tls_key_file && !options->tls_cert_file)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "tls_cert_file",
                             "a key needs its client certificate");
    tls->is_wanted = options->tls || options->tls_ca_file || options->tls_cert_file ||
                     options->tls_server_name;
    tls->ca_file = hc_text_copy(options->tls_ca_file, err);
    tls->cert_file = hc_text_copy(options->tls_cert_file, err);
    tls->key_file = hc_text_copy(options->tls_key_file, err);
    tls->server_name = hc_text_copy(options->tls_server_name, err);
    if (!tls->ca_file != !options->tls_ca_file ||
        !tls->cert_file != !options->tls_cert_file ||
        !tls->key_file != !options->tls_key_file ||
        !tls->server_name != !options->tls_server_name)
        return -1;
    return 0;
}

void hc_tls_files_clear(struct hc_tls_files *tls)
{
    free(tls->ca_file);
    free(tls->cert_file);
    free(tls->key_file);
    free(tls->server_name);
    *tls = (struct hc_tls_files){0};
}
