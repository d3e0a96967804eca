/* SPDX-License-Identifier: Apache-2.0 */
/* Files are collected while the revisions are looked at, and cut to what it takes. */
#include "eviction_plan.h"

#include "eviction.h"

#include <base/file.h>
#include <base/list.h>
#include <base/size.h>
#include <cache/walk.h>
#include <claim/claim_record.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { USED_SINCE_MS = 1000 /* the list is exact to this */ };

/* A plan being made. */
struct eviction_planning {
    struct hc_eviction_plan *plan;
    const struct hc_eviction_scope *scope;
    int64_t now_ms;
};

/* ---- holds ------------------------------------------------------------------------- */

static struct hc_hold candidate_find_hold(const struct eviction_planning *planning,
                                          const struct hc_candidate *candidate,
                                          const struct hc_repo *repo)
{
    HC_AUTO_VALUE(hc_strings) refs = {0};
    struct hc_error err;

    if (hc_repo_find_refs(planning->scope->cache, repo, candidate->commit, &refs, &err) <
        0)
        return hc_hold_of_failure(&err);
    return hc_hold_find(planning->scope->cache, planning->scope->rules,
                        &(const struct hc_hold_subject){
                            .repo = repo,
                            .commit = candidate->commit,
                            .refs = &refs,
                            .last_used_ms = candidate->last_used_ms,
                            .now_ms = planning->now_ms,
                        });
}

/* NULL: what cannot be found out is of no kind. */
static uint64_t *held_kind(struct hc_space_held *held, enum hc_held_by by)
{
    switch (by) {
    case HC_HELD_BY_LEASE:
        return &held->leased;
    case HC_HELD_BY_PIN:
        return &held->pinned;
    case HC_HELD_BY_KEEP:
    case HC_HELD_BY_RETENTION:
        return &held->kept;
    case HC_HELD_BY_TRANSFER:
        return &held->fetched;
    case HC_HELD_BY_NONE:
    case HC_HELD_BY_FAILURE:
        break;
    }
    return NULL;
}

static int plan_note_held(const struct eviction_planning *planning,
                          const struct hc_candidate *candidate,
                          const struct hc_repo *repo, const struct hc_hold *hold,
                          struct hc_error *err)
{
    struct hc_eviction_plan *plan = planning->plan;
    struct hc_removal_result *result = planning->scope->result;
    uint64_t *kind = held_kind(&plan->held, hold->by);

    plan->held_bytes = hc_size_add(plan->held_bytes, candidate->bytes);
    if (kind)
        *kind = hc_size_add(*kind, candidate->bytes);
    return result && result->kept_count < HC_EVICTION_KEPT_MAX
               ? hc_removal_add_kept(result, repo, candidate->commit, hold, err)
               : 0;
}

/* ---- revisions --------------------------------------------------------------------- */

/* Whether the candidate is still where the list has it. */
static bool candidate_is_in_place(const struct eviction_planning *planning,
                                  struct hc_candidate *candidate)
{
    int64_t used_ms = hc_candidate_last_used(planning->scope->cache, candidate);

    if (used_ms < 0) { /* another process has removed it */
        candidate->bytes = 0;
        return false;
    }
    if (used_ms <= candidate->last_used_ms + USED_SINCE_MS)
        return true;
    candidate->last_used_ms = used_ms;
    planning->plan->has_moved = true;
    return false;
}

static int plan_add_revision(const struct eviction_planning *planning, size_t number,
                             struct hc_error *err)
{
    struct hc_eviction_plan *plan = planning->plan;
    size_t *grown =
        hc_list_grow(plan->revisions, plan->revision_count, sizeof *grown, err);

    if (!grown)
        return -1;
    plan->revisions = grown;
    grown[plan->revision_count++] = number;
    plan->bytes = hc_size_add(plan->bytes, planning->scope->list->items[number].bytes);
    return 0;
}

/* ---- files ------------------------------------------------------------------------- */

static int plan_add_file(struct hc_eviction_plan *plan, size_t number,
                         const struct hc_directory_walk *walk, struct hc_error *err)
{
    struct hc_planned_file *grown;
    struct stat status;

    if (!S_ISLNK(walk->type) || fstatat(walk->dir, walk->name, &status, 0) < 0 ||
        !S_ISREG(status.st_mode))
        return 0;
    grown = hc_list_grow(plan->files, plan->file_count, sizeof *grown, err);
    if (!grown)
        return -1;
    plan->files = grown;
    grown[plan->file_count] = (struct hc_planned_file){
        .candidate = number,
        .path = hc_text_copy(walk->path, err),
        .bytes = hc_candidate_file_room(&status),
        .used_ms = hc_file_time_ms(&status.st_atim),
    };
    if (!grown[plan->file_count].path)
        return -1;
    plan->file_count++;
    return 0;
}

static int plan_add_files(const struct eviction_planning *planning, size_t number,
                          const struct hc_repo *repo, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(planning->scope->cache, repo,
                         planning->scope->list->items[number].commit);

    while (hc_directory_walk_next(&walk)) {
        if (hc_cancellation_check(planning->scope->cancellation, err) < 0 ||
            plan_add_file(planning->plan, number, &walk, err) < 0)
            return -1;
    }
    return 0;
}

static int compare_files(const void *left, const void *right)
{
    const struct hc_planned_file *a = left, *b = right;

    if (a->used_ms != b->used_ms)
        return a->used_ms < b->used_ms ? -1 : 1;
    return strcmp(a->path, b->path);
}

/* Leaves those that it takes beside the revisions. */
static void plan_cut_files(struct hc_eviction_plan *plan, uint64_t missing)
{
    size_t taken = 0;

    if (plan->file_count > 0)
        qsort(plan->files, plan->file_count, sizeof *plan->files, compare_files);
    while (taken < plan->file_count && plan->bytes < missing)
        plan->bytes = hc_size_add(plan->bytes, plan->files[taken++].bytes);
    while (plan->file_count > taken)
        free(plan->files[--plan->file_count].path);
}

/* ---- the whole --------------------------------------------------------------------- */

static int plan_consider(const struct eviction_planning *planning, size_t number,
                         struct hc_error *err)
{
    struct hc_candidate *candidate = &planning->scope->list->items[number];
    struct hc_repo repo;
    struct hc_hold hold;

    if (!hc_repo_parse_folder(&repo, candidate->folder))
        return 0;
    /* What holds it is a few looks; its last use is a look at each of its files. */
    hold = candidate_find_hold(planning, candidate, &repo);
    if ((hold.by == HC_HELD_BY_NONE || hold.by == HC_HELD_BY_TRANSFER) &&
        !candidate_is_in_place(planning, candidate))
        return 0;
    if (hold.by == HC_HELD_BY_NONE)
        return plan_add_revision(planning, number, err);
    if (plan_note_held(planning, candidate, &repo, &hold, err) < 0)
        return -1;
    return hold.by == HC_HELD_BY_TRANSFER && hold.spares_files
               ? plan_add_files(planning, number, &repo, err)
               : 0;
}

int hc_eviction_plan_make(struct hc_eviction_plan *plan,
                          const struct hc_eviction_scope *scope, struct hc_error *err)
{
    const struct eviction_planning planning = {plan, scope,
                                               hc_volume_now_ms(scope->cache)};
    uint64_t wanted = hc_size_add(scope->missing, scope->margin);
    const struct hc_eviction_plan before = *plan;

    hc_eviction_plan_clear(plan);
    plan->held.is_known = true;
    plan->has_moved = before.has_moved;
    if (scope->first > 0) {
        plan->held = before.held;
        plan->held_bytes = before.held_bytes;
    } else if (scope->result) {
        scope->result->kept_count = 0;
    }
    for (size_t i = scope->first; i < scope->list->count && plan->bytes < wanted; i++) {
        if (hc_cancellation_check(scope->cancellation, err) < 0 ||
            plan_consider(&planning, i, err) < 0)
            return -1;
    }
    plan_cut_files(plan, scope->missing);
    return 0;
}

void hc_eviction_plan_clear(struct hc_eviction_plan *plan)
{
    for (size_t i = 0; i < plan->file_count; i++)
        free(plan->files[i].path);
    free(plan->files);
    free(plan->revisions);
    *plan = (struct hc_eviction_plan){0};
}
