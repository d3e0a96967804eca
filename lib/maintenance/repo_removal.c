/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure ends the removal of one part, which then counts as held by the failure; the
 * others continue. Before the snapshot is moved, a failure is undone: the refs are moved
 * back.
 */
#include "repo_removal.h"

#include "taken_refs.h"
#include "trash.h"
#include "unused_blobs.h"

#include <base/file.h>
#include <cache/blob_lock.h>
#include <cache/memo.h>
#include <cache/proof.h>
#include <cache/tree_cache.h>
#include <cache/walk.h>
#include <claim/claim_record.h>
#include <claim/fetching.h>
#include <claim/lease_bar.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct repo_removal {
    const struct hc_removal_scope *scope; /* NULL: an interrupted removal is finished */
    const struct hc_cache *cache;
    const struct hc_repo *repo;
    struct hc_repo_plan *plan; /* NULL as well */
    struct hc_trash *trash;
    int folder;                 /* descriptor of the repo's; -1: it is gone */
    struct hc_lease_bar **bars; /* of each part that is taken first of its commit */
};

static void removal_lift_bars(const struct repo_removal *removal)
{
    for (size_t i = 0; removal->bars && i < removal->plan->part_count; i++)
        hc_lease_unbar(removal->bars[i]);
    free(removal->bars);
}

/* ---- what this process remembers --------------------------------------------------- */

static void removal_forget(const struct repo_removal *removal, const char *kind,
                           const char *path)
{
    char name[PATH_MAX];

    if (hc_format(name, sizeof name, "%s/%s/%s", removal->repo->folder, kind, path) > 0)
        hc_memo_forget(hc_cache_memo(removal->cache), name);
}

static void removal_forget_snapshot(const struct repo_removal *removal,
                                    const char *commit)
{
    char kind[PATH_MAX];

    (void)hc_format(kind, sizeof kind, "snapshots/%s", commit);

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk(removal->trash, kind);

    while (hc_directory_walk_next(&walk)) {
        if (!S_ISDIR(walk.type))
            removal_forget(removal, kind, walk.path);
    }
    hc_tree_end_term(removal->cache, removal->repo, commit);
    hc_proof_drop(removal->cache, removal->repo, commit);
}

/* ---- one revision, or files of one ------------------------------------------------- */

/* A process that was stopped for long has lost its bar: a caller may have a lease. */
static int commit_check_bar(const struct repo_removal *removal,
                            const struct hc_planned_part *first, struct hc_error *err)
{
    return hc_lease_bar_holds(removal->bars[first - removal->plan->parts])
               ? 0
               : hc_fail(err, HC_CACHE_IO, "its removal was stopped for too long");
}

/* Refs that cannot be moved back stay in the trash, for the next sweep. */
static void revision_give_back_refs(const struct repo_removal *removal,
                                    struct hc_planned_part *part)
{
    struct hc_error failure;

    if (hc_taken_refs_give_back(removal->cache, removal->repo, removal->trash,
                                part->commit, &failure) < 0)
        part->blob_hold = hc_hold_of_failure(&failure);
}

static int revision_take(const struct repo_removal *removal, struct hc_planned_part *part,
                         struct hc_error *err)
{
    HC_AUTO_CLOSE int snapshots = hc_directory_open(removal->folder, "snapshots");
    int taken;

    if (snapshots < 0)
        return hc_fail_errno(err, errno, "open the snapshots");
    taken = hc_taken_refs_take(removal->cache, removal->repo, removal->trash,
                               part->commit, err);
    if (taken == 0)
        taken = commit_check_bar(removal, part, err);
    if (taken == 0)
        taken = hc_trash_take(removal->trash, snapshots, part->commit, "snapshots",
                              part->commit, err);
    if (taken < 0) {
        revision_give_back_refs(removal, part);
        return -1;
    }
    part->is_passed_over = taken == 0;
    removal_forget_snapshot(removal, part->commit);
    return 0;
}

/* The directories on the way are removed when they are empty. */
static void file_remove_parents(int snapshot, const char *path)
{
    char above[PATH_MAX];

    (void)hc_format(above, sizeof above, "%s", path);
    for (char *slash = strrchr(above, '/'); slash; slash = strrchr(above, '/')) {
        *slash = '\0';
        if (unlinkat(snapshot, above, AT_REMOVEDIR) < 0)
            return;
    }
}

static int file_take(const struct repo_removal *removal, struct hc_planned_part *part,
                     struct hc_error *err)
{
    char place[PATH_MAX], as[NAME_MAX + 1];
    const char *name;
    int taken;

    (void)hc_format(place, sizeof place, "snapshots/%s/.", part->commit);

    HC_AUTO_CLOSE int snapshot = hc_directory_open_parent(removal->folder, place, &name);
    HC_AUTO_CLOSE int dir =
        snapshot < 0 ? -1 : hc_directory_open_parent(snapshot, part->path, &name);

    if (dir < 0)
        return hc_fail_errno(err, errno, "open the directory of '%s'", part->path);
    (void)hc_format(as, sizeof as, "%zu", (size_t)(part - removal->plan->parts));
    taken = hc_trash_take(removal->trash, dir, name, "files", as, err);
    if (taken < 0)
        return -1;
    part->is_passed_over = taken == 0;
    (void)hc_format(place, sizeof place, "snapshots/%s", part->commit);
    removal_forget(removal, place, part->path);
    file_remove_parents(snapshot, part->path);
    return 0;
}

static int part_take(const struct repo_removal *removal,
                     const struct hc_planned_part *first, struct hc_planned_part *part,
                     struct hc_error *err)
{
    if (!part->path)
        return revision_take(removal, part, err);
    return commit_check_bar(removal, first, err) < 0 ? -1 : file_take(removal, part, err);
}

/* What holds it may be another host's: what this one has read before must not tell. */
static void commit_refresh(const struct repo_removal *removal)
{
    static const char *const kinds[] = {"pins", "kept", "transfers"};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (hc_format(path, sizeof path, ".hubcache/%s/%s", kinds[i],
                      removal->repo->folder) > 0)
            hc_directory_refresh(hc_cache_fd(removal->cache), path);
    }
}

/* No caller gets a lease from now on; other holds may be newer than the plan. */
static void commit_bar(const struct repo_removal *removal, struct hc_planned_part *part)
{
    struct hc_lease_bar **bar = &removal->bars[part - removal->plan->parts];
    struct hc_error err;
    int barred = hc_lease_bar(removal->cache, removal->repo, part->commit, bar, &err);

    if (barred == 1 && hc_taken_refs_give_back_all(removal->cache, removal->repo,
                                                   part->commit, &err) < 0)
        barred = -1; /* refs that hold it may be in the trash of an interrupted removal */
    if (barred == 1) {
        commit_refresh(removal);
        hc_repo_plan_find_hold(removal->scope, removal->plan->request, part);
        return;
    }
    part->hold = barred < 0 ? hc_hold_of_failure(&err)
                            : hc_hold_find_lease(removal->cache, removal->repo,
                                                 part->commit, removal->scope->now_ms);
    if (part->hold.by == HC_HELD_BY_NONE)
        part->hold = (struct hc_hold){.by = HC_HELD_BY_FAILURE,
                                      .detail = "another process removes it just now"};
}

/* Parts [first, end) of one commit, of which the plan holds the first by nothing. A file
 * that the plan holds by its own last use stays. */
static void commit_take(const struct repo_removal *removal, size_t first, size_t end)
{
    struct hc_planned_part *parts = removal->plan->parts;
    struct hc_hold hold;
    struct hc_error err;

    commit_bar(removal, &parts[first]);
    hold = parts[first].hold;
    for (size_t i = first; i < end; i++) {
        if (parts[i].hold.by == HC_HELD_BY_NONE)
            parts[i].hold = hold;
        if (parts[i].hold.by == HC_HELD_BY_NONE &&
            part_take(removal, &parts[first], &parts[i], &err) < 0)
            parts[i].hold = hc_hold_of_failure(&err);
    }
    if (parts[first].path) {
        hc_tree_end_term(removal->cache, removal->repo, parts[first].commit);
        hc_proof_drop(removal->cache, removal->repo, parts[first].commit);
    }
}

static size_t plan_commit_end(const struct hc_repo_plan *plan, size_t first)
{
    size_t end = first + 1;

    while (end < plan->part_count &&
           strcmp(plan->parts[end].commit, plan->parts[first].commit) == 0)
        end++;
    return end;
}

static void removal_take_parts(const struct repo_removal *removal)
{
    struct hc_repo_plan *plan = removal->plan;

    for (size_t first = 0, end; first < plan->part_count; first = end) {
        end = plan_commit_end(plan, first);
        while (first < end && plan->parts[first].hold.by != HC_HELD_BY_NONE)
            first++;
        if (first < end)
            commit_take(removal, first, end);
    }
}

/* ---- blobs ------------------------------------------------------------------------- */

/* May be called twice. */
static void plan_keep_blob(struct hc_repo_plan *plan, struct hc_planned_blob *blob,
                           const struct hc_hold *hold)
{
    struct hc_planned_part *part = &plan->parts[blob->part];

    if (!blob->stays) {
        part->freed_bytes -= blob->bytes;
        part->files--;
    }
    blob->stays = true;
    if (hold->by == HC_HELD_BY_FAILURE)
        part->blob_hold = *hold;
}

static void removal_note_blob(void *ctx, const char *etag, const struct hc_hold *hold)
{
    const struct repo_removal *removal = ctx;
    struct hc_planned_blob *blob =
        removal->plan ? hc_repo_plan_find_blob(removal->plan, etag) : NULL;

    if (blob && hold->by != HC_HELD_BY_NONE)
        plan_keep_blob(removal->plan, blob, hold);
}

static int removal_take_blobs(struct repo_removal *removal, const struct hc_strings *also,
                              struct hc_error *err)
{
    const struct hc_unused_blobs blobs = {
        .cache = removal->cache,
        .repo = removal->repo,
        .trash = removal->trash,
        .now_ms = removal->scope->now_ms,
        .also = also,
        .note = removal_note_blob,
        .ctx = removal,
    };

    return hc_unused_blobs_take(&blobs, err);
}

/* No blob was removed: the pointers could not be read. */
static void plan_note_failure(struct hc_repo_plan *plan, const struct hc_error *failure)
{
    const struct hc_hold hold = hc_hold_of_failure(failure);

    for (size_t i = 0; i < plan->blob_count; i++)
        plan_keep_blob(plan, &plan->blobs[i], &hold);
}

/* ---- what is left of a revision ---------------------------------------------------- */

/* Only while there is no snapshot of that commit: a resolution may have made one again.
 * A ref that was written since the others were moved names no snapshot now. */
static void revision_clear(const struct repo_removal *removal, const char *commit)
{
    char path[PATH_MAX];
    struct hc_error unused;

    (void)hc_format(path, sizeof path, "snapshots/%s", commit);
    if (removal->folder >= 0)
        hc_directory_refresh(removal->folder, "snapshots");
    if (removal->folder < 0 || faccessat(removal->folder, path, F_OK, 0) == 0)
        return;
    hc_tree_drop(removal->cache, removal->repo, commit);
    hc_proof_drop(removal->cache, removal->repo, commit);
    (void)hc_taken_refs_take(removal->cache, removal->repo, removal->trash, commit,
                             &unused);

    HC_AUTO_CLOSE int markers = hc_directory_open(removal->folder, ".no_exist");

    if (markers >= 0)
        (void)hc_trash_take(removal->trash, markers, commit, "other", commit, &unused);
}

/* The snapshots that are in the trash. */
static void removal_clear_revisions(const struct repo_removal *removal)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk(removal->trash, "snapshots");

    while (hc_directory_walk_next(&walk)) {
        if (S_ISDIR(walk.type) && hc_commit_is_valid(walk.path))
            revision_clear(removal, walk.path);
    }
    if (removal->folder < 0)
        return;
    hc_directory_remove_empty(removal->folder, "refs");
    hc_directory_remove_empty(removal->folder, ".no_exist");
}

/* ---- the folder -------------------------------------------------------------------- */

static bool directory_is_empty(int dir, const char *path)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(dir, path, 0);

    return !hc_directory_walk_next(&walk) && !walk.is_incomplete;
}

/* A snapshot is removed as a part, and not by its name: a lease may hold it by now, or a
 * client has just made it. */
static bool entry_is_foreign_snapshot(const struct hc_directory_walk *walk)
{
    return S_ISDIR(walk->type) && !hc_commit_is_valid(walk->name);
}

/* A blob is removed under its lock, when no pointer leads to it. */
static bool entry_is_no_blob(const struct hc_directory_walk *walk)
{
    return !S_ISDIR(walk->type) && !hc_etag_is_valid(walk->name);
}

/* With the lock of its blob held, so that it is no transfer's that has begun since the
 * look. Then it stays, and so does the folder. */
static void folder_take_partial(const struct repo_removal *removal,
                                const struct hc_directory_walk *walk, const char *etag)
{
    const struct hc_blob_id blob = {removal->repo->folder, etag};
    struct hc_claim_record record;
    struct hc_error unused;
    HC_AUTO(hc_blob_lock) *lock = hc_blob_lock_new(removal->cache, &blob, &unused);

    if (!lock || hc_blob_lock_try(lock, &unused) != 1 ||
        (hc_claim_record_find(hc_cache_fd(removal->cache), &blob, &record) == 1 &&
         !hc_claim_record_is_abandoned(&record, removal->scope->now_ms)))
        return;
    (void)hc_trash_take(removal->trash, walk->dir, walk->name, "other", walk->name,
                        &unused);
    hc_blob_lock_replace(lock);
}

/* Moves what is in a directory to the trash. */
static void folder_take_entries(const struct repo_removal *removal, const char *name,
                                const char *kind,
                                bool (*accepts)(const struct hc_directory_walk *walk))
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(removal->folder, name, 0);
    char etag[HC_ETAG_MAX + 1];
    struct hc_error unused;

    walk.accepts = accepts;
    while (hc_directory_walk_next(&walk)) {
        if (hc_partial_parse(walk.name, etag))
            folder_take_partial(removal, &walk, etag);
        else
            (void)hc_trash_take(removal->trash, walk.dir, walk.name, kind, walk.name,
                                &unused);
    }
}

/* The etag of a lock file's blob. */
static bool lock_parse_name(const char *name, char etag[HC_ETAG_MAX + 1])
{
    return hc_text_ends(name, ".lock") &&
           hc_format(etag, HC_ETAG_MAX + 1, "%.*s", (int)(strlen(name) - 5), name) > 0;
}

static struct hc_directory_walk folder_walk_locks(const struct repo_removal *removal)
{
    const char *const names[] = {".locks", removal->repo->folder, NULL};
    HC_AUTO_CLOSE int locks =
        hc_directory_open_nested(hc_cache_fd(removal->cache), names);

    return hc_directory_walk(locks, ".", 0);
}

static bool folder_has_held_lock(const struct repo_removal *removal)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = folder_walk_locks(removal);
    char etag[HC_ETAG_MAX + 1];
    const struct hc_blob_id blob = {removal->repo->folder, etag};

    while (hc_directory_walk_next(&walk)) {
        if (lock_parse_name(walk.name, etag) &&
            hc_blob_lock_is_held(removal->cache, &blob))
            return true;
    }
    return false;
}

/* Lock files of blobs that no client has locked. Their directory stays: the reference
 * client makes it, and then expects it to be there. */
static void folder_remove_locks(const struct repo_removal *removal)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = folder_walk_locks(removal);
    char etag[HC_ETAG_MAX + 1], path[PATH_MAX];
    const struct hc_blob_id blob = {removal->repo->folder, etag};

    while (hc_directory_walk_next(&walk)) {
        HC_AUTO(hc_blob_lock) *lock = NULL;
        struct hc_error unused;

        if (!lock_parse_name(walk.name, etag))
            continue;
        lock = hc_blob_lock_new(removal->cache, &blob, &unused);
        if (lock && hc_blob_lock_try(lock, &unused) == 1)
            hc_blob_lock_replace(lock);
    }
    (void)hc_format(path, sizeof path, ".hubcache/proofs/%s", removal->repo->folder);
    (void)unlinkat(hc_cache_fd(removal->cache), path, AT_REMOVEDIR);
}

/*
 * As a whole, so that no client sees a repo without a directory that it expects. A
 * process that has begun to fetch meanwhile has made blobs/ again: then it is moved back.
 */
static bool folder_move(const struct repo_removal *removal)
{
    int root = hc_cache_fd(removal->cache);
    const char *folder = removal->repo->folder;
    struct hc_error unused;

    if (hc_trash_take(removal->trash, root, folder, "other", folder, &unused) != 1)
        return false;
    hc_directory_refresh(removal->folder, ".");
    if (faccessat(removal->folder, "blobs", F_OK, 0) < 0 &&
        directory_is_empty(removal->folder, "snapshots"))
        return true;
    (void)hc_trash_give_back(removal->trash, "other", folder, root, folder, &unused);
    return false;
}

static bool folder_is_unused(const struct repo_removal *removal)
{
    HC_AUTO_VALUE(hc_fetching) fetching = {0};
    struct hc_error unused;

    return hc_fetching_read(&fetching, removal->cache, removal->repo,
                            removal->scope->now_ms, &unused) == 0 &&
           !hc_fetching_is_any(&fetching) && !folder_has_held_lock(removal);
}

static int folder_list_blobs(const struct repo_removal *removal, struct hc_strings *etags,
                             struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_blobs(removal->cache, removal->repo);

    while (hc_directory_walk_next(&walk)) {
        if (hc_strings_add(etags, walk.path, err) < 0)
            return -1;
    }
    return 0;
}

static bool removal_take_folder(struct repo_removal *removal)
{
    HC_AUTO_VALUE(hc_strings) etags = {0};
    struct hc_error unused;

    if (!folder_is_unused(removal) || !directory_is_empty(removal->folder, "snapshots") ||
        folder_list_blobs(removal, &etags, &unused) < 0 ||
        (etags.count > 0 && removal_take_blobs(removal, &etags, &unused) < 0))
        return false;
    folder_take_entries(removal, "blobs", "other", entry_is_no_blob);
    if ((unlinkat(removal->folder, "blobs", AT_REMOVEDIR) < 0 && errno != ENOENT) ||
        !folder_move(removal))
        return false;
    folder_remove_locks(removal);
    return true;
}

/* ---- the interface ----------------------------------------------------------------- */

static void plan_hold_all(struct hc_repo_plan *plan, const struct hc_error *failure)
{
    for (size_t i = 0; i < plan->part_count; i++) {
        if (plan->parts[i].hold.by == HC_HELD_BY_NONE)
            plan->parts[i].hold = hc_hold_of_failure(failure);
    }
    plan->takes_folder = false;
}

static bool plan_takes_nothing(const struct hc_repo_plan *plan)
{
    for (size_t i = 0; i < plan->part_count; i++) {
        if (plan->parts[i].hold.by == HC_HELD_BY_NONE)
            return false;
    }
    return !plan->takes_folder;
}

/* Then the trash stays: the next sweep takes blobs by the pointers in it. */
static bool plan_needs_trash(const struct hc_repo_plan *plan)
{
    for (size_t i = 0; i < plan->part_count; i++) {
        if (plan->parts[i].blob_hold.by == HC_HELD_BY_FAILURE)
            return true;
    }
    return false;
}

void hc_repo_plan_carry_out(struct hc_removal_scope *scope, struct hc_repo_plan *plan)
{
    const struct hc_repo *repo = plan->request->repo;
    struct hc_error err;
    HC_AUTO(hc_trash) *trash =
        plan_takes_nothing(plan) ? NULL : hc_trash_new(scope->cache, repo, &err);
    HC_AUTO_CLOSE int folder = hc_directory_open(hc_cache_fd(scope->cache), repo->folder);
    struct repo_removal removal = {scope,
                                   scope->cache,
                                   repo,
                                   plan,
                                   trash,
                                   folder,
                                   trash ? calloc(plan->part_count + 1,
                                                  sizeof(struct hc_lease_bar *))
                                         : NULL};

    if (plan_takes_nothing(plan))
        return;
    if (!removal.bars) {
        if (trash)
            (void)hc_fail_memory(&err);
        plan_hold_all(plan, &err);
        return;
    }
    removal_take_parts(&removal);
    if (plan->takes_folder && plan->request->commit_count == 0)
        folder_take_entries(&removal, "snapshots", "snapshots",
                            entry_is_foreign_snapshot);
    if (removal_take_blobs(&removal, NULL, &err) < 0)
        plan_note_failure(plan, &err);
    removal_clear_revisions(&removal);
    plan->takes_folder = plan->takes_folder && removal_take_folder(&removal);
    if (!plan_needs_trash(plan))
        hc_trash_empty(trash);
    removal_lift_bars(&removal);
}

int hc_repo_removal_finish(const struct hc_cache *cache, const struct hc_repo *repo,
                           struct hc_trash *trash, int64_t now_ms, struct hc_error *err)
{
    const struct hc_removal_scope scope = {.cache = cache, .now_ms = now_ms};
    HC_AUTO_CLOSE int folder = hc_directory_open(hc_cache_fd(cache), repo->folder);
    struct repo_removal removal = {
        .scope = &scope, .cache = cache, .repo = repo, .trash = trash, .folder = folder};

    hc_trash_keep_alive(trash, cache);
    if (removal_take_blobs(&removal, NULL, err) < 0)
        return -1;
    removal_clear_revisions(&removal);
    hc_trash_empty(trash);
    return 0;
}
