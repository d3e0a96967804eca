/* SPDX-License-Identifier: Apache-2.0 */
/* A file of an answer: its paths, of one commit, with the rule that allows it. */
#include "resolution.h"

#include <base/list.h>

#include <string.h>

int hc_resolved_file_init(const struct hc_resolver *resolver, const char *cache_path,
                          const char *path, struct hc_file *file, struct hc_error *err)
{
    const char *root = hc_cache_root(resolver->cache);
    size_t root_length = strlen(root), length = strlen(cache_path);

    *file = (struct hc_file){0};
    file->path = malloc(root_length + 1 + length + 1);
    if (!file->path)
        return hc_fail_memory(err);
    memcpy(file->path, root, root_length);
    file->path[root_length] = '/';
    memcpy(file->path + root_length + 1, cache_path, length + 1);
    file->cache_path = file->path + root_length + 1;
    file->filename = file->cache_path + length - strlen(path);
    return 0;
}

void hc_file_clear(struct hc_file *file)
{
    free(file->path);
    *file = (struct hc_file){0};
}

int hc_resolution_place_file(const struct hc_resolution *resolution, const char *commit,
                             const char *path, struct hc_file *file, struct hc_error *err)
{
    char cache_path[PATH_MAX];

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, path, err) < 0 ||
        hc_resolved_file_init(resolution->resolver, cache_path, path, file, err) < 0)
        return -1;
    hc_resolution_name_rule(resolution, path, file->rule);
    memcpy(file->commit_hash, commit, HC_COMMIT_SIZE);
    return 0;
}

int hc_resolution_place_entry(const struct hc_resolution *resolution, const char *commit,
                              const struct hc_entry *entry, struct hc_file *file,
                              struct hc_error *err)
{
    if (hc_resolution_place_file(resolution, commit, entry->path, file, err) < 0)
        return -1;
    (void)hc_format(file->etag, sizeof file->etag, "%s", hc_entry_etag(entry));
    file->size_bytes = hc_entry_size(entry);
    file->source = HC_SOURCE_HUB;
    return 0;
}

int hc_resolved_files_add(struct hc_file **items, size_t *count, struct hc_file *file,
                          struct hc_error *err)
{
    struct hc_file *grown = hc_list_grow(*items, *count, sizeof *grown, err);

    if (!grown) {
        hc_file_clear(file);
        return -1;
    }
    *items = grown;
    (*items)[(*count)++] = *file;
    *file = (struct hc_file){0};
    return 0;
}

void hc_resolved_files_clear(struct hc_file *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hc_file_clear(&items[i]);
    free(items);
}
