/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same question, asked by many callers of a process at the same time, is asked once:
 * one of them asks on its own thread, the others wait and share what it heard, good or
 * bad. An asker who leaves early, or who had not the patience to try again, speaks for
 * itself only: then the next one asks. Callable from any thread.
 */
#ifndef HC_HUB_SHARED_QUERY_H
#define HC_HUB_SHARED_QUERY_H

#include "hub.h"

struct hc_shared_queries; /* those being asked just now */

/* Two are the same when the name is, and all of the caller but its call. Borrowed. */
struct hc_shared_query {
    const char *name; /* what is asked: all that the answer depends on */
    const struct hc_hub_credentials
        *credentials; /* on whose behalf, and for how long it waits */
    size_t answer_size;

    /* Asks; `answer` is zero before, and is shared even when it fails with -1. */
    int (*ask)(void *ctx, void *answer, struct hc_error *err);
    void *ctx;

    /* Optional: for answers that are more than their bytes. */
    void (*copy)(void *to, const void *from);
    void (*drop)(void *answer);
};

struct hc_shared_queries *hc_shared_queries_new(struct hc_error *err);

/* Nobody may be asking. */
void hc_shared_queries_free(struct hc_shared_queries *queries);
HC_DEFINE_AUTO(hc_shared_queries, hc_shared_queries_free)

/* What `like->ask` returned to whoever asked; `answer` is the caller's own copy. */
int hc_shared_queries_run(struct hc_shared_queries *queries,
                          const struct hc_shared_query *like, void *answer,
                          struct hc_error *err);

/* How many callers ask or wait right now. */
unsigned hc_shared_queries_waiters(struct hc_shared_queries *queries);

#endif
