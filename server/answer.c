/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One allocation per answer: the struct, the bytes, the text of the message.
 */
#include "answer.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_LENGTH_DELIMITED = 2, VARINT_MAX = 10 };

/* Room for `size` bytes and for `message`, which is copied. */
static struct hc_answer *answer_allocate(size_t size, const char *message)
{
    size_t text = strlen(message) + 1;
    struct hc_answer *answer = malloc(sizeof *answer + size + text);
    uint8_t *room;

    if (!answer)
        return NULL;
    room = (uint8_t *)(answer + 1);
    answer->code = 0;
    answer->reason = HC_OK;
    answer->bytes = room;
    answer->size = size;
    answer->message = memcpy(room + size, message, text);
    atomic_store(&answer->holders, 1);
    return answer;
}

static uint8_t *answer_bytes(struct hc_answer *answer)
{
    return (uint8_t *)(answer + 1);
}

struct hc_answer *hc_answer_new(const ProtobufCMessage *message)
{
    struct hc_answer *answer =
        answer_allocate(protobuf_c_message_get_packed_size(message), "");

    if (answer)
        (void)protobuf_c_message_pack(message, answer_bytes(answer));
    return answer;
}

struct hc_answer *hc_answer_new_failure(unsigned code, enum hc_reason reason,
                                        const char *message,
                                        const ProtobufCMessage *details)
{
    size_t size = details ? protobuf_c_message_get_packed_size(details) : 0;
    struct hc_answer *answer = answer_allocate(size, message);

    if (!answer)
        return NULL;
    answer->code = code;
    answer->reason = reason;
    if (details)
        (void)protobuf_c_message_pack(details, answer_bytes(answer));
    return answer;
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

struct hc_answer *hc_answer_wrap(unsigned number, const struct hc_answer *inner)
{
    uint8_t head[2 * VARINT_MAX];
    size_t used = put_varint(head, number << 3 | WIRE_LENGTH_DELIMITED);
    struct hc_answer *answer;

    used += put_varint(head + used, inner->size);
    answer = answer_allocate(used + inner->size, "");
    if (!answer)
        return NULL;
    memcpy(answer_bytes(answer), head, used);
    memcpy(answer_bytes(answer) + used, inner->bytes, inner->size);
    return answer;
}

struct hc_answer *hc_answer_hold(struct hc_answer *answer)
{
    /* Not relaxed: the last holder may be a thread of gRPC's, and frees it. */
    atomic_fetch_add(&answer->holders, 1);
    return answer;
}

void hc_answer_release(struct hc_answer *answer)
{
    if (answer && atomic_fetch_sub(&answer->holders, 1) == 1)
        free(answer);
}
