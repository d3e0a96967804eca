/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes keys, sets of public keys (JWKS) and signed tokens (JWT), with OpenSSL alone:
 * what a test makes here, another library than the tested one has made. Failures abort
 * the test program.
 */
#ifndef HC_SUPPORT_JWT_MAKER_H
#define HC_SUPPORT_JWT_MAKER_H

#include <stddef.h>

struct jwt_key; /* a pair of keys */

/* "RSA" with so many bits, or "EC" on P-256 (256) or P-384 (384). */
struct jwt_key *jwt_key_make(const char *kind, unsigned bits);
void jwt_key_free(struct jwt_key *key);

/*
 * The public key as a JWK, which the caller frees. `more` is added to its members as it
 * is: "" or ",\"kid\":\"1\"".
 */
char *jwt_key_public(const struct jwt_key *key, const char *more);

/* The public key in PEM, which the caller frees. */
char *jwt_key_pem(const struct jwt_key *key);

/* base64url, which the caller frees. */
char *jwt_encode(const void *bytes, size_t size);

/*
 * "<header>.<claims>.<signature>", which the caller frees. The signature is by "RS256",
 * "PS256" or "ES256" with the key, whatever the header says.
 */
char *jwt_sign(const char *header, const char *claims, const char *alg,
               const struct jwt_key *key);

/* The same with HMAC-SHA256 of a secret. */
char *jwt_sign_hmac(const char *header, const char *claims, const char *secret);

/* The same with a text for a signature. */
char *jwt_join(const char *header, const char *claims, const char *signature);

#endif
