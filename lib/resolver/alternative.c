/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that are pickled Python objects run code when they are loaded, so policies deny
 * them. Most repos have the same weights as .safetensors, which a caller that is told so
 * can ask for. Of the candidates the first one counts that the listing of the commit has
 * and the decision allows:
 *
 *     the same name with .safetensors             x.bin -> x.safetensors
 *     with the name that transformers gives it    pytorch_model-1.bin, tf_model-1.h5 ->
 *                                                 model-1.safetensors
 *     the index of that name, when it has parts   model.safetensors.index.json
 *     of the other .safetensors of the folder, the one whose name begins like these
 *
 * A listing in the cache serves, whatever its age. Of a model the Hub is asked for one,
 * once and without retries, as if the caller had asked for a snapshot: by the same rules
 * and with the same token. A listing of a dataset can take minutes.
 */
#include "resolution.h"

#include <base/size.h>
#include <cache/tree_cache.h>

#include <stddef.h>
#include <string.h>

static const char safe_ending[] = ".safetensors";
static const char index_ending[] = ".safetensors.index.json";

struct alternative_resolution {
    struct hc_resolution resolution;
    const char *denied;
    char path[HC_FILENAME_MAX + 1]; /* the answer; "": there is none */
};

_Static_assert(offsetof(struct alternative_resolution, resolution) == 0,
               "the kind casts to it");

/* ---- the candidates ---------------------------------------------------------------- */

/* The ending of weights that are not .safetensors; NULL: it is no such file. */
static const char *weights_find_ending(const char *path)
{
    static const char *const endings[] = {".bin",    ".pt", ".pth",     ".ckpt", ".pkl",
                                          ".pickle", ".h5", ".msgpack", ".npz",  ".onnx"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (hc_text_ends(path, endings[i]))
            return path + strlen(path) - strlen(endings[i]);
    }
    return NULL;
}

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Without its ending, "pytorch_model-1.bin" becomes "model-1". */
static void name_drop_framework(char name[HC_FILENAME_MAX + 1])
{
    static const char *const frameworks[] = {"pytorch_", "tf_", "flax_"};
    char *file = name + folder_length(name);

    for (size_t i = 0; i < sizeof frameworks / sizeof *frameworks; i++) {
        size_t length = strlen(frameworks[i]);

        if (hc_text_starts(file, frameworks[i]) &&
            hc_text_starts(file + length, "model")) {
            memmove(file, file + length, strlen(file + length) + 1);
            return;
        }
    }
}

static const struct hc_entry *tree_find_allowed(const struct hc_resolution *resolution,
                                                const char *name, const char *ending)
{
    const struct hc_entry *entry = NULL;
    char path[HC_FILENAME_MAX + 1];

    if (hc_format(path, sizeof path, "%s%s", name, ending) >= 0)
        entry = hc_tree_find(resolution->tree, path);
    return entry && entry->is_safe &&
                   hc_decision_verdict(&resolution->decision, entry->path,
                                       hc_entry_size(entry))
                       .is_allowed
               ? entry
               : NULL;
}

static size_t common_length(const char *one, const char *other)
{
    size_t length = 0;

    while (one[length] && one[length] == other[length])
        length++;
    return length;
}

static const struct hc_entry *tree_find_like(const struct hc_resolution *resolution,
                                             const char *name)
{
    const struct hc_tree *tree = resolution->tree;
    const struct hc_entry *best = NULL;
    size_t folder = folder_length(name);

    for (size_t i = 0; i < tree->count; i++) {
        const char *path = tree->entries[i].path;

        if (hc_text_ends(path, safe_ending) && folder_length(path) == folder &&
            strncmp(path, name, folder) == 0 &&
            (!best || common_length(path, name) > common_length(best->path, name)) &&
            tree_find_allowed(resolution, path, ""))
            best = &tree->entries[i];
    }
    return best;
}

static const struct hc_entry *
tree_find_alternative(const struct hc_resolution *resolution, const char *denied)
{
    const char *ending = weights_find_ending(denied);
    const struct hc_entry *entry;
    char name[HC_FILENAME_MAX + 1];

    if (!ending ||
        hc_format(name, sizeof name, "%.*s", (int)(ending - denied), denied) < 0)
        return NULL;
    entry = tree_find_allowed(resolution, name, safe_ending);
    name_drop_framework(name);
    if (!entry)
        entry = tree_find_allowed(resolution, name, safe_ending);
    if (!entry)
        entry = tree_find_allowed(resolution, name, index_ending);
    return entry ? entry : tree_find_like(resolution, name);
}

/* ---- the kind ---------------------------------------------------------------------- */

static int alternative_fetch(struct hc_resolution *resolution, struct hc_error *err)
{
    struct alternative_resolution *self = (struct alternative_resolution *)resolution;
    const struct hc_entry *entry = tree_find_alternative(resolution, self->denied);

    (void)err;
    if (entry)
        (void)hc_format(self->path, sizeof self->path, "%s", entry->path);
    return 0;
}

static int alternative_find_cached(struct hc_resolution *resolution, const char *commit,
                                   struct hc_error *err)
{
    int found = commit[0]
                    ? hc_tree_load(resolution->resolver->cache, &resolution->repo, commit,
                                   resolution->cancellation, &resolution->tree, err)
                    : 0;

    if (found == 1)
        (void)alternative_fetch(resolution, err);
    hc_tree_free(hc_take(&resolution->tree));
    return found;
}

static void alternative_clear(struct hc_resolution *resolution)
{
    struct alternative_resolution *self = (struct alternative_resolution *)resolution;

    self->path[0] = '\0';
}

static const struct hc_resolution_kind alternative_kind = {
    .find_cached = alternative_find_cached,
    .ask_revision = hc_revision_ask,
    .describe = hc_revision_describe,
    .fetch = alternative_fetch,
    .clear = alternative_clear,
};

/* The decision and what is asked for are borrowed. */
static void alternative_init(struct alternative_resolution *self,
                             const struct hc_resolution *denied)
{
    struct hc_resolution *resolution = &self->resolution;

    *resolution = *denied;
    resolution->kind = &alternative_kind;
    resolution->path = NULL;
    resolution->refuses_older = true;
    resolution->asks_once = true;
    resolution->granted = hc_policy_grant(&denied->decision, denied->options);
    resolution->granted.reuse = NULL;
    resolution->granted.force_download = false;
    resolution->granted.has_max_staleness = true;
    resolution->granted.max_staleness_ms = INT64_MAX;
    resolution->options = &resolution->granted;
    self->path[0] = '\0';
}

int hc_resolution_offer_alternative(const struct hc_resolution *resolution, bool asks_hub,
                                    struct hc_error *err)
{
    const enum hc_repo_type type = resolution->target->type;
    bool is_of_model = type == HC_REPO_DEFAULT || type == HC_REPO_MODEL;
    struct alternative_resolution self;
    size_t used = strlen(err->message);
    struct hc_error ignored;
    int found;

    if (!weights_find_ending(err->filename))
        return -1;
    alternative_init(&self, resolution);
    self.denied = err->filename;
    found = hc_resolution_continue(&self.resolution, asks_hub && is_of_model, &ignored);
    if (found == 0 && is_of_model)
        return 0;
    if (found < 1 || !self.path[0])
        return -1;
    (void)hc_format(err->alternative, sizeof err->alternative, "%s", self.path);
    if (hc_format(err->message + used, sizeof err->message - used,
                  ". The commit has '%s', which is allowed", self.path) < 0)
        err->message[used] = '\0';
    return -1;
}
