/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot: all files of a commit that the patterns select. It uses the tree of the
 * commit: one listing, then one GET for each missing file, and the answer is proved
 * rather than assumed. The completeness check (presence.h) finds every selected entry in
 * the cache; one whose file is not there, or has another size than the tree says, is
 * missing.
 *
 *     COMPLETE   no entry is missing
 *     PARTIAL    the answer to a dry run, with the names of missing files
 *     UNKNOWN    offline, and no listing is cached: the directory as it is
 *
 * Offline, a snapshot known to be incomplete is never answered as if it were whole: it is
 * INCOMPLETE_SNAPSHOT, with the names.
 */
#include "batch.h"
#include "presence.h"
#include "snapshot_proof.h"
#include "warm_up.h"

#include <base/cancellation.h>
#include <base/file.h>
#include <base/list.h>
#include <base/size.h>
#include <cache/tree_cache.h>
#include <maintenance/quarantine.h>
#include <policy/patterns.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { RECALLED_FILES_MAX = 100 /* of an answer from memory that lists them */ };

struct snapshot_resolution {
    struct hc_resolution resolution;
    const struct hc_snapshot_request *request;
    struct hc_patterns patterns;  /* the request's */
    struct hc_filter *filter;     /* made of them */
    struct hc_snapshot *snapshot; /* the answer */

    /* From the completeness check. */
    const struct hc_entry **missing; /* entries of the tree that was checked */
    size_t missing_count;
    uint64_t missing_bytes;
};

_Static_assert(offsetof(struct snapshot_resolution, resolution) == 0,
               "the kind casts to it");

static void snapshot_resolution_clear(struct snapshot_resolution *self)
{
    hc_resolution_clear(&self->resolution);
    hc_filter_free(self->filter);
    free(self->missing);
}

HC_DEFINE_AUTO_VALUE(snapshot_resolution, snapshot_resolution_clear)

/* ---- answers ----------------------------------------------------------------------- */

void hc_snapshot_clear(struct hc_snapshot *snapshot)
{
    struct hc_strings missing = {.items = snapshot->missing,
                                 .count = snapshot->missing_listed};
    struct hc_strings excluded = {.items = snapshot->excluded,
                                  .count = snapshot->excluded_listed};

    free(snapshot->path);
    hc_strings_clear(&missing);
    hc_strings_clear(&excluded);
    hc_resolved_files_clear(snapshot->files, snapshot->listed);
    *snapshot = (struct hc_snapshot){0};
}

/* Path, commit and what a hit has in common. */
static int snapshot_set_path(const struct snapshot_resolution *self, const char *commit,
                             struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    const char *root = hc_cache_root(resolution->resolver->cache);
    struct hc_snapshot *snapshot = self->snapshot;
    char cache_path[PATH_MAX];

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, NULL, err) < 0)
        return -1;
    if (asprintf(&snapshot->path, "%s/%s", root, cache_path) < 0) {
        snapshot->path = NULL;
        return hc_fail_memory(err);
    }
    snapshot->cache_path = snapshot->path + strlen(root) + 1;
    memcpy(snapshot->commit_hash, commit, HC_COMMIT_SIZE);
    if (resolution->decision.rules)
        (void)hc_format(snapshot->rule, sizeof snapshot->rule, "%s",
                        hc_rule_name(resolution->decision.rule));
    snapshot->source = HC_SOURCE_CACHE;
    snapshot->completeness = HC_COMPLETE;
    return 0;
}

/* The error lists as many names of missing files as it has room for. */
static int snapshot_fail_incomplete(const struct snapshot_resolution *self,
                                    const char *commit, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    bool is_quarantined =
        hc_quarantine_has(resolution->resolver->cache, &resolution->repo, commit,
                          self->missing[0]->path);
    const char *type = hc_repo_type_name(resolution->repo.type);
    const char *id = resolution->repo.id;
    size_t used = 0;

    (void)hc_fail(
        err, HC_INCOMPLETE_SNAPSHOT,
        "the snapshot of %s '%s' at '%s' lacks %zu of %u files ('%.100s'%s%s), "
        "and the Hub is not asked. Complete it while online: hubcache snapshot %s "
        "--repo-type %s --revision %s",
        type, id, resolution->revision, self->missing_count, self->snapshot->file_count,
        self->missing[0]->path,
        is_quarantined ? " was corrupt, and was moved to .hubcache/quarantine" : "",
        self->missing_count > 1 ? ", …" : "", id, type, resolution->revision);
    err->missing_count = (unsigned)self->missing_count;
    for (size_t i = 0; i < self->missing_count && i < HC_MISSING_MAX; i++) {
        int length = hc_format(err->missing + used, sizeof err->missing - used, "%s%s",
                               used ? "\n" : "", self->missing[i]->path);

        if (length < 0)
            break;
        used += (size_t)length;
    }
    return -1;
}

/* No tree says what should be here: the directory as it is, and that this is so. */
static int snapshot_answer_unknown(const struct snapshot_resolution *self,
                                   const char *commit, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    struct hc_snapshot *snapshot = self->snapshot;
    const struct hc_local_selection selection = {self->request, self->filter,
                                                 &resolution->decision};
    struct hc_snapshot counted;
    char cache_path[PATH_MAX];
    struct stat status;

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, commit, NULL, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(resolution->resolver->cache), cache_path, &status, 0) < 0 ||
        !S_ISDIR(status.st_mode))
        return 0;
    if (snapshot_set_path(self, commit, err) < 0)
        return -1;
    snapshot->completeness = HC_UNKNOWN;
    if (hc_local_snapshot(snapshot->path, &selection, &counted, err) < 0)
        return -1;
    snapshot->file_count = counted.file_count;
    snapshot->size_bytes = counted.size_bytes;
    snapshot->excluded = hc_take(&counted.excluded);
    snapshot->excluded_listed = counted.excluded_listed;
    snapshot->excluded_total = counted.excluded_total;
    counted.excluded_listed = 0;
    hc_snapshot_clear(&counted);
    if (hc_resolution_authorize_snapshot(&self->resolution, self->snapshot, err) < 0)
        return -1;
    return snapshot->file_count > 0; /* none is no answer: the repo may have files */
}

/* Makes what was checked the answer to a dry run, which may miss files. */
static int snapshot_answer_dry_run(struct snapshot_resolution *self, struct hc_error *err)
{
    struct hc_snapshot *snapshot = self->snapshot;
    HC_AUTO_VALUE(hc_strings) names = {0};

    if (self->missing_count == 0)
        return 0;
    for (size_t i = 0; i < self->missing_count && i < HC_MISSING_MAX; i++) {
        if (hc_strings_add(&names, self->missing[i]->path, err) < 0)
            return -1;
    }
    snapshot->completeness = HC_PARTIAL;
    snapshot->source = HC_SOURCE_HUB;
    snapshot->missing = names.items;
    snapshot->missing_listed = names.count;
    snapshot->missing_total = (unsigned)self->missing_count;
    names = (struct hc_strings){0};
    return 0;
}

/* ---- the completeness check -------------------------------------------------------- */

/* One more file of an answer that lists them; one that is missing has where it will
 * be. */
static int snapshot_list_file(const struct snapshot_resolution *self, const char *commit,
                              const struct hc_entry *entry, bool is_cached,
                              struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    struct hc_snapshot *snapshot = self->snapshot;
    struct hc_file file;

    if (hc_resolution_place_entry(resolution, commit, entry, &file, err) < 0)
        return -1;
    file.source = is_cached ? HC_SOURCE_CACHE : HC_SOURCE_HUB;
    return hc_resolved_files_add(&snapshot->files, &snapshot->listed, &file, err);
}

static int snapshot_add_missing(struct snapshot_resolution *self,
                                const struct hc_entry *entry, struct hc_error *err)
{
    const struct hc_entry **grown =
        hc_list_grow(self->missing, self->missing_count, sizeof *grown, err);

    if (!grown)
        return -1;
    self->missing = grown;
    self->missing[self->missing_count++] = entry;
    self->missing_bytes += hc_entry_size(entry);
    return 0;
}

static int snapshot_count_entry(struct snapshot_resolution *self, const char *commit,
                                const struct hc_entry *entry, bool is_cached,
                                struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    struct hc_snapshot *snapshot = self->snapshot;

    snapshot->file_count++;
    snapshot->size_bytes = hc_size_add(snapshot->size_bytes, hc_entry_size(entry));
    if (snapshot->size_bytes == UINT64_MAX)
        return hc_fail(
            err, HC_BAD_HUB_REPLY,
            "the files of commit %s of %s '%s' are said to have more bytes than "
            "64 bits can count",
            commit, hc_repo_type_name(resolution->repo.type), resolution->repo.id);
    if (self->request->list_files &&
        snapshot_list_file(self, commit, entry, is_cached, err) < 0)
        return -1;
    return is_cached ? 0 : snapshot_add_missing(self, entry, err);
}

/* The answer says which files it leaves out. */
static void snapshot_take_excluded(const struct snapshot_resolution *self,
                                   struct hc_presence_check *check)
{
    struct hc_snapshot *snapshot = self->snapshot;
    struct hc_strings old = {.items = snapshot->excluded,
                             .count = snapshot->excluded_listed};

    hc_strings_clear(&old);
    snapshot->excluded = check->excluded.items;
    snapshot->excluded_listed = check->excluded.count;
    snapshot->excluded_total = check->excluded_total;
    check->excluded = (struct hc_strings){0};
}

/* Fills in the answer's figures, with list_files its files, and the missing entries,
 * which are borrowed from `tree`. */
static int snapshot_check(struct snapshot_resolution *self, const char *commit,
                          const struct hc_tree *tree, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_presence_check)
    check = {.resolution = &self->resolution,
             .commit = commit,
             .tree = tree,
             .filter = self->filter};

    self->missing_count = 0;
    self->missing_bytes = 0;
    if (hc_presence_find(&check, err) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++) {
        if (check.files[i] != HC_NOT_SELECTED &&
            snapshot_count_entry(self, commit, &tree->entries[i],
                                 check.files[i] != HC_ABSENT, err) < 0)
            return -1;
    }
    snapshot_take_excluded(self, &check);
    if (check.is_old)
        hc_confirm_snapshot(&self->resolution, &self->patterns, true);
    return hc_resolution_authorize_snapshot(&self->resolution, self->snapshot, err);
}

/* ---- the kind ---------------------------------------------------------------------- */

/* 1: the files are in the answer, which is proved; 0: their listing is not in memory, or
 * is a long one: a look at the volume may take its time. */
static int snapshot_recall_files(const struct snapshot_resolution *self,
                                 const char *commit, struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    HC_AUTO(hc_tree) *tree =
        hc_tree_recall(resolution->resolver->cache, &resolution->repo, commit);
    HC_AUTO(hc_filter) *filter = NULL;
    HC_AUTO_VALUE(hc_presence_check)
    check = {.resolution = resolution, .commit = commit, .tree = tree};

    if (!tree || tree->count > RECALLED_FILES_MAX)
        return 0;
    filter = hc_filter_new(&self->patterns, NULL, err);
    check.filter = filter;
    if (!filter || hc_presence_select(&check, err) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++) {
        if (check.files[i] == HC_SELECTED &&
            snapshot_list_file(self, commit, &tree->entries[i], true, err) < 0)
            return -1;
    }
    return self->snapshot->listed == self->snapshot->file_count;
}

/* From memory: 1 when it was proved so recently that nothing need be looked at, 0, -1. */
static int snapshot_recall(const struct snapshot_resolution *self, const char *commit,
                           struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;
    int found = hc_snapshot_proof_recall(resolution, &self->patterns, commit,
                                         self->snapshot, err);

    if (found <= 0)
        return found;
    if (snapshot_set_path(self, commit, err) < 0)
        return -1;
    if (hc_resolution_authorize_snapshot(resolution, self->snapshot, err) < 0)
        return -1;
    return self->request->list_files ? snapshot_recall_files(self, commit, err) : 1;
}

static int snapshot_find_local(struct hc_resolution *resolution, const char *directory,
                               struct hc_error *err)
{
    const struct snapshot_resolution *self =
        (const struct snapshot_resolution *)resolution;

    const struct hc_local_selection selection = {self->request, self->filter,
                                                 &resolution->decision};

    if (hc_local_snapshot(directory, &selection, self->snapshot, err) < 0)
        return -1;
    if (resolution->decision.rules)
        (void)hc_format(self->snapshot->rule, sizeof self->snapshot->rule, "%s",
                        hc_rule_name(resolution->decision.rule));
    return hc_resolution_authorize_snapshot(&self->resolution, self->snapshot, err) < 0
               ? -1
               : 1;
}

/* With the listing of the commit. `proof` NULL: the result is not remembered. */
static int snapshot_find_listed(struct snapshot_resolution *self, const char *commit,
                                const struct hc_tree *tree,
                                const struct hc_snapshot_proof *proof,
                                struct hc_error *err)
{
    const struct hc_resolution *resolution = &self->resolution;

    if (tree->count == 0 && resolution->may_ask_hub) /* the Hub may know of files */
        return 0;
    if (snapshot_check(self, commit, tree, err) < 0)
        return -1;
    if (self->missing_count > 0 && !resolution->options->dry_run)
        return resolution->may_ask_hub ? 0 : snapshot_fail_incomplete(self, commit, err);
    if (snapshot_set_path(self, commit, err) < 0 ||
        snapshot_answer_dry_run(self, err) < 0)
        return -1;
    if (proof && self->missing_count == 0)
        hc_snapshot_proof_store(resolution, proof, self->snapshot);
    return 1;
}

/* 1 proved complete (or a dry run's answer, or unknown when the Hub must not be
 * asked). */
static int snapshot_find_cached(struct hc_resolution *resolution, const char *commit,
                                struct hc_error *err)
{
    struct snapshot_resolution *self = (struct snapshot_resolution *)resolution;
    HC_AUTO(hc_tree) *tree = NULL;
    struct hc_snapshot_proof proof;
    bool is_kept;
    int found = 0;

    if (resolution->is_due)
        return snapshot_recall(self, commit, err);
    is_kept =
        commit[0] && hc_snapshot_proof_begin(resolution, &self->patterns, commit, &proof);
    if (commit[0])
        found = hc_tree_load(resolution->resolver->cache, &resolution->repo, commit,
                             resolution->cancellation, &tree, err);
    if (found < 0 || !commit[0])
        return found;
    if (found == 0)
        return resolution->may_ask_hub ? 0 : snapshot_answer_unknown(self, commit, err);
    return snapshot_find_listed(self, commit, tree, is_kept ? &proof : NULL, err);
}

static int snapshot_fetch_missing(struct snapshot_resolution *self, struct hc_error *err)
{
    struct hc_snapshot *snapshot = self->snapshot;
    const struct hc_batch batch = {
        .resolution = &self->resolution,
        .entries = self->missing,
        .count = self->missing_count,
        .progress = self->request->progress,
        .progress_ctx = self->request->progress_ctx,
        .before =
            {
                .files_total = snapshot->file_count,
                .files_done = snapshot->file_count - (unsigned)self->missing_count,
                .bytes_total = snapshot->size_bytes,
                .bytes_done = snapshot->size_bytes - self->missing_bytes,
            },
    };

    hc_cache_write_tag(self->resolution.resolver->cache);
    return hc_batch_fetch(&batch, &snapshot->downloaded_bytes, err);
}

/* The directory, then the ref that names it: no client ever sees a ref without it. */
static int snapshot_publish(const struct hc_resolution *resolution, struct hc_error *err)
{
    const struct hc_cache *cache = resolution->resolver->cache;
    char cache_path[PATH_MAX];

    if (hc_cache_snapshot_path(cache_path, &resolution->repo, resolution->commit, NULL,
                               err) < 0 ||
        hc_file_mkdirs(hc_cache_fd(cache), cache_path, err) < 0)
        return -1;
    return hc_resolution_write_ref(resolution, err);
}

/* Checks, and fetches what is missing; the figures of the check are those of the
 * answer. */
static int snapshot_fetch(struct hc_resolution *resolution, struct hc_error *err)
{
    struct snapshot_resolution *self = (struct snapshot_resolution *)resolution;
    struct hc_error ignored;

    if (snapshot_set_path(self, resolution->commit, err) < 0 ||
        snapshot_check(self, resolution->commit, resolution->tree, err) < 0)
        return -1;
    if (resolution->options->dry_run)
        return snapshot_answer_dry_run(self, err);
    if (self->missing_count == 0) { /* a hit needs no write access */
        (void)snapshot_publish(resolution, &ignored);
        return 0;
    }
    self->snapshot->source = HC_SOURCE_HUB;
    if (snapshot_fetch_missing(self, err) < 0)
        return hc_resolution_suspect_listing(resolution, err);
    return snapshot_publish(resolution, err);
}

static void snapshot_warm(const struct hc_resolution *resolution)
{
    const struct snapshot_resolution *self =
        (const struct snapshot_resolution *)resolution;
    const struct hc_warm_selection selection = {&self->patterns, &resolution->decision};

    hc_warm_up_snapshot(resolution->resolver->warm_ups, resolution->options,
                        self->snapshot, &selection);
}

static void snapshot_clear_answer(struct hc_resolution *resolution)
{
    const struct snapshot_resolution *self =
        (const struct snapshot_resolution *)resolution;

    hc_snapshot_clear(self->snapshot);
}

static const struct hc_resolution_kind snapshot_kind = {
    .find_local = snapshot_find_local,
    .find_cached = snapshot_find_cached,
    .ask_revision = hc_revision_ask,
    .describe = hc_revision_describe,
    .fetch = snapshot_fetch,
    .warm = snapshot_warm,
    .clear = snapshot_clear_answer,
};

static struct hc_patterns request_patterns(const struct hc_snapshot_request *request)
{
    return (struct hc_patterns){request->allow_patterns, request->allow_count,
                                request->ignore_patterns, request->ignore_count};
}

static int snapshot_resolution_run(struct snapshot_resolution *self, bool asks_hub,
                                   struct hc_error *err)
{
    struct hc_resolution *resolution = &self->resolution;
    const struct hc_snapshot_request *request = self->request;
    int found;

    resolution->kind = &snapshot_kind;
    resolution->target = &request->repo;
    resolution->options = &request->options;
    resolution->is_whole = request->allow_count == 0 && request->ignore_count == 0;
    self->patterns = request_patterns(request);
    *self->snapshot = (struct hc_snapshot){0};
    if (hc_patterns_check(&self->patterns, err) < 0)
        return -1;
    self->filter = hc_filter_new(&self->patterns, resolution->cancellation, err);
    if (!self->filter)
        return -1;
    found = hc_resolution_run(resolution, asks_hub, err);
    self->snapshot->stale = found == 1 && resolution->is_stale;
    return found;
}

int hc_resolve_snapshot_cached(struct hc_resolver *resolver,
                               const struct hc_snapshot_request *request,
                               struct hc_snapshot *snapshot, struct hc_error *err)
{
    HC_AUTO_VALUE(snapshot_resolution)
    self = {.resolution = {.resolver = resolver},
            .request = request,
            .snapshot = snapshot};

    return snapshot_resolution_run(&self, false, err);
}

void hc_snapshot_confirm(struct hc_resolver *resolver,
                         const struct hc_snapshot_request *request,
                         const struct hc_decision *decision, bool looks_at_all)
{
    struct hc_snapshot snapshot = {0};
    struct hc_error ignored;
    HC_AUTO_VALUE(snapshot_resolution)
    self = {.resolution = {.resolver = resolver,
                           .is_confirmation = true,
                           .looks_at_all = looks_at_all},
            .request = request,
            .snapshot = &snapshot};

    if (hc_decision_copy(&self.resolution.decision, decision, &ignored) == 0 &&
        snapshot_resolution_run(&self, false, &ignored) == 1)
        hc_snapshot_clear(&snapshot);
}

int hc_snapshot_look_again(struct hc_resolver *resolver,
                           const struct hc_snapshot_request *request, const char *commit,
                           struct hc_error *err)
{
    struct hc_snapshot snapshot = {0};
    HC_AUTO_VALUE(snapshot_resolution)
    self = {.resolution = {.resolver = resolver, .answered = commit},
            .request = request,
            .snapshot = &snapshot};
    int found = snapshot_resolution_run(&self, false, err);

    hc_snapshot_clear(&snapshot);
    return found;
}

static int snapshot_resolve_proved(struct hc_resolver *resolver,
                                   const struct hc_snapshot_request *request,
                                   bool looks_at_ref, struct hc_snapshot *snapshot,
                                   struct hc_error *err)
{
    bool is_due = false;
    HC_AUTO_VALUE(snapshot_resolution)
    self = {.resolution = {.kind = &snapshot_kind,
                           .resolver = resolver,
                           .target = &request->repo,
                           .options = &request->options,
                           .is_due = &is_due,
                           .looks_at_ref = looks_at_ref},
            .request = request,
            .patterns = request_patterns(request),
            .snapshot = snapshot};
    int found;

    *snapshot = (struct hc_snapshot){0};
    if (hc_patterns_check(&self.patterns, err) < 0)
        return -1;
    found = hc_resolution_recall(&self.resolution, err);
    if (is_due)
        hc_confirm_snapshot(&self.resolution, &self.patterns, false);
    return found;
}

int hc_resolve_snapshot_remembered(struct hc_resolver *resolver,
                                   const struct hc_snapshot_request *request,
                                   struct hc_snapshot *snapshot, struct hc_error *err)
{
    return snapshot_resolve_proved(resolver, request, false, snapshot, err);
}

int hc_resolve_snapshot_proved(struct hc_resolver *resolver,
                               const struct hc_snapshot_request *request,
                               struct hc_snapshot *snapshot, struct hc_error *err)
{
    return snapshot_resolve_proved(resolver, request, true, snapshot, err);
}

int hc_snapshot_keep(struct hc_resolver *resolver,
                     const struct hc_snapshot_request *request,
                     struct hc_cancellation *cancellation, struct hc_snapshot *snapshot,
                     struct hc_error *err)
{
    HC_AUTO_VALUE(snapshot_resolution)
    self = {.resolution = {.resolver = resolver,
                           .cancellation = cancellation,
                           .is_confirmation = true,
                           .refuses_older = true},
            .request = request,
            .snapshot = snapshot};
    const struct hc_policy_question question = {.type = request->repo.type,
                                                .repo_id = request->repo.id,
                                                .revision = request->repo.revision};

    if (hc_decision_make_common(&self.resolution.decision,
                                hc_policy_hold_rules(&resolver->policy), &question,
                                err) < 0)
        return -1;
    return snapshot_resolution_run(&self, true, err) < 0 ? -1 : 0;
}

int hc_resolve_snapshot(struct hc_resolver *resolver,
                        const struct hc_snapshot_request *request,
                        struct hc_cancellation *cancellation,
                        struct hc_snapshot *snapshot, struct hc_error *err)
{
    HC_AUTO_VALUE(snapshot_resolution)
    self = {.resolution = {.resolver = resolver, .cancellation = cancellation},
            .request = request,
            .snapshot = snapshot};

    return snapshot_resolution_run(&self, true, err) < 0 ? -1 : 0;
}
