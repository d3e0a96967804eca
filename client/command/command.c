/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options before and after the subcommand mean the same: the same argp child reads both.
 */
#include "command.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "units.h"

#include <hubcache/repo.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_MAX = 8192, MESSAGE_MAX = 512 };

enum key {
    KEY_SERVER = 256,
    KEY_MOUNT,
    KEY_JSON,
    KEY_TIMEOUT,
    KEY_BEARER_TOKEN_FILE,
    KEY_HUB_TOKEN_FILE,
    KEY_REVISION,
    KEY_REPO_TYPE,
    KEY_LOCAL_FILES_ONLY,
    KEY_FORCE,
    KEY_MAX_STALENESS
};

static int64_t parse_duration(const struct argp_state *state, const char *text)
{
    int64_t milliseconds = 0;

    if (hc_duration_parse(text, &milliseconds) < 0)
        hc_command_refuse(state, "'%s' is not a duration: write 500ms, 60s, 5m, 2h or 1d",
                          text);
    return milliseconds;
}

static error_t command_option_parse(int key, char *arg, struct argp_state *state)
{
    struct hc_command_options *command_options = state->input;

    switch (key) {
    case KEY_SERVER:
        command_options->server = arg;
        return 0;
    case KEY_MOUNT:
        command_options->mount = arg;
        return 0;
    case KEY_JSON:
        command_options->json = true;
        return 0;
    case KEY_TIMEOUT:
        command_options->timeout_ms = parse_duration(state, arg);
        return 0;
    case KEY_BEARER_TOKEN_FILE:
        command_options->bearer_token_file = arg;
        return 0;
    case KEY_HUB_TOKEN_FILE:
        command_options->hub_token_file = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static enum hc_repo_type parse_repo_type(const struct argp_state *state, const char *name)
{
    enum hc_repo_type type = hc_repo_type_from_name(name);

    if (type == HC_REPO_DEFAULT)
        hc_command_refuse(
            state, "'%s' is not a repo type: write model, dataset, space or kernel",
            name);
    return type;
}

static error_t resolve_option_parse(int key, char *arg, struct argp_state *state)
{
    struct hc_resolve_options *resolve_options = state->input;

    switch (key) {
    case KEY_REVISION:
        resolve_options->repo.revision = arg;
        return 0;
    case KEY_REPO_TYPE:
        resolve_options->repo.type = parse_repo_type(state, arg);
        return 0;
    case KEY_LOCAL_FILES_ONLY:
        resolve_options->fetch.local_files_only = true;
        return 0;
    case KEY_FORCE:
        resolve_options->fetch.force_download = true;
        return 0;
    case KEY_MAX_STALENESS:
        resolve_options->fetch.has_max_staleness = true;
        resolve_options->fetch.max_staleness_ms = parse_duration(state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option command_argp_options[] = {
    {"server", KEY_SERVER, "ADDRESS", 0,
     "Ask the hubcached at host:port or unix:/path (HUBCACHE_SERVER, else "
     "127.0.0.1:50051)",
     0},
    {"mount", KEY_MOUNT, "DIR", 0,
     "Answer with paths below DIR, where this machine mounts the cache root "
     "(HUBCACHE_MOUNT, else the server's own paths)",
     0},
    {"json", KEY_JSON, NULL, 0, "Write the whole answer as one JSON object", 0},
    {"timeout", KEY_TIMEOUT, "DURATION", 0,
     "Give up after DURATION, such as 500ms, 60s or 5m; by default wait for ever", 0},
    {"hub-token-file", KEY_HUB_TOKEN_FILE, "FILE", 0,
     "Use the Hub token in FILE (HUBCACHE_HUB_TOKEN, else the server's own)", 0},
    {"bearer-token-file", KEY_BEARER_TOKEN_FILE, "FILE", 0,
     "Identify to hubcache with the token in FILE (HUBCACHE_TOKEN)", 0},
    {0},
};

static const struct argp_option resolve_argp_options[] = {
    {"revision", KEY_REVISION, "REVISION", 0,
     "Branch, tag, refs/pr/N or commit; by default main", 0},
    {"repo-type", KEY_REPO_TYPE, "TYPE", 0,
     "model, dataset, space or kernel; by default model", 0},
    {"local-files-only", KEY_LOCAL_FILES_ONLY, NULL, 0, "Do not ask the Hub", 0},
    {"force", KEY_FORCE, NULL, 0, "Fetch the bytes again even if they are cached", 0},
    {"max-staleness", KEY_MAX_STALENESS, "DURATION", 0,
     "Take what the Hub said no longer ago than this; 0 asks it now", 0},
    {0},
};

const struct argp hc_command_argp = {.options = command_argp_options,
                                     .parser = command_option_parse};
const struct argp hc_resolve_argp = {.options = resolve_argp_options,
                                     .parser = resolve_option_parse};

/* From the file, else the variable, else none: "". */
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

void hc_command_refuse(const struct argp_state *state, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    argp_error(state, "%s", message); /* NOLINT(concurrency-mt-unsafe) */
}

struct hc_client *hc_command_connect(const struct hc_command_options *command_options,
                                     struct hc_error *err)
{
    char bearer[TOKEN_MAX], hub[TOKEN_MAX];
    struct hc_client_options options = {.server = command_options->server,
                                        .mount = command_options->mount,
                                        .timeout_ms = command_options->timeout_ms};
    struct hc_client *client;

    if (token_read(command_options->bearer_token_file, "HUBCACHE_TOKEN", bearer, err) <
            0 ||
        token_read(command_options->hub_token_file, "HUBCACHE_HUB_TOKEN", hub, err) < 0)
        return NULL;
    options.bearer_token = bearer[0] != '\0' ? bearer : NULL;
    options.hub_token = hub[0] != '\0' ? hub : NULL;
    client = hc_client_open(&options, err);
    explicit_bzero(bearer, sizeof bearer);
    explicit_bzero(hub, sizeof hub);
    return client;
}
