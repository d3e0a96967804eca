/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several files of one commit: the name is resolved once, what is on disk is answered
 * from there, and for the rest one listing of the commit says what they are.
 */
#include "batch.h"
#include "hub_resolution.h"

#include <cache/no_exist.h>
#include <cache/ref.h>
#include <cache/tree_file.h>

#include <string.h>

/* A request with its names checked, and its answer as it grows. */
struct files_lookup {
    struct hc_resolution resolution;
    const struct hc_files_request *request;
    struct hc_strings paths; /* in the order of the request */
    struct hc_strings missing;
    struct hc_files *files;
};

static void files_lookup_clear(struct files_lookup *lookup)
{
    hc_strings_clear(&lookup->paths);
    hc_strings_clear(&lookup->missing);
}

HC_DEFINE_AUTO_VALUE(files_lookup, files_lookup_clear)

static int files_check_names(struct files_lookup *lookup, struct hc_error *err)
{
    const struct hc_files_request *request = lookup->request;
    char path[HC_FILENAME_MAX + 1];

    if (request->filename_count == 0)
        return hc_fail_field(err, HC_INVALID_FILENAME, "filenames", "no file is named");
    if (request->filename_count > HC_FILENAMES_MAX)
        return hc_fail_field(err, HC_INVALID_FILENAME, "filenames",
                             "%zu files are named; %d is the most",
                             request->filename_count, HC_FILENAMES_MAX);
    for (size_t i = 0; i < request->filename_count; i++) {
        if (hc_filename_join(request->subfolder, request->filenames[i], path, err) < 0) {
            if (strcmp(err->field, "filename") == 0)
                memcpy(err->field, "filenames", sizeof "filenames");
            return hc_fail_about_file(err, request->filenames[i]);
        }
        if (hc_strings_add(&lookup->paths, path, err) < 0)
            return -1;
    }
    return 0;
}

/* One more file that the answer lists as missing, if that is allowed; `err` says why. */
static int files_add_missing(struct files_lookup *lookup, const char *path,
                             struct hc_error *err)
{
    if (!lookup->request->allow_missing ||
        (err->reason != HC_ENTRY_NOT_FOUND && err->reason != HC_NOT_CACHED))
        return -1;
    return hc_strings_add(&lookup->missing, path, err);
}

static int files_add_found(struct files_lookup *lookup, struct hc_file *file,
                           struct hc_error *err)
{
    if (hc_resolved_files_add(&lookup->files->items, &lookup->files->count, file, err) ==
        0)
        return 0;
    hc_file_clear(file);
    return -1;
}

/* Starts the answer anew. */
static void files_reset(struct files_lookup *lookup)
{
    hc_files_clear(lookup->files);
    hc_strings_clear(&lookup->missing);
}

static void files_finish(struct files_lookup *lookup, const char *commit)
{
    struct hc_files *files = lookup->files;

    (void)hc_format(files->commit_hash, sizeof files->commit_hash, "%s", commit);
    files->missing = lookup->missing.items;
    files->missing_count = lookup->missing.count;
    lookup->missing = (struct hc_strings){0};
}

/* Where a file that a dry run would fetch would be. */
static int files_dry_run_answer(const struct files_lookup *lookup, const char *commit,
                                const struct hc_entry *entry, struct hc_file *file,
                                struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    char cache_path[PATH_MAX];

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, entry->path, err) <
        0)
        return -1;
    if (hc_resolved_file_init(resolution->resolver, cache_path, entry->path, file, err) <
        0)
        return -1;
    file->source = HC_SOURCE_HUB;
    file->size_bytes = hc_entry_size(entry);
    memcpy(file->commit_hash, commit, HC_COMMIT_SIZE);
    (void)hc_format(file->etag, sizeof file->etag, "%s", hc_entry_etag(entry));
    return 1;
}

/* A file that the commit's listing does not have: no reason for a marker in .no_exist,
 * which other clients would believe for ever. */
static int files_fail_absent(const struct hc_resolution *resolution, const char *path,
                             struct hc_error *err)
{
    return hc_fail(err, HC_ENTRY_NOT_FOUND, "%s '%s' has no file '%s' at '%s'",
                   hc_repo_type_name(resolution->repo.type), resolution->repo.id, path,
                   resolution->revision);
}

/* The Hub must not be asked: a listing on disk may know that there is no such file. */
static int files_fail_offline(const struct hc_resolution *resolution, const char *commit,
                              const char *path, struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    HC_AUTO(hc_tree) *tree = NULL;

    if (commit[0] &&
        hc_tree_load(resolver->cache, &resolution->repo, commit, &tree, err) == 1 &&
        !hc_tree_find(tree, path))
        return files_fail_absent(resolution, path, err);
    return hc_resolution_fail_not_cached(resolution, path, err);
}

/* One file at `commit`: 1 found, 0 the Hub has to be asked, -1 it is missing or failed.
 */
static int files_find_one(const struct files_lookup *lookup, const char *commit,
                          const struct hc_tree *tree, const char *path,
                          struct hc_file *file, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_entry *entry = tree ? hc_tree_find(tree, path) : NULL;
    int found =
        commit[0] ? hc_resolution_find_file(resolution, commit, path, file, err) : 0;

    if (found == 1 && entry && file->size_bytes != hc_entry_size(entry)) {
        hc_file_clear(file);
        found = 0;
    }
    if (found != 0)
        return found;
    if (!resolution->may_ask_hub)
        return files_fail_offline(resolution, commit, path, err);
    if (tree && !entry)
        return files_fail_absent(resolution, path, err);
    if (entry && resolution->options->dry_run)
        return files_dry_run_answer(lookup, commit, entry, file, err);
    return 0;
}

/*
 * Every file at `commit`, as far as the disk, and the tree when there is one, can tell:
 * 1 answered, 0 the Hub has to be asked, -1.
 */
static int files_find_at(struct files_lookup *lookup, const char *commit,
                         const struct hc_tree *tree, struct hc_error *err)
{
    struct hc_file file;

    for (size_t i = 0; i < lookup->paths.count; i++) {
        const char *path = lookup->paths.items[i];
        int found = files_find_one(lookup, commit, tree, path, &file, err);

        if (found == 0)
            return 0;
        if (found < 0 && files_add_missing(lookup, path, err) < 0)
            return hc_fail_about_file(err, path);
        if (found == 1 && files_add_found(lookup, &file, err) < 0)
            return -1;
    }
    files_finish(lookup, commit);
    return 1;
}

/* The disk's answer: 1, or 0 when the Hub has to be asked. */
static int files_find_cached(struct files_lookup *lookup, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    struct hc_local_ref local_ref;

    if (resolution->options->force_download)
        return 0;
    if (hc_resolution_read_ref(resolution, &local_ref, err) < 0)
        return -1;
    if (resolution->may_ask_hub && !local_ref.is_usable)
        return 0;
    return files_find_at(lookup, local_ref.commit, NULL, err);
}

/* The first file that the listing does not have and of which the disk knows nothing; NULL:
 * none. */
static const char *files_find_absent(const struct files_lookup *lookup,
                                     const char *commit, const struct hc_tree *tree)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    struct hc_pointer pointer;
    struct hc_error unused;

    for (size_t i = 0; i < lookup->paths.count; i++) {
        const char *path = lookup->paths.items[i];

        if (!hc_tree_find(tree, path) &&
            hc_pointer_find(cache, &resolution->repo, commit, path, &pointer, &unused) ==
                0 &&
            hc_no_exist_find(cache, &resolution->repo, commit, path, &unused) == 0)
            return path;
    }
    return NULL;
}

/*
 * Before the request fails for want of a file, the Hub is asked for that very file: what
 * it says is remembered, or shows that the listing is wrong. When it cannot be asked, the
 * listing's word stands.
 */
static int files_confirm_absence(const struct files_lookup *lookup, const char *commit,
                                 const struct hc_tree *tree,
                                 struct hc_hub_resolution *hub_resolution,
                                 struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(hub_resolution, commit);
    struct hc_repo_file place = {&resolution->repo, commit,
                                 files_find_absent(lookup, commit, tree)};
    struct hc_metadata metadata = {0};
    struct hc_error cause;

    if (!place.path || lookup->request->allow_missing)
        return 0;
    if (hc_hub_head(resolution->resolver->hub, &place, &credentials, &metadata, &cause) ==
        0) {
        (void)
            hc_fail(err, HC_BAD_HUB_REPLY,
                    "the listing of %s '%s' at commit %.8s lacks '%.200s', which the Hub "
                    "has; try again",
                    hc_repo_type_name(resolution->repo.type), resolution->repo.id, commit,
                    place.path);
        (void)hc_fail_about_file(err, place.path);
        return hc_resolution_suspect_listing(hub_resolution, err);
    }
    if (cause.reason != HC_ENTRY_NOT_FOUND)
        return 0;
    if (!metadata.is_of_mirror && strcmp(metadata.commit, commit) == 0)
        hc_no_exist_mark(resolution->resolver->cache, &resolution->repo, commit,
                         place.path);
    *err = cause;
    return -1;
}

/* What has to be fetched: the wishes that are in the tree and not on disk. */
static int files_list_missing(struct files_lookup *lookup, const char *commit,
                              const struct hc_tree *tree, struct hc_missing_blob *blobs,
                              size_t *count, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    struct hc_pointer pointer;

    for (size_t i = 0; i < lookup->paths.count; i++) {
        const char *path = lookup->paths.items[i];
        const struct hc_entry *entry = hc_tree_find(tree, path);
        int found = 0;

        if (!entry)
            continue;
        if (!resolution->options->force_download)
            found =
                hc_pointer_find(cache, &resolution->repo, commit, path, &pointer, err);
        if (found < 0)
            return hc_fail_about_file(err, path);
        if (found == 0 || pointer.size != hc_entry_size(entry))
            blobs[(*count)++] = (struct hc_missing_blob){.path = path,
                                                         .etag = hc_entry_etag(entry),
                                                         .size = hc_entry_size(entry)};
    }
    return 0;
}

/* The jobs' files are SOURCE_HUB in the answer. */
static void files_mark_fetched(struct hc_files *files,
                               const struct hc_missing_blob *blobs, size_t count)
{
    size_t blob = 0; /* both lists are in the order of the request */

    for (size_t i = 0; i < files->count && blob < count; i++) {
        if (strcmp(files->items[i].filename, blobs[blob].path) != 0)
            continue;
        files->items[i].source = HC_SOURCE_HUB;
        blob++;
    }
}

/* The bytes of the jobs, then the ref. */
static int files_fetch(const struct files_lookup *lookup, const struct hc_batch *batch,
                       struct hc_hub_resolution *hub_resolution, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    uint64_t fetched;

    if (resolution->options->dry_run)
        return 0;
    hc_cache_write_tag(resolution->resolver->cache);
    if (batch->count > 0 && hc_batch_fetch(batch, &fetched, err) < 0)
        return hc_resolution_suspect_listing(hub_resolution, err);
    return hc_resolution_write_ref(hub_resolution, batch->commit, err);
}

/* ---- the steps of a resolution --------------------------------------------------------
 */

/* A request on its way. */
struct files_resolution {
    struct files_lookup *lookup;
    struct hc_tree *tree;
    char commit[HC_COMMIT_SIZE];
};

static int files_step_find_cached(void *ctx, const char *commit, struct hc_error *err)
{
    struct files_resolution *self = ctx;

    return files_find_at(self->lookup, commit, NULL, err);
}

static int files_step_describe(void *ctx, struct hc_hub_resolution *hub_resolution,
                               struct hc_error *err)
{
    struct files_resolution *self = ctx;

    HC_AUTO(hc_tree) *before = hc_take(&self->tree);

    self->tree = hc_resolution_get_tree(hub_resolution, self->commit, err);
    if (!self->tree)
        return -1;
    return before && hc_tree_equals(before, self->tree);
}

static int files_fail_vanished(const struct files_lookup *lookup, const char *commit,
                               struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const char *path = lookup->paths.items[0];
    struct hc_pointer pointer;
    struct hc_error unused;

    for (size_t i = 0; i < lookup->paths.count; i++) {
        path = lookup->paths.items[i];
        if (hc_pointer_find(resolution->resolver->cache, &resolution->repo, commit, path,
                            &pointer, &unused) != 1)
            break;
    }
    (void)
        hc_fail(err, HC_CACHE_IO,
                "'%s' of %s '%s' vanished from the cache while it was resolved; resolve "
                "it again",
                path, hc_repo_type_name(resolution->repo.type), resolution->repo.id);
    return hc_fail_about_file(err, path);
}

static int files_step_fetch(void *ctx, struct hc_hub_resolution *hub_resolution,
                            struct hc_error *err)
{
    const struct files_resolution *self = ctx;
    struct files_lookup *lookup = self->lookup;
    HC_AUTO_FREE struct hc_missing_blob *blobs =
        calloc(lookup->paths.count, sizeof *blobs);
    struct hc_batch batch = {.resolution = &lookup->resolution,
                             .commit = self->commit,
                             .credentials = &hub_resolution->credentials,
                             .blobs = blobs};
    int found;

    if (!blobs)
        return hc_fail_memory(err);
    if (files_confirm_absence(lookup, self->commit, self->tree, hub_resolution, err) <
            0 ||
        files_list_missing(lookup, self->commit, self->tree, blobs, &batch.count, err) <
            0 ||
        files_fetch(lookup, &batch, hub_resolution, err) < 0)
        return -1;
    found = files_find_at(lookup, self->commit, self->tree, err);
    if (found == 0)
        return files_fail_vanished(lookup, self->commit, err);
    files_mark_fetched(lookup->files, blobs, batch.count);
    return found < 0 ? -1 : 0;
}

static void files_step_clear(void *ctx)
{
    const struct files_resolution *self = ctx;

    files_reset(self->lookup);
}

static void files_step_mark_stale(void *ctx)
{
    const struct files_resolution *self = ctx;
    struct hc_files *files = self->lookup->files;

    for (size_t i = 0; i < files->count; i++)
        files->items[i].stale = true;
}

static int files_resolve_by_hub(struct files_lookup *lookup,
                                struct hc_cancellation *cancellation,
                                struct hc_error *err)
{
    struct files_resolution self = {.lookup = lookup};
    const struct hc_resolution_steps steps = {files_step_find_cached, files_step_describe,
                                              files_step_fetch,       files_step_clear,
                                              files_step_mark_stale,  &self};
    int result = hc_resolution_run(&steps, &lookup->resolution, cancellation, err);

    hc_tree_free(self.tree);
    return result;
}

/* An answer from a local directory. */
static int files_find_local(struct files_lookup *lookup, const char *dir,
                            struct hc_error *err)
{
    struct hc_file file;

    for (size_t i = 0; i < lookup->paths.count; i++) {
        int result = hc_local_file(dir, lookup->paths.items[i], &file, err);

        if (result < 0 && files_add_missing(lookup, lookup->paths.items[i], err) < 0)
            return hc_fail_about_file(err, lookup->paths.items[i]);
        if (result == 0 && files_add_found(lookup, &file, err) < 0)
            return -1;
    }
    files_finish(lookup, "");
    return 0;
}

static int files_resolve_from_disk(struct hc_resolver *resolver,
                                   struct files_lookup *lookup, struct hc_error *err)
{
    const struct hc_files_request *request = lookup->request;
    char dir[PATH_MAX];

    if (files_check_names(lookup, err) < 0)
        return -1;
    if (hc_local_find(resolver, request->repo.id, dir))
        return files_find_local(lookup, dir, err) < 0 ? -1 : 1;
    if (hc_resolution_init(&lookup->resolution, resolver, &request->repo,
                           &request->options, err) < 0)
        return -1;
    return files_find_cached(lookup, err);
}

int hc_resolve_files_cached(struct hc_resolver *resolver,
                            const struct hc_files_request *request,
                            struct hc_files *files, struct hc_error *err)
{
    HC_AUTO_VALUE(files_lookup) lookup = {.request = request, .files = files};
    int found;

    *files = (struct hc_files){0};
    found = files_resolve_from_disk(resolver, &lookup, err);
    if (found != 1)
        hc_files_clear(files);
    return found;
}

int hc_resolve_files(struct hc_resolver *resolver, const struct hc_files_request *request,
                     struct hc_cancellation *cancellation, struct hc_files *files,
                     struct hc_error *err)
{
    HC_AUTO_VALUE(files_lookup) lookup = {.request = request, .files = files};
    int found;

    *files = (struct hc_files){0};
    found = files_resolve_from_disk(resolver, &lookup, err);
    if (found == 0)
        found = files_resolve_by_hub(&lookup, cancellation, err) < 0 ? -1 : 1;
    if (found < 0)
        hc_files_clear(files);
    return found < 0 ? -1 : 0;
}
