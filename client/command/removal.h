/* SPDX-License-Identifier: Apache-2.0 */
/* `hubcache rm` and `hubcache prune`: remove what is named, or what nothing refers to. */
#ifndef HC_COMMAND_REMOVAL_H
#define HC_COMMAND_REMOVAL_H

#include "subcommand.h"

extern const struct hc_subcommand hc_rm_command, hc_prune_command;

#endif
