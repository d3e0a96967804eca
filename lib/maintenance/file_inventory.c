/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names are those of a walk. Each file of the page is then looked at by its name,
 * below directories that are opened one by one, so that no symlink in the place of a
 * directory is followed. A pointer as hubcache makes it is looked at by its blob; another
 * one is followed.
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

/* Of the files of one page. Their names are sorted, so that those of a directory come one
 * after the other: it is opened once. */
struct file_reader {
    const struct hc_file_inventory *inventory;
    int snapshot, blobs; /* directories; -1: not there */
    int folder;          /* the directory of the last file */
    char path[PATH_MAX]; /* its path below the snapshot */
};

static void file_reader_release(struct file_reader *reader)
{
    hc_auto_close(&reader->folder);
    hc_auto_close(&reader->blobs);
    hc_auto_close(&reader->snapshot);
}
HC_DEFINE_AUTO_VALUE(file_reader, file_reader_release)

static struct file_reader file_reader_open(const struct hc_file_inventory *inventory)
{
    HC_AUTO_CLOSE int repo =
        hc_directory_open(hc_cache_fd(inventory->cache), inventory->repo->folder);

    return (struct file_reader){.inventory = inventory,
                                .snapshot = snapshot_open(inventory),
                                .blobs = repo < 0 ? -1 : hc_directory_open(repo, "blobs"),
                                .folder = -1};
}

/* Opens the directory of the file; its name there, or NULL: it is gone. */
static const char *file_reader_enter(struct file_reader *reader, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = slash ? (size_t)(slash - path) : 0;

    if (reader->folder >= 0 && strncmp(reader->path, path, length) == 0 &&
        reader->path[length] == '\0')
        return name;
    hc_auto_close(&reader->folder);
    reader->folder = hc_directory_open_parent(reader->snapshot, path, &name);
    (void)hc_format(reader->path, sizeof reader->path, "%.*s", (int)length, path);
    return reader->folder < 0 ? NULL : name;
}

/* Where a file is, for fstatat(2): its blob, or the file itself. */
struct file_place {
    int dir;
    const char *name;
    bool is_link;
};

static struct file_place file_find(const struct file_reader *reader, const char *name,
                                   const char *path, struct hc_cached_file *file)
{
    struct file_place place = {.dir = reader->folder, .name = name};
    char target[PATH_MAX];
    ssize_t length = readlinkat(place.dir, name, target, sizeof target - 1);
    const char *etag;

    place.is_link = length >= 0;
    target[length < 0 ? 0 : length] = '\0';
    etag = hc_pointer_parse(target, path);
    if (!etag)
        return place;
    (void)hc_format(file->etag, sizeof file->etag, "%s", etag);
    if (reader->blobs >= 0) {
        place.dir = reader->blobs;
        place.name = file->etag;
    }
    return place;
}

/* 1; 0: it is gone, or a directory; -1. */
static int file_look(struct file_reader *reader, const char *path,
                     struct hc_cached_file *file, struct hc_error *err)
{
    const struct hc_file_inventory *inventory = reader->inventory;
    const char *name = file_reader_enter(reader, path);
    struct file_place place;
    struct stat status;

    *file = (struct hc_cached_file){0};
    if (!name)
        return 0;
    place = file_find(reader, name, path, file);
    file->is_dangling = fstatat(place.dir, place.name, &status, 0) < 0;
    if (file->is_dangling ? !place.is_link : !S_ISREG(status.st_mode))
        return 0;
    if (!file->is_dangling) {
        file->size_bytes = (uint64_t)status.st_size;
        file->last_used_ms = hc_file_time_ms(&status.st_atim);
        file->last_modified_ms = hc_file_time_ms(&status.st_mtim);
    }
    file->filename = hc_text_copy(path, err);
    if (!file->filename)
        return -1;
    if (asprintf(&file->cache_path, "%s/snapshots/%s/%s", inventory->repo->folder,
                 inventory->commit, path) > 0)
        return 1;
    free(file->filename);
    return hc_fail_memory(err);
}

/* ---- the page ---------------------------------------------------------------------- */

int hc_file_inventory_read(const struct hc_file_inventory *inventory,
                           const struct hc_page *page, struct hc_cached_files *files,
                           struct hc_error *err)
{
    HC_AUTO_VALUE(file_reader) reader = file_reader_open(inventory);

    files->items = calloc(page->count + 1, sizeof *files->items);
    if (!files->items)
        return hc_fail_memory(err);
    for (size_t i = 0; reader.snapshot >= 0 && i < page->count; i++) {
        int found = file_look(&reader, page->names[i], &files->items[files->count], err);

        if (found < 0 || hc_cancellation_check(inventory->cancellation, err) < 0)
            return -1;
        files->count += (size_t)found;
    }
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
