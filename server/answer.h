/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to a call, packed once and shared by all calls that get it: a message, or a
 * failure with its details. It is immutable once it is shared; any thread may hold and
 * release it.
 *
 * A failure is the status code of its reason, and a google.rpc.Status that names the
 * repo, the time to wait before a retry, the field at fault and a page to read. It fits
 * into a trailer, whatever the request contained.
 */
#ifndef HC_SERVER_ANSWER_H
#define HC_SERVER_ANSWER_H

#include "request.h"

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
    unsigned retry_ms;     /* of a failure: when to retry; 0: no advice */
    const char *message;   /* of a failure; "" otherwise */
    const uint8_t *bytes;  /* the message, NULL: none; or a Status, perhaps empty */
    size_t size;
    struct hc_answer *tail; /* its bytes are the rest of the message; NULL: none */
    struct hc_answer *next; /* the message that is sent after it; NULL: it is the last.
                                    Either this or `tail` is NULL */
    struct hc_facts facts;
    struct hc_subject *subject; /* of an answer that is kept; else NULL */
    atomic_uint holders;
};

/* Packs `message`. NULL: out of memory, also for the others. */
struct hc_answer *hc_answer_new(const ProtobufCMessage *message);

/* The end of a stream, without a message. */
struct hc_answer *hc_answer_new_end(void);

/* A message of `size` bytes, which the caller writes to `*room` before it is shared. */
struct hc_answer *hc_answer_new_room(size_t size, uint8_t **room);

/* The failure `err`; `target` and `filename` are what the request was about, or NULL. */
struct hc_answer *hc_answer_of_error(const struct hc_error *err,
                                     const struct hc_target *target,
                                     const char *filename);

/* A failure that may have no reason. `details`: a google.rpc.Status, or NULL. */
struct hc_answer *hc_answer_new_failure(unsigned code, enum hc_reason reason,
                                        const char *message,
                                        const ProtobufCMessage *details);

/* A message that has nothing but the message of `inner` as its field `number`. */
struct hc_answer *hc_answer_wrap(unsigned number, const struct hc_answer *inner);

/* Before the answer is shared: the bytes of `tail`, not copied, follow its own. */
void hc_answer_set_tail(struct hc_answer *answer, struct hc_answer *tail);

/* Before the answer is shared: `next`, which it holds, is sent after it. */
void hc_answer_set_next(struct hc_answer *answer, struct hc_answer *next);

/*
 * Before the answer is shared: copies what it is about, for the log of the calls that get
 * it without being decoded. False: memory is short.
 */
bool hc_answer_set_subject(struct hc_answer *answer, const struct hc_subject *subject);

struct hc_answer *hc_answer_hold(struct hc_answer *answer);
void hc_answer_release(struct hc_answer *answer);
HC_DEFINE_AUTO(hc_answer, hc_answer_release)

#endif
