/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program test-hub: a hub with repos from a directory, which runs until SIGTERM or
 * SIGINT. Tests in other languages control it through /_test/ (see hub_control.c).
 */
#include "test_hub.h"

#include "base/auto.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_NO_XET = 256 };

struct arguments {
    struct test_hub_options options;
    const char *repos;
    const char *port_file;
};

static const struct argp_option OPTIONS[] = {
    {"repos", 'r', "DIR", 0, "Serve DIR/models/ORG/NAME/REVISION/… and its like", 0},
    {"port", 'p', "N", 0, "Listen for the hub on port N (default: any)", 0},
    {"cdn-port", 'c', "N", 0, "Listen for the CDN on port N (default: any)", 0},
    {"token", 't', "T", 0, "The one valid token (default: every token is valid)", 0},
    {"page-size", 's', "N", 0, "Entries of one page of a tree (default: 1000)", 0},
    {"port-file", 'f', "FILE", 0, "Write the two port numbers to FILE", 0},
    {"no-xet", KEY_NO_XET, NULL, 0, "Leave out all headers and fields of Xet", 0},
    {0},
};

static unsigned parse_number(const struct argp_state *state, const char *text,
                             unsigned long max)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || number > max)
        // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet
        argp_error(state, "'%s' is no number from 0 to %lu", text, max);
    return (unsigned)number;
}

static error_t option_parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'r':
        arguments->repos = text;
        return 0;
    case 'p':
        arguments->options.port = (unsigned short)parse_number(state, text, 65535);
        return 0;
    case 'c':
        arguments->options.cdn_port = (unsigned short)parse_number(state, text, 65535);
        return 0;
    case 't':
        arguments->options.valid_token = text;
        return 0;
    case 's':
        arguments->options.page_size = parse_number(state, text, 1000000);
        return 0;
    case 'f':
        arguments->port_file = text;
        return 0;
    case KEY_NO_XET:
        arguments->options.no_xet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Written under another name first: a program that waits for the file reads it whole. */
static int write_ports(const struct test_hub *hub, const char *path)
{
    HC_AUTO_FREE char *private = NULL;
    FILE *file;

    if (asprintf(&private, "%s.new", path) < 0)
        return -1;
    file = fopen(private, "we");
    if (!file)
        return -1;
    (void)fprintf(file, "%s %s\n", strrchr(test_hub_endpoint(hub), ':') + 1,
                  strrchr(test_hub_cdn(hub), ':') + 1);
    return fclose(file) == 0 ? rename(private, path) : -1;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS, option_parse, NULL, "A Hub on loopback, for tests and demonstrations.",
        NULL,    NULL,         NULL};
    struct arguments arguments = {0};
    struct test_hub *hub;
    sigset_t ends;
    int signal_number;

    // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0)
        return EXIT_FAILURE;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &ends,
                          NULL); /* before there are threads to inherit it */
    hub = test_hub_start(&arguments.options);
    if (arguments.repos)
        test_hub_load(hub, arguments.repos);
    if (arguments.port_file && write_ports(hub, arguments.port_file) < 0) {
        (void)fprintf(stderr, "test-hub: %s: %s\n", arguments.port_file,
                      strerrordesc_np(errno));
        return EXIT_FAILURE;
    }
    (void)printf("listening %s cdn %s\n", test_hub_endpoint(hub), test_hub_cdn(hub));
    (void)fflush(stdout);
    (void)sigwait(&ends, &signal_number);
    test_hub_stop(hub);
    return EXIT_SUCCESS;
}
