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

enum { ANSWER_MAX = 16 };

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
