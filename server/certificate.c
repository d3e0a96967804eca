/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL reads the certificate; a text that has other bytes than printable ASCII, a NUL
 * for instance, names nothing, and neither does a certificate that has such a text among
 * its names. SPIFFE ids are checked by the SPIFFE-ID standard, 2.1 to 2.3.
 */
#include "certificate.h"

#include <base/text.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>
#include <time.h>

HC_DEFINE_AUTO(bio_st, BIO_vfree)
HC_DEFINE_AUTO(x509_st, X509_free)
HC_DEFINE_AUTO(stack_st_GENERAL_NAME, GENERAL_NAMES_free)

enum { NAMES_MAX = 256, GROUPS = 2 };

static const char SPIFFE[] = "spiffe://";
static const char SPIFFE_SCHEME[] = "spiffe:";

/* Of each kind the first, "" for none. */
struct certificate_names {
    char uri[HC_CALLER_NAME_MAX + 1], dns[HC_CALLER_NAME_MAX + 1],
        email[HC_CALLER_NAME_MAX + 1];
    size_t uris;
    bool has_spiffe_id;
};

static int certificate_refuse(struct hc_certificate_result *result, const char *flaw)
{
    ERR_clear_error();
    result->flaw = flaw;
    return -1;
}

/* False: it is no text that can be a name. */
static bool name_copy(const ASN1_STRING *name, char text[HC_CALLER_NAME_MAX + 1])
{
    const unsigned char *bytes = ASN1_STRING_get0_data(name);
    int size = ASN1_STRING_length(name);

    if (size < 1 || size > HC_CALLER_NAME_MAX)
        return false;
    for (int i = 0; i < size; i++) {
        if (bytes[i] <= ' ' || bytes[i] > '~')
            return false;
        text[i] = (char)bytes[i];
    }
    text[size] = '\0';
    return true;
}

static void name_keep_first(char first[HC_CALLER_NAME_MAX + 1], const char *name)
{
    if (!*first)
        (void)stpcpy(first, name);
}

/*
 * Of a DNS name or an e-mail address. An authority that signs these for a client need not
 * let it have URIs, so neither may read like one.
 */
static bool name_may_be_uri(const char *name)
{
    return strpbrk(name, ":/") != NULL;
}

static int names_add(struct certificate_names *names, const GENERAL_NAME *name,
                     struct hc_certificate_result *result)
{
    int kind;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &kind);
    char text[HC_CALLER_NAME_MAX + 1];

    if (kind != GEN_URI && kind != GEN_DNS && kind != GEN_EMAIL)
        return 0;
    if (!name_copy(value, text))
        return certificate_refuse(result, "a name of the certificate is empty, longer "
                                          "than 512 bytes, or not printable ASCII");
    if (kind != GEN_URI && name_may_be_uri(text))
        return certificate_refuse(result, "a DNS name or e-mail address of the "
                                          "certificate has a colon or a slash");
    if (kind == GEN_URI) {
        name_keep_first(names->uri, text);
        names->uris++;
        names->has_spiffe_id |=
            strncasecmp(text, SPIFFE_SCHEME, strlen(SPIFFE_SCHEME)) == 0;
    } else if (kind == GEN_DNS) {
        name_keep_first(names->dns, text);
    } else {
        name_keep_first(names->email, text);
    }
    return 0;
}

static int names_read(const GENERAL_NAMES *list, struct certificate_names *names,
                      struct hc_certificate_result *result)
{
    if (sk_GENERAL_NAME_num(list) > NAMES_MAX)
        return certificate_refuse(result, "the certificate has more than 256 names");
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        if (names_add(names, sk_GENERAL_NAME_value(list, i), result) < 0)
            return -1;
    }
    return 0;
}

static bool spiffe_segment_is_valid(const char *segment, size_t length)
{
    bool is_dots = (length == 1 && segment[0] == '.') ||
                   (length == 2 && strncmp(segment, "..", 2) == 0);

    return length > 0 && !is_dots;
}

/* The path is "" or segments, each after a slash. */
static bool spiffe_path_is_valid(const char *path)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

    while (*path == '/') {
        size_t length = strspn(path + 1, allowed);

        if (!spiffe_segment_is_valid(path + 1, length))
            return false;
        path += 1 + length;
    }
    return *path == '\0';
}

/* The bytes of "spiffe://<trust domain>"; 0: it is no SPIFFE id. */
static size_t spiffe_domain_length(const char *id)
{
    size_t length;

    if (!hc_text_starts(id, SPIFFE))
        return 0;
    length = strspn(id + strlen(SPIFFE), "abcdefghijklmnopqrstuvwxyz0123456789.-_");
    if (length == 0 || !spiffe_path_is_valid(id + strlen(SPIFFE) + length))
        return 0;
    return strlen(SPIFFE) + length;
}

/* The bytes of "/ns/<namespace>" in "/ns/<namespace>/sa/<account>"; else 0. */
static size_t spiffe_namespace_length(const char *path)
{
    const char *name = path + strlen("/ns/");
    const char *account;

    if (!hc_text_starts(path, "/ns/"))
        return 0;
    account = strchr(name, '/');
    if (!account || !hc_text_starts(account, "/sa/") ||
        strchr(account + strlen("/sa/"), '/'))
        return 0;
    return (size_t)(account - path);
}

/* The groups of a SPIFFE id, as texts that the caller frees; -1: memory is short. */
static int spiffe_groups(const char *id, size_t domain, char *groups[GROUPS])
{
    size_t namespace = spiffe_namespace_length(id + domain);
    int count = namespace > 0 ? 2 : 1;

    groups[0] = strndup(id, domain);
    if (count == 2)
        groups[1] = strndup(id, domain + namespace);
    return groups[0] && (count < 2 || groups[1]) ? count : -1;
}

/* These begin names of other kinds of callers. */
static bool name_is_reserved(const char *name)
{
    return hc_text_starts(name, "system:") || hc_text_starts(name, "uid:");
}

static int names_take_caller(const struct certificate_names *names,
                             struct hc_certificate_result *result)
{
    const char *other = *names->dns ? names->dns : names->email;
    const char *name = *names->uri ? names->uri : other;
    HC_AUTO_FREE char *domain = NULL;
    HC_AUTO_FREE char *namespace = NULL;
    char *groups[GROUPS] = {NULL};
    size_t length = names->has_spiffe_id ? spiffe_domain_length(name) : 0;
    struct hc_error err;
    int count = 0;

    if (!*name || name_is_reserved(name))
        return certificate_refuse(result, "the certificate has no URI, DNS name or "
                                          "e-mail address that can name a caller");
    if (names->has_spiffe_id && (names->uris > 1 || length == 0))
        return certificate_refuse(result, "the certificate's URI is not one valid SPIFFE "
                                          "id");
    if (length > 0)
        count = spiffe_groups(name, length, groups);
    domain = groups[0];
    namespace = groups[1];
    if (count >= 0)
        result->caller = hc_caller_new(HC_CALLER_CERTIFICATE, name,
                                       (const char *const *)groups, (size_t)count, &err);
    return result->caller ? 1 : certificate_refuse(result, "memory is short");
}

/* -1 for a time that OpenSSL cannot read, too. */
static int certificate_check_end(const X509 *certificate, int64_t now_s,
                                 struct hc_certificate_result *result)
{
    struct tm end;

    if (!ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end))
        return certificate_refuse(result, "the certificate has no end");
    result->end_s = timegm(&end);
    return now_s < result->end_s
               ? 0
               : certificate_refuse(result, "the certificate has expired since its "
                                            "connection was made");
}

int hc_certificate_identify(const char *pem, size_t size, int64_t now_s,
                            struct hc_certificate_result *result)
{
    HC_AUTO(bio_st) *bio = BIO_new_mem_buf(pem, (int)size);
    HC_AUTO(x509_st) *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    HC_AUTO(stack_st_GENERAL_NAME) *list = NULL;
    struct certificate_names names = {.uri = ""};
    int state = -1;

    *result = (struct hc_certificate_result){.caller = NULL};
    if (!certificate)
        return certificate_refuse(result, "the certificate cannot be read");
    if (certificate_check_end(certificate, now_s, result) < 0)
        return -1;
    list = X509_get_ext_d2i(certificate, NID_subject_alt_name, &state, NULL);
    if (!list && state != -1)
        return certificate_refuse(result, "the certificate's names cannot be read, or "
                                          "stand there twice");
    if (list && names_read(list, &names, result) < 0)
        return -1;
    return names_take_caller(&names, result);
}
