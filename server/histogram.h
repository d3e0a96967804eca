/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long things took: a count for each of some ranges of time, from 0.1 ms to two
 * hours, and their sum, as Prometheus' histograms have them. To record is two relaxed
 * atomic additions, from any thread. Zeroed memory is a histogram of nothing.
 */
#ifndef HC_SERVER_HISTOGRAM_H
#define HC_SERVER_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

enum { HC_HISTOGRAM_BOUNDS = 15 };

struct hc_histogram {
    atomic_uint_least64_t counts[HC_HISTOGRAM_BOUNDS + 1]; /* the last: beyond all */
    atomic_uint_least64_t sum_us;
};

void hc_histogram_record(struct hc_histogram *histogram, int64_t us);

/*
 * The samples of one histogram: `labels` as "a=\"b\",c=\"d\"". Nothing if it has recorded
 * nothing.
 */
void hc_histogram_write(struct hc_histogram *histogram, const char *name,
                        const char *labels, FILE *out);

#endif
