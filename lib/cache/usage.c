/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file with one name, found at its own place, is counted at once. Others are collected
 * by inode: those of a repo are counted when its folder has been read, each once, and
 * those of all repos at the end, each once again. One volume has the whole cache, so an
 * inode number is enough.
 */
#include "usage.h"

#include "occupancy.h"
#include "walk.h"

#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that may be found under another name, too. */
struct shared_file {
    ino_t inode;
    uint64_t bytes;
    uint64_t occupied_bytes;
};

enum { REPOS_ROOM = 2 * HC_USAGE_REPOS_MAX, BLOCK_SIZE = 512 /* of st_blocks */ };

struct usage_scan {
    const struct hc_cache *cache;
    struct hc_cancellation *cancellation;
    struct hc_usage *usage;
    size_t room;                /* of usage->repos */
    struct shared_file *shared; /* those of the repo that is being read are the last */
    size_t shared_count, shared_room;
    int64_t resumed_ms;                   /* after the last pause */
    bool is_urgent;                       /* a caller waits for it: no pauses */
    const struct hc_usage_filter *filter; /* NULL: all repos are listed */
};

static void usage_scan_release(struct usage_scan *scan)
{
    free(scan->shared);
}

HC_DEFINE_AUTO_VALUE(usage_scan, usage_scan_release)

static uint64_t status_occupied_bytes(const struct stat *status)
{
    return (uint64_t)status->st_blocks * BLOCK_SIZE;
}

/* ---- shared files ------------------------------------------------------------------ */

/* False: there are too many, or memory is short. */
static bool scan_remember_shared(struct usage_scan *scan, const struct stat *status)
{
    if (scan->shared_count == scan->shared_room) {
        size_t room = scan->shared_room ? 2 * scan->shared_room : 256;
        struct shared_file *grown =
            room > HC_USAGE_SHARED_MAX
                ? NULL
                : reallocarray(scan->shared, room, sizeof *scan->shared);

        if (!grown)
            return false;
        scan->shared = grown;
        scan->shared_room = room;
    }
    scan->shared[scan->shared_count++] =
        (struct shared_file){.inode = status->st_ino,
                             .bytes = (uint64_t)status->st_size,
                             .occupied_bytes = status_occupied_bytes(status)};
    return true;
}

static int compare_inodes(const void *left, const void *right)
{
    const struct shared_file *a = left, *b = right;

    return (a->inode > b->inode) - (a->inode < b->inode);
}

/* Removes those that are there twice from the list, from the `first` on; adds up the
 * rest. */
static uint64_t scan_unite_shared(struct usage_scan *scan, size_t first, uint64_t *bytes,
                                  uint64_t *occupied_bytes)
{
    struct shared_file *files = scan->shared;
    size_t kept = first;

    if (scan->shared_count > first)
        qsort(files + first, scan->shared_count - first, sizeof *files, compare_inodes);
    for (size_t i = first; i < scan->shared_count; i++) {
        if (kept > first && files[kept - 1].inode == files[i].inode)
            continue;
        *bytes += files[i].bytes;
        *occupied_bytes += files[i].occupied_bytes;
        files[kept++] = files[i];
    }
    scan->shared_count = kept;
    return kept - first;
}

/* ---- one repo ---------------------------------------------------------------------- */

/*
 * Counts the file that the walk has found; one that is gone, or that a symlink does not
 * lead to, is none. A pointer in a snapshot is not followed: its blob is counted.
 */
static void scan_count_file(struct usage_scan *scan, struct hc_repo_usage *repo,
                            const struct hc_directory_walk *walk)
{
    struct stat status;
    int64_t used_ms;

    if (fstatat(walk->dir, walk->name, &status, 0) < 0 || !S_ISREG(status.st_mode))
        return;
    used_ms = hc_file_time_ms(&status.st_atim);
    if (repo->last_used_ms < used_ms)
        repo->last_used_ms = used_ms;
    if (S_ISLNK(walk->type) || status.st_nlink > 1) {
        if (scan_remember_shared(scan, &status))
            return;
        scan->usage->is_incomplete = true;
    }
    repo->files++;
    repo->bytes += (uint64_t)status.st_size;
    repo->occupied_bytes += status_occupied_bytes(&status);
}

/* -1: the cancellation ended the scan. */
static int scan_pause(struct usage_scan *scan, struct hc_error *err)
{
    int64_t busy_ms = hc_monotonic_ms() - scan->resumed_ms;

    if (scan->is_urgent || busy_ms < HC_USAGE_BUSY_MS)
        return hc_cancellation_check(scan->cancellation, err);
    if (hc_cancellation_sleep(scan->cancellation, 3 * busy_ms, err) < 0)
        return -1;
    scan->resumed_ms = hc_monotonic_ms();
    return 0;
}

static int scan_blobs(struct usage_scan *scan, const struct hc_repo *name,
                      struct hc_repo_usage *repo, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_blobs(scan->cache, name);

    while (hc_directory_walk_next(&walk)) {
        scan_count_file(scan, repo, &walk);
        if (scan_pause(scan, err) < 0)
            return -1;
    }
    scan->usage->is_incomplete = scan->usage->is_incomplete || walk.is_incomplete;
    return 0;
}

/* Whether a claim tells how long the partial file is: "<etag>.<8 hex>.incomplete". */
static bool partial_is_claimed(const struct usage_scan *scan, const struct hc_repo *name,
                               const char *partial)
{
    size_t length = strlen(partial), suffix = sizeof ".01234567.incomplete" - 1;
    char path[PATH_MAX];

    return length > suffix &&
           hc_format(path, sizeof path, ".hubcache/transfers/%s/%.*s", name->folder,
                     (int)(length - suffix), partial) > 0 &&
           faccessat(hc_cache_fd(scan->cache), path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void scan_partials(struct usage_scan *scan, const struct hc_repo *name)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_partials(scan->cache, name);
    struct stat status;

    while (hc_directory_walk_next(&walk)) {
        if (fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            !partial_is_claimed(scan, name, walk.name))
            scan->usage->occupied_bytes += status_occupied_bytes(&status);
    }
}

/* What was moved away, and still takes room. */
static void scan_own_folder(struct usage_scan *scan, const char *path)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(hc_cache_fd(scan->cache), path, HC_DEPTH_MAX);
    struct stat status;

    while (hc_directory_walk_next(&walk)) {
        if (S_ISREG(walk.type) &&
            fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            status.st_nlink == 1)
            scan->usage->occupied_bytes += status_occupied_bytes(&status);
    }
}

static int scan_snapshot(struct usage_scan *scan, const struct hc_repo *name,
                         const char *commit, struct hc_repo_usage *repo,
                         struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_files(scan->cache, name, commit);

    while (hc_directory_walk_next(&walk)) {
        if (S_ISREG(walk.type))
            scan_count_file(scan, repo, &walk);
        if (scan_pause(scan, err) < 0)
            return -1;
    }
    scan->usage->is_incomplete = scan->usage->is_incomplete || walk.is_incomplete;
    return 0;
}

static int scan_snapshots(struct usage_scan *scan, const struct hc_repo *name,
                          struct hc_repo_usage *repo, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_snapshots(scan->cache, name);

    while (hc_directory_walk_next(&walk)) {
        repo->revisions++;
        if (scan_snapshot(scan, name, walk.path, repo, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- all repos --------------------------------------------------------------------- */

static int compare_repos(const void *left, const void *right)
{
    const struct hc_repo_usage *a = left, *b = right;

    return (a->bytes < b->bytes) - (a->bytes > b->bytes);
}

static void usage_keep_largest(struct hc_usage *usage)
{
    if (usage->listed > 0)
        qsort(usage->repos, usage->listed, sizeof *usage->repos, compare_repos);
    if (usage->listed > HC_USAGE_REPOS_MAX)
        usage->listed = HC_USAGE_REPOS_MAX;
}

/* A place for one more repo; when there are twice as many as are kept, the smaller half
 * goes. */
static struct hc_repo_usage *scan_add_repo(struct usage_scan *scan, struct hc_error *err)
{
    struct hc_usage *usage = scan->usage;

    if (usage->listed == REPOS_ROOM)
        usage_keep_largest(usage);
    if (usage->listed == scan->room) {
        size_t room = scan->room ? 2 * scan->room : 16;
        struct hc_repo_usage *grown;

        if (room > REPOS_ROOM)
            room = REPOS_ROOM;
        grown = reallocarray(usage->repos, room, sizeof *usage->repos);
        if (!grown) {
            (void)hc_fail_memory(err);
            return NULL;
        }
        usage->repos = grown;
        scan->room = room;
    }
    usage->repos[usage->listed] = (struct hc_repo_usage){0};
    return &usage->repos[usage->listed++];
}

static int scan_repo(struct usage_scan *scan, const struct hc_repo *name,
                     struct hc_error *err)
{
    struct hc_repo_usage *repo = scan_add_repo(scan, err);
    size_t first = scan->shared_count;

    if (!repo)
        return -1;
    repo->type = name->type;
    (void)hc_format(repo->id, sizeof repo->id, "%s", name->id);
    scan_partials(scan, name);
    if (scan_blobs(scan, name, repo, err) < 0 ||
        scan_snapshots(scan, name, repo, err) < 0)
        return -1;
    scan->usage->repo_count++;
    scan->usage->bytes += repo->bytes;
    scan->usage->files += repo->files;
    scan->usage->occupied_bytes += repo->occupied_bytes;
    repo->files += scan_unite_shared(scan, first, &repo->bytes, &repo->occupied_bytes);
    if (scan->filter && !scan->filter->lists(scan->filter->ctx, name))
        scan->usage->listed--; /* it is the last one */
    return 0;
}

static int scan_repos(struct usage_scan *scan, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(scan->cache);
    struct hc_repo repo;

    while (hc_walk_next_repo(&walk, &repo)) {
        if (scan_repo(scan, &repo, err) < 0)
            return -1;
    }
    scan->usage->is_incomplete = scan->usage->is_incomplete || walk.is_incomplete;
    return 0;
}

static int scan_run(struct usage_scan *scan, struct hc_error *err)
{
    int64_t start_ms = hc_monotonic_ms();
    struct hc_usage *usage = scan->usage;

    *usage = (struct hc_usage){.began_ms = hc_epoch_ms()};
    scan->resumed_ms = start_ms;
    if (scan_repos(scan, err) < 0)
        return -1;
    usage->files += scan_unite_shared(scan, 0, &usage->bytes, &usage->occupied_bytes);
    scan_own_folder(scan, ".hubcache/trash");
    scan_own_folder(scan, ".hubcache/quarantine");
    usage_keep_largest(usage);
    usage->took_ms = hc_monotonic_ms() - start_ms;
    return 0;
}

int hc_usage_scan(const struct hc_cache *cache, struct hc_cancellation *cancellation,
                  struct hc_usage *usage, struct hc_error *err)
{
    HC_AUTO_VALUE(usage_scan)
    scan = {.cache = cache, .cancellation = cancellation, .usage = usage};

    return scan_run(&scan, err);
}

int hc_usage_find_occupied(const struct hc_cache *cache, bool is_urgent,
                           struct hc_cancellation *cancellation, uint64_t *bytes,
                           struct hc_error *err)
{
    HC_AUTO_VALUE(hc_usage) usage = {0};
    HC_AUTO_VALUE(usage_scan)
    scan = {.cache = cache,
            .cancellation = cancellation,
            .usage = &usage,
            .is_urgent = is_urgent};

    if (scan_run(&scan, err) < 0)
        return -1;
    *bytes = usage.occupied_bytes;
    return 0;
}

int hc_usage_measure(const struct hc_cache *cache, bool is_urgent,
                     struct hc_cancellation *cancellation, struct hc_error *err)
{
    struct hc_occupancy *occupancy = hc_cache_occupancy(cache);
    const struct hc_occupancy_scan begun = hc_occupancy_begin_scan(occupancy);
    uint64_t bytes;

    if (hc_usage_find_occupied(cache, is_urgent, cancellation, &bytes, err) < 0)
        return -1;
    hc_occupancy_end_scan(occupancy, &begun, bytes);
    return 0;
}

int hc_usage_list(const struct hc_cache *cache, const struct hc_usage_filter *filter,
                  struct hc_cancellation *cancellation, struct hc_usage *usage,
                  struct hc_error *err)
{
    HC_AUTO_VALUE(usage_scan)
    scan = {.cache = cache,
            .cancellation = cancellation,
            .usage = usage,
            .is_urgent = true,
            .filter = filter};

    return scan_run(&scan, err);
}

void hc_usage_clear(struct hc_usage *usage)
{
    free(usage->repos);
    *usage = (struct hc_usage){0};
}
