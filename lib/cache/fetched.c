/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record is renamed into place but not flushed: a power loss may take it, or leave it
 * empty, and then the blob counts for no caller; each blob of a snapshot would else cost
 * another fsync(2).
 */
#include "fetched.h"

#include "blob_lock.h"
#include "fetched_totals.h"

#include <base/cancellation.h>
#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FETCHED_ROOT ".hubcache/fetched"

static int fetched_format_path(char path[PATH_MAX], const struct hc_blob_id *blob,
                               struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, FETCHED_ROOT "/%s/%s", blob->folder, blob->etag) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "record of blob '%s'", blob->etag);
    return 0;
}

/* ---- writing ----------------------------------------------------------------------- */

static json_t *fetched_format_groups(const struct hc_identity *identity)
{
    json_t *groups = json_array();

    for (size_t i = 0; groups && identity && i < identity->group_count; i++) {
        if (i == HC_FETCHED_GROUPS_MAX)
            break;
        (void)json_array_append_new(groups, json_string(identity->groups[i]));
    }
    return groups;
}

/* The caller frees; NULL when memory is short, or a text is no UTF-8. */
static char *fetched_format(const struct hc_blob_request *request, uint64_t bytes)
{
    const struct hc_identity *identity = request->identity;
    HC_AUTO_JSON *object =
        json_pack("{s:s, s:s, s:o, s:s, s:I, s:I}", "caller",
                  identity ? identity->name : "", "kind", identity ? identity->kind : "",
                  "groups", fetched_format_groups(identity), "rule",
                  request->rule ? request->rule : "", "bytes", (json_int_t)bytes,
                  "fetched_ms", (json_int_t)hc_epoch_ms());

    return object ? json_dumps(object, JSON_COMPACT) : NULL;
}

static int fetched_write_private(int root, const char *path, const char *text,
                                 struct stat *status, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = hc_file_create(root, path, O_WRONLY);

    if (fd < 0)
        return hc_file_fail(err, errno, "create", root, path);
    if (hc_file_write_all(fd, text, strlen(text), err) == 0 && fstat(fd, status) == 0)
        return 0;
    (void)unlinkat(root, path, 0);
    return hc_context(err, "'%s'", path);
}

int hc_fetched_write(const struct hc_cache *cache, const struct hc_blob_request *request,
                     uint64_t bytes, struct hc_error *err)
{
    HC_AUTO_FREE char *text = fetched_format(request, bytes);
    int root = hc_cache_fd(cache);
    char private[PATH_MAX], path[PATH_MAX];
    struct stat status;

    if (!text)
        return hc_fail_memory(err);
    if (fetched_format_path(path, &request->blob, err) < 0 ||
        hc_cache_private_path(private, err) < 0 ||
        hc_file_mkparents(root, private, err) < 0 ||
        fetched_write_private(root, private, text, &status, err) < 0)
        return -1;
    if (hc_file_rename_below(root, private, path) < 0) {
        (void)hc_file_fail(err, errno, "rename to", root, path);
        (void)unlinkat(root, private, 0);
        return -1;
    }
    hc_fetched_totals_add(hc_cache_fetched_totals(cache), request, bytes, status.st_ino);
    return 0;
}

/* ---- reading ----------------------------------------------------------------------- */

static const char *fetched_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static uint64_t fetched_number(const json_t *object, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(object, key));

    return number > 0 ? (uint64_t)number : 0;
}

/* The texts stay the object's. */
static void fetched_parse(struct hc_fetched *fetched)
{
    const json_t *object = fetched->object;
    const json_t *groups = json_object_get(object, "groups");
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(groups) && count < HC_FETCHED_GROUPS_MAX;
         i++) {
        const char *group = json_string_value(json_array_get(groups, i));

        if (group)
            fetched->groups[count++] = group;
    }
    fetched->identity = (struct hc_identity){.kind = fetched_text(object, "kind"),
                                             .name = fetched_text(object, "caller"),
                                             .groups = fetched->groups,
                                             .group_count = count};
    fetched->rule = fetched_text(object, "rule");
    fetched->bytes = fetched_number(object, "bytes");
    fetched->fetched_ms = (int64_t)fetched_number(object, "fetched_ms");
}

int hc_fetched_read(const struct hc_cache *cache, const struct hc_blob_id *blob,
                    struct hc_fetched *fetched, struct hc_error *err)
{
    char path[PATH_MAX], text[HC_FETCHED_SIZE_MAX + 1];
    struct stat status;
    int found;

    *fetched = (struct hc_fetched){0};
    if (fetched_format_path(path, blob, err) < 0)
        return -1;
    found = hc_file_read_stat(hc_cache_fd(cache), path, text, sizeof text, &status, err);
    if (found != 1)
        return found;
    fetched->inode = status.st_ino;
    fetched->object = json_loads(text, 0, NULL);
    if (!json_is_object(fetched->object))
        return 0;
    fetched_parse(fetched);
    return 1;
}

void hc_fetched_clear(struct hc_fetched *fetched)
{
    json_decref(fetched->object);
    *fetched = (struct hc_fetched){0};
}

/* ---- removing ---------------------------------------------------------------------- */

void hc_fetched_remove(const struct hc_cache *cache, const struct hc_blob_id *blob)
{
    char path[PATH_MAX];
    struct hc_error unused;

    if (fetched_format_path(path, blob, &unused) == 0)
        (void)unlinkat(hc_cache_fd(cache), path, 0);
    hc_fetched_totals_remove(hc_cache_fetched_totals(cache), blob);
}

/* Where pointers are plain files, a fetched blob is moved to where its pointer would
 * be. */
static bool fetched_is_orphan(const struct hc_cache *cache, const struct hc_blob_id *blob)
{
    char path[PATH_MAX];
    struct stat status;
    int length =
        hc_cache_has_no_symlinks(cache)
            ? hc_format(path, sizeof path, "%s", blob->folder)
            : hc_format(path, sizeof path, "%s/blobs/%s", blob->folder, blob->etag);

    return length > 0 && fstatat(hc_cache_fd(cache), path, &status, 0) < 0 &&
           hc_file_is_absent(errno);
}

static bool fetched_is_old(const struct hc_directory_walk *walk, int64_t now_ms)
{
    struct stat status;
    int64_t age_ms;

    if (fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    age_ms = now_ms - hc_file_changed_ms(&status);
    return age_ms > HC_FETCHED_ORPHAN_MS || age_ms < -HC_FETCHED_ORPHAN_MS;
}

/* Its age is looked at with the lock held: a transfer that has the lock, or has just had
 * it, may have written the record anew. */
static bool fetched_sweep_record(const struct hc_cache *cache,
                                 const struct hc_blob_id *blob,
                                 const struct hc_directory_walk *walk, int64_t now_ms)
{
    HC_AUTO(hc_blob_lock) *lock = NULL;
    struct hc_error unused;

    if (!fetched_is_orphan(cache, blob) || !fetched_is_old(walk, now_ms) ||
        hc_blob_lock_is_held(cache, blob))
        return false;
    lock = hc_blob_lock_new(cache, blob, &unused);
    return lock && hc_blob_lock_try(lock, &unused) == 1 &&
           fetched_is_orphan(cache, blob) && fetched_is_old(walk, now_ms) &&
           unlinkat(walk->dir, walk->name, 0) == 0;
}

unsigned hc_fetched_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    HC_AUTO_VALUE(hc_directory_walk) folders = hc_fetched_walk_folders(cache);
    unsigned removed = 0;

    while (hc_directory_walk_next(&folders)) {
        HC_AUTO_VALUE(hc_directory_walk)
        etags = hc_fetched_walk_etags(cache, folders.name);

        while (hc_directory_walk_next(&etags)) {
            const struct hc_blob_id blob = {folders.name, etags.name};

            removed += fetched_sweep_record(cache, &blob, &etags, now_ms);
        }
        (void)unlinkat(folders.dir, folders.name, AT_REMOVEDIR);
    }
    return removed;
}

/* ---- walking ----------------------------------------------------------------------- */

static bool fetched_accepts_folder(const struct hc_directory_walk *walk)
{
    struct hc_repo repo;

    return S_ISDIR(walk->type) && hc_repo_parse_folder(&repo, walk->name);
}

static bool fetched_accepts_etag(const struct hc_directory_walk *walk)
{
    return S_ISREG(walk->type) && hc_etag_is_valid(walk->name);
}

struct hc_directory_walk hc_fetched_walk_folders(const struct hc_cache *cache)
{
    struct hc_directory_walk walk =
        hc_directory_walk(hc_cache_fd(cache), FETCHED_ROOT, 0);

    walk.accepts = fetched_accepts_folder;
    return walk;
}

struct hc_directory_walk hc_fetched_walk_etags(const struct hc_cache *cache,
                                               const char *folder)
{
    struct hc_directory_walk walk = {0};
    char path[PATH_MAX];

    if (hc_format(path, sizeof path, FETCHED_ROOT "/%s", folder) > 0)
        walk = hc_directory_walk(hc_cache_fd(cache), path, 0);
    walk.accepts = fetched_accepts_etag;
    return walk;
}
