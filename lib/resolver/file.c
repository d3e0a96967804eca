/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file, top to bottom: local directory, cache, offline guard, Hub, bytes, cache.
 */
#include "hub_resolution.h"

#include <base/digest.h>
#include <base/size.h>
#include <cache/blob.h>
#include <cache/no_exist.h>
#include <cache/ref.h>
#include <cache/tree_file.h>

#include <string.h>

/* A request with its names checked. */
struct file_lookup {
    struct hc_resolution resolution;
    char path[HC_FILENAME_MAX + 1];
};

int hc_resolution_find_file(const struct hc_resolution *resolution, const char *commit,
                            const char *path, struct hc_file *file, struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    struct hc_pointer pointer;
    int found =
        hc_pointer_find(resolver->cache, &resolution->repo, commit, path, &pointer, err);

    if (found < 0)
        return -1;
    if (found == 0) {
        found = hc_no_exist_find(resolver->cache, &resolution->repo, commit, path, err);
        if (found <= 0)
            return found;
        return hc_fail(err, HC_ENTRY_NOT_FOUND,
                       "%s '%s' has no file '%s' at '%s' (commit %.8s), as the Hub said "
                       "earlier",
                       hc_repo_type_name(resolution->repo.type), resolution->repo.id,
                       path, resolution->revision, commit);
    }
    if (hc_resolved_file_init(resolver, pointer.cache_path, path, file, err) < 0)
        return -1;
    memcpy(file->commit_hash, commit, HC_COMMIT_SIZE);
    memcpy(file->etag, pointer.etag, sizeof pointer.etag);
    file->size_bytes = pointer.size;
    file->source = HC_SOURCE_CACHE;
    return 1;
}

/* 1 answered, 0 the Hub has to be asked, -1 no answer whatever it would say. */
static int file_find_cached(const struct file_lookup *lookup, struct hc_file *file,
                            struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    struct hc_local_ref local_ref;
    int found = 0;

    if (resolution->options->force_download)
        return 0;
    if (hc_resolution_read_ref(resolution, &local_ref, err) < 0)
        return -1;
    if (local_ref.is_usable)
        found = hc_resolution_find_file(resolution, local_ref.commit, lookup->path, file,
                                        err);
    if (found != 0 || resolution->may_ask_hub)
        return found;
    return hc_resolution_fail_not_cached(resolution, lookup->path, err);
}

/* The Hub says the file does not exist: remember it, as the reference does (§1.3). */
static void file_record_absence(const struct file_lookup *lookup, const char *commit)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    struct hc_error ignored;

    if (!commit[0])
        return;
    hc_no_exist_mark(cache, &resolution->repo, commit, lookup->path);
    (void)hc_ref_update(cache, &resolution->repo, resolution->revision, commit, &ignored);
}

/* From the tree of a commit on disk: 1, or 0 when there is none, or it has no such file,
 * or no etag of it. */
static int file_describe_from_tree(const struct file_lookup *lookup, const char *commit,
                                   struct hc_metadata *metadata, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    HC_AUTO(hc_tree) *tree = NULL;
    const struct hc_entry *entry;
    int found =
        hc_tree_load(resolution->resolver->cache, &resolution->repo, commit, &tree, err);

    if (found <= 0)
        return found;
    entry = hc_tree_find(tree, lookup->path);
    if (!entry || !entry->has_etag)
        return 0;
    *metadata = (struct hc_metadata){.size = hc_entry_size(entry)};
    memcpy(metadata->commit, commit, HC_COMMIT_SIZE);
    (void)hc_format(metadata->etag, sizeof metadata->etag, "%s", hc_entry_etag(entry));
    return 1;
}

/* From the disk, at a commit that is right: 1, 0 it cannot tell, -1 (ENTRY_NOT_FOUND:
 * marked). */
static int file_describe_from_cache(const struct file_lookup *lookup, const char *commit,
                                    bool must_relist, struct hc_metadata *metadata,
                                    struct hc_error *err)
{
    struct hc_file file;
    int found =
        hc_resolution_find_file(&lookup->resolution, commit, lookup->path, &file, err);

    if (found == 0 && !must_relist)
        return file_describe_from_tree(lookup, commit, metadata, err);
    if (found == 0)
        return 0;
    if (found < 0)
        return -1;
    *metadata = (struct hc_metadata){.size = file.size_bytes};
    memcpy(metadata->commit, commit, HC_COMMIT_SIZE);
    (void)hc_format(metadata->etag, sizeof metadata->etag, "%s", file.etag);
    hc_file_clear(&file);
    return 1;
}

/* A listing on disk that lacks the file, or has another hash of it, is wrong. */
static void file_drop_wrong_tree(const struct file_lookup *lookup,
                                 const struct hc_metadata *metadata)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    HC_AUTO(hc_tree) *tree = NULL;
    const struct hc_entry *entry;
    struct hc_error ignored;

    if (metadata->is_of_mirror || hc_digest_kind_of(metadata->etag) == HC_DIGEST_NONE ||
        hc_tree_load(cache, &resolution->repo, metadata->commit, &tree, &ignored) != 1)
        return;
    entry = hc_tree_find(tree, lookup->path);
    if (!entry || (entry->has_etag && strcmp(hc_entry_etag(entry), metadata->etag) != 0))
        hc_tree_drop(cache, &resolution->repo, metadata->commit);
}

/* Should the Hub have left the size open, of which a listing may tell. */
static uint64_t file_size_in_tree(const struct file_lookup *lookup,
                                  const struct hc_metadata *metadata)
{
    struct hc_metadata listed;
    struct hc_error ignored;

    return file_describe_from_tree(lookup, metadata->commit, &listed, &ignored) == 1 &&
                   strcmp(listed.etag, metadata->etag) == 0
               ? hc_blob_size_from_head(listed.etag, listed.size)
               : HC_SIZE_UNKNOWN;
}

/* From the Hub, or a mirror. An absence is remembered when the Hub itself says so. */
static int file_describe_from_hub(const struct file_lookup *lookup, const char *revision,
                                  struct hc_hub_resolution *hub_resolution,
                                  struct hc_metadata *metadata, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_repo_file place = {&resolution->repo, revision, lookup->path};
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(hub_resolution, revision);

    if (hc_hub_head(resolution->resolver->hub, &place, &credentials, metadata, err) ==
        0) {
        hc_resolution_note_file(hub_resolution, revision, metadata);
        file_drop_wrong_tree(lookup, metadata);
        if (metadata->size == HC_SIZE_UNKNOWN)
            metadata->size = file_size_in_tree(lookup, metadata);
        return 0;
    }
    if (err->reason == HC_ENTRY_NOT_FOUND && !metadata->is_of_mirror)
        file_record_absence(lookup, metadata->commit);
    return -1;
}

/* The question what a revision means, put by asking about a file of it. */
struct head_query {
    const struct file_lookup *lookup;
    struct hc_hub_resolution *hub_resolution;
    struct hc_metadata *metadata;
    bool is_asked; /* by us, with this `result`: */
    int result;
    struct hc_error failure;
};

static int revision_ask_by_head(void *ctx, struct hc_revision *answer,
                                struct hc_error *err)
{
    struct head_query *query = ctx;
    enum hc_reason reason;

    query->is_asked = true;
    query->result =
        file_describe_from_hub(query->lookup, query->lookup->resolution.revision,
                               query->hub_resolution, query->metadata, &query->failure);
    reason = query->result < 0 ? query->failure.reason : HC_OK;
    if (reason == HC_OK || reason == HC_ENTRY_NOT_FOUND) {
        memcpy(answer->commit, query->metadata->commit, HC_COMMIT_SIZE);
        answer->is_of_mirror = query->metadata->is_of_mirror;
        return 0;
    }
    if (reason == HC_BAD_HUB_REPLY) /* about this file, and nothing about the revision */
        return 0;
    *err = query->failure;
    return -1;
}

/* commit, etag and size of the file, at what its revision means now. */
static int file_describe(const struct file_lookup *lookup,
                         struct hc_hub_resolution *hub_resolution,
                         struct hc_metadata *metadata, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    struct head_query query = {.lookup = lookup,
                               .hub_resolution = hub_resolution,
                               .metadata = metadata};
    const struct hc_revision_query by_head = {revision_ask_by_head, &query};
    struct hc_revision revision = {0};
    struct hc_local_ref local_ref;
    int found;

    if (hc_resolution_reread_ref(hub_resolution, &local_ref, err) < 0)
        return -1;
    if (resolution->options->force_download || !local_ref.commit[0])
        return file_describe_from_hub(lookup, resolution->revision, hub_resolution,
                                      metadata, err);
    if (local_ref.is_usable)
        memcpy(revision.commit, local_ref.commit, sizeof local_ref.commit);
    else if (hc_resolution_query_revision(hub_resolution, &by_head, &revision, err) < 0)
        return -1;
    if (query.is_asked) {
        if (query.result < 0)
            *err = query.failure;
        return query.result;
    }
    if (!revision.commit[0])
        return file_describe_from_hub(lookup, resolution->revision, hub_resolution,
                                      metadata, err);
    hc_resolution_note_revision(hub_resolution, &revision);
    found = file_describe_from_cache(lookup, revision.commit, hub_resolution->must_relist,
                                     metadata, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    return file_describe_from_hub(lookup, revision.commit, hub_resolution, metadata, err);
}

/* A dry run's answer: where the file would be. */
static int file_answer_from_metadata(const struct file_lookup *lookup,
                                     const struct hc_metadata *metadata,
                                     struct hc_file *file, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_resolver *resolver = resolution->resolver;
    char cache_path[PATH_MAX];
    uint64_t size = 0;
    int found =
        hc_blob_find(resolver->cache,
                     &(const struct hc_blob_id){resolution->repo.folder, metadata->etag},
                     &size, err);
    bool is_there = found == 1 && hc_blob_size_matches(metadata->size, size);

    if (found < 0)
        return -1;
    if (hc_cache_snapshot_path(cache_path, &resolution->repo, metadata->commit,
                               lookup->path, err) < 0)
        return -1;
    if (hc_resolved_file_init(resolver, cache_path, lookup->path, file, err) < 0)
        return -1;
    memcpy(file->commit_hash, metadata->commit, HC_COMMIT_SIZE);
    memcpy(file->etag, metadata->etag, sizeof metadata->etag);
    file->size_bytes = metadata->size == HC_SIZE_UNKNOWN ? size : metadata->size;
    file->source = is_there && !resolution->options->force_download ? HC_SOURCE_CACHE
                                                                    : HC_SOURCE_HUB;
    return 0;
}

/* Bytes, then pointer, then ref: nothing names what is not there yet. */
static int file_fetch(const struct file_lookup *lookup,
                      const struct hc_metadata *metadata,
                      const struct hc_hub_credentials *credentials, bool *is_fetched,
                      struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    struct hc_blob_result result;
    const struct hc_blob_request request = {
        .blob = {resolution->repo.folder, metadata->etag},
        .file = {&resolution->repo, metadata->commit, lookup->path},
        .size = metadata->size,
        .location = metadata->location[0] ? metadata->location : NULL,
        .is_forced = resolution->options->force_download,
    };
    int fetched;

    hc_cache_write_tag(resolution->resolver->cache);
    fetched = hc_resolution_fetch_blob(resolution, &request, credentials, &result, err);
    *is_fetched = result.is_fetched;
    return fetched < 0 ? -1
                       : hc_pointer_sync(resolution->resolver->cache, &request.file, err);
}

/* Of a file that has just been brought. */
static uint64_t file_size_on_disk(const struct file_lookup *lookup, const char *commit)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    struct hc_pointer pointer;
    struct hc_error ignored;

    return hc_pointer_find(resolution->resolver->cache, &resolution->repo, commit,
                           lookup->path, &pointer, &ignored) == 1
               ? pointer.size
               : HC_SIZE_UNKNOWN;
}

/* As hc_resolution_find_file(), but what has another size than `metadata` says is not there. */
static int file_find_of_size(const struct file_lookup *lookup,
                             const struct hc_metadata *metadata, struct hc_file *file,
                             struct hc_error *err)
{
    int found = hc_resolution_find_file(&lookup->resolution, metadata->commit,
                                        lookup->path, file, err);

    if (found == 1 && !hc_blob_size_matches(metadata->size, file->size_bytes)) {
        hc_file_clear(file);
        return 0;
    }
    return found;
}

/* ---- the steps of a resolution --------------------------------------------------------
 */

/* A request on its way, and its answer. */
struct file_resolution {
    const struct file_lookup *lookup;
    struct hc_metadata metadata;
    struct hc_file *file;
};

static int file_step_find_cached(void *ctx, const char *commit, struct hc_error *err)
{
    const struct file_resolution *self = ctx;

    return hc_resolution_find_file(&self->lookup->resolution, commit, self->lookup->path,
                                   self->file, err);
}

static int file_step_describe(void *ctx, struct hc_hub_resolution *hub_resolution,
                              struct hc_error *err)
{
    struct file_resolution *self = ctx;

    const struct hc_metadata before = self->metadata;

    self->metadata = (struct hc_metadata){0};
    if (file_describe(self->lookup, hub_resolution, &self->metadata, err) < 0)
        return -1;
    return before.etag[0] && before.size == self->metadata.size &&
           strcmp(before.etag, self->metadata.etag) == 0;
}

/* The answer for what is now known of the file. */
static int file_step_fetch(void *ctx, struct hc_hub_resolution *hub_resolution,
                           struct hc_error *err)
{
    struct file_resolution *self = ctx;
    const struct file_lookup *lookup = self->lookup;
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_metadata *metadata = &self->metadata;
    struct hc_file *file = self->file;
    struct hc_error ignored;
    bool is_fetched = false;

    /* A hit needs no write access: failing to note it is no failure. */
    if (!resolution->options->force_download &&
        file_find_of_size(lookup, metadata, file, &ignored) == 1) {
        (void)hc_resolution_write_ref(hub_resolution, metadata->commit, &ignored);
        return 0;
    }
    if (resolution->options->dry_run)
        return file_answer_from_metadata(lookup, metadata, file, err);
    if (file_fetch(lookup, metadata, &hub_resolution->credentials, &is_fetched, err) < 0)
        return metadata->location[0] ? -1
                                     : hc_resolution_suspect_listing(hub_resolution, err);
    if (metadata->size == HC_SIZE_UNKNOWN)
        self->metadata.size = file_size_on_disk(lookup, metadata->commit);
    if (hc_resolution_write_ref(hub_resolution, metadata->commit, err) < 0 ||
        file_answer_from_metadata(lookup, metadata, file, err) < 0)
        return -1;
    file->source = is_fetched ? HC_SOURCE_HUB : HC_SOURCE_CACHE;
    return 0;
}

static void file_step_clear(void *ctx)
{
    struct file_resolution *self = ctx;

    hc_file_clear(self->file);
}

static void file_step_mark_stale(void *ctx)
{
    struct file_resolution *self = ctx;

    self->file->stale = true;
}

static int file_resolve_by_hub(const struct file_lookup *lookup,
                               struct hc_cancellation *cancellation, struct hc_file *file,
                               struct hc_error *err)
{
    struct file_resolution self = {.lookup = lookup, .file = file};
    const struct hc_resolution_steps steps = {file_step_find_cached, file_step_describe,
                                              file_step_fetch,       file_step_clear,
                                              file_step_mark_stale,  &self};

    *file = (struct hc_file){0};
    return hc_resolution_run(&steps, &lookup->resolution, cancellation, err);
}

/* Validates and looks: the hit path, shared by both ways to ask for a file. */
static int file_resolve_from_disk(struct hc_resolver *resolver,
                                  const struct hc_file_request *request,
                                  struct file_lookup *lookup, struct hc_file *file,
                                  struct hc_error *err)
{
    const char *filename = request->filename ? request->filename : "";
    char dir[PATH_MAX];

    if (hc_filename_join(request->subfolder, filename, lookup->path, err) < 0)
        return hc_fail_about_file(err, filename);
    if (hc_local_find(resolver, request->repo.id, dir))
        return hc_local_file(dir, lookup->path, file, err) < 0 ? -1 : 1;
    if (hc_resolution_init(&lookup->resolution, resolver, &request->repo,
                           &request->options, err) < 0)
        return -1;
    return file_find_cached(lookup, file, err);
}

int hc_resolve_file_cached(struct hc_resolver *resolver,
                           const struct hc_file_request *request, struct hc_file *file,
                           struct hc_error *err)
{
    struct file_lookup lookup;
    int found = file_resolve_from_disk(resolver, request, &lookup, file, err);

    return found < 0 ? hc_fail_about_file(err, lookup.path) : found;
}

int hc_resolve_file(struct hc_resolver *resolver, const struct hc_file_request *request,
                    struct hc_cancellation *cancellation, struct hc_file *file,
                    struct hc_error *err)
{
    struct file_lookup lookup;
    int found = file_resolve_from_disk(resolver, request, &lookup, file, err);

    if (found == 0)
        found = file_resolve_by_hub(&lookup, cancellation, file, err);
    return found < 0 ? hc_fail_about_file(err, lookup.path) : 0;
}
