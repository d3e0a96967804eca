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
static int accept(const char *text, const char *source, char token[HC_TOKEN_MAX + 1],
                  struct hc_error *err)
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
static int fail_for_now(struct hc_error *err)
{
    err->reason = HC_INTERNAL;
    err->retry_after_ms = RETRY_MS;
    return -1;
}

/* Absent or empty: no token, unless there was one. */
static int accept_none(const char *path, const atomic_bool *held, struct hc_error *err)
{
    if (!held || !atomic_load(held))
        return 0;
    (void)hc_fail(err, HC_INTERNAL,
                  "token file '%s' held a token and is gone or empty; put it back, or "
                  "restart to go on without a token",
                  path);
    return fail_for_now(err);
}

static int read_file(const char *path, atomic_bool *held, char token[HC_TOKEN_MAX + 1],
                     struct hc_error *err)
{
    char text[HC_TOKEN_MAX + 1];
    int found = hc_file_read_linked(path, text, sizeof text, err);

    if (found < 0) {
        (void)hc_context(err, "the token file cannot be read");
        return fail_for_now(err);
    }
    if (found == 0 && access(path, F_OK) == 0)
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "token file '%s' is no regular file of at most %d bytes", path,
                       HC_TOKEN_MAX);
    if (found == 0)
        return accept_none(path, held, err);
    found = accept(text, "in the file", token, err);
    explicit_bzero(text, sizeof text);
    if (found < 0)
        return hc_context(err, "token file '%s'", path);
    if (!token[0])
        return accept_none(path, held, err);
    if (held)
        atomic_store(held, true);
    return 0;
}

int hc_token_choose(const struct hc_settings *settings, const char *caller_token,
                    atomic_bool *held, char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    token[0] = '\0';
    if (caller_token && caller_token[0])
        return accept(caller_token, "of the caller", token, err);
    if (settings->no_implicit_token)
        return 0;
    if (settings->token && settings->token[0])
        return accept(settings->token, "of the settings (HF_TOKEN)", token, err);
    return settings->token_file ? read_file(settings->token_file, held, token, err) : 0;
}
