/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command prefetch: snapshots before they are asked for. Used by the main thread.
 */
#ifndef HC_COMMAND_PREFETCH_H
#define HC_COMMAND_PREFETCH_H

#include "subcommand.h"

extern const struct hc_subcommand hc_prefetch_command;

#endif
