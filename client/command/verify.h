/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command verify: blobs against their names. Used by the main thread.
 */
#ifndef HC_COMMAND_VERIFY_H
#define HC_COMMAND_VERIFY_H

#include "subcommand.h"

extern const struct hc_subcommand hc_verify_command;

#endif
