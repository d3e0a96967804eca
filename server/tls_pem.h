/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a TLS server shows and trusts, as the PEM texts of three files: its certificate
 * with the chain, the key of that, and the authorities of its clients. A value; the key
 * is a secret, which is overwritten when it is cleared.
 */
#ifndef HC_SERVER_TLS_PEM_H
#define HC_SERVER_TLS_PEM_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <stdbool.h>
#include <stdint.h>

enum { HC_TLS_PEM_BYTES_MAX = 1024 * 1024 }; /* of one file */

struct hc_tls_pem {
    char *cert, *key;
    char *client_ca; /* NULL: none */
};

void hc_tls_pem_clear(struct hc_tls_pem *pem);
HC_DEFINE_AUTO_VALUE(hc_tls_pem, hc_tls_pem_clear)

int hc_tls_pem_copy(const struct hc_tls_pem *pem, struct hc_tls_pem *copy,
                    struct hc_error *err);
bool hc_tls_pem_is_equal(const struct hc_tls_pem *pem, const struct hc_tls_pem *other);

/*
 * INVALID_OPTIONS names the option whose file is wrong: not PEM, cut off, the key of
 * another certificate, weaker than OpenSSL allows, a certificate that has expired at
 * `now_s` (seconds since the epoch), authorities that all have. `*end_s`: when the
 * certificate expires.
 */
int hc_tls_pem_check(const struct hc_tls_pem *pem, int64_t now_s, int64_t *end_s,
                     struct hc_error *err);

#endif
