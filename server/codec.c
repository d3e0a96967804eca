/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function per message, field by field. Nothing is copied but lists of pointers, so a
 * struct of the library borrows from its message, and the other way round.
 *
 * The enums of proto/hubcache/v1/resolver.proto and of the library have the same numbers,
 * which a cast carries over. A client may send any number, so a decoded enum is checked;
 * an encoded one is not. protobuf-c gives an absent string as "", the library wants NULL.
 */
#include "codec.h"

#include <base/error.h>

/*
 * The rules of google/protobuf/duration.proto, without its negative values. Parts of a
 * millisecond are rounded up: 0 would mean that no stale answer is accepted. A duration
 * that is too long for int64_t milliseconds is as good as the longest.
 */
int hc_decode_duration(const Google__Protobuf__Duration *duration, const char *field,
                       int64_t *ms, struct hc_error *err)
{
    const int64_t second_max = INT64_MAX / 2000;

    if (duration->seconds < 0 || duration->nanos < 0 || duration->nanos > 999999999)
        return hc_fail_field(err, HC_INVALID_OPTIONS, field,
                             "%s is negative or no valid duration", field);
    if (duration->seconds > second_max) {
        *ms = second_max * 1000;
        return 0;
    }
    *ms = duration->seconds * 1000 + (duration->nanos + 999999) / 1000000;
    return 0;
}

static int decode_options(const Hubcache__V1__FetchOptions *message,
                          const struct hc_fetch_options *caller,
                          struct hc_fetch_options *options, struct hc_error *err)
{
    *options = *caller;
    if (!message)
        return 0;
    options->local_files_only = message->local_files_only;
    options->force_download = message->force_download;
    options->dry_run = message->dry_run;
    options->warm = message->warm;
    if (!message->max_staleness)
        return 0;
    options->has_max_staleness = true;
    return hc_decode_duration(message->max_staleness, "options.max_staleness",
                              &options->max_staleness_ms, err);
}

/* Names of repos and revisions are checked by the library, with the reason they need. */
static int decode_target(const char *id, Hubcache__V1__RepoType type,
                         const char *revision, struct hc_target *target,
                         struct hc_error *err)
{
    *target = (struct hc_target){.id = id,
                                 .type = (enum hc_repo_type)type,
                                 .revision = *revision ? revision : NULL};
    if (target->type == HC_REPO_DEFAULT || hc_repo_type_name(target->type))
        return 0;
    target->type = HC_REPO_DEFAULT;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "repo_type",
                         "%d is no type of repo: 1 model, 2 dataset, 3 space, 4 kernel",
                         (int)type);
}

int hc_decode_file(const Hubcache__V1__ResolveFileRequest *message,
                   const struct hc_fetch_options *caller, struct hc_file_request *request,
                   struct hc_error *err)
{
    *request = (struct hc_file_request){
        .filename = message->filename,
        .subfolder = *message->subfolder ? message->subfolder : NULL,
    };
    if (decode_target(message->repo_id, message->repo_type, message->revision,
                      &request->repo, err) < 0)
        return -1;
    return decode_options(message->options, caller, &request->options, err);
}

int hc_decode_files(const Hubcache__V1__ResolveFilesRequest *message,
                    const struct hc_fetch_options *caller,
                    struct hc_files_request *request, struct hc_error *err)
{
    *request = (struct hc_files_request){
        .filenames = (const char *const *)message->filenames,
        .filename_count = message->n_filenames,
        .subfolder = *message->subfolder ? message->subfolder : NULL,
        .allow_missing = message->allow_missing,
    };
    if (decode_target(message->repo_id, message->repo_type, message->revision,
                      &request->repo, err) < 0)
        return -1;
    return decode_options(message->options, caller, &request->options, err);
}

int hc_decode_snapshot(const Hubcache__V1__ResolveSnapshotRequest *message,
                       const struct hc_fetch_options *caller,
                       struct hc_snapshot_request *request, struct hc_error *err)
{
    *request = (struct hc_snapshot_request){
        .allow_patterns = (const char *const *)message->allow_patterns,
        .allow_count = message->n_allow_patterns,
        .ignore_patterns = (const char *const *)message->ignore_patterns,
        .ignore_count = message->n_ignore_patterns,
        .list_files = message->list_files,
    };
    if (decode_target(message->repo_id, message->repo_type, message->revision,
                      &request->repo, err) < 0)
        return -1;
    return decode_options(message->options, caller, &request->options, err);
}

void hc_encode_file(const struct hc_file *file, Hubcache__V1__ResolvedFile *message)
{
    hubcache__v1__resolved_file__init(message);
    message->path = file->path;
    message->cache_path = hc_unconst(file->cache_path);
    message->filename = hc_unconst(file->filename);
    message->commit_hash = hc_unconst(file->commit_hash);
    message->etag = hc_unconst(file->etag);
    message->size_bytes = file->size_bytes;
    message->source = (Hubcache__V1__Source)file->source;
    message->stale = file->stale;
}

/*
 * protobuf-c wants an array of pointers to messages. One element more than needed is
 * taken, so that an empty list is not NULL. NULL: out of memory.
 */
static Hubcache__V1__ResolvedFile **encode_list(const struct hc_file *files, size_t count,
                                                struct hc_arena *arena)
{
    Hubcache__V1__ResolvedFile **list = hc_arena_take(arena, (count + 1) * sizeof *list);
    Hubcache__V1__ResolvedFile *messages =
        hc_arena_take(arena, (count + 1) * sizeof *messages);

    if (!list || !messages)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        hc_encode_file(&files[i], &messages[i]);
        list[i] = &messages[i];
    }
    return list;
}

int hc_encode_files(const struct hc_files *files, struct hc_arena *arena,
                    Hubcache__V1__ResolveFilesResponse *message, struct hc_error *err)
{
    hubcache__v1__resolve_files_response__init(message);
    message->files = encode_list(files->items, files->count, arena);
    if (!message->files)
        return hc_fail_memory(err);
    message->n_files = files->count;
    message->missing = files->missing;
    message->n_missing = files->missing_count;
    message->commit_hash = hc_unconst(files->commit_hash);
    return 0;
}

int hc_encode_snapshot(const struct hc_snapshot *snapshot, struct hc_arena *arena,
                       Hubcache__V1__ResolveSnapshotResponse *message,
                       struct hc_error *err)
{
    hubcache__v1__resolve_snapshot_response__init(message);
    message->files = encode_list(snapshot->files, snapshot->listed, arena);
    if (!message->files)
        return hc_fail_memory(err);
    message->n_files = snapshot->listed;
    message->path = snapshot->path;
    message->cache_path = hc_unconst(snapshot->cache_path);
    message->commit_hash = hc_unconst(snapshot->commit_hash);
    message->completeness = (Hubcache__V1__Completeness)snapshot->completeness;
    message->missing = snapshot->missing;
    message->n_missing = snapshot->missing_listed;
    message->missing_total = snapshot->missing_total;
    message->file_count = snapshot->file_count;
    message->size_bytes = snapshot->size_bytes;
    message->downloaded_bytes = snapshot->downloaded_bytes;
    message->source = (Hubcache__V1__Source)snapshot->source;
    message->stale = snapshot->stale;
    message->excluded = snapshot->excluded;
    message->n_excluded = snapshot->excluded_listed;
    message->excluded_total = snapshot->excluded_total;
    return 0;
}

void hc_encode_progress(const struct hc_progress *progress,
                        Hubcache__V1__SnapshotProgress *message)
{
    char **active;

    hubcache__v1__snapshot_progress__init(message);
    /* protobuf-c reads the names only, but its struct has no const. */
    memcpy(&active, &progress->active_files, sizeof active);
    message->files_total = progress->files_total;
    message->files_done = progress->files_done;
    message->bytes_total = progress->bytes_total;
    message->bytes_done = progress->bytes_done;
    message->bytes_per_second = progress->bytes_per_second;
    message->active_files = active;
    message->n_active_files = progress->active_count;
    message->retries = progress->retries;
    message->files_waiting = progress->waiting_count;
}
