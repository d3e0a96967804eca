/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file. A HEAD for the file names commit, etag and size at once, so a file that is
 * not in the cache costs two requests: HEAD and GET. When the ref is fresh and a listing
 * of its commit is cached, it costs the GET alone. The answer is one allocation: the
 * absolute path, in which cache_path and filename point.
 */
#include "resolution.h"
#include "warm_up.h"

#include <base/hash.h>
#include <base/size.h>
#include <cache/no_exist.h>
#include <cache/pointer.h>
#include <cache/ref.h>
#include <cache/tree_cache.h>

#include <stddef.h>
#include <string.h>

struct file_resolution {
    struct hc_resolution resolution;
    struct hc_file *file; /* the answer */

    /* For describe and fetch: on the stack of hc_resolve_file() only, for it is large. */
    struct hc_metadata *metadata;
    bool has_asked; /* this thread put the question what the revision means, */
    int result;     /* with this result */
    struct hc_error *failure;
};

_Static_assert(offsetof(struct file_resolution, resolution) == 0, "the kind casts to it");

static void file_resolution_clear(struct file_resolution *self)
{
    hc_resolution_clear(&self->resolution);
}

HC_DEFINE_AUTO_VALUE(file_resolution, file_resolution_clear)

/* ---- answers ----------------------------------------------------------------------- */

/* One system call when the file is there and the memo knows its pointer (cache/memo.h),
 * else two or three. */
int hc_resolution_find_file(const struct hc_resolution *resolution, const char *commit,
                            const char *path, struct hc_file *file, struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    struct hc_pointer pointer;
    int found = resolution->is_due
                    ? hc_pointer_recall(resolver->cache, &resolution->repo, commit, path,
                                        &pointer, resolution->is_due)
                    : hc_pointer_find(resolver->cache, &resolution->repo, commit, path,
                                      &pointer, err);

    if (found < 0 || (found == 0 && resolution->is_due))
        return found;
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
    hc_reuse_add(resolution->options->reuse, &pointer.term);
    if (hc_resolution_authorize_file(resolution, path, pointer.size, err) < 0)
        return -1;
    if (hc_resolved_file_init(resolver, pointer.cache_path, path, file, err) < 0)
        return -1;
    hc_resolution_name_rule(resolution, path, file->rule);
    memcpy(file->commit_hash, commit, HC_COMMIT_SIZE);
    memcpy(file->etag, pointer.etag, sizeof pointer.etag);
    file->size_bytes = pointer.size;
    file->source = HC_SOURCE_CACHE;
    return 1;
}

/* From what is described: where the file is, or with dry_run would be. */
static int file_answer_described(const struct file_resolution *self, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_metadata *metadata = self->metadata;
    const struct hc_blob_id blob = {resolution->repo.folder, metadata->etag};
    struct hc_file *file = self->file;
    uint64_t size = 0;
    int found = hc_blob_find(resolver->cache, &blob, &size, err);
    bool is_there = found == 1 && hc_blob_size_matches(metadata->size, size);

    if (found < 0)
        return -1;
    if (hc_resolution_place_file(resolution, resolution->commit, resolution->path, file,
                                 err) < 0)
        return -1;
    memcpy(file->etag, metadata->etag, sizeof metadata->etag);
    file->size_bytes = metadata->size == HC_SIZE_UNKNOWN ? size : metadata->size;
    if (hc_resolution_authorize_file(resolution, resolution->path, file->size_bytes,
                                     err) < 0)
        return -1;
    file->source = is_there && !resolution->options->force_download ? HC_SOURCE_CACHE
                                                                    : HC_SOURCE_HUB;
    return 0;
}

/* ---- describe: commit, etag and size ----------------------------------------------- */

/* The Hub says the file does not exist: recorded, as the reference client does (§1.3).
 */
static void file_record_absence(const struct file_resolution *self)
{
    const struct hc_resolution *resolution = &self->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    const char *commit = self->metadata->commit;
    struct hc_error ignored;

    if (!commit[0])
        return;
    hc_no_exist_mark(cache, &resolution->repo, commit, resolution->path);
    if (hc_resolution_may_move_ref(resolution, commit))
        (void)hc_ref_update(cache, &resolution->repo, resolution->revision, commit,
                            &ignored);
}

/* From the cached tree of a commit: 1, or 0 when there is none, or it has no such file,
 * or no etag of it. */
static int file_describe_from_tree(const struct file_resolution *self, const char *commit,
                                   struct hc_metadata *metadata, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    HC_AUTO(hc_tree) *tree = NULL;
    const struct hc_entry *entry;
    int found = hc_tree_load(resolution->resolver->cache, &resolution->repo, commit,
                             resolution->cancellation, &tree, err);

    if (found <= 0)
        return found;
    entry = hc_tree_find(tree, resolution->path);
    if (!entry || !entry->has_etag)
        return 0;
    *metadata = (struct hc_metadata){.size = hc_entry_size(entry)};
    memcpy(metadata->commit, commit, HC_COMMIT_SIZE);
    (void)hc_format(metadata->etag, sizeof metadata->etag, "%s", hc_entry_etag(entry));
    return 1;
}

/* From the cache, at the commit that the revision means: 1, 0 it cannot tell, -1
 * (ENTRY_NOT_FOUND: marked). */
static int file_describe_from_cache(const struct file_resolution *self,
                                    const char *commit, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    struct hc_metadata *metadata = self->metadata;
    struct hc_file file;
    int found = hc_resolution_find_file(resolution, commit, resolution->path, &file, err);

    if (found == 0 && !resolution->must_relist)
        return file_describe_from_tree(self, commit, metadata, err);
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

/* A cached listing that lacks the file, or has another hash of it, is wrong. */
static void file_drop_wrong_tree(const struct file_resolution *self)
{
    const struct hc_resolution *resolution = &self->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    const struct hc_metadata *metadata = self->metadata;
    HC_AUTO(hc_tree) *tree = NULL;
    const struct hc_entry *entry;
    struct hc_error ignored;

    if (metadata->is_of_mirror || hc_digest_kind_of(metadata->etag) == HC_DIGEST_NONE ||
        hc_tree_load(cache, &resolution->repo, metadata->commit, resolution->cancellation,
                     &tree, &ignored) != 1)
        return;
    entry = hc_tree_find(tree, resolution->path);
    if (!entry || (entry->has_etag && strcmp(hc_entry_etag(entry), metadata->etag) != 0))
        hc_tree_drop(cache, &resolution->repo, metadata->commit);
}

/* The HEAD told no size, and a cached listing may. */
static uint64_t file_size_in_tree(const struct file_resolution *self)
{
    const struct hc_metadata *metadata = self->metadata;
    struct hc_metadata listed;
    struct hc_error ignored;

    return file_describe_from_tree(self, metadata->commit, &listed, &ignored) == 1 &&
                   strcmp(listed.etag, metadata->etag) == 0
               ? hc_blob_size_from_head(listed.etag, listed.size)
               : HC_SIZE_UNKNOWN;
}

/* From the Hub, or a mirror. An absence is recorded when the Hub itself says so. */
static int file_describe_from_hub(struct file_resolution *self, const char *revision,
                                  struct hc_error *err)
{
    struct hc_resolution *resolution = &self->resolution;
    struct hc_metadata *metadata = self->metadata;
    const struct hc_repo_file place = {&resolution->repo, revision, resolution->path};
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(resolution, revision);

    if (hc_hub_head(resolution->resolver->hub, &place, &credentials, metadata, err) ==
        0) {
        hc_resolution_note_file(resolution, revision, metadata);
        file_drop_wrong_tree(self);
        if (metadata->size == HC_SIZE_UNKNOWN)
            metadata->size = file_size_in_tree(self);
        return 0;
    }
    if (err->reason == HC_ENTRY_NOT_FOUND && !metadata->is_of_mirror)
        file_record_absence(self);
    return -1;
}

/*
 * What the revision means, asked by a HEAD for the file at that revision. A failure that
 * is about this file says nothing about the revision, and is not shared with waiters for
 * other files; the resolution that asked finds it in `failure`.
 */
static int file_ask_revision(struct hc_resolution *resolution, struct hc_revision *answer,
                             struct hc_error *err)
{
    struct file_resolution *self = (struct file_resolution *)resolution;
    enum hc_reason reason;

    self->has_asked = true;
    self->result = file_describe_from_hub(self, resolution->revision, self->failure);
    reason = self->result < 0 ? self->failure->reason : HC_OK;
    if (reason == HC_OK || reason == HC_ENTRY_NOT_FOUND) {
        memcpy(answer->commit, self->metadata->commit, HC_COMMIT_SIZE);
        answer->is_of_mirror = self->metadata->is_of_mirror;
        return 0;
    }
    if (reason == HC_BAD_HUB_REPLY)
        return 0;
    *err = *self->failure;
    return -1;
}

/*
 * Fills the metadata. Without a ref, a HEAD for the file at the revision says all at
 * once. With one, the question what the revision means is shared with callers that want
 * other files of it; if another thread's HEAD answered it, the commit is known and the
 * file is looked up there: in the cache, in the commit's listing, and only then at the
 * Hub.
 */
static int file_describe_now(struct file_resolution *self, struct hc_error *err)
{
    struct hc_resolution *resolution = &self->resolution;
    struct hc_revision revision = {0};
    int found = hc_resolution_read_ref(resolution, revision.commit, err);

    if (found < 0)
        return -1;
    if (resolution->options->force_download || !revision.commit[0])
        return file_describe_from_hub(self, resolution->revision, err);
    self->has_asked = false;
    if (found == 0) {
        revision = (struct hc_revision){0};
        if (hc_resolution_share_revision(resolution, &revision, err) < 0)
            return -1;
    }
    if (self->has_asked) {
        if (self->result < 0)
            *err = *self->failure;
        return self->result;
    }
    if (!revision.commit[0])
        return file_describe_from_hub(self, resolution->revision, err);
    hc_resolution_note_revision(resolution, &revision);
    found = file_describe_from_cache(self, revision.commit, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    return file_describe_from_hub(self, revision.commit, err);
}

/* Called again, it says 1 if it is the same blob that is to be fetched. */
static int file_describe(struct hc_resolution *resolution, struct hc_error *err)
{
    struct file_resolution *self = (struct file_resolution *)resolution;
    struct hc_metadata *metadata = self->metadata;
    char etag[sizeof metadata->etag];
    uint64_t size = metadata->size;

    memcpy(etag, metadata->etag, sizeof etag);
    *metadata = (struct hc_metadata){0};
    if (file_describe_now(self, err) < 0 ||
        hc_resolution_authorize_file(resolution, resolution->path, metadata->size, err) <
            0)
        return -1;
    memcpy(resolution->commit, metadata->commit, HC_COMMIT_SIZE);
    return etag[0] && size == metadata->size && strcmp(etag, metadata->etag) == 0;
}

/* ---- fetch ------------------------------------------------------------------------- */

/* As hc_resolution_find_file(), but a file of another size than described is not
 * there. */
static int file_find_described(const struct file_resolution *self, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    int found = hc_resolution_find_file(resolution, resolution->commit, resolution->path,
                                        self->file, err);

    if (found == 1 &&
        !hc_blob_size_matches(self->metadata->size, self->file->size_bytes)) {
        hc_file_clear(self->file);
        return 0;
    }
    return found;
}

/* The blob and its pointer are there: the ref, then the answer. */
static int file_answer_fetched(struct file_resolution *self, bool is_fetched,
                               struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    struct hc_pointer pointer;
    struct hc_error ignored;

    if (self->metadata->size == HC_SIZE_UNKNOWN &&
        hc_pointer_find(resolution->resolver->cache, &resolution->repo,
                        resolution->commit, resolution->path, &pointer, &ignored) == 1)
        self->metadata->size = pointer.size;
    if (hc_resolution_write_ref(resolution, err) < 0 ||
        file_answer_described(self, err) < 0)
        return -1;
    self->file->source = is_fetched ? HC_SOURCE_HUB : HC_SOURCE_CACHE;
    return 0;
}

/* Bytes, then pointer, then ref: nothing names what is not there yet. */
static int file_fetch(struct hc_resolution *resolution, struct hc_error *err)
{
    struct file_resolution *self = (struct file_resolution *)resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    const struct hc_metadata *metadata = self->metadata;
    const struct hc_blob_request request = {
        .blob = {resolution->repo.folder, metadata->etag},
        .file = {&resolution->repo, resolution->commit, resolution->path},
        .size = metadata->size,
        .location = metadata->location[0] ? metadata->location : NULL,
        .is_forced = resolution->options->force_download,
        .identity = resolution->options->identity,
        .rule = hc_resolution_rule_name(resolution, resolution->path, metadata->size),
    };
    struct hc_blob_result result;
    struct hc_error ignored;

    /* A hit needs no write access: that the ref cannot be written is no failure. */
    if (!request.is_forced && file_find_described(self, &ignored) == 1) {
        (void)hc_resolution_write_ref(resolution, &ignored);
        return 0;
    }
    if (resolution->options->dry_run)
        return file_answer_described(self, err);
    hc_cache_write_tag(cache);
    if (hc_resolution_fetch_blob(resolution, &request, &resolution->credentials, &result,
                                 err) < 0 ||
        hc_pointer_sync(cache, &request.file, err) < 0)
        return request.location ? -1 : hc_resolution_suspect_listing(resolution, err);
    return file_answer_fetched(self, result.is_fetched, err);
}

/* ---- the kind ---------------------------------------------------------------------- */

static int file_find_local(struct hc_resolution *resolution, const char *directory,
                           struct hc_error *err)
{
    const struct file_resolution *self = (const struct file_resolution *)resolution;

    if (hc_local_file(directory, resolution->path, self->file, err) < 0)
        return -1;
    hc_resolution_name_rule(resolution, resolution->path, self->file->rule);
    return 1;
}

static int file_find_cached(struct hc_resolution *resolution, const char *commit,
                            struct hc_error *err)
{
    const struct file_resolution *self = (const struct file_resolution *)resolution;

    if (!commit[0])
        return 0;
    return hc_resolution_find_file(resolution, commit, resolution->path, self->file, err);
}

static void file_warm(const struct hc_resolution *resolution)
{
    const struct file_resolution *self = (const struct file_resolution *)resolution;

    hc_warm_up_files(resolution->resolver->warm_ups, resolution->options, self->file, 1);
}

static void file_clear_answer(struct hc_resolution *resolution)
{
    const struct file_resolution *self = (const struct file_resolution *)resolution;

    hc_file_clear(self->file);
}

static int file_authorize(struct hc_resolution *resolution, struct hc_error *err)
{
    return hc_resolution_authorize_file(resolution, resolution->path, HC_SIZE_UNKNOWN,
                                        err);
}

static const struct hc_resolution_kind file_kind = {
    .authorize = file_authorize,
    .find_local = file_find_local,
    .find_cached = file_find_cached,
    .ask_revision = file_ask_revision,
    .describe = file_describe,
    .fetch = file_fetch,
    .warm = file_warm,
    .clear = file_clear_answer,
};

/*
 * The path is joined into the caller's buffer, which outlives the resolution. Where the
 * two entry points differ: only hc_resolve_file() has room on its stack for what the Hub
 * says, which a hit never touches.
 */
static int file_start(struct file_resolution *self, const struct hc_file_request *request,
                      char path[HC_FILENAME_MAX + 1], struct hc_error *err)
{
    const char *filename = request->filename ? request->filename : "";

    *self->file = (struct hc_file){0};
    if (hc_filename_join(request->subfolder, filename, path, err) < 0)
        return hc_fail_about_file(err, filename);
    self->resolution.path = path;
    return 0;
}

int hc_resolve_file_cached(struct hc_resolver *resolver,
                           const struct hc_file_request *request, struct hc_file *file,
                           struct hc_error *err)
{
    char path[HC_FILENAME_MAX + 1];
    HC_AUTO_VALUE(file_resolution)
    self = {.resolution = {.kind = &file_kind,
                           .resolver = resolver,
                           .target = &request->repo,
                           .options = &request->options},
            .file = file};

    if (file_start(&self, request, path, err) < 0)
        return -1;
    return hc_resolution_run(&self.resolution, false, err);
}

int hc_resolve_file_remembered(struct hc_resolver *resolver,
                               const struct hc_file_request *request,
                               struct hc_file *file, struct hc_error *err)
{
    char path[HC_FILENAME_MAX + 1];
    bool is_due = false;
    HC_AUTO_VALUE(file_resolution)
    self = {.resolution = {.kind = &file_kind,
                           .resolver = resolver,
                           .target = &request->repo,
                           .options = &request->options,
                           .is_due = &is_due},
            .file = file};
    int found;

    if (file_start(&self, request, path, err) < 0)
        return -1;
    found = hc_resolution_recall(&self.resolution, err);
    if (is_due)
        hc_confirm_files(&self.resolution, &self.resolution.path, 1);
    if (found < 0)
        return hc_fail_about_file(err, path);
    return found;
}

int hc_resolve_file(struct hc_resolver *resolver, const struct hc_file_request *request,
                    struct hc_cancellation *cancellation, struct hc_file *file,
                    struct hc_error *err)
{
    char path[HC_FILENAME_MAX + 1];
    struct hc_metadata metadata;
    struct hc_error failure;
    HC_AUTO_VALUE(file_resolution)
    self = {.resolution = {.kind = &file_kind,
                           .resolver = resolver,
                           .target = &request->repo,
                           .options = &request->options,
                           .cancellation = cancellation},
            .file = file,
            .metadata = &metadata,
            .failure = &failure};

    metadata.etag[0] = '\0';
    if (file_start(&self, request, path, err) < 0 ||
        hc_resolution_run(&self.resolution, true, err) < 0)
        return -1;
    file->stale = self.resolution.is_stale;
    return 0;
}
