/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evicts in the background what other clients of the volume have put into the cache
 * beyond --cache-limit and --free-floor, and measures what the cache takes. It has a
 * thread of its own: a volume that hangs stops no other one.
 */
#ifndef HC_SERVER_EVICTOR_H
#define HC_SERVER_EVICTOR_H

#include <base/auto.h>

#include <hubcache/resolver.h>

struct hc_evictor;

/* Begins at once, and then looks `every_ms`. `resolver` is borrowed until close. */
struct hc_evictor *hc_evictor_open(struct hc_resolver *resolver, int64_t every_ms,
                                   struct hc_error *err);

/* Ends what is under way, and waits for it. */
void hc_evictor_close(struct hc_evictor *evictor);
HC_DEFINE_AUTO(hc_evictor, hc_evictor_close)

#endif
