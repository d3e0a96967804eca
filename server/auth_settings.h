/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ways a caller has to prove its identity (auth.h), as the options say. A value.
 */
#ifndef HC_SERVER_AUTH_SETTINGS_H
#define HC_SERVER_AUTH_SETTINGS_H

#include <hubcache/error.h>
#include <stdbool.h>

/* Of the options; all texts Optional. */
struct hc_auth_settings {
    char *mode; /* "none": the operator says that there is no way */
    char *tokens_file;
    char *jwt_issuer, *jwt_audience, *jwt_keys; /* all of them, or none */
    char *jwt_keys_ca, *jwt_keys_token_file;
    bool is_required;
};

/* Whether any way to check a token is configured. */
bool hc_auth_settings_have_tokens(const struct hc_auth_settings *settings);

/*
 * INVALID_OPTIONS: settings that contradict each other. `knows_peers`: there are unix
 * sockets, or clients that show certificates.
 */
int hc_auth_settings_check(const struct hc_auth_settings *settings, bool knows_peers,
                           struct hc_error *err);

/*
 * Logs a warning if any client that reaches the listener may call, and the operator has
 * not said so; of HTTP, if tokens can pass over it in clear text. `address` is as
 * hubcached announces it; loopback and unix sockets are fine. `is_mutual`: over TCP all
 * clients of gRPC show certificates.
 */
void hc_auth_settings_warn_of_listener(const struct hc_auth_settings *settings,
                                       const char *address, bool is_mutual);

#endif
