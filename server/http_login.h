/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may read a page over HTTP: the header "authorization" has a token as for gRPC
 * (auth.h), as "Bearer TOKEN", or as the password of "Basic", which browsers ask for; the
 * user's name does not count. An address whose tokens were wrong ten times in a minute is
 * refused without a look until the minute ends. One thread.
 */
#ifndef HC_SERVER_HTTP_LOGIN_H
#define HC_SERVER_HTTP_LOGIN_H

#include "auth.h"

#include <stdint.h>
#include <sys/socket.h>

enum {
    HC_LOGIN_ADDRESSES = 64, /* remembered: the one that failed first gives way */
    HC_LOGIN_FAILURES_MAX = 10,
    HC_LOGIN_PERIOD_MS = 60 * 1000
};

enum hc_login_result { HC_LOGIN_OK, HC_LOGIN_REFUSED, HC_LOGIN_TOO_MANY };

/* Of one address, since the first of a minute. */
struct hc_login_failures {
    unsigned char address[16]; /* of IPv6 the network, 64 bits */
    int64_t since_ms;
    unsigned count;
};

/* Zeroed at the start. */
struct hc_http_login {
    struct hc_auth *auth; /* borrowed */
    struct hc_login_failures failed[HC_LOGIN_ADDRESSES];
};

struct hc_login_attempt {
    const char *authorization; /* the header; NULL: none */
    const struct sockaddr *peer;
    int64_t now_ms; /* monotonic, for the limit */
    int64_t now_s;  /* since the epoch, for tokens that expire */
};

/* With HC_LOGIN_OK the caller, held for the calling function; NULL: anonymous. `err` says
 * why it is refused. */
enum hc_login_result hc_http_login_check(struct hc_http_login *login,
                                         const struct hc_login_attempt *attempt,
                                         struct hc_caller **caller, struct hc_error *err);

#endif
