/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena is a bump pointer into room of its own; what does not fit there goes into
 * chunks of malloc, of which the newest is filled first. A chunk is at least 64 KiB, so
 * that a request of 100,000 short strings costs a few hundred mallocs and not 100,000.
 *
 * protobuf-c checks the bytes (protobuf.dev, "Encoding"), but neither whether a string
 * contains a zero byte, nor how many fields there are, of which one of two bytes takes
 * more than twenty in memory. So the fields are walked before, if there is a zero byte
 * among them or they may be many; a normal request is not walked.
 */
#include "message.h"

#include <base/auto.h>
#include <base/error.h>

#include <assert.h>
#include <stdlib.h>

enum { CHUNK_SIZE = 65536, UNWALKED_MAX = 4096 };

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

/* One secret, so that a reset wipes a few bytes and not all of the arena. */
void *hc_arena_take_secret(struct hc_arena *arena, size_t size)
{
    assert(!arena->secret);
    arena->secret = hc_arena_take(arena, size);
    arena->secret_size = size;
    return arena->secret;
}

static void *arena_allocate(void *arena, size_t size)
{
    return hc_arena_take(arena, size);
}

/* protobuf-c frees what it unpacked halfway: the reset does that. */
static void arena_ignore_free(void *arena, void *taken)
{
    (void)arena;
    (void)taken;
}

/* Only these members are set: to zero the room would cost a hit 8 KiB of writes. */
void hc_arena_init(struct hc_arena *arena)
{
    arena->allocator = (ProtobufCAllocator){.alloc = arena_allocate,
                                            .free = arena_ignore_free,
                                            .allocator_data = arena};
    arena->chunks = NULL;
    arena->used = 0;
    arena->secret = NULL;
}

void hc_arena_reset(struct hc_arena *arena)
{
    if (arena->secret)
        explicit_bzero(hc_take(&arena->secret), arena->secret_size);
    while (arena->chunks) {
        struct hc_arena_chunk *chunk = arena->chunks;

        arena->chunks = chunk->next;
        free(chunk);
    }
    arena->used = 0;
}

/* ---- from bytes to a message ------------------------------------------------------- */

/* The wire types, by their numbers. 3 and 4, groups, are not in proto3. */
enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 };

/* Fields whose failure has a reason of its own; all others are INVALID_OPTIONS. */
static const struct {
    const char *field;
    enum hc_reason reason;
} reasons[] = {
    {"repo_id", HC_INVALID_REPO_ID},         {"revision", HC_INVALID_REVISION},
    {"filename", HC_INVALID_FILENAME},       {"filenames", HC_INVALID_FILENAME},
    {"subfolder", HC_INVALID_FILENAME},      {"allow_patterns", HC_INVALID_PATTERN},
    {"ignore_patterns", HC_INVALID_PATTERN},
};

static int field_refuse(const char *field, struct hc_error *err)
{
    enum hc_reason reason = HC_INVALID_OPTIONS;

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(reasons[i].field, field) == 0)
            reason = reasons[i].reason;
    }
    return hc_fail_field(err, reason, field, "%s contains a NUL byte", field);
}

static int message_refuse(const ProtobufCMessageDescriptor *type, struct hc_error *err)
{
    return hc_fail(err, HC_INVALID_OPTIONS, "the request is no %s", type->name);
}

size_t hc_message_put_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

/* Moves `*at` behind the number. False: the bytes end within it, or it is too long. */
static bool varint_take(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;

        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/*
 * Moves `*at` behind a field's content, and returns where the content begins, without its
 * length. NULL: the bytes end within it, or the wire type is none of proto3's.
 */
static const uint8_t *content_take(const uint8_t **at, const uint8_t *end,
                                   unsigned wire_type)
{
    const uint8_t *content = *at;
    uint64_t size = 0;

    switch (wire_type) {
    case VARINT:
        return varint_take(at, end, &size) ? content : NULL;
    case FIXED64:
        size = 8;
        break;
    case FIXED32:
        size = 4;
        break;
    case DELIMITED:
        if (varint_take(at, end, &size))
            break;
        return NULL;
    default:
        return NULL;
    }
    if (size > (uint64_t)(end - *at))
        return NULL;
    content = *at;
    *at += size;
    return content;
}

bool hc_message_take_field(const uint8_t **at, const uint8_t *end,
                           struct hc_message_field *field)
{
    uint64_t tag;

    field->begin = *at;
    if (!varint_take(at, end, &tag))
        return false;
    field->number = (unsigned)(tag >> 3);
    field->wire_type = tag & 7;
    field->content = content_take(at, end, field->wire_type);
    return field->content;
}

/* `*count` grows by one value. */
static int values_count(unsigned *count, struct hc_error *err)
{
    if ((*count)++ < HC_MESSAGE_FIELDS_MAX)
        return 0;
    return hc_fail(err, HC_INVALID_OPTIONS, "the request has more than %d values",
                   HC_MESSAGE_FIELDS_MAX);
}

/*
 * `*count` grows by the fields of the message and of those in it. As deep as the
 * contract's messages nest: none contains itself.
 */
static int message_walk(/* NOLINT(misc-no-recursion) */
                        const ProtobufCMessageDescriptor *type, const uint8_t *at,
                        const uint8_t *end, unsigned *count, struct hc_error *err)
{
    while (at < end) {
        const ProtobufCFieldDescriptor *known = NULL;
        struct hc_message_field field;

        if (values_count(count, err) < 0)
            return -1;
        if (!hc_message_take_field(&at, end, &field))
            return message_refuse(type, err);
        if (field.wire_type == DELIMITED)
            known = protobuf_c_message_descriptor_get_field(type, field.number);
        if (known && known->type == PROTOBUF_C_TYPE_STRING &&
            memchr(field.content, 0, (size_t)(at - field.content)))
            return field_refuse(known->name, err);
        if (known && known->type == PROTOBUF_C_TYPE_MESSAGE &&
            message_walk(known->descriptor, field.content, at, count, err) < 0)
            return -1;
    }
    return 0;
}

ProtobufCMessage *hc_message_unpack(const ProtobufCMessageDescriptor *type,
                                    const uint8_t *bytes, size_t size,
                                    struct hc_arena *arena, struct hc_error *err)
{
    ProtobufCMessage *message;
    unsigned count = 0;

    if (size > 0 && (size > UNWALKED_MAX || memchr(bytes, 0, size)) &&
        message_walk(type, bytes, bytes + size, &count, err) < 0)
        return NULL;
    message = protobuf_c_message_unpack(type, &arena->allocator, size, bytes);
    if (!message)
        (void)message_refuse(type, err);
    return message;
}
