/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at the cache volume periodically, on a thread of its own, because a volume may
 * hang. A probe that has no answer within a time counts as a failure until it has one.
 */
#ifndef HC_SERVER_VOLUME_PROBE_H
#define HC_SERVER_VOLUME_PROBE_H

#include <base/auto.h>

#include <hubcache/resolver.h>
#include <stdbool.h>
#include <stdint.h>

struct hc_volume_probe;

/*
 * Probes at once and then `every_ms` after each answer; `hang_ms` is the longest time for
 * one. `resolver` is borrowed until close.
 */
struct hc_volume_probe *hc_volume_probe_open(struct hc_resolver *resolver,
                                             int64_t every_ms, int64_t hang_ms,
                                             struct hc_error *err);

/* Waits for a probe that is under way. */
void hc_volume_probe_close(struct hc_volume_probe *probe);
HC_DEFINE_AUTO(hc_volume_probe, hc_volume_probe_close)

/*
 * What the newest probe says; true before the first answer. False: `err` has the cause.
 * Callable from any thread, and never waits for the volume.
 */
bool hc_volume_probe_is_usable(struct hc_volume_probe *probe, int64_t now_ms,
                               struct hc_error *err);

/* What the newest probe with an answer found; never waits for the volume either. */
struct hc_volume_space {
    bool is_known;
    uint64_t size, available; /* bytes; see hc_resolver_volume_space() */
};
void hc_volume_probe_space(struct hc_volume_probe *probe, struct hc_volume_space *space);

#endif
