/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most files have one name, and are counted at once. The others are few.
 */
#include "room.h"

#include <stdlib.h>

enum { BLOCK_SIZE = 512 /* of st_blocks */ };

struct hc_room_file {
    dev_t dev;
    ino_t ino;
    uint64_t removed; /* names */
};

static struct hc_room_file *room_find(struct hc_room *room, const struct stat *status)
{
    for (size_t i = 0; i < room->count; i++) {
        if (room->files[i].ino == status->st_ino && room->files[i].dev == status->st_dev)
            return &room->files[i];
    }
    return NULL;
}

/* NULL when memory is short. */
static struct hc_room_file *room_add(struct hc_room *room, const struct stat *status)
{
    if (room->count == room->capacity) {
        size_t capacity = room->capacity ? 2 * room->capacity : 16;
        struct hc_room_file *grown =
            reallocarray(room->files, capacity, sizeof *room->files);

        if (!grown)
            return NULL;
        room->files = grown;
        room->capacity = capacity;
    }
    room->files[room->count] =
        (struct hc_room_file){.dev = status->st_dev, .ino = status->st_ino};
    return &room->files[room->count++];
}

uint64_t hc_room_remove(struct hc_room *room, const struct stat *status, uint64_t names)
{
    uint64_t bytes = (uint64_t)status->st_blocks * BLOCK_SIZE;
    struct hc_room_file *file;

    if (names <= 1)
        return bytes;
    file = room_find(room, status);
    if (!file)
        file = room_add(room, status);
    return file && ++file->removed == names ? bytes : 0;
}

void hc_room_clear(struct hc_room *room)
{
    free(room->files);
    *room = (struct hc_room){0};
}
