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

/*
 * What the options of a command of the service Cache begin with; the rest is the
 * command's own. All is zero before the options are parsed, and borrowed from argv.
 */
struct hc_cache_command {
    struct hc_command_options *common;
    const char *const *arguments; /* such as names of repos */
    size_t argument_count;
    int exit_status; /* set by the command, when it succeeds with another one than 0 */
};

struct hc_subcommand {
    const char *name;
    const char *arguments;
    const char *summary;
    const struct argp_child *children; /* its options, those of every command last */
    bool has_repo;
    size_t names_min, names_max; /* of file names after the repo */

    /* Makes the call, and prints the answer. */
    int (*run)(struct hc_client *client, const struct hc_resolve_options *options,
               struct hc_error *err);

    /*
     * Of a command of the service Cache, in place of `run`: it has so many arguments,
     * and its options, the input of `children`, are a struct of that size which begins
     * with a struct hc_cache_command. `clear` is optional.
     */
    size_t arguments_min, arguments_max;
    size_t options_size;
    int (*run_cache)(struct hc_client *client, void *options, struct hc_error *err);
    void (*clear)(void *options);
};

enum { HC_ARGUMENTS_ANY = 1 << 30 };

/* The children of a command end with these two. */
#define HC_COMMON_OPTIONS {&hc_command_argp, 0, "Options of every command:", 1}, {0}

/* NULL when there is none of that name. */
const struct hc_subcommand *hc_subcommand_find(const char *name);

/* "file, snapshot, …", for messages. */
enum { HC_SUBCOMMAND_NAMES_MAX = 256 };
void hc_subcommand_names(char text[HC_SUBCOMMAND_NAMES_MAX]);

/* Parses the options, connects, runs, and returns the exit code. */
int hc_subcommand_run(const struct hc_subcommand *subcommand, int argc, char **argv,
                      struct hc_command_options *common);

#endif
