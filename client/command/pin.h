/* SPDX-License-Identifier: Apache-2.0 */
/* `hubcache pin` and `hubcache unpin`: a pinned revision is not removed. */
#ifndef HC_COMMAND_PIN_H
#define HC_COMMAND_PIN_H

#include "subcommand.h"

extern const struct hc_subcommand hc_pin_command, hc_unpin_command;

#endif
