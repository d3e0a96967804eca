/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callers that want the same thing wait for it together, without a thread each: the first
 * one makes an errand; callers that ask for the same before it is done get its answer too.
 * An errand goes on as long as a caller waits for it, until the latest of their deadlines;
 * when the last one leaves, it is cancelled, and leaves the queue it is in at once.
 *
 * There are two pools of threads, so that work on the disk never waits for the Hub: an
 * errand first looks at the disk, in the one; only if that does not answer it, it is
 * queued for the other, to ask the Hub. Callable from any thread.
 */
#ifndef HC_SERVER_COALESCER_H
#define HC_SERVER_COALESCER_H

#include "answer.h"

#include <base/workers.h>

#include <hubcache/cancellation.h>
#include <stdbool.h>

struct hc_coalesced_request; /* a piece of work and who waits for it */
struct hc_coalescer;
struct hc_waiter;

/* What is wanted. Two orders are the same when the first four are. */
struct hc_request_key {
    const struct hc_request_kind *kind;
    const char *token; /* the caller's own Hub token, "" for none */
    const uint8_t *request;
    size_t size;
    uint64_t caller, repo; /* see workers.h */
    bool was_looked_up;    /* the disk does not answer it */
};

struct hc_request_kind {
    const char *name; /* for logs */
    /*
     * Optional: asks the disk, on a thread for that. True with the answer, NULL when memory
     * is short; false when `run` has to be called.
     */
    bool (*look)(void *ctx, const struct hc_request_key *key, struct hc_answer **answer);
    /* Asks the Hub, until there is an answer; NULL when memory is short. */
    struct hc_answer *(*run)(void *ctx, const struct hc_request_key *key,
                             struct hc_cancellation *cancellation,
                             struct hc_coalesced_request *request);
    void *ctx;
};

/*
 * Somebody who waits, inside whatever it is that waits. `done` is called once, from any
 * thread, possibly before hc_coalescer_join() returns, and never after hc_coalescer_leave() has
 * said true; after it the waiter is not touched any more. The other three are called for
 * those with wants_progress: hold keeps the waiter's memory alive until release.
 */
struct hc_waiter_type {
    void (*done)(struct hc_waiter *waiter, struct hc_answer *answer);
    void (*progress)(struct hc_waiter *waiter, struct hc_answer *answer);
    void (*hold)(struct hc_waiter *waiter);
    void (*release)(struct hc_waiter *waiter);
};

struct hc_waiter {
    const struct hc_waiter_type *type;
    int64_t deadline_ms; /* of the monotonic clock */
    bool wants_progress;
    struct hc_coalesced_request *request; /* errand.c's, as the next two */
    struct hc_waiter *next, **here;
};

/* Borrows both pools. */
struct hc_coalescer *hc_coalescer_open(struct hc_workers *disk, struct hc_workers *hub,
                                       struct hc_error *err);

/* Waits until all are done. */
void hc_coalescer_close(struct hc_coalescer *coalescer);
HC_DEFINE_AUTO(hc_coalescer, hc_coalescer_close)

/* Ends all errands early, and those that are begun later at once. */
void hc_coalescer_cancel(struct hc_coalescer *coalescer);

/* `order` is copied. When it cannot be run, that is what the waiter is told. */
void hc_coalescer_join(struct hc_coalescer *coalescer, const struct hc_request_key *key,
                       struct hc_waiter *waiter);

/* True: the waiter waits no more. False: it is done, or just being told. */
bool hc_coalescer_leave(struct hc_coalescer *coalescer, struct hc_waiter *waiter);

/* Called by `run`. */
bool hc_coalesced_request_is_watched(struct hc_coalesced_request *request);
void hc_coalesced_request_send_progress(struct hc_coalesced_request *request,
                                        struct hc_answer *progress);

/* Errands that are not done, and callers who wait for them. */
void hc_coalescer_count(struct hc_coalescer *coalescer, unsigned *unfinished,
                        unsigned *waiting);

#endif
