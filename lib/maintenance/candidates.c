/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan of one repo: its blobs, then the pointers of each snapshot. A blob belongs to
 * the revision that was used last of those that point to it, since that is the one whose
 * eviction frees it. Blobs are found by a hash of their etags: two etags with the same
 * hash make two revisions look more alike than they are, and no more.
 */
#include "candidates.h"

#include <base/file.h>
#include <base/hash.h>
#include <cache/walk.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_SIZE = 512 /* of st_blocks */ };

struct scanned_blob {
    uint64_t key; /* the hash of its etag */
    uint64_t bytes;
    int64_t used_ms;
    size_t owner; /* index of a candidate */
};

struct scanned_pointer {
    size_t blob;
    size_t candidate;
};

/* Of one repo. */
struct repo_scan {
    struct hc_candidates *list;
    struct hc_cancellation *cancellation;
    struct scanned_blob *blobs;
    size_t blob_count, blob_room;
    struct scanned_pointer *pointers;
    size_t pointer_count, pointer_room;
};

static void repo_scan_release(struct repo_scan *scan)
{
    free(scan->blobs);
    free(scan->pointers);
}

HC_DEFINE_AUTO_VALUE(repo_scan, repo_scan_release)

/* Room for one more item; `items` is a pointer to the array's. */
static int array_reserve(void *items, size_t count, size_t *room, size_t size,
                         struct hc_error *err)
{
    size_t wanted = *room ? 2 * *room : 64;
    void *grown;

    if (count < *room)
        return 0;
    grown = reallocarray(*(void **)items, wanted, size);
    if (!grown)
        return hc_fail_memory(err);
    *(void **)items = grown;
    *room = wanted;
    return 0;
}

static uint64_t etag_key(const char *etag)
{
    return hc_hash_bytes(HC_HASH_START, etag, strlen(etag));
}

/* A file with several names frees its room with the last of them; which that will be is
 * not known, so each is taken to free a part. */
uint64_t hc_candidate_file_room(const struct stat *status)
{
    uint64_t names = status->st_nlink > 0 ? status->st_nlink : 1;

    return (uint64_t)status->st_blocks * BLOCK_SIZE / names;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- blobs ------------------------------------------------------------------------- */

static int compare_blobs(const void *left, const void *right)
{
    const struct scanned_blob *a = left, *b = right;

    return (a->key > b->key) - (a->key < b->key);
}

static int scan_blobs(struct repo_scan *scan, const struct hc_cache *cache,
                      const struct hc_repo *repo, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_blobs(cache, repo);
    struct stat status;

    while (hc_directory_walk_next(&walk)) {
        if (hc_cancellation_check(scan->cancellation, err) < 0)
            return -1;
        if (fstatat(walk.dir, walk.name, &status, 0) < 0 || !S_ISREG(status.st_mode))
            continue;
        if (array_reserve(&scan->blobs, scan->blob_count, &scan->blob_room,
                          sizeof *scan->blobs, err) < 0)
            return -1;
        assert(scan->blobs);
        scan->blobs[scan->blob_count++] =
            (struct scanned_blob){.key = etag_key(walk.path),
                                  .bytes = hc_candidate_file_room(&status),
                                  .used_ms = hc_file_time_ms(&status.st_atim),
                                  .owner = SIZE_MAX};
    }
    if (scan->blob_count > 0)
        qsort(scan->blobs, scan->blob_count, sizeof *scan->blobs, compare_blobs);
    return 0;
}

/* The blob that a pointer leads to; NULL: none of this repo's. */
static struct scanned_blob *scan_find_blob(const struct repo_scan *scan,
                                           const struct hc_directory_walk *walk)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(walk->dir, walk->name, target, sizeof target - 1);
    struct scanned_blob key = {0};
    const char *name;

    if (length <= 0 || scan->blob_count == 0)
        return NULL;
    target[length] = '\0';
    name = strrchr(target, '/');
    key.key = etag_key(name ? name + 1 : target);
    return bsearch(&key, scan->blobs, scan->blob_count, sizeof key, compare_blobs);
}

/* ---- snapshots --------------------------------------------------------------------- */

static int scan_pointer(struct repo_scan *scan, const struct hc_directory_walk *walk,
                        struct hc_error *err)
{
    size_t number = scan->list->count - 1;
    struct hc_candidate *candidate = &scan->list->items[number];
    struct scanned_blob *blob;
    struct stat status;

    if (S_ISREG(walk->type)) {
        if (fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
            candidate->bytes += hc_candidate_file_room(&status);
            candidate->last_used_ms =
                later(candidate->last_used_ms, hc_file_time_ms(&status.st_atim));
        }
        return 0;
    }
    blob = scan_find_blob(scan, walk);
    if (!blob)
        return 0;
    candidate->last_used_ms = later(candidate->last_used_ms, blob->used_ms);
    if (array_reserve(&scan->pointers, scan->pointer_count, &scan->pointer_room,
                      sizeof *scan->pointers, err) < 0)
        return -1;
    scan->pointers[scan->pointer_count++] =
        (struct scanned_pointer){(size_t)(blob - scan->blobs), number};
    return 0;
}

static int scan_snapshot(struct repo_scan *scan, const struct hc_cache *cache,
                         const struct hc_repo *repo, const char *commit,
                         struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_files(cache, repo, commit);

    while (hc_directory_walk_next(&walk)) {
        if (hc_cancellation_check(scan->cancellation, err) < 0 ||
            scan_pointer(scan, &walk, err) < 0)
            return -1;
    }
    return 0;
}

static int64_t snapshot_changed_ms(const struct hc_directory_walk *walk)
{
    struct stat status;

    return fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) == 0
               ? hc_file_time_ms(&status.st_mtim)
               : 0;
}

static int scan_snapshots(struct repo_scan *scan, const struct hc_cache *cache,
                          const struct hc_repo *repo, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_snapshots(cache, repo);
    struct hc_candidates *list = scan->list;
    const char *folder = list->folders.items[list->folders.count - 1];
    struct hc_candidate *added;

    while (hc_directory_walk_next(&walk)) {
        if (array_reserve(&list->items, list->count, &list->capacity, sizeof *list->items,
                          err) < 0)
            return -1;
        added = &list->items[list->count++];
        *added = (struct hc_candidate){.folder = folder,
                                       .last_used_ms = snapshot_changed_ms(&walk)};
        (void)hc_format(added->commit, sizeof added->commit, "%s", walk.path);
        if (scan_snapshot(scan, cache, repo, walk.path, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the whole --------------------------------------------------------------------- */

static int compare_candidates(const void *left, const void *right)
{
    const struct hc_candidate *a = left, *b = right;
    int order = (a->last_used_ms > b->last_used_ms) - (a->last_used_ms < b->last_used_ms);

    if (order == 0)
        order = strcmp(a->folder, b->folder);
    return order != 0 ? order : strcmp(a->commit, b->commit);
}

void hc_candidates_sort(struct hc_candidates *list)
{
    if (list->count > 0)
        qsort(list->items, list->count, sizeof *list->items, compare_candidates);
}

/* Gives each blob to the revision that goes last of those that point to it. Returns the
 * room of those that have none. */
static uint64_t scan_share_out(const struct repo_scan *scan)
{
    uint64_t orphan_bytes = 0;

    struct hc_candidate *items = scan->list->items;

    for (size_t i = 0; i < scan->pointer_count; i++) {
        struct scanned_blob *blob = &scan->blobs[scan->pointers[i].blob];
        size_t candidate = scan->pointers[i].candidate;

        if (blob->owner == SIZE_MAX ||
            compare_candidates(&items[candidate], &items[blob->owner]) > 0)
            blob->owner = candidate;
    }
    for (size_t i = 0; i < scan->blob_count; i++) {
        if (scan->blobs[i].owner != SIZE_MAX)
            items[scan->blobs[i].owner].bytes += scan->blobs[i].bytes;
        else
            orphan_bytes += scan->blobs[i].bytes;
    }
    return orphan_bytes;
}

static int candidates_scan_repo(struct hc_candidates *list, const struct hc_cache *cache,
                                const struct hc_repo *repo,
                                struct hc_cancellation *cancellation,
                                struct hc_error *err)
{
    HC_AUTO_VALUE(repo_scan) scan = {.list = list, .cancellation = cancellation};
    uint64_t orphan_bytes;

    if (hc_strings_add(&list->folders, repo->folder, err) < 0 ||
        scan_blobs(&scan, cache, repo, err) < 0 ||
        scan_snapshots(&scan, cache, repo, err) < 0)
        return -1;
    orphan_bytes = scan_share_out(&scan);
    list->orphan_bytes += orphan_bytes;
    return orphan_bytes > 0 ? hc_strings_add(&list->orphaned, repo->folder, err) : 0;
}

int hc_candidates_scan(struct hc_candidates *list, const struct hc_cache *cache,
                       struct hc_cancellation *cancellation, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(cache);
    HC_AUTO_VALUE(hc_candidates) scanned = {0};
    int64_t start_ms = hc_monotonic_ms();
    struct hc_repo repo;

    hc_candidates_clear(list);
    while (hc_walk_next_repo(&walk, &repo)) {
        if (candidates_scan_repo(&scanned, cache, &repo, cancellation, err) < 0)
            return -1;
    }
    hc_candidates_sort(&scanned);
    *list = scanned;
    scanned = (struct hc_candidates){0};
    list->scanned_ms = hc_monotonic_ms();
    list->took_ms = list->scanned_ms - start_ms;
    return 0;
}

void hc_candidates_clear(struct hc_candidates *list)
{
    hc_strings_clear(&list->folders);
    hc_strings_clear(&list->orphaned);
    free(list->items);
    *list = (struct hc_candidates){0};
}

int64_t hc_candidate_last_used(const struct hc_cache *cache,
                               const struct hc_candidate *candidate)
{
    char path[PATH_MAX];
    struct hc_repo repo;
    struct stat status;
    struct hc_error unused;
    int64_t used_ms;

    if (!hc_repo_parse_folder(&repo, candidate->folder) ||
        hc_cache_snapshot_path(path, &repo, candidate->commit, NULL, &unused) < 0 ||
        fstatat(hc_cache_fd(cache), path, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    used_ms = hc_file_time_ms(&status.st_mtim);
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(cache, &repo, candidate->commit);

    while (hc_directory_walk_next(&walk)) {
        if (fstatat(walk.dir, walk.name, &status, 0) == 0 && S_ISREG(status.st_mode))
            used_ms = later(used_ms, hc_file_time_ms(&status.st_atim));
    }
    return used_ms;
}
