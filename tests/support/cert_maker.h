/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes certificates: authorities, and what they have signed. Keys are on P-256. Failures
 * abort the test program. Callable from any thread.
 */
#ifndef HC_SUPPORT_CERT_MAKER_H
#define HC_SUPPORT_CERT_MAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evp_pkey_st;
struct x509_st;

struct cert {
    struct x509_st *x509;
    struct evp_pkey_st *key;
};

/* OpenSSL's numbers of kinds; of an IP address the text is "127.0.0.1". */
enum cert_name_kind { CERT_EMAIL = 1, CERT_DNS = 2, CERT_URI = 6, CERT_IP = 7 };

struct cert_name {
    enum cert_name_kind kind;
    const char *text; /* NULL: the end of the list */
    size_t size;      /* Optional: of a text with a NUL */
};

enum { CERT_NAMES_MAX = 8 };

struct cert_wish {
    const struct cert *issuer; /* NULL: signed by itself */
    const char *common_name;   /* Optional */
    struct cert_name names[CERT_NAMES_MAX];
    bool is_authority;
    int64_t begins_in_s; /* from now; 0: an hour ago */
    int64_t ends_in_s;   /* from now; 0: in an hour */
};

struct cert *cert_make(const struct cert_wish *wish);
void cert_free(struct cert *cert);

/* In PEM; the caller frees. */
char *cert_pem(const struct cert *cert);
char *cert_key_pem(const struct cert *cert);

/* For a server at 127.0.0.1, "localhost" and `name`, signed by `issuer`. */
struct cert *cert_make_server(const struct cert *issuer, const char *name);

/* For a client with that URI. */
struct cert *cert_make_client(const struct cert *issuer, const char *uri);
struct cert *cert_make_authority(void);

#endif
