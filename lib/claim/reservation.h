/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room on the volume that is spoken for: what many blobs will need that are fetched one
 * after the other. Kept beside the claims, as .hubcache/transfers/<repo folder>/
 * snapshot.<8 hex>, where other replicas see it; it lives as long as it beats (heartbeat.h).
 * Blobs that have a claim of their own are not part of it any more. Of those who want
 * room the earlier have it, as their hosts' clocks tell: of two who begin in the same
 * moment both may have it, and then one of them fails when the volume is full. Fetches of
 * one repo do not stand in each other's way: they want the same blobs, as a rule. Callable
 * from any thread.
 */
#ifndef HC_CLAIM_RESERVATION_H
#define HC_CLAIM_RESERVATION_H

#include <cache/cache.h>

#include <stdint.h>

struct hc_reservation;

/*
 * NO_SPACE, with both figures, when the volume has not so many `bytes` beyond what is
 * promised to others. Else `*reserve`, NULL when the room of so few needs no file, or
 * none can be written.
 */
int hc_reservation_make(const struct hc_cache *cache, const struct hc_repo *repo,
                        uint64_t bytes, struct hc_reservation **reservation,
                        struct hc_error *err);

/* So many bytes of it are used now, or are not needed. NULL is fine, here and below. */
void hc_reservation_use(struct hc_reservation *reservation, uint64_t bytes);

void hc_reservation_drop(struct hc_reservation *reservation);
HC_DEFINE_AUTO(hc_reservation, hc_reservation_drop)

#endif
