/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public keys of an issuer of tokens: a JWKS (RFC 7517), of which the keys count that
 * a signature by RS256, PS256 or ES256 can be checked with. Keys of other kinds are
 * passed over, as the RFC wants it; a secret or private key never checks anything. The
 * set is immutable once it is read; one thread at a time checks with it.
 */
#ifndef HC_SERVER_JWT_KEYS_H
#define HC_SERVER_JWT_KEYS_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <stdbool.h>
#include <stddef.h>

struct hc_jwt_keys;

enum {
    HC_JWT_KEYS_MAX = 64,
    HC_JWT_KEYS_BYTES_MAX = 256 * 1024, /* of the JWKS */
    HC_JWT_KID_MAX = 256
};

/*
 * Reads a JWKS; `name`, a file or URL, is for messages. INVALID_OPTIONS: it is no JWKS, a
 * key is broken, weak or private, two keys cannot be told apart, or none can be used.
 */
struct hc_jwt_keys *hc_jwt_keys_parse(const char *text, size_t size, const char *name,
                                      struct hc_error *err);
void hc_jwt_keys_free(struct hc_jwt_keys *keys);
HC_DEFINE_AUTO(hc_jwt_keys, hc_jwt_keys_free)

/* Whether these bytes are base64url without padding, which cjose aborts at. */
bool hc_jwt_is_base64url(const char *text, size_t size);

size_t hc_jwt_keys_count(const struct hc_jwt_keys *keys);

/*
 * Checks the signature of a token in the compact form of RFC 7515 by the key `kid`, whose
 * kind must be that of `alg`; `kid` NULL: by the only key there is. 1: right; 0: there is
 * no such key; -1: wrong.
 */
int hc_jwt_keys_verify(const struct hc_jwt_keys *keys, const char *kid, const char *alg,
                       const char *token, size_t size);

#endif
