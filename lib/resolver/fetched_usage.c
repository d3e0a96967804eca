/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What callers have had fetched, as far as the caller that asks may know it.
 */
#include "resolver.h"

#include <maintenance/fetched_usage.h>

/* Only a caller that may administer every repo sees what others have had fetched. */
int hc_resolver_fetched_usage(struct hc_resolver *resolver,
                              const struct hc_fetch_options *options,
                              struct hc_cancellation *cancellation,
                              struct hc_fetched_usage *usage, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(&resolver->policy);
    const struct hc_identity *identity = options ? options->identity : NULL;
    const char *only = NULL;
    struct hc_error denied;

    if (options &&
        hc_policy_may_administer(&resolver->policy, identity, NULL, &denied) < 0)
        only = identity ? identity->name : "";
    return hc_fetched_usage_read(resolver->cache, rules, only, cancellation, usage, err);
}
