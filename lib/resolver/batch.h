/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches many files of one commit, several at a time, and reports progress. The first
 * failure stops the rest; files that have arrived stay.
 */
#ifndef HC_RESOLVER_BATCH_H
#define HC_RESOLVER_BATCH_H

#include "resolution.h"

enum {
    HC_BATCH_WIDTH_MAX = 64,       /* files of one batch at a time */
    HC_BATCH_BACKGROUND_WIDTH = 4, /* of one that gives way to others */
    HC_RATE_SAMPLES = 17           /* four seconds of samples, four a second */
};

struct hc_batch {
    const struct hc_resolution *resolution; /* with commit and credentials */
    const struct hc_entry **entries;        /* of its tree: the files to fetch */
    size_t count;                           /* at least one */

    /* Optional: is called with what was there `before`, and what has come since. */
    hc_progress_fn progress;
    void *progress_ctx;
    struct hc_progress before;
};

/* Blocks. `*fetched_bytes` is what came from the Hub. */
int hc_batch_fetch(const struct hc_batch *batch, uint64_t *fetched_bytes,
                   struct hc_error *err);

/* Bytes per second over the last few seconds, from samples of a counter that only
 * grows. */
struct hc_rate {
    int64_t at_ms[HC_RATE_SAMPLES];
    uint64_t bytes[HC_RATE_SAMPLES];
    unsigned count; /* samples ever added */
};

/*
 * The rate since the oldest sample that is kept, 0 in the first half a second. Adds one,
 * unless the newest is so young that a burst of them would leave the ring too short.
 */
uint64_t hc_rate_add(struct hc_rate *rate, int64_t now_ms, uint64_t bytes);

#endif
