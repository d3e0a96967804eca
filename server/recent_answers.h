/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that may be given again: to the same caller, for the same bytes of a request,
 * as long as the facts that they follow from may be recalled (cache/memo.h). A hit then
 * costs neither decoding, nor policy, nor paths, nor encoding.
 *
 * A fixed number of slots by the hash of the key: a new answer replaces the one before
 * it. Losing an answer costs a resolution. Callable from any thread.
 */
#ifndef HC_SERVER_RECENT_ANSWERS_H
#define HC_SERVER_RECENT_ANSWERS_H

#include "answer.h"

#include <base/auto.h>
#include <base/hash.h>
#include <cache/memo.h>

struct hc_recent_answers;

enum {
    HC_RECENT_ANSWERS = 4096,
    HC_RECENT_REQUEST_MAX = 512, /* bytes; a larger one is not kept */
    HC_RECENT_ANSWER_MAX = 2048  /* likewise */
};

/* What was asked, and by which caller: a keyed hash of its whole identity, zero for the
 * anonymous ones. Borrowed. */
struct hc_recent_key {
    unsigned method; /* its number */
    struct hc_keyed_hash caller;
    const uint8_t *bytes; /* the request's */
    size_t size;
};

struct hc_recent_answers *hc_recent_answers_new(struct hc_error *err);
void hc_recent_answers_free(struct hc_recent_answers *recent);
HC_DEFINE_AUTO(hc_recent_answers, hc_recent_answers_free)

/* The answer, held for the calling function, which releases it; NULL: there is none. */
struct hc_answer *hc_recent_answers_find(struct hc_recent_answers *recent,
                                         const struct hc_recent_key *key, int64_t now_ns);

/* Holds the answer. It is not kept if it may not be given again, or memory is short. */
void hc_recent_answers_add(struct hc_recent_answers *recent,
                           const struct hc_recent_key *key, struct hc_answer *answer,
                           const struct hc_reuse *reuse);

#endif
