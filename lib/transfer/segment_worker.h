/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection's part in a transfer: takes a span of what is missing, brings it, takes
 * the next, and survives what happens to connections.
 */
#ifndef HC_TRANSFER_SEGMENT_WORKER_H
#define HC_TRANSFER_SEGMENT_WORKER_H

#include "byte_source.h"

/* What the workers of one transfer share. */
struct hc_segment_workers {
    struct hc_byte_source *source;
    uint64_t share_of; /* a span is about this part of what is missing; 1: all of it */
    /* Whether this worker may go now: for `failure`, or, with NULL, between spans. */
    bool (*may_leave)(void *ctx, const struct hc_error *failure);
    void *ctx;
};

enum { HC_SEGMENT_WORKER_DONE = 0, HC_SEGMENT_WORKER_LEFT = 1 };

/*
 * Until nothing is left to take (HC_SEGMENT_WORKER_DONE), it was let go (HC_SEGMENT_WORKER_LEFT), or it
 * gave up (-1). What it brought stays.
 */
int hc_segment_worker_run(const struct hc_segment_workers *workers, struct hc_error *err);

#endif
