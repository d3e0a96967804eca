/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache file REPO FILENAME...: the paths of files. Several names are one question,
 * answered from one commit: all of them or none.
 */
#include "base/auto.h"
#include "common.h"
#include "json.h"
#include "output.h"

#include <stdbool.h>
#include <stddef.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_files, hc_client_files_clear)

enum { KEY_SUBFOLDER = 512 };

struct command {
    struct hc_common *common;
    struct hc_choice choice;
    const char *subfolder;
    const char *const *names;
    size_t count;
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->choice;
        state->child_inputs[1] = command->common;
        return 0;
    case KEY_SUBFOLDER:
        command->subfolder = arg;
        return 0;
    case ARGP_KEY_ARGS: /* all that is left are arguments */
        command->choice.repo.id = state->argv[state->next];
        command->names = (const char *const *)&state->argv[state->next + 1];
        command->count = (size_t)(state->argc - state->next - 1);
        return 0;
    case ARGP_KEY_END:
        if (command->count == 0)
            hc_common_refuse(state, "a repo and at least one file name are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&hc_choice_argp, 0, NULL, 0},
    {&hc_common_argp, 0, "Options of every command:", 1},
    {0},
};

static const struct argp_option options[] = {
    {"subfolder", KEY_SUBFOLDER, "DIR", 0, "Look for the names in this folder", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "REPO FILENAME...",
    .doc = "Writes the path of each file of REPO, one per line, downloading what is not "
           "cached.",
    .children = children,
};

static void note_stale(bool stale)
{
    if (stale)
        hc_output_note("the Hub could not be asked; this is what it said last time");
}

static int resolve_one(struct hc_client *client, const struct command *command,
                       struct hc_error *err)
{
    struct hc_client_file_request request = {
        .repo = command->choice.repo,
        .filename = command->names[0],
        .subfolder = command->subfolder,
        .fetch = command->choice.fetch,
    };
    HC_AUTO_VALUE(hc_client_file) file = {0};

    if (hc_client_resolve_file(client, &request, &file, err) < 0)
        return -1;
    note_stale(file.stale);
    if (command->common->json)
        return hc_output_json(hc_json_file(&file), err);
    return hc_output_line(file.path, err);
}

static int resolve_all(struct hc_client *client, const struct command *command,
                       struct hc_error *err)
{
    struct hc_client_files_request request = {
        .repo = command->choice.repo,
        .filenames = command->names,
        .filename_count = command->count,
        .subfolder = command->subfolder,
        .fetch = command->choice.fetch,
    };
    HC_AUTO_VALUE(hc_client_files) files = {0};

    if (hc_client_resolve_files(client, &request, &files, err) < 0)
        return -1;
    note_stale(files.count > 0 && files.items[0].stale);
    if (command->common->json)
        return hc_output_json(hc_json_files(&files), err);
    for (size_t i = 0; i < files.count; i++) {
        if (hc_output_line(files.items[i].path, err) < 0)
            return -1;
    }
    return 0;
}

int hc_command_file(int argc, char **argv, struct hc_common *common)
{
    struct command command = {.common = common};
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;
    int result;

    hc_common_parse(&argp, 0, argc, argv, &command);
    client = hc_common_open(common, &err);
    if (!client)
        return hc_output_failure(&err);
    result = command.count == 1 ? resolve_one(client, &command, &err)
                                : resolve_all(client, &command, &err);
    return result < 0 ? hc_output_failure(&err) : HC_EXIT_OK;
}
