/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that every subcommand has, and the subcommands. Tokens come from files or
 * the environment, never from the command line, where every user of the machine could
 * read them. Used by the main thread, for argp is not thread-safe.
 */
#ifndef HC_COMMAND_COMMAND_H
#define HC_COMMAND_COMMAND_H

#include <hubcache-client/client.h>

#include <argp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct hc_command_options { /* the texts are those of argv */
    const char *server;
    const char *mount;
    const char *bearer_token_file;
    const char *hub_token_file;
    int64_t timeout_ms;
    int64_t wait_ms; /* as in hc_client_options */
    bool tls;
    const char *tls_ca_file, *tls_cert_file, *tls_key_file, *tls_server_name;
    bool json;
    atomic_bool has_said_to_wait;
};

/* A child for argp; its input is a struct hc_command_options. */
extern const struct argp hc_command_argp;

/* Parses `argv` into `input`. Wrong usage ends the process with HC_EXIT_USAGE. */
void hc_command_parse(const struct argp *argp, unsigned flags, int argc, char **argv,
                      void *input);

/* Prints what is wrong with the usage and ends the process with HC_EXIT_USAGE. */
void hc_command_refuse(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The milliseconds of a duration such as "60s"; refuses any other text. */
int64_t hc_command_duration(const struct argp_state *state, const char *text);

/*
 * NULL on failure; the caller closes. `options` must stay until then. If a call waits for
 * the server for more than a second, standard error says so, once.
 */
struct hc_client *hc_command_connect(struct hc_command_options *options,
                                     struct hc_error *err);

#endif
