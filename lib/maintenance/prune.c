/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leftover is collected first and acted on later, so that no directory changes while it
 * is walked. What is moved to the trash is looked at once more there: a client that makes
 * a blob, a snapshot or a pointer at the same time finds its own again.
 */
#include "prune.h"

#include "leftovers.h"
#include "repo_refs.h"
#include "repo_removal.h"
#include "shared_store.h"
#include "trash.h"
#include "unused_blobs.h"

#include <base/file.h>
#include <base/list.h>
#include <cache/blob_lock.h>
#include <cache/memo.h>
#include <cache/tree_cache.h>
#include <cache/walk.h>
#include <claim/fetching.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char unreferenced[] = "no ref names it";

/* A leftover, kept after the search. */
struct found_leftover {
    enum hc_finding_kind kind;
    char *cache_path;
    char *name;
    char *etag;
    char commit[HC_COMMIT_SIZE];
    uint64_t size_bytes, room_bytes;
};

struct found_leftovers {
    struct found_leftover *items;
    size_t count;
};

static void found_leftovers_clear(struct found_leftovers *found)
{
    for (size_t i = 0; i < found->count; i++) {
        free(found->items[i].cache_path);
        free(found->items[i].name);
        free(found->items[i].etag);
    }
    free(found->items);
    *found = (struct found_leftovers){0};
}

HC_DEFINE_AUTO_VALUE(found_leftovers, found_leftovers_clear)

static int leftover_collect(void *ctx, const struct hc_leftover *leftover,
                            struct hc_error *err)
{
    struct found_leftovers *found = ctx;
    struct found_leftover *grown =
        hc_list_grow(found->items, found->count, sizeof *found->items, err);
    struct found_leftover *item;

    if (!grown)
        return -1;
    found->items = grown;
    item = &grown[found->count++];
    *item = (struct found_leftover){.kind = leftover->kind,
                                    .cache_path = hc_text_copy(leftover->cache_path, err),
                                    .name = hc_text_copy(leftover->name, err),
                                    .etag = hc_text_copy(leftover->etag, err),
                                    .size_bytes = leftover->size_bytes,
                                    .room_bytes = leftover->room_bytes};
    (void)hc_format(item->commit, sizeof item->commit, "%s", leftover->commit);
    return item->cache_path && item->name && item->etag ? 0 : -1;
}

/* ---- one leftover ------------------------------------------------------------------ */

/* The repo that is pruned. */
struct repo_prune {
    const struct hc_prune *prune;
    const struct hc_repo *repo;
    struct hc_trash *trash; /* NULL in a dry run */
    struct found_leftovers found;
    struct hc_strings orphans; /* etags of blobs that were not taken after all */
    bool needs_trash;          /* a blob waits there: it could not be moved back */
};

static int leftover_open_parent(const struct repo_prune *self,
                                const struct found_leftover *item, const char **name)
{
    return hc_directory_open_parent(hc_cache_fd(self->prune->cache), item->cache_path,
                                    name);
}

/* Moves it to the trash, and back if `is_wanted` says so by then. */
static bool leftover_take(const struct repo_prune *self,
                          const struct found_leftover *item,
                          bool (*is_wanted)(const struct repo_prune *self,
                                            const struct found_leftover *item))
{
    const char *name;
    HC_AUTO_CLOSE int dir = leftover_open_parent(self, item, &name);
    char as[32];
    struct hc_error unused;

    (void)hc_format(as, sizeof as, "%zu", (size_t)(item - self->found.items));
    if (dir < 0 || hc_trash_take(self->trash, dir, name, "other", as, &unused) != 1)
        return false;
    hc_memo_forget(hc_cache_memo(self->prune->cache), item->cache_path);
    if (!is_wanted(self, item))
        return true;
    (void)hc_trash_give_back(self->trash, "other", as, dir, name, &unused);
    return false;
}

/* Another host may have made it just now: what this one has read before must not tell. */
static bool repo_has(const struct repo_prune *self, const char *directory,
                     const char *name)
{
    int root = hc_cache_fd(self->prune->cache);
    char path[PATH_MAX];

    (void)hc_format(path, sizeof path, "%s/%s", self->repo->folder, directory);
    hc_directory_refresh(root, path);
    return hc_format(path, sizeof path, "%s/%s/%s", self->repo->folder, directory, name) >
               0 &&
           (faccessat(root, path, F_OK, 0) == 0 || !hc_file_is_absent(errno));
}

static bool blob_exists(const struct repo_prune *self, const struct found_leftover *item)
{
    return item->etag[0] && repo_has(self, "blobs", item->etag);
}

/* Trap 55: a client may write the ref first, and the snapshot later. */
static bool snapshot_exists(const struct repo_prune *self,
                            const struct found_leftover *item)
{
    return repo_has(self, "snapshots", item->commit);
}

static bool pointer_prune(const struct repo_prune *self,
                          const struct found_leftover *item)
{
    if (!leftover_take(self, item, blob_exists))
        return false;
    hc_tree_end_term(self->prune->cache, self->repo, item->commit);
    return true;
}

static bool ref_prune(const struct repo_prune *self, const struct found_leftover *item)
{
    HC_AUTO_VALUE(hc_fetching) fetching = {0};
    struct hc_error unused;

    return hc_fetching_read(&fetching, self->prune->cache, self->repo,
                            self->prune->now_ms, &unused) == 0 &&
           !hc_fetching_is_any(&fetching) && leftover_take(self, item, snapshot_exists);
}

/* With the lock of its blob held: no client writes to it. */
static bool temporary_prune(const struct repo_prune *self,
                            const struct found_leftover *item)
{
    const struct hc_blob_id blob = {self->repo->folder, item->etag};
    struct hc_error unused;
    HC_AUTO(hc_blob_lock) *lock =
        item->etag[0] ? hc_blob_lock_new(self->prune->cache, &blob, &unused) : NULL;
    const char *name;
    HC_AUTO_CLOSE int dir = leftover_open_parent(self, item, &name);
    bool is_removed;

    if (dir < 0 || (item->etag[0] && (!lock || hc_blob_lock_try(lock, &unused) != 1)))
        return false;
    is_removed = unlinkat(dir, name, 0) == 0;
    if (lock)
        hc_blob_lock_replace(lock);
    return is_removed;
}

static bool blob_was_taken(const struct repo_prune *self,
                           const struct found_leftover *item)
{
    for (size_t i = 0; i < self->orphans.count; i++) {
        if (strcmp(self->orphans.items[i], item->etag) == 0)
            return false;
    }
    return true;
}

/* Blobs were removed all together, before. */
static bool leftover_prune(const struct repo_prune *self,
                           const struct found_leftover *item)
{
    switch (item->kind) {
    case HC_DANGLING_POINTER:
        return pointer_prune(self, item);
    case HC_DANGLING_REF:
        return ref_prune(self, item);
    case HC_STRAY_TEMPORARY:
        return temporary_prune(self, item);
    case HC_ORPHAN_BLOB:
        return blob_was_taken(self, item);
    default:
        return false;
    }
}

/* ---- rows -------------------------------------------------------------------------- */

static int result_add_file(struct hc_prune_result *result,
                           const struct hc_pruned_file *file, const char *cache_path,
                           struct hc_error *err)
{
    struct hc_pruned_file *grown;

    result->file_total++;
    result->file_removed += file->is_removed;
    if (result->file_count == HC_PRUNED_FILES_MAX)
        return 0;
    grown = hc_list_grow(result->files, result->file_count, sizeof *grown, err);
    if (!grown)
        return -1;
    result->files = grown;
    grown[result->file_count] = *file;
    grown[result->file_count].cache_path = hc_text_copy(cache_path, err);
    if (!grown[result->file_count].cache_path)
        return -1;
    result->file_count++;
    return 0;
}

void hc_prune_result_clear(struct hc_prune_result *result)
{
    hc_removal_result_clear(&result->revisions);
    for (size_t i = 0; i < result->file_count; i++)
        free(result->files[i].cache_path);
    free(result->files);
    *result = (struct hc_prune_result){0};
}

/* ---- leftovers of a repo ----------------------------------------------------------- */

static void orphans_note(void *ctx, const char *etag, const struct hc_hold *hold)
{
    struct repo_prune *self = ctx;
    struct hc_error unused;

    if (hold->by != HC_HELD_BY_NONE)
        (void)hc_strings_add(&self->orphans, etag, &unused);
    self->needs_trash = self->needs_trash || hold->by == HC_HELD_BY_FAILURE;
}

static int repo_take_orphans(struct repo_prune *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_strings) etags = {0};
    const struct hc_unused_blobs blobs = {
        .cache = self->prune->cache,
        .repo = self->repo,
        .trash = self->trash,
        .now_ms = self->prune->now_ms,
        .also = &etags,
        .note = orphans_note,
        .ctx = self,
    };

    for (size_t i = 0; i < self->found.count; i++) {
        if (self->found.items[i].kind == HC_ORPHAN_BLOB &&
            hc_strings_add(&etags, self->found.items[i].etag, err) < 0)
            return -1;
    }
    return etags.count > 0 ? hc_unused_blobs_take(&blobs, err) : 0;
}

static int repo_prune_leftovers(struct repo_prune *self, struct hc_error *err)
{
    struct hc_prune_result *result = self->prune->result;

    for (size_t i = 0; i < self->found.count; i++) {
        const struct found_leftover *item = &self->found.items[i];
        struct hc_pruned_file file = {.kind = item->kind, .size_bytes = item->size_bytes};

        if (!self->prune->is_dry_run)
            file.is_removed = leftover_prune(self, item);
        if (self->prune->is_dry_run || file.is_removed)
            result->file_bytes += item->room_bytes;
        if (result_add_file(result, &file, item->cache_path, err) < 0)
            return -1;
    }
    return 0;
}

/* A pointer comes after its blob; but a network filesystem shows the blob of another host
 * late. For a caller who takes what was used just now, the look at its end has to do. */
static int64_t pointer_age_ms(const struct hc_prune *prune)
{
    return prune->unused_for_ms < HC_LEFTOVER_AGE_MS ? prune->unused_for_ms
                                                     : HC_LEFTOVER_AGE_MS;
}

static int prune_leftovers(const struct hc_prune *prune, const struct hc_repo *repo,
                           struct hc_error *err)
{
    struct repo_prune self = {.prune = prune, .repo = repo};
    const struct hc_leftovers search = {
        .cache = prune->cache,
        .now_ms = prune->now_ms,
        .age_ms = HC_LEFTOVER_AGE_MS,
        .pointer_age_ms = pointer_age_ms(prune),
        .found = leftover_collect,
        .ctx = &self.found,
        .cancellation = prune->cancellation,
    };
    HC_AUTO(hc_trash) *trash = NULL;
    int result = hc_leftovers_find(&search, repo, err);

    if (result == 0 && self.found.count > 0 && !prune->is_dry_run) {
        trash = hc_trash_new(prune->cache, repo, err);
        self.trash = trash;
        result = trash ? repo_take_orphans(&self, err) : -1;
    }
    if (result == 0)
        result = repo_prune_leftovers(&self, err);
    if (trash && !self.needs_trash)
        hc_trash_empty(trash);
    found_leftovers_clear(&self.found);
    hc_strings_clear(&self.orphans);
    return result;
}

/* ---- revisions and folders --------------------------------------------------------- */

static int prune_list_unreferenced(const struct hc_prune *prune,
                                   const struct hc_repo *repo, int folder,
                                   struct hc_strings *commits, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_repo_refs) refs = {0};
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_snapshots(prune->cache, repo);

    if (hc_repo_refs_read(&refs, folder, err) < 0)
        return -1;
    while (hc_directory_walk_next(&walk)) {
        size_t count = 0;

        (void)hc_repo_refs_take(&refs, walk.path, &count);
        if (count == 0 && hc_strings_add(commits, walk.path, err) < 0)
            return -1;
    }
    return 0;
}

static int prune_revisions(const struct hc_prune *prune, const struct hc_repo *repo,
                           int folder, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_strings) commits = {0};
    struct hc_removal_request request = {.repo = repo, .detail = unreferenced};

    if (prune_list_unreferenced(prune, repo, folder, &commits, err) < 0)
        return -1;
    if (commits.count == 0)
        return 0;
    request.commits = (const char *const *)commits.items;
    request.commit_count = commits.count;
    request.unreferenced_since_ms = prune->now_ms - prune->unused_for_ms + 1;
    return hc_removal_take(prune->removal, &request, err);
}

/* Whether a client has changed the folder within the last hour. */
static bool folder_is_young(const struct hc_prune *prune, int folder)
{
    static const char *const names[] = {".", "refs", "blobs", "snapshots", ".no_exist"};
    struct stat status;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (fstatat(folder, names[i], &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            prune->now_ms - hc_file_changed_ms(&status) < HC_LEFTOVER_AGE_MS)
            return true;
    }
    return false;
}

/* A repo without any snapshot, such as a failed first download leaves it, is one that
 * the reference client's scanner calls corrupt. A client may make a snapshot after the
 * look: that has been used by then. */
static int prune_folder(const struct hc_prune *prune, const struct hc_repo *repo,
                        int folder, struct hc_error *err)
{
    const struct hc_removal_request request = {.repo = repo,
                                               .detail = unreferenced,
                                               .unreferenced_since_ms =
                                                   prune->now_ms - prune->unused_for_ms +
                                                   1};
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(folder, "snapshots", 0);

    if (hc_directory_walk_next(&walk) || walk.is_incomplete ||
        folder_is_young(prune, folder))
        return 0;
    return hc_removal_take(prune->removal, &request, err);
}

/* ---- the interface ----------------------------------------------------------------- */

/* A repo that cannot be read is passed over: a verification tells why. */
static bool failure_ends_prune(const struct hc_error *failure)
{
    return failure->reason == HC_CANCELLED || failure->reason == HC_DEADLINE_EXCEEDED ||
           failure->reason == HC_SHUTTING_DOWN || failure->reason == HC_INTERNAL;
}

int hc_prune_repo(const struct hc_prune *prune, const struct hc_repo *repo,
                  struct hc_error *err)
{
    HC_AUTO_CLOSE int folder = hc_directory_open(hc_cache_fd(prune->cache), repo->folder);
    struct hc_error failure;

    if (folder < 0)
        return 0;
    if (hc_cancellation_check(prune->cancellation, err) < 0)
        return -1;
    if (prune_leftovers(prune, repo, &failure) == 0 &&
        prune_revisions(prune, repo, folder, &failure) == 0 &&
        prune_folder(prune, repo, folder, &failure) == 0) {
        if (!prune->is_dry_run) {
            hc_directory_remove_empty(folder, "refs");
            hc_directory_remove_empty(folder, ".no_exist");
        }
        return 0;
    }
    if (!failure_ends_prune(&failure))
        return 0;
    *err = failure;
    return -1;
}

/* Refs, blobs and partial files may be a client's that is about to continue. */
static bool folder_has_files(int folder)
{
    static const char *const names[] = {"refs", "blobs"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        HC_AUTO_VALUE(hc_directory_walk)
        walk = hc_directory_walk(folder, names[i], HC_DEPTH_MAX);

        while (hc_directory_walk_next(&walk)) {
            if (!S_ISDIR(walk.type))
                return true;
        }
    }
    return false;
}

int hc_prune_folders(const struct hc_prune *prune, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(prune->cache);
    struct hc_error failure;
    struct hc_repo repo;

    while (hc_walk_next_repo(&walk, &repo)) {
        HC_AUTO_CLOSE int folder =
            hc_directory_open(hc_cache_fd(prune->cache), repo.folder);

        if (hc_cancellation_check(prune->cancellation, err) < 0)
            return -1;
        if (folder < 0 || folder_has_files(folder) ||
            prune_folder(prune, &repo, folder, &failure) == 0)
            continue;
        if (failure_ends_prune(&failure)) {
            *err = failure;
            return -1;
        }
    }
    return 0;
}

int hc_prune_cache(const struct hc_prune *prune, struct hc_error *err)
{
    HC_AUTO_VALUE(found_leftovers) found = {0};
    const struct hc_leftovers search = {
        .cache = prune->cache,
        .now_ms = prune->now_ms,
        .age_ms = HC_LEFTOVER_AGE_MS,
        .found = leftover_collect,
        .ctx = &found,
        .cancellation = prune->cancellation,
    };

    if (!prune->is_dry_run)
        (void)hc_removal_sweep(prune->cache, prune->now_ms, HC_TRASH_EXPIRY_MS);
    if (hc_leftovers_find_payloads(&search, err) < 0)
        return -1;
    for (size_t i = 0; i < found.count; i++) {
        const struct found_leftover *item = &found.items[i];
        struct hc_pruned_file file = {.kind = item->kind, .size_bytes = item->size_bytes};
        struct hc_error unused;

        file.is_removed =
            !prune->is_dry_run &&
            hc_payload_remove_unused(prune->cache, item->name, &unused) == 1;
        if (prune->is_dry_run || file.is_removed)
            prune->result->file_bytes += item->room_bytes;
        if (result_add_file(prune->result, &file, item->cache_path, err) < 0)
            return -1;
    }
    return 0;
}
