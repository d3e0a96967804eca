/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sweeps the cache now and then: what is left behind expires also while nobody starts
 * anew. It does so on a thread of its own, for a volume that hangs must not keep whoever
 * waits for signals, nor a worker.
 */
#ifndef HC_SERVER_SWEEPER_H
#define HC_SERVER_SWEEPER_H

#include <base/auto.h>

#include <hubcache/resolver.h>

struct hc_sweeper;

/* The first time after `every_ms`. `resolver` is borrowed until close. */
struct hc_sweeper *hc_sweeper_open(struct hc_resolver *resolver, int64_t every_ms,
                                   struct hc_error *err);

/* Waits for a sweep that is under way. */
void hc_sweeper_close(struct hc_sweeper *sweeper);
HC_DEFINE_AUTO(hc_sweeper, hc_sweeper_close)

#endif
