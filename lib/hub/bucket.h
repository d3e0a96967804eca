/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: so many requests, or bytes, a second, and after a rest one second's
 * worth at once. The bucket is one point in time: the end of the last share that was
 * taken. It never lies more than a second in the past, which is the burst; what it is
 * ahead of now is the wait. Pure functions, the time is an argument; a bucket that
 * threads share is guarded by its owner's lock.
 */
#ifndef HC_HUB_BUCKET_H
#define HC_HUB_BUCKET_H

#include <stdint.h>

/* Zero but for the rate. */
struct hc_bucket {
    uint64_t per_second;    /* 0: no limit */
    int64_t taken_until_us; /* where the last share that was taken ends */
};

/* Where a share of `amount` ends that is taken now. */
static inline int64_t hc_bucket_share_end_us(const struct hc_bucket *bucket,
                                             uint64_t amount, int64_t now_ms)
{
    const int64_t second_us = 1000000;
    int64_t earliest = now_ms * 1000 - second_us;
    int64_t start = bucket->taken_until_us > earliest ? bucket->taken_until_us : earliest;

    return start + (int64_t)(amount * (uint64_t)second_us / bucket->per_second);
}

/* How long from `now_ms` until `amount` may be used, if it were taken now. */
static inline int64_t hc_bucket_wait_ms(const struct hc_bucket *bucket, uint64_t amount,
                                        int64_t now_ms)
{
    int64_t ahead_us;

    if (bucket->per_second == 0)
        return 0;
    ahead_us = hc_bucket_share_end_us(bucket, amount, now_ms) - now_ms * 1000;
    return ahead_us > 0 ? (ahead_us + 999) / 1000 : 0;
}

/* Takes it; how long to wait before using it. */
static inline int64_t hc_bucket_take(struct hc_bucket *bucket, uint64_t amount,
                                     int64_t now_ms)
{
    int64_t wait_ms = hc_bucket_wait_ms(bucket, amount, now_ms);

    if (bucket->per_second > 0)
        bucket->taken_until_us = hc_bucket_share_end_us(bucket, amount, now_ms);
    return wait_ms;
}

/* From now on that rate holds, without what is still to be waited for at the old one. */
static inline void hc_bucket_set_rate(struct hc_bucket *bucket, uint64_t per_second)
{
    if (bucket->per_second != per_second)
        *bucket = (struct hc_bucket){.per_second = per_second};
}

#endif
