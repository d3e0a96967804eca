/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the contract: the bytes of a request become a message in an arena. Bytes
 * that are no message are refused, and so are strings with a NUL inside: protobuf-c would
 * end such a string at the NUL, so that "config.json\0../x" would be checked as one name
 * and could be used as another.
 *
 * An arena is memory for the time of one request: taken bit by bit, freed at once. A
 * small request fits into the struct itself, without a malloc. One thread uses it at a
 * time.
 */
#ifndef HC_SERVER_MESSAGE_H
#define HC_SERVER_MESSAGE_H

#include <base/auto.h>
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

/* Frees everything that was taken, and wipes the secret. */
void hc_arena_reset(struct hc_arena *arena);
HC_DEFINE_AUTO_VALUE(hc_arena, hc_arena_reset)

/* NULL: out of memory. */
void *hc_arena_take(struct hc_arena *arena, size_t size);

/* For a token: once between two resets. */
void *hc_arena_take_secret(struct hc_arena *arena, size_t size);

/* Generated structs have `char *` also for texts that protobuf-c only reads. */
static inline char *hc_unconst(const char *text)
{
    char *writable;

    memcpy(&writable, &text, sizeof writable);
    return writable;
}

/* More than 10,000 file names, or 1,000 patterns of both kinds. */
enum { HC_MESSAGE_FIELDS_MAX = 16384 };

enum { HC_MESSAGE_VARINT_MAX = 10 };

/* protobuf's encoding of numbers: seven bits a byte, the lowest first. Returns how many
 * bytes. */
size_t hc_message_put_varint(uint8_t *out, uint64_t value);

/* One field of a packed message; its content ends where the next field begins. */
struct hc_message_field {
    unsigned number, wire_type;
    const uint8_t *begin, *content; /* its tag, and its content without a length */
};

/* Moves `*at` behind the next field. False: the bytes are no message. */
bool hc_message_take_field(const uint8_t **at, const uint8_t *end,
                           struct hc_message_field *field);

/* Lives in `arena`. NULL: INVALID_*, with the field, or INTERNAL when memory is short. */
ProtobufCMessage *hc_message_unpack(const ProtobufCMessageDescriptor *type,
                                    const uint8_t *bytes, size_t size,
                                    struct hc_arena *arena, struct hc_error *err);

#endif
