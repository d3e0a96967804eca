/* SPDX-License-Identifier: Apache-2.0 */
/* A denial costs a line of the log, beside which the lock and the search are little. */
#include "denial_counts.h"

#include "exposition.h"

#include <base/auto.h>
#include <base/text.h>

#include <inttypes.h>
#include <string.h>

void hc_denial_counts_add(struct hc_denial_counts *counts, const char *rule)
{
    size_t i = *rule ? 0 : HC_DENIALS_COUNTED;
    HC_LOCKED(&counts->lock);

    while (i < counts->count && strcmp(counts->items[i].rule, rule) != 0)
        i++;
    if (i == counts->count && i < HC_DENIALS_COUNTED) {
        (void)hc_format(counts->items[i].rule, sizeof counts->items[i].rule, "%s", rule);
        counts->count++;
    }
    counts->items[i].denials++;
}

void hc_denial_counts_write(struct hc_denial_counts *counts, FILE *out)
{
    HC_LOCKED(&counts->lock);

    hc_exposition_head(out, "hubcache_policy_denials_total", "counter",
                       "Calls that failed with POLICY_DENIED, by rule; rule \"\": by all "
                       "but the first 64.");
    for (size_t i = 0; i <= HC_DENIALS_COUNTED; i++) {
        if (counts->items[i].denials == 0)
            continue;
        (void)fputs("hubcache_policy_denials_total{rule=\"", out);
        hc_exposition_label(out, counts->items[i].rule);
        (void)fprintf(out, "\"} %" PRIu64 "\n", counts->items[i].denials);
    }
}
