/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's certificate, of which its authority has signed any bytes: the input is the
 * DER of its list of names. For any input, a caller's name is printable, and not that of
 * another kind of caller; a SPIFFE id is the only URI.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <base/text.h>
#include <server/certificate.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* A certificate in PEM with that extension; the caller frees. */
static char *certificate_make(const uint8_t *names, size_t size, size_t *length)
{
    static EVP_PKEY *key;
    X509 *certificate = X509_new();
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes, *pem;

    if (!key)
        key = EVP_EC_gen("P-256");
    fuzz_require(certificate && value && bio && key);
    fuzz_require(ASN1_OCTET_STRING_set(value, names, (int)size));
    fuzz_require(
        X509_EXTENSION_create_by_NID(&extension, NID_subject_alt_name, 0, value));
    fuzz_require(X509_add_ext(certificate, extension, -1));
    fuzz_require(X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL);
    fuzz_require(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL);
    fuzz_require(X509_set_pubkey(certificate, key));
    fuzz_require(X509_sign(certificate, key, EVP_sha256()) > 0);
    fuzz_require(PEM_write_bio_X509(bio, certificate));
    *length = (size_t)BIO_get_mem_data(bio, &bytes);
    pem = strndup(bytes, *length);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    X509_free(certificate);
    BIO_free(bio);
    return pem;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hc_certificate_result result;
    size_t length;
    HC_AUTO_FREE char *pem = certificate_make(data, size, &length);

    if (hc_certificate_identify(pem, length, 0, &result) < 0) {
        fuzz_require(result.caller == NULL && result.flaw != NULL);
        return 0;
    }
    fuzz_require(*result.caller->name && hc_text_is_printable(result.caller->name));
    fuzz_require(!hc_text_starts(result.caller->name, "system:"));
    fuzz_require(!hc_text_starts(result.caller->name, "uid:"));
    fuzz_require(hc_text_starts(result.caller->name, "spiffe://") ==
                 (result.caller->group_count > 0));
    hc_caller_release(result.caller);
    return 0;
}
