/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bar of the commit says whose refs may be moved back: a removal has it from before
 * it takes the first ref until its end. A process that was stopped until its bar was lost
 * finds that before it moves the snapshot.
 */
#include "taken_refs.h"

#include "repo_plan.h"

#include <base/file.h>
#include <base/text.h>
#include <cache/memo.h>
#include <claim/claim_record.h>
#include <claim/lease_bar.h>
#include <claim/lease_directory.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Those of one commit in one trash. */
struct taken_refs {
    const struct hc_cache *cache;
    const struct hc_repo *repo;
    struct hc_trash *trash;
    const char *commit;
};

/* ---- one ref ----------------------------------------------------------------------- */

static int ref_format_path(const struct taken_refs *self, const char *ref,
                           char path[PATH_MAX], struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, "%s/refs/%s", self->repo->folder, ref) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "ref '%s'", ref);
    return 0;
}

/* The directory in the trash. */
static void ref_format_kind(const struct taken_refs *self, const char *ref,
                            char kind[PATH_MAX])
{
    (void)hc_format(kind, PATH_MAX, "refs/%s/%s", self->commit, ref);
    *strrchr(kind, '/') = '\0';
}

/* 1: moved; 0: it is gone; -1. */
static int ref_take(const struct taken_refs *self, const char *ref, struct hc_error *err)
{
    char path[PATH_MAX], kind[PATH_MAX];
    const char *name;
    int taken;

    if (ref_format_path(self, ref, path, err) < 0)
        return -1;

    HC_AUTO_CLOSE int dir =
        hc_directory_open_parent(hc_cache_fd(self->cache), path, &name);

    if (dir < 0)
        return errno == ENOENT ? 0 : hc_fail_errno(err, errno, "open the ref '%s'", ref);
    ref_format_kind(self, ref, kind);
    taken = hc_trash_take(self->trash, dir, name, kind, name, err);
    hc_memo_forget(hc_cache_memo(self->cache), path);
    return taken;
}

/* 1: moved; 0: it has been written again; -1. */
static int ref_give_back(const struct taken_refs *self, const char *ref,
                         struct hc_error *err)
{
    char path[PATH_MAX], kind[PATH_MAX];
    const char *name;
    int given;

    if (ref_format_path(self, ref, path, err) < 0 ||
        hc_file_mkparents(hc_cache_fd(self->cache), path, err) < 0)
        return -1;

    HC_AUTO_CLOSE int dir =
        hc_directory_open_parent(hc_cache_fd(self->cache), path, &name);

    if (dir < 0)
        return hc_fail_errno(err, errno, "open the directory of the ref '%s'", ref);
    ref_format_kind(self, ref, kind);
    given = hc_trash_give_back(self->trash, kind, name, dir, name, err);
    hc_memo_forget(hc_cache_memo(self->cache), path);
    return given;
}

/* ---- all of a commit --------------------------------------------------------------- */

int hc_taken_refs_take(const struct hc_cache *cache, const struct hc_repo *repo,
                       struct hc_trash *trash, const char *commit, struct hc_error *err)
{
    const struct taken_refs self = {cache, repo, trash, commit};
    HC_AUTO_VALUE(hc_strings) refs = {0};

    if (hc_repo_find_refs(cache, repo, commit, &refs, err) < 0)
        return -1;
    for (size_t i = 0; i < refs.count; i++) {
        if (ref_take(&self, refs.items[i], err) < 0)
            return -1;
    }
    return 0;
}

/* 1, 0, or -1: it cannot be told. */
static int snapshot_is_in_place(const struct taken_refs *self, struct hc_error *err)
{
    char path[PATH_MAX];
    struct stat status;

    if (hc_cache_snapshot_path(path, self->repo, self->commit, NULL, err) < 0)
        return -1;
    hc_directory_refresh(hc_cache_fd(self->cache), path);
    if (fstatat(hc_cache_fd(self->cache), path, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    return hc_file_is_absent(errno) ? 0 : hc_fail_errno(err, errno, "look at '%s'", path);
}

static int snapshot_is_in_trash(const struct taken_refs *self, struct hc_error *err)
{
    char kind[PATH_MAX];
    int errnum;

    (void)hc_format(kind, sizeof kind, "snapshots/%s", self->commit);

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk(self->trash, kind);

    errnum = walk.errnum;
    if (errnum == 0)
        return 1;
    return errnum == ENOENT ? 0 : hc_fail_errno(err, errnum, "open the trash");
}

/* A snapshot that is in both places has been made again, with refs of its own. */
static int commit_is_to_stay(const struct taken_refs *self, struct hc_error *err)
{
    int is_in_trash = snapshot_is_in_trash(self, err);

    return is_in_trash == 0 ? snapshot_is_in_place(self, err) : is_in_trash - 1;
}

/* Another removal may have taken the snapshot meanwhile: then they are taken again. */
static int commit_give_back(const struct taken_refs *self, struct hc_error *err)
{
    char kind[PATH_MAX];
    int stays = commit_is_to_stay(self, err), result = 0;

    if (stays != 1)
        return stays;
    (void)hc_format(kind, sizeof kind, "refs/%s", self->commit);

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk(self->trash, kind);

    while (hc_directory_walk_next(&walk)) {
        if (S_ISREG(walk.type) && ref_give_back(self, walk.path, err) < 0)
            result = -1;
    }
    if (walk.is_incomplete && walk.errnum != ENOENT)
        result = hc_fail_errno(err, walk.errnum, "read the trash");
    if (result == 0 && snapshot_is_in_place(self, err) == 0)
        result =
            hc_taken_refs_take(self->cache, self->repo, self->trash, self->commit, err);
    return result;
}

/* ---- the interface ----------------------------------------------------------------- */

static bool commit_is_barred(const struct taken_refs *self)
{
    HC_AUTO_CLOSE int dir =
        hc_lease_directory_open(hc_cache_fd(self->cache), self->repo, self->commit);

    return dir < 0 ? !hc_file_is_absent(errno)
                   : hc_lease_directory_is_barred(dir, hc_volume_now_ms(self->cache));
}

static int trash_give_back(struct taken_refs *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk(self->trash, "refs");
    int result = 0;

    while (result >= 0 && hc_directory_walk_next(&walk)) {
        self->commit = walk.name;
        if (!hc_commit_is_valid(walk.name))
            continue;
        if (commit_is_barred(self))
            result = 1;
        else if (commit_give_back(self, err) < 0)
            result = -1;
    }
    if (result >= 0 && walk.is_incomplete)
        result = hc_fail_errno(err, walk.errnum, "read the trash");
    return result;
}

int hc_taken_refs_give_back(const struct hc_cache *cache, const struct hc_repo *repo,
                            struct hc_trash *trash, const char *commit,
                            struct hc_error *err)
{
    struct taken_refs self = {cache, repo, trash, commit};

    return commit ? commit_give_back(&self, err) : trash_give_back(&self, err);
}

int hc_taken_refs_give_back_all(const struct hc_cache *cache, const struct hc_repo *repo,
                                const char *commit, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk_names(cache, repo);
    int result = 0;

    while (result == 0 && hc_directory_walk_next(&walk)) {
        HC_AUTO(hc_trash) *trash = hc_trash_open(cache, repo, walk.name, err);

        if (trash)
            result = hc_taken_refs_give_back(cache, repo, trash, commit, err);
    }
    return result;
}
