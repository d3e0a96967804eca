/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache: picks the subcommand and sees to interrupts. A thread waits for them; ending
 * the process drops the connection, by which the server knows that nobody waits any more.
 */
#include "command.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct subcommand {
    const char *name;
    char title[32]; /* what it is called in its own messages */
    int (*run)(int argc, char **argv, struct hc_command_options *command_options);
};

struct command_line {
    struct hc_command_options command_options;
    const char *name;
    int rest; /* where the name stands in argv */
};

/* argp finds it by its name, which therefore must be visible to libc. */
HC_PUBLIC const char *argp_program_version = "hubcache " HC_CLIENT_VERSION;

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t main_option_parse(int key, char *arg, struct argp_state *state)
{
    struct command_line *line = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &line->command_options;
        return 0;
    case ARGP_KEY_ARG: /* the rest is the subcommand's */
        line->name = arg;
        line->rest = state->next - 1;
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

/* Ends the process as a shell reports the signal, the cursor on a line of its own. */
static void *wait_for_interrupt(void *signals)
{
    const int signal_base = 128;
    int number = SIGINT;

    (void)sigwait(signals, &number);
    if (isatty(STDERR_FILENO))
        (void)!write(STDERR_FILENO, "\n", 1);
    _exit(signal_base + number);
}

/* Before any other thread: all of them inherit the mask. */
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
    struct subcommand subcommands[] = {
        {"file", "hubcache file", hc_command_file},
        {"snapshot", "hubcache snapshot", hc_command_snapshot},
        {"info", "hubcache info", hc_command_info},
    };
    struct command_line line = {0};

    watch_for_interrupts();
    hc_command_parse(&argp, ARGP_IN_ORDER, argc, argv, &line);
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (strcmp(line.name, subcommands[i].name) == 0) {
            argv[line.rest] = subcommands[i].title;
            return subcommands[i].run(argc - line.rest, argv + line.rest,
                                      &line.command_options);
        }
    }
    (void)fprintf(stderr, "hubcache: '%s' is no command: file, snapshot and info are\n",
                  line.name);
    return HC_EXIT_USAGE;
}
