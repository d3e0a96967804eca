/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages name the next step themselves; a hint is for what only the command knows: its
 * own options.
 */
#include "output.h"

#include "base/error.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HINT_MAX = 512 };

static void print_message(const char *message)
{
    (void)fputs("hubcache: ", stderr);
    hc_text_escape(stderr, message, "");
    (void)fputc('\n', stderr);
}

static void print_missing_names(const struct hc_error *err)
{
    char names[sizeof err->missing];
    char *rest = names;
    unsigned listed = 0;

    memcpy(names, err->missing, sizeof names);
    for (const char *name = strsep(&rest, "\n"); name; name = strsep(&rest, "\n")) {
        if (name[0] == '\0')
            continue;
        (void)fputs("  missing: ", stderr);
        hc_text_escape(stderr, name, "");
        (void)fputc('\n', stderr);
        listed++;
    }
    if (listed > 0 && err->missing_count > listed)
        (void)fprintf(stderr, "  and %u more\n", err->missing_count - listed);
}

void hc_output_hint(const struct hc_error *err, char *hint, unsigned size)
{
    const char *token = "to use your own Hub token, put it into HUBCACHE_HUB_TOKEN or "
                        "give --hub-token-file FILE";

    hint[0] = '\0';
    if (err->retry_after_ms > 0)
        (void)snprintf(hint, size, "try again in %u s",
                       err->retry_after_ms / 1000 + (err->retry_after_ms % 1000 != 0));
    else if (err->link[0] != '\0')
        (void)snprintf(hint, size, "see %s; %s", err->link, token);
    else if (err->reason == HC_HUB_UNAUTHORIZED)
        (void)snprintf(hint, size, "%s", token);
    else if (err->reason == HC_CALLER_UNAUTHENTICATED)
        (void)snprintf(hint, size,
                       "put the token for hubcache into HUBCACHE_TOKEN or give "
                       "--bearer-token-file FILE");
}

int hc_output_print_failure(const struct hc_error *err)
{
    char hint[HINT_MAX];

    print_message(err->message);
    print_missing_names(err);
    hc_output_hint(err, hint, sizeof hint);
    if (hint[0] != '\0')
        print_message(hint);
    return (int)hc_reason_exit(err->reason);
}

void hc_output_print_note(const char *message)
{
    print_message(message);
}

int hc_output_flush(struct hc_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return hc_fail(err, HC_INTERNAL, "standard output: %s", strerrordesc_np(errno));
}

void hc_output_print_field(const char *name, const char *value)
{
    (void)printf("%s: ", name);
    hc_text_escape(stdout, value, "");
    (void)fputc('\n', stdout);
}

/* A program gets the bytes that open(2) takes. */
int hc_output_print_path(const char *text, struct hc_error *err)
{
    if (isatty(STDOUT_FILENO))
        hc_text_escape(stdout, text, "");
    else
        (void)fputs(text, stdout);
    (void)fputc('\n', stdout);
    return hc_output_flush(err);
}

int hc_output_print_json(char *json, struct hc_error *err)
{
    int result;

    if (!json)
        return hc_fail(
            err, HC_INTERNAL,
            "the answer cannot be written as JSON: is the mount's path UTF-8?");
    hc_text_escape(stdout, json, ""); /* as JSON does: what a program reads is the same */
    (void)fputc('\n', stdout);
    result = hc_output_flush(err);
    free(json);
    return result;
}
