/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob is first <etag>.incomplete, under the blob's lock: a file that an earlier call
 * left there is continued. The client library compares all of its bytes with the etag
 * before it is flushed and renamed to <etag>; then the pointer is made, and after the
 * last file the ref. So a reader of the directory never sees a file that is not whole.
 *
 * A file without an etag has no blob: it is a plain file of the snapshot, as other
 * clients write where symlinks are not available, and is read from its start each time.
 *
 * The server's answers are not trusted with names: ids, commits, etags and file names are
 * checked as those of the Hub are.
 */
#include "pull.h"

#include "output.h"
#include "progress_bar.h"

#include "base/auto.h"
#include "base/cancellation.h"
#include "base/file.h"
#include "base/size.h"
#include "cache/blob_lock.h"
#include "cache/cache.h"
#include "cache/pointer.h"
#include "cache/ref.h"
#include "repo/name.h"
#include "repo/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_POLL_MS = 200, SHOW_EVERY_MS = 250 };

HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)

struct pull {
    struct hc_client *client;
    const struct hc_resolve_options *options;
    struct hc_cache *cache;
    struct hc_repo repo;
    const struct hc_client_snapshot *snapshot;
    struct hc_progress_bar bar;
    struct hc_client_progress progress;
    uint64_t done_before; /* of progress.bytes_done, the bytes of earlier files */
    int64_t began_ms, shown_ms;
    uint64_t received_bytes; /* of this file, saved by an earlier call or this one */
    uint64_t received_total; /* over the network */
};

/* ---- progress ---------------------------------------------------------------------- */

/* A hc_client_saved_fn. */
static bool pull_show(void *ctx, uint64_t bytes_done, uint64_t bytes_total)
{
    struct pull *pull = ctx;
    const int64_t now_ms = hc_monotonic_ms();

    (void)bytes_total;
    if (bytes_done > pull->received_bytes)
        pull->received_total += bytes_done - pull->received_bytes;
    pull->received_bytes = bytes_done;
    pull->progress.bytes_done = hc_size_add(pull->done_before, bytes_done);
    if (pull->options->is_quiet || now_ms - pull->shown_ms < SHOW_EVERY_MS)
        return true;
    pull->shown_ms = now_ms;
    pull->progress.bytes_per_second =
        pull->received_total * 1000 / (uint64_t)(now_ms - pull->began_ms + 1);
    return hc_progress_bar_show(&pull->bar, &pull->progress);
}

static void pull_begin_progress(struct pull *pull)
{
    pull->began_ms = pull->shown_ms = hc_monotonic_ms();
    pull->progress.files_total = (unsigned)pull->snapshot->listed;
    pull->progress.bytes_total = pull->snapshot->size_bytes;
    hc_progress_bar_begin(&pull->bar, pull->options->repo.id);
}

static void pull_end_file(struct pull *pull, const struct hc_client_file *file)
{
    pull->progress.files_done++;
    pull->done_before = hc_size_add(pull->done_before, file->size_bytes);
}

/* ---- one file ---------------------------------------------------------------------- */

static int file_check_names(const struct pull *pull, const struct hc_client_file *file,
                            struct hc_error *err)
{
    if (hc_filename_is_safe(file->filename) &&
        (file->etag[0] == '\0' || hc_etag_is_valid(file->etag)) &&
        strcmp(file->commit_hash, pull->snapshot->commit_hash) == 0)
        return 0;
    return hc_fail(
        err, HC_INTERNAL,
        "hubcached lists '%.200s' with the etag '%.200s' of commit '%.64s': one "
        "of these may name nothing on this machine",
        file->filename, file->etag, file->commit_hash);
}

/* Reads what the file at `path`, which is made if it is absent, lacks; and flushes it. */
static int file_save(struct pull *pull, const struct hc_client_file *file,
                     const char *path, struct hc_error *err)
{
    int root = hc_cache_fd(pull->cache);
    HC_AUTO_CLOSE int fd = -1;
    struct stat status;
    struct hc_client_save_request request = {
        .file = {.repo = {.id = pull->options->repo.id,
                          .type = pull->options->repo.type,
                          .revision = file->commit_hash},
                 .filename = file->filename},
        .progress = pull_show,
        .progress_ctx = pull,
    };

    if (hc_file_mkparents(root, path, err) < 0)
        return -1;
    fd = hc_file_open(root, path, O_RDWR | O_CREAT, 0666);
    if (fd < 0)
        return hc_file_fail(err, errno, "open", root, path);
    if (pull->options->fetch.force_download && ftruncate(fd, 0) < 0)
        return hc_file_fail(err, errno, "empty", root, path);
    if (fstat(fd, &status) < 0)
        return hc_file_fail(err, errno, "stat", root, path);
    pull->received_bytes = (uint64_t)status.st_size;
    request.fd = fd;
    if (hc_client_save_file(pull->client, &request, NULL, err) < 0)
        return -1;
    if (fsync(fd) < 0)
        return hc_file_fail(err, errno, "flush", root, path);
    return 0;
}

static int file_publish(const struct pull *pull, const char *from, const char *to,
                        struct hc_error *err)
{
    int root = hc_cache_fd(pull->cache);

    if (hc_file_mkparents(root, to, err) < 0)
        return -1;
    if (renameat(root, from, root, to) < 0)
        return hc_file_fail(err, errno, "rename to", root, to);
    return hc_file_sync_parent(root, to, err);
}

/* 1: the blob is there, whole; with --force it never is. */
static int file_find_blob(const struct pull *pull, const struct hc_client_file *file,
                          const struct hc_blob_id *blob, struct hc_error *err)
{
    uint64_t size = 0;
    int found = pull->options->fetch.force_download
                    ? 0
                    : hc_blob_find(pull->cache, blob, &size, err);

    return found > 0 ? hc_blob_size_matches(file->size_bytes, size) : found;
}

/* Waits for another process, such as a second pull or a client of the Hub. */
static int file_wait_for_lock(struct hc_blob_lock *lock, struct hc_error *err)
{
    HC_AUTO(hc_cancellation) *never = hc_cancellation_new(HC_NO_DEADLINE);
    int taken;

    if (!never)
        return hc_fail_memory(err);
    while ((taken = hc_blob_lock_try(lock, err)) == 0) {
        if (hc_cancellation_sleep(never, LOCK_POLL_MS, err) < 0)
            return -1;
    }
    return taken < 0 ? -1 : 0;
}

static int file_pull_blob(struct pull *pull, const struct hc_client_file *file,
                          struct hc_error *err)
{
    const struct hc_blob_id blob = {pull->repo.folder, file->etag};
    HC_AUTO(hc_blob_lock) *lock = hc_blob_lock_new(pull->cache, &blob, err);
    char path[PATH_MAX], partial[PATH_MAX];
    int found;

    if (!lock || file_wait_for_lock(lock, err) < 0 ||
        hc_cache_blob_path(path, &blob, err) < 0)
        return -1;
    found = file_find_blob(pull, file, &blob, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (hc_format(partial, sizeof partial, "%s.incomplete", path) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "open '%s'", path);
    if (file_save(pull, file, partial, err) < 0)
        return -1;
    return file_publish(pull, partial, path, err);
}

static int file_pull_plain(struct pull *pull, const struct hc_client_file *file,
                           struct hc_error *err)
{
    char path[PATH_MAX], private[PATH_MAX];
    int result;

    if (hc_cache_snapshot_path(path, &pull->repo, file->commit_hash, file->filename,
                               err) < 0 ||
        hc_cache_private_path(private, err) < 0)
        return -1;
    result = file_save(pull, file, private, err);
    if (result == 0)
        result = file_publish(pull, private, path, err);
    if (result < 0)
        (void)unlinkat(hc_cache_fd(pull->cache), private, 0);
    return result;
}

static int file_pull(struct pull *pull, const struct hc_client_file *file,
                     struct hc_error *err)
{
    const struct hc_blob_id blob = {pull->repo.folder, file->etag};
    const struct hc_repo_file pointer = {&pull->repo, file->commit_hash, file->filename};
    int found;

    if (file_check_names(pull, file, err) < 0)
        return -1;
    pull->progress.active_files = (const char *const *)&file->filename;
    pull->progress.active_count = 1;
    if (file->etag[0] == '\0')
        return file_pull_plain(pull, file, err);
    found = file_find_blob(pull, file, &blob, err);
    if (found < 0 || (found == 0 && file_pull_blob(pull, file, err) < 0))
        return -1;
    return hc_pointer_link(pull->cache, &pointer, file->etag, false, err) < 0 ? -1 : 0;
}

/* ---- the snapshot ------------------------------------------------------------------ */

static int pull_files(struct pull *pull, struct hc_error *err)
{
    int result = 0;

    pull_begin_progress(pull);
    for (size_t i = 0; result == 0 && i < pull->snapshot->listed; i++) {
        result = file_pull(pull, &pull->snapshot->files[i], err);
        pull_end_file(pull, &pull->snapshot->files[i]);
    }
    hc_progress_bar_end(&pull->bar);
    return result;
}

/* The ref comes last, after what it refers to is on the disk. */
static int pull_publish(const struct pull *pull, struct hc_error *err)
{
    const char *revision = pull->options->repo.revision;
    const struct hc_repo_file all = {&pull->repo, pull->snapshot->commit_hash, NULL};

    if (hc_pointer_sync(pull->cache, &all, err) < 0)
        return -1;
    return hc_ref_update(pull->cache, &pull->repo, revision ? revision : "main",
                         pull->snapshot->commit_hash, err);
}

static int path_replace(char **path, const struct hc_cache *cache, const char *cache_path,
                        struct hc_error *err)
{
    char *joined;

    if (asprintf(&joined, "%s/%s", hc_cache_root(cache), cache_path) < 0)
        return hc_fail_memory(err);
    free(*path);
    *path = joined;
    return 0;
}

/* The answer is the server's, with the paths of this machine. */
static int pull_print(const struct pull *pull, struct hc_client_snapshot *snapshot,
                      struct hc_error *err)
{
    if (path_replace(&snapshot->path, pull->cache, snapshot->cache_path, err) < 0)
        return -1;
    for (size_t i = 0; i < snapshot->listed; i++) {
        struct hc_client_file *file = &snapshot->files[i];

        if (path_replace(&file->path, pull->cache, file->cache_path, err) < 0)
            return -1;
    }
    if (pull->options->common->json)
        return hc_output_print_json(hc_output_json_of_snapshot(snapshot), err);
    return hc_output_print_path(snapshot->path, err);
}

static int pull_resolve(struct pull *pull, struct hc_client_snapshot *snapshot,
                        struct hc_error *err)
{
    const struct hc_resolve_options *options = pull->options;
    struct hc_client_snapshot_request request;
    int result;

    hc_resolve_options_request(options, &request);
    request.list_files = true;
    request.progress = options->is_quiet ? NULL : hc_progress_bar_show;
    request.progress_ctx = &pull->bar;
    hc_progress_bar_begin(&pull->bar, options->repo.id);
    result = hc_client_resolve_snapshot(pull->client, &request, snapshot, err);
    hc_progress_bar_end(&pull->bar);
    if (result < 0)
        return -1;
    pull->snapshot = snapshot;
    if (snapshot->source == HC_CLIENT_SOURCE_LOCAL)
        return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                             "'%.200s' is a local directory of the server: only repos of "
                             "the Hub can be pulled",
                             options->repo.id);
    if (!hc_commit_is_valid(snapshot->commit_hash))
        return hc_fail(err, HC_INTERNAL, "hubcached answers with the commit '%.64s'",
                       snapshot->commit_hash);
    if (snapshot->stale)
        hc_output_print_note(
            "the Hub could not be asked; this is what it said last time");
    if (snapshot->completeness == HC_CLIENT_UNKNOWN)
        hc_output_print_note(
            "no listing of this commit is known: the snapshot may lack files");
    return 0;
}

static int pull_run(struct hc_client *client, const struct hc_resolve_options *options,
                    struct hc_error *err)
{
    struct pull pull = {.client = client, .options = options};
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    HC_AUTO(hc_cache) *cache = NULL;

    if (!options->target)
        return hc_fail_field(
            err, HC_INVALID_OPTIONS, "to",
            "pull needs --to DIR, where this machine is to have the files");
    if (hc_repo_init(&pull.repo, options->repo.type, options->repo.id, err) < 0 ||
        pull_resolve(&pull, &snapshot, err) < 0)
        return -1;
    cache = pull.cache = hc_cache_open(options->target, false, err);
    if (!cache)
        return -1;
    hc_cache_write_tag(cache);
    if (pull_files(&pull, err) < 0 || pull_publish(&pull, err) < 0)
        return -1;
    return pull_print(&pull, &snapshot, err);
}

static const struct argp_child pull_children[] = {{&hc_target_argp, 0, NULL, 0},
                                                  {&hc_patterns_argp, 0, NULL, 0},
                                                  {&hc_resolve_argp, 0, NULL, 0},
                                                  HC_COMMON_OPTIONS};

const struct hc_subcommand hc_pull_command = {
    .name = "pull",
    .arguments = "REPO --to DIR",
    .summary = "Copies REPO's snapshot through the server into the cache DIR of this "
               "machine, where the Hub's clients find it, and writes its path there. "
               "What an interrupted call has left is continued.",
    .children = pull_children,
    .has_repo = true,
    .run = pull_run,
};
