/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator is SplitMix64, which takes any seed.
 */
#include "random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void random_begin(struct random_source *source, const char *what)
{
    const char *given = getenv("HC_TEST_SEED"); /* NOLINT(concurrency-mt-unsafe) */
    uint64_t seed = 1;

    if (given)
        seed = strtoull(given, NULL, 10);
    else if (getrandom(&seed, sizeof seed, 0) < 0)
        seed = 1;
    printf("%s: HC_TEST_SEED=%" PRIu64 "\n", what, seed);
    (void)fflush(stdout);
    source->state = seed;
}

uint64_t random_next(struct random_source *source)
{
    uint64_t value = source->state += UINT64_C(0x9e3779b97f4a7c15);

    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

uint64_t random_between(struct random_source *source, uint64_t low, uint64_t high)
{
    uint64_t count = high - low + 1;

    return count == 0 ? random_next(source) : low + random_next(source) % count;
}
