/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sweeps the cache periodically, so that abandoned files expire without a restart, and
 * gives memory that is free back to the system. It has a thread of its own: a volume that
 * hangs must stop neither the main thread, which waits for signals, nor a worker thread.
 */
#ifndef HC_SERVER_SWEEPER_H
#define HC_SERVER_SWEEPER_H

#include <base/auto.h>

#include <hubcache/resolver.h>

struct hc_sweeper;

/* Sweeps `every_ms`, not at once. `resolver` is borrowed until close. */
struct hc_sweeper *hc_sweeper_open(struct hc_resolver *resolver, int64_t every_ms,
                                   struct hc_error *err);

/* Waits for a sweep that is under way. */
void hc_sweeper_close(struct hc_sweeper *sweeper);
HC_DEFINE_AUTO(hc_sweeper, hc_sweeper_close)

#endif
