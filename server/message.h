/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the contract: the bytes of a request become a message in an arena, or are
 * refused: bytes that are no message, and strings with a NUL inside. protobuf-c would cut
 * such a string at the NUL, so that "config.json\0../x" would be checked as one name and
 * could be used as another.
 *
 * An arena is memory for the time of one request: taken bit by bit, given back at once. It
 * holds what a small request needs inside itself, at no malloc. One thread uses it.
 */
#ifndef HC_SERVER_MESSAGE_H
#define HC_SERVER_MESSAGE_H

#include <hubcache/error.h>
#include <protobuf-c/protobuf-c.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct hc_arena_chunk;

struct hc_arena {
    ProtobufCAllocator allocator; /* for protobuf-c; frees nothing */
    struct hc_arena_chunk *chunks;
    size_t used;
    void *secret; /* NULL: none */
    size_t secret_size;
    alignas(max_align_t) uint8_t room[8192];
};

void hc_arena_init(struct hc_arena *arena);

/* All that was taken is gone, and the secret wiped. */
void hc_arena_reset(struct hc_arena *arena);

/* NULL: out of memory. */
void *hc_arena_take(struct hc_arena *arena, size_t size);

/* For a token, once until the reset. */
void *hc_arena_take_secret(struct hc_arena *arena, size_t size);

/* Generated structs have `char *` also for what is only read when it is packed. */
static inline char *hc_unconst(const char *text)
{
    char *writable;

    memcpy(&writable, &text, sizeof writable);
    return writable;
}

/* Lives in `arena`. NULL: INVALID_*, with the field, or INTERNAL when memory is short. */
ProtobufCMessage *hc_message_unpack(const ProtobufCMessageDescriptor *type,
                                    const uint8_t *bytes, size_t size,
                                    struct hc_arena *arena, struct hc_error *err);

#endif
