/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of samples.
 */
#include "rate.h"

/* What less time says is chance. Samples are taken four times a second. */
enum { ENOUGH_MS = 500, APART_MS = 200 };

static void rate_add_sample(struct hc_rate *rate, int64_t now_ms, uint64_t bytes)
{
    unsigned newest = (rate->count - 1) % HC_RATE_SAMPLES;
    unsigned next = rate->count % HC_RATE_SAMPLES;

    if (rate->count > 0 && now_ms - rate->at_ms[newest] < APART_MS)
        return;
    rate->at_ms[next] = now_ms;
    rate->bytes[next] = bytes;
    rate->count++;
}

uint64_t hc_rate_add(struct hc_rate *rate, int64_t now_ms, uint64_t bytes)
{
    unsigned oldest;
    int64_t elapsed;

    rate_add_sample(rate, now_ms, bytes);
    oldest = rate->count < HC_RATE_SAMPLES ? 0 : rate->count % HC_RATE_SAMPLES;
    elapsed = now_ms - rate->at_ms[oldest];
    if (elapsed < ENOUGH_MS || bytes < rate->bytes[oldest])
        return 0;
    bytes -= rate->bytes[oldest];
    if (bytes <= UINT64_MAX / 1000)
        return bytes * 1000 / (uint64_t)elapsed;
    bytes /= (uint64_t)elapsed; /* some claim of another process says so */
    return bytes > UINT64_MAX / 1000 ? UINT64_MAX : bytes * 1000;
}
