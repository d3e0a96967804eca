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
    HC_RECENT_ANSWER_MAX = 2048, /* likewise */
    HC_RECENT_NS = 1000 * 1000 * 1000
};

/* What was asked, and by which caller: a keyed hash of its whole identity, zero for the
 * anonymous ones. Borrowed. */
struct hc_recent_key {
    unsigned method; /* its number */
    uint32_t policy; /* its generation */
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

/* Whether an equal answer was added less than HC_RECENT_NS ago, also one that may not be
 * given again. */
bool hc_recent_answers_have(struct hc_recent_answers *recent,
                            const struct hc_recent_key *key,
                            const struct hc_answer *answer, int64_t now_ns);

/* Holds the answer. A larger one is not kept, nor any if memory is short. */
void hc_recent_answers_add(struct hc_recent_answers *recent,
                           const struct hc_recent_key *key, struct hc_answer *answer,
                           const struct hc_reuse *reuse);

#endif
