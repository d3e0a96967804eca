/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is cheap comes first: the form, the header, the claims, and at last the signature,
 * so that most forgeries cost no arithmetic. No claim is believed before the end.
 *
 * A name that stands twice in the header or the claims is refused: readers differ in
 * which of the two they see. So is "crit" (RFC 7515, 4.1.11), of which nothing is known
 * here, and "b64" (RFC 7797). What a header offers as its own key is never looked at.
 */
#include "jwt.h"

#include "jwt_keys.h"

#include <base/json.h>
#include <base/text.h>

#include <cjose/base64.h>
#include <cjose/util.h>
#include <string.h>

enum { ES256_SIGNATURE = 86 }; /* 64 bytes in base64url */

/* The three parts between the dots, in base64url. */
struct jwt_part {
    const char *text;
    size_t size;
};

static int result_refuse(struct hc_jwt_result *result, const char *flaw)
{
    result->flaw = flaw;
    return -1;
}

static bool token_split(const char *token, size_t size, struct jwt_part parts[3])
{
    size_t count = 0;

    parts[0] = (struct jwt_part){token, 0};
    for (size_t i = 0; i < size; i++) {
        if (hc_jwt_is_base64url(token + i, 1))
            parts[count].size++;
        else if (token[i] == '.' && count < 2)
            parts[++count] = (struct jwt_part){token + i + 1, 0};
        else
            return false;
    }
    return count == 2 && parts[0].size > 0 && parts[1].size > 0 && parts[2].size > 0;
}

/* The object that a part has; NULL: it has none. */
static json_t *part_read(const struct jwt_part *part)
{
    uint8_t *bytes = NULL;
    size_t count = 0;
    cjose_err failure;
    json_t *value;

    if (!cjose_base64url_decode(part->text, part->size, &bytes, &count, &failure))
        return NULL;
    value = json_loadb((const char *)bytes, count, JSON_REJECT_DUPLICATES, NULL);
    cjose_get_dealloc()(bytes);
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

static bool is_allowed_alg(const char *alg)
{
    return alg && (strcmp(alg, "RS256") == 0 || strcmp(alg, "PS256") == 0 ||
                   strcmp(alg, "ES256") == 0);
}

/* Sets `*alg` and `*kid`, NULL for none, which live as long as `header`. */
static int header_check(const json_t *header, const char **alg, const char **kid,
                        struct hc_jwt_result *result)
{
    const json_t *id = json_object_get(header, "kid");

    *alg = json_string_value(json_object_get(header, "alg"));
    *kid = json_string_value(id);
    if (!is_allowed_alg(*alg))
        return result_refuse(result, "the token is not signed by RS256, PS256 or ES256");
    if (json_object_get(header, "crit") || json_object_get(header, "b64"))
        return result_refuse(result, "the token's header has a critical extension");
    if (id && (!*kid || strlen(*kid) > HC_JWT_KID_MAX))
        return result_refuse(result, "the token's kid is no text of 256 bytes");
    return 0;
}

/* 1: a time in seconds; 0: there is none; -1: it is no time. */
static int claim_time(const json_t *claims, const char *name, int64_t *time_s)
{
    const json_t *value = json_object_get(claims, name);
    const double most = 1e12;
    double seconds;

    if (!value)
        return 0;
    seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds >= 0 && seconds <= most))
        return -1;
    *time_s = (int64_t)seconds;
    return 1;
}

static int claims_check_times(const json_t *claims, int64_t now_s,
                              struct hc_jwt_result *result)
{
    int64_t from_s = 0, issued_s = 0;

    if (claim_time(claims, "exp", &result->end_s) != 1)
        return result_refuse(result, "the token has no time of expiry");
    if (claim_time(claims, "nbf", &from_s) < 0 ||
        claim_time(claims, "iat", &issued_s) < 0)
        return result_refuse(result, "a time of the token is no number");
    if (now_s >= result->end_s + HC_JWT_LEEWAY_S)
        return result_refuse(result, "the token has expired");
    if (now_s + HC_JWT_LEEWAY_S < from_s || now_s + HC_JWT_LEEWAY_S < issued_s)
        return result_refuse(result, "the token is not valid yet");
    return 0;
}

static bool is_text(const json_t *value, const char *expected)
{
    const char *text = json_string_value(value);

    return text && strcmp(text, expected) == 0;
}

/* The audience is one text, or several (RFC 7519, 4.1.3). */
static bool claims_have_audience(const json_t *claims, const char *audience)
{
    const json_t *value = json_object_get(claims, "aud");
    bool is_listed = is_text(value, audience);
    size_t i;
    json_t *item;

    json_array_foreach(value, i, item)
    {
        if (!json_is_string(item))
            return false;
        is_listed = is_listed || is_text(item, audience);
    }
    return is_listed;
}

static int claims_check(const json_t *claims, const struct hc_jwt_rules *rules,
                        struct hc_jwt_result *result)
{
    if (!is_text(json_object_get(claims, "iss"), rules->issuer))
        return result_refuse(result, "the token has another issuer");
    if (!claims_have_audience(claims, rules->audience))
        return result_refuse(result, "the token is for another audience");
    return claims_check_times(claims, rules->now_s, result);
}

/* Names of Kubernetes: RFC 1123's, with dots. */
static size_t name_length(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-");
}

/*
 * The groups of a ServiceAccount: two, in `*all` and in the buffer. 0: it is none. -1: it
 * says that it is one, but has not the form.
 */
static int subject_groups(const char *subject, const char *groups[2], char *buffer,
                          size_t size)
{
    static const char prefix[] = "system:serviceaccount:";
    const char *namespace = subject + strlen(prefix), *name;
    size_t length;

    if (!hc_text_starts(subject, prefix))
        return 0;
    length = name_length(namespace);
    name = namespace + length + 1;
    if (length == 0 || namespace[length] != ':' || name_length(name) == 0 ||
        name[name_length(name)] != '\0' ||
        hc_format(buffer, size, "system:serviceaccounts:%.*s", (int)length, namespace) <
            0)
        return -1;
    groups[0] = "system:serviceaccounts";
    groups[1] = buffer;
    return 2;
}

static int claims_take_caller(const json_t *claims, struct hc_jwt_result *result)
{
    const char *subject = json_string_value(json_object_get(claims, "sub"));
    const char *groups[2] = {NULL};
    char group[HC_CALLER_NAME_MAX + 32];
    struct hc_error err;
    int count;

    if (!subject || !*subject || strlen(subject) > HC_CALLER_NAME_MAX ||
        !hc_text_is_printable(subject) || hc_text_starts(subject, "uid:"))
        return result_refuse(result, "the token's subject is no name of a caller");
    count = subject_groups(subject, groups, group, sizeof group);
    if (count < 0)
        return result_refuse(result, "the token's subject is no ServiceAccount");
    result->caller = hc_caller_new(HC_CALLER_JWT, subject, groups, (size_t)count, &err);
    return result->caller ? 1 : result_refuse(result, "memory is short");
}

int hc_jwt_check(const struct hc_jwt_rules *rules, const char *token, size_t size,
                 struct hc_jwt_result *result)
{
    struct jwt_part parts[3];
    HC_AUTO_JSON *header = NULL;
    HC_AUTO_JSON *claims = NULL;
    const char *alg, *kid;
    int verified;

    *result = (struct hc_jwt_result){.caller = NULL};
    if (size > HC_JWT_MAX)
        return result_refuse(result, "the token is longer than 8 KiB");
    if (!token_split(token, size, parts))
        return result_refuse(result, "the token is no signed JWT");
    header = part_read(&parts[0]);
    claims = part_read(&parts[1]);
    if (!header || !claims)
        return result_refuse(result, "the token's header or claims are no JSON object");
    if (header_check(header, &alg, &kid, result) < 0 ||
        claims_check(claims, rules, result) < 0)
        return -1;
    if (strcmp(alg, "ES256") == 0 && parts[2].size != ES256_SIGNATURE)
        return result_refuse(result, "the token's signature is wrong");
    result->must_wait = rules->checks_no_signature;
    if (result->must_wait)
        return result_refuse(result, "many tokens with wrong signatures came from this "
                                     "address");
    verified = rules->keys ? hc_jwt_keys_verify(rules->keys, kid, alg, token, size) : 0;
    result->is_forged = verified < 0;
    if (result->is_forged)
        return result_refuse(result, "the token's signature is wrong");
    return verified == 0 ? 0 : claims_take_caller(claims, result);
}
