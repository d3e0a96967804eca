/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cjose imports a key once and checks signatures with it. Only jwt.c and this file see
 * cjose. A key is imported from the members that make up a public key, and from no other.
 *
 * The kind of a key decides which algorithms it may check: the header of a token can
 * choose among those, but cannot make a public RSA key the secret of an HMAC.
 */
#include "jwt_keys.h"

#include <base/error.h>
#include <base/json.h>

#include <cjose/cjose.h>
#include <string.h>

enum { RSA_BYTES_MIN = 2048 / 8, RSA_BYTES_MAX = 8192 / 8, RSA_EXPONENT_MAX = 8 };

struct public_key {
    char *kid; /* NULL: it has none */
    const char *algs[2];
    cjose_jwk_t *key;
};

struct hc_jwt_keys {
    const char *name;
    size_t count;
    struct public_key items[HC_JWT_KEYS_MAX];
};

static int keys_refuse(const struct hc_jwt_keys *keys, size_t number, const char *why,
                       struct hc_error *err)
{
    return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-jwt-keys",
                         "auth-jwt-keys: %s: key %zu: %s", keys->name, number, why);
}

bool hc_jwt_is_base64url(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
              (text[i] >= '0' && text[i] <= '9') || text[i] == '-' || text[i] == '_'))
            return false;
    }
    return true;
}

/* NULL: there is no such member, or it is no text. */
static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* The same for a number in base64url. */
static const char *number_member(const json_t *object, const char *name)
{
    const char *text = member(object, name);

    return text && hc_jwt_is_base64url(text, strlen(text)) ? text : NULL;
}

/* The number that a member encodes, from its first byte that is not zero. */
static bool number_read(const char *text, size_t *size, bool *is_full, bool *is_odd)
{
    uint8_t *bytes = NULL;
    size_t count = 0, zeros = 0;
    cjose_err failure;

    if (!text || !cjose_base64url_decode(text, strlen(text), &bytes, &count, &failure))
        return false;
    while (zeros < count && bytes[zeros] == 0)
        zeros++;
    *size = count - zeros;
    *is_full = *size > 0 && bytes[zeros] >= 0x80;
    *is_odd = *size > 0 && bytes[count - 1] % 2 == 1;
    cjose_get_dealloc()(bytes);
    return true;
}

/* NULL, or why the key must not be used. */
static const char *rsa_flaw(const json_t *jwk)
{
    size_t size;
    bool is_full, is_odd;

    if (!number_read(member(jwk, "n"), &size, &is_full, &is_odd))
        return "it has no modulus";
    if (size < RSA_BYTES_MIN || (size == RSA_BYTES_MIN && !is_full))
        return "an RSA key has 2048 bits at least";
    if (size > RSA_BYTES_MAX)
        return "an RSA key has 8192 bits at most";
    if (!number_read(member(jwk, "e"), &size, &is_full, &is_odd) || !is_odd ||
        size > RSA_EXPONENT_MAX || strcmp(member(jwk, "e"), "AQ") == 0)
        return "it has no usable exponent";
    return NULL;
}

/* The parts that make up the public key; NULL: no key of a kind that is used. */
static json_t *public_part(const json_t *jwk)
{
    const char *kty = member(jwk, "kty"), *curve = member(jwk, "crv");
    const char *x = number_member(jwk, "x"), *y = number_member(jwk, "y");

    if (!kty)
        return NULL;
    if (strcmp(kty, "RSA") == 0)
        return json_pack("{s:s, s:s?, s:s?}", "kty", kty, "n", number_member(jwk, "n"),
                         "e", number_member(jwk, "e"));
    if (strcmp(kty, "EC") == 0 && curve && strcmp(curve, "P-256") == 0)
        return json_pack("{s:s, s:s, s:s?, s:s?}", "kty", kty, "crv", curve, "x", x, "y",
                         y);
    return NULL;
}

/* Sets the algorithms that the key may check. False: none of those that are used. */
static bool key_choose_algs(struct public_key *key, const json_t *jwk)
{
    const char *use = member(jwk, "use"), *alg = member(jwk, "alg");
    size_t count = 0;

    if (use && strcmp(use, "sig") != 0)
        return false;
    if (strcmp(member(jwk, "kty"), "EC") == 0) {
        key->algs[count++] = "ES256";
    } else {
        key->algs[count++] = "RS256";
        key->algs[count++] = "PS256";
    }
    for (size_t i = 0; alg && i < count; i++) {
        if (strcmp(key->algs[i], alg) != 0)
            key->algs[i] = "";
    }
    return !alg || strcmp(key->algs[0], alg) == 0 ||
           (count > 1 && strcmp(key->algs[1], alg) == 0);
}

static bool key_may_check(const struct public_key *key, const char *alg)
{
    return (key->algs[0] && strcmp(key->algs[0], alg) == 0) ||
           (key->algs[1] && strcmp(key->algs[1], alg) == 0);
}

static bool key_has_kid(const struct public_key *key, const char *kid)
{
    return kid && key->kid ? strcmp(kid, key->kid) == 0 : !kid && !key->kid;
}

/* Whether a token could not say which of the two is meant. */
static bool keys_have_twin(const struct hc_jwt_keys *keys, const struct public_key *key)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (key_has_kid(&keys->items[i], key->kid) &&
            ((key->algs[0][0] && key_may_check(&keys->items[i], key->algs[0])) ||
             (key->algs[1] && key->algs[1][0] &&
              key_may_check(&keys->items[i], key->algs[1]))))
            return true;
    }
    return false;
}

/* `key` is released by the calling function in every case but 1, for which it is kept. */
static int key_read(const struct hc_jwt_keys *keys, struct public_key *key, size_t number,
                    json_t *jwk, struct hc_error *err)
{
    HC_AUTO_JSON *part = json_is_object(jwk) ? public_part(jwk) : NULL;
    const char *kid = member(jwk, "kid");
    const char *flaw;
    cjose_err failure;

    if (!part || !key_choose_algs(key, jwk))
        return 0;
    if (json_object_get(jwk, "d"))
        return keys_refuse(keys, number, "it is a private key", err);
    if (kid && strlen(kid) > HC_JWT_KID_MAX)
        return keys_refuse(keys, number, "its kid is longer than 256 bytes", err);
    flaw = json_object_get(part, "n") ? rsa_flaw(part) : NULL;
    if (flaw)
        return keys_refuse(keys, number, flaw, err);
    key->key = cjose_jwk_import_json((cjose_header_t *)part, &failure);
    if (!key->key)
        return keys_refuse(keys, number, "it is broken", err);
    if (kid && !(key->kid = strdup(kid)))
        return hc_fail_memory(err);
    if (keys_have_twin(keys, key))
        return keys_refuse(keys, number, "an earlier key has the same kid", err);
    return 1;
}

static void key_clear(struct public_key *key)
{
    free(key->kid);
    if (key->key)
        (void)cjose_jwk_release(key->key);
    *key = (struct public_key){.kid = NULL};
}

static int keys_add(struct hc_jwt_keys *keys, size_t number, json_t *jwk,
                    struct hc_error *err)
{
    struct public_key *key = &keys->items[keys->count];
    int result = key_read(keys, key, number, jwk, err);

    if (result == 1)
        keys->count++;
    else
        key_clear(key);
    return result;
}

static int keys_read(struct hc_jwt_keys *keys, const json_t *array, struct hc_error *err)
{
    size_t number;
    json_t *jwk;

    if (!json_is_array(array))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-jwt-keys",
                             "auth-jwt-keys: %s: it is no JWKS, an object with \"keys\"",
                             keys->name);
    json_array_foreach(array, number, jwk)
    {
        if (keys->count == HC_JWT_KEYS_MAX)
            return keys_refuse(keys, number + 1, "there are more than 64 keys", err);
        if (keys_add(keys, number + 1, jwk, err) < 0)
            return -1;
    }
    if (keys->count > 0)
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-jwt-keys",
                         "auth-jwt-keys: %s: no key is for RS256, PS256 or ES256",
                         keys->name);
}

struct hc_jwt_keys *hc_jwt_keys_parse(const char *text, size_t size, const char *name,
                                      struct hc_error *err)
{
    HC_AUTO(hc_jwt_keys) *keys = calloc(1, sizeof *keys);
    HC_AUTO_JSON *root = NULL;
    json_error_t flaw;

    if (!keys) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    keys->name = name;
    root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &flaw);
    if (!root) {
        (void)hc_fail_field(err, HC_INVALID_OPTIONS, "auth-jwt-keys",
                            "auth-jwt-keys: %s, line %d: it is no JSON", name, flaw.line);
        return NULL;
    }
    if (keys_read(keys, json_object_get(root, "keys"), err) < 0)
        return NULL;
    keys->name = NULL;
    return hc_take(&keys);
}

void hc_jwt_keys_free(struct hc_jwt_keys *keys)
{
    if (!keys)
        return;
    for (size_t i = 0; i < keys->count; i++)
        key_clear(&keys->items[i]);
    free(keys);
}

size_t hc_jwt_keys_count(const struct hc_jwt_keys *keys)
{
    return keys->count;
}

/* NULL: there is none. */
static const struct public_key *keys_find(const struct hc_jwt_keys *keys, const char *kid,
                                          const char *alg)
{
    if (!kid && keys->count == 1 && key_may_check(&keys->items[0], alg))
        return &keys->items[0];
    for (size_t i = 0; kid && i < keys->count; i++) {
        if (key_has_kid(&keys->items[i], kid) && key_may_check(&keys->items[i], alg))
            return &keys->items[i];
    }
    return NULL;
}

int hc_jwt_keys_verify(const struct hc_jwt_keys *keys, const char *kid, const char *alg,
                       const char *token, size_t size)
{
    const struct public_key *key = keys_find(keys, kid, alg);
    cjose_err failure;
    cjose_jws_t *jws;
    bool is_right;

    if (!key)
        return 0;
    jws = cjose_jws_import(token, size, &failure);
    is_right = jws && cjose_jws_verify(jws, key->key, &failure);
    cjose_jws_release(jws);
    return is_right ? 1 : -1;
}
