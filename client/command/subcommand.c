/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands: `hubcache file` prints the paths of files, `hubcache snapshot` the
 * directory of a repo, `hubcache info` what the server says about itself. Several names
 * of `file` are one request, which is answered from one commit: all of them or none.
 *
 * Each subcommand has an argp parser whose children parse the options that it shares:
 * those of `file` and `snapshot` (resolve_argp), and those of every subcommand
 * (hc_command_argp). Each then connects, makes one call, prints the answer, and returns
 * the exit code that the table of reasons gives for a failure.
 *
 * Progress and notes go to standard error: standard output is the path or the JSON alone,
 * so that `model=$(hubcache snapshot …)` works.
 */
#include "base/auto.h"
#include "base/size.h"
#include "base/text.h"
#include "command.h"
#include "output.h"
#include "progress_bar.h"

#include <hubcache/repo.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_files, hc_client_files_clear)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)
HC_DEFINE_AUTO_VALUE(hc_client_info, hc_client_info_clear)

enum { NOTE_MAX = 4096 };

enum {
    KEY_REVISION = 512,
    KEY_REPO_TYPE,
    KEY_LOCAL_FILES_ONLY,
    KEY_FORCE,
    KEY_MAX_STALENESS,
    KEY_SUBFOLDER,
    KEY_INCLUDE,
    KEY_EXCLUDE,
    KEY_DRY_RUN,
    KEY_QUIET
};

/* What `file` or `snapshot` resolves, and how; the texts are those of argv. */
struct resolve_command {
    struct hc_command_options *options;
    struct hc_client_repo repo;
    struct hc_client_fetch fetch;
    const char *subfolder;        /* file */
    const char *const *filenames; /* file */
    size_t filename_count;
    struct hc_strings include; /* snapshot */
    struct hc_strings exclude; /* snapshot */
    bool is_quiet;             /* snapshot */
};

static void resolve_command_clear(struct resolve_command *command)
{
    hc_strings_clear(&command->include);
    hc_strings_clear(&command->exclude);
}
HC_DEFINE_AUTO_VALUE(resolve_command, resolve_command_clear)

/* Takes the names of the Hub's clients; HC_REPO_DEFAULT has none. */
static enum hc_repo_type parse_repo_type(const struct argp_state *state, const char *name)
{
    enum hc_repo_type type = hc_repo_type_from_name(name);

    if (type == HC_REPO_DEFAULT)
        hc_command_refuse(
            state, "'%s' is not a repo type: write model, dataset, space or kernel",
            name);
    return type;
}

/* Parses the options that `file` and `snapshot` share. */
static error_t resolve_option_parse(int key, char *arg, struct argp_state *state)
{
    struct resolve_command *command = state->input;

    switch (key) {
    case KEY_REVISION:
        command->repo.revision = arg;
        return 0;
    case KEY_REPO_TYPE:
        command->repo.type = parse_repo_type(state, arg);
        return 0;
    case KEY_LOCAL_FILES_ONLY:
        command->fetch.local_files_only = true;
        return 0;
    case KEY_FORCE:
        command->fetch.force_download = true;
        return 0;
    case KEY_MAX_STALENESS:
        command->fetch.has_max_staleness = true;
        command->fetch.max_staleness_ms = hc_command_duration(state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

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

static const struct argp resolve_argp = {.options = resolve_argp_options,
                                         .parser = resolve_option_parse};

static const struct argp_child resolve_children[] = {
    {&resolve_argp, 0, NULL, 0},
    {&hc_command_argp, 0, "Options of every command:", 1},
    {0},
};

/* In the order of resolve_children. */
static void resolve_set_child_inputs(const struct argp_state *state)
{
    struct resolve_command *command = state->input;

    state->child_inputs[0] = command;
    state->child_inputs[1] = command->options;
}

/* Said on standard error, for the answer is usable all the same. */
static void note_stale(bool stale)
{
    if (stale)
        hc_output_print_note(
            "the Hub could not be asked; this is what it said last time");
}

/* --- file --------------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t file_option_parse(int key, char *arg, struct argp_state *state)
{
    struct resolve_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        resolve_set_child_inputs(state);
        return 0;
    case KEY_SUBFOLDER:
        command->subfolder = arg;
        return 0;
    case ARGP_KEY_ARGS: /* all that is left are arguments */
        command->repo.id = state->argv[state->next];
        command->filenames = (const char *const *)&state->argv[state->next + 1];
        command->filename_count = (size_t)(state->argc - state->next - 1);
        return 0;
    case ARGP_KEY_END:
        if (command->filename_count == 0)
            hc_command_refuse(state, "a repo and at least one file name are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option file_argp_options[] = {
    {"subfolder", KEY_SUBFOLDER, "DIR", 0, "Look for the names in this folder", 0},
    {0},
};

static const struct argp file_argp = {
    .options = file_argp_options,
    .parser = file_option_parse,
    .args_doc = "REPO FILENAME...",
    .doc = "Writes the path of each file of REPO, one per line, downloading what is not "
           "cached.",
    .children = resolve_children,
};

/* One name is ResolveFile, whose answer has a different shape in JSON than a list. */
static int file_resolve_one(struct hc_client *client,
                            const struct resolve_command *command, struct hc_error *err)
{
    struct hc_client_file_request request = {
        .repo = command->repo,
        .filename = command->filenames[0],
        .subfolder = command->subfolder,
        .fetch = command->fetch,
    };
    HC_AUTO_VALUE(hc_client_file) file = {0};

    if (hc_client_resolve_file(client, &request, &file, err) < 0)
        return -1;
    note_stale(file.stale);
    if (command->options->json)
        return hc_output_print_json(hc_output_json_of_file(&file), err);
    return hc_output_print_path(file.path, err);
}

/* Prints nothing unless all files were resolved. */
static int file_resolve_several(struct hc_client *client,
                                const struct resolve_command *command,
                                struct hc_error *err)
{
    struct hc_client_files_request request = {
        .repo = command->repo,
        .filenames = command->filenames,
        .filename_count = command->filename_count,
        .subfolder = command->subfolder,
        .fetch = command->fetch,
    };
    HC_AUTO_VALUE(hc_client_files) files = {0};

    if (hc_client_resolve_files(client, &request, &files, err) < 0)
        return -1;
    note_stale(files.count > 0 && files.items[0].stale);
    if (command->options->json)
        return hc_output_print_json(hc_output_json_of_files(&files), err);
    for (size_t i = 0; i < files.count; i++) {
        if (hc_output_print_path(files.items[i].path, err) < 0)
            return -1;
    }
    return 0;
}

/* All names go into one call, so that they come from one commit. */
int hc_command_file(int argc, char **argv, struct hc_command_options *options)
{
    struct resolve_command command = {.options = options};
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;
    int result;

    hc_command_parse(&file_argp, 0, argc, argv, &command);
    client = hc_command_connect(options, &err);
    if (!client)
        return hc_output_print_failure(&err);
    result = command.filename_count == 1 ? file_resolve_one(client, &command, &err)
                                         : file_resolve_several(client, &command, &err);
    return result < 0 ? hc_output_print_failure(&err) : HC_EXIT_OK;
}

/* --- snapshot ----------------------------------------------------------------------- */

/* Running out of memory is told as wrong usage is: argp has no other way to fail. */
static error_t snapshot_add_pattern(const struct argp_state *state,
                                    struct hc_strings *patterns, const char *pattern)
{
    struct hc_error err = {0};

    if (hc_strings_add(patterns, pattern, &err) < 0)
        hc_command_refuse(state, "%s", err.message);
    return 0;
}

static error_t snapshot_option_parse(int key, char *arg, struct argp_state *state)
{
    struct resolve_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        resolve_set_child_inputs(state);
        return 0;
    case KEY_INCLUDE:
        return snapshot_add_pattern(state, &command->include, arg);
    case KEY_EXCLUDE:
        return snapshot_add_pattern(state, &command->exclude, arg);
    case KEY_DRY_RUN:
        command->fetch.dry_run = true;
        return 0;
    case KEY_QUIET:
        command->is_quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            hc_command_refuse(state, "one repo at a time: '%s' is too much", arg);
        command->repo.id = arg;
        return 0;
    case ARGP_KEY_END:
        if (!command->repo.id)
            hc_command_refuse(state, "a repo is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option snapshot_argp_options[] = {
    {"include", KEY_INCLUDE, "PATTERN", 0,
     "Only files that match, such as '*.safetensors'; may be given again", 0},
    {"exclude", KEY_EXCLUDE, "PATTERN", 0, "No files that match; may be given again", 0},
    {"dry-run", KEY_DRY_RUN, NULL, 0,
     "Fetch nothing; list on standard error what would be", 0},
    {"quiet", KEY_QUIET, NULL, 0, "Show no progress", 0},
    {0},
};

static const struct argp snapshot_argp = {
    .options = snapshot_argp_options,
    .parser = snapshot_option_parse,
    .args_doc = "REPO",
    .doc =
        "Writes the path of REPO's snapshot directory, downloading what is not cached.",
    .children = resolve_children,
};

/* Prints what a dry run has found that would be fetched. */
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

/* Notes come first: they say how far the answer can be relied on. */
static int snapshot_print(const struct resolve_command *command,
                          const struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    note_stale(snapshot->stale);
    if (snapshot->completeness == HC_CLIENT_UNKNOWN)
        hc_output_print_note(
            "no listing of this commit is known: the snapshot may lack files");
    if (command->fetch.dry_run)
        snapshot_list_fetches(snapshot);
    if (command->options->json)
        return hc_output_print_json(hc_output_json_of_snapshot(snapshot), err);
    return hc_output_print_path(snapshot->path, err);
}

/*
 * A dry run needs the list of files to print it, and has no progress to show. The bar is
 * cleared before anything else is printed.
 */
static int snapshot_request(struct hc_client *client,
                            const struct resolve_command *command, struct hc_error *err)
{
    bool is_dry_run = command->fetch.dry_run;
    struct hc_progress_bar bar;
    struct hc_client_snapshot_request request = {
        .repo = command->repo,
        .allow_patterns = (const char *const *)command->include.items,
        .allow_count = command->include.count,
        .ignore_patterns = (const char *const *)command->exclude.items,
        .ignore_count = command->exclude.count,
        .list_files = is_dry_run,
        .fetch = command->fetch,
        .progress = is_dry_run || command->is_quiet ? NULL : hc_progress_bar_show,
        .progress_ctx = &bar,
    };
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    int result;

    hc_progress_bar_begin(&bar, command->repo.id);
    result = hc_client_resolve_snapshot(client, &request, &snapshot, err);
    hc_progress_bar_end(&bar);
    return result < 0 ? -1 : snapshot_print(command, &snapshot, err);
}

int hc_command_snapshot(int argc, char **argv, struct hc_command_options *options)
{
    HC_AUTO_VALUE(resolve_command) command = {.options = options};
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;

    hc_command_parse(&snapshot_argp, 0, argc, argv, &command);
    client = hc_command_connect(options, &err);
    if (!client || snapshot_request(client, &command, &err) < 0)
        return hc_output_print_failure(&err);
    return HC_EXIT_OK;
}

/* --- info --------------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t info_option_parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key == ARGP_KEY_INIT)
        state->child_inputs[0] = state->input;
    if (key == ARGP_KEY_ARG)
        hc_command_refuse(state, "info takes no arguments");
    return key == ARGP_KEY_INIT ? 0 : ARGP_ERR_UNKNOWN;
}

static const struct argp_child info_children[] = {{&hc_command_argp, 0, NULL, 0}, {0}};

static const struct argp info_argp = {
    .parser = info_option_parse,
    .doc = "Says which hubcached answers and from which cache.",
    .children = info_children,
};

static int info_print(struct hc_client *client, const struct hc_command_options *options,
                      struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_info) info = {0};

    if (hc_client_get_info(client, &info, err) < 0)
        return -1;
    if (options->json)
        return hc_output_print_json(hc_output_json_of_info(&info), err);
    hc_output_print_field("version", info.version);
    hc_output_print_field("cache_root", info.cache_root);
    hc_output_print_field("cache_id", info.cache_id);
    hc_output_print_field("offline", info.offline ? "true" : "false");
    hc_output_print_field("endpoint", info.endpoint);
    return hc_output_flush(err);
}

int hc_command_info(int argc, char **argv, struct hc_command_options *options)
{
    struct hc_error err = {0};
    HC_AUTO(hc_client) *client = NULL;

    hc_command_parse(&info_argp, 0, argc, argv, options);
    client = hc_command_connect(options, &err);
    if (!client || info_print(client, options, &err) < 0)
        return hc_output_print_failure(&err);
    return HC_EXIT_OK;
}
