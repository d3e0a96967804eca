/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repo that a request of the service Cache names. An alias of the policy is what it
 * stands for, so that the repo can be listed, pinned and removed by the name that callers
 * resolve. Callable from any thread.
 */
#ifndef HC_SERVER_CACHED_TARGET_H
#define HC_SERVER_CACHED_TARGET_H

#include "blocking_call.h"
#include "service_cache.h"

/*
 * Puts the repo and the revision that an alias stands for into `target`; their texts are
 * the call's. An alias of a repo that the policy hides from the caller is none, so that
 * no failure names the repo. -1: INVALID_REVISION: `target` names another revision, too.
 */
int hc_cached_target_replace_alias(const struct hc_cache_service *service,
                                   struct hc_blocking_call *call,
                                   struct hc_target *target, struct hc_error *err);

/* The same, for the repo that the call is about in the log. */
int hc_cached_target_take(const struct hc_cache_service *service,
                          struct hc_blocking_call *call, struct hc_target *target,
                          struct hc_error *err);

#endif
