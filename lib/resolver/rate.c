/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of samples.
 */
#include "rate.h"

/* What less time says is chance. */
enum { ENOUGH_MS = 500 };

uint64_t hc_rate_add(struct hc_rate *rate, int64_t now_ms, uint64_t bytes)
{
    unsigned newest = rate->count % HC_RATE_SAMPLES;
    unsigned oldest = rate->count < HC_RATE_SAMPLES ? 0 : (newest + 1) % HC_RATE_SAMPLES;
    int64_t elapsed;

    rate->at_ms[newest] = now_ms;
    rate->bytes[newest] = bytes;
    rate->count++;
    elapsed = now_ms - rate->at_ms[oldest];
    if (elapsed < ENOUGH_MS || bytes < rate->bytes[oldest])
        return 0;
    return (bytes - rate->bytes[oldest]) * 1000 / (uint64_t)elapsed;
}
