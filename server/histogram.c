/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two bounds to a power of ten up to ten seconds: a hit takes less than 0.1 ms, an
 * answer of the Hub some 0.1 s, a download minutes or hours.
 */
#include "histogram.h"

#include <inttypes.h>

static const struct {
    int64_t us;
    const char *text; /* in seconds */
} bounds[HC_HISTOGRAM_BOUNDS] = {
    {100, "0.0001"},    {300, "0.0003"},      {1000, "0.001"},      {3000, "0.003"},
    {10000, "0.01"},    {30000, "0.03"},      {100000, "0.1"},      {300000, "0.3"},
    {1000000, "1"},     {3000000, "3"},       {10000000, "10"},     {60000000, "60"},
    {300000000, "300"}, {1800000000, "1800"}, {7200000000, "7200"},
};

void hc_histogram_record(struct hc_histogram *histogram, int64_t us)
{
    size_t i = 0;

    while (i < HC_HISTOGRAM_BOUNDS && us > bounds[i].us)
        i++;
    atomic_fetch_add_explicit(&histogram->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, (uint64_t)us, memory_order_relaxed);
}

/* The counts are read once, so that each bucket has at least those before it. */
void hc_histogram_write(struct hc_histogram *histogram, const char *name,
                        const char *labels, FILE *out)
{
    uint64_t totals[HC_HISTOGRAM_BOUNDS + 1];
    uint64_t total = 0, sum_us;

    for (size_t i = 0; i <= HC_HISTOGRAM_BOUNDS; i++)
        totals[i] = total += atomic_load(&histogram->counts[i]);
    if (total == 0)
        return;
    sum_us = atomic_load(&histogram->sum_us);
    for (size_t i = 0; i < HC_HISTOGRAM_BOUNDS; i++)
        (void)fprintf(out, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, labels,
                      bounds[i].text, totals[i]);
    (void)fprintf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, total);
    (void)fprintf(out, "%s_sum{%s} %" PRIu64 ".%06" PRIu64 "\n", name, labels,
                  sum_us / 1000000, sum_us % 1000000);
    (void)fprintf(out, "%s_count{%s} %" PRIu64 "\n", name, labels, total);
}
