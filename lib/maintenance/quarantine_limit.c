/* SPDX-License-Identifier: Apache-2.0 */
/* A blob and its record are files of their own: the one may be removed without the
 * other. */
#include "quarantine_limit.h"

#include "quarantine.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/list.h>
#include <base/text.h>
#include <cache/occupancy.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A blob in the quarantine, or its record. */
struct quarantined_file {
    char *path; /* below the quarantine */
    uint64_t bytes;
    int64_t since_ms;
};

struct quarantine_listing {
    struct quarantined_file *files;
    size_t count;
    uint64_t bytes;
};

static void quarantine_listing_clear(struct quarantine_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->files[i].path);
    free(listing->files);
}

HC_DEFINE_AUTO_VALUE(quarantine_listing, quarantine_listing_clear)

static void listing_add(struct quarantine_listing *listing,
                        const struct hc_directory_walk *walk)
{
    enum { BLOCK_SIZE = 512 /* of st_blocks */ };
    struct hc_error unused;
    struct quarantined_file *grown =
        hc_list_grow(listing->files, listing->count, sizeof *grown, &unused);
    struct stat status;
    char *path;

    if (!grown)
        return;
    listing->files = grown;
    path = strdup(walk->path);
    if (!path || fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
        free(path);
        return;
    }
    listing->files[listing->count++] =
        (struct quarantined_file){path, (uint64_t)status.st_blocks * BLOCK_SIZE,
                                  hc_file_time_ms(&status.st_ctim)};
    listing->bytes += (uint64_t)status.st_blocks * BLOCK_SIZE;
}

static int compare_ages(const void *left, const void *right)
{
    const struct quarantined_file *a = left, *b = right;

    return (a->since_ms > b->since_ms) - (a->since_ms < b->since_ms);
}

/* All that is in the quarantine, the oldest first. */
static int quarantine_open(const struct hc_cache *cache,
                           struct quarantine_listing *listing)
{
    int dir = hc_directory_open(hc_cache_fd(cache), HC_QUARANTINE_PATH);

    if (dir < 0)
        return -1;

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(dir, ".", 1);

    while (hc_directory_walk_next(&walk)) {
        if (!S_ISDIR(walk.type))
            listing_add(listing, &walk);
    }
    if (listing->count > 0)
        qsort(listing->files, listing->count, sizeof *listing->files, compare_ages);
    return dir;
}

/* An empty directory of a repo is removed, too; the record is a file of the listing
 * itself. */
static uint64_t quarantine_remove(int dir, const struct quarantined_file *file)
{
    char *slash;

    if (unlinkat(dir, file->path, 0) < 0)
        return 0;
    slash = strchr(file->path, '/');
    if (slash) {
        *slash = '\0';
        (void)unlinkat(dir, file->path, AT_REMOVEDIR);
    }
    return file->bytes;
}

unsigned hc_quarantine_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    HC_AUTO_VALUE(quarantine_listing) listing = {0};
    HC_AUTO_CLOSE int dir = quarantine_open(cache, &listing);
    unsigned removed = 0;

    for (size_t i = 0; i < listing.count; i++) {
        const struct quarantined_file *file = &listing.files[i];

        hc_quarantine_complete(cache, dir, file->path);
        if (now_ms - file->since_ms < HC_QUARANTINE_AGE_MS &&
            listing.bytes <= HC_QUARANTINE_BYTES)
            continue;
        listing.bytes -= file->bytes;
        removed += !hc_text_ends(file->path, ".json");
        (void)quarantine_remove(dir, file);
    }
    return removed;
}

uint64_t hc_quarantine_reclaim(void *cache, const struct hc_space_request *request,
                               uint64_t bytes, struct hc_space_held *held)
{
    HC_AUTO_VALUE(quarantine_listing) listing = {0};
    HC_AUTO_CLOSE int dir = bytes > 0 ? quarantine_open(cache, &listing) : -1;
    uint64_t freed = 0;

    (void)request, (void)held; /* nothing in the quarantine is of use to a download */
    for (size_t i = 0; i < listing.count && freed < bytes; i++)
        freed += quarantine_remove(dir, &listing.files[i]);
    hc_occupancy_remove(hc_cache_occupancy(cache), freed);
    return freed;
}
