/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at the volume costs a system call for each repo. An older one will do while half
 * of the quota is left; otherwise other replicas may have fetched the rest since, or
 * blobs may have been removed, and it is looked at once more.
 */
#include "quota.h"

#include <base/error.h>
#include <base/text.h>

#include <inttypes.h>
#include <stdio.h>

/* The callers that share the quota of one of them. */
struct quota_callers {
    const struct hc_rules *rules;
    const struct hc_quota *quota;
};

/* For a caller with several quotas, the first counts. */
static bool quota_counts(const void *ctx, const struct hc_identity *identity)
{
    const struct quota_callers *callers = ctx;

    return hc_rules_find_quota(callers->rules, identity) == callers->quota;
}

/* "'alice', 'group:research' and 2 more" */
static void quota_describe(const struct hc_quota *quota, char *text, size_t size)
{
    const struct hc_strings *texts = &quota->callers.texts;

    if (texts->count == 0)
        (void)snprintf(text, size, "all callers");
    else if (texts->count == 1)
        (void)snprintf(text, size, "'%.80s'", texts->items[0]);
    else
        (void)snprintf(text, size, "'%.80s' and %zu more", texts->items[0],
                       texts->count - 1);
}

static int quota_fail(const struct hc_quota *quota,
                      const struct hc_fetched_balance *balance, struct hc_error *err)
{
    uint64_t left = quota->bytes > balance->used ? quota->bytes - balance->used : 0;
    char callers[128];

    quota_describe(quota, callers, sizeof callers);
    (void)hc_fail(err, HC_NO_SPACE,
                  "the quota of %s (line %u of the policy) is %" PRIu64
                  " bytes, of which %" PRIu64 " are used; this download needs %" PRIu64
                  ": remove revisions that were fetched for these callers, or have the "
                  "quota raised",
                  callers, quota->line, quota->bytes, balance->used, balance->needed);
    err->needed_bytes = balance->needed;
    err->free_bytes = left;
    err->limit_bytes = quota->bytes;
    (void)hc_format(err->rule, sizeof err->rule, "%s", HC_QUOTA_RULE);
    return -1;
}

int hc_quota_reserve(const struct hc_cache *cache, const struct hc_rules *rules,
                     const struct hc_fetched_request *request,
                     struct hc_cancellation *cancellation,
                     struct hc_fetched_reservation **reservation, struct hc_error *err)
{
    static const struct {
        int64_t age_ms;
        uint64_t parts; /* of which the download may use one */
    } looks[] = {{HC_QUOTA_AGE_MS, 2}, {0, 1}};
    const struct hc_quota *quota =
        rules ? hc_rules_find_quota(rules, request->identity) : NULL;
    const struct quota_callers callers = {rules, quota};
    struct hc_fetched_request judged = *request;
    struct hc_fetched_balance balance;
    int reserved = 0;

    *reservation = NULL;
    if (!quota)
        return 0;
    judged.counts = quota_counts;
    judged.ctx = &callers;
    for (size_t i = 0; i < sizeof looks / sizeof *looks && reserved == 0; i++) {
        if (hc_fetched_totals_refresh(cache, looks[i].age_ms, cancellation, err) < 0)
            return -1;
        judged.limit = quota->bytes / looks[i].parts;
        reserved = hc_fetched_reserve(cache, &judged, &balance, reservation, err);
    }
    if (reserved == 0)
        return quota_fail(quota, &balance, err);
    return reserved < 0 ? -1 : 0;
}
