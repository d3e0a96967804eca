/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In json_pack's formats "o" takes over the value, and passes on the failure if it is
 * NULL.
 */
#include "json.h"

#include <jansson.h>
#include <stddef.h>

static const char *json_source_name(enum hc_client_source source)
{
    static const char *const names[] = {
        [HC_CLIENT_SOURCE_UNSPECIFIED] = "SOURCE_UNSPECIFIED",
        [HC_CLIENT_SOURCE_CACHE] = "SOURCE_CACHE",
        [HC_CLIENT_SOURCE_HUB] = "SOURCE_HUB",
        [HC_CLIENT_SOURCE_LOCAL] = "SOURCE_LOCAL",
    };

    return names[(size_t)source < sizeof names / sizeof *names ? source : 0];
}

static const char *json_completeness_name(enum hc_client_completeness completeness)
{
    static const char *const names[] = {
        [HC_CLIENT_COMPLETENESS_UNSPECIFIED] = "COMPLETENESS_UNSPECIFIED",
        [HC_CLIENT_COMPLETE] = "COMPLETENESS_COMPLETE",
        [HC_CLIENT_PARTIAL] = "COMPLETENESS_PARTIAL",
        [HC_CLIENT_UNKNOWN] = "COMPLETENESS_UNKNOWN",
    };

    return names[(size_t)completeness < sizeof names / sizeof *names ? completeness : 0];
}

static json_t *json_of_file(const struct hc_client_file *file)
{
    return json_pack("{ss ss ss ss ss sI ss sb}", "path", file->path, "cache_path",
                     file->cache_path, "filename", file->filename, "commit_hash",
                     file->commit_hash, "etag", file->etag, "size_bytes",
                     (json_int_t)file->size_bytes, "source",
                     json_source_name(file->source), "stale", (int)file->stale);
}

static json_t *json_of_files(const struct hc_client_file *files, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_of_file(&files[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *json_of_texts(char *const *texts, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_string(texts[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* Takes over `object`. */
static char *json_line(json_t *object)
{
    char *line = object ? json_dumps(object, 0) : NULL;

    json_decref(object);
    return line;
}

char *hc_output_json_of_file(const struct hc_client_file *file)
{
    return json_line(
        json_pack("{so ss}", "file", json_of_file(file), "cache_id", file->cache_id));
}

char *hc_output_json_of_files(const struct hc_client_files *files)
{
    return json_line(
        json_pack("{so so ss ss}", "files", json_of_files(files->items, files->count),
                  "missing", json_of_texts(files->missing, files->missing_count),
                  "commit_hash", files->commit_hash, "cache_id", files->cache_id));
}

char *hc_output_json_of_snapshot(const struct hc_client_snapshot *snapshot)
{
    return json_line(json_pack(
        "{ss ss ss ss so sI sI sI sI ss sb ss so}", "path", snapshot->path, "cache_path",
        snapshot->cache_path, "commit_hash", snapshot->commit_hash, "completeness",
        json_completeness_name(snapshot->completeness), "missing",
        json_of_texts(snapshot->missing, snapshot->missing_listed), "missing_total",
        (json_int_t)snapshot->missing_total, "file_count",
        (json_int_t)snapshot->file_count, "size_bytes", (json_int_t)snapshot->size_bytes,
        "downloaded_bytes", (json_int_t)snapshot->downloaded_bytes, "source",
        json_source_name(snapshot->source), "stale", (int)snapshot->stale, "cache_id",
        snapshot->cache_id, "files", json_of_files(snapshot->files, snapshot->listed)));
}

char *hc_output_json_of_info(const struct hc_client_info *info)
{
    return json_line(json_pack("{ss ss ss sb ss}", "version", info->version, "cache_root",
                               info->cache_root, "cache_id", info->cache_id, "offline",
                               (int)info->offline, "endpoint", info->endpoint));
}
