/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache file REPO FILENAME...: the paths of files. Several names are one question,
 * answered from one commit: all of them or none.
 */
#include "base/auto.h"
#include "command.h"
#include "json.h"
#include "output.h"

#include <stdbool.h>
#include <stddef.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_files, hc_client_files_clear)

enum { KEY_SUBFOLDER = 512 };

struct file_command {
    struct hc_command_options *command_options;
    struct hc_resolve_options resolve_options;
    const char *subfolder;
    const char *const *names;
    size_t count;
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t file_option_parse(int key, char *arg, struct argp_state *state)
{
    struct file_command *file_command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &file_command->resolve_options;
        state->child_inputs[1] = file_command->command_options;
        return 0;
    case KEY_SUBFOLDER:
        file_command->subfolder = arg;
        return 0;
    case ARGP_KEY_ARGS: /* all that is left are arguments */
        file_command->resolve_options.repo.id = state->argv[state->next];
        file_command->names = (const char *const *)&state->argv[state->next + 1];
        file_command->count = (size_t)(state->argc - state->next - 1);
        return 0;
    case ARGP_KEY_END:
        if (file_command->count == 0)
            hc_command_refuse(state, "a repo and at least one file name are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&hc_resolve_argp, 0, NULL, 0},
    {&hc_command_argp, 0, "Options of every command:", 1},
    {0},
};

static const struct argp_option options[] = {
    {"subfolder", KEY_SUBFOLDER, "DIR", 0, "Look for the names in this folder", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = file_option_parse,
    .args_doc = "REPO FILENAME...",
    .doc = "Writes the path of each file of REPO, one per line, downloading what is not "
           "cached.",
    .children = children,
};

static void file_note_stale(bool stale)
{
    if (stale)
        hc_output_print_note(
            "the Hub could not be asked; this is what it said last time");
}

static int file_resolve_one(struct hc_client *client,
                            const struct file_command *file_command, struct hc_error *err)
{
    struct hc_client_file_request request = {
        .repo = file_command->resolve_options.repo,
        .filename = file_command->names[0],
        .subfolder = file_command->subfolder,
        .fetch = file_command->resolve_options.fetch,
    };
    HC_AUTO_VALUE(hc_client_file) file = {0};

    if (hc_client_resolve_file(client, &request, &file, err) < 0)
        return -1;
    file_note_stale(file.stale);
    if (file_command->command_options->json)
        return hc_output_print_json(hc_output_json_of_file(&file), err);
    return hc_output_print_path(file.path, err);
}

static int file_resolve_several(struct hc_client *client,
                                const struct file_command *file_command,
                                struct hc_error *err)
{
    struct hc_client_files_request request = {
        .repo = file_command->resolve_options.repo,
        .filenames = file_command->names,
        .filename_count = file_command->count,
        .subfolder = file_command->subfolder,
        .fetch = file_command->resolve_options.fetch,
    };
    HC_AUTO_VALUE(hc_client_files) files = {0};

    if (hc_client_resolve_files(client, &request, &files, err) < 0)
        return -1;
    file_note_stale(files.count > 0 && files.items[0].stale);
    if (file_command->command_options->json)
        return hc_output_print_json(hc_output_json_of_files(&files), err);
    for (size_t i = 0; i < files.count; i++) {
        if (hc_output_print_path(files.items[i].path, err) < 0)
            return -1;
    }
    return 0;
}

int hc_command_file(int argc, char **argv, struct hc_command_options *command_options)
{
    struct file_command file_command = {.command_options = command_options};
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;
    int result;

    hc_command_parse(&argp, 0, argc, argv, &file_command);
    client = hc_command_connect(command_options, &err);
    if (!client)
        return hc_output_print_failure(&err);
    result = file_command.count == 1 ? file_resolve_one(client, &file_command, &err)
                                     : file_resolve_several(client, &file_command, &err);
    return result < 0 ? hc_output_print_failure(&err) : HC_EXIT_OK;
}
