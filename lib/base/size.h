/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes in bytes, and sums of sizes that a listing, a claim or a server states. Each of
 * them fits 64 bits; a sum need not, and stops at the largest number instead of wrapping.
 */
#ifndef HC_BASE_SIZE_H
#define HC_BASE_SIZE_H

#include <stdint.h>

/* The size of a file is not known yet. No file is that large. */
#define HC_SIZE_UNKNOWN UINT64_MAX

/* `a + b`, or UINT64_MAX when that is more. */
static inline uint64_t hc_size_add(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

#endif
