/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who calls. A caller proves its identity by a token in the header
 * "authorization: Bearer …", which is a line of --auth-tokens or a JWT signed by a key
 * of --auth-jwt-keys, or by the connection: by the certificate that the client has shown
 * over TLS, or by the user who, as the kernel says, has connected to a unix socket. A
 * header comes before a connection.
 *
 *     no way to check a token is configured    the header identifies no caller
 *     the header has a token that is accepted  its caller
 *     the header has anything else             refused, never treated as anonymous
 *     no header, a certificate of the client   the caller that it names; refused if it
 *                                              names none
 *     no header, a unix socket                 the caller "uid:<n>"
 *     no header                                anonymous; refused with --auth-required
 *
 * What a token has shown is remembered, by its SHA-256, so that the next call with it
 * costs a hash and a look-up. A thread of its own looks at the files every two seconds,
 * and asks the URL of keys; what is wrong changes nothing, and is logged. Callable from
 * any thread.
 */
#ifndef HC_SERVER_AUTH_H
#define HC_SERVER_AUTH_H

#include "auth_settings.h"
#include "caller.h"

#include <stdbool.h>
#include <sys/types.h>

struct hc_auth;
struct hc_rpc_call;

/* Reads the files. `settings` is borrowed. INVALID_OPTIONS names a wrong file. */
struct hc_auth *hc_auth_open(const struct hc_auth_settings *settings,
                             struct hc_error *err);
void hc_auth_close(struct hc_auth *auth);
HC_DEFINE_AUTO(hc_auth, hc_auth_close)

/* If the keys have a URL, asks it, and starts a thread that asks it again: a server that
 * does not answer keeps only that thread. */
int hc_auth_start(struct hc_auth *auth, struct hc_error *err);

/* What the thread of file_watcher.h does every two seconds: looks at the files. */
void hc_auth_look(struct hc_auth *auth);

/* What the thread of the URL does every two seconds. */
void hc_auth_look_at_url(struct hc_auth *auth);

/*
 * From any thread: reads the files again even if they look unchanged, and has the thread
 * ask the URL of keys soon. -1: a file is wrong, and what it said before still holds.
 */
int hc_auth_reload(struct hc_auth *auth, struct hc_error *err);

/* What a call has to show. */
struct hc_credential {
    const char *authorization; /* the header; NULL: the call has none */
    size_t size;
    const char *certificate; /* the client's, in PEM; NULL: it has shown none */
    size_t certificate_size;
    const struct hc_rpc_call *call; /* Optional: to limit its client, if that forges */
    bool has_uid; /* the call came over a unix socket, from a process of that user */
    uid_t uid;
};

/*
 * 1 and the caller, held for the calling function; 0: anonymous, which is allowed. -1:
 * CALLER_UNAUTHENTICATED, with what to send in the message, or INTERNAL when memory is
 * short. `now_s` is in seconds since the epoch.
 */
int hc_auth_identify(struct hc_auth *auth, const struct hc_credential *credential,
                     int64_t now_s, struct hc_caller **caller, struct hc_error *err);

/*
 * For hc_rpc_guard(), with a struct hc_auth: identifies the caller of a call, and sets
 * its request's identity.
 * Calls of the health service pass without: Kubernetes' probes send no header.
 */
int hc_auth_admit(void *ctx, struct hc_rpc_call *call, struct hc_error *err);

#endif
