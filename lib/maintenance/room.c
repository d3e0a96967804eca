/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most files have one name, and are counted at once. The others are few.
 */
#include "room.h"

#include <stdlib.h>

enum { BLOCK_SIZE = 512 /* of st_blocks */ };

struct hc_room_entry {
    dev_t dev;
    ino_t ino;
    uint64_t left; /* names */
};

struct hc_room_file hc_room_file_of(const struct stat *status)
{
    return (struct hc_room_file){.dev = status->st_dev,
                                 .ino = status->st_ino,
                                 .bytes = (uint64_t)status->st_blocks * BLOCK_SIZE,
                                 .names = status->st_nlink};
}

static struct hc_room_entry *room_find(struct hc_room *room,
                                       const struct hc_room_file *file)
{
    for (size_t i = 0; i < room->count; i++) {
        if (room->entries[i].ino == file->ino && room->entries[i].dev == file->dev)
            return &room->entries[i];
    }
    return NULL;
}

/* NULL when memory is short. */
static struct hc_room_entry *room_add(struct hc_room *room,
                                      const struct hc_room_file *file)
{
    if (room->count == room->capacity) {
        size_t capacity = room->capacity ? 2 * room->capacity : 16;
        struct hc_room_entry *grown =
            reallocarray(room->entries, capacity, sizeof *room->entries);

        if (!grown)
            return NULL;
        room->entries = grown;
        room->capacity = capacity;
    }
    room->entries[room->count] =
        (struct hc_room_entry){.dev = file->dev, .ino = file->ino, .left = file->names};
    return &room->entries[room->count++];
}

uint64_t hc_room_remove(struct hc_room *room, const struct hc_room_file *file)
{
    struct hc_room_entry *entry;

    if (file->names <= 1)
        return file->bytes;
    entry = room_find(room, file);
    if (!entry)
        entry = room_add(room, file);
    if (!entry)
        return 0;
    if (entry->left > file->names)
        entry->left = file->names;
    return --entry->left == 0 ? file->bytes : 0;
}

void hc_room_clear(struct hc_room *room)
{
    free(room->entries);
    *room = (struct hc_room){0};
}
