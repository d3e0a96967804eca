/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk of all snapshots of the repo collects the blobs that pointers lead to, each
 * with the part that the pointer belongs to, or with REMAINS. Sorted by etag, the entries
 * of a blob stand side by side: its last use is that of each of these parts, and it is
 * freed when none of them remains or is held.
 */
#include "repo_plan.h"

#include "pointed_blobs.h"
#include "shared_store.h"

#include <base/directory.h>
#include <base/file.h>
#include <cache/ref.h>
#include <cache/walk.h>
#include <claim/claim_record.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { REF_SIZE = 256 };

static const uint32_t REMAINS = UINT32_MAX, TAKEN = UINT32_MAX - 1;

/* A plain file in a snapshot (§1.7). */
struct plain_file {
    uint32_t part;
    struct hc_room_file file;
};

/* A plan being made. */
struct planning {
    struct hc_removal_scope *scope;
    const struct hc_repo *repo;
    struct hc_repo_plan *plan;
    struct hc_strings taken; /* of this repo, without the folder */
    struct hc_pointed_blobs pointed;
    struct plain_file *plain;
    size_t plain_count, plain_capacity;
    int blobs;        /* descriptor of blobs/; -1: there is none */
    bool has_other;   /* a snapshot is no part and not taken */
    bool has_foreign; /* one that is named like no commit */
};

static void planning_release(struct planning *planning)
{
    hc_strings_clear(&planning->taken);
    hc_pointed_blobs_clear(&planning->pointed);
    free(planning->plain);
    hc_auto_close(&planning->blobs);
}

HC_DEFINE_AUTO_VALUE(planning, planning_release)

/* ---- parts ------------------------------------------------------------------------- */

static int plan_add_part(struct hc_repo_plan *plan, const char *commit, const char *path,
                         struct hc_error *err)
{
    struct hc_planned_part *grown =
        reallocarray(plan->parts, plan->part_count + 1, sizeof *plan->parts);
    struct hc_planned_part *part;

    if (!grown)
        return hc_fail_memory(err);
    plan->parts = grown;
    part = &grown[plan->part_count];
    *part = (struct hc_planned_part){.path = hc_text_copy(path, err)};
    if (path && !part->path)
        return -1;
    (void)hc_format(part->commit, sizeof part->commit, "%s", commit);
    plan->part_count++;
    return 0;
}

static int compare_parts(const void *left, const void *right)
{
    const struct hc_planned_part *a = left, *b = right;
    int order = strcmp(a->commit, b->commit);

    return order != 0 ? order : strcmp(a->path ? a->path : "", b->path ? b->path : "");
}

/* A file of a snapshot. */
struct file_key {
    const char *commit;
    const char *path;
};

static int compare_file(const void *left, const void *right)
{
    const struct file_key *key = left;
    const struct hc_planned_part *part = right;
    int order = strcmp(key->commit, part->commit);

    return order != 0 || !part->path ? order : strcmp(key->path, part->path);
}

static bool planning_has_taken(const struct planning *planning, const char *name)
{
    for (size_t i = 0; i < planning->taken.count; i++) {
        if (strcmp(planning->taken.items[i], name) == 0)
            return true;
    }
    return false;
}

static int planning_add_commit(struct planning *planning, const char *commit,
                               struct hc_error *err)
{
    char path[PATH_MAX];
    struct stat status;

    if (hc_cache_snapshot_path(path, planning->repo, commit, NULL, err) < 0)
        return -1;
    if (planning_has_taken(planning, commit) ||
        fstatat(hc_cache_fd(planning->scope->cache), path, &status, AT_SYMLINK_NOFOLLOW) <
            0 ||
        !S_ISDIR(status.st_mode))
        return 0;
    if (plan_add_part(planning->plan, commit, NULL, err) < 0)
        return -1;
    planning->plan->parts[planning->plan->part_count - 1].last_used_ms =
        hc_file_changed_ms(&status);
    return 0;
}

static int planning_add_file(struct planning *planning, const char *commit,
                             const char *path, struct hc_error *err)
{
    char name[PATH_MAX];

    if (hc_format(name, sizeof name, "%s/%s", commit, path) < 0 ||
        planning_has_taken(planning, name))
        return 0;
    return plan_add_part(planning->plan, commit, path, err);
}

static int planning_add_files(struct planning *planning, const char *commit,
                              struct hc_error *err)
{
    struct hc_filter *filter = planning->plan->request->filter;
    int selected;
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(planning->scope->cache, planning->repo, commit);

    while (hc_directory_walk_next(&walk)) {
        selected = hc_filter_select(filter, walk.path, err);
        if (selected < 0 ||
            (selected && planning_add_file(planning, commit, walk.path, err) < 0))
            return -1;
    }
    return 0;
}

static int planning_add_selected(struct planning *planning, const char *commit,
                                 struct hc_error *err)
{
    const struct hc_removal_request *request = planning->plan->request;

    if (!request->filter && !request->path)
        return planning_add_commit(planning, commit, err);
    if (planning_has_taken(planning, commit))
        return 0;
    return request->path ? planning_add_file(planning, commit, request->path, err)
                         : planning_add_files(planning, commit, err);
}

static int planning_add_all(struct planning *planning, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_snapshots(planning->scope->cache, planning->repo);

    while (hc_directory_walk_next(&walk)) {
        if (planning_add_selected(planning, walk.path, err) < 0)
            return -1;
    }
    return walk.is_incomplete ? hc_fail_errno(err, walk.errnum, "read the snapshots") : 0;
}

static int planning_add_parts(struct planning *planning, struct hc_error *err)
{
    struct hc_repo_plan *plan = planning->plan;
    const struct hc_removal_request *request = plan->request;

    for (size_t i = 0; i < request->commit_count; i++) {
        if (planning_add_selected(planning, request->commits[i], err) < 0)
            return -1;
    }
    if (request->commit_count == 0 && planning_add_all(planning, err) < 0)
        return -1;
    if (plan->part_count > 1)
        qsort(plan->parts, plan->part_count, sizeof *plan->parts, compare_parts);
    for (size_t i = 1; i < plan->part_count;) { /* selected twice */
        if (compare_parts(&plan->parts[i - 1], &plan->parts[i]) != 0) {
            i++;
            continue;
        }
        free(plan->parts[i].path);
        plan->part_count--;
        memmove(&plan->parts[i], &plan->parts[i + 1],
                (plan->part_count - i) * sizeof *plan->parts);
    }
    return 0;
}

/* ---- pointers ---------------------------------------------------------------------- */

/* `path` is "<commit>/<file>", below snapshots/. */
static uint32_t planning_group(const struct planning *planning, const char *path)
{
    const struct hc_repo_plan *plan = planning->plan;
    char commit[NAME_MAX + 1];
    const char *slash = strchr(path, '/');
    struct file_key key = {commit, slash ? slash + 1 : ""};
    const struct hc_planned_part *part;

    if (!slash || hc_format(commit, sizeof commit, "%.*s", (int)(slash - path), path) < 0)
        return REMAINS;
    if (planning->taken.count > 0 &&
        (planning_has_taken(planning, commit) || planning_has_taken(planning, path)))
        return TAKEN;
    part = plan->part_count == 0 ? NULL
                                 : bsearch(&key, plan->parts, plan->part_count,
                                           sizeof *plan->parts, compare_file);
    return part ? (uint32_t)(part - plan->parts) : REMAINS;
}

static void part_note_use(struct hc_planned_part *part, const struct stat *status)
{
    int64_t used_ms = hc_file_time_ms(&status->st_atim);

    if (part->last_used_ms < used_ms)
        part->last_used_ms = used_ms;
}

static int planning_add_plain(struct planning *planning,
                              const struct hc_directory_walk *walk, uint32_t part,
                              struct hc_error *err)
{
    struct stat status;

    if (part == REMAINS ||
        fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (planning->plain_count == planning->plain_capacity) {
        size_t capacity = planning->plain_capacity ? 2 * planning->plain_capacity : 16;
        struct plain_file *grown =
            reallocarray(planning->plain, capacity, sizeof *planning->plain);

        if (!grown)
            return hc_fail_memory(err);
        planning->plain = grown;
        planning->plain_capacity = capacity;
    }
    part_note_use(&planning->plan->parts[part], &status);
    planning->plain[planning->plain_count++] =
        (struct plain_file){part, hc_room_file_of(&status)};
    return 0;
}

/* A directory directly below snapshots/ is what a repo has left, unless it is taken. */
static void planning_note_snapshot(struct planning *planning, const char *name)
{
    uint32_t group;
    char path[NAME_MAX + 2];

    if (!hc_commit_is_valid(name)) {
        planning->has_foreign = true;
        return;
    }
    (void)hc_format(path, sizeof path, "%s/", name);
    group = planning_group(planning, path);
    planning->has_other = planning->has_other || group == REMAINS;
}

static int planning_add_entry(struct planning *planning,
                              const struct hc_directory_walk *walk, struct hc_error *err)
{
    uint32_t group;

    if (S_ISDIR(walk->type)) {
        if (!strchr(walk->path, '/'))
            planning_note_snapshot(planning, walk->path);
        return 0;
    }
    group = planning_group(planning, walk->path);
    if (group == TAKEN)
        return 0;
    if (S_ISLNK(walk->type))
        return hc_pointed_blobs_add(&planning->pointed, walk, group, err);
    return S_ISREG(walk->type) ? planning_add_plain(planning, walk, group, err) : 0;
}

static int planning_read_pointers(struct planning *planning, int repo,
                                  struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(repo, "snapshots", HC_DEPTH_MAX);

    while (hc_directory_walk_next(&walk)) {
        if (planning_add_entry(planning, &walk, err) < 0)
            return -1;
    }
    if (walk.is_incomplete)
        return hc_pointed_blobs_fail(&walk, err);
    hc_pointed_blobs_sort(&planning->pointed);
    return 0;
}

/* ---- blobs ------------------------------------------------------------------------- */

/* The room of a blob: that of the payload, if it is a symlink into the shared store. */
static bool blob_look(const struct planning *planning, const char *etag,
                      struct stat *status, struct hc_room_file *file)
{
    char hash[HC_PAYLOAD_HASH_SIZE];
    int64_t links;

    if (planning->blobs < 0 ||
        fstatat(planning->blobs, etag, status, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    *file = hc_room_file_of(status);
    if (!S_ISLNK(status->st_mode))
        return true;
    *file = (struct hc_room_file){0};
    if (!hc_payload_read_link(planning->blobs, etag, hash))
        return true;
    links = hc_payload_count_links(planning->scope->cache, hash, status);
    if (links >= 0)
        *file = hc_room_file_of(status);
    file->names = links <= 0 ? UINT64_MAX : (uint64_t)links;
    return true;
}

static int plan_add_blob(struct hc_repo_plan *plan, const char *etag, size_t part,
                         struct hc_error *err)
{
    struct hc_planned_blob *grown;
    char *copy = hc_text_copy(etag, err);

    if (!copy)
        return -1;
    grown =
        plan->blob_count & (plan->blob_count - 1) /* room for a power of two */
            ? plan->blobs
            : reallocarray(plan->blobs, 2 * plan->blob_count + 1, sizeof *plan->blobs);
    if (!grown) {
        free(copy);
        return hc_fail_memory(err);
    }
    plan->blobs = grown;
    grown[plan->blob_count++] = (struct hc_planned_blob){.etag = copy, .part = part};
    return 0;
}

/* The entries [first, end) of one blob: each part that leads to it was used when it
 * was. */
static size_t planning_blob_end(const struct planning *planning, size_t first)
{
    const struct hc_pointed_blob *items = planning->pointed.items;
    size_t end = first + 1;

    while (end < planning->pointed.count &&
           strcmp(items[end].etag, items[first].etag) == 0)
        end++;
    return end;
}

static void planning_note_uses(struct planning *planning)
{
    const struct hc_pointed_blobs *pointed = &planning->pointed;

    for (size_t first = 0, end; first < pointed->count; first = end) {
        struct stat status;

        end = planning_blob_end(planning, first);
        if (pointed->items[first].group == REMAINS || planning->blobs < 0 ||
            fstatat(planning->blobs, pointed->items[first].etag, &status, 0) < 0)
            continue;
        for (size_t i = first; i < end && pointed->items[i].group != REMAINS; i++)
            part_note_use(&planning->plan->parts[pointed->items[i].group], &status);
    }
}

/* REMAINS unless all parts that lead to it are removed; else the last of them. */
static uint32_t planning_freeing_part(const struct planning *planning, size_t first,
                                      size_t end)
{
    for (size_t i = first; i < end; i++) {
        uint32_t group = planning->pointed.items[i].group;

        if (group == REMAINS || planning->plan->parts[group].hold.by != HC_HELD_BY_NONE)
            return REMAINS;
    }
    return planning->pointed.items[end - 1].group;
}

static int planning_free_blobs(struct planning *planning, struct hc_error *err)
{
    struct hc_repo_plan *plan = planning->plan;

    for (size_t first = 0, end; first < planning->pointed.count; first = end) {
        const char *etag = planning->pointed.items[first].etag;
        struct hc_room_file file;
        struct stat status;
        uint32_t part;

        end = planning_blob_end(planning, first);
        part = planning_freeing_part(planning, first, end);
        if (part == REMAINS || !blob_look(planning, etag, &status, &file))
            continue;
        if (plan_add_blob(plan, etag, part, err) < 0)
            return -1;
        plan->blobs[plan->blob_count - 1].bytes =
            hc_room_remove(&planning->scope->room, &file);
        plan->parts[part].freed_bytes += plan->blobs[plan->blob_count - 1].bytes;
        plan->parts[part].files++;
    }
    return 0;
}

static void planning_free_plain(struct planning *planning)
{
    for (size_t i = 0; i < planning->plain_count; i++) {
        struct hc_planned_part *part = &planning->plan->parts[planning->plain[i].part];

        if (part->hold.by != HC_HELD_BY_NONE)
            continue;
        part->freed_bytes +=
            hc_room_remove(&planning->scope->room, &planning->plain[i].file);
        part->files++;
    }
}

/* ---- holds ------------------------------------------------------------------------- */

/* 1, 0, or -1: one that cannot be read may have it. */
static int ref_has_commit(const struct hc_directory_walk *walk, const char *commit,
                          struct hc_error *err)
{
    char content[REF_SIZE], found[HC_COMMIT_SIZE];
    int read = S_ISREG(walk->type)
                   ? hc_file_read(walk->dir, walk->name, content, sizeof content, err)
                   : 0;

    return read == 1 ? hc_ref_parse(content, found) && strcmp(found, commit) == 0 : read;
}

static int refs_fail(int errnum, const struct hc_repo *repo, struct hc_error *err)
{
    return hc_fail_errno(err, errnum ? errnum : ENAMETOOLONG, "read the refs of '%s'",
                         repo->id);
}

int hc_repo_find_refs(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, struct hc_strings *refs, struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = hc_directory_open(hc_cache_fd(cache), repo->folder);

    if (dir < 0)
        return errno == ENOENT ? 0 : refs_fail(errno, repo, err);

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(dir, "refs", HC_DEPTH_MAX);

    while (hc_directory_walk_next(&walk)) {
        int has = ref_has_commit(&walk, commit, err);

        if (has < 0 || (has && hc_strings_add(refs, walk.path, err) < 0))
            return -1;
    }
    return walk.is_incomplete && walk.errnum != ENOENT ? refs_fail(walk.errnum, repo, err)
                                                       : 0;
}

/* Counts as held, so that its blobs stay. */
static bool part_is_passed_over(const struct hc_removal_request *request,
                                const struct hc_strings *refs,
                                const struct hc_planned_part *part)
{
    return request->unreferenced_since_ms != 0 &&
           (refs->count > 0 || part->last_used_ms >= request->unreferenced_since_ms);
}

void hc_repo_plan_find_hold(const struct hc_removal_scope *scope,
                            const struct hc_removal_request *request,
                            struct hc_planned_part *part)
{
    const struct hc_repo *repo = request->repo;
    HC_AUTO_VALUE(hc_strings) refs = {0};
    const struct hc_hold_subject subject = {
        .repo = repo,
        .commit = part->commit,
        .path = request->path,
        .refs = &refs,
        .last_used_ms = part->last_used_ms,
        .now_ms = scope->now_ms,
    };
    struct hc_error err;

    if (hc_repo_find_refs(scope->cache, repo, part->commit, &refs, &err) < 0) {
        part->hold = hc_hold_of_failure(&err);
        return;
    }
    part->is_passed_over = part_is_passed_over(request, &refs, part);
    if (part->is_passed_over)
        part->hold.by = HC_HELD_BY_RETENTION;
    else
        part->hold = hc_hold_find(scope->cache, scope->rules, &subject);
}

/* Files of one revision stand side by side and have the same holds, but for their last
 * use. */
static void planning_find_holds(struct planning *planning)
{
    struct hc_planned_part *parts = planning->plan->parts;

    for (size_t i = 0; i < planning->plan->part_count; i++) {
        bool is_same = i > 0 && strcmp(parts[i - 1].commit, parts[i].commit) == 0 &&
                       parts[i - 1].hold.by != HC_HELD_BY_RETENTION &&
                       !(planning->scope->rules && planning->scope->rules->retention_ms);

        if (is_same)
            parts[i].hold = parts[i - 1].hold;
        else
            hc_repo_plan_find_hold(planning->scope, planning->plan->request, &parts[i]);
    }
}

/* ---- the folder -------------------------------------------------------------------- */

static int compare_planned_etag(const void *key, const void *item)
{
    return strcmp(key, ((const struct hc_planned_blob *)item)->etag);
}

struct hc_planned_blob *hc_repo_plan_find_blob(const struct hc_repo_plan *plan,
                                               const char *etag)
{
    return plan->blob_count == 0 ? NULL
                                 : bsearch(etag, plan->blobs, plan->blob_count,
                                           sizeof *plan->blobs, compare_planned_etag);
}

static void planning_add_folder(struct planning *planning)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(planning->blobs, ".", 0);
    struct stat status;

    while (hc_directory_walk_next(&walk)) {
        struct hc_room_file file;

        if (!hc_repo_plan_find_blob(planning->plan, walk.name) &&
            blob_look(planning, walk.name, &status, &file))
            planning->plan->folder_bytes += hc_room_remove(&planning->scope->room, &file);
    }
}

static bool planning_takes_folder(const struct planning *planning)
{
    const struct hc_repo_plan *plan = planning->plan;
    bool takes_all = plan->request->commit_count == 0 && !plan->request->filter;

    if (plan->request->filter || plan->request->path || planning->has_other ||
        (planning->has_foreign && !takes_all) || (plan->part_count == 0 && !takes_all))
        return false;
    for (size_t i = 0; i < plan->part_count; i++) {
        if (plan->parts[i].hold.by != HC_HELD_BY_NONE)
            return false;
    }
    return true;
}

/* ---- the interface ----------------------------------------------------------------- */

/* Those of this repo, with what follows the folder. */
static int planning_filter_taken(struct planning *planning, struct hc_error *err)
{
    const struct hc_strings *taken = &planning->scope->taken;
    size_t length = strlen(planning->repo->folder);

    for (size_t i = 0; i < taken->count; i++) {
        if (strncmp(taken->items[i], planning->repo->folder, length) == 0 &&
            taken->items[i][length] == '/' &&
            hc_strings_add(&planning->taken, taken->items[i] + length + 1, err) < 0)
            return -1;
    }
    return 0;
}

static int planning_make(struct planning *planning, struct hc_error *err)
{
    HC_AUTO_CLOSE int repo =
        hc_directory_open(hc_cache_fd(planning->scope->cache), planning->repo->folder);

    if (repo < 0)
        return errno == ENOENT
                   ? 0
                   : hc_fail_errno(err, errno, "open '%s'", planning->repo->folder);
    planning->blobs = hc_directory_open(repo, "blobs");
    if (planning_filter_taken(planning, err) < 0 ||
        planning_add_parts(planning, err) < 0 ||
        planning_read_pointers(planning, repo, err) < 0)
        return -1;
    planning_note_uses(planning);
    planning_find_holds(planning);
    planning_free_plain(planning);
    if (planning_free_blobs(planning, err) < 0)
        return -1;
    planning->plan->takes_folder = planning_takes_folder(planning);
    if (planning->plan->takes_folder)
        planning_add_folder(planning);
    return 0;
}

struct hc_repo_plan *hc_repo_plan_new(struct hc_removal_scope *scope,
                                      const struct hc_removal_request *request,
                                      struct hc_error *err)
{
    HC_AUTO(hc_repo_plan) *plan = calloc(1, sizeof *plan);
    HC_AUTO_VALUE(planning)
    planning = {.scope = scope, .repo = request->repo, .plan = plan, .blobs = -1};

    if (!plan) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    plan->request = request;
    if (planning_make(&planning, err) < 0) {
        (void)hc_context(err, "'%s'", request->repo->id);
        return NULL;
    }
    return hc_take(&plan);
}

void hc_repo_plan_free(struct hc_repo_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->part_count; i++)
        free(plan->parts[i].path);
    for (size_t i = 0; i < plan->blob_count; i++)
        free(plan->blobs[i].etag);
    free(plan->parts);
    free(plan->blobs);
    free(plan);
}
