/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One argp child parses the options that stand before the name of a subcommand and those
 * that stand after it, so that both places mean the same. An option that is given in both
 * places has the value after the name. Options that are not given are left to the client
 * library, which reads the environment and knows the defaults; the Hub token alone is
 * read here, since the library takes it as a text and not as the name of a file.
 */
#include "command.h"

#include "base/error.h"
#include "base/file.h"
#include "base/quantity.h"
#include "base/text.h"
#include "output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_MAX = 8192, MESSAGE_MAX = 512, SAY_AFTER_MS = 1000 };

enum { KEY_HELP = 'h' };

enum {
    KEY_SERVER = 256,
    KEY_MOUNT,
    KEY_JSON,
    KEY_TIMEOUT,
    KEY_BEARER_TOKEN_FILE,
    KEY_HUB_TOKEN_FILE,
    KEY_TOKEN,
    KEY_WAIT,
    KEY_TLS,
    KEY_TLS_CA,
    KEY_TLS_CERT,
    KEY_TLS_KEY,
    KEY_TLS_SERVER_NAME
};

static error_t tls_option_parse(int key, const char *arg,
                                struct hc_command_options *options)
{
    switch (key) {
    case KEY_TLS:
        options->tls = true;
        return 0;
    case KEY_TLS_CA:
        options->tls_ca_file = arg;
        return 0;
    case KEY_TLS_CERT:
        options->tls_cert_file = arg;
        return 0;
    case KEY_TLS_KEY:
        options->tls_key_file = arg;
        return 0;
    case KEY_TLS_SERVER_NAME:
        options->tls_server_name = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t token_option_parse(int key, const char *arg,
                                  const struct argp_state *state)
{
    struct hc_command_options *options = state->input;

    switch (key) {
    case KEY_BEARER_TOKEN_FILE:
        options->bearer_token_file = arg;
        return 0;
    case KEY_HUB_TOKEN_FILE:
        options->hub_token_file = arg;
        return 0;
    case KEY_TOKEN:
        hc_command_refuse(state,
                          "a token is not taken from the command line, which other "
                          "users of this machine can read: write it to a file for "
                          "--token-file or --hub-token-file, or set HUBCACHE_TOKEN "
                          "or HUBCACHE_HUB_TOKEN");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The library takes 0 for its own default. */
static int64_t wait_parse(const struct argp_state *state, const char *text)
{
    int64_t milliseconds = hc_command_duration(state, text);

    return milliseconds > 0 ? milliseconds : -1;
}

/* Keeps what the option says; the texts stay in argv. */
static error_t command_option_parse(int key, char *arg, struct argp_state *state)
{
    struct hc_command_options *options = state->input;

    switch (key) {
    case KEY_HELP:      /* ends the process */
        argp_state_help(/* NOLINT(concurrency-mt-unsafe) */
                        state, stdout, ARGP_HELP_STD_HELP);
        return 0;
    case KEY_SERVER:
        options->server = arg;
        return 0;
    case KEY_MOUNT:
        options->mount = arg;
        return 0;
    case KEY_JSON:
        options->json = true;
        return 0;
    case KEY_TIMEOUT:
        options->timeout_ms = hc_command_duration(state, arg);
        return 0;
    case KEY_WAIT:
        options->wait_ms = wait_parse(state, arg);
        return 0;
    case KEY_BEARER_TOKEN_FILE:
    case KEY_HUB_TOKEN_FILE:
    case KEY_TOKEN:
        return token_option_parse(key, arg, state);
    default:
        return tls_option_parse(key, arg, options);
    }
}

static const struct argp_option command_argp_options[] = {
    {"server", KEY_SERVER, "ADDRESS", 0,
     "Ask the hubcached at host:port, https://host:port, unix:/path, or those at "
     "dns:///host:port (HUBCACHE_SERVER, else 127.0.0.1:50051)",
     0},
    {"mount", KEY_MOUNT, "DIR", 0,
     "Answer with paths below DIR, where this machine mounts the cache root "
     "(HUBCACHE_MOUNT, else the server's own paths)",
     0},
    {"json", KEY_JSON, NULL, 0, "Write the whole answer as one JSON object", 0},
    {"timeout", KEY_TIMEOUT, "DURATION", 0,
     "Give up after DURATION, such as 500ms, 60s or 5m; by default wait for ever", 0},
    {"wait", KEY_WAIT, "DURATION", 0,
     "Try again for DURATION while the server is out of reach or busy (30s); 0: try once",
     0},
    {"tls", KEY_TLS, NULL, 0,
     "Use TLS, as every option of TLS and https:// do (HUBCACHE_TLS=1)", 0},
    {"tls-ca", KEY_TLS_CA, "FILE", 0,
     "Trust servers that the authorities in FILE have signed (HUBCACHE_TLS_CA, else the "
     "system's)",
     0},
    {"tls-cert", KEY_TLS_CERT, "FILE", 0,
     "Show the server the client certificate in FILE (HUBCACHE_TLS_CERT)", 0},
    {"tls-key", KEY_TLS_KEY, "FILE", 0, "Its private key (HUBCACHE_TLS_KEY)", 0},
    {"tls-server-name", KEY_TLS_SERVER_NAME, "NAME", 0,
     "The name in the server's certificate (HUBCACHE_TLS_SERVER_NAME, else the host)", 0},
    {"hub-token-file", KEY_HUB_TOKEN_FILE, "FILE", 0,
     "Use the Hub token in FILE (HUBCACHE_HUB_TOKEN, else the server's own)", 0},
    {"token-file", KEY_BEARER_TOKEN_FILE, "FILE", 0,
     "Identify to hubcache with the token in FILE (HUBCACHE_TOKEN, HUBCACHE_TOKEN_FILE)",
     0},
    {"bearer-token-file", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    /* Without these, argp would take the token for the abbreviated option's file. */
    {"token", KEY_TOKEN, "TOKEN", OPTION_HIDDEN, NULL, 0},
    {"bearer-token", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"hub-token", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {NULL, KEY_HELP, NULL, 0, "The same as --help", -1},
    {0},
};

const struct argp hc_command_argp = {.options = command_argp_options,
                                     .parser = command_option_parse};
/*
 * Reads the token from the file, else from the variable; "" when there is neither. A file
 * that was named and holds no token is an error: without one, the call would be made as
 * another caller, or with the server's own token.
 */
static int token_read(const char *file, const char *variable, char token[TOKEN_MAX],
                      struct hc_error *err)
{
    const char *value = getenv(variable);
    int found;

    if (!file) {
        if (hc_format(token, TOKEN_MAX, "%s", value ? value : "") < 0)
            return hc_fail(err, HC_INVALID_OPTIONS, "the token in %s is too long",
                           variable);
        (void)hc_text_trim(token);
        return 0;
    }
    found = hc_file_read_linked(file, token, TOKEN_MAX, err);
    if (found < 0)
        return -1;
    if (found == 0 || hc_text_trim(token)[0] == '\0')
        return hc_fail(err, HC_INVALID_OPTIONS, "there is no token in '%s'", file);
    return 0;
}

/* argp's functions are not thread-safe; no other thread uses them. */
void hc_command_parse(const struct argp *argp, unsigned flags, int argc, char **argv,
                      void *input)
{
    argp_err_exit_status = HC_EXIT_USAGE;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe) */
    (void)argp_parse(argp, argc, argv, flags, NULL, input);
}

/* argp_error() takes a format too, but the compiler does not check its arguments. */
void hc_command_refuse(const struct argp_state *state, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    argp_error(state, "%s", message); /* NOLINT(concurrency-mt-unsafe) */
}

int64_t hc_command_duration(const struct argp_state *state, const char *text)
{
    int64_t milliseconds = 0;

    if (hc_duration_parse(text, &milliseconds) < 0)
        hc_command_refuse(state, "'%s' is not a duration: write 500ms, 60s, 5m, 2h or 1d",
                          text);
    return milliseconds;
}

/* A hc_client_retry_fn. */
static void wait_note(void *ctx, const struct hc_error *failure, int64_t waited_ms)
{
    struct hc_command_options *options = ctx;
    char note[MESSAGE_MAX + 32];

    if (waited_ms < SAY_AFTER_MS || atomic_exchange(&options->has_said_to_wait, true))
        return;
    (void)snprintf(note, sizeof note, "trying again: %s", failure->message);
    hc_output_print_note(note);
}

/* The client copies the token; the copy here is wiped, also when opening fails. */
struct hc_client *hc_command_connect(struct hc_command_options *options,
                                     struct hc_error *err)
{
    char hub[TOKEN_MAX];
    struct hc_client_options client_options = {.server = options->server,
                                               .mount = options->mount,
                                               .bearer_token_file =
                                                   options->bearer_token_file,
                                               .timeout_ms = options->timeout_ms,
                                               .wait_ms = options->wait_ms,
                                               .retry = wait_note,
                                               .retry_ctx = options,
                                               .tls = options->tls,
                                               .tls_ca_file = options->tls_ca_file,
                                               .tls_cert_file = options->tls_cert_file,
                                               .tls_key_file = options->tls_key_file,
                                               .tls_server_name =
                                                   options->tls_server_name};
    struct hc_client *client = NULL;

    if (token_read(options->hub_token_file, "HUBCACHE_HUB_TOKEN", hub, err) == 0) {
        client_options.hub_token = hub[0] != '\0' ? hub : NULL;
        client = hc_client_open(&client_options, err);
    }
    explicit_bzero(hub, sizeof hub);
    return client;
}
