/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache: parses the options before the subcommand, and runs the subcommand. A signal
 * ends the process (interrupt.h). That drops the connection, by which the server notices
 * that this caller no longer waits.
 */
#include "command.h"
#include "interrupt.h"
#include "subcommand.h"

#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAP_KEPT_MAX = 32 * 1024 * 1024 }; /* bytes that are free */

struct command_line {
    struct hc_command_options options;
    const char *name; /* of the subcommand */
    int name_index;   /* in argv */
};

/* argp looks for this symbol, which must therefore be visible outside the program. */
HC_PUBLIC const char *argp_program_version = "hubcache " HC_CLIENT_VERSION;

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t main_option_parse(int key, char *arg, struct argp_state *state)
{
    struct command_line *line = state->input;
    char names[HC_SUBCOMMAND_NAMES_MAX];

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &line->options;
        return 0;
    case ARGP_KEY_ARG: /* the rest is the subcommand's */
        line->name = arg;
        line->name_index = state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        hc_subcommand_names(names);
        hc_command_refuse(state, "a command is needed: %s or help", names);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&hc_command_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .parser = main_option_parse,
    .args_doc =
        "file REPO FILENAME...\nsnapshot REPO\ndownload REPO [FILENAME...]\n"
        "cat REPO FILENAME\npull REPO --to DIR\nls [REPO...]\ndu [REPO...]\n"
        "rm REPO[@REVISION]|COMMIT...\nprune [REPO...]\nevict [SIZE]\nverify [REPO...]\n"
        "pin REPO\nunpin REPO\nlease ls|renew|release [ID...]\n"
        "run REPO -- COMMAND...\nprefetch REPO...\npolicy test REPO [FILE]\n"
        "info\nhelp [COMMAND]",
    .doc =
        "Asks a hubcached where files of Hugging Face Hub repos are on this machine."
        "\vEach command has its own --help. Exit status: 0 done, 1 other failure, 2 "
        "usage, "
        "3 not found or not cached, 4 denied or unauthenticated, 5 unavailable, busy or "
        "out of time.",
    .children = children,
};

static int unknown_refuse(const char *name)
{
    char names[HC_SUBCOMMAND_NAMES_MAX];

    hc_subcommand_names(names);
    (void)fprintf(stderr, "hubcache: '%s' is not a command: write %s or help\n", name,
                  names);
    if (strcmp(name, "cache") == 0)
        (void)fputs("hubcache: what `hf cache ls` does is `hubcache ls`\n", stderr);
    return HC_EXIT_USAGE;
}

/* argv[0] is the name of the subcommand in its messages. */
static int subcommand_run(const struct hc_subcommand *subcommand, int argc, char **argv,
                          struct hc_command_options *options)
{
    char title[sizeof "hubcache " + 16];

    (void)snprintf(title, sizeof title, "hubcache %s", subcommand->name);
    argv[0] = title;
    return hc_subcommand_run(subcommand, argc, argv, options);
}

/* Prints the help of the command or of a subcommand, and ends the process. */
static int help_print(const char *name)
{
    char program[] = "hubcache", option[] = "--help";
    char *words[] = {program, option, NULL};
    struct command_line line = {0};
    const struct hc_subcommand *subcommand = name ? hc_subcommand_find(name) : NULL;

    if (name && !subcommand)
        return unknown_refuse(name);
    if (subcommand)
        return subcommand_run(subcommand, 2, words, &line.options);
    hc_command_parse(&argp, ARGP_IN_ORDER, 2, words, &line);
    return HC_EXIT_OK;
}

static int command_run(int argc, char **argv)
{
    struct command_line line = {0};
    const struct hc_subcommand *subcommand;

    hc_command_parse(&argp, ARGP_IN_ORDER, argc, argv, &line);
    if (strcmp(line.name, "help") == 0)
        return help_print(argv[line.name_index + 1]);
    subcommand = hc_subcommand_find(line.name);
    if (!subcommand)
        return unknown_refuse(line.name);
    return subcommand_run(subcommand, argc - line.name_index, argv + line.name_index,
                          &line.options);
}

/* Ends without what gRPC does at exit: a thread may still look on at a download. */
int main(int argc, char **argv)
{
    /* One heap: gRPC starts six threads, which do too little to have one each. */
    (void)mallopt(M_ARENA_MAX, 1); /* NOLINT(concurrency-mt-unsafe): no thread yet */
    /* A heap that shrinks after each message costs a page fault for each of its pages. */
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_MAX); /* NOLINT(concurrency-mt-unsafe) */
    /* What gRPC would log is in the message of the failure. */
    (void)setenv("GRPC_VERBOSITY", "NONE", 0); /* NOLINT(concurrency-mt-unsafe) */
    hc_interrupts_watch();
    _exit(command_run(argc, argv));
}
