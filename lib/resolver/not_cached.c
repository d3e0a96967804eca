/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The failure NOT_CACHED, with a hint at what the cache has instead: the repo in another
 * casing, or the file at another revision. It looks at a bounded number of names, and
 * only after a resolution has failed. Other clients write to the volume as well, so a
 * name that is not that of a repo's folder, a ref or a commit is passed over.
 */
#include "resolution.h"

#include <cache/ref.h>
#include <cache/walk.h>
#include <maintenance/quarantine.h>

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum {
    HINT_SIZE = 192,
    FOLDERS_MAX = 10000, /* repos that are looked at */
    REVISIONS_MAX = 8    /* refs, and commits, that are looked into */
};

/* Ids are case-sensitive at the Hub, and a caller that gets the case wrong offline would
 * search for long. */
static void hint_casing(const struct hc_resolution *resolution, char hint[HINT_SIZE])
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(resolution->resolver->cache);
    struct hc_repo other;

    for (int i = 0; i < FOLDERS_MAX && hc_walk_next_repo(&walk, &other); i++) {
        if (strcasecmp(other.folder, resolution->repo.folder) != 0)
            continue;
        (void)hc_format(hint, HINT_SIZE, " (but '%.140s' is: case matters)", other.id);
        return;
    }
}

/* Whether a commit's snapshot has the file, or is there at all. */
static bool commit_has_path(const struct hc_resolution *resolution, const char *commit,
                            const char *path)
{
    const struct hc_cache *cache = resolution->resolver->cache;
    struct hc_pointer pointer;
    struct hc_error unused;
    char directory[PATH_MAX];

    if (path)
        return hc_pointer_find(cache, &resolution->repo, commit, path, &pointer,
                               &unused) == 1;
    return hc_cache_snapshot_path(directory, &resolution->repo, commit, NULL, &unused) ==
               0 &&
           faccessat(hc_cache_fd(cache), directory, F_OK, 0) == 0;
}

/* The first ref whose commit has it; false when none has. */
static bool hint_ref(const struct hc_resolution *resolution, const char *path,
                     char hint[HINT_SIZE])
{
    const struct hc_cache *cache = resolution->resolver->cache;
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_refs(cache, &resolution->repo);
    struct hc_error unused;
    struct hc_ref ref;

    for (int i = 0; i < REVISIONS_MAX && hc_directory_walk_next(&walk); i++) {
        if (strcmp(walk.path, resolution->revision) == 0 ||
            hc_ref_find(cache, &resolution->repo, walk.path, &ref, &unused) != 1 ||
            !commit_has_path(resolution, ref.commit, path))
            continue;
        (void)hc_format(hint, HINT_SIZE, " (but it is at revision '%.120s')", walk.path);
        return true;
    }
    return false;
}

/* The first snapshot that has it, of a commit that no ref names. */
static void hint_commit(const struct hc_resolution *resolution, const char *path,
                        char hint[HINT_SIZE])
{
    const struct hc_cache *cache = resolution->resolver->cache;
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_snapshots(cache, &resolution->repo);

    for (int i = 0; i < REVISIONS_MAX && hc_directory_walk_next(&walk); i++) {
        if (strcmp(walk.path, resolution->revision) == 0 ||
            !commit_has_path(resolution, walk.path, path))
            continue;
        (void)hc_format(hint, HINT_SIZE, " (but it is at commit '%s')", walk.path);
        return;
    }
}

/* A verification has found its blob corrupt. */
static bool hint_quarantine(const struct hc_resolution *resolution, const char *path,
                            char hint[HINT_SIZE])
{
    const struct hc_cache *cache = resolution->resolver->cache;
    const char *commit = resolution->revision;
    struct hc_error unused;
    struct hc_ref ref;

    if (!path || (!hc_commit_is_valid(commit) &&
                  hc_ref_find(cache, &resolution->repo, commit, &ref, &unused) != 1))
        return false;
    if (!hc_commit_is_valid(commit))
        commit = ref.commit;
    if (!hc_quarantine_has(cache, &resolution->repo, commit, path))
        return false;
    (void)hc_format(hint, HINT_SIZE,
                    " (it was corrupt, and was moved to .hubcache/quarantine)");
    return true;
}

/* " (…)" to be put into a sentence, "" when there is nothing to say; `path` is NULL for
 * a snapshot. */
static void hint_fill(const struct hc_resolution *resolution, const char *path,
                      char hint[HINT_SIZE])
{
    int root = hc_cache_fd(resolution->resolver->cache);

    hint[0] = '\0';
    if (faccessat(root, resolution->repo.folder, F_OK, 0) < 0)
        hint_casing(resolution, hint);
    else if (!hint_quarantine(resolution, path, hint) &&
             !hint_ref(resolution, path, hint))
        hint_commit(resolution, path, hint);
}

int hc_resolution_fail_not_cached(const struct hc_resolution *resolution,
                                  const char *path, struct hc_error *err)
{
    const char *type = hc_repo_type_name(resolution->repo.type);
    const char *id = resolution->repo.id;
    const struct hc_rule *rule = resolution->decision.rule;
    const char *why = "hubcache is offline (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or "
                      "--offline)";
    char hint[HINT_SIZE];

    if (rule && rule->offline)
        why = "a rule of the policy is offline";
    else if (resolution->options->local_files_only)
        why = "the request says local_files_only";
    hint_fill(resolution, path, hint);
    if (!path)
        return hc_fail(err, HC_NOT_CACHED,
                       "no snapshot of %s '%s' at '%s' is in the cache%s, and the Hub is "
                       "not asked: %s. Resolve it once while online: hubcache snapshot "
                       "%s --repo-type %s --revision %s",
                       type, id, resolution->revision, hint, why, id, type,
                       resolution->revision);
    (void)hc_fail(err, HC_NOT_CACHED,
                  "'%s' of %s '%s' at '%s' is not in the cache%s, and the Hub is not "
                  "asked: %s. Resolve it once while online: hubcache file %s %s "
                  "--repo-type %s --revision %s",
                  path, type, id, resolution->revision, hint, why, id, path, type,
                  resolution->revision);
    return hc_fail_about_file(err, path);
}
