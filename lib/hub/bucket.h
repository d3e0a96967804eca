/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: so many requests, or bytes, a second, with one second's worth at once
 * after a rest. Pure functions, the time is an argument; whoever shares one has a lock.
 */
#ifndef HC_HUB_BUCKET_H
#define HC_HUB_BUCKET_H

#include <stdint.h>

/* Zero but for the rate. */
struct hc_bucket {
    uint64_t per_second;    /* 0: no limit */
    int64_t taken_until_us; /* where the last share that was taken ends */
};

/* How long from `now_ms` until `amount` may be used, if it were taken now. */
int64_t hc_bucket_wait_ms(const struct hc_bucket *bucket, uint64_t amount,
                          int64_t now_ms);

/* Takes it, and says how long to wait before using it. */
int64_t hc_bucket_take(struct hc_bucket *bucket, uint64_t amount, int64_t now_ms);

#endif
