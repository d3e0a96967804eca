/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers are one allocation a file: the absolute path, in which cache_path and filename
 * point.
 */
#include "resolver.h"

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

int hc_resolved_files_add(struct hc_file **items, size_t *count, struct hc_file *file,
                          struct hc_error *err)
{
    /* Doubles at powers of two, so that no capacity needs to be kept. */
    if ((*count & (*count - 1)) == 0) {
        size_t room = *count ? *count * 2 : 1;
        struct hc_file *grown = reallocarray(*items, room, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        *items = grown;
    }
    (*items)[(*count)++] = *file;
    *file = (struct hc_file){0};
    return 0;
}

static void resolved_files_clear(struct hc_file *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hc_file_clear(&items[i]);
    free(items);
}

static void missing_names_clear(char **names, size_t count)
{
    struct hc_strings list = {.items = names, .count = count};

    hc_strings_clear(&list);
}

void hc_file_clear(struct hc_file *file)
{
    free(file->path);
    *file = (struct hc_file){0};
}

void hc_files_clear(struct hc_files *files)
{
    resolved_files_clear(files->items, files->count);
    missing_names_clear(files->missing, files->missing_count);
    *files = (struct hc_files){0};
}

void hc_snapshot_clear(struct hc_snapshot *snapshot)
{
    free(snapshot->path);
    missing_names_clear(snapshot->missing, snapshot->missing_listed);
    resolved_files_clear(snapshot->files, snapshot->listed);
    *snapshot = (struct hc_snapshot){0};
}
