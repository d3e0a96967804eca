/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question before a command removes something, and the options that answer it. Used
 * by the main thread.
 */
#ifndef HC_COMMAND_CONFIRMATION_H
#define HC_COMMAND_CONFIRMATION_H

#include "command.h"

#include <hubcache/error.h>

/* What the options say. Without either, the command shows its plan and asks. */
struct hc_consent {
    bool is_dry_run, is_agreed;
};

/* --dry-run, --yes; the input is a struct hc_consent. */
extern const struct argp hc_consent_argp;

/* CANCELLED with --json: the one object on standard output leaves no place for a plan. */
int hc_confirm_check(const struct hc_command_options *options, struct hc_error *err);

/*
 * Asks "<question> [y/N]" on the terminal. 0: the person agrees. -1, CANCELLED: the
 * person does not, or standard input is no terminal; `--yes` is then what to give.
 */
int hc_confirm(const char *question, struct hc_error *err);

#endif
