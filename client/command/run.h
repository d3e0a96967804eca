/* SPDX-License-Identifier: Apache-2.0 */
/* `hubcache run`: a program that uses a snapshot, which stays as long as it runs. */
#ifndef HC_COMMAND_RUN_H
#define HC_COMMAND_RUN_H

#include "subcommand.h"

extern const struct hc_subcommand hc_run_command;

#endif
