/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes per second over the last few seconds, from samples of a counter that only grows.
 */
#ifndef HC_RESOLVER_RATE_H
#define HC_RESOLVER_RATE_H

#include <stdint.h>

enum { HC_RATE_SAMPLES = 17 }; /* four seconds of samples, four a second */

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
