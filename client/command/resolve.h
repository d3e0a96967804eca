/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of the service Resolver: `file` prints the paths of files, `snapshot` the
 * directory of a repo, `download` the one or the other, `cat` the bytes of a file, `info`
 * what the server says about itself.
 */
#ifndef HC_COMMAND_RESOLVE_H
#define HC_COMMAND_RESOLVE_H

#include "subcommand.h"

extern const struct hc_subcommand hc_file_command, hc_snapshot_command,
    hc_download_command, hc_cat_command, hc_info_command;

#endif
