/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache: parses the options before the subcommand, and runs the subcommand. A second
 * thread waits for SIGINT and SIGTERM and ends the process. That drops the connection, by
 * which the server notices that this caller no longer waits.
 */
#include "command.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
        hc_command_refuse(state, "a command is needed: file, snapshot or info");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&hc_command_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .parser = main_option_parse,
    .args_doc = "file REPO FILENAME...\nsnapshot REPO\ninfo",
    .doc =
        "Asks a hubcached where files of Hugging Face Hub repos are on this machine."
        "\vEach command has its own --help. Exit status: 0 done, 1 other failure, 2 "
        "usage, "
        "3 not found or not cached, 4 denied or unauthenticated, 5 unavailable, busy or "
        "out of time.",
    .children = children,
};

/* Ends the process with the status that a shell gives to a signal. */
static void *wait_for_interrupt(void *signals)
{
    const int signal_base = 128;
    int number = SIGINT;

    (void)sigwait(signals, &number);
    if (isatty(STDERR_FILENO))
        (void)!write(STDERR_FILENO, "\n", 1);
    _exit(signal_base + number);
}

/* Runs before there is any other thread: each inherits the mask of signals. */
static void watch_for_interrupts(void)
{
    static sigset_t signals;
    pthread_t thread;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
        return;
    if (pthread_create(&thread, NULL, wait_for_interrupt, &signals) == 0)
        (void)pthread_detach(thread);
    else
        (void)pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

int main(int argc, char **argv)
{
    struct {
        const char *name;
        char title[32]; /* its name in its own messages */
        int (*run)(int argc, char **argv, struct hc_command_options *options);
    } subcommands[] = {
        {"file", "hubcache file", hc_command_file},
        {"snapshot", "hubcache snapshot", hc_command_snapshot},
        {"info", "hubcache info", hc_command_info},
    };
    struct command_line line = {0};

    watch_for_interrupts();
    hc_command_parse(&argp, ARGP_IN_ORDER, argc, argv, &line);
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (strcmp(line.name, subcommands[i].name) == 0) {
            argv[line.name_index] = subcommands[i].title;
            return subcommands[i].run(argc - line.name_index, argv + line.name_index,
                                      &line.options);
        }
    }
    (void)fprintf(stderr,
                  "hubcache: '%s' is not a command: write file, snapshot or info\n",
                  line.name);
    return HC_EXIT_USAGE;
}
