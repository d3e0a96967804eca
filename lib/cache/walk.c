/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each walk is a directory of the layout (spec §1.1) and a rule for what may be in it.
 * The directories on the way are opened one below the other, so that none is a symlink:
 * with "models--a--b -> /home" an eviction would remove what is no cache.
 */
#include "walk.h"

#include <base/auto.h>
#include <base/error.h>
#include <base/text.h>

#include <errno.h>
#include <sys/stat.h>

typedef bool walk_rule(const struct hc_directory_walk *walk);

/* No partial file: those end in ".incomplete". Newer clients' stores of shared blobs
 * begin a symlink they are still making with a dot. */
static bool walk_accepts_blob(const struct hc_directory_walk *walk)
{
    return (S_ISREG(walk->type) || S_ISLNK(walk->type)) && walk->path[0] != '.' &&
           hc_etag_is_valid(walk->path);
}

static bool walk_accepts_partial(const struct hc_directory_walk *walk)
{
    return S_ISREG(walk->type) && hc_text_ends(walk->path, ".incomplete");
}

/* The reference client makes a directory of any X-Repo-Commit that it is sent (§1.2). */
static bool walk_accepts_snapshot(const struct hc_directory_walk *walk)
{
    return S_ISDIR(walk->type) && hc_commit_is_valid(walk->path);
}

/* A ref with the name of a commit is never read (ref.h). */
static bool walk_accepts_ref(const struct hc_directory_walk *walk)
{
    struct hc_error unused;

    return S_ISREG(walk->type) && !hc_commit_is_valid(walk->path) &&
           hc_revision_check(walk->path, &unused) == 0;
}

/* A path that no request may name cannot be answered, and so is no file of the
 * snapshot. */
static bool walk_accepts_file(const struct hc_directory_walk *walk)
{
    return (S_ISREG(walk->type) || S_ISLNK(walk->type)) &&
           hc_filename_is_safe(walk->path);
}

static struct hc_directory_walk walk_nested(const struct hc_cache *cache,
                                            const char *const names[], unsigned depth_max,
                                            walk_rule *accepts)
{
    HC_AUTO_CLOSE int dir = hc_directory_open_nested(hc_cache_fd(cache), names);
    int errnum = dir < 0 ? errno : 0;
    struct hc_directory_walk walk = {.is_incomplete = errnum != 0 && errnum != ENOENT,
                                     .errnum = errnum};

    if (dir >= 0)
        walk = hc_directory_walk(dir, ".", depth_max);
    walk.accepts = accepts;
    return walk;
}

struct hc_directory_walk hc_walk_repos(const struct hc_cache *cache)
{
    return hc_directory_walk(hc_cache_fd(cache), ".", 0);
}

/* Beside repos a root has .locks, .hubcache, CACHEDIR.TAG and the shared store
 * "blobs". */
bool hc_walk_next_repo(struct hc_directory_walk *walk, struct hc_repo *repo)
{
    while (hc_directory_walk_next(walk)) {
        if (S_ISDIR(walk->type) && hc_repo_parse_folder(repo, walk->name))
            return true;
    }
    return false;
}

struct hc_directory_walk hc_walk_blobs(const struct hc_cache *cache,
                                       const struct hc_repo *repo)
{
    const char *const names[] = {repo->folder, "blobs", NULL};

    return walk_nested(cache, names, 0, walk_accepts_blob);
}

struct hc_directory_walk hc_walk_partials(const struct hc_cache *cache,
                                          const struct hc_repo *repo)
{
    const char *const names[] = {repo->folder, "blobs", NULL};

    return walk_nested(cache, names, 0, walk_accepts_partial);
}

struct hc_directory_walk hc_walk_snapshots(const struct hc_cache *cache,
                                           const struct hc_repo *repo)
{
    const char *const names[] = {repo->folder, "snapshots", NULL};

    return walk_nested(cache, names, 0, walk_accepts_snapshot);
}

struct hc_directory_walk hc_walk_refs(const struct hc_cache *cache,
                                      const struct hc_repo *repo)
{
    const char *const names[] = {repo->folder, "refs", NULL};

    return walk_nested(cache, names, HC_DEPTH_MAX, walk_accepts_ref);
}

struct hc_directory_walk hc_walk_files(const struct hc_cache *cache,
                                       const struct hc_repo *repo, const char *commit)
{
    const char *const names[] = {repo->folder, "snapshots", commit, NULL};

    return walk_nested(cache, names, HC_DEPTH_MAX, walk_accepts_file);
}
