/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of subcommands, what all of them have in common, and those that only resolve:
 * `file` prints the paths of files, `snapshot` the directory of a repo, `download` the
 * one or the other, `info` what the server says about itself. Several names of `file` are
 * one request, which is answered from one commit: all of them or none.
 *
 * Each subcommand has an argp parser whose children parse groups of options: those of
 * resolve_options.h, and those of every subcommand (hc_command_argp). It then connects,
 * makes its calls, prints the answer, and returns the exit code that the table of reasons
 * gives for a failure.
 *
 * Progress and notes go to standard error: standard output is the path or the JSON alone,
 * so that `model=$(hubcache snapshot …)` works.
 */
#include "subcommand.h"

#include "base/auto.h"
#include "base/size.h"
#include "base/text.h"
#include "eviction.h"
#include "file_progress.h"
#include "inventory.h"
#include "lease.h"
#include "output.h"
#include "pin.h"
#include "policy.h"
#include "prefetch.h"
#include "progress_bar.h"
#include "pull.h"
#include "removal.h"
#include "run.h"
#include "suggestion.h"
#include "verify.h"
#include "warm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_files, hc_client_files_clear)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)
HC_DEFINE_AUTO_VALUE(hc_client_info, hc_client_info_clear)

enum { NOTE_MAX = 4096, CHILDREN_MAX = 8, NAMES_ANY = 1 << 30 };

/* Said on standard error, for the answer is usable all the same. */
static void note_stale(bool stale)
{
    if (stale)
        hc_output_print_note(
            "the Hub could not be asked; this is what it said last time");
}

/* A caller that misses a file should know that it is no fault of the repo. */
static void note_excluded(const struct hc_client_snapshot *snapshot)
{
    char note[512];

    if (snapshot->excluded_total == 0 || snapshot->excluded_listed == 0)
        return;
    (void)hc_format(note, sizeof note,
                    "the policy of the server leaves out %u files ('%.200s'%s)",
                    snapshot->excluded_total, snapshot->excluded[0],
                    snapshot->excluded_total > 1 ? ", ..." : "");
    hc_output_print_note(note);
}

/* --- file --------------------------------------------------------------------------- */

/* Bytes that this process has just let the server fetch come from the Hub. */
static void file_note_forced(struct hc_client_file *file, bool was_forced)
{
    if (was_forced && file->source == HC_CLIENT_SOURCE_CACHE)
        file->source = HC_CLIENT_SOURCE_HUB;
}

/* One name is ResolveFile. Its JSON is that of a list, and has the file by itself too. */
static int file_resolve_one(struct hc_client *client,
                            const struct hc_resolve_options *options, bool was_forced,
                            struct hc_error *err)
{
    struct hc_client_file_request request = {
        .repo = options->repo,
        .filename = options->filenames[0],
        .subfolder = options->subfolder,
        .fetch = options->fetch,
    };
    struct hc_file_progress *progress = hc_file_progress_begin(options);
    HC_AUTO_VALUE(hc_client_file) file = {0};
    int result = hc_client_resolve_file(client, &request, &file, err);

    hc_file_progress_end(progress);
    if (result < 0)
        return -1;
    file_note_forced(&file, was_forced);
    note_stale(file.stale);
    hc_lease_print_note(file.lease_id);
    result = options->common->json
                 ? hc_output_print_json(hc_output_json_of_file(&file), err)
                 : hc_output_print_path(file.path, err);
    hc_warm_files(options, &file, 1);
    return result;
}

static int file_print_paths(const struct hc_client_file *files, size_t count,
                            struct hc_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (hc_output_print_path(files[i].path, err) < 0)
            return -1;
    }
    return 0;
}

/* Prints nothing unless all files were resolved. */
static int file_resolve_several(struct hc_client *client,
                                const struct hc_resolve_options *options, bool was_forced,
                                struct hc_error *err)
{
    struct hc_client_files_request request = {
        .repo = options->repo,
        .filenames = options->filenames,
        .filename_count = options->filename_count,
        .subfolder = options->subfolder,
        .fetch = options->fetch,
    };
    struct hc_file_progress *progress = hc_file_progress_begin(options);
    HC_AUTO_VALUE(hc_client_files) files = {0};
    int result = hc_client_resolve_files(client, &request, &files, err);

    hc_file_progress_end(progress);
    if (result < 0)
        return -1;
    for (size_t i = 0; i < files.count; i++)
        file_note_forced(&files.items[i], was_forced);
    note_stale(files.count > 0 && files.items[0].stale);
    hc_lease_print_note(files.lease_id);
    result = options->common->json
                 ? hc_output_print_json(hc_output_json_of_files(&files), err)
                 : file_print_paths(files.items, files.count, err);
    hc_warm_files(options, files.items, files.count);
    return result;
}

/* All names go into one call, so that they come from one commit. What was just forced
 * need not be forced again. */
static int file_run(struct hc_client *client, const struct hc_resolve_options *options,
                    struct hc_error *err)
{
    struct hc_resolve_options rest = *options;
    int forced = 0;

    if (options->fetch.force_download)
        forced = hc_file_progress_force(client, options, err);
    if (forced < 0)
        return -1;
    rest.fetch.force_download = options->fetch.force_download && forced == 0;
    return rest.filename_count == 1
               ? file_resolve_one(client, &rest, forced > 0, err)
               : file_resolve_several(client, &rest, forced > 0, err);
}

/* --- snapshot ----------------------------------------------------------------------- */

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
static int snapshot_print(const struct hc_resolve_options *options,
                          const struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    note_stale(snapshot->stale);
    note_excluded(snapshot);
    hc_lease_print_note(snapshot->lease_id);
    if (snapshot->completeness == HC_CLIENT_UNKNOWN)
        hc_output_print_note(
            "no listing of this commit is known: the snapshot may lack files");
    if (options->fetch.dry_run)
        snapshot_list_fetches(snapshot);
    if (options->common->json)
        return hc_output_print_json(hc_output_json_of_snapshot(snapshot), err);
    if (options->list_files)
        return file_print_paths(snapshot->files, snapshot->listed, err);
    return hc_output_print_path(snapshot->path, err);
}

/* With --require-complete: the failure has the missing names, as that of the server. */
static int snapshot_check_complete(const struct hc_resolve_options *options,
                                   const struct hc_client_snapshot *snapshot,
                                   struct hc_error *err)
{
    size_t used = 0;

    if (!options->require_complete || snapshot->completeness == HC_CLIENT_COMPLETE)
        return 0;
    if (snapshot->completeness != HC_CLIENT_PARTIAL)
        return hc_fail(err, HC_INCOMPLETE_SNAPSHOT,
                       "it is not known whether the snapshot of '%.200s' is complete, "
                       "since no listing of its commit is known",
                       options->repo.id);
    (void)hc_fail(err, HC_INCOMPLETE_SNAPSHOT,
                  "%u of the %u files of the snapshot of '%.200s' are not on disk",
                  snapshot->missing_total, snapshot->file_count, options->repo.id);
    err->missing_count = snapshot->missing_total;
    for (size_t i = 0; i < snapshot->missing_listed; i++) {
        int length = hc_format(err->missing + used, sizeof err->missing - used, "%s%s",
                               used > 0 ? "\n" : "", snapshot->missing[i]);

        if (length < 0)
            break;
        used += (size_t)length;
    }
    return -1;
}

/*
 * A dry run needs the list of files to print it, and has no progress to show. The bar is
 * cleared before anything else is printed.
 */
static int snapshot_run(struct hc_client *client,
                        const struct hc_resolve_options *options, struct hc_error *err)
{
    bool is_dry_run = options->fetch.dry_run;
    struct hc_progress_bar bar;
    struct hc_client_snapshot_request request;
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    int result;

    hc_resolve_options_request(options, &request);
    request.list_files = is_dry_run || options->list_files || options->fetch.warm;
    request.progress = is_dry_run || options->is_quiet ? NULL : hc_progress_bar_show;
    request.progress_ctx = &bar;
    hc_progress_bar_begin(&bar, options->repo.id);
    result = hc_client_resolve_snapshot(client, &request, &snapshot, err);
    hc_progress_bar_end(&bar);
    if (result < 0 || snapshot_check_complete(options, &snapshot, err) < 0)
        return -1;
    result = snapshot_print(options, &snapshot, err);
    hc_warm_files(options, snapshot.files, snapshot.listed);
    return result;
}

/* --- download ----------------------------------------------------------------------- */

/* As `hf download`: the files that are named, else all that patterns select. */
static int download_run(struct hc_client *client,
                        const struct hc_resolve_options *options, struct hc_error *err)
{
    if (options->filename_count == 0 && options->subfolder)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "subfolder",
                             "--subfolder needs names of files; for all files of a "
                             "folder, give --include '%.200s/*'",
                             options->subfolder);
    if (options->filename_count == 0)
        return snapshot_run(client, options, err);
    if (options->include.count > 0 || options->exclude.count > 0 || options->list_files ||
        options->require_complete)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "filenames",
                             "--include, --exclude, --list-files and --require-complete "
                             "are about snapshots: give them, or names of files");
    return file_run(client, options, err);
}

/* --- cat ---------------------------------------------------------------------------- */

/* A hc_client_bytes_fn. */
static bool cat_write(void *ctx, const void *bytes, size_t count)
{
    (void)ctx;
    return fwrite(bytes, 1, count, stdout) == count;
}

/* The bytes of one file, whatever standard output is. */
static int cat_run(struct hc_client *client, const struct hc_resolve_options *options,
                   struct hc_error *err)
{
    struct hc_client_read_request request = {
        .file = {.repo = options->repo,
                 .filename = options->filenames[0],
                 .subfolder = options->subfolder,
                 .fetch = options->fetch},
        .bytes = cat_write,
    };
    int result = hc_client_read_file(client, &request, NULL, err);
    struct hc_error failure;

    if (hc_output_flush(&failure) == 0) /* what has come is written in any case */
        return result;
    *err = failure;
    return -1;
}

/* --- info --------------------------------------------------------------------------- */

static int info_run(struct hc_client *client, const struct hc_resolve_options *options,
                    struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_info) info = {0};

    if (hc_client_get_info(client, &info, err) < 0)
        return -1;
    if (options->common->json)
        return hc_output_print_json(hc_output_json_of_info(&info), err);
    hc_output_print_field("version", info.version);
    hc_output_print_field("cache_root", info.cache_root);
    hc_output_print_field("cache_id", info.cache_id);
    hc_output_print_field("offline", info.offline ? "true" : "false");
    hc_output_print_field("endpoint", info.endpoint);
    return hc_output_flush(err);
}

/* --- the table ---------------------------------------------------------------------- */

#define COMMON_OPTIONS {&hc_command_argp, 0, "Options of every command:", 1}

static const struct argp_child file_children[] = {{&hc_names_argp, 0, NULL, 0},
                                                  {&hc_warm_argp, 0, NULL, 0},
                                                  {&hc_lease_argp, 0, NULL, 0},
                                                  {&hc_resolve_argp, 0, NULL, 0},
                                                  COMMON_OPTIONS,
                                                  {0}};

static const struct argp_child cat_children[] = {{&hc_names_argp, 0, NULL, 0},
                                                 {&hc_resolve_argp, 0, NULL, 0},
                                                 COMMON_OPTIONS,
                                                 {0}};

static const struct argp_child snapshot_children[] = {{&hc_patterns_argp, 0, NULL, 0},
                                                      {&hc_snapshot_argp, 0, NULL, 0},
                                                      {&hc_warm_argp, 0, NULL, 0},
                                                      {&hc_lease_argp, 0, NULL, 0},
                                                      {&hc_resolve_argp, 0, NULL, 0},
                                                      COMMON_OPTIONS,
                                                      {0}};

static const struct argp_child download_children[] = {{&hc_names_argp, 0, NULL, 0},
                                                      {&hc_patterns_argp, 0, NULL, 0},
                                                      {&hc_snapshot_argp, 0, NULL, 0},
                                                      {&hc_warm_argp, 0, NULL, 0},
                                                      {&hc_lease_argp, 0, NULL, 0},
                                                      {&hc_resolve_argp, 0, NULL, 0},
                                                      {&hc_refused_argp, 0, NULL, 0},
                                                      COMMON_OPTIONS,
                                                      {0}};

static const struct argp_child pull_children[] = {{&hc_target_argp, 0, NULL, 0},
                                                  {&hc_patterns_argp, 0, NULL, 0},
                                                  {&hc_resolve_argp, 0, NULL, 0},
                                                  COMMON_OPTIONS,
                                                  {0}};

static const struct argp_child info_children[] = {COMMON_OPTIONS, {0}};

static const struct hc_subcommand subcommands[] = {
    {.name = "file",
     .arguments = "REPO FILENAME...",
     .summary = "Writes the path of each file of REPO, one per line, downloading what is "
                "not cached.",
     .children = file_children,
     .has_repo = true,
     .names_min = 1,
     .names_max = NAMES_ANY,
     .run = file_run},
    {.name = "snapshot",
     .arguments = "REPO",
     .summary = "Writes the path of REPO's snapshot directory, downloading what is not "
                "cached.",
     .children = snapshot_children,
     .has_repo = true,
     .run = snapshot_run},
    {.name = "download",
     .arguments = "REPO [FILENAME...]",
     .summary = "As `hf download`: with names of files the same as `hubcache file`, "
                "without them the same as `hubcache snapshot`.",
     .children = download_children,
     .has_repo = true,
     .names_max = NAMES_ANY,
     .run = download_run},
    {.name = "cat",
     .arguments = "REPO FILENAME",
     .summary = "Writes the bytes of a file of REPO to standard output, verified, for a "
                "machine without the cache volume.",
     .children = cat_children,
     .has_repo = true,
     .names_min = 1,
     .names_max = 1,
     .run = cat_run},
    {.name = "pull",
     .arguments = "REPO --to DIR",
     .summary = "Copies REPO's snapshot through the server into the cache DIR of this "
                "machine, where the Hub's clients find it, and writes its path there. "
                "What an interrupted call has left is continued.",
     .children = pull_children,
     .has_repo = true,
     .run = hc_pull_run},
    {.name = "info",
     .arguments = "",
     .summary = "Says which hubcached answers and from which cache.",
     .children = info_children,
     .run = info_run},
};

/* Those of the service Cache are in the files of their nouns. */
static const struct hc_subcommand *const cache_commands[] = {
    &hc_ls_command,       &hc_du_command,     &hc_policy_command, &hc_evict_command,
    &hc_prefetch_command, &hc_verify_command, &hc_lease_command,  &hc_run_command,
    &hc_rm_command,       &hc_prune_command,  &hc_pin_command,    &hc_unpin_command,
};

const struct hc_subcommand *hc_subcommand_find(const char *name)
{
    for (size_t i = 0; i < sizeof cache_commands / sizeof *cache_commands; i++) {
        if (strcmp(cache_commands[i]->name, name) == 0)
            return cache_commands[i];
    }
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
    }
    return NULL;
}

void hc_subcommand_names(char text[HC_SUBCOMMAND_NAMES_MAX])
{
    size_t length = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++)
        length += (size_t)snprintf(text + length, HC_SUBCOMMAND_NAMES_MAX - length,
                                   "%s%s", i > 0 ? ", " : "", subcommands[i].name);
    for (size_t i = 0; i < sizeof cache_commands / sizeof *cache_commands; i++)
        length += (size_t)snprintf(text + length, HC_SUBCOMMAND_NAMES_MAX - length,
                                   ", %s", cache_commands[i]->name);
}

/* --- running one -------------------------------------------------------------------- */

struct subcommand_line {
    const struct hc_subcommand *subcommand;
    struct hc_resolve_options options;
    struct hc_cache_command *cache; /* NULL: the command is none of the service Cache */
};

/* All groups write to the same options; the last child has those of every subcommand. */
static void subcommand_set_child_inputs(const struct argp_state *state)
{
    struct subcommand_line *line = state->input;
    const struct argp_child *children = line->subcommand->children;
    void *own = &line->options;

    if (line->cache)
        own = line->cache;
    for (size_t i = 0; children[i].argp; i++)
        state->child_inputs[i] =
            children[i].argp == &hc_command_argp ? line->options.common : own;
}

/* The same for a command of the service Cache. */
static void cache_take_arguments(const struct subcommand_line *line,
                                 const struct argp_state *state)
{
    const struct hc_subcommand *subcommand = line->subcommand;

    line->cache->arguments = (const char *const *)&state->argv[state->next];
    line->cache->argument_count = (size_t)(state->argc - state->next);
    if (line->cache->argument_count > subcommand->arguments_max)
        hc_command_refuse(state, "'%s' is too much",
                          line->cache->arguments[subcommand->arguments_max]);
}

/* Keeps all that is left of argv, which is a repo and perhaps names of files. */
static void subcommand_take_arguments(struct subcommand_line *line,
                                      const struct argp_state *state)
{
    const struct hc_subcommand *subcommand = line->subcommand;

    if (line->cache) {
        cache_take_arguments(line, state);
        return;
    }
    if (!subcommand->has_repo)
        hc_command_refuse(state, "%s takes no arguments", subcommand->name);
    line->options.repo.id = state->argv[state->next];
    line->options.filenames = (const char *const *)&state->argv[state->next + 1];
    line->options.filename_count = (size_t)(state->argc - state->next - 1);
    if (line->options.filename_count > subcommand->names_max)
        hc_command_refuse(state, "one %s at a time: '%s' is too much",
                          subcommand->names_max > 0 ? "file" : "repo",
                          line->options.filenames[subcommand->names_max]);
}

/* A command with several forms has one a line. */
static void subcommand_refuse_missing(const struct hc_subcommand *subcommand,
                                      const struct argp_state *state)
{
    if (strchr(subcommand->arguments, '\n'))
        hc_command_refuse(state, "an argument is missing");
    hc_command_refuse(state, "an argument is missing: %s", subcommand->arguments);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t subcommand_option_parse(int key, char *arg, struct argp_state *state)
{
    struct subcommand_line *line = state->input;

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        subcommand_set_child_inputs(state);
        return 0;
    case ARGP_KEY_ARGS:
        subcommand_take_arguments(line, state);
        return 0;
    case ARGP_KEY_END:
        if (line->cache && line->cache->argument_count < line->subcommand->arguments_min)
            subcommand_refuse_missing(line->subcommand, state);
        if (line->subcommand->has_repo && !line->options.repo.id)
            hc_command_refuse(state, "a repo is needed");
        if (line->options.filename_count < line->subcommand->names_min &&
            !hc_suggestion_is_address(line->options.repo.id)) /* it may name the file */
            hc_command_refuse(state, "a repo and at least one file name are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* An address is refused here, since the server may be asked for relative directories. */
static int subcommand_call(const struct subcommand_line *line, struct hc_error *err)
{
    const struct hc_subcommand *subcommand = line->subcommand;
    const struct hc_resolve_options *options = &line->options;
    HC_AUTO(hc_client) *client = NULL;

    if (subcommand->has_repo && hc_suggestion_is_address(options->repo.id))
        return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                             "'%.200s' is an address, not the id of a repo",
                             options->repo.id);
    client = hc_command_connect(options->common, err);
    if (!client)
        return -1;
    return line->cache ? subcommand->run_cache(client, line->cache, err)
                       : subcommand->run(client, options, err);
}

/* Says what to type when the repo was named as elsewhere. */
static int subcommand_fail(const struct hc_subcommand *subcommand,
                           const struct hc_resolve_options *options,
                           const struct hc_error *err)
{
    char hint[HC_OUTPUT_HINT_MAX], command[HC_SUGGESTION_MAX];

    hc_output_hint(err, hint, sizeof hint);
    if (subcommand->has_repo &&
        (err->reason == HC_INVALID_REPO_ID || err->reason == HC_REPO_NOT_FOUND) &&
        hc_suggestion_make(subcommand->name, options, command))
        (void)snprintf(hint, sizeof hint, "write: %s", command);
    if (options->common->json) /* a failure of this says nothing more */
        (void)hc_output_print_json(hc_output_json_of_failure(err, hint, &options->repo),
                                   &(struct hc_error){0});
    return hc_output_print_failure(err, hint);
}

int hc_subcommand_run(const struct hc_subcommand *subcommand, int argc, char **argv,
                      struct hc_command_options *common)
{
    struct argp argp = {
        .parser = subcommand_option_parse,
        .args_doc = subcommand->arguments,
        .doc = subcommand->summary,
        .children = subcommand->children,
    };
    struct subcommand_line line = {.subcommand = subcommand, .options.common = common};
    HC_AUTO_FREE void *cache_options = calloc(1, subcommand->options_size + 1);
    struct hc_error err = {0};
    int result = HC_EXIT_OK;

    if (!cache_options) {
        (void)hc_fail_memory(&err);
        return subcommand_fail(subcommand, &line.options, &err);
    }
    if (subcommand->run_cache) {
        line.cache = cache_options;
        line.cache->common = common;
    }
    hc_command_parse(&argp, 0, argc, argv, &line);
    if (subcommand_call(&line, &err) < 0)
        result = subcommand_fail(subcommand, &line.options, &err);
    else if (line.cache)
        result = line.cache->exit_status;
    hc_resolve_options_clear(&line.options);
    if (subcommand->clear)
        subcommand->clear(cache_options);
    return result;
}
