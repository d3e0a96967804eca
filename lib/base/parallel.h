/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on numbered items side by side, for items that wait more than they compute, such
 * as files of a volume that is slow. The thread that asks works, too, so the work ends
 * even if the pool is full, and a thread of the pool may ask as well. Callable from any
 * thread.
 */
#ifndef HC_BASE_PARALLEL_H
#define HC_BASE_PARALLEL_H

#include "cancellation.h"
#include "workers.h"

enum { HC_PARALLEL_MAX = 32 /* threads for one piece of work */ };

struct hc_parallel {
    /* Required. */
    struct hc_workers *workers;
    int (*run)(void *ctx, size_t number, struct hc_error *err); /* by several threads */
    void *ctx;

    uint64_t repo;                        /* a hash, by which the pool is shared */
    struct hc_cancellation *cancellation; /* Optional. */
};

/* Calls `run` once for each number from 0 to `count` - 1. -1 as the first call that
 * failed, or when it is cancelled: then some numbers may be left out. */
int hc_parallel_run(const struct hc_parallel *parallel, size_t count,
                    struct hc_error *err);

#endif
