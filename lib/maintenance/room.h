/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much room the removal of files frees. A file with several names (hard links, or the
 * symlinks of several repos to one payload of the shared store) frees its room with the
 * last of them. Blocks that filesystems share between clones cannot be told, and count as
 * if each clone had its own. A value, used by one thread.
 */
#ifndef HC_MAINTENANCE_ROOM_H
#define HC_MAINTENANCE_ROOM_H

#include <base/auto.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* A file that loses one of its names. */
struct hc_room_file {
    dev_t dev;
    ino_t ino;
    uint64_t bytes; /* that it takes */
    uint64_t names; /* that it has; UINT64_MAX: unknown, and its room is never freed */
};

/* With the number of its hard links. */
struct hc_room_file hc_room_file_of(const struct stat *status);

struct hc_room_entry; /* a file with several names */

struct hc_room {
    struct hc_room_entry *entries;
    size_t count;
    size_t capacity;
};

/* Bytes that become free when one more name of the file goes. 0 also when memory is
 * short. */
uint64_t hc_room_remove(struct hc_room *room, const struct hc_room_file *file);

void hc_room_clear(struct hc_room *room);
HC_DEFINE_AUTO_VALUE(hc_room, hc_room_clear)

#endif
