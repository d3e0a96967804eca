/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot, top to bottom: local directory; what commit is it; what belongs to it; what
 * of that is here; fetch the rest. It goes by the tree of the commit: one listing, then
 * one GET per missing file, and the answer is proved rather than assumed.
 */
#include "completeness.h"
#include "hub_resolution.h"

#include <base/file.h>
#include <cache/ref.h>
#include <cache/tree_file.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* ---- answers ------------------------------------------------------------------------
 */

/* Path, commit and what a hit has in common. */
static int snapshot_set_path(const struct hc_snapshot_lookup *lookup, const char *commit,
                             struct hc_snapshot *answer, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const char *root = hc_cache_root(resolution->resolver->cache);
    char cache_path[PATH_MAX];

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, NULL, err) < 0)
        return -1;
    if (asprintf(&answer->path, "%s/%s", root, cache_path) < 0) {
        answer->path = NULL;
        return hc_fail_memory(err);
    }
    answer->cache_path = answer->path + strlen(root) + 1;
    memcpy(answer->commit_hash, commit, HC_COMMIT_SIZE);
    answer->source = HC_SOURCE_CACHE;
    answer->completeness = HC_COMPLETE;
    return 0;
}

static int snapshot_fail_incomplete(const struct hc_snapshot_lookup *lookup,
                                    const struct hc_completeness_check *check,
                                    struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const char *id = resolution->repo.id;
    const char *first = check->blobs[0].path;
    size_t used = 0;

    (void)hc_fail(
        err, HC_INCOMPLETE_SNAPSHOT,
        "the snapshot of %s '%s' at '%s' lacks %zu of %u files ('%.100s'%s), and "
        "the Hub is not asked. Complete it while online: hubcache snapshot %s "
        "--repo-type %s --revision %s",
        hc_repo_type_name(resolution->repo.type), id, resolution->revision, check->count,
        check->answer->file_count, first, check->count > 1 ? ", …" : "", id,
        hc_repo_type_name(resolution->repo.type), resolution->revision);
    err->missing_count = (unsigned)check->count;
    for (size_t i = 0; i < check->missing.count; i++) {
        const char *name = check->missing.items[i];
        int length = hc_format(err->missing + used, sizeof err->missing - used, "%s%s",
                               used ? "\n" : "", name);

        if (length < 0)
            break;
        used += (size_t)length;
    }
    return -1;
}

/* No tree tells what should be here: the directory as it is, and that this is so. */
static int snapshot_answer_unknown(const struct hc_snapshot_lookup *lookup,
                                   const char *commit, struct hc_snapshot *answer,
                                   struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    char cache_path[PATH_MAX];
    struct hc_snapshot counted;
    struct stat status;

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, NULL, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), cache_path, &status, 0) < 0 ||
        !S_ISDIR(status.st_mode))
        return 0;
    if (snapshot_set_path(lookup, commit, answer, err) < 0)
        return -1;
    answer->completeness = HC_UNKNOWN;
    if (hc_local_snapshot(answer->path, lookup->request, lookup->filter, &counted, err) <
        0)
        return -1;
    answer->file_count = counted.file_count;
    answer->size_bytes = counted.size_bytes;
    hc_snapshot_clear(&counted);
    return answer->file_count > 0; /* none is no answer: the repo may have files */
}

/* ---- the order of the steps ---------------------------------------------------------
 */

/*
 * The disk's answer at `commit`: 1 proved complete (or a dry run's answer, or unknown
 * when the Hub must not be asked), 0 the Hub has to be asked, -1.
 */
static int snapshot_find_at(const struct hc_snapshot_lookup *lookup, const char *commit,
                            struct hc_snapshot *answer, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    HC_AUTO_VALUE(hc_completeness_check) check = {.answer = answer};
    HC_AUTO(hc_tree) *tree = NULL;
    int found =
        hc_tree_load(resolution->resolver->cache, &resolution->repo, commit, &tree, err);

    if (found < 0)
        return -1;
    if (found == 0)
        return resolution->may_ask_hub
                   ? 0
                   : snapshot_answer_unknown(lookup, commit, answer, err);
    if (tree->count == 0 && resolution->may_ask_hub) /* the Hub may know of files */
        return 0;
    if (hc_completeness_check_tree(lookup, commit, tree, &check, err) < 0)
        return -1;
    if (check.count > 0 && !resolution->options->dry_run)
        return resolution->may_ask_hub ? 0
                                       : snapshot_fail_incomplete(lookup, &check, err);
    if (snapshot_set_path(lookup, commit, answer, err) < 0)
        return -1;
    hc_completeness_answer_partial(&check);
    return 1;
}

static int snapshot_find_cached(const struct hc_snapshot_lookup *lookup,
                                struct hc_snapshot *answer, struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    struct hc_local_ref local_ref;
    int found = 0;

    if (resolution->options->force_download)
        return 0;
    if (hc_resolution_read_ref(resolution, &local_ref, err) < 0)
        return -1;
    if (local_ref.is_usable && local_ref.commit[0])
        found = snapshot_find_at(lookup, local_ref.commit, answer, err);
    if (found != 0 || resolution->may_ask_hub)
        return found;
    return hc_resolution_fail_not_cached(resolution, NULL, err);
}

static int snapshot_fetch(const struct hc_snapshot_lookup *lookup, const char *commit,
                          const struct hc_completeness_check *check,
                          const struct hc_hub_credentials *credentials,
                          struct hc_error *err)
{
    struct hc_snapshot *answer = check->answer;
    struct hc_batch batch = {
        .resolution = &lookup->resolution,
        .commit = commit,
        .credentials = credentials,
        .blobs = check->blobs,
        .count = check->count,
        .progress = lookup->request->progress,
        .progress_ctx = lookup->request->progress_ctx,
        .before =
            {
                .files_total = answer->file_count,
                .files_done = answer->file_count - (unsigned)check->count,
                .bytes_total = answer->size_bytes,
                .bytes_done = answer->size_bytes - check->missing_bytes,
            },
    };

    hc_cache_write_tag(lookup->resolution.resolver->cache);
    return hc_batch_fetch(&batch, &answer->downloaded_bytes, err);
}

/* The directory, then the ref that names it: no client ever sees the one without the
 * other. */
static int snapshot_publish(const struct hc_snapshot_lookup *lookup, const char *commit,
                            const struct hc_hub_resolution *hub_resolution,
                            struct hc_error *err)
{
    const struct hc_resolution *resolution = &lookup->resolution;
    char cache_path[PATH_MAX];

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, NULL, err) < 0 ||
        hc_file_mkdirs(hc_cache_fd(resolution->resolver->cache), cache_path, err) < 0)
        return -1;
    return hc_resolution_write_ref(hub_resolution, commit, err);
}

/* ---- the steps of a resolution --------------------------------------------------------
 */

/* A request on its way, and its answer. */
struct snapshot_resolution {
    const struct hc_snapshot_lookup *lookup;
    struct hc_tree *tree;
    char commit[HC_COMMIT_SIZE];
    struct hc_snapshot *answer;
};

static int snapshot_step_find_cached(void *ctx, const char *commit, struct hc_error *err)
{
    const struct snapshot_resolution *self = ctx;

    return snapshot_find_at(self->lookup, commit, self->answer, err);
}

static int snapshot_step_describe(void *ctx, struct hc_hub_resolution *hub_resolution,
                                  struct hc_error *err)
{
    struct snapshot_resolution *self = ctx;

    HC_AUTO(hc_tree) *before = hc_take(&self->tree);

    self->tree = hc_resolution_get_tree(hub_resolution, self->commit, err);
    if (!self->tree)
        return -1;
    return before && hc_tree_equals(before, self->tree);
}

static int snapshot_step_fetch(void *ctx, struct hc_hub_resolution *hub_resolution,
                               struct hc_error *err)
{
    const struct snapshot_resolution *self = ctx;
    const struct hc_snapshot_lookup *lookup = self->lookup;
    const char *commit = self->commit;
    struct hc_snapshot *answer = self->answer;
    HC_AUTO_VALUE(hc_completeness_check) check = {.answer = answer};
    struct hc_error ignored;

    if (snapshot_set_path(lookup, commit, answer, err) < 0 ||
        hc_completeness_check_tree(lookup, commit, self->tree, &check, err) < 0)
        return -1;
    if (lookup->resolution.options->dry_run) {
        hc_completeness_answer_partial(&check);
        return 0;
    }
    if (check.count == 0) { /* a hit needs no write access */
        (void)snapshot_publish(lookup, commit, hub_resolution, &ignored);
        return 0;
    }
    answer->source = HC_SOURCE_HUB;
    if (snapshot_fetch(lookup, commit, &check, &hub_resolution->credentials, err) < 0)
        return hc_resolution_suspect_listing(hub_resolution, err);
    return snapshot_publish(lookup, commit, hub_resolution, err);
}

static void snapshot_step_clear(void *ctx)
{
    const struct snapshot_resolution *self = ctx;

    hc_snapshot_clear(self->answer);
}

static void snapshot_step_mark_stale(void *ctx)
{
    const struct snapshot_resolution *self = ctx;

    self->answer->stale = true;
}

static int snapshot_resolve_by_hub(const struct hc_snapshot_lookup *lookup,
                                   struct hc_snapshot *answer, struct hc_error *err)
{
    struct snapshot_resolution self = {.lookup = lookup, .answer = answer};
    const struct hc_resolution_steps steps = {
        snapshot_step_find_cached, snapshot_step_describe,   snapshot_step_fetch,
        snapshot_step_clear,       snapshot_step_mark_stale, &self};
    int result =
        hc_resolution_run(&steps, &lookup->resolution, lookup->cancellation, err);

    hc_tree_free(self.tree);
    return result;
}

static int snapshot_resolve_from_disk(struct hc_resolver *resolver,
                                      struct hc_snapshot_lookup *lookup,
                                      struct hc_snapshot *answer, struct hc_error *err)
{
    const struct hc_snapshot_request *request = lookup->request;
    const struct hc_patterns patterns = {request->allow_patterns, request->allow_count,
                                         request->ignore_patterns, request->ignore_count};
    char dir[PATH_MAX];

    *answer = (struct hc_snapshot){0};
    if (hc_patterns_check(&patterns, err) < 0)
        return -1;
    lookup->filter = hc_filter_new(&patterns, lookup->cancellation, err);
    if (!lookup->filter)
        return -1;
    if (hc_local_find(resolver, request->repo.id, dir))
        return hc_local_snapshot(dir, request, lookup->filter, answer, err) < 0 ? -1 : 1;
    if (hc_resolution_init(&lookup->resolution, resolver, &request->repo,
                           &request->options, err) < 0)
        return -1;
    return snapshot_find_cached(lookup, answer, err);
}

int hc_resolve_snapshot_cached(struct hc_resolver *resolver,
                               const struct hc_snapshot_request *request,
                               struct hc_snapshot *snapshot, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_snapshot_lookup) lookup = {.request = request};
    int found = snapshot_resolve_from_disk(resolver, &lookup, snapshot, err);

    if (found != 1)
        hc_snapshot_clear(snapshot);
    return found;
}

int hc_resolve_snapshot(struct hc_resolver *resolver,
                        const struct hc_snapshot_request *request,
                        struct hc_cancellation *cancellation,
                        struct hc_snapshot *snapshot, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_snapshot_lookup)
    lookup = {.request = request, .cancellation = cancellation};
    int found = snapshot_resolve_from_disk(resolver, &lookup, snapshot, err);

    if (found == 0) {
        hc_snapshot_clear(snapshot);
        found = snapshot_resolve_by_hub(&lookup, snapshot, err) < 0 ? -1 : 1;
    }
    if (found < 0)
        hc_snapshot_clear(snapshot);
    return found < 0 ? -1 : 0;
}
