/* SPDX-License-Identifier: Apache-2.0 */
/* `hubcache ls`: what is in the cache. */
#ifndef HC_COMMAND_INVENTORY_H
#define HC_COMMAND_INVENTORY_H

#include "subcommand.h"

extern const struct hc_subcommand hc_ls_command;

#endif
