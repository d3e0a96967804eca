/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers are released here, whole or half-built, and left empty.
 */
#include <hubcache-client/client.h>

#include <stddef.h>
#include <stdlib.h>

static void text_list_free(char **texts, size_t count)
{
    for (size_t i = 0; texts && i < count; i++)
        free(texts[i]);
    free((void *)texts);
}

static void client_files_free(struct hc_client_file *files, size_t count)
{
    for (size_t i = 0; files && i < count; i++)
        hc_client_file_clear(&files[i]);
    free(files);
}

void hc_client_file_clear(struct hc_client_file *file)
{
    free(file->path);
    free(file->cache_path);
    free(file->filename);
    free(file->commit_hash);
    free(file->etag);
    free(file->cache_id);
    *file = (struct hc_client_file){0};
}

void hc_client_files_clear(struct hc_client_files *files)
{
    client_files_free(files->items, files->count);
    text_list_free(files->missing, files->missing_count);
    free(files->commit_hash);
    free(files->cache_id);
    *files = (struct hc_client_files){0};
}

void hc_client_snapshot_clear(struct hc_client_snapshot *snapshot)
{
    free(snapshot->path);
    free(snapshot->cache_path);
    free(snapshot->commit_hash);
    free(snapshot->cache_id);
    text_list_free(snapshot->missing, snapshot->missing_listed);
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
