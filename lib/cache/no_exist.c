/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference client writes such markers and never removes one (§1.3), not even when
 * the file turns up after all. So a snapshot's file is looked for first, and the marker
 * counts only when there is none.
 */
#include "no_exist.h"

#include "walk.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int no_exist_format_path(char marker[PATH_MAX], const struct hc_repo *repo,
                                const char *commit, const char *path,
                                struct hc_error *err)
{
    if (hc_format(marker, PATH_MAX, "%s/.no_exist/%s/%s", repo->folder, commit, path) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "marker of '%s'", path);
    return 0;
}

/* A symlink in the place of a marker is none: no client makes such. */
int hc_no_exist_find(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *commit, const char *path, struct hc_error *err)
{
    char marker[PATH_MAX];
    struct stat status;

    if (no_exist_format_path(marker, repo, commit, path, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), marker, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISREG(status.st_mode) ? 1 : 0;
    if (hc_file_is_absent(errno))
        return 0;
    return hc_file_fail(err, errno, "open", hc_cache_fd(cache), marker);
}

static bool repo_has_directory(int root, const struct hc_repo *repo, const char *kind,
                               const char *commit, const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[PATH_MAX];
    struct stat status;

    return hc_format(directory, sizeof directory, "%s/%s/%s/%.*s", repo->folder, kind,
                     commit, (int)(slash - path), path) > 0 &&
           fstatat(root, directory, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

/* Without this rule, a caller that asks for a/b/c/… would create directories at will;
 * those that a commit has are limited by its listing. */
static bool no_exist_may_mark(int root, const struct hc_repo *repo, const char *commit,
                              const char *path)
{
    char top[PATH_MAX];

    if (strchr(path, '/') && !repo_has_directory(root, repo, "snapshots", commit, path) &&
        !repo_has_directory(root, repo, ".no_exist", commit, path))
        return false;
    return hc_format(top, sizeof top, "%s/.no_exist/%s", repo->folder, commit) > 0 &&
           hc_directory_count(root, top, HC_NO_EXIST_MAX) < HC_NO_EXIST_MAX;
}

void hc_no_exist_mark(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, const char *path)
{
    int root = hc_cache_fd(cache);
    char marker[PATH_MAX];
    struct hc_error unused;
    int fd;

    if (no_exist_format_path(marker, repo, commit, path, &unused) < 0 ||
        !no_exist_may_mark(root, repo, commit, path) ||
        hc_file_mkparents(root, marker, &unused) < 0)
        return;
    fd = hc_file_create(root, marker, O_WRONLY);
    hc_auto_close(&fd);
}

static unsigned no_exist_sweep_repo(int root, const char *folder, int64_t now_ms)
{
    char path[PATH_MAX];

    return hc_format(path, sizeof path, "%s/.no_exist", folder) > 0
               ? hc_directory_remove_older(root, path, now_ms - HC_NO_EXIST_MAX_AGE_MS)
               : 0;
}

unsigned hc_no_exist_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(cache);
    struct hc_repo repo;
    unsigned removed = 0;

    while (hc_walk_next_repo(&walk, &repo))
        removed += no_exist_sweep_repo(hc_cache_fd(cache), repo.folder, now_ms);
    return removed;
}
