/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of Prefetch: each fetches its snapshots, one after the other, on a thread of a
 * small pool of their own, as requests in the background. A prefetch continues when its
 * caller leaves; it ends with the server.
 */
#ifndef HC_SERVER_CACHE_PREFETCH_H
#define HC_SERVER_CACHE_PREFETCH_H

#include "rpc.h"

#include <base/auto.h>

#include <hubcache/resolver.h>

struct hc_audit;
struct hc_prefetches;

enum {
    HC_PREFETCH_THREADS = 4,
    HC_PREFETCH_QUEUE = 256,
    HC_PREFETCH_SNAPSHOTS_MAX = 100 /* of one call */
};

/* Borrows the resolver. */
struct hc_prefetches *hc_prefetches_open(struct hc_resolver *resolver,
                                         struct hc_error *err);

/* Before the first call. Borrowed: what is fetched leaves its provenance there. NULL:
 * none. */
void hc_prefetches_set_audit(struct hc_prefetches *prefetches, struct hc_audit *audit);

/* Cancels all, now and in future. */
void hc_prefetches_cancel(struct hc_prefetches *prefetches);

/* Waits until they have ended. */
void hc_prefetches_close(struct hc_prefetches *prefetches);
HC_DEFINE_AUTO(hc_prefetches, hc_prefetches_close)

/* Within `start` of the method. */
void hc_prefetches_start(struct hc_prefetches *prefetches, struct hc_rpc_call *call);

struct hc_prefetch_counts {
    unsigned running, queued; /* calls, whose callers may have left */
    uint64_t fetched, failed; /* snapshots since the start */
};

void hc_prefetches_count(struct hc_prefetches *prefetches,
                         struct hc_prefetch_counts *counts);

#endif
