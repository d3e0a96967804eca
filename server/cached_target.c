/* SPDX-License-Identifier: Apache-2.0 */
/* The rules may be replaced while the call runs, so it has copies of their texts. */
#include "cached_target.h"

#include <base/error.h>

#include <policy/policy.h>
#include <policy/rules.h>
#include <repo/repo.h>
#include <resolver/resolver.h>
#include <string.h>

static const char *text_copy(struct hc_blocking_call *call, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = hc_arena_take(hc_blocking_call_arena(call), size);

    return copy ? memcpy(copy, text, size) : NULL;
}

int hc_cached_target_replace_alias(const struct hc_cache_service *service,
                                   struct hc_blocking_call *call,
                                   struct hc_target *target, struct hc_error *err)
{
    struct hc_policy *policy = hc_resolver_policy(service->resolver);
    const struct hc_identity *identity = hc_blocking_call_options(call).identity;
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);
    const struct hc_named_revision *alias;
    struct hc_repo repo;
    int found = hc_rules_find_alias(rules, target, &alias, err);

    if (found <= 0)
        return found;
    if (hc_repo_init(&repo, alias->type, alias->repo_id, err) < 0)
        return -1;
    if (!hc_policy_may_see(policy, identity, &repo))
        return 0;
    target->type = alias->type;
    target->id = text_copy(call, alias->repo_id);
    target->revision = text_copy(call, alias->revision);
    return target->id && target->revision ? 0 : hc_fail_memory(err);
}

int hc_cached_target_take(const struct hc_cache_service *service,
                          struct hc_blocking_call *call, struct hc_target *target,
                          struct hc_error *err)
{
    if (hc_cached_target_replace_alias(service, call, target, err) < 0)
        return -1;
    hc_request_set_target(hc_blocking_call_request(call), target, NULL);
    return 0;
}
