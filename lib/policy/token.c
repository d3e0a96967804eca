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

static int read_file(const char *path, char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    char text[HC_TOKEN_MAX + 1];
    int found = hc_file_read_linked(path, text, sizeof text, err);

    if (found < 0) {
        err->reason = HC_HUB_UNAUTHORIZED;
        return hc_context(err, "token file");
    }
    if (found == 0 && access(path, F_OK) == 0)
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "token file '%s' is no regular file of at most %d bytes", path,
                       HC_TOKEN_MAX);
    if (found == 0)
        return 0;
    if (accept(text, "in the file", token, err) < 0)
        return hc_context(err, "token file '%s'", path);
    return 0;
}

int hc_token_choose(const struct hc_settings *settings, const char *caller_token,
                    char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    token[0] = '\0';
    if (caller_token && caller_token[0])
        return accept(caller_token, "of the caller", token, err);
    if (settings->no_implicit_token)
        return 0;
    if (settings->token && settings->token[0])
        return accept(settings->token, "of the settings (HF_TOKEN)", token, err);
    return settings->token_file ? read_file(settings->token_file, token, err) : 0;
}
