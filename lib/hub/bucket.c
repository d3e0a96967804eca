/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bucket is one point in time: where the last taker's share ends. It never lies more
 * than a second in the past, which is the burst; what it is ahead of now is the wait.
 */
#include "bucket.h"

enum { SECOND_US = 1000000 };

static int64_t bucket_share_end_us(const struct hc_bucket *bucket, uint64_t amount,
                                   int64_t now_ms)
{
    int64_t earliest = now_ms * 1000 - SECOND_US;
    int64_t start = bucket->taken_until_us > earliest ? bucket->taken_until_us : earliest;

    return start + (int64_t)(amount * SECOND_US / bucket->per_second);
}

int64_t hc_bucket_wait_ms(const struct hc_bucket *bucket, uint64_t amount, int64_t now_ms)
{
    int64_t ahead_us;

    if (bucket->per_second == 0)
        return 0;
    ahead_us = bucket_share_end_us(bucket, amount, now_ms) - now_ms * 1000;
    return ahead_us > 0 ? (ahead_us + 999) / 1000 : 0;
}

int64_t hc_bucket_take(struct hc_bucket *bucket, uint64_t amount, int64_t now_ms)
{
    int64_t wait_ms = hc_bucket_wait_ms(bucket, amount, now_ms);

    if (bucket->per_second > 0)
        bucket->taken_until_us = bucket_share_end_us(bucket, amount, now_ms);
    return wait_ms;
}
