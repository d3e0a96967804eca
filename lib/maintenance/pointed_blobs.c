/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pointer is read, never followed: its last component is the blob's etag, whatever the
 * path before it is. A pointer that another client made in another way keeps its blob.
 */
#include "pointed_blobs.h"

#include <base/text.h>
#include <cache/pointer.h>
#include <repo/name.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int blobs_add(struct hc_pointed_blobs *blobs, const char *etag, uint32_t group,
                     struct hc_error *err)
{
    char *copy;

    if (blobs->count == blobs->capacity) {
        size_t capacity = blobs->capacity ? 2 * blobs->capacity : 64;
        struct hc_pointed_blob *grown =
            reallocarray(blobs->items, capacity, sizeof *blobs->items);

        if (!grown)
            return hc_fail_memory(err);
        blobs->items = grown;
        blobs->capacity = capacity;
    }
    copy = hc_text_copy(etag, err);
    if (!copy)
        return -1;
    blobs->items[blobs->count++] = (struct hc_pointed_blob){copy, group};
    return 0;
}

int hc_pointed_blobs_add(struct hc_pointed_blobs *blobs,
                         const struct hc_directory_walk *pointer, uint32_t group,
                         struct hc_error *err)
{
    char etag[HC_ETAG_MAX + 1];
    int found = hc_pointer_read_etag(pointer->dir, pointer->name, etag);

    if (found < 0)
        return hc_fail_errno(err, errno, "read link '%s'", pointer->path);
    return found == 1 ? blobs_add(blobs, etag, group, err) : 0;
}

static int compare_blobs(const void *left, const void *right)
{
    const struct hc_pointed_blob *a = left, *b = right;
    int order = strcmp(a->etag, b->etag);

    return order != 0 ? order : (a->group > b->group) - (a->group < b->group);
}

int hc_pointed_blobs_add_etag(struct hc_pointed_blobs *blobs, const char *etag,
                              struct hc_error *err)
{
    return blobs_add(blobs, etag, 0, err);
}

void hc_pointed_blobs_sort(struct hc_pointed_blobs *blobs)
{
    if (blobs->count > 0)
        qsort(blobs->items, blobs->count, sizeof *blobs->items, compare_blobs);
}

int hc_pointed_blobs_fail(const struct hc_directory_walk *walk, struct hc_error *err)
{
    return hc_fail_errno(err, walk->errnum ? walk->errnum : ENAMETOOLONG,
                         "read the pointers of a repo");
}

int hc_pointed_blobs_read(struct hc_pointed_blobs *blobs, struct hc_directory_walk *walk,
                          struct hc_error *err)
{
    int result = 0;

    while (result == 0 && hc_directory_walk_next(walk)) {
        if (S_ISLNK(walk->type))
            result = hc_pointed_blobs_add(blobs, walk, 0, err);
    }
    if (result == 0 && walk->is_incomplete)
        result = hc_pointed_blobs_fail(walk, err);
    hc_directory_walk_end(walk);
    hc_pointed_blobs_sort(blobs);
    return result;
}

static int compare_etag(const void *key, const void *item)
{
    return strcmp(key, ((const struct hc_pointed_blob *)item)->etag);
}

bool hc_pointed_blobs_have(const struct hc_pointed_blobs *blobs, const char *etag)
{
    return blobs->count > 0 && bsearch(etag, blobs->items, blobs->count,
                                       sizeof *blobs->items, compare_etag) != NULL;
}

void hc_pointed_blobs_clear(struct hc_pointed_blobs *blobs)
{
    for (size_t i = 0; i < blobs->count; i++)
        free(blobs->items[i].etag);
    free(blobs->items);
    *blobs = (struct hc_pointed_blobs){0};
}
