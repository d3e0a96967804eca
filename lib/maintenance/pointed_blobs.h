/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blobs the pointers of a repo lead to: every symlink below snapshots/, of any
 * client, also in a folder that is named like no commit. A blob is unused when no pointer
 * leads to it. Each pointer belongs to a group, which the caller chooses. A value, used
 * by one thread.
 */
#ifndef HC_MAINTENANCE_POINTED_BLOBS_H
#define HC_MAINTENANCE_POINTED_BLOBS_H

#include <base/auto.h>
#include <base/directory.h>
#include <base/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_pointed_blob {
    char *etag;
    uint32_t group; /* of a pointer that leads to it */
};

/* Sorted by etag, and those of an etag by group; an etag and group may be there more than
 * once. */
struct hc_pointed_blobs {
    struct hc_pointed_blob *items;
    size_t count;
    size_t capacity;
};

/* Adds the blob that a pointer leads to. 0 also when the pointer has just vanished, or
 * leads to none. */
int hc_pointed_blobs_add(struct hc_pointed_blobs *blobs,
                         const struct hc_directory_walk *pointer, uint32_t group,
                         struct hc_error *err);

/* Adds a blob to which no pointer needs to lead, in the group 0. */
int hc_pointed_blobs_add_etag(struct hc_pointed_blobs *blobs, const char *etag,
                              struct hc_error *err);

/* After the last of them, and before the first question. */
void hc_pointed_blobs_sort(struct hc_pointed_blobs *blobs);

/*
 * Adds all that the walk finds, in the group 0, and sorts them; ends the walk. -1 also
 * when a directory could not be read: then no blob is known to be unused. The caller
 * clears `blobs` in every case.
 */
int hc_pointed_blobs_read(struct hc_pointed_blobs *blobs, struct hc_directory_walk *walk,
                          struct hc_error *err);

/* Says why a walk is incomplete; -1. */
int hc_pointed_blobs_fail(const struct hc_directory_walk *walk, struct hc_error *err);

bool hc_pointed_blobs_have(const struct hc_pointed_blobs *blobs, const char *etag);

void hc_pointed_blobs_clear(struct hc_pointed_blobs *blobs);
HC_DEFINE_AUTO_VALUE(hc_pointed_blobs, hc_pointed_blobs_clear)

#endif
