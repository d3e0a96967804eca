/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a call, packed once and shared by everybody who gets it: a message, or a
 * failure with its details. Immutable; hold and release from any thread.
 */
#ifndef HC_SERVER_ANSWER_H
#define HC_SERVER_ANSWER_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Codes of google.rpc.Code that no reason of <hubcache/error.h> has. */
enum { HC_CODE_UNIMPLEMENTED = 12 };

struct hc_answer {
    unsigned code;         /* a google.rpc.Code; 0: `bytes` is a message */
    enum hc_reason reason; /* HC_OK also for failures that have no reason */
    const char *message;   /* of a failure; "" otherwise */
    const uint8_t *bytes;  /* the message; or a google.rpc.Status, perhaps empty */
    size_t size;
    atomic_uint holders;
};

/* NULL: out of memory, also for the others. */
struct hc_answer *hc_answer_new(const ProtobufCMessage *message);

/* `details`: a google.rpc.Status, or NULL. */
struct hc_answer *hc_answer_new_failure(unsigned code, enum hc_reason reason,
                                        const char *message,
                                        const ProtobufCMessage *details);

/* A message that has nothing but the message `inner` as its field `number`. */
struct hc_answer *hc_answer_wrap(unsigned number, const struct hc_answer *inner);

struct hc_answer *hc_answer_hold(struct hc_answer *answer);
void hc_answer_release(struct hc_answer *answer);
HC_DEFINE_AUTO(hc_answer, hc_answer_release)

#endif
