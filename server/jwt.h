/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a JSON Web Token (RFC 7519) of one issuer for one audience, signed by RS256,
 * PS256 or ES256, and says who its subject is. For the token of a Kubernetes
 * ServiceAccount, "system:serviceaccount:<namespace>:<name>", the groups are those that
 * Kubernetes gives it. Decided without I/O; hostile bytes are fine.
 */
#ifndef HC_SERVER_JWT_H
#define HC_SERVER_JWT_H

#include "caller.h"

#include <stdbool.h>

struct hc_jwt_keys;

enum {
    HC_JWT_MAX = 8 * 1024, /* bytes of a token */
    HC_JWT_LEEWAY_S = 30   /* by which the issuer's clock may differ */
};

/* What a token must be for. */
struct hc_jwt_rules {
    const char *issuer, *audience;  /* compared byte by byte */
    const struct hc_jwt_keys *keys; /* NULL: none is known yet */
    int64_t now_s;
    bool checks_no_signature; /* the caller has to wait before its next one */
};

/* What it has shown, or why it has not. */
struct hc_jwt_result {
    struct hc_caller *caller; /* the calling function holds it */
    int64_t end_s;            /* when the token expires */
    const char *flaw;         /* for the caller, without any part of the token; static */
    bool is_forged;           /* all is right but the signature */
    bool must_wait;           /* all is right, but no signature was to be checked */
};

/*
 * 1: `caller` and `end_s` are set. 0: all is right, but the key that has signed it is not
 * known: keys may have been rotated. -1: `flaw` is set.
 */
int hc_jwt_check(const struct hc_jwt_rules *rules, const char *token, size_t size,
                 struct hc_jwt_result *result);

#endif
