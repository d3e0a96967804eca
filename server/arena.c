/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bump pointer into the arena's own room; what does not fit there is chunks of malloc,
 * of which the newest is filled first. A chunk is at least as large as the room, so that
 * a request of 100,000 short strings is a few hundred mallocs and not 100,000.
 */
#include "arena.h"

#include <stdlib.h>

enum { CHUNK_SIZE = 65536 };

struct hc_arena_chunk {
    struct hc_arena_chunk *next;
    size_t used, size;
    alignas(max_align_t) uint8_t room[];
};

static size_t size_rounded(size_t size)
{
    return (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

static struct hc_arena_chunk *arena_add_chunk(struct hc_arena *arena, size_t size)
{
    size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;
    struct hc_arena_chunk *chunk = malloc(sizeof *chunk + room);

    if (!chunk)
        return NULL;
    chunk->next = arena->chunks;
    chunk->used = 0;
    chunk->size = room;
    arena->chunks = chunk;
    return chunk;
}

void *hc_arena_take(struct hc_arena *arena, size_t size)
{
    struct hc_arena_chunk *chunk = arena->chunks;
    void *taken;

    size = size_rounded(size);
    if (size <= sizeof arena->room - arena->used) {
        taken = arena->room + arena->used;
        arena->used += size;
        return taken;
    }
    if (!chunk || size > chunk->size - chunk->used)
        chunk = arena_add_chunk(arena, size);
    if (!chunk)
        return NULL;
    taken = chunk->room + chunk->used;
    chunk->used += size;
    return taken;
}

static void *arena_allocate(void *arena, size_t size)
{
    return hc_arena_take(arena, size);
}

static void arena_ignore_free(void *arena, void *taken)
{
    (void)arena;
    (void)taken;
}

void hc_arena_init(struct hc_arena *arena)
{
    arena->allocator = (ProtobufCAllocator){.alloc = arena_allocate,
                                            .free = arena_ignore_free,
                                            .allocator_data = arena};
    arena->chunks = NULL;
    arena->used = 0;
}

void hc_arena_reset(struct hc_arena *arena)
{
    while (arena->chunks) {
        struct hc_arena_chunk *chunk = arena->chunks;

        arena->chunks = chunk->next;
        free(chunk);
    }
    arena->used = 0;
}
