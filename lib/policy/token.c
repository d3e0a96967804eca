/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token is never part of a message.
 */
#include "token.h"

#include <base/error.h>
#include <base/file.h>
#include <base/text.h>

#include <string.h>
#include <unistd.h>

/* Copies `text` without the white space around it, if it can stand in a header. */
static int token_accept(const char *text, const char *source,
                        char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    if (hc_format(token, HC_TOKEN_MAX + 1, "%s", text) < 0)
        return hc_fail(err, HC_HUB_UNAUTHORIZED, "the token %s has more than %d bytes",
                       source, HC_TOKEN_MAX);
    (void)hc_text_trim(token);
    for (const char *s = token; *s; s++) {
        if (*s > ' ' && *s <= '~')
            continue;
        token[0] = '\0';
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "the token %s has white space or control characters inside",
                       source);
    }
    return 0;
}

enum { RETRY_MS = 5000 }; /* what callers are told of a file that may come back */

/* The file may be all right again at the next request. */
static int token_fail_temporarily(struct hc_error *err)
{
    err->reason = HC_INTERNAL;
    err->retry_after_ms = RETRY_MS;
    return -1;
}

/* Absent or empty: no token, unless there was one. */
static int token_accept_absence(const char *path, const atomic_bool *had_token,
                                struct hc_error *err)
{
    if (!had_token || !atomic_load(had_token))
        return 0;
    (void)hc_fail(err, HC_INTERNAL,
                  "token file '%s' held a token and is gone or empty; put it back, or "
                  "restart to go on without a token",
                  path);
    return token_fail_temporarily(err);
}

static int token_read_file(const char *path, atomic_bool *had_token,
                           char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    char text[HC_TOKEN_MAX + 1];
    int found = hc_file_read_linked(path, text, sizeof text, err);

    if (found < 0) {
        (void)hc_context(err, "the token file cannot be read");
        return token_fail_temporarily(err);
    }
    if (found == 0 && access(path, F_OK) == 0)
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "token file '%s' is no regular file of at most %d bytes", path,
                       HC_TOKEN_MAX);
    if (found == 0)
        return token_accept_absence(path, had_token, err);
    found = token_accept(text, "in the file", token, err);
    explicit_bzero(text, sizeof text);
    if (found < 0)
        return hc_context(err, "token file '%s'", path);
    if (!token[0])
        return token_accept_absence(path, had_token, err);
    if (had_token)
        atomic_store(had_token, true);
    return 0;
}

int hc_token_choose(const struct hc_settings *settings, const char *caller_token,
                    atomic_bool *had_token, char token[HC_TOKEN_MAX + 1],
                    struct hc_error *err)
{
    token[0] = '\0';
    if (caller_token && caller_token[0])
        return token_accept(caller_token, "of the caller", token, err);
    if (settings->no_implicit_token)
        return 0;
    if (settings->token && settings->token[0])
        return token_accept(settings->token, "of the settings (HF_TOKEN)", token, err);
    return settings->token_file
               ? token_read_file(settings->token_file, had_token, token, err)
               : 0;
}
