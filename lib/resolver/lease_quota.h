/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many leases each caller has, so that one caller cannot fill the volume with them.
 * A process counts the leases that it gives; of those that other replicas give, and of
 * those that end by themselves, it learns by a look at the volume, which it takes when a
 * caller seems to have too many, and every ten seconds at most. So the leases of a caller
 * are limited at each replica. Callable from any thread.
 */
#ifndef HC_RESOLVER_LEASE_QUOTA_H
#define HC_RESOLVER_LEASE_QUOTA_H

#include <cache/cache.h>
#include <hubcache/lease.h>

#include <stdbool.h>

enum { HC_LEASES_COUNTED_EVERY_MS = 10000 };

struct hc_lease_quota;

struct hc_lease_quota *hc_lease_quota_new(unsigned leases_per_caller,
                                          struct hc_error *err);
void hc_lease_quota_free(struct hc_lease_quota *quota);
HC_DEFINE_AUTO(hc_lease_quota, hc_lease_quota_free)

/* Counts one more lease of the identity, NULL for anonymous callers. -1: POLICY_DENIED,
 * it has as many as a caller may have. `now_ms` is on the monotonic clock. */
int hc_lease_quota_add(struct hc_lease_quota *quota, const struct hc_cache *cache,
                       const struct hc_identity *identity, int64_t now_ms,
                       struct hc_error *err);

/* One less: it was released, or not taken after all. */
void hc_lease_quota_remove(struct hc_lease_quota *quota,
                           const struct hc_identity *identity);

#endif
