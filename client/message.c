/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests are only put into another shape: the server alone decides what a request may
 * hold, so that an older client can ask a newer server for all that its fields can say.
 * Enums have the numbers of the proto file and are cast; a number that a newer server
 * added passes through.
 *
 * Each answer is built in a local value, which its scope clears when anything fails, and
 * which is handed over only when it is whole. The cache id of the mount is read for each
 * answer, since it is one small file and a volume may be mounted anew while a client
 * runs.
 */
#include "message.h"

#include "base/auto.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_files, hc_client_files_clear)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)
HC_DEFINE_AUTO_VALUE(hc_client_info, hc_client_info_clear)

/* protobuf-c declares strings as char * and does not write to those it packs. */
static char *message_borrow(const char *text)
{
    union {
        const char *given;
        char *lent;
    } both = {.given = text ? text : ""};

    return both.lent;
}

/* The same for lists: the pointers of the caller's list are packed where they are. */
static char **message_borrow_list(const char *const *list)
{
    union {
        const char *const *given;
        char **lent;
    } both = {.given = list};

    return both.lent;
}

void hc_message_set_duration(Google__Protobuf__Duration *duration, int64_t ms)
{
    duration->seconds = ms / 1000;
    duration->nanos = (int32_t)(ms % 1000 * 1000000);
}

/*
 * Fills `options` and returns the part of it that a message points to. The duration is
 * linked only when the caller set one: zero milliseconds mean "ask the Hub now", no
 * duration means "as the server's policy says".
 */
static Hubcache__V1__FetchOptions *
message_fill_options(const struct hc_client_fetch *fetch,
                     struct hc_message_options *options)
{
    protobuf_c_message_init(&google__protobuf__duration__descriptor,
                            &options->max_staleness);
    protobuf_c_message_init(&google__protobuf__duration__descriptor, &options->lease);
    protobuf_c_message_init(&hubcache__v1__fetch_options__descriptor, &options->fetch);
    options->fetch.local_files_only = fetch->local_files_only;
    options->fetch.force_download = fetch->force_download;
    options->fetch.dry_run = fetch->dry_run;
    options->fetch.warm = fetch->warm;
    if (fetch->has_max_staleness) {
        hc_message_set_duration(&options->max_staleness, fetch->max_staleness_ms);
        options->fetch.max_staleness = &options->max_staleness;
    }
    if (fetch->lease_ms != 0) {
        hc_message_set_duration(&options->lease, fetch->lease_ms);
        options->fetch.lease = &options->lease;
    }
    return &options->fetch;
}

void hc_message_encode_file(const struct hc_client_file_request *request,
                            struct hc_message_options *options,
                            Hubcache__V1__ResolveFileRequest *message)
{
    protobuf_c_message_init(&hubcache__v1__resolve_file_request__descriptor, message);
    message->repo_id = message_borrow(request->repo.id);
    message->repo_type = (Hubcache__V1__RepoType)request->repo.type;
    message->revision = message_borrow(request->repo.revision);
    message->filename = message_borrow(request->filename);
    message->subfolder = message_borrow(request->subfolder);
    message->options = message_fill_options(&request->fetch, options);
}

void hc_message_encode_files(const struct hc_client_files_request *request,
                             struct hc_message_options *options,
                             Hubcache__V1__ResolveFilesRequest *message)
{
    protobuf_c_message_init(&hubcache__v1__resolve_files_request__descriptor, message);
    message->repo_id = message_borrow(request->repo.id);
    message->repo_type = (Hubcache__V1__RepoType)request->repo.type;
    message->revision = message_borrow(request->repo.revision);
    message->filenames = message_borrow_list(request->filenames);
    message->n_filenames = request->filename_count;
    message->subfolder = message_borrow(request->subfolder);
    message->allow_missing = request->allow_missing;
    message->options = message_fill_options(&request->fetch, options);
}

void hc_message_encode_snapshot(const struct hc_client_snapshot_request *request,
                                struct hc_message_options *options,
                                Hubcache__V1__ResolveSnapshotRequest *message)
{
    protobuf_c_message_init(&hubcache__v1__resolve_snapshot_request__descriptor, message);
    message->repo_id = message_borrow(request->repo.id);
    message->repo_type = (Hubcache__V1__RepoType)request->repo.type;
    message->revision = message_borrow(request->repo.revision);
    message->allow_patterns = message_borrow_list(request->allow_patterns);
    message->n_allow_patterns = request->allow_count;
    message->ignore_patterns = message_borrow_list(request->ignore_patterns);
    message->n_ignore_patterns = request->ignore_count;
    message->list_files = request->list_files;
    message->options = message_fill_options(&request->fetch, options);
}

/* protobuf-c gives an absent string as "", so `text` is never NULL. */
static int copy_text(char **out, const char *text, struct hc_error *err)
{
    *out = hc_text_copy(text, err);
    return *out ? 0 : -1;
}

/* `count` grows with each text copied, so that a list that fails can be freed. */
static int copy_texts(char ***out, size_t *count, char *const *texts, size_t total,
                      struct hc_error *err)
{
    if (total == 0)
        return 0;
    *out = calloc(total, sizeof **out);
    if (!*out)
        return hc_fail_memory(err);
    for (; *count < total; (*count)++) {
        if (copy_text(&(*out)[*count], texts[*count], err) < 0)
            return -1;
    }
    return 0;
}

/* On failure `to` is half filled; the caller's scope clears it. */
static int fill_resolved_file(const struct hc_mount *mount,
                              const Hubcache__V1__ResolvedFile *from,
                              struct hc_client_file *to, struct hc_error *err)
{
    to->size_bytes = from->size_bytes;
    to->source = (enum hc_client_source)from->source;
    to->stale = from->stale;
    to->path = hc_mount_path(mount, from->path, from->cache_path, err);
    if (!to->path || copy_text(&to->cache_path, from->cache_path, err) < 0 ||
        copy_text(&to->filename, from->filename, err) < 0 ||
        copy_text(&to->commit_hash, from->commit_hash, err) < 0)
        return -1;
    return copy_text(&to->etag, from->etag, err);
}

/* `*to` is all zero before it is filled, so that a list that fails can be cleared. */
static int fill_file_list(const struct hc_mount *mount,
                          Hubcache__V1__ResolvedFile *const *from, size_t count,
                          struct hc_client_file **to, struct hc_error *err)
{
    if (count == 0)
        return 0;
    *to = calloc(count, sizeof **to);
    if (!*to)
        return hc_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        if (fill_resolved_file(mount, from[i], &(*to)[i], err) < 0)
            return -1;
    }
    return 0;
}

/* The files of a local directory are on no cache volume, so the mount does not matter. */
static bool files_are_cached(Hubcache__V1__ResolvedFile *const *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (files[i]->cache_path[0] != '\0')
            return true;
    }
    return false;
}

/*
 * The decoders check the mount before they map paths, and only when a file of the answer
 * is on the cache volume. They take what the server says otherwise: it proved the files.
 */
int hc_message_decode_file(const struct hc_mount *mount,
                           const Hubcache__V1__ResolveFileResponse *response,
                           struct hc_client_file *file, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_file) filled = {0};

    if (!response->file)
        return hc_fail(err, HC_INTERNAL, "hubcached at '%.128s' answered with no file",
                       mount->server);
    if ((files_are_cached(&response->file, 1) &&
         hc_mount_check(mount, response->cache_id, err) < 0) ||
        fill_resolved_file(mount, response->file, &filled, err) < 0 ||
        copy_text(&filled.cache_id, response->cache_id, err) < 0 ||
        copy_text(&filled.lease_id, response->lease_id, err) < 0)
        return -1;
    *file = filled;
    filled = (struct hc_client_file){0};
    return 0;
}

int hc_message_decode_resolved(const struct hc_mount *mount,
                               const Hubcache__V1__ResolvedFile *resolved,
                               struct hc_client_file *file, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_file) filled = {0};

    if (fill_resolved_file(mount, resolved, &filled, err) < 0)
        return -1;
    *file = filled;
    filled = (struct hc_client_file){0};
    return 0;
}

int hc_message_decode_files(const struct hc_mount *mount,
                            const Hubcache__V1__ResolveFilesResponse *response,
                            struct hc_client_files *files, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_files) filled = {.count = response->n_files};

    if ((files_are_cached(response->files, response->n_files) &&
         hc_mount_check(mount, response->cache_id, err) < 0) ||
        fill_file_list(mount, response->files, response->n_files, &filled.items, err) <
            0 ||
        copy_texts(&filled.missing, &filled.missing_count, response->missing,
                   response->n_missing, err) < 0 ||
        copy_text(&filled.commit_hash, response->commit_hash, err) < 0 ||
        copy_text(&filled.cache_id, response->cache_id, err) < 0 ||
        copy_text(&filled.lease_id, response->lease_id, err) < 0)
        return -1;
    *files = filled;
    filled = (struct hc_client_files){0};
    return 0;
}

int hc_message_add_files(const struct hc_mount *mount,
                         const Hubcache__V1__SnapshotFiles *event,
                         struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    size_t total = snapshot->listed + event->n_files;
    struct hc_client_file *grown;

    if (event->n_files == 0)
        return 0;
    grown = reallocarray(snapshot->files, total, sizeof *grown);
    if (!grown)
        return hc_fail_memory(err);
    snapshot->files = grown;
    for (size_t i = 0; i < event->n_files; i++) {
        if (hc_message_decode_resolved(mount, event->files[i], &grown[snapshot->listed],
                                       err) < 0)
            return -1;
        snapshot->listed++;
    }
    return 0;
}

int hc_message_decode_snapshot(const struct hc_mount *mount,
                               const Hubcache__V1__ResolveSnapshotResponse *response,
                               struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_snapshot)
    filled = {
        .completeness = (enum hc_client_completeness)response->completeness,
        .source = (enum hc_client_source)response->source,
        .stale = response->stale,
        .missing_total = response->missing_total,
        .excluded_total = response->excluded_total,
        .file_count = response->file_count,
        .size_bytes = response->size_bytes,
        .downloaded_bytes = response->downloaded_bytes,
        .listed = response->n_files,
    };

    if (response->cache_path[0] != '\0' &&
        hc_mount_check(mount, response->cache_id, err) < 0)
        return -1;
    filled.path = hc_mount_path(mount, response->path, response->cache_path, err);
    if (!filled.path || copy_text(&filled.cache_path, response->cache_path, err) < 0 ||
        copy_text(&filled.commit_hash, response->commit_hash, err) < 0 ||
        copy_text(&filled.cache_id, response->cache_id, err) < 0 ||
        copy_text(&filled.lease_id, response->lease_id, err) < 0 ||
        copy_texts(&filled.missing, &filled.missing_listed, response->missing,
                   response->n_missing, err) < 0 ||
        copy_texts(&filled.excluded, &filled.excluded_listed, response->excluded,
                   response->n_excluded, err) < 0 ||
        fill_file_list(mount, response->files, response->n_files, &filled.files, err) < 0)
        return -1;
    *snapshot = filled;
    filled = (struct hc_client_snapshot){0};
    return 0;
}

/* Paths of the server stay as they are: this is about the server's own view. */
int hc_message_decode_info(const Hubcache__V1__GetServerInfoResponse *response,
                           struct hc_client_info *info, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_client_info) filled = {.offline = response->offline};

    if (copy_text(&filled.version, response->version, err) < 0 ||
        copy_text(&filled.cache_root, response->cache_root, err) < 0 ||
        copy_text(&filled.cache_id, response->cache_id, err) < 0 ||
        copy_text(&filled.endpoint, response->endpoint, err) < 0)
        return -1;
    *info = filled;
    filled = (struct hc_client_info){0};
    return 0;
}

/* A number that an older server does not send is zero. */
void hc_message_decode_progress(const Hubcache__V1__SnapshotProgress *event,
                                struct hc_client_progress *progress)
{
    *progress = (struct hc_client_progress){
        .files_total = event->files_total,
        .files_done = event->files_done,
        .bytes_total = event->bytes_total,
        .bytes_done = event->bytes_done,
        .bytes_per_second = event->bytes_per_second,
        .active_files = (const char *const *)event->active_files,
        .active_count = event->n_active_files,
        .waiting_count = event->files_waiting,
        .retries = event->retries,
    };
}

/*
 * Compares the volume's own id, not paths: a client that mounts another volume at the
 * right place would otherwise open files of the same names with other bytes. A server
 * that has no id (a read-only cache root that never got one) sends "".
 */
int hc_mount_check(const struct hc_mount *mount, const char *cache_id,
                   struct hc_error *err)
{
    char path[PATH_MAX], here[128];
    int found;

    if (!mount->dir || cache_id[0] == '\0')
        return 0;
    if (hc_format(path, sizeof path, "%s/.hubcache/cache-id", mount->dir) < 0)
        return hc_fail(err, HC_CACHE_MISMATCH, "mount '%.200s…' is too long a path",
                       mount->dir);
    found = hc_file_read(AT_FDCWD, path, here, sizeof here, err);
    if (found < 0)
        return hc_context(err, "which volume is mounted here?");
    if (found == 0)
        return hc_fail(
            err, HC_CACHE_MISMATCH,
            "'%.128s' is not where the cache volume of hubcached at '%.128s' is "
            "mounted (cache id '%.64s'): it has no .hubcache/cache-id; mount "
            "the volume there, or give its place with --mount or HUBCACHE_MOUNT",
            mount->dir, mount->server, cache_id);
    if (strcmp(hc_text_trim(here), cache_id) == 0)
        return 0;
    return hc_fail(
        err, HC_CACHE_MISMATCH,
        "another volume is mounted at '%.128s' (cache id '%.64s') than hubcached "
        "at '%.128s' resolves on (cache id '%.64s'); mount that volume, or give "
        "its place with --mount or HUBCACHE_MOUNT",
        mount->dir, here, mount->server, cache_id);
}

/*
 * Whether `path` is relative and each of its parts is a name, not "", "." or "..". A path
 * from the network must not lead out of the mount, whatever the server is.
 */
static bool path_is_below(const char *path)
{
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, "/");

        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += length;
        if (*part == '\0')
            return true;
    }
}

char *hc_mount_path(const struct hc_mount *mount, const char *server_path,
                    const char *cache_path, struct hc_error *err)
{
    size_t length;
    char *path;

    if (cache_path[0] != '\0' && !path_is_below(cache_path)) {
        (void)hc_fail(
            err, HC_INTERNAL,
            "hubcached at '%.128s' answered with '%.200s', which is no path below "
            "a cache root",
            mount->server, cache_path);
        return NULL;
    }
    if (!mount->dir || cache_path[0] == '\0')
        return hc_text_copy(server_path, err);
    length = strlen(mount->dir); /* without slashes at the end: 0 for the mount "/" */
    while (length > 0 && mount->dir[length - 1] == '/')
        length--;
    if (asprintf(&path, "%.*s/%s", (int)length, mount->dir, cache_path) >= 0)
        return path;
    (void)hc_fail_memory(err);
    return NULL;
}

/* Of a list that failed, only the first `count` texts were copied. */
static void text_list_free(char **texts, size_t count)
{
    for (size_t i = 0; texts && i < count; i++)
        free(texts[i]);
    free((void *)texts);
}

/* `files` is NULL when there is no list. */
static void client_files_free(struct hc_client_file *files, size_t count)
{
    for (size_t i = 0; files && i < count; i++)
        hc_client_file_clear(&files[i]);
    free(files);
}

/* The public clear functions take answers that are whole, half filled, or zero. */
void hc_client_file_clear(struct hc_client_file *file)
{
    free(file->path);
    free(file->cache_path);
    free(file->filename);
    free(file->commit_hash);
    free(file->etag);
    free(file->cache_id);
    free(file->lease_id);
    *file = (struct hc_client_file){0};
}

void hc_client_files_clear(struct hc_client_files *files)
{
    client_files_free(files->items, files->count);
    text_list_free(files->missing, files->missing_count);
    free(files->commit_hash);
    free(files->cache_id);
    free(files->lease_id);
    *files = (struct hc_client_files){0};
}

void hc_client_snapshot_clear(struct hc_client_snapshot *snapshot)
{
    free(snapshot->path);
    free(snapshot->cache_path);
    free(snapshot->commit_hash);
    free(snapshot->cache_id);
    free(snapshot->lease_id);
    text_list_free(snapshot->missing, snapshot->missing_listed);
    text_list_free(snapshot->excluded, snapshot->excluded_listed);
    client_files_free(snapshot->files, snapshot->listed);
    *snapshot = (struct hc_client_snapshot){0};
}

void hc_client_info_clear(struct hc_client_info *info)
{
    free(info->version);
    free(info->cache_root);
    free(info->cache_id);
    free(info->endpoint);
    *info = (struct hc_client_info){0};
}
