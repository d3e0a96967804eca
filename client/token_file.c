/* SPDX-License-Identifier: Apache-2.0 */
#include "token_file.h"

#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { TOKEN_MAX = 16 * 1024 };

int hc_token_check(const char *token, const char *what, struct hc_error *err)
{
    for (const unsigned char *s = (const unsigned char *)(token ? token : ""); *s; s++) {
        if (*s <= ' ' || *s >= 0x7f)
            return hc_fail(err, HC_INVALID_OPTIONS,
                           "the %s holds a character that no token has", what);
    }
    return 0;
}

/* Fills the buffer with the token alone. */
static int token_read(const char *path, char token[TOKEN_MAX], struct hc_error *err)
{
    struct hc_error cause = {.reason = HC_OK};
    int found = hc_file_read_linked(path, token, TOKEN_MAX, &cause);

    if (found < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "bearer_token_file", "%.400s",
                             cause.message);
    if (found == 0 || hc_text_trim(token)[0] == '\0')
        return hc_fail_field(err, HC_INVALID_OPTIONS, "bearer_token_file",
                             "there is no token in '%.400s'", path);
    if (hc_token_check(token, "file", err) < 0)
        return hc_context(err, "'%.300s'", path);
    return 0;
}

char *hc_token_file_authorization(const char *path, struct hc_error *err)
{
    char token[TOKEN_MAX];
    char *header = NULL;

    if (token_read(path, token, err) == 0 && asprintf(&header, "Bearer %s", token) < 0) {
        header = NULL;
        (void)hc_fail_memory(err);
    }
    explicit_bzero(token, sizeof token);
    return header;
}
