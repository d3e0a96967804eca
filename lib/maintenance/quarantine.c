/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payload of the shared store is found corrupt by way of a repo's symlink to it, whose
 * etag its content does not hash to. That may be the fault of the symlink: so the etags
 * of all symlinks that its manifest names are compared with the hash, too, and if one is
 * right, only the wrong symlink is removed.
 */
#include "quarantine.h"

#include "shared_store.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/json.h>
#include <cache/blob_lock.h>
#include <cache/fetched.h>
#include <cache/memo.h>
#include <cache/pointer.h>
#include <cache/tree_cache.h>
#include <cache/walk.h>
#include <claim/claim_record.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char payload_folder[] = "blobs"; /* as below the cache root */

enum {
    RECORD_POINTERS_MAX = 1000, /* named in a record */
    RECORD_SIZE_MAX = 256 * 1024,
    RECORDS_MAX = 1000, /* that a search reads */
    NAMES_MAX = 100     /* names that are tried for one blob */
};

void hc_quarantined_clear(struct hc_quarantined *quarantined)
{
    hc_strings_clear(&quarantined->pointers);
    quarantined->path[0] = '\0';
}

/* ---- pointers ---------------------------------------------------------------------- */

static bool pointer_leads_to(int dir, const char *pointer, const char *etag)
{
    char found[HC_ETAG_MAX + 1];

    return hc_pointer_read_etag(dir, pointer, found) == 1 && strcmp(found, etag) == 0;
}

static int walk_fail(const struct hc_directory_walk *walk, const struct hc_repo *repo,
                     struct hc_error *err)
{
    return hc_fail_errno(err, walk->errnum ? walk->errnum : ELOOP,
                         "read the pointers of '%s'", repo->id);
}

static int snapshot_find_pointers(const struct hc_cache *cache,
                                  const struct hc_repo_file *place, const char *etag,
                                  struct hc_strings *pointers, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(cache, place->repo, place->revision);

    while (hc_directory_walk_next(&walk)) {
        char path[PATH_MAX];

        if (!S_ISLNK(walk.type) || !pointer_leads_to(walk.dir, walk.name, etag) ||
            hc_cache_snapshot_path(path, place->repo, place->revision, walk.path, err) <
                0)
            continue;
        if (hc_strings_add(pointers, path, err) < 0)
            return -1;
    }
    return walk.is_incomplete ? walk_fail(&walk, place->repo, err) : 0;
}

/* All of them, or it fails: one that is left out would dangle. */
int hc_quarantine_find_pointers(const struct hc_cache *cache, const struct hc_repo *repo,
                                const char *etag, struct hc_strings *pointers,
                                struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_snapshots(cache, repo);

    while (hc_directory_walk_next(&walk)) {
        const struct hc_repo_file place = {repo, walk.path, NULL};

        if (snapshot_find_pointers(cache, &place, etag, pointers, err) < 0)
            return -1;
    }
    return walk.is_incomplete ? walk_fail(&walk, repo, err) : 0;
}

/* Of "<folder>/snapshots/<commit>/<path>": what this process remembers of the file, and
 * of snapshots that have it, counts no more. */
static void pointer_forget(const struct hc_cache *cache, const char *pointer)
{
    char commit[HC_COMMIT_SIZE];
    struct hc_repo repo;
    const char *end = hc_cache_parse_snapshot_path(pointer, &repo);

    hc_memo_forget(hc_cache_memo(cache), pointer);
    if (end && hc_format(commit, sizeof commit, "%.40s", end) > 0)
        hc_tree_end_term(cache, &repo, commit);
}

/* Only symlinks that still lead to the blob: the lock is held, but not every client takes
 * it. */
static void pointers_remove(const struct hc_cache *cache, const char *etag,
                            const struct hc_strings *pointers)
{
    int root = hc_cache_fd(cache);

    for (size_t i = 0; i < pointers->count; i++) {
        if (pointer_leads_to(root, pointers->items[i], etag))
            (void)unlinkat(root, pointers->items[i], 0);
        pointer_forget(cache, pointers->items[i]);
    }
}

/* ---- the record -------------------------------------------------------------------- */

static json_t *record_new(const struct hc_blob_check *check,
                          const struct hc_strings *pointers)
{
    json_t *names = json_array();

    for (size_t i = 0; i < pointers->count && i < RECORD_POINTERS_MAX; i++)
        (void)json_array_append_new(names, json_string(pointers->items[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:o}", "etag", check->etag, "actual",
                     check->actual, "size", (json_int_t)check->file.size, "time_ms",
                     (json_int_t)hc_epoch_ms(), "pointers", names);
}

/* Beside the name that the blob will have. */
static int record_write(const struct hc_cache *cache, const struct hc_blob_check *check,
                        const struct hc_quarantined *quarantined, struct hc_error *err)
{
    HC_AUTO_JSON *record = record_new(check, &quarantined->pointers);
    HC_AUTO_FREE char *text = record ? json_dumps(record, JSON_INDENT(1)) : NULL;
    char path[PATH_MAX];

    if (!text)
        return hc_fail_memory(err);
    if (hc_format(path, sizeof path, "%s.json", quarantined->path) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "record of '%s'", check->path);
    return hc_cache_publish(cache, path, text, strlen(text), err);
}

/* NULL: it is none. The caller releases it. */
static json_t *record_read(int dir, const char *name)
{
    HC_AUTO_FREE char *text = malloc(RECORD_SIZE_MAX);
    struct hc_error unused;

    if (!text || !hc_text_ends(name, ".json") ||
        hc_file_read(dir, name, text, RECORD_SIZE_MAX, &unused) != 1)
        return NULL;
    return json_loads(text, 0, NULL);
}

static bool record_names(int dir, const char *record_name, const char *pointer)
{
    HC_AUTO_JSON *record = record_read(dir, record_name);
    const json_t *pointers = json_object_get(record, "pointers");
    json_t *name;
    size_t i;

    json_array_foreach(pointers, i, name)
    {
        if (hc_text_equals(json_string_value(name), pointer))
            return true;
    }
    return false;
}

bool hc_quarantine_has(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *commit, const char *path)
{
    const char *const folders[] = {repo->folder, payload_folder};
    HC_AUTO_CLOSE int dir = hc_directory_open(hc_cache_fd(cache), HC_QUARANTINE_PATH);
    char pointer[PATH_MAX];
    struct hc_error unused;

    if (dir < 0 || hc_cache_snapshot_path(pointer, repo, commit, path, &unused) < 0)
        return false;
    for (size_t k = 0; k < 2; k++) {
        HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(dir, folders[k], 0);

        for (int i = 0; i < RECORDS_MAX && hc_directory_walk_next(&walk); i++) {
            if (record_names(walk.dir, walk.name, pointer))
                return true;
        }
    }
    return false;
}

/* ---- one file ---------------------------------------------------------------------- */

/* A name in the quarantine that no file has, with its directories. Two names of one inode
 * need two names there: rename(2) of one to the other does nothing. */
static int quarantine_choose_path(const struct hc_cache *cache, const char *folder,
                                  const char *name, char path[PATH_MAX],
                                  struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    int64_t now_ms = hc_epoch_ms();
    struct stat status;

    for (int i = 0; i < NAMES_MAX; i++) {
        if (hc_format(path, PATH_MAX, "%s/%s/%s.%" PRId64, HC_QUARANTINE_PATH, folder,
                      name, now_ms + i) < 0)
            return hc_fail_errno(err, ENAMETOOLONG, "quarantine of '%s'", name);
        if (fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT || errno == ENOTDIR
                       ? hc_file_mkparents(root, path, err)
                       : hc_file_fail(err, errno, "look at", root, path);
    }
    return hc_fail(err, HC_CACHE_IO, "no name is free for '%s' in the quarantine", name);
}

/* 0; 1: it is gone; -1. */
static int quarantine_rename(const struct hc_cache *cache, const char *from,
                             const char *to, struct hc_error *err)
{
    int root = hc_cache_fd(cache);

    if (renameat(root, from, root, to) < 0)
        return errno == ENOENT ? 1 : hc_file_fail(err, errno, "rename to", root, to);
    return 0;
}

/* 1: taken; 0: a process is fetching the blob; -1. */
static int blob_lock_take(const struct hc_cache *cache, const struct hc_blob_id *blob,
                          struct hc_blob_lock **lock, struct hc_error *err)
{
    struct hc_claim_record claim;
    int taken;

    *lock = hc_blob_lock_new(cache, blob, err);
    taken = *lock ? hc_blob_lock_try(*lock, err) : -1;
    if (taken == 1 && hc_claim_record_find(hc_cache_fd(cache), blob, &claim) == 1 &&
        !hc_claim_record_is_abandoned(&claim, hc_volume_now_ms(cache)))
        return 0; /* on a volume where locks exclude no process */
    return taken;
}

/* With the blob's lock: finds what leads to the file, and writes the record. 1; 0: it is
 * another file by now; -1. */
static int file_prepare(const struct hc_cache *cache, const struct hc_repo *repo,
                        const struct hc_blob_check *check,
                        struct hc_quarantined *quarantined, struct hc_error *err)
{
    bool is_plain = strstr(check->path, "/snapshots/") != NULL;

    if (!hc_blob_check_holds(check))
        return 0;
    if ((is_plain ? hc_strings_add(&quarantined->pointers, check->path, err)
                  : hc_quarantine_find_pointers(cache, repo, check->etag,
                                                &quarantined->pointers, err)) < 0 ||
        quarantine_choose_path(cache, repo->folder, check->etag, quarantined->path, err) <
            0 ||
        record_write(cache, check, quarantined, err) < 0)
        return -1;
    return 1;
}

/* The blob, or the symlink in its place, or the plain file of a snapshot. */
static int quarantine_move_file(const struct hc_cache *cache, const struct hc_repo *repo,
                                const struct hc_blob_check *check,
                                struct hc_quarantined *quarantined, struct hc_error *err)
{
    const struct hc_blob_id blob = {repo->folder, check->etag};
    HC_AUTO(hc_blob_lock) *lock = NULL;
    int taken = blob_lock_take(cache, &blob, &lock, err);

    if (taken == 1)
        taken = file_prepare(cache, repo, check, quarantined, err);
    if (taken <= 0)
        return taken;
    taken = quarantine_rename(cache, check->path, quarantined->path, err);
    if (taken != 0)
        return taken < 0 ? -1 : 0;
    hc_fetched_remove(cache, &blob);
    pointers_remove(cache, check->etag, &quarantined->pointers);
    return 1;
}

/* ---- a payload of the shared store ------------------------------------------------- */

struct payload_move {
    const struct hc_cache *cache;
    const struct hc_blob_check *check;
    struct hc_quarantined *quarantined;
    bool stays; /* it is right for a repo that has it under another name */
};

static int payload_compare_name(void *ctx, const struct hc_blob_id *blob,
                                struct hc_error *err)
{
    struct payload_move *move = ctx;

    (void)err;
    move->stays = move->stays || strcmp(blob->etag, move->check->actual) == 0;
    return 0;
}

static int payload_find_pointers(void *ctx, const struct hc_blob_id *blob,
                                 struct hc_error *err)
{
    const struct payload_move *move = ctx;
    struct hc_repo repo;

    return hc_repo_parse_folder(&repo, blob->folder)
               ? hc_quarantine_find_pointers(move->cache, &repo, blob->etag,
                                             &move->quarantined->pointers, err)
               : 0;
}

/* Removes the symlink of one repo to it, with its pointers. A process that fetches the
 * blob replaces the symlink itself. */
static int payload_drop_link(void *ctx, const struct hc_blob_id *blob,
                             struct hc_error *err)
{
    const struct payload_move *move = ctx;
    const struct hc_cache *cache = move->cache;
    HC_AUTO(hc_blob_lock) *lock = NULL;
    char path[PATH_MAX], hash[HC_PAYLOAD_HASH_SIZE];
    int taken = blob_lock_take(cache, blob, &lock, err);

    if (taken <= 0 || hc_cache_blob_path(path, blob, err) < 0)
        return taken;
    if (!hc_payload_read_link(hc_cache_fd(cache), path, hash))
        return 0;
    (void)unlinkat(hc_cache_fd(cache), path, 0);
    pointers_remove(cache, blob->etag, &move->quarantined->pointers);
    return 0;
}

/* 1: moved; 0: it is another file by now; -1. */
static int payload_move_locked(struct payload_move *move, const char *hash,
                               struct hc_error *err)
{
    struct hc_quarantined *quarantined = move->quarantined;
    char path[PATH_MAX], manifest[PATH_MAX];
    int moved;

    if (!hc_blob_check_holds(move->check))
        return 0;
    (void)hc_format(path, sizeof path, "blobs/%.2s/%s", hash, hash);
    (void)hc_format(manifest, sizeof manifest, "%s.refs", path);
    if (hc_payload_each_link(move->cache, hash, payload_find_pointers, move, err) < 0 ||
        quarantine_choose_path(move->cache, payload_folder, hash, quarantined->path,
                               err) < 0 ||
        record_write(move->cache, move->check, quarantined, err) < 0)
        return -1;
    moved = quarantine_rename(move->cache, path, quarantined->path, err);
    if (moved != 0)
        return moved < 0 ? -1 : 0;
    if (hc_payload_each_link(move->cache, hash, payload_drop_link, move, err) < 0)
        return -1;
    (void)unlinkat(hc_cache_fd(move->cache), manifest, 0);
    return 1;
}

/* Without a manifest, repos that have it cannot be found: it stays. */
static int payload_move_with_lock(void *ctx, const char *hash, struct hc_error *err)
{
    struct payload_move *move = ctx;
    struct hc_error unused;

    if (hc_payload_each_link(move->cache, hash, payload_compare_name, move, &unused) < 0)
        move->stays = true;
    return move->stays ? 0 : payload_move_locked(move, hash, err);
}

/* ---- what an interrupted process has left ------------------------------------------ */

static bool pointer_dangles(int root, const char *pointer)
{
    struct stat status;

    return fstatat(root, pointer, &status, 0) < 0 && hc_file_is_absent(errno);
}

/* Under the blob's lock: a process that fetches the blob makes its pointer anew. */
static void pointer_remove_dangling(const struct hc_cache *cache, const char *pointer,
                                    const char *etag)
{
    HC_AUTO(hc_blob_lock) *lock = NULL;
    int root = hc_cache_fd(cache);
    struct hc_error unused;
    struct hc_repo repo;

    if (!hc_cache_parse_snapshot_path(pointer, &repo) ||
        !pointer_leads_to(root, pointer, etag) || !pointer_dangles(root, pointer) ||
        blob_lock_take(cache, &(const struct hc_blob_id){repo.folder, etag}, &lock,
                       &unused) != 1 ||
        !pointer_dangles(root, pointer))
        return;
    (void)unlinkat(root, pointer, 0);
    pointer_forget(cache, pointer);
}

void hc_quarantine_complete(const struct hc_cache *cache, int dir, const char *name)
{
    HC_AUTO_JSON *record = record_read(dir, name);
    const json_t *pointers = json_object_get(record, "pointers");
    const char *etag = json_string_value(json_object_get(record, "etag"));
    json_t *pointer;
    size_t i;

    if (!etag || !hc_etag_is_valid(etag))
        return;
    json_array_foreach(pointers, i, pointer)
    {
        const char *path = json_string_value(pointer);

        if (path && hc_filename_is_safe(path))
            pointer_remove_dangling(cache, path, etag);
    }
}

/* ---- the interface ----------------------------------------------------------------- */

int hc_quarantine_move(const struct hc_cache *cache, const struct hc_repo *repo,
                       const struct hc_blob_check *check,
                       struct hc_quarantined *quarantined, struct hc_error *err)
{
    struct payload_move move = {.cache = cache,
                                .check = check,
                                .quarantined = quarantined};
    char hash[HC_PAYLOAD_HASH_SIZE];
    int moved;

    if (!hc_payload_read_link(check->root, check->path, hash))
        return quarantine_move_file(cache, repo, check, quarantined, err);
    moved = hc_payload_with_lock(cache, hash, payload_move_with_lock, &move, err);
    return moved == 0 && move.stays
               ? quarantine_move_file(cache, repo, check, quarantined, err)
               : moved;
}

int hc_quarantine_link(const struct hc_cache *cache, const struct hc_repo *repo,
                       const struct hc_blob_check *check,
                       struct hc_quarantined *quarantined, struct hc_error *err)
{
    const struct hc_blob_id blob = {repo->folder, check->etag};
    int root = hc_cache_fd(cache), taken;
    HC_AUTO(hc_blob_lock) *lock = NULL;
    char hash[HC_PAYLOAD_HASH_SIZE];

    if (strstr(check->path, "/snapshots/") ||
        hc_payload_read_link(check->root, check->path, hash))
        return 0;
    taken = blob_lock_take(cache, &blob, &lock, err);
    if (taken == 1)
        taken = file_prepare(cache, repo, check, quarantined, err);
    if (taken == 1 && quarantined->pointers.count > 0 &&
        linkat(root, check->path, root, quarantined->path, 0) == 0)
        return 1;
    hc_quarantine_unlink(cache, quarantined);
    return taken < 0 ? -1 : 0;
}

void hc_quarantine_unlink(const struct hc_cache *cache,
                          struct hc_quarantined *quarantined)
{
    int root = hc_cache_fd(cache);
    char record[PATH_MAX];

    if (quarantined->path[0] &&
        hc_format(record, sizeof record, "%s.json", quarantined->path) > 0) {
        (void)unlinkat(root, quarantined->path, 0);
        (void)unlinkat(root, record, 0);
    }
    hc_quarantined_clear(quarantined);
}
