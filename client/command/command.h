/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that every subcommand has, those of the two that resolve something, and how
 * a subcommand is run. Tokens come from files or the environment, never from the command
 * line, where every user of the machine could read them.
 */
#ifndef HC_COMMAND_COMMAND_H
#define HC_COMMAND_COMMAND_H

#include <hubcache-client/client.h>

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

struct hc_command_options {
    const char *server;
    const char *mount;
    const char *bearer_token_file;
    const char *hub_token_file;
    int64_t timeout_ms;
    bool json;
};

struct hc_resolve_options { /* what to resolve and how */
    struct hc_client_repo repo;
    struct hc_client_fetch fetch;
};

/* Children for argp; their inputs are a struct hc_command_options and a struct hc_resolve_options. */
extern const struct argp hc_command_argp;
extern const struct argp hc_resolve_argp;

/* Reads `argv` into `input`; ends the process, with USAGE, where it makes no sense. */
void hc_command_parse(const struct argp *argp, unsigned flags, int argc, char **argv,
                      void *input);

/* Says what makes no sense and ends the process with USAGE. */
void hc_command_refuse(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* NULL on failure; the caller closes. */
struct hc_client *hc_command_connect(const struct hc_command_options *command_options,
                                     struct hc_error *err);

/* Subcommands: argv[0] is what to call them in messages; they return the exit code. */
int hc_command_file(int argc, char **argv, struct hc_command_options *command_options);
int hc_command_snapshot(int argc, char **argv,
                        struct hc_command_options *command_options);
int hc_command_info(int argc, char **argv, struct hc_command_options *command_options);

#endif
