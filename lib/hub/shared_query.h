/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same query, made by many callers of a process at the same time, is made once: they
 * are a single flight (base/single_flight.h). One caller asks on its own thread, the
 * others wait and share its answer, good or bad. A failure is shared unless it is the
 * asking caller's own: it was cancelled, or its deadline left no time to try again. Then
 * the next caller asks, so that there are as many queries as callers at most. Callable
 * from any thread.
 */
#ifndef HC_HUB_SHARED_QUERY_H
#define HC_HUB_SHARED_QUERY_H

#include "hub.h"

#include <base/single_flight.h>

/* Two are the same when the name is, and all of the credentials but the cancellation.
 * Borrowed. */
struct hc_shared_query {
    const char *name; /* what is asked: all that the answer depends on */
    const struct hc_hub_credentials *credentials;
    size_t answer_size;

    /* Asks; `answer` is zero before, and is shared even when it fails with -1. */
    int (*run)(void *ctx, void *answer, struct hc_error *err);
    void *ctx;

    /* Optional: for answers that are more than their bytes. */
    void (*copy)(void *to, const void *from);
    void (*drop)(void *answer);
};

/* Queries that are being made; ended with hc_single_flights_clear(). */
void hc_shared_queries_init(struct hc_single_flights *queries);

/* What `query->run` returned to the caller that asked; `answer` is the caller's own
 * copy. */
int hc_shared_query_run(struct hc_single_flights *queries,
                        const struct hc_shared_query *query, void *answer,
                        struct hc_error *err);

#endif
