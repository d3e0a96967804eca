/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several names of `file` are one request, which is answered from one commit: all of them
 * or none.
 *
 * Progress and notes go to standard error: standard output is the path or the JSON alone,
 * so that `model=$(hubcache snapshot …)` works.
 */
#include "resolve.h"

#include "base/auto.h"
#include "base/size.h"
#include "base/text.h"
#include "file_progress.h"
#include "lease.h"
#include "output.h"
#include "progress_bar.h"
#include "resolve_options.h"
#include "warm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_files, hc_client_files_clear)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)
HC_DEFINE_AUTO_VALUE(hc_client_info, hc_client_info_clear)

enum { NOTE_MAX = 4096, NAMES_ANY = 1 << 30 };

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

static const struct argp_child file_children[] = {{&hc_names_argp, 0, NULL, 0},
                                                  {&hc_warm_argp, 0, NULL, 0},
                                                  {&hc_lease_argp, 0, NULL, 0},
                                                  {&hc_resolve_argp, 0, NULL, 0},
                                                  HC_COMMON_OPTIONS};

const struct hc_subcommand hc_file_command = {
    .name = "file",
    .arguments = "REPO FILENAME...",
    .summary = "Writes the path of each file of REPO, one per line, downloading what is "
               "not cached.",
    .children = file_children,
    .has_repo = true,
    .names_min = 1,
    .names_max = NAMES_ANY,
    .run = file_run,
};

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

static const struct argp_child snapshot_children[] = {{&hc_patterns_argp, 0, NULL, 0},
                                                      {&hc_snapshot_argp, 0, NULL, 0},
                                                      {&hc_warm_argp, 0, NULL, 0},
                                                      {&hc_lease_argp, 0, NULL, 0},
                                                      {&hc_resolve_argp, 0, NULL, 0},
                                                      HC_COMMON_OPTIONS};

const struct hc_subcommand hc_snapshot_command = {
    .name = "snapshot",
    .arguments = "REPO",
    .summary = "Writes the path of REPO's snapshot directory, downloading what is not "
               "cached.",
    .children = snapshot_children,
    .has_repo = true,
    .run = snapshot_run,
};

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

static const struct argp_child download_children[] = {
    {&hc_names_argp, 0, NULL, 0},    {&hc_patterns_argp, 0, NULL, 0},
    {&hc_snapshot_argp, 0, NULL, 0}, {&hc_warm_argp, 0, NULL, 0},
    {&hc_lease_argp, 0, NULL, 0},    {&hc_resolve_argp, 0, NULL, 0},
    {&hc_refused_argp, 0, NULL, 0},  HC_COMMON_OPTIONS};

const struct hc_subcommand hc_download_command = {
    .name = "download",
    .arguments = "REPO [FILENAME...]",
    .summary = "As `hf download`: with names of files the same as `hubcache file`, "
               "without them the same as `hubcache snapshot`.",
    .children = download_children,
    .has_repo = true,
    .names_max = NAMES_ANY,
    .run = download_run,
};

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

static const struct argp_child cat_children[] = {{&hc_names_argp, 0, NULL, 0},
                                                 {&hc_resolve_argp, 0, NULL, 0},
                                                 HC_COMMON_OPTIONS};

const struct hc_subcommand hc_cat_command = {
    .name = "cat",
    .arguments = "REPO FILENAME",
    .summary = "Writes the bytes of a file of REPO to standard output, verified, for a "
               "machine without the cache volume.",
    .children = cat_children,
    .has_repo = true,
    .names_min = 1,
    .names_max = 1,
    .run = cat_run,
};

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

static const struct argp_child info_children[] = {HC_COMMON_OPTIONS};

const struct hc_subcommand hc_info_command = {
    .name = "info",
    .arguments = "",
    .summary = "Says which hubcached answers and from which cache.",
    .children = info_children,
    .run = info_run,
};
