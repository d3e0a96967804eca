/* SPDX-License-Identifier: Apache-2.0 */
/* `hubcache ls` and `hubcache du`: what is in the cache, and what room it takes. */
#ifndef HC_COMMAND_INVENTORY_H
#define HC_COMMAND_INVENTORY_H

#include "subcommand.h"

extern const struct hc_subcommand hc_ls_command, hc_du_command;

#endif
