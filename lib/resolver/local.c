/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local directories. A repo id that names a directory below a configured local root
 * resolves there, and the Hub is never asked about it. Nothing outside the roots can be
 * reached: a path, once its symlinks are resolved, must lie within the root that was
 * configured. What the directory holds is not checked against anything; a snapshot of it
 * is UNKNOWN. Patterns select files as they do in a repo.
 */
#include "resolver.h"

#include <base/directory.h>
#include <base/size.h>
#include <policy/patterns.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

bool hc_path_is_within(const char *path, const char *root)
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
    if (id[0] == '/' && !hc_path_is_within(id, configured) &&
        !hc_path_is_within(id, root))
        return false; /* not even looked at */
    if (hc_format(joined, sizeof joined, "%s%s%s", id[0] == '/' ? "" : root,
                  id[0] == '/' ? "" : "/", id) < 0)
        return false;
    return realpath(joined, dir) && hc_path_is_within(dir, root) &&
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

/* The first root that it is below is the one in which hc_local_find() found it, or lies
 * around that. */
const char *hc_local_id(const struct hc_resolver *resolver, const char *dir)
{
    char root[PATH_MAX];

    for (size_t i = 0; i < resolver->settings.local_root_count; i++) {
        size_t length;

        if (!realpath(resolver->settings.local_roots[i], root) ||
            !hc_path_is_within(dir, root))
            continue;
        length = strcmp(root, "/") == 0 ? 0 : strlen(root);
        return dir + length + (dir[length] == '/');
    }
    return dir;
}

bool hc_local_has(const struct hc_resolver *resolver, const char *path)
{
    char root[PATH_MAX];

    for (size_t i = 0; i < resolver->settings.local_root_count; i++) {
        if (realpath(resolver->settings.local_roots[i], root) &&
            hc_path_is_within(path, root))
            return true;
    }
    return false;
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
        !realpath(joined, real) || !hc_path_is_within(real, dir) ||
        stat(real, &status) < 0 || !S_ISREG(status.st_mode))
        return hc_fail(err, HC_ENTRY_NOT_FOUND,
                       "the local directory '%s' has no file '%s'", dir, path);
    return local_answer_file(dir, path, (uint64_t)status.st_size, file, err);
}

/* One more file that the patterns select and policy denies. */
static int local_exclude_file(struct hc_snapshot *snapshot, const char *path,
                              struct hc_error *err)
{
    struct hc_strings excluded = {.items = snapshot->excluded,
                                  .count = snapshot->excluded_listed,
                                  .capacity = snapshot->excluded_listed};
    int added = 0;

    if (snapshot->excluded_total++ < HC_MISSING_MAX)
        added = hc_strings_add(&excluded, path, err);
    snapshot->excluded = excluded.items;
    snapshot->excluded_listed = excluded.count;
    return added;
}

/* One more regular file of the directory, if the patterns select it. */
static int local_add_file(const struct hc_local_selection *selection, const char *path,
                          uint64_t size, struct hc_snapshot *snapshot,
                          struct hc_error *err)
{
    const struct hc_snapshot_request *request = selection->request;
    struct hc_verdict verdict = hc_decision_verdict(selection->decision, path, size);
    int selected = hc_filter_select(selection->filter, path, err);
    struct hc_file file;

    if (selected <= 0)
        return selected;
    if (!verdict.is_allowed)
        return local_exclude_file(snapshot, path, err);
    snapshot->file_count++;
    snapshot->size_bytes = hc_size_add(snapshot->size_bytes, size);
    if (!request->list_files)
        return 0;
    if (local_answer_file(snapshot->path, path, size, &file, err) < 0)
        return -1;
    return hc_resolved_files_add(&snapshot->files, &snapshot->listed, &file, err);
}

/* Every regular file below the snapshot's path. A symlink to a file is one, a symlink to
 * a directory is not followed, so that the walk ends; what is too deep is left out. */
static int local_add_files(const struct hc_local_selection *selection,
                           struct hc_snapshot *snapshot, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(AT_FDCWD, snapshot->path, HC_DEPTH_MAX);
    struct stat status;

    while (hc_directory_walk_next(&walk) && walk.errnum == 0) {
        if ((S_ISREG(walk.type) || S_ISLNK(walk.type)) &&
            fstatat(walk.dir, walk.name, &status, 0) == 0 && S_ISREG(status.st_mode) &&
            local_add_file(selection, walk.path, (uint64_t)status.st_size, snapshot,
                           err) < 0)
            return -1;
    }
    if (walk.errnum == 0)
        return 0;
    return hc_fail_errno(err, walk.errnum, "open directory '%s/%s'", snapshot->path,
                         walk.path);
}

int hc_local_snapshot(const char *dir, const struct hc_local_selection *selection,
                      struct hc_snapshot *snapshot, struct hc_error *err)
{
    *snapshot = (struct hc_snapshot){
        .completeness = HC_UNKNOWN, /* no listing says what should be here */
        .source = HC_SOURCE_LOCAL,
        .path = hc_text_copy(dir, err),
    };
    if (!snapshot->path)
        return -1;
    snapshot->cache_path = snapshot->path + strlen(dir);
    if (local_add_files(selection, snapshot, err) == 0)
        return 0;
    hc_snapshot_clear(snapshot);
    return -1;
}
