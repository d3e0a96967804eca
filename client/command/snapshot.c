/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache snapshot REPO: the directory of a whole repo, or of the files that patterns
 * select, with progress on standard error while they arrive.
 */
#include "base/auto.h"
#include "base/error.h"
#include "base/size.h"
#include "base/text.h"
#include "common.h"
#include "json.h"
#include "output.h"
#include "progress.h"
#include "units.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)

enum { KEY_INCLUDE = 512, KEY_EXCLUDE, KEY_DRY_RUN, KEY_QUIET };
enum { NOTE_MAX = 4096 };

struct command {
    struct hc_common *common;
    struct hc_choice choice;
    struct hc_strings include;
    struct hc_strings exclude;
    bool is_quiet;
};

static void command_clear(struct command *command)
{
    hc_strings_clear(&command->include);
    hc_strings_clear(&command->exclude);
}
HC_DEFINE_AUTO_VALUE(command, command_clear)

static error_t add_pattern(const struct argp_state *state, struct hc_strings *patterns,
                           const char *pattern)
{
    struct hc_error err = {0};

    if (hc_strings_add(patterns, pattern, &err) < 0)
        hc_common_refuse(state, "%s", err.message);
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->choice;
        state->child_inputs[1] = command->common;
        return 0;
    case KEY_INCLUDE:
        return add_pattern(state, &command->include, arg);
    case KEY_EXCLUDE:
        return add_pattern(state, &command->exclude, arg);
    case KEY_DRY_RUN:
        command->choice.fetch.dry_run = true;
        return 0;
    case KEY_QUIET:
        command->is_quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            hc_common_refuse(state, "one repo at a time: '%s' is too much", arg);
        command->choice.repo.id = arg;
        return 0;
    case ARGP_KEY_END:
        if (!command->choice.repo.id)
            hc_common_refuse(state, "a repo is needed");
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
    .parser = parse,
    .args_doc = "REPO",
    .doc =
        "Writes the path of REPO's snapshot directory, downloading what is not cached.",
    .children = children,
};

static void list_fetches(const struct hc_client_snapshot *snapshot)
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
        hc_output_note(note);
        bytes = hc_size_add(bytes, file->size_bytes);
        count++;
    }
    hc_bytes_format(size, bytes);
    (void)snprintf(note, sizeof note, "%zu of %u files would be fetched, %s", count,
                   snapshot->file_count, size);
    hc_output_note(note);
}

static void note_doubts(const struct hc_client_snapshot *snapshot)
{
    if (snapshot->stale)
        hc_output_note("the Hub could not be asked; this is what it said last time");
    if (snapshot->completeness == HC_CLIENT_UNKNOWN)
        hc_output_note("no listing of this commit is known: the snapshot may lack files");
}

static int answer(const struct command *command,
                  const struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    note_doubts(snapshot);
    if (command->choice.fetch.dry_run)
        list_fetches(snapshot);
    if (command->common->json)
        return hc_output_json(hc_json_snapshot(snapshot), err);
    return hc_output_line(snapshot->path, err);
}

static int resolve(struct hc_client *client, const struct command *command,
                   struct hc_error *err)
{
    bool is_dry_run = command->choice.fetch.dry_run;
    struct hc_progress_view view;
    struct hc_client_snapshot_request request = {
        .repo = command->choice.repo,
        .allow_patterns = (const char *const *)command->include.items,
        .allow_count = command->include.count,
        .ignore_patterns = (const char *const *)command->exclude.items,
        .ignore_count = command->exclude.count,
        .list_files = is_dry_run,
        .fetch = command->choice.fetch,
        .progress = is_dry_run || command->is_quiet ? NULL : hc_progress_show,
        .progress_ctx = &view,
    };
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    int result;

    hc_progress_begin(&view, command->choice.repo.id);
    result = hc_client_resolve_snapshot(client, &request, &snapshot, err);
    hc_progress_end(&view);
    return result < 0 ? -1 : answer(command, &snapshot, err);
}

int hc_command_snapshot(int argc, char **argv, struct hc_common *common)
{
    HC_AUTO_VALUE(command) command = {.common = common};
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;

    hc_common_parse(&argp, 0, argc, argv, &command);
    client = hc_common_open(common, &err);
    if (!client || resolve(client, &command, &err) < 0)
        return hc_output_failure(&err);
    return HC_EXIT_OK;
}
