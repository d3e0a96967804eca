/* SPDX-License-Identifier: Apache-2.0 */
#include "auth_settings.h"

#include "jwt_source.h"
#include "listener.h"
#include "log.h"

#include <base/error.h>
#include <base/text.h>

#include <string.h>

bool hc_auth_settings_have_tokens(const struct hc_auth_settings *settings)
{
    return settings->tokens_file || settings->jwt_issuer;
}

/* Forged keys would make anything of a token. */
static bool location_is_safe(const char *location)
{
    return !hc_text_starts(location, "http://") ||
           hc_text_starts(location, "http://127.0.0.1:") ||
           hc_text_starts(location, "http://127.0.0.1/") ||
           hc_text_starts(location, "http://[::1]:") ||
           hc_text_starts(location, "http://[::1]/") ||
           hc_text_starts(location, "http://localhost:") ||
           hc_text_starts(location, "http://localhost/");
}

static int jwt_settings_check(const struct hc_auth_settings *settings,
                              struct hc_error *err)
{
    bool has_any = settings->jwt_issuer || settings->jwt_audience || settings->jwt_keys ||
                   settings->jwt_keys_ca || settings->jwt_keys_token_file;
    bool has_all = settings->jwt_issuer && settings->jwt_audience && settings->jwt_keys;

    if (has_any && !has_all)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-jwt-issuer",
                             "auth-jwt-issuer, auth-jwt-audience and auth-jwt-keys: give "
                             "all three, or none");
    if (has_all && !location_is_safe(settings->jwt_keys))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-jwt-keys",
                             "auth-jwt-keys: keys come from a file, over https, or from "
                             "this machine, not from '%s'",
                             settings->jwt_keys);
    if (has_all && strchr(settings->jwt_keys, '@') &&
        hc_jwt_location_is_url(settings->jwt_keys))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-jwt-keys",
                             "auth-jwt-keys: no credentials in the URL, use "
                             "auth-jwt-keys-token-file");
    return 0;
}

int hc_auth_settings_check(const struct hc_auth_settings *settings, bool knows_peers,
                           struct hc_error *err)
{
    bool has_tokens = hc_auth_settings_have_tokens(settings);

    if (settings->mode && has_tokens)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "auth",
                             "auth: 'none' contradicts auth-tokens and auth-jwt-issuer: "
                             "leave one out");
    if (settings->is_required && !has_tokens && !knows_peers)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-required",
                             "auth-required: no caller could prove an identity: give "
                             "auth-tokens, auth-jwt-issuer or tls-client-ca, or listen "
                             "on a unix socket");
    return jwt_settings_check(settings, err);
}

/* The status page asks for the tokens of --auth-tokens, and has no TLS. */
static void settings_warn_of_pages(const struct hc_auth_settings *settings,
                                   const char *address)
{
    struct hc_error err;

    if (hc_auth_settings_have_tokens(settings) &&
        hc_listener_check_local(address, &err) < 0)
        HC_LOG(HC_LOG_WARN,
               "tokens for the status page pass in clear text: listen on the loopback, "
               "or let only a proxy with TLS reach it",
               HC_TEXT("address", address));
}

void hc_auth_settings_warn_of_listener(const struct hc_auth_settings *settings,
                                       const char *address, bool is_mutual)
{
    static const char http[] = "http://";
    struct hc_error err;

    if (hc_text_starts(address, http))
        settings_warn_of_pages(settings, address + strlen(http));
    else if (!settings->mode && !settings->is_required && !is_mutual &&
             !hc_auth_settings_have_tokens(settings) &&
             hc_listener_check_local(address, &err) < 0)
        HC_LOG(
            HC_LOG_WARN,
            "any client may call: give auth-tokens, or say that it may with auth: none",
            HC_TEXT("address", address));
}
