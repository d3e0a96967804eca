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
#ifndef HC_SERVER_ERRAND_H
#define HC_SERVER_ERRAND_H

#include "answer.h"

#include <base/workers.h>

#include <hubcache/cancellation.h>
#include <stdbool.h>

struct hc_errand; /* a piece of work and who waits for it */
struct hc_errands;
struct hc_waiter;

/* What is wanted. Two orders are the same when the first four are. */
struct hc_order {
    const struct hc_errand_type *type;
    const char *token; /* the caller's own Hub token, "" for none */
    const uint8_t *request;
    size_t size;
    uint64_t caller, repo; /* see workers.h */
    bool has_looked;       /* the disk does not answer it */
};

struct hc_errand_type {
    const char *name; /* for logs */
    /*
     * Optional: asks the disk, on a thread for that. True with the answer, NULL when memory
     * is short; false when `run` has to be called.
     */
    bool (*look)(void *ctx, const struct hc_order *order, struct hc_answer **answer);
    /* Asks the Hub, until there is an answer; NULL when memory is short. */
    struct hc_answer *(*run)(void *ctx, const struct hc_order *order,
                             struct hc_cancellation *call, struct hc_errand *errand);
    void *ctx;
};

/*
 * Somebody who waits, inside whatever it is that waits. `done` is called once, from any
 * thread, possibly before hc_errand_join() returns, and never after hc_errand_leave() has
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
    struct hc_errand *errand; /* errand.c's, as the next two */
    struct hc_waiter *next, **here;
};

/* Borrows both pools. */
struct hc_errands *hc_errands_open(struct hc_workers *disk, struct hc_workers *hub,
                                   struct hc_error *err);

/* Waits until all are done. */
void hc_errands_close(struct hc_errands *errands);
HC_DEFINE_AUTO(hc_errands, hc_errands_close)

/* Ends all errands early, and those that are begun later at once. */
void hc_errands_cancel(struct hc_errands *errands);

/* `order` is copied. When it cannot be run, that is what the waiter is told. */
void hc_errand_join(struct hc_errands *errands, const struct hc_order *order,
                    struct hc_waiter *waiter);

/* True: the waiter waits no more. False: it is done, or just being told. */
bool hc_errand_leave(struct hc_errands *errands, struct hc_waiter *waiter);

/* Called by `run`. */
bool hc_errand_is_watched(struct hc_errand *errand);
void hc_errand_tell(struct hc_errand *errand, struct hc_answer *progress);

/* Errands that are not done, and callers who wait for them. */
void hc_errands_count(struct hc_errands *errands, unsigned *unfinished,
                      unsigned *waiting);

#endif
