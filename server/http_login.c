/* SPDX-License-Identifier: Apache-2.0 */
#include "http_login.h"

#include "log.h"

#include <base/error.h>
#include <base/text.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

enum { ENCODED_MAX = 12 * 1024, DECODED_MAX = ENCODED_MAX / 4 * 3 + 1 };

static const char bearer[] = "Bearer ";
static const char basic[] = "Basic ";

/* ---- the limit --------------------------------------------------------------------- */

union peer {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union peer peer_of(const struct sockaddr *address)
{
    union peer peer = {.any.sa_family = address->sa_family};

    if (address->sa_family == AF_INET)
        memcpy(&peer.v4, address, sizeof peer.v4);
    else if (address->sa_family == AF_INET6)
        memcpy(&peer.v6, address, sizeof peer.v6);
    return peer;
}

/* IPv4 as IPv6 maps it; of other IPv6 the network, for a host may have all of one. */
static void peer_key(const union peer *peer, unsigned char key[16])
{
    memset(key, 0, 16);
    if (peer->any.sa_family == AF_INET) {
        key[10] = key[11] = 0xff;
        memcpy(key + 12, &peer->v4.sin_addr, sizeof peer->v4.sin_addr);
    } else if (IN6_IS_ADDR_V4MAPPED(&peer->v6.sin6_addr)) {
        memcpy(key, &peer->v6.sin6_addr, 16);
    } else {
        memcpy(key, &peer->v6.sin6_addr, 8);
    }
}

/* NULL: no token of that address was wrong in this minute. */
static struct hc_login_failures *login_find(struct hc_http_login *login,
                                            const unsigned char key[16], int64_t now_ms)
{
    for (size_t i = 0; i < HC_LOGIN_ADDRESSES; i++) {
        struct hc_login_failures *failed = &login->failed[i];

        if (failed->count > 0 && now_ms - failed->since_ms < HC_LOGIN_PERIOD_MS &&
            memcmp(failed->address, key, sizeof failed->address) == 0)
            return failed;
    }
    return NULL;
}

static void login_count_failure(struct hc_http_login *login, const unsigned char key[16],
                                int64_t now_ms)
{
    struct hc_login_failures *failed = login_find(login, key, now_ms);

    if (!failed) {
        failed = login->failed;
        for (size_t i = 1; i < HC_LOGIN_ADDRESSES; i++) {
            if (login->failed[i].since_ms < failed->since_ms)
                failed = &login->failed[i];
        }
        *failed = (struct hc_login_failures){.since_ms = now_ms};
        memcpy(failed->address, key, sizeof failed->address);
    }
    failed->count++;
}

/* ---- the header -------------------------------------------------------------------- */

/* "Bearer <password>" of "Basic base64(user:password)". False: it has no password. */
static bool basic_to_bearer(const char *encoded, char *header)
{
    unsigned char decoded[DECODED_MAX];
    size_t length = strlen(encoded);
    size_t padding = 0;
    const char *password = NULL;
    int size;

    if (length == 0 || length > ENCODED_MAX || length % 4 != 0)
        return false;
    while (padding < 2 && encoded[length - 1 - padding] == '=')
        padding++;
    size = EVP_DecodeBlock(decoded, (const unsigned char *)encoded, (int)length);
    if (size > 0) {
        decoded[(size_t)size - padding] = '\0';
        if (strlen((const char *)decoded) == (size_t)size - padding)
            password = strchr((const char *)decoded, ':');
        if (password)
            (void)hc_format(header, sizeof bearer + DECODED_MAX, "%s%s", bearer,
                            password + 1);
    }
    explicit_bzero(decoded, sizeof decoded);
    return password && password[1];
}

/* 1 the caller has proved an identity; 0 none is needed; -1. */
static int login_identify(struct hc_http_login *login,
                          const struct hc_login_attempt *attempt,
                          struct hc_caller **caller, struct hc_error *err)
{
    char from_basic[sizeof bearer + DECODED_MAX] = "";
    struct hc_credential credential = {.authorization = attempt->authorization};
    int known;

    if (credential.authorization &&
        strncasecmp(credential.authorization, basic, strlen(basic)) == 0) {
        /* What has no password is refused where any other wrong token is. */
        (void)basic_to_bearer(credential.authorization + strlen(basic), from_basic);
        credential.authorization = from_basic;
    }
    if (credential.authorization)
        credential.size = strlen(credential.authorization);
    known = hc_auth_identify(login->auth, &credential, attempt->now_s, caller, err);
    explicit_bzero(from_basic, sizeof from_basic);
    return known;
}

static void log_refusal(const union peer *peer, const struct hc_error *err)
{
    char address[INET6_ADDRSTRLEN] = "";
    const void *bytes = peer->any.sa_family == AF_INET
                            ? (const void *)&peer->v4.sin_addr
                            : (const void *)&peer->v6.sin6_addr;

    (void)inet_ntop(peer->any.sa_family, bytes, address, sizeof address);
    HC_LOG(HC_LOG_WARN, "page refused", HC_TEXT("address", address),
           HC_TEXT("error", err->message));
}

enum hc_login_result hc_http_login_check(struct hc_http_login *login,
                                         const struct hc_login_attempt *attempt,
                                         struct hc_caller **caller, struct hc_error *err)
{
    const union peer peer = peer_of(attempt->peer);
    const struct hc_login_failures *failed;
    unsigned char key[16];

    *caller = NULL;
    if (!attempt->authorization)
        return login_identify(login, attempt, caller, err) < 0 ? HC_LOGIN_REFUSED
                                                               : HC_LOGIN_OK;
    peer_key(&peer, key);
    failed = login_find(login, key, attempt->now_ms);
    if (failed && failed->count >= HC_LOGIN_FAILURES_MAX) {
        (void)hc_fail(err, HC_CALLER_UNAUTHENTICATED,
                      "too many wrong tokens from this address: wait for a minute");
        return HC_LOGIN_TOO_MANY;
    }
    if (login_identify(login, attempt, caller, err) >= 0)
        return HC_LOGIN_OK;
    login_count_failure(login, key, attempt->now_ms);
    log_refusal(&peer, err);
    return HC_LOGIN_REFUSED;
}
