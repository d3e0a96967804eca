/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One plan for each request. Rows of the result are made from what is left of the plan
 * when it has been carried out.
 */
#include "removal.h"

#include "repo_removal.h"
#include "taken_refs.h"
#include "trash.h"

#include <base/list.h>
#include <cache/occupancy.h>
#include <cache/walk.h>
#include <claim/claim_record.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct hc_removal {
    struct hc_removal_scope scope;
    bool is_dry_run;
    int64_t now_ms;                   /* of the options */
    struct hc_removal_result *result; /* borrowed */
};

/* ---- rows -------------------------------------------------------------------------- */

static int result_add_removed(struct hc_removal_result *result,
                              const struct hc_removed *removed, const char *filename,
                              struct hc_error *err)
{
    struct hc_removed *grown =
        hc_list_grow(result->removed, result->removed_count, sizeof *grown, err);

    if (!grown)
        return -1;
    result->removed = grown;
    grown[result->removed_count] = *removed;
    grown[result->removed_count].filename = hc_text_copy(filename, err);
    if (filename && !grown[result->removed_count].filename)
        return -1;
    result->removed_count++;
    result->freed_bytes += removed->freed_bytes;
    return 0;
}

int hc_removal_add_kept(struct hc_removal_result *result, const struct hc_repo *repo,
                        const char *commit, const struct hc_hold *hold,
                        struct hc_error *err)
{
    struct hc_kept kept = {.repo_type = repo->type, .held_by = hold->by};
    struct hc_kept *last =
        result->kept_count > 0 ? &result->kept[result->kept_count - 1] : NULL;
    struct hc_kept *grown;

    (void)hc_format(kept.repo_id, sizeof kept.repo_id, "%s", repo->id);
    (void)hc_format(kept.commit_hash, sizeof kept.commit_hash, "%s", commit);
    memcpy(kept.detail, hold->detail, sizeof kept.detail);
    if (last && last->repo_type == kept.repo_type && last->held_by == kept.held_by &&
        strcmp(last->repo_id, kept.repo_id) == 0 &&
        strcmp(last->commit_hash, kept.commit_hash) == 0)
        return 0;
    grown = hc_list_grow(result->kept, result->kept_count, sizeof *grown, err);
    if (!grown)
        return -1;
    result->kept = grown;
    grown[result->kept_count++] = kept;
    return 0;
}

void hc_removal_result_clear(struct hc_removal_result *result)
{
    for (size_t i = 0; i < result->removed_count; i++)
        free(result->removed[i].filename);
    free(result->removed);
    free(result->kept);
    *result = (struct hc_removal_result){0};
}

static int removal_add_part(struct hc_removal *removal, const struct hc_repo_plan *plan,
                            const struct hc_planned_part *part, struct hc_error *err)
{
    const struct hc_repo *repo = plan->request->repo;
    struct hc_removed removed = {.repo_type = repo->type,
                                 .freed_bytes = part->freed_bytes,
                                 .last_used_ms = part->last_used_ms,
                                 .detail = plan->request->detail};

    if (part->is_passed_over)
        return 0;
    if (part->hold.by != HC_HELD_BY_NONE)
        return hc_removal_add_kept(removal->result, repo, part->commit, &part->hold, err);
    (void)hc_format(removed.repo_id, sizeof removed.repo_id, "%s", repo->id);
    memcpy(removed.commit_hash, part->commit, sizeof removed.commit_hash);
    removal->result->removed_files += part->files;
    if (result_add_removed(removal->result, &removed, part->path, err) < 0)
        return -1;
    return part->blob_hold.by == HC_HELD_BY_NONE
               ? 0
               : hc_removal_add_kept(removal->result, repo, part->commit,
                                     &part->blob_hold, err);
}

static int removal_add_folder(struct hc_removal *removal, const struct hc_repo_plan *plan,
                              struct hc_error *err)
{
    struct hc_removed removed = {.repo_type = plan->request->repo->type,
                                 .freed_bytes = plan->folder_bytes,
                                 .detail = "the folder of the repo"};

    (void)hc_format(removed.repo_id, sizeof removed.repo_id, "%s",
                    plan->request->repo->id);
    return result_add_removed(removal->result, &removed, NULL, err);
}

static int removal_add_rows(struct hc_removal *removal, const struct hc_repo_plan *plan,
                            struct hc_error *err)
{
    for (size_t i = 0; i < plan->part_count; i++) {
        if (removal_add_part(removal, plan, &plan->parts[i], err) < 0)
            return -1;
    }
    return plan->takes_folder ? removal_add_folder(removal, plan, err) : 0;
}

/* ---- dry runs ---------------------------------------------------------------------- */

static int removal_note_taken(struct hc_removal *removal, const struct hc_repo_plan *plan,
                              struct hc_error *err)
{
    char name[PATH_MAX];

    for (size_t i = 0; i < plan->part_count; i++) {
        const struct hc_planned_part *part = &plan->parts[i];

        if (part->hold.by != HC_HELD_BY_NONE)
            continue;
        if (hc_format(name, sizeof name, "%s/%s%s%s", plan->request->repo->folder,
                      part->commit, part->path ? "/" : "",
                      part->path ? part->path : "") < 0)
            continue;
        if (hc_strings_add(&removal->scope.taken, name, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the interface ----------------------------------------------------------------- */

struct hc_removal *hc_removal_new(const struct hc_cache *cache,
                                  const struct hc_removal_options *options,
                                  struct hc_removal_result *result, struct hc_error *err)
{
    struct hc_removal *removal = calloc(1, sizeof *removal);

    if (!removal) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    removal->scope.cache = cache;
    removal->scope.rules = options->rules;
    removal->is_dry_run = options->is_dry_run;
    removal->now_ms = options->now_ms == 0 && options->is_dry_run
                          ? hc_volume_now_ms(cache)
                          : options->now_ms;
    removal->result = result;
    return removal;
}

void hc_removal_free(struct hc_removal *removal)
{
    if (!removal)
        return;
    hc_room_clear(&removal->scope.room);
    hc_strings_clear(&removal->scope.taken);
    free(removal);
}

/* The plan could not be made: each revision that was asked for counts as held. */
static int removal_keep_all(struct hc_removal *removal,
                            const struct hc_removal_request *request,
                            const struct hc_error *failure, struct hc_error *err)
{
    const struct hc_hold hold = hc_hold_of_failure(failure);

    for (size_t i = 0; i < request->commit_count; i++) {
        if (hc_removal_add_kept(removal->result, request->repo, request->commits[i],
                                &hold, err) < 0)
            return -1;
    }
    return request->commit_count > 0
               ? 0
               : hc_removal_add_kept(removal->result, request->repo, "", &hold, err);
}

/* Whether a plan failed because of the volume, not of the caller or of this process. */
static bool failure_is_of_volume(const struct hc_error *failure)
{
    return failure->reason == HC_CACHE_IO || failure->reason == HC_CACHE_READ_ONLY ||
           failure->reason == HC_NO_SPACE;
}

int hc_removal_take(struct hc_removal *removal, const struct hc_removal_request *request,
                    struct hc_error *err)
{
    HC_AUTO(hc_repo_plan) *plan = NULL;
    uint64_t freed = removal->result->freed_bytes;
    struct hc_error failure;
    int added;

    removal->scope.now_ms =
        removal->now_ms ? removal->now_ms : hc_volume_now_ms(removal->scope.cache);
    plan = hc_repo_plan_new(&removal->scope, request, &failure);
    if (!plan && failure_is_of_volume(&failure))
        return removal_keep_all(removal, request, &failure, err);
    if (!plan) {
        *err = failure;
        return -1;
    }
    if (removal->is_dry_run && removal_note_taken(removal, plan, err) < 0)
        return -1;
    if (!removal->is_dry_run)
        hc_repo_plan_carry_out(&removal->scope, plan);
    added = removal_add_rows(removal, plan, err);
    if (!removal->is_dry_run)
        hc_occupancy_remove(hc_cache_occupancy(removal->scope.cache),
                            removal->result->freed_bytes - freed);
    return added;
}

static unsigned removal_sweep_repo(const struct hc_cache *cache,
                                   const struct hc_repo *repo, int64_t now_ms,
                                   int64_t age_ms)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk_names(cache, repo);
    unsigned finished = 0;
    struct hc_error unused;

    while (hc_directory_walk_next(&walk)) {
        HC_AUTO(hc_trash) *trash = NULL;

        bool is_expired = hc_trash_is_expired(&walk, now_ms, age_ms);

        if (S_ISDIR(walk.type))
            trash = hc_trash_open(cache, repo, walk.name, &unused);
        if (trash && hc_taken_refs_give_back(cache, repo, trash, NULL, &unused) == 0 &&
            is_expired &&
            hc_repo_removal_finish(cache, repo, trash, now_ms, &unused) == 0)
            finished++;
    }
    return finished;
}

unsigned hc_removal_sweep(const struct hc_cache *cache, int64_t now_ms, int64_t age_ms)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk_repos(cache);
    struct hc_repo repo;
    unsigned finished = 0;

    while (hc_walk_next_repo(&walk, &repo))
        finished += removal_sweep_repo(cache, &repo, now_ms, age_ms);
    return finished;
}
