/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command policy: what the server's policy decides, and why. Used by the main thread.
 */
#ifndef HC_COMMAND_POLICY_H
#define HC_COMMAND_POLICY_H

#include "subcommand.h"

extern const struct hc_subcommand hc_policy_command;

#endif
