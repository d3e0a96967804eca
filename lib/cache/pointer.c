/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a pointer is the hot path of everything: no allocation, no lock but the memo's,
 * and no system call more than the header promises.
 */
#include "pointer.h"

#include "memo.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/hash.h>
#include <base/size.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { ATIME_AGE_S = 60 };

bool hc_blob_is_emptied(const char *etag, uint64_t size)
{
    return size == 0 && hc_digest_kind_of(etag) != HC_DIGEST_NONE &&
           !hc_digest_is_of_empty_file(etag);
}

bool hc_blob_size_matches(uint64_t expected, uint64_t size)
{
    return expected == HC_SIZE_UNKNOWN || expected == size;
}

/* A blob may be a symlink into the store that newer clients share between repos
 * (§1.9). */
int hc_blob_find(const struct hc_cache *cache, const struct hc_blob_id *blob,
                 uint64_t *size, struct hc_error *err)
{
    char path[PATH_MAX];
    struct stat status;

    if (hc_cache_blob_path(path, blob, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), path, &status, 0) < 0) {
        if (hc_file_is_absent(errno))
            return 0;
        return hc_file_fail(err, errno, "open", hc_cache_fd(cache), path);
    }
    if (!S_ISREG(status.st_mode))
        return 0;
    *size = (uint64_t)status.st_size;
    return !hc_blob_is_emptied(blob->etag, *size);
}

/*
 * Sets the blob's atime, its last use, which eviction will sort by. Volumes are mounted
 * with noatime or relatime, so that reading does not set it; once a minute is exact
 * enough.
 */
static void blob_touch(int root, const char *path, const struct stat *status)
{
    const struct timespec used[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec - status->st_atim.tv_sec > ATIME_AGE_S)
        (void)utimensat(root, path, used, 0);
}

/* "../../blobs/<etag>", and one more "../" for each directory in `path`: relative, so
 * that the volume can be mounted anywhere. */
static int pointer_format_target(char target[PATH_MAX], const char *path,
                                 const char *etag, struct hc_error *err)
{
    char climb[3 * (HC_FILENAME_MAX + 1) + 1] = "";
    size_t used = 0;

    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        memcpy(climb + used, "../", 4);
        used += 3;
    }
    if (hc_format(target, PATH_MAX, "../../%sblobs/%s", climb, etag) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "link '%s'", path);
    return 0;
}

const char *hc_pointer_parse(const char *target, const char *path)
{
    size_t depth = 2;

    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
        depth++;
    for (; depth > 0 && hc_text_starts(target, "../"); depth--)
        target += strlen("../");
    if (depth > 0 || !hc_text_starts(target, "blobs/"))
        return NULL;
    target += strlen("blobs/");
    return hc_etag_is_valid(target) ? target : NULL;
}

int hc_pointer_read_etag(int dir, const char *name, char etag[HC_ETAG_MAX + 1])
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(dir, name, target, sizeof target - 1);
    const char *slash;

    etag[0] = '\0';
    if (length < 0)
        return errno == ENOENT || errno == EINVAL ? 0 : -1;
    target[length] = '\0';
    slash = strrchr(target, '/');
    return hc_etag_is_valid(slash ? slash + 1 : target) &&
           hc_format(etag, HC_ETAG_MAX + 1, "%s", slash ? slash + 1 : target) > 0;
}

/* Reads the etag, "" unless the link's last component may be one: then the file is as
 * good as plain. Another link than ours may lead anywhere. */
static void pointer_read_link(int root, const char *cache_path, const char *path,
                              struct hc_memo_fact *fact)
{
    char target[PATH_MAX], ours[PATH_MAX];
    struct hc_error unused;
    ssize_t length = readlinkat(root, cache_path, target, sizeof target);
    const char *name;

    fact->text[0] = '\0';
    fact->term = (struct hc_memo_term){.until_ns = 0};
    fact->is_direct = length < 0 && errno == EINVAL; /* a plain file */
    if (length <= 0 || length == (ssize_t)sizeof target)
        return;
    target[length] = '\0';
    name = strrchr(target, '/');
    name = name ? name + 1 : target;
    if (!hc_etag_is_valid(name))
        return;
    (void)hc_format(fact->text, sizeof fact->text, "%s", name);
    fact->is_direct = pointer_format_target(ours, path, name, &unused) == 0 &&
                      strcmp(ours, target) == 0;
}

/* False: what was found is no file, or has lost its bytes. */
static bool pointer_take_fact(struct hc_pointer *pointer, const struct hc_memo_fact *fact)
{
    pointer->size = fact->size;
    pointer->term = fact->term;
    pointer->is_direct = fact->is_direct;
    (void)hc_format(pointer->etag, sizeof pointer->etag, "%s", fact->text);
    return !hc_blob_is_emptied(pointer->etag, pointer->size);
}

/* The link is read again only when the blob behind it has changed: a pointer that another
 * client replaced leads to another inode. */
static int pointer_look(const struct hc_cache *cache, const struct hc_memo_look *look,
                        const char *path, struct hc_pointer *pointer,
                        struct hc_error *err)
{
    struct hc_memo *memo = hc_cache_memo(cache);
    const char *cache_path = pointer->cache_path;
    int root = hc_cache_fd(cache);
    struct hc_memo_fact fact;
    struct stat status;

    if (fstatat(root, cache_path, &status, 0) < 0) {
        if (hc_file_is_absent(errno))
            return 0;
        return hc_file_fail(err, errno, "open", root, cache_path);
    }
    if (!S_ISREG(status.st_mode))
        return 0;
    if (!hc_memo_find(memo, look, &status, &fact)) {
        pointer_read_link(root, cache_path, path, &fact);
        fact.size = (uint64_t)status.st_size;
        hc_memo_store(memo, look, &status, &fact);
    }
    if (!pointer_take_fact(pointer, &fact))
        return 0;
    blob_touch(root, cache_path, &status);
    return 1;
}

int hc_pointer_find(const struct hc_cache *cache, const struct hc_repo *repo,
                    const char *commit, const char *path, struct hc_pointer *pointer,
                    struct hc_error *err)
{
    struct hc_memo *memo = hc_cache_memo(cache);
    struct hc_memo_look look;
    int found;

    if (hc_cache_snapshot_path(pointer->cache_path, repo, commit, path, err) < 0)
        return -1;
    look = hc_memo_begin_look(memo, pointer->cache_path);
    found = pointer_look(cache, &look, path, pointer, err);
    if (found != 1)
        hc_memo_store_absent(memo, &look);
    return found;
}

bool hc_pointer_recall(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *commit, const char *path, struct hc_pointer *pointer,
                       bool *is_due)
{
    struct hc_memo_fact fact;
    struct hc_error unused;

    if (hc_cache_snapshot_path(pointer->cache_path, repo, commit, path, &unused) < 0 ||
        !hc_memo_recall(hc_cache_memo(cache), pointer->cache_path, &fact) ||
        !pointer_take_fact(pointer, &fact))
        return false;
    *is_due = *is_due || fact.is_due;
    return true;
}

/* Whether symlink(2) failed for lack of space or of a directory. Any other errno means
 * that the volume has no symlinks: each filesystem says that with another. */
static bool symlink_error_is_final(int errnum)
{
    return errnum == ENOSPC || errnum == EDQUOT || errnum == ENAMETOOLONG ||
           errnum == ENOENT;
}

/* 1: linked; 0: the volume has no symlinks; -1. */
static int pointer_make_symlink(int root, const char *target, const char *private,
                                const char *cache_path, struct hc_error *err)
{
    if (symlinkat(target, root, private) < 0) {
        return symlink_error_is_final(errno)
                   ? hc_file_fail(err, errno, "make symlink", root, private)
                   : 0;
    }
    if (hc_file_rename_below(root, private, cache_path) < 0) { /* a removal may run */
        (void)hc_file_fail(err, errno, "rename to", root, cache_path);
        (void)unlinkat(root, private, 0);
        return -1;
    }
    return 1;
}

/* 0: copied; 1: there is no blob; -1. */
static int pointer_copy_blob(int root, const char *blob, const char *private,
                             struct hc_error *err)
{
    HC_AUTO_CLOSE int from = hc_file_open_linked(root, blob);
    HC_AUTO_CLOSE int to = -1;

    if (from < 0) /* hc_blob_find finds no blob in a special file either */
        return errno == ENOENT || hc_file_is_special(errno)
                   ? 1
                   : hc_file_fail(err, errno, "open", root, blob);
    to = hc_file_create(root, private, O_WRONLY);
    if (to < 0)
        return hc_file_fail(err, errno, "create", root, private);
    if (hc_file_copy(from, to, NULL, err) == 0) {
        if (fsync(to) == 0)
            return 0;
        (void)hc_fail_errno(err, errno, "fsync");
    }
    (void)unlinkat(root, private, 0);
    return hc_context(err, "copy '%s'", blob);
}

/* Without symlinks the blob's file, or a copy of it, is put in the pointer's place
 * (§1.7). */
static int pointer_place_blob(int root, const char *blob, const char *private,
                              const char *cache_path, struct hc_error *err)
{
    const char *source = private ? private : blob;
    int copied = private ? pointer_copy_blob(root, blob, private, err) : 0;

    if (copied != 0)
        return copied;
    if (renameat(root, source, root, cache_path) < 0) {
        (void)hc_file_fail(err, errno, "rename to", root, cache_path);
        if (private)
            (void)unlinkat(root, private, 0);
        return -1;
    }
    return 0;
}

struct pointer_paths {
    char cache_path[PATH_MAX]; /* of the pointer */
    char private[PATH_MAX];
    char blob[PATH_MAX];
    char target[PATH_MAX];
};

static int pointer_paths_format(struct pointer_paths *paths,
                                const struct hc_repo_file *file, const char *etag,
                                struct hc_error *err)
{
    if (hc_cache_snapshot_path(paths->cache_path, file->repo, file->revision, file->path,
                               err) < 0 ||
        hc_cache_blob_path(paths->blob,
                           &(const struct hc_blob_id){file->repo->folder, etag},
                           err) < 0 ||
        hc_cache_private_path(paths->private, err) < 0)
        return -1;
    return pointer_format_target(paths->target, file->path, etag, err);
}

/* A removal that moves the blob away looks for pointers afterwards, and this looks for
 * the blob after the pointer is there: one of the two sees the other. On a network
 * filesystem opening the directory makes the look one at the server; to open those above
 * it, too, is not worth the time, for a removal removes blobs/ before it moves them. */
static bool pointer_is_dangling(int root, const struct pointer_paths *paths)
{
    HC_AUTO_CLOSE int blobs = -1;
    char directory[PATH_MAX];

    (void)hc_format(directory, sizeof directory, "%.*s",
                    (int)(strrchr(paths->blob, '/') - paths->blob), paths->blob);
    blobs = hc_directory_open(root, directory);
    return faccessat(root, paths->cache_path, F_OK, 0) < 0 && errno == ENOENT;
}

/* The bytes are moved or copied only after symlink(2) has failed: no probe (§1.7). */
static int pointer_make(const struct hc_cache *cache, const struct pointer_paths *paths,
                        bool may_move, struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    int linked = 0;

    if (hc_file_mkparents(root, paths->private, err) < 0 ||
        hc_file_mkparents(root, paths->cache_path, err) < 0)
        return -1;
    if (!hc_cache_has_no_symlinks(cache))
        linked = pointer_make_symlink(root, paths->target, paths->private,
                                      paths->cache_path, err);
    if (linked < 0)
        return -1;
    if (linked > 0)
        return pointer_is_dangling(root, paths) ? 1 : 0;
    return pointer_place_blob(root, paths->blob, may_move ? NULL : paths->private,
                              paths->cache_path, err);
}

/*
 * A commit has no file below a file: an obstacle in the pointer's place was never a part
 * of the commit, or came from a wrong listing. It is looked for only after a failure, so
 * that the usual case pays nothing for it.
 */
int hc_pointer_link(const struct hc_cache *cache, const struct hc_repo_file *file,
                    const char *etag, bool may_move, struct hc_error *err)
{
    struct hc_error first;
    struct pointer_paths paths;
    size_t top;
    int result;

    if (pointer_paths_format(&paths, file, etag, err) < 0)
        return -1;
    result = pointer_make(cache, &paths, may_move, &first);
    top = strlen(paths.cache_path) - strlen(file->path) - 1;
    if (result < 0 && hc_directory_remove_obstacle(hc_cache_fd(cache), top,
                                                   paths.cache_path, S_IFLNK) == 1)
        result = pointer_make(cache, &paths, may_move, &first);
    if (result < 0)
        *err = first;
    hc_memo_forget(hc_cache_memo(cache), paths.cache_path);
    return result;
}

/* Each directory is flushed for the name that it holds, up to the root's for the repo. */
static int pointer_sync_parents(int root, char path[PATH_MAX], struct hc_error *err)
{
    for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
        *end = '\0';
        if (hc_file_sync_parent(root, path, err) < 0)
            return -1;
    }
    return 0;
}

/* By a removal meanwhile: then there is nothing to flush. */
static bool pointer_is_removed(const struct hc_cache *cache,
                               const struct hc_repo_file *file)
{
    char path[PATH_MAX];
    struct hc_error unused;

    return hc_cache_snapshot_path(path, file->repo, file->revision, file->path,
                                  &unused) == 0 &&
           faccessat(hc_cache_fd(cache), path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
           errno == ENOENT;
}

int hc_pointer_sync(const struct hc_cache *cache, const struct hc_repo_file *file,
                    struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    char path[PATH_MAX];

    if (hc_cache_snapshot_path(path, file->repo, file->revision, file->path, err) < 0)
        return -1;
    if (faccessat(root, path, F_OK, 0) < 0)
        return 0; /* of a commit without files only .no_exist and the ref are there */
    if ((!file->path && hc_directory_sync_below(root, path, err) < 0) ||
        pointer_sync_parents(root, path, err) < 0)
        return pointer_is_removed(cache, file) ? 0 : -1;
    return 0;
}
