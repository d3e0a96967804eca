/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listing in memory and its file. Its JSON is in tree_json.c.
 */
#include "tree.h"

#include "tree_json.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <string.h>

struct hc_tree *hc_tree_new(struct hc_error *err)
{
    struct hc_tree *tree = calloc(1, sizeof *tree);

    if (!tree)
        (void)hc_fail_memory(err);
    return tree;
}

void hc_tree_free(struct hc_tree *tree)
{
    if (!tree || atomic_fetch_sub(&tree->sharers, 1) > 0)
        return;
    for (size_t i = 0; i < tree->count; i++)
        free(tree->entries[i].path);
    free(tree->entries);
    free(tree);
}

struct hc_tree *hc_tree_share(struct hc_tree *tree)
{
    if (tree)
        (void)atomic_fetch_add(&tree->sharers, 1);
    return tree;
}

static bool is_xet_hash(const char *text)
{
    return strspn(text, "0123456789abcdefABCDEF") == 64 && text[64] == '\0';
}

static int check_entry(const struct hc_entry *entry, struct hc_error *err)
{
    if (!hc_filename_is_safe(entry->path))
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "the listing has an unsafe file name; its owner must rename it");
    if (!hc_text_is_hex(entry->blob_id, 40))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the listing has a bad git id for '%s'",
                       entry->path);
    if (entry->lfs_sha256[0] && !hc_text_is_hex(entry->lfs_sha256, 64))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the listing has a bad SHA-256 for '%s'",
                       entry->path);
    if (entry->xet_hash[0] && !is_xet_hash(entry->xet_hash))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the listing has a bad Xet hash for '%s'",
                       entry->path);
    return 0;
}

static int make_room(struct hc_tree *tree, struct hc_error *err)
{
    size_t room = tree->room ? tree->room * 2 : 64;
    struct hc_entry *entries;

    if (tree->count < tree->room)
        return 0;
    if (tree->count >= HC_TREE_ENTRIES_MAX)
        return hc_fail(err, HC_BAD_HUB_REPLY, "the listing has more than %d files",
                       HC_TREE_ENTRIES_MAX);
    entries = reallocarray(tree->entries, room, sizeof *entries);
    if (!entries)
        return hc_fail_memory(err);
    tree->entries = entries;
    tree->room = room;
    return 0;
}

int hc_tree_add(struct hc_tree *tree, const struct hc_entry *entry, struct hc_error *err)
{
    char *path;

    if (check_entry(entry, err) < 0 || make_room(tree, err) < 0)
        return -1;
    path = hc_text_copy(entry->path, err);
    if (!path)
        return -1;
    tree->entries[tree->count] = *entry;
    tree->entries[tree->count++].path = path;
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct hc_entry *left = a, *right = b;

    return strcmp(left->path, right->path);
}

void hc_tree_sort(struct hc_tree *tree)
{
    if (tree->count > 1)
        qsort(tree->entries, tree->count, sizeof *tree->entries, compare_entries);
}

const struct hc_entry *hc_tree_find(const struct hc_tree *tree, const char *path)
{
    size_t low = 0, high = tree->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, tree->entries[middle].path);

        if (order == 0)
            return &tree->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *hc_entry_etag(const struct hc_entry *entry)
{
    return entry->lfs_sha256[0] ? entry->lfs_sha256 : entry->blob_id;
}

uint64_t hc_entry_size(const struct hc_entry *entry)
{
    return entry->lfs_sha256[0] ? entry->lfs_size : entry->size;
}

static int format_path(char path[PATH_MAX], const struct hc_repo *repo,
                       const char *commit, struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, "%s/trees/%s.json", repo->folder, commit) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "listing of '%s'", repo->id);
    return 0;
}

int hc_tree_load(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree **tree, struct hc_error *err)
{
    HC_AUTO_FREE char *json = NULL;
    char path[PATH_MAX];
    size_t size = 0;
    struct hc_error unreadable;

    if (format_path(path, repo, commit, err) < 0)
        return -1;
    /* The reference writes listings with 0600: one that we may not read is none. */
    if (hc_file_slurp(hc_cache_fd(cache), path, HC_TREE_BYTES_MAX, &json, &size,
                      &unreadable) != 1)
        return 0;
    *tree = hc_tree_parse(json, size);
    return *tree ? 1 : 0;
}

int hc_tree_save(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, const struct hc_tree *tree, struct hc_error *err)
{
    HC_AUTO_FREE char *json = NULL;
    char path[PATH_MAX];
    size_t size;

    if (format_path(path, repo, commit, err) < 0)
        return -1;
    json = hc_tree_format(tree, &size, err);
    if (!json)
        return -1;
    return hc_cache_publish(cache, path, json, size, err);
}
