/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the time of one request: taken bit by bit, given back at once. What a small
 * request needs is inside the arena, so that it costs no malloc. One thread.
 */
#ifndef HC_SERVER_ARENA_H
#define HC_SERVER_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

struct hc_arena_chunk;

struct hc_arena {
    ProtobufCAllocator allocator; /* for protobuf-c; frees nothing */
    struct hc_arena_chunk *chunks;
    size_t used;
    alignas(max_align_t) uint8_t room[8192];
};

void hc_arena_init(struct hc_arena *arena);

/* All that was taken is gone. */
void hc_arena_reset(struct hc_arena *arena);

/* NULL: out of memory. */
void *hc_arena_take(struct hc_arena *arena, size_t size);

#endif
