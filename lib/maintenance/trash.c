/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every directory on the way is opened below the one above it, so that no symlink leads
 * a removal elsewhere. Emptying goes down by descriptors, and makes directories writable
 * that their owner has made read-only; it stops at a depth that no path of a repo has.
 */
#include "trash.h"

#include <base/error.h>
#include <base/file.h>
#include <base/heartbeat.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_SIZE = 16, TRASH_DEPTH_MAX = 256 };

struct hc_trash {
    struct hc_heartbeat heartbeat;
    struct hc_heartbeats *heartbeats; /* borrowed; NULL: it does not beat */
    int root;                         /* borrowed from the cache */
    int fd;                           /* of its directory */
    int folder;                       /* of the directory that holds it */
    char folder_path[PATH_MAX];
    char name[NAME_MAX + 1];
};

/* ---- opening ----------------------------------------------------------------------- */

/* .hubcache/trash/<repo folder>. -1 and errno. */
static int trash_open_folder(const struct hc_cache *cache, const struct hc_repo *repo)
{
    HC_AUTO_CLOSE int hubcache = hc_directory_open(hc_cache_fd(cache), ".hubcache");
    HC_AUTO_CLOSE int trash = hubcache < 0 ? -1 : hc_directory_open(hubcache, "trash");

    return trash < 0 ? -1 : hc_directory_open(trash, repo->folder);
}

struct hc_trash *hc_trash_open(const struct hc_cache *cache, const struct hc_repo *repo,
                               const char *name, struct hc_error *err)
{
    HC_AUTO(hc_trash) *trash = calloc(1, sizeof *trash);

    if (!trash) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    trash->root = hc_cache_fd(cache);
    (void)hc_format(trash->name, sizeof trash->name, "%s", name);
    (void)hc_format(trash->folder_path, sizeof trash->folder_path, ".hubcache/trash/%s",
                    repo->folder);
    trash->folder = trash_open_folder(cache, repo);
    trash->fd = trash->folder < 0 ? -1 : hc_directory_open(trash->folder, name);
    if (trash->fd >= 0)
        return hc_take(&trash);
    (void)hc_fail_errno(err, errno, "open the trash '%s' of '%s'", name, repo->id);
    return NULL;
}

/* Another removal's end may remove the empty folder meanwhile. */
static int trash_make_folder(const struct hc_cache *cache, const struct hc_repo *repo,
                             const char *name, struct hc_error *err)
{
    char path[PATH_MAX];

    if (hc_format(path, sizeof path, ".hubcache/trash/%s/%s", repo->folder, name) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "trash of '%s'", repo->id);
    return hc_file_mkdirs(hc_cache_fd(cache), path, err);
}

struct hc_trash *hc_trash_new(const struct hc_cache *cache, const struct hc_repo *repo,
                              struct hc_error *err)
{
    struct hc_trash *trash;
    char name[NAME_SIZE];

    /* ".<8 hex>": the digits alone are the name. */
    if (hc_file_private_name(name, sizeof name, "", "", err) < 0 ||
        trash_make_folder(cache, repo, name + 1, err) < 0)
        return NULL;
    trash = hc_trash_open(cache, repo, name + 1, err);
    if (trash)
        hc_trash_keep_alive(trash, cache);
    return trash;
}

static void trash_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    const struct hc_trash *trash =
        (const struct hc_trash *)((const char *)heartbeat -
                                  offsetof(struct hc_trash, heartbeat));

    (void)futimens(trash->fd, NULL);
}

void hc_trash_keep_alive(struct hc_trash *trash, const struct hc_cache *cache)
{
    trash->heartbeat.beat = trash_on_heartbeat;
    trash->heartbeats = hc_cache_heartbeats(cache);
    hc_heartbeats_start(trash->heartbeats, &trash->heartbeat);
}

void hc_trash_close(struct hc_trash *trash)
{
    if (!trash)
        return;
    if (trash->heartbeats)
        hc_heartbeats_stop(trash->heartbeats, &trash->heartbeat);
    hc_auto_close(&trash->fd);
    hc_auto_close(&trash->folder);
    free(trash);
}

/* ---- taking and giving back -------------------------------------------------------- */

/* Directories on the way are made, too. -1 and errno. */
static int trash_open_kind(const struct hc_trash *trash, const char *kind)
{
    int fd = hc_directory_open(trash->fd, kind);
    struct hc_error unused;

    if (fd >= 0 || errno != ENOENT || hc_file_mkdirs(trash->fd, kind, &unused) < 0)
        return fd;
    return hc_directory_open(trash->fd, kind);
}

int hc_trash_take(struct hc_trash *trash, int dir, const char *name, const char *kind,
                  const char *as, struct hc_error *err)
{
    HC_AUTO_CLOSE int to = trash_open_kind(trash, kind);

    if (to < 0)
        return hc_fail_errno(err, errno, "open the trash");
    if (renameat(dir, name, to, as) == 0)
        return 1;
    return errno == ENOENT ? 0
                           : hc_fail_errno(err, errno, "move '%s' to the trash", name);
}

/* 0 or errno. Not every filesystem has RENAME_NOREPLACE. link(2) replaces nothing either,
 * but some have no links, and none has them of directories. */
static int rename_without_replacing(int from_dir, const char *from, int dir,
                                    const char *name)
{
    struct stat status;

    if (renameat2(from_dir, from, dir, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL)
        return errno;
    if (fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return EEXIST;
    return renameat(from_dir, from, dir, name) == 0 ? 0 : errno;
}

int hc_trash_give_back(struct hc_trash *trash, const char *kind, const char *as, int dir,
                       const char *name, struct hc_error *err)
{
    HC_AUTO_CLOSE int from = trash_open_kind(trash, kind);
    int failure = from < 0 ? errno : rename_without_replacing(from, as, dir, name);

    if (failure == 0)
        return 1;
    return failure == EEXIST ? 0 : hc_fail_errno(err, failure, "move '%s' back", name);
}

struct hc_directory_walk hc_trash_walk(const struct hc_trash *trash, const char *kind)
{
    return hc_directory_walk(trash->fd, kind, HC_DEPTH_MAX);
}

/* ---- emptying ---------------------------------------------------------------------- */

/* NOLINTBEGIN(misc-no-recursion): TRASH_DEPTH_MAX ends it */
static void directory_remove_below(int dir, const char *name, unsigned depth);

static int directory_open_writable(int dir, const char *name)
{
    int fd = hc_directory_open(dir, name);

    if (fd < 0 && errno == EACCES &&
        fchmodat(dir, name, S_IRWXU, AT_SYMLINK_NOFOLLOW) == 0)
        fd = hc_directory_open(dir, name);
    if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
        (void)fchmod(fd, S_IRWXU);
    return fd;
}

/* unlinkat(2) says of a directory EISDIR, or EPERM as POSIX has it. */
static void entry_remove(/* NOLINT(misc-no-recursion): to TRASH_DEPTH_MAX */
                         int dir, const char *name, unsigned depth)
{
    if (unlinkat(dir, name, 0) == 0 || (errno != EISDIR && errno != EPERM))
        return;
    directory_remove_below(dir, name, depth);
    (void)unlinkat(dir, name, AT_REMOVEDIR);
}

static void directory_remove_below(/* NOLINT(misc-no-recursion): as above */
                                   int dir, const char *name, unsigned depth)
{
    int fd = depth < TRASH_DEPTH_MAX ? directory_open_writable(dir, name) : -1;
    HC_AUTO_CLOSEDIR DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!stream) {
        hc_auto_close(&fd);
        return;
    }
    while ((entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            entry_remove(fd, entry->d_name, depth + 1);
    }
}
/* NOLINTEND(misc-no-recursion) */

/* Refs first: those of a commit without a snapshot here belong back (taken_refs.h). */
void hc_trash_empty(struct hc_trash *trash)
{
    entry_remove(trash->fd, "refs", 0);
    directory_remove_below(trash->folder, trash->name, 0);
    (void)unlinkat(trash->folder, trash->name, AT_REMOVEDIR);
    (void)unlinkat(trash->root, trash->folder_path, AT_REMOVEDIR); /* if it is empty */
}

/* ---- walks ------------------------------------------------------------------------- */

struct hc_directory_walk hc_trash_walk_repos(const struct hc_cache *cache)
{
    HC_AUTO_CLOSE int hubcache = hc_directory_open(hc_cache_fd(cache), ".hubcache");

    return hc_directory_walk(hubcache, "trash", 0);
}

struct hc_directory_walk hc_trash_walk_names(const struct hc_cache *cache,
                                             const struct hc_repo *repo)
{
    HC_AUTO_CLOSE int folder = trash_open_folder(cache, repo);

    return hc_directory_walk(folder, ".", 0);
}

/* A removal that takes longer is finished by two processes: all that they do may be done
 * twice. */
bool hc_trash_is_expired(const struct hc_directory_walk *walk, int64_t now_ms,
                         int64_t age_ms)
{
    struct stat status;
    int64_t since_ms;

    if (!S_ISDIR(walk->type) ||
        fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    since_ms = now_ms - hc_file_changed_ms(&status);
    return since_ms > age_ms || since_ms < -HC_TRASH_EXPIRY_MS;
}
