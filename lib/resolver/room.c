/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room that the cache takes: evictions that a caller asks for, and what is done about
 * it in the background. Downloads make room by themselves (base/free_space.h).
 */
#include "resolver.h"

#include <base/free_space.h>
#include <cache/occupancy.h>
#include <hubcache/maintenance.h>
#include <maintenance/eviction.h>
#include <maintenance/retention.h>

enum { MEASURE_EVERY_MS = 600 * 1000, EXPIRE_EVERY_MS = 3600 * 1000 };

int hc_resolver_evict(struct hc_resolver *resolver,
                      const struct hc_evict_request *request,
                      struct hc_cancellation *cancellation,
                      struct hc_removal_result *result, struct hc_error *err)
{
    const struct hc_eviction_request eviction = {.bytes = request->bytes,
                                                 .is_dry_run = request->dry_run,
                                                 .cancellation = cancellation};

    *result = (struct hc_removal_result){0};
    if (hc_policy_may_administer(&resolver->policy, request->options.identity, NULL,
                                 err) < 0)
        return -1;
    return hc_eviction_run(resolver->eviction, &eviction, result, err);
}

/* A scan takes a tenth of the time at most. One thread at a time tends. */
static int room_measure(struct hc_resolver *resolver,
                        struct hc_cancellation *cancellation, struct hc_error *err)
{
    int64_t start_ms = hc_monotonic_ms(), took_ms;

    if (start_ms < atomic_load(&resolver->measure_due_ms))
        return 0;
    if (hc_eviction_measure(resolver->eviction, false, cancellation, err) < 0)
        return -1;
    took_ms = hc_monotonic_ms() - start_ms;
    atomic_store(&resolver->measure_due_ms,
                 start_ms + took_ms +
                     (9 * took_ms > MEASURE_EVERY_MS ? 9 * took_ms : MEASURE_EVERY_MS));
    return 0;
}

int hc_resolver_tend_room(struct hc_resolver *resolver,
                          struct hc_cancellation *cancellation,
                          struct hc_removal_result *result, struct hc_error *err)
{
    const struct hc_eviction_request request = {.cancellation = cancellation};

    *result = (struct hc_removal_result){0};
    if (hc_free_space_bounds(hc_cache_free_space(resolver->cache)) == 0)
        return 0;
    if (room_measure(resolver, cancellation, err) < 0)
        return -1;
    return hc_eviction_run(resolver->eviction, &request, result, err);
}

int hc_resolver_expire(struct hc_resolver *resolver, struct hc_cancellation *cancellation,
                       struct hc_removal_result *result, struct hc_error *err)
{
    const struct hc_retention_options options = {.cancellation = cancellation};
    int64_t now_ms = hc_monotonic_ms();

    *result = (struct hc_removal_result){0};
    if (now_ms < atomic_load(&resolver->retention_due_ms))
        return 0;
    atomic_store(&resolver->retention_due_ms, now_ms + EXPIRE_EVERY_MS);
    return hc_retention_expire(resolver->cache, &resolver->policy, &options, result, err);
}

void hc_resolver_room(const struct hc_resolver *resolver, struct hc_room_status *status)
{
    struct hc_free_space *space = hc_cache_free_space(resolver->cache);
    struct hc_eviction_counts counts;

    hc_eviction_counts(resolver->eviction, &counts);
    *status = (struct hc_room_status){
        .evicted_bytes = counts.evicted_bytes,
        .evicted_revisions = counts.evicted_revisions,
        .held_bytes = counts.held_bytes,
        .evictions_running = counts.running,
        .refusals = hc_free_space_refusals(space),
    };
    hc_free_space_get_bounds(space, &status->limit_bytes, &status->floor_bytes);
    status->is_measured =
        hc_occupancy_recall(hc_cache_occupancy(resolver->cache), &status->occupied_bytes);
}
