/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pull`: the files of a snapshot in a cache of this machine's own, for a machine without
 * the cache volume. What it writes is the layout of the Hub's clients, so they read it
 * with HF_HUB_CACHE set to the directory. Used by the main thread.
 */
#ifndef HC_COMMAND_PULL_H
#define HC_COMMAND_PULL_H

#include "subcommand.h"

/*
 * Resolves the snapshot at the server, which fetches what it lacks, reads the files that
 * are not in the target yet, and prints the snapshot's path there. A call that was
 * interrupted is continued by the next one from the bytes that it has saved.
 */
extern const struct hc_subcommand hc_pull_command;

#endif
