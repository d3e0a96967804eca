/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What SIGHUP asks for: the configuration and the files that it names are read again by a
 * thread of its own, because a volume with such a file may hang. Each kind is replaced as
 * a whole or, if anything in it is wrong, not at all; a wrong one keeps no other from
 * being read. Requests that arrive during a reload make one more. Callable from any
 * thread.
 *
 *     configuration    options that may change while the server runs take effect at once;
 *                      others are named in the log, and wait for a restart
 *     certificates     the files of --tls-cert, --tls-key and --tls-client-ca
 *     policy           the file of --policy
 *     callers          the files of --auth-tokens and --auth-jwt-keys
 *     the Hub's token  read for each request in any case: only checked
 */
#ifndef HC_SERVER_RELOAD_H
#define HC_SERVER_RELOAD_H

#include "auth.h"
#include "options.h"
#include "policy_file.h"
#include "tls.h"

#include <hubcache/resolver.h>

struct hc_reload;

/* All borrowed until the close. */
struct hc_reload_parts {
    const struct hc_options *options; /* those of the start */
    struct hc_auth *auth;
    struct hc_tls *tls;            /* NULL: there is no TLS */
    struct hc_policy_file *policy; /* NULL: there is none */
    struct hc_resolver *resolver;
};

struct hc_reload *hc_reload_open(const struct hc_reload_parts *parts,
                                 struct hc_error *err);
void hc_reload_close(struct hc_reload *reload);
HC_DEFINE_AUTO(hc_reload, hc_reload_close)

/* Returns at once; the log and the status tell how the reload went. */
void hc_reload_request(struct hc_reload *reload);

/* Times are in seconds since the epoch. */
struct hc_reload_status {
    uint64_t succeeded, failed; /* reloads since the start, which is none */
    int64_t last_s;             /* the end of the last one; 0: there was none */
    int64_t good_s;             /* of the last that succeeded, or of the start */
    bool has_failed;            /* the last one */
    char message[1152];         /* what it has changed, or what is wrong */
};

void hc_reload_status(struct hc_reload *reload, struct hc_reload_status *status);

/* --grace-period, which may change. */
int64_t hc_reload_grace_period_ms(struct hc_reload *reload);

#endif
