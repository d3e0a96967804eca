/* SPDX-License-Identifier: Apache-2.0 */
/* `hubcache lease`: which callers use what, and the end of a lease. */
#ifndef HC_COMMAND_LEASE_H
#define HC_COMMAND_LEASE_H

#include "subcommand.h"

extern const struct hc_subcommand hc_lease_command;

/* Says the id of a lease on standard error; nothing for NULL and "". */
void hc_lease_print_note(const char *lease_id);

#endif
