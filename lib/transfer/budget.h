/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection budget: how many connections all transfers of a process may have open
 * for bytes, and so how much memory they need. Each transfer has one; more only while no
 * transfer waits for its first. That is also a bound on the threads of large blobs: one
 * for each connection.
 *
 * A connection counts for the caller, the repo and the storage host of its transfer. Of
 * the transfers that wait for a first connection, the one whose three have the fewest
 * goes first. A connection is idle as long as it brings nothing: no byte of it has come
 * in the last second. A repo gets no further connection while it has as many idle ones as
 * there are others, a caller or host while it has three times as many; unless a transfer
 * of theirs has ended well in the last second. So a stalled repo has half of them at
 * most, a stalled host three quarters, and the last ones are for the others; while
 * transfers that bring bytes may have all.
 *
 * A transfer that is in the background gives way: it waits behind all others, and while
 * another one has or wants a connection, those in the background have an eighth of them
 * together, one at least, and no second ones; but the first one of each that runs stays.
 *
 * Callable from any thread.
 */
#ifndef HC_TRANSFER_BUDGET_H
#define HC_TRANSFER_BUDGET_H

#include <base/auto.h>
#include <base/cancellation.h>
#include <base/error.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct hc_budget;

enum hc_budget_key { HC_BUDGET_CALLER, HC_BUDGET_REPO, HC_BUDGET_HOST, HC_BUDGET_KEYS };

/* The connections of one transfer. The transfer fills the first three members. */
struct hc_budget_share {
    uint64_t keys[HC_BUDGET_KEYS];  /* hashes; 0: not known, and no limit */
    uint64_t (*arrived)(void *ctx); /* bytes of the transfer so far */
    void *ctx;
    const atomic_uint *hurried; /* callers that wait for it; 0: it is in the background,
                                   as it is now. NULL: it never is */
    struct {                    /* the budget's, under its lock */
        TAILQ_ENTRY(hc_budget_share) link;
        pthread_cond_t changed;
        unsigned held;
        bool is_idle;
        uint64_t seen;    /* bytes, */
        int64_t moved_ms; /* when there were more than before; 0: never */
    } budget;
};

struct hc_budget *hc_budget_new(unsigned connections, struct hc_error *err);
void hc_budget_free(struct hc_budget *budget);
HC_DEFINE_AUTO(hc_budget, hc_budget_free)

/* All there are, taken or not; and those that are taken. */
unsigned hc_budget_size(const struct hc_budget *budget);
unsigned hc_budget_used(struct hc_budget *budget);

/* Transfers that wait for their first one. */
unsigned hc_budget_waiting(struct hc_budget *budget);

/* A transfer's first connection: waits until the budget gives one, or `cancellation` ends
 * the wait. */
int hc_budget_take(struct hc_budget *budget, struct hc_budget_share *share,
                   struct hc_cancellation *cancellation, struct hc_error *err);

/* One more: false when there is none, or another transfer comes first. */
bool hc_budget_try_take(struct hc_budget *budget, struct hc_budget_share *share);

/* Whether another transfer waits for its first connection, and may have one, or this one
 * has to give way: then it gives one back, if it has more than one. */
bool hc_budget_is_contended(struct hc_budget *budget,
                            const struct hc_budget_share *share);

/* Some, but not the last. */
void hc_budget_give_back(struct hc_budget *budget, struct hc_budget_share *share,
                         unsigned count);

/* All of them. The budget remembers whether the transfer went well, and from which host
 * the repo's bytes came, unless that is 0. */
void hc_budget_release(struct hc_budget *budget, struct hc_budget_share *share,
                       uint64_t host, bool went_well);

#endif
