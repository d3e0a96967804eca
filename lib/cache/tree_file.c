/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trees/<commit>.json: read through the listings in memory, written as a stream. What its
 * JSON looks like is tree_json.c's.
 */
#include "tree_file.h"

#include "tree_cache.h"
#include <repo/tree_json.h>

#include <base/file.h>
#include <base/json.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int tree_format_path(char path[PATH_MAX], const struct hc_repo *repo,
                            const char *commit, struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, "%s/trees/%s.json", repo->folder, commit) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "listing of '%s'", repo->id);
    return 0;
}

static bool tree_file_is_listing(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_size <= HC_TREE_BYTES_MAX;
}

/* What the file says, and its state when that was read; NULL: nothing of use. The
 * reference writes listings with 0600: one that this process may not read is none. */
static struct hc_tree *tree_read_file(const struct hc_cache *cache, const char *path,
                                      struct stat *status)
{
    HC_AUTO_CLOSE int fd = hc_file_open(hc_cache_fd(cache), path, O_RDONLY, 0);
    HC_AUTO_VALUE(hc_json) json = {.fd = -1};
    struct hc_error unused;

    if (fd < 0 || fstat(fd, status) < 0 || !tree_file_is_listing(status) ||
        hc_json_from_file(&json, fd, &unused) < 0)
        return NULL;
    return hc_tree_read_json(&json);
}

int hc_tree_load(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree **tree, struct hc_error *err)
{
    struct hc_tree_cache *trees = hc_cache_trees(cache);
    char path[PATH_MAX];
    struct stat status;

    if (tree_format_path(path, repo, commit, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), path, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        !tree_file_is_listing(&status))
        return 0;
    if (hc_tree_cache_find(trees, path, &status, tree))
        return 1;
    *tree = tree_read_file(cache, path, &status);
    hc_tree_cache_end_read(trees, path, &status, *tree);
    return *tree ? 1 : 0;
}

/* Writes and flushes a new file; on failure nothing is left behind. */
static int tree_write_file(const struct hc_cache *cache, const char *path,
                           const struct hc_tree *tree, struct stat *status,
                           struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    int fd = hc_file_create(root, path, O_WRONLY);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    int cause = 0;

    if (!out) {
        (void)hc_file_fail(err, errno, "create", root, path);
        hc_auto_close(&fd);
        return -1;
    }
    hc_tree_write_json(tree, out);
    if (fflush(out) != 0 || fsync(fd) < 0 || fstat(fd, status) < 0)
        cause = errno;
    else if (ferror(out))
        cause = EIO;
    (void)fclose(out);
    if (cause == 0)
        return 0;
    (void)unlinkat(root, path, 0);
    return hc_fail_errno(err, cause, "write '%s'", path);
}

int hc_tree_save(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree *tree, struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    char path[PATH_MAX], private[PATH_MAX];
    struct stat status;

    if (tree_format_path(path, repo, commit, err) < 0 ||
        hc_cache_private_path(private, err) < 0 ||
        hc_file_mkparents(root, private, err) < 0 ||
        hc_file_mkparents(root, path, err) < 0 ||
        tree_write_file(cache, private, tree, &status, err) < 0)
        return -1;
    if (renameat(root, private, root, path) < 0) {
        (void)hc_file_fail(err, errno, "rename to", root, path);
        (void)unlinkat(root, private, 0);
        return -1;
    }
    hc_tree_cache_put(hc_cache_trees(cache), path, &status, tree);
    return 0;
}

void hc_tree_drop(const struct hc_cache *cache, const struct hc_repo *repo,
                  const char *commit)
{
    struct hc_error unused;
    char path[PATH_MAX];

    if (tree_format_path(path, repo, commit, &unused) < 0)
        return;
    (void)unlinkat(hc_cache_fd(cache), path, 0);
    hc_tree_cache_put(hc_cache_trees(cache), path, NULL, NULL);
}

/* ---- names that a listing must have: kept beside the listings, under no file's name -- */

static bool tree_format_names_key(char path[PATH_MAX], const struct hc_repo *repo,
                                  const char *commit)
{
    return hc_format(path, PATH_MAX, "names of %s/%s", repo->folder, commit) > 0;
}

void hc_tree_expect_names(const struct hc_cache *cache, const struct hc_repo *repo,
                          const char *commit, struct hc_tree *names)
{
    char path[PATH_MAX];

    if (tree_format_names_key(path, repo, commit))
        hc_tree_cache_put(hc_cache_trees(cache), path, &(const struct stat){0}, names);
}

struct hc_tree *hc_tree_expected_names(const struct hc_cache *cache,
                                       const struct hc_repo *repo, const char *commit)
{
    char path[PATH_MAX];

    return tree_format_names_key(path, repo, commit)
               ? hc_tree_cache_get(hc_cache_trees(cache), path)
               : NULL;
}
