/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper looks after the revisions that the policy keeps (<hubcache/keep.h>): it asks
 * about each at an interval, and fetches what is behind, on threads of its own. Callable
 * from any thread, but for opening, starting and closing.
 */
#ifndef HC_SERVER_KEEPER_H
#define HC_SERVER_KEEPER_H

#include <base/auto.h>

#include <hubcache/keep.h>

struct hc_audit;
struct hc_keeper;

/* Borrows the resolver. Nothing is asked before the start. */
struct hc_keeper *hc_keeper_open(struct hc_resolver *resolver, int64_t interval_ms,
                                 struct hc_error *err);

/* Before the start. Borrowed: what is fetched leaves its provenance there. NULL: none. */
void hc_keeper_set_audit(struct hc_keeper *keeper, struct hc_audit *audit);

int hc_keeper_start(struct hc_keeper *keeper, struct hc_error *err);

/* Ends what is being asked and fetched, and asks no more. */
void hc_keeper_cancel(struct hc_keeper *keeper);

/* Waits until all that has ended. */
void hc_keeper_close(struct hc_keeper *keeper);
HC_DEFINE_AUTO(hc_keeper, hc_keeper_close)

enum hc_keep_state {
    HC_KEEP_WHOLE,
    HC_KEEP_BEHIND,  /* the new commit is being fetched, or will be */
    HC_KEEP_FAILING, /* the Hub, or the volume, does not let it */
    HC_KEEP_UNKNOWN, /* not asked yet */
    HC_KEEP_STATES
};

enum hc_keep_state hc_keep_state(const struct hc_keep_status *status);

/* "complete", "behind", "failing", "unknown". */
const char *hc_keep_state_name(enum hc_keep_state state);

struct hc_keeper_counts {
    unsigned states[HC_KEEP_STATES];
    int64_t behind_since_ms;     /* of the one that is behind for longest; 0: none is */
    uint64_t rolled_out, failed; /* fetches since the start */
};

void hc_keeper_count(struct hc_keeper *keeper, struct hc_keeper_counts *counts);

/* Fills at most `max` of those that are not whole, and returns how many. */
size_t hc_keeper_list_behind(struct hc_keeper *keeper, struct hc_keep_status *items,
                             size_t max);

#endif
