/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several files of one commit. The revision is resolved once, cached files are answered
 * from the cache, and for the rest one listing of the commit says what they are. A file
 * that the listing lacks is asked of the Hub before the request fails for it, because
 * only the Hub's own word may mark an absence (.no_exist), which other clients believe
 * for ever.
 */
#include "batch.h"
#include "warm_up.h"

#include <base/hash.h>
#include <base/parallel.h>
#include <base/size.h>
#include <cache/memo.h>
#include <cache/no_exist.h>
#include <cache/tree_cache.h>

#include <stddef.h>
#include <string.h>

struct files_resolution {
    struct hc_resolution resolution;
    const struct hc_files_request *request;
    struct hc_strings paths; /* the request's, joined and checked, in its order */
    struct hc_strings missing;
    struct hc_files *files; /* the answer */
};

_Static_assert(offsetof(struct files_resolution, resolution) == 0,
               "the kind casts to it");

static void files_resolution_clear(struct files_resolution *self)
{
    hc_resolution_clear(&self->resolution);
    hc_strings_clear(&self->paths);
    hc_strings_clear(&self->missing);
}

HC_DEFINE_AUTO_VALUE(files_resolution, files_resolution_clear)

/* ---- the answer as it grows -------------------------------------------------------- */

void hc_files_clear(struct hc_files *files)
{
    struct hc_strings missing = {.items = files->missing, .count = files->missing_count};

    hc_resolved_files_clear(files->items, files->count);
    hc_strings_clear(&missing);
    *files = (struct hc_files){0};
}

static int files_add_found(struct files_resolution *self, struct hc_file *file,
                           struct hc_error *err)
{
    return hc_resolved_files_add(&self->files->items, &self->files->count, file, err);
}

/* One more file that the answer lists as missing, if that is allowed; `err` says why. */
static int files_add_missing(struct files_resolution *self, const char *path,
                             struct hc_error *err)
{
    if (!self->request->allow_missing ||
        (err->reason != HC_ENTRY_NOT_FOUND && err->reason != HC_NOT_CACHED))
        return hc_fail_about_file(err, path);
    return hc_strings_add(&self->missing, path, err);
}

/* The answer is complete: it takes over the names of missing files. */
static void files_finish(struct files_resolution *self, const char *commit)
{
    struct hc_files *files = self->files;

    (void)hc_format(files->commit_hash, sizeof files->commit_hash, "%s", commit);
    files->missing = self->missing.items;
    files->missing_count = self->missing.count;
    self->missing = (struct hc_strings){0};
}

/* ---- cached, or described: one file after the other -------------------------------- */

/* A file that the commit's listing does not have. */
static int files_fail_absent(const struct hc_resolution *resolution, const char *path,
                             struct hc_error *err)
{
    return hc_fail(err, HC_ENTRY_NOT_FOUND, "%s '%s' has no file '%s' at '%s'",
                   hc_repo_type_name(resolution->repo.type), resolution->repo.id, path,
                   resolution->revision);
}

/* The Hub must not be asked: a cached listing may say that there is no such file. */
static int files_fail_offline(const struct hc_resolution *resolution, const char *commit,
                              const char *path, struct hc_error *err)
{
    const struct hc_cache *cache = resolution->resolver->cache;
    HC_AUTO(hc_tree) *tree = NULL;
    int found = 0;

    if (commit[0])
        found = hc_tree_load(cache, &resolution->repo, commit, resolution->cancellation,
                             &tree, err);
    if (found < 0)
        return -1;
    if (found > 0 && !hc_tree_find(tree, path))
        return files_fail_absent(resolution, path, err);
    return hc_resolution_fail_not_cached(resolution, path, err);
}

/* One file at `commit`: 1 found, 0 the Hub has to be asked, -1 it is missing or
 * failed. */
static int files_find_one(const struct hc_resolution *resolution, const char *commit,
                          const char *path, struct hc_file *file, struct hc_error *err)
{
    const struct hc_tree *tree = resolution->tree;
    const struct hc_entry *entry = tree ? hc_tree_find(tree, path) : NULL;
    int found =
        commit[0] ? hc_resolution_find_file(resolution, commit, path, file, err) : 0;

    if (found == 1 && entry && file->size_bytes != hc_entry_size(entry)) {
        hc_file_clear(file);
        found = 0;
    }
    if (found != 0 || resolution->is_due)
        return found;
    if (!resolution->may_ask_hub)
        return files_fail_offline(resolution, commit, path, err);
    if (tree && !entry)
        return files_fail_absent(resolution, path, err);
    if (entry &&
        hc_resolution_authorize_file(resolution, path, hc_entry_size(entry), err) < 0)
        return -1;
    if (entry && resolution->options->dry_run)
        return hc_resolution_place_entry(resolution, resolution->commit, entry, file,
                                         err) < 0
                   ? -1
                   : 1;
    return 0;
}

/* What threads find side by side; `found` has one for each path, which has no path itself
 * when nothing was found. */
struct files_search {
    const struct files_resolution *files;
    const char *commit;
    struct hc_file *found;
};

/* A failure is left to the thread that makes the answer: it finds the same. */
static int files_search_one(void *ctx, size_t number, struct hc_error *err)
{
    const struct files_search *search = ctx;
    const struct files_resolution *self = search->files;
    struct hc_file file;

    if (files_find_one(&self->resolution, search->commit, self->paths.items[number],
                       &file, err) == 1)
        search->found[number] = file;
    return 0;
}

/* On a volume that is known to be slow. NULL in `found`: nothing was looked at. */
static int files_search_slow_volume(const struct files_resolution *self,
                                    const char *commit, struct hc_file **found,
                                    struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    const char *folder = resolution->repo.folder;
    struct files_search search = {.files = self, .commit = commit};
    const struct hc_parallel looks = {
        .workers = resolution->resolver->lookup_workers,
        .run = files_search_one,
        .ctx = &search,
        .repo = hc_hash_bytes(HC_HASH_START, folder, strlen(folder)),
        .cancellation = resolution->cancellation,
    };

    *found = NULL;
    if (!commit[0] || resolution->is_due || self->paths.count < 2 ||
        !hc_memo_median_is_slow(hc_cache_memo(resolution->resolver->cache)))
        return 0;
    *found = search.found = calloc(self->paths.count, sizeof *search.found);
    return *found ? hc_parallel_run(&looks, self->paths.count, err) : hc_fail_memory(err);
}

/* Takes what was found; what was not is looked at here. */
static int files_answer_in_order(struct files_resolution *self, const char *commit,
                                 struct hc_file *search, struct hc_error *err)
{
    struct hc_file file;

    for (size_t i = 0; i < self->paths.count; i++) {
        const char *path = self->paths.items[i];
        int found = 1;

        if (search && search[i].path) {
            file = search[i];
            search[i] = (struct hc_file){0};
        } else {
            found = files_find_one(&self->resolution, commit, path, &file, err);
        }
        if (found == 0)
            return 0;
        if (found < 0 && files_add_missing(self, path, err) < 0)
            return -1;
        if (found == 1 && files_add_found(self, &file, err) < 0)
            return -1;
    }
    files_finish(self, commit);
    return 1;
}

/* Every file at `commit`, as far as the cache, and the tree when there is one, can
 * tell. */
static int files_find_cached(struct hc_resolution *resolution, const char *commit,
                             struct hc_error *err)
{
    struct files_resolution *self = (struct files_resolution *)resolution;
    struct hc_file *search;
    int result = files_search_slow_volume(self, commit, &search, err);

    if (result == 0)
        result = files_answer_in_order(self, commit, search, err);
    if (search)
        hc_resolved_files_clear(search, self->paths.count);
    return result;
}

/* A local directory has no commit. */
static int files_find_local(struct hc_resolution *resolution, const char *directory,
                            struct hc_error *err)
{
    struct files_resolution *self = (struct files_resolution *)resolution;
    struct hc_file file;

    for (size_t i = 0; i < self->paths.count; i++) {
        const char *path = self->paths.items[i];
        int result = hc_local_file(directory, path, &file, err);

        if (result == 0)
            hc_resolution_name_rule(resolution, path, file.rule);
        if (result < 0 && files_add_missing(self, path, err) < 0)
            return -1;
        if (result == 0 && files_add_found(self, &file, err) < 0)
            return -1;
    }
    files_finish(self, "");
    return 1;
}

/* ---- fetch ------------------------------------------------------------------------- */

/* The first file that the listing does not have and of which the cache knows nothing;
 * NULL: none. */
static const char *files_find_absent(const struct files_resolution *self)
{
    const struct hc_resolution *resolution = &self->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    const char *commit = resolution->commit;
    struct hc_pointer pointer;
    struct hc_error unused;

    for (size_t i = 0; i < self->paths.count; i++) {
        const char *path = self->paths.items[i];

        if (!hc_tree_find(resolution->tree, path) &&
            hc_pointer_find(cache, &resolution->repo, commit, path, &pointer, &unused) ==
                0 &&
            hc_no_exist_find(cache, &resolution->repo, commit, path, &unused) == 0)
            return path;
    }
    return NULL;
}

/*
 * Before the request fails for a missing file, the Hub is asked for that very file: what
 * it says is recorded, or shows that the listing is wrong. When the Hub cannot be asked,
 * the listing is believed.
 */
static int files_confirm_absence(struct files_resolution *self, struct hc_error *err)
{
    struct hc_resolution *resolution = &self->resolution;
    const char *commit = resolution->commit;
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(resolution, commit);
    const struct hc_repo_file place = {&resolution->repo, commit,
                                       files_find_absent(self)};
    struct hc_metadata metadata = {0};
    struct hc_error cause;

    if (!place.path || self->request->allow_missing)
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
        return hc_resolution_suspect_listing(resolution, err);
    }
    if (cause.reason != HC_ENTRY_NOT_FOUND)
        return 0;
    if (!metadata.is_of_mirror && strcmp(metadata.commit, commit) == 0)
        hc_no_exist_mark(resolution->resolver->cache, &resolution->repo, commit,
                         place.path);
    *err = cause;
    return -1;
}

/* The entries of the tree that are asked for and are not in the cache. `entries` is room
 * for as many as there are paths. */
static int files_list_uncached(const struct files_resolution *self,
                               const struct hc_entry **entries, size_t *count,
                               struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    struct hc_pointer pointer;

    for (size_t i = 0; i < self->paths.count; i++) {
        const char *path = self->paths.items[i];
        const struct hc_entry *entry = hc_tree_find(resolution->tree, path);
        int found = 0;

        if (!entry)
            continue;
        if (hc_resolution_authorize_file(resolution, path, hc_entry_size(entry), err) < 0)
            return -1;
        if (!resolution->options->force_download)
            found = hc_pointer_find(resolution->resolver->cache, &resolution->repo,
                                    resolution->commit, path, &pointer, err);
        if (found < 0)
            return hc_fail_about_file(err, path);
        if (found == 0 || pointer.size != hc_entry_size(entry))
            entries[(*count)++] = entry;
    }
    return 0;
}

/* The bytes, then the ref. */
static int files_fetch_batch(struct hc_resolution *resolution,
                             const struct hc_batch *batch, struct hc_error *err)
{
    uint64_t fetched_bytes;

    if (resolution->options->dry_run)
        return 0;
    hc_cache_write_tag(resolution->resolver->cache);
    if (batch->count > 0 && hc_batch_fetch(batch, &fetched_bytes, err) < 0)
        return hc_resolution_suspect_listing(resolution, err);
    return hc_resolution_write_ref(resolution, err);
}

/* The batch's files are SOURCE_HUB in the answer. Both are in the order of the
 * request. */
static void files_mark_fetched(struct hc_files *files, const struct hc_batch *batch)
{
    size_t next = 0;

    for (size_t i = 0; i < files->count && next < batch->count; i++) {
        if (strcmp(files->items[i].filename, batch->entries[next]->path) != 0)
            continue;
        files->items[i].source = HC_SOURCE_HUB;
        next++;
    }
}

/* Another client removed a file between its fetch and the lookup; which one? */
static int files_fail_vanished(const struct files_resolution *self, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    const char *path = self->paths.items[0];
    struct hc_pointer pointer;
    struct hc_error unused;

    for (size_t i = 0; i < self->paths.count; i++) {
        path = self->paths.items[i];
        if (hc_pointer_find(resolution->resolver->cache, &resolution->repo,
                            resolution->commit, path, &pointer, &unused) != 1)
            break;
    }
    (void)
        hc_fail(err, HC_CACHE_IO,
                "'%s' of %s '%s' vanished from the cache while it was resolved; resolve "
                "it again",
                path, hc_repo_type_name(resolution->repo.type), resolution->repo.id);
    return hc_fail_about_file(err, path);
}

/*
 * Fetches what is not in the cache, and then looks every file up again, as a hit would:
 * so the answer says what is on the volume now. With dry_run nothing is fetched, and the
 * listing answers for what is not there.
 */
static int files_fetch(struct hc_resolution *resolution, struct hc_error *err)
{
    struct files_resolution *self = (struct files_resolution *)resolution;
    HC_AUTO_FREE const struct hc_entry **entries =
        calloc(self->paths.count, sizeof *entries);
    struct hc_batch batch = {.resolution = resolution, .entries = entries};
    int found;

    if (!entries)
        return hc_fail_memory(err);
    if (files_confirm_absence(self, err) < 0 ||
        files_list_uncached(self, entries, &batch.count, err) < 0 ||
        files_fetch_batch(resolution, &batch, err) < 0)
        return -1;
    found = files_find_cached(resolution, resolution->commit, err);
    if (found == 0)
        return files_fail_vanished(self, err);
    files_mark_fetched(self->files, &batch);
    return found < 0 ? -1 : 0;
}

/* ---- the kind ---------------------------------------------------------------------- */

static void files_warm(const struct hc_resolution *resolution)
{
    const struct files_resolution *self = (const struct files_resolution *)resolution;

    hc_warm_up_files(resolution->resolver->warm_ups, resolution->options,
                     self->files->items, self->files->count);
}

static void files_clear_answer(struct hc_resolution *resolution)
{
    struct files_resolution *self = (struct files_resolution *)resolution;

    hc_files_clear(self->files);
    hc_strings_clear(&self->missing);
}

/* One that is denied fails the request, whatever may be missing. */
static int files_authorize(struct hc_resolution *resolution, struct hc_error *err)
{
    const struct files_resolution *self = (const struct files_resolution *)resolution;

    if (hc_decision_allows_all(&resolution->decision))
        return 0;
    for (size_t i = 0; i < self->paths.count; i++) {
        if (hc_resolution_authorize_file(resolution, self->paths.items[i],
                                         HC_SIZE_UNKNOWN, err) < 0)
            return -1;
    }
    return 0;
}

static const struct hc_resolution_kind files_kind = {
    .authorize = files_authorize,
    .find_local = files_find_local,
    .find_cached = files_find_cached,
    .ask_revision = hc_revision_ask,
    .describe = hc_revision_describe,
    .fetch = files_fetch,
    .warm = files_warm,
    .clear = files_clear_answer,
};

/* Refuses bad names before any I/O; the error names the request's field and the file. */
static int files_join_names(struct files_resolution *self, struct hc_error *err)
{
    const struct hc_files_request *request = self->request;
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
        if (hc_strings_add(&self->paths, path, err) < 0)
            return -1;
    }
    return 0;
}

/* Both entry points: stale is what the resolution is, and so all of its files. */
static int files_resolution_run(struct files_resolution *self, bool asks_hub,
                                struct hc_error *err)
{
    struct hc_resolution *resolution = &self->resolution;
    int found;

    resolution->kind = &files_kind;
    resolution->target = &self->request->repo;
    resolution->options = &self->request->options;
    *self->files = (struct hc_files){0};
    if (files_join_names(self, err) < 0)
        return -1;
    found = hc_resolution_run(resolution, asks_hub, err);
    for (size_t i = 0; i < self->files->count; i++)
        self->files->items[i].stale = resolution->is_stale;
    return found;
}

int hc_resolve_files_cached(struct hc_resolver *resolver,
                            const struct hc_files_request *request,
                            struct hc_files *files, struct hc_error *err)
{
    HC_AUTO_VALUE(files_resolution)
    self = {.resolution = {.resolver = resolver}, .request = request, .files = files};

    return files_resolution_run(&self, false, err);
}

void hc_files_confirm(struct hc_resolver *resolver,
                      const struct hc_files_request *request)
{
    struct hc_files files = {0};
    struct hc_error ignored;
    HC_AUTO_VALUE(files_resolution)
    self = {.resolution = {.resolver = resolver, .is_confirmation = true},
            .request = request,
            .files = &files};

    if (files_resolution_run(&self, false, &ignored) == 1)
        hc_files_clear(&files);
}

int hc_files_look_again(struct hc_resolver *resolver,
                        const struct hc_files_request *request, const char *commit,
                        struct hc_error *err)
{
    struct hc_files files = {0};
    HC_AUTO_VALUE(files_resolution)
    self = {.resolution = {.resolver = resolver, .answered = commit},
            .request = request,
            .files = &files};
    int found = files_resolution_run(&self, false, err);

    hc_files_clear(&files);
    return found;
}

int hc_resolve_files_remembered(struct hc_resolver *resolver,
                                const struct hc_files_request *request,
                                struct hc_files *files, struct hc_error *err)
{
    bool is_due = false;
    HC_AUTO_VALUE(files_resolution)
    self = {.resolution = {.kind = &files_kind,
                           .resolver = resolver,
                           .target = &request->repo,
                           .options = &request->options,
                           .is_due = &is_due},
            .request = request,
            .files = files};
    int found;

    *files = (struct hc_files){0};
    if (files_join_names(&self, err) < 0)
        return -1;
    found = hc_resolution_recall(&self.resolution, err);
    if (is_due)
        hc_confirm_files(&self.resolution, (const char *const *)self.paths.items,
                         self.paths.count);
    return found;
}

int hc_resolve_files(struct hc_resolver *resolver, const struct hc_files_request *request,
                     struct hc_cancellation *cancellation, struct hc_files *files,
                     struct hc_error *err)
{
    HC_AUTO_VALUE(files_resolution)
    self = {.resolution = {.resolver = resolver, .cancellation = cancellation},
            .request = request,
            .files = files};

    return files_resolution_run(&self, true, err) < 0 ? -1 : 0;
}
