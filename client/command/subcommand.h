/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands. Each is a row of a table: its name, its arguments and options, and the
 * function that makes the call and prints the answer. Used by the main thread, for argp
 * is not thread-safe.
 */
#ifndef HC_COMMAND_SUBCOMMAND_H
#define HC_COMMAND_SUBCOMMAND_H

#include "base/error.h"
#include "command.h"
#include "resolve_options.h"

#include <stdbool.h>
#include <stddef.h>

struct hc_subcommand {
    const char *name;
    const char *arguments;
    const char *summary;
    const struct argp_child *children; /* its options */
    bool has_repo;
    size_t names_min, names_max; /* of file names after the repo */

    /* Makes the call, and prints the answer. */
    int (*run)(struct hc_client *client, const struct hc_resolve_options *options,
               struct hc_error *err);
};

/* NULL when there is none of that name. */
const struct hc_subcommand *hc_subcommand_find(const char *name);

/* Parses the options, connects, runs, and returns the exit code. */
int hc_subcommand_run(const struct hc_subcommand *subcommand, int argc, char **argv,
                      struct hc_command_options *common);

#endif
