/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a caller sends, and the files of keys and tokens. The first byte says what the
 * rest is: 'k' a JWKS, 't' the file of --auth-tokens, 'j' the header and the claims of a
 * token, a line each, anything else a whole token. For any input, no token is accepted,
 * since none is signed by the key; and what is read can be counted and freed.
 */
#include "fuzz.h"

#include <server/caller_tokens.h>
#include <server/jwt.h>
#include <server/jwt_keys.h>

#include <cjose/base64.h>
#include <stdio.h>

static const char key_set[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"1\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static void check_token(const char *token, size_t size)
{
    struct hc_error err;
    HC_AUTO(hc_jwt_keys) *keys =
        hc_jwt_keys_parse(key_set, sizeof key_set - 1, "keys", &err);
    const struct hc_jwt_rules rules = {.issuer = "i",
                                       .audience = "a",
                                       .keys = keys,
                                       .now_s = 1000000};
    struct hc_jwt_result result;

    fuzz_require(keys != NULL);
    fuzz_require(hc_jwt_check(&rules, token, size, &result) < 1);
    fuzz_require(result.caller == NULL);
}

static void check_parts(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t first = end ? (size_t)(end - data) : size;
    size_t second = end ? size - first - 1 : 0;
    char *header = NULL, *claims = NULL, *token = NULL;
    size_t length;
    cjose_err failure;

    if (first == 0 || second == 0)
        return;
    fuzz_require(cjose_base64url_encode(data, first, &header, &length, &failure));
    fuzz_require(
        cjose_base64url_encode(data + first + 1, second, &claims, &length, &failure));
    fuzz_require(asprintf(&token, "%s.%s.%086d", header, claims, 7) > 0);
    check_token(token, strlen(token));
    free(header);
    free(claims);
    free(token);
}

static void check_keys(const char *text, size_t size)
{
    struct hc_error err;
    HC_AUTO(hc_jwt_keys) *keys = hc_jwt_keys_parse(text, size, "keys", &err);

    fuzz_require(!keys || (hc_jwt_keys_count(keys) > 0 &&
                           hc_jwt_keys_count(keys) <= HC_JWT_KEYS_MAX));
}

static void check_tokens(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct hc_error err;
    HC_AUTO(hc_caller_tokens) *tokens =
        hc_caller_tokens_parse(text, size, "tokens", &err);

    fuzz_require(!tokens || hc_caller_tokens_count(tokens) > 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (*data == 'k')
        check_keys((const char *)data + 1, size - 1);
    else if (*data == 't')
        check_tokens(data + 1, size - 1);
    else if (*data == 'j')
        check_parts(data + 1, size - 1);
    else
        check_token((const char *)data, size);
    return 0;
}
