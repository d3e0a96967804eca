/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both passes are walks, so that no symlink in the place of a directory is followed. A
 * pointer as hubcache makes it is looked at by its blob; another one is followed.
 */
#include "file_inventory.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>
#include <cache/pointer.h>
#include <cache/walk.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CHECK_EVERY = 64 /* entries between two looks at the cancellation */ };

/* The directory of the snapshot; -1 and errno. */
static int snapshot_open(const struct hc_file_inventory *inventory)
{
    HC_AUTO_CLOSE int folder =
        hc_directory_open(hc_cache_fd(inventory->cache), inventory->repo->folder);
    HC_AUTO_CLOSE int snapshots =
        folder < 0 ? -1 : hc_directory_open(folder, "snapshots");

    return snapshots < 0 ? -1 : hc_directory_open(snapshots, inventory->commit);
}

int hc_file_inventory_add_names(const struct hc_file_inventory *inventory,
                                struct hc_page *page, struct hc_error *err)
{
    HC_AUTO_CLOSE int snapshot = snapshot_open(inventory);
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(inventory->cache, inventory->repo, inventory->commit);

    if (snapshot < 0)
        return hc_file_is_absent(errno)
                   ? 0
                   : hc_fail_errno(err, errno, "open '%s/snapshots/%s'",
                                   inventory->repo->folder, inventory->commit);
    for (size_t i = 0; hc_directory_walk_next(&walk); i++) {
        if (hc_page_add(page, walk.path, err) < 0 ||
            (i % CHECK_EVERY == 0 &&
             hc_cancellation_check(inventory->cancellation, err) < 0))
            return -1;
    }
    hc_page_close(page);
    return 1;
}

/* ---- one file ---------------------------------------------------------------------- */

/* Where the file of the walk is, for fstatat(2): its blob, or the file itself. */
struct file_place {
    int dir;
    const char *name;
};

static struct file_place file_find(const struct hc_directory_walk *walk, int blobs,
                                   struct hc_cached_file *file)
{
    char target[PATH_MAX];
    ssize_t length = S_ISLNK(walk->type)
                         ? readlinkat(walk->dir, walk->name, target, sizeof target - 1)
                         : -1;
    const char *etag;

    target[length < 0 ? 0 : length] = '\0';
    etag = hc_pointer_parse(target, walk->path);
    if (etag)
        (void)hc_format(file->etag, sizeof file->etag, "%s", etag);
    return etag && blobs >= 0 ? (struct file_place){blobs, file->etag}
                              : (struct file_place){walk->dir, walk->name};
}

/* 1; 0: it is gone, or a directory; -1. */
static int file_look(const struct hc_file_inventory *inventory,
                     const struct hc_directory_walk *walk, int blobs,
                     struct hc_cached_file *file, struct hc_error *err)
{
    struct file_place place;
    struct stat status;

    *file = (struct hc_cached_file){0};
    place = file_find(walk, blobs, file);
    file->is_dangling = fstatat(place.dir, place.name, &status, 0) < 0;
    if (file->is_dangling ? !S_ISLNK(walk->type) : !S_ISREG(status.st_mode))
        return 0;
    if (!file->is_dangling) {
        file->size_bytes = (uint64_t)status.st_size;
        file->last_used_ms = hc_file_time_ms(&status.st_atim);
        file->last_modified_ms = hc_file_time_ms(&status.st_mtim);
    }
    file->filename = hc_text_copy(walk->path, err);
    if (!file->filename)
        return -1;
    if (asprintf(&file->cache_path, "%s/snapshots/%s/%s", inventory->repo->folder,
                 inventory->commit, walk->path) > 0)
        return 1;
    free(file->filename);
    return hc_fail_memory(err);
}

/* ---- the page ---------------------------------------------------------------------- */

static int compare_name(const void *key, const void *item)
{
    return strcmp(key, *(char *const *)item);
}

static bool page_has(const struct hc_page *page, const char *name)
{
    return bsearch(name, page->names, page->count, sizeof *page->names, compare_name);
}

static int compare_files(const void *left, const void *right)
{
    const struct hc_cached_file *a = left, *b = right;

    return strcmp(a->filename, b->filename);
}

int hc_file_inventory_read(const struct hc_file_inventory *inventory,
                           const struct hc_page *page, struct hc_cached_files *files,
                           struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(inventory->cache, inventory->repo, inventory->commit);
    HC_AUTO_CLOSE int folder =
        hc_directory_open(hc_cache_fd(inventory->cache), inventory->repo->folder);
    HC_AUTO_CLOSE int blobs = folder < 0 ? -1 : hc_directory_open(folder, "blobs");

    files->items = calloc(page->count + 1, sizeof *files->items);
    if (!files->items)
        return hc_fail_memory(err);
    while (files->count < page->count && hc_directory_walk_next(&walk)) {
        int found = 0;

        if (page_has(page, walk.path))
            found = file_look(inventory, &walk, blobs, &files->items[files->count], err);
        if (found < 0 || hc_cancellation_check(inventory->cancellation, err) < 0)
            return -1;
        files->count += (size_t)found;
    }
    qsort(files->items, files->count, sizeof *files->items, compare_files);
    return 0;
}

void hc_cached_files_clear(struct hc_cached_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].filename);
        free(files->items[i].cache_path);
    }
    free(files->items);
    free(files->next_page_token);
    *files = (struct hc_cached_files){0};
}
