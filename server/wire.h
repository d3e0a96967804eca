/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a request become a message, or are refused: bytes that are no message, and
 * strings with a NUL inside. protobuf-c would cut such a string at the NUL, so that
 * "config.json\0../x" would be checked as one name and could be used as another.
 */
#ifndef HC_SERVER_WIRE_H
#define HC_SERVER_WIRE_H

#include "arena.h"

#include <hubcache/error.h>
#include <string.h>

/* Generated structs have `char *` also for what is only read when it is packed. */
static inline char *hc_unconst(const char *text)
{
    char *lent;

    memcpy(&lent, &text, sizeof lent);
    return lent;
}

/* Lives in `arena`. NULL: INVALID_*, with the field, or INTERNAL when memory is short. */
ProtobufCMessage *hc_wire_unpack(const ProtobufCMessageDescriptor *type,
                                 const uint8_t *bytes, size_t size,
                                 struct hc_arena *arena, struct hc_error *err);

#endif
