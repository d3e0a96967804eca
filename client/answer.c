/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each answer is built in a local value that is cleared when anything goes wrong, and
 * only then handed over.
 */
#include "answer.h"

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static int copy_text(char **out, const char *text, struct hc_error *err)
{
    *out = hc_text_copy(text, err);
    return *out ? 0 : -1;
}

static int copy_texts(char ***out, size_t *count, char *const *texts, size_t wanted,
                      struct hc_error *err)
{
    if (wanted == 0)
        return 0;
    *out = calloc(wanted, sizeof **out);
    if (!*out)
        return hc_fail_memory(err);
    for (; *count < wanted; (*count)++) {
        if (copy_text(&(*out)[*count], texts[*count], err) < 0)
            return -1;
    }
    return 0;
}

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

/* A local directory's files are on no cache volume. */
static bool files_are_cached(Hubcache__V1__ResolvedFile *const *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (files[i]->cache_path[0] != '\0')
            return true;
    }
    return false;
}

static int fill_file_answer(const struct hc_mount *mount,
                            const Hubcache__V1__ResolveFileResponse *from,
                            struct hc_client_file *to, struct hc_error *err)
{
    if (!from->file)
        return hc_fail(err, HC_INTERNAL, "hubcached at '%.128s' answered with no file",
                       mount->server);
    if (files_are_cached(&from->file, 1) &&
        hc_mount_check(mount, from->cache_id, err) < 0)
        return -1;
    if (fill_resolved_file(mount, from->file, to, err) < 0)
        return -1;
    return copy_text(&to->cache_id, from->cache_id, err);
}

static int fill_files_answer(const struct hc_mount *mount,
                             const Hubcache__V1__ResolveFilesResponse *from,
                             struct hc_client_files *to, struct hc_error *err)
{
    if (files_are_cached(from->files, from->n_files) &&
        hc_mount_check(mount, from->cache_id, err) < 0)
        return -1;
    to->count = from->n_files;
    if (fill_file_list(mount, from->files, from->n_files, &to->items, err) < 0 ||
        copy_texts(&to->missing, &to->missing_count, from->missing, from->n_missing,
                   err) < 0 ||
        copy_text(&to->commit_hash, from->commit_hash, err) < 0)
        return -1;
    return copy_text(&to->cache_id, from->cache_id, err);
}

static void fill_numbers(const Hubcache__V1__ResolveSnapshotResponse *from,
                         struct hc_client_snapshot *to)
{
    to->completeness = (enum hc_client_completeness)from->completeness;
    to->source = (enum hc_client_source)from->source;
    to->stale = from->stale;
    to->missing_total = from->missing_total;
    to->file_count = from->file_count;
    to->size_bytes = from->size_bytes;
    to->downloaded_bytes = from->downloaded_bytes;
}

static int fill_snapshot(const struct hc_mount *mount,
                         const Hubcache__V1__ResolveSnapshotResponse *from,
                         struct hc_client_snapshot *to, struct hc_error *err)
{
    if (from->cache_path[0] != '\0' && hc_mount_check(mount, from->cache_id, err) < 0)
        return -1;
    fill_numbers(from, to);
    to->path = hc_mount_path(mount, from->path, from->cache_path, err);
    if (!to->path || copy_text(&to->cache_path, from->cache_path, err) < 0 ||
        copy_text(&to->commit_hash, from->commit_hash, err) < 0 ||
        copy_text(&to->cache_id, from->cache_id, err) < 0 ||
        copy_texts(&to->missing, &to->missing_listed, from->missing, from->n_missing,
                   err) < 0)
        return -1;
    to->listed = from->n_files;
    return fill_file_list(mount, from->files, from->n_files, &to->files, err);
}

static int fill_info(const Hubcache__V1__GetServerInfoResponse *from,
                     struct hc_client_info *to, struct hc_error *err)
{
    to->offline = from->offline;
    if (copy_text(&to->version, from->version, err) < 0 ||
        copy_text(&to->cache_root, from->cache_root, err) < 0 ||
        copy_text(&to->cache_id, from->cache_id, err) < 0)
        return -1;
    return copy_text(&to->endpoint, from->endpoint, err);
}

int hc_message_decode_file(const struct hc_mount *mount,
                           const Hubcache__V1__ResolveFileResponse *answer,
                           struct hc_client_file *file, struct hc_error *err)
{
    struct hc_client_file filled = {0};

    if (fill_file_answer(mount, answer, &filled, err) < 0) {
        hc_client_file_clear(&filled);
        return -1;
    }
    *file = filled;
    return 0;
}

int hc_message_decode_files(const struct hc_mount *mount,
                            const Hubcache__V1__ResolveFilesResponse *answer,
                            struct hc_client_files *files, struct hc_error *err)
{
    struct hc_client_files filled = {0};

    if (fill_files_answer(mount, answer, &filled, err) < 0) {
        hc_client_files_clear(&filled);
        return -1;
    }
    *files = filled;
    return 0;
}

int hc_message_decode_snapshot(const struct hc_mount *mount,
                               const Hubcache__V1__ResolveSnapshotResponse *answer,
                               struct hc_client_snapshot *snapshot, struct hc_error *err)
{
    struct hc_client_snapshot filled = {0};

    if (fill_snapshot(mount, answer, &filled, err) < 0) {
        hc_client_snapshot_clear(&filled);
        return -1;
    }
    *snapshot = filled;
    return 0;
}

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

int hc_message_decode_info(const Hubcache__V1__GetServerInfoResponse *answer,
                           struct hc_client_info *info, struct hc_error *err)
{
    struct hc_client_info filled = {0};

    if (fill_info(answer, &filled, err) < 0) {
        hc_client_info_clear(&filled);
        return -1;
    }
    *info = filled;
    return 0;
}
