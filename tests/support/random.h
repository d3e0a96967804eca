/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers for property tests. Every run has a new seed and prints it; the
 * environment variable HC_TEST_SEED repeats a run. A source belongs to one thread.
 */
#ifndef HC_SUPPORT_RANDOM_H
#define HC_SUPPORT_RANDOM_H

#include <stdint.h>

struct random_source {
    uint64_t state;
};

/* Seeds the source and prints the seed, as "<what>: HC_TEST_SEED=…". */
void random_begin(struct random_source *source, const char *what);

uint64_t random_next(struct random_source *source);

/* A number from `low` to `high`, both included. */
uint64_t random_between(struct random_source *source, uint64_t low, uint64_t high);

#endif
