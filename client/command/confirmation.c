/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question goes to standard error, for standard output may be a file; only "y" and
 * "yes" are consent, and so is nothing that comes from a pipe.
 */
#include "confirmation.h"

#include "base/error.h"
#include "base/text.h"

#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum { ANSWER_MAX = 16, KEY_DRY_RUN = 1536, KEY_YES = 'y' };

int hc_confirm_check(const struct hc_command_options *options, struct hc_error *err)
{
    if (!options->json)
        return 0;
    return hc_fail(err, HC_CANCELLED,
                   "nothing is done without consent, and with --json there is no "
                   "question: give --yes, or --dry-run to see what would be removed");
}

int hc_confirm(const char *question, struct hc_error *err)
{
    char answer[ANSWER_MAX] = "";

    if (!isatty(STDIN_FILENO))
        return hc_fail(err, HC_CANCELLED,
                       "nothing is done without consent: standard input is no terminal, "
                       "so give --yes");
    hc_text_escape(stderr, question, "");
    (void)fputs(" [y/N] ", stderr);
    if (!fgets(answer, sizeof answer, stdin))
        answer[0] = '\0';
    (void)hc_text_trim(answer);
    if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0)
        return 0;
    return hc_fail(err, HC_CANCELLED, "nothing is done: the answer was not 'yes'");
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t consent_option_parse(int key, char *arg, struct argp_state *state)
{
    struct hc_consent *consent = state->input;

    (void)arg;
    switch (key) {
    case KEY_DRY_RUN:
        consent->is_dry_run = true;
        return 0;
    case KEY_YES:
        consent->is_agreed = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option consent_list[] = {
    {"dry-run", KEY_DRY_RUN, NULL, 0, "Only tell what would be removed, and what is held",
     0},
    {"yes", KEY_YES, NULL, 0, "Do not ask", 0},
    {0},
};

const struct argp hc_consent_argp = {.options = consent_list,
                                     .parser = consent_option_parse};
