/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that are pickled Python objects run code when they are loaded, so policies deny
 * them. Most repos have the same weights as .safetensors, which a caller that is told so
 * can ask for. What the commit has is known from its cached listing; the Hub is not asked
 * for the sake of a hint, nor is a listing shown to a caller whose access to the repo is
 * not known. Of the candidates the first one counts that the listing has and the decision
 * allows:
 *
 *     the same name with .safetensors    model.bin -> model.safetensors
 *     with the name that transformers gives it       pytorch_model-1.bin ->
 *                                                    model-1.safetensors
 *     any other .safetensors of the same folder
 */
#include "resolution.h"

#include <base/size.h>
#include <cache/tree_cache.h>

#include <string.h>

static const char safe_ending[] = ".safetensors";

static bool file_is_allowed(const struct hc_resolution *resolution,
                            const struct hc_entry *entry)
{
    return entry &&
           hc_decision_verdict(&resolution->decision, entry->path, hc_entry_size(entry))
               .is_allowed;
}

/* Puts the ending in the place of the one that the name has. -1: it has none. */
static int name_change_ending(const char *path, char name[HC_FILENAME_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');

    if (!dot)
        return -1;
    return hc_format(name, HC_FILENAME_MAX + 1, "%.*s%s", (int)(dot - path), path,
                     safe_ending);
}

/* "pytorch_model" at the beginning of the name becomes "model". */
static int name_drop_framework(char name[HC_FILENAME_MAX + 1])
{
    static const char framework[] = "pytorch_";
    const size_t length = sizeof framework - 1;
    char *slash = strrchr(name, '/');
    char *file = slash ? slash + 1 : name;

    if (!hc_text_starts(file, framework))
        return -1;
    memmove(file, file + length, strlen(file + length) + 1);
    return 0;
}

static bool is_in_folder_of(const char *path, const char *other)
{
    const char *slash = strrchr(other, '/');
    size_t length = slash ? (size_t)(slash - other) + 1 : 0;

    return strncmp(path, other, length) == 0 && !strchr(path + length, '/');
}

static const struct hc_entry *
tree_find_alternative(const struct hc_resolution *resolution, const struct hc_tree *tree,
                      const char *path)
{
    char name[HC_FILENAME_MAX + 1];
    const struct hc_entry *entry = NULL;

    if (name_change_ending(path, name) < 0)
        return NULL;
    entry = hc_tree_find(tree, name);
    if (!file_is_allowed(resolution, entry) && name_drop_framework(name) == 0)
        entry = hc_tree_find(tree, name);
    for (size_t i = 0; !file_is_allowed(resolution, entry) && i < tree->count; i++) {
        entry = &tree->entries[i];
        if (!hc_text_ends(entry->path, safe_ending) ||
            !is_in_folder_of(entry->path, path))
            entry = NULL;
    }
    return file_is_allowed(resolution, entry) ? entry : NULL;
}

/* The listing of the commit that the cache has under the revision; NULL: none. */
static struct hc_tree *resolution_load_tree(struct hc_resolution *resolution)
{
    char commit[HC_COMMIT_SIZE];
    struct hc_tree *tree = NULL;
    struct hc_error ignored;

    if (hc_resolution_check(resolution, &ignored) < 0 ||
        hc_resolution_check_access(resolution, HC_ACCESS_BY_VOLUME, &ignored) != 1 ||
        hc_resolution_read_ref(resolution, commit, &ignored) < 0 || !commit[0] ||
        hc_tree_load(resolution->resolver->cache, &resolution->repo, commit,
                     resolution->cancellation, &tree, &ignored) != 1)
        return NULL;
    return tree;
}

int hc_resolution_offer_alternative(struct hc_resolution *resolution,
                                    struct hc_error *err)
{
    HC_AUTO(hc_tree) *tree = NULL;
    const struct hc_entry *entry;
    size_t used;

    if (!resolution->is_file_denied)
        return -1;
    tree = resolution_load_tree(resolution);
    entry = tree ? tree_find_alternative(resolution, tree, err->filename) : NULL;
    if (!entry || !entry->is_safe)
        return -1;
    used = strlen(err->message);
    (void)hc_format(err->alternative, sizeof err->alternative, "%s", entry->path);
    if (hc_format(err->message + used, sizeof err->message - used,
                  ". The commit has '%s', which is allowed", entry->path) < 0)
        err->message[used] = '\0';
    return -1;
}
