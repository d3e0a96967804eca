/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repo id that names a directory under a configured local root resolves there. Nothing
 * outside the roots can be reached: what a path really is, symlinks resolved, must lie
 * within the root that was configured.
 */
#include "resolver.h"

#include <base/directory.h>
#include <base/size.h>
#include <policy/patterns.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static bool path_is_within(const char *path, const char *root)
{
    size_t length = strlen(root);

    if (strcmp(root, "/") == 0)
        return true;
    return hc_text_starts(path, root) && (path[length] == '/' || path[length] == '\0');
}

/* The directory that `id`, absolute or relative to `root`, names below `root`. */
static bool root_find_directory(const char *configured, const char *id,
                                char dir[PATH_MAX])
{
    char root[PATH_MAX], joined[PATH_MAX];
    struct stat status;

    if (!realpath(configured, root))
        return false;
    if (id[0] == '/' && !path_is_within(id, configured) && !path_is_within(id, root))
        return false; /* not even looked at */
    if (hc_format(joined, sizeof joined, "%s%s%s", id[0] == '/' ? "" : root,
                  id[0] == '/' ? "" : "/", id) < 0)
        return false;
    return realpath(joined, dir) && path_is_within(dir, root) &&
           stat(dir, &status) == 0 && S_ISDIR(status.st_mode);
}

int hc_local_find(const struct hc_resolver *resolver, const char *id, char dir[PATH_MAX])
{
    if (!id || id[0] == '\0')
        return 0;
    for (size_t i = 0; i < resolver->settings.local_root_count; i++) {
        if (root_find_directory(resolver->settings.local_roots[i], id, dir))
            return 1;
    }
    return 0;
}

/* An answer is its path; the Hub's words for it are empty. */
static int local_answer_file(const char *dir, const char *path, uint64_t size,
                             struct hc_file *file, struct hc_error *err)
{
    *file = (struct hc_file){.size_bytes = size, .source = HC_SOURCE_LOCAL};
    if (asprintf(&file->path, "%s/%s", dir, path) < 0) {
        file->path = NULL;
        return hc_fail_memory(err);
    }
    file->filename = file->path + strlen(dir) + 1;
    file->cache_path = file->path + strlen(file->path);
    return 0;
}

int hc_local_file(const char *dir, const char *path, struct hc_file *file,
                  struct hc_error *err)
{
    char joined[PATH_MAX], real[PATH_MAX];
    struct stat status;

    if (hc_format(joined, sizeof joined, "%s/%s", dir, path) < 0 ||
        !realpath(joined, real) || !path_is_within(real, dir) ||
        stat(real, &status) < 0 || !S_ISREG(status.st_mode))
        return hc_fail(err, HC_ENTRY_NOT_FOUND,
                       "the local directory '%s' has no file '%s'", dir, path);
    return local_answer_file(dir, path, (uint64_t)status.st_size, file, err);
}

/* What a walk through a directory knows. */
struct local_walk {
    const char *dir;
    struct hc_filter *filter;
    bool list_files;
    struct hc_snapshot *snapshot;
};

static int local_walk_count_file(const struct local_walk *walk, const char *path,
                                 uint64_t size, struct hc_error *err)
{
    struct hc_snapshot *snapshot = walk->snapshot;
    struct hc_file file;
    int selected = hc_filter_select(walk->filter, path, err);

    if (selected <= 0)
        return selected;
    snapshot->file_count++;
    snapshot->size_bytes = hc_size_add(snapshot->size_bytes, size);
    if (!walk->list_files)
        return 0;
    if (local_answer_file(walk->dir, path, size, &file, err) < 0)
        return -1;
    return hc_resolved_files_add(&snapshot->files, &snapshot->listed, &file, err);
}

/* Counts each regular file; a symlink to one is one, a symlink to a directory is not
 * followed. Directories that are too deep are left out. */
static int local_walk_all(const struct local_walk *local, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(AT_FDCWD, local->dir, HC_DEPTH_MAX);
    struct stat status;

    while (hc_directory_walk_next(&walk) && walk.errnum == 0) {
        if ((S_ISREG(walk.type) || S_ISLNK(walk.type)) &&
            fstatat(walk.dir, walk.name, &status, 0) == 0 && S_ISREG(status.st_mode) &&
            local_walk_count_file(local, walk.path, (uint64_t)status.st_size, err) < 0)
            return -1;
    }
    if (walk.errnum == 0)
        return 0;
    return hc_fail_errno(err, walk.errnum, "open directory '%s/%s'", local->dir,
                         walk.path);
}

int hc_local_snapshot(const char *dir, const struct hc_snapshot_request *request,
                      struct hc_filter *filter, struct hc_snapshot *snapshot,
                      struct hc_error *err)
{
    struct local_walk walk = {
        .dir = dir,
        .filter = filter,
        .list_files = request->list_files,
        .snapshot = snapshot,
    };

    *snapshot = (struct hc_snapshot){
        .completeness = HC_UNKNOWN, /* no listing says what should be here */
        .source = HC_SOURCE_LOCAL,
        .path = hc_text_copy(dir, err),
    };
    if (!snapshot->path)
        return -1;
    snapshot->cache_path = snapshot->path + strlen(dir);
    if (local_walk_all(&walk, err) < 0) {
        hc_snapshot_clear(snapshot);
        return -1;
    }
    return 0;
}
