/* SPDX-License-Identifier: Apache-2.0 */
/* The rows are sorted, the largest first. Anonymous callers have the name "", and so has
 * the default of the policy. */
#include "fetched_metrics.h"

#include "caller_counts.h"
#include "exposition.h"

/* One metric, of which each row is a sample. */
struct fetched_metric {
    const char *name, *label, *help;
};

static void bytes_write(const struct fetched_metric *metric,
                        const struct hc_named_usages *names, FILE *out)
{
    uint64_t others = 0;

    hc_exposition_head(out, metric->name, "gauge", metric->help);
    for (size_t i = 0; i < names->count; i++) {
        if (i < HC_CALLERS_COUNTED)
            hc_exposition_sample(out, metric->name, metric->label, names->items[i].name,
                                 names->items[i].bytes);
        else
            others += names->items[i].bytes;
    }
    if (names->count > HC_CALLERS_COUNTED)
        hc_exposition_sample(out, metric->name, metric->label, "other", others);
}

static void quotas_write(const struct hc_named_usages *callers, FILE *out)
{
    static const struct fetched_metric metric = {
        "hubcache_caller_quota_bytes", "caller",
        "The quota that counts for a caller, which it may share with others."};

    hc_exposition_head(out, metric.name, "gauge", metric.help);
    for (size_t i = 0; i < callers->count && i < HC_CALLERS_COUNTED; i++) {
        if (callers->items[i].quota_bytes > 0)
            hc_exposition_sample(out, metric.name, metric.label, callers->items[i].name,
                                 callers->items[i].quota_bytes);
    }
}

/* A hc_fetched_usage_fn. */
static void fetched_write(void *ctx, const struct hc_fetched_usage *usage)
{
    static const struct fetched_metric callers = {
        "hubcache_caller_fetched_bytes", "caller",
        "Bytes on the volume that were fetched for a caller; \"other\": for all but the "
        "32 with most."};
    static const struct fetched_metric rules = {
        "hubcache_rule_fetched_bytes", "rule",
        "Bytes on the volume that were fetched by a rule of the policy, likewise."};
    FILE *out = ctx;

    bytes_write(&callers, &usage->callers, out);
    quotas_write(&usage->callers, out);
    bytes_write(&rules, &usage->rules, out);
}

void hc_fetched_metrics_write(struct hc_usage_scanner *scanner, FILE *out)
{
    hc_usage_scanner_read_fetched(scanner, fetched_write, out);
}
