/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshots are read for three purposes: which blobs a part of the repo has, which
 * plain files there are, and how large files are whose etags are no hashes. The listing
 * of a commit is loaded when the first file needs it.
 */
#include "verify_plan.h"

#include "etag_set.h"

#include <base/hash.h>
#include <base/size.h>
#include <base/text.h>
#include <cache/pointer.h>
#include <cache/tree_cache.h>
#include <cache/walk.h>

#include <string.h>
#include <sys/stat.h>

struct verify_planning {
    struct hc_verify_plan *plan;
    const struct hc_cache *cache;
    const struct hc_verify_scope *scope;
    struct hc_etag_set selected; /* blobs that the part has */
    const char *commit;          /* that is being read */
    struct hc_tree *tree;        /* its listing */
    bool has_looked;             /* for the listing */
};

static void verify_planning_clear(struct verify_planning *self)
{
    hc_etag_set_clear(&self->selected);
    hc_tree_free(self->tree);
}

HC_DEFINE_AUTO_VALUE(verify_planning, verify_planning_clear)

/* ---- files ------------------------------------------------------------------------- */

static void file_clear(struct hc_verify_file *file)
{
    free(file->path);
    free(file->etag);
}

static int plan_add(struct hc_verify_plan *plan, const struct hc_verify_file *file,
                    struct hc_error *err)
{
    struct hc_verify_file copy = *file;

    if (plan->count == plan->room) {
        size_t room = plan->room ? 2 * plan->room : 64;
        struct hc_verify_file *grown = reallocarray(plan->files, room, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        plan->files = grown;
        plan->room = room;
    }
    copy.path = hc_text_copy(file->path, err);
    copy.etag = copy.path ? hc_text_copy(file->etag, err) : NULL;
    if (!copy.etag) {
        free(copy.path);
        return -1;
    }
    plan->files[plan->count++] = copy;
    return 0;
}

/* Of a file that the walk has found below `directory`; one that is gone is left out. */
static int planning_add(struct verify_planning *self,
                        const struct hc_directory_walk *walk, const char *directory,
                        const char *etag, uint64_t size, struct hc_error *err)
{
    char path[PATH_MAX], name[HC_ETAG_MAX + 1];
    struct hc_verify_file file = {.path = path, .etag = name, .size = size};
    struct stat status;

    if (fstatat(walk->dir, walk->name, &status, 0) < 0 || !S_ISREG(status.st_mode) ||
        hc_format(path, sizeof path, "%s/%s", directory, walk->path) < 0 ||
        hc_format(name, sizeof name, "%s", etag) < 0)
        return 0;
    file.bytes = (uint64_t)status.st_size;
    return plan_add(self->plan, &file, err);
}

/* Those with a size from a listing come first of their path. */
static int compare_files(const void *left, const void *right)
{
    const struct hc_verify_file *a = left, *b = right;
    int order = strcmp(a->path, b->path);

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static void plan_finish(struct hc_verify_plan *plan)
{
    size_t kept = 0;

    if (plan->count > 0)
        qsort(plan->files, plan->count, sizeof *plan->files, compare_files);
    for (size_t i = 0; i < plan->count; i++) {
        if (kept > 0 && strcmp(plan->files[kept - 1].path, plan->files[i].path) == 0) {
            file_clear(&plan->files[i]);
            continue;
        }
        plan->bytes = hc_size_add(plan->bytes, plan->files[i].bytes);
        plan->files[kept++] = plan->files[i];
    }
    plan->count = kept;
}

void hc_verify_plan_clear(struct hc_verify_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        file_clear(&plan->files[i]);
    free(plan->files);
    *plan = (struct hc_verify_plan){0};
}

/* ---- snapshots --------------------------------------------------------------------- */

/* NULL: there is no listing, or it has no such file. Borrowed from the listing. */
static const struct hc_entry *planning_find_entry(struct verify_planning *self,
                                                  const char *path)
{
    struct hc_error unused;

    if (!self->has_looked &&
        hc_tree_load(self->cache, self->scope->repo, self->commit,
                     self->scope->cancellation, &self->tree, &unused) != 1)
        self->tree = NULL;
    self->has_looked = true;
    return self->tree ? hc_tree_find(self->tree, path) : NULL;
}

static int planning_add_pointer(struct verify_planning *self,
                                const struct hc_directory_walk *walk,
                                struct hc_error *err)
{
    char etag[HC_ETAG_MAX + 1], path[HC_ETAG_MAX + 16];
    struct hc_verify_file blob = {.path = path, .etag = etag};
    const struct hc_entry *entry;
    struct stat status;

    (void)hc_pointer_read_etag(walk->dir, walk->name, etag);
    if (!etag[0] || hc_etag_set_add(&self->selected, etag, err) < 0)
        return etag[0] ? -1 : 0;
    if (hc_digest_kind_of(etag) != HC_DIGEST_NONE)
        return 0;
    entry = planning_find_entry(self, walk->path);
    if (!entry || fstatat(walk->dir, walk->name, &status, 0) < 0)
        return 0;
    blob.size = hc_entry_size(entry);
    blob.bytes = (uint64_t)status.st_size;
    (void)hc_format(path, sizeof path, "blobs/%s", etag);
    return plan_add(self->plan, &blob, err);
}

static int planning_add_plain(struct verify_planning *self,
                              const struct hc_directory_walk *walk, struct hc_error *err)
{
    const struct hc_entry *entry = planning_find_entry(self, walk->path);
    char directory[64];

    (void)hc_format(directory, sizeof directory, "snapshots/%s", self->commit);
    return planning_add(self, walk, directory, entry ? hc_entry_etag(entry) : "",
                        entry ? hc_entry_size(entry) : HC_SIZE_UNKNOWN, err);
}

/* 1: selected; 0; -1. */
static int planning_selects(const struct verify_planning *self, const char *path,
                            struct hc_error *err)
{
    return self->scope->filter ? hc_filter_select(self->scope->filter, path, err) : 1;
}

static int planning_read_snapshot(struct verify_planning *self, const char *commit,
                                  struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(self->cache, self->scope->repo, commit);
    int result = 0;

    hc_tree_free(hc_take(&self->tree));
    self->has_looked = false;
    self->commit = commit;
    while (result == 0 && hc_directory_walk_next(&walk)) {
        int selected = planning_selects(self, walk.path, err);

        if (selected < 0 || hc_cancellation_check(self->scope->cancellation, err) < 0)
            return -1;
        if (selected)
            result = S_ISLNK(walk.type) ? planning_add_pointer(self, &walk, err)
                                        : planning_add_plain(self, &walk, err);
    }
    return result;
}

static int planning_read_snapshots(struct verify_planning *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_snapshots(self->cache, self->scope->repo);
    const char *commit = self->scope->commit;

    while (hc_directory_walk_next(&walk)) {
        if ((!commit || strcmp(commit, walk.path) == 0) &&
            planning_read_snapshot(self, walk.path, err) < 0)
            return -1;
    }
    hc_etag_set_finish(&self->selected);
    return 0;
}

/* ---- blobs ------------------------------------------------------------------------- */

static int planning_read_blobs(struct verify_planning *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_blobs(self->cache, self->scope->repo);
    bool is_part = self->scope->commit || self->scope->filter;

    while (hc_directory_walk_next(&walk)) {
        if (hc_cancellation_check(self->scope->cancellation, err) < 0 ||
            ((!is_part || hc_etag_set_has(&self->selected, walk.path)) &&
             planning_add(self, &walk, "blobs", walk.path, HC_SIZE_UNKNOWN, err) < 0))
            return -1;
    }
    return 0;
}

int hc_verify_plan_make(struct hc_verify_plan *plan, const struct hc_cache *cache,
                        const struct hc_verify_scope *scope, struct hc_error *err)
{
    HC_AUTO_VALUE(verify_planning) self = {.plan = plan, .cache = cache, .scope = scope};

    if (planning_read_snapshots(&self, err) < 0 || planning_read_blobs(&self, err) < 0)
        return -1;
    plan_finish(plan);
    return 0;
}
