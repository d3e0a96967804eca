/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache snapshot REPO: the directory of a whole repo, or of the files that patterns
 * select, with progress on standard error while they arrive.
 */
#include "base/auto.h"
#include "base/error.h"
#include "base/size.h"
#include "base/text.h"
#include "command.h"
#include "json.h"
#include "output.h"
#include "progress_bar.h"
#include "units.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)

enum { KEY_INCLUDE = 512, KEY_EXCLUDE, KEY_DRY_RUN, KEY_QUIET };
enum { NOTE_MAX = 4096 };

struct snapshot_command {
    struct hc_command_options *command_options;
    struct hc_resolve_options resolve_options;
    struct hc_strings include;
    struct hc_strings exclude;
    bool is_quiet;
};

static void snapshot_command_clear(struct snapshot_command *snapshot_command)
{
    hc_strings_clear(&snapshot_command->include);
    hc_strings_clear(&snapshot_command->exclude);
}
HC_DEFINE_AUTO_VALUE(snapshot_command, snapshot_command_clear)

static error_t add_pattern(const struct argp_state *state, struct hc_strings *patterns,
                           const char *pattern)
{
    struct hc_error err = {0};

    if (hc_strings_add(patterns, pattern, &err) < 0)
        hc_command_refuse(state, "%s", err.message);
    return 0;
}

static error_t snapshot_option_parse(int key, char *arg, struct argp_state *state)
{
    struct snapshot_command *snapshot_command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &snapshot_command->resolve_options;
        state->child_inputs[1] = snapshot_command->command_options;
        return 0;
    case KEY_INCLUDE:
        return add_pattern(state, &snapshot_command->include, arg);
    case KEY_EXCLUDE:
        return add_pattern(state, &snapshot_command->exclude, arg);
    case KEY_DRY_RUN:
        snapshot_command->resolve_options.fetch.dry_run = true;
        return 0;
    case KEY_QUIET:
        snapshot_command->is_quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            hc_command_refuse(state, "one repo at a time: '%s' is too much", arg);
        snapshot_command->resolve_options.repo.id = arg;
        return 0;
    case ARGP_KEY_END:
        if (!snapshot_command->resolve_options.repo.id)
            hc_command_refuse(state, "a repo is needed");
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
    {"include", KEY_INCLUDE, "PATTERN", 0,
     "Only files that match, such as '*.safetensors'; may be given again", 0},
    {"exclude", KEY_EXCLUDE, "PATTERN", 0, "No files that match; may be given again", 0},
    {"dry-run", KEY_DRY_RUN, NULL, 0,
     "Fetch nothing; list on standard error what would be", 0},
    {"quiet", KEY_QUIET, NULL, 0, "Show no progress", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = snapshot_option_parse,
    .args_doc = "REPO",
    .doc =
        "Writes the path of REPO's snapshot directory, downloading what is not cached.",
    .children = children,
};

static void snapshot_list_fetches(const struct hc_client_snapshot *snapshot)
{
    char size[HC_UNITS_TEXT_MAX], note[NOTE_MAX];
    uint64_t bytes = 0;
    size_t count = 0;

    for (size_t i = 0; i < snapshot->listed; i++) {
        const struct hc_client_file *file = &snapshot->files[i];

        if (file->source != HC_CLIENT_SOURCE_HUB)
            continue;
        hc_bytes_format(size, file->size_bytes);
        (void)snprintf(note, sizeof note, "would fetch %s (%s)", file->filename, size);
        hc_output_print_note(note);
        bytes = hc_size_add(bytes, file->size_bytes);
        count++;
    }
    hc_bytes_format(size, bytes);
    (void)snprintf(note, sizeof note, "%zu of %u files would be fetched, %s", count,
                   snapshot->file_count, size);
    hc_output_print_note(note);
}

static void snapshot_note_doubts(const struct hc_client_snapshot *snapshot)
{
    if (snapshot->stale)
        hc_output_print_note(
            "the Hub could not be asked; this is what it said last time");
    if (snapshot->completeness == HC_CLIENT_UNKNOWN)
        hc_output_print_note(
            "no listing of this commit is known: the snapshot may lack files");
}

static int snapshot_print(const struct snapshot_command *snapshot_command,
                          const struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    snapshot_note_doubts(snapshot);
    if (snapshot_command->resolve_options.fetch.dry_run)
        snapshot_list_fetches(snapshot);
    if (snapshot_command->command_options->json)
        return hc_output_print_json(hc_output_json_of_snapshot(snapshot), err);
    return hc_output_print_path(snapshot->path, err);
}

static int snapshot_resolve(struct hc_client *client,
                            const struct snapshot_command *snapshot_command,
                            struct hc_error *err)
{
    bool is_dry_run = snapshot_command->resolve_options.fetch.dry_run;
    struct hc_progress_bar_state view;
    struct hc_client_snapshot_request request = {
        .repo = snapshot_command->resolve_options.repo,
        .allow_patterns = (const char *const *)snapshot_command->include.items,
        .allow_count = snapshot_command->include.count,
        .ignore_patterns = (const char *const *)snapshot_command->exclude.items,
        .ignore_count = snapshot_command->exclude.count,
        .list_files = is_dry_run,
        .fetch = snapshot_command->resolve_options.fetch,
        .progress =
            is_dry_run || snapshot_command->is_quiet ? NULL : hc_progress_bar_show,
        .progress_ctx = &view,
    };
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    int result;

    hc_progress_bar_begin(&view, snapshot_command->resolve_options.repo.id);
    result = hc_client_resolve_snapshot(client, &request, &snapshot, err);
    hc_progress_bar_end(&view);
    return result < 0 ? -1 : snapshot_print(snapshot_command, &snapshot, err);
}

int hc_command_snapshot(int argc, char **argv, struct hc_command_options *command_options)
{
    HC_AUTO_VALUE(snapshot_command)
    snapshot_command = {.command_options = command_options};
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;

    hc_command_parse(&argp, 0, argc, argv, &snapshot_command);
    client = hc_command_connect(command_options, &err);
    if (!client || snapshot_resolve(client, &snapshot_command, &err) < 0)
        return hc_output_print_failure(&err);
    return HC_EXIT_OK;
}
