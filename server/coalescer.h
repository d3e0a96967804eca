/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coalescer lets equal calls share one piece of work, without a thread for each call:
 * the first call makes a coalesced request; later calls with an equal key join it, and
 * get its answer too. The work runs as long as a call waits for it, until the latest of
 * their deadlines. When the last call leaves, the work is cancelled, or taken out of its
 * queue.
 *
 * There are two pools of threads, so that work on the disk never waits for the Hub: a
 * coalesced request first looks at the disk, in one pool. Only if the disk does not
 * answer it, it is queued for the other pool, to ask the Hub. Callable from any thread.
 */
#ifndef HC_SERVER_COALESCER_H
#define HC_SERVER_COALESCER_H

#include "answer.h"

#include <base/workers.h>

#include <hubcache/cancellation.h>
#include <stdbool.h>

enum {
    HC_WAITING_MAX = 32768,                 /* calls; three quarters for one caller */
    HC_WAITING_BYTES_MAX = 64 * 1024 * 1024 /* of their requests */
};

struct hc_coalesced_request; /* a piece of work and the calls that wait for it */
struct hc_coalescer;
struct hc_resolve_kind;
struct hc_waiter;

/*
 * Identifies the work. Two keys are equal when their first six members are: what calls
 * share is what the same identity, with the same Hub token, may have by one policy.
 */
struct hc_request_key {
    const struct hc_resolve_kind *kind;
    const char *token;          /* the caller's own Hub token, "" for none */
    struct hc_caller *identity; /* NULL: anonymous */
    const uint8_t *request;
    size_t size;
    uint32_t policy;       /* hc_resolver_policy_generation() when the call arrived */
    uint64_t caller, repo; /* hashes, which base/workers.h shares the pools by */
    bool was_looked_up;    /* the disk does not answer it */
    struct hc_trace trace; /* of the call that begins the work */
};

/* The work of every coalesced request. */
struct hc_coalescer_work {
    /*
     * Optional: looks at the disk, on a thread of that pool. True: `*answer` is set, to
     * NULL when memory is short. False: the Hub has to be asked.
     */
    bool (*look)(void *ctx, const struct hc_request_key *key, struct hc_answer **answer);
    /* Asks the Hub, and returns the answer or a failure; NULL when memory is short. */
    struct hc_answer *(*run)(void *ctx, const struct hc_request_key *key,
                             struct hc_cancellation *cancellation,
                             struct hc_coalesced_request *request);
    void *ctx;
};

/*
 * A call that waits; the service embeds it in its own struct of the call. `done` is
 * called once, from any thread, possibly before hc_coalescer_join() returns, and never
 * after hc_coalescer_leave() has returned true; afterwards the coalescer does not touch
 * the waiter. The other three are called for waiters with wants_progress: `hold` keeps
 * the waiter's memory alive until `release`.
 */
struct hc_waiter_type {
    void (*done)(struct hc_waiter *waiter, struct hc_answer *answer);
    void (*progress)(struct hc_waiter *waiter, struct hc_answer *answer);
    void (*hold)(struct hc_waiter *waiter);
    void (*release)(struct hc_waiter *waiter);
};

struct hc_waiter {
    const struct hc_waiter_type *type;
    uint64_t caller;     /* a hash: its calls share a bound */
    int64_t deadline_ms; /* of the monotonic clock */
    bool wants_progress;
    struct hc_coalesced_request *request; /* the coalescer's, as the next two */
    struct hc_waiter *next, **here;
};

/* Borrows all three. */
struct hc_coalescer *hc_coalescer_open(struct hc_workers *disk, struct hc_workers *hub,
                                       const struct hc_coalescer_work *work,
                                       struct hc_error *err);

/* Waits until every coalesced request is done. */
void hc_coalescer_close(struct hc_coalescer *coalescer);
HC_DEFINE_AUTO(hc_coalescer, hc_coalescer_close)

/* Cancels all coalesced requests, now and in future. */
void hc_coalescer_cancel(struct hc_coalescer *coalescer);

/*
 * `key` is copied. When the work cannot be queued, or too many calls wait, the waiter
 * gets that failure, BUSY.
 */
void hc_coalescer_join(struct hc_coalescer *coalescer, const struct hc_request_key *key,
                       struct hc_waiter *waiter);

/* True: `done` will not be called. False: `done` was called, or is being called. */
bool hc_coalescer_leave(struct hc_coalescer *coalescer, struct hc_waiter *waiter);

/* The work calls these: whether a waiter wants progress, and to send some to them all. */
bool hc_coalesced_request_is_watched(struct hc_coalesced_request *request);
void hc_coalesced_request_send_progress(struct hc_coalesced_request *request,
                                        struct hc_answer *progress);

/* Coalesced requests that are not done, and calls that wait for them. */
void hc_coalescer_count(struct hc_coalescer *coalescer, unsigned *unfinished,
                        unsigned *waiting);

#endif
