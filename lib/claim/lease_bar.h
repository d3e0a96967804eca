/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bar keeps leases from a revision that this process is about to remove. It is a
 * directory in the place of that of the revision's leases (lease.h), with one file:
 *
 *     .hubcache/leases/<repo folder>/<commit>/bar
 *
 * which names the process like a claim (claim_record.h) and has its heartbeat. A bar
 * whose process is gone bars no longer: the next lease, bar or sweep removes it.
 * Callable from any thread; a bar belongs to one.
 */
#ifndef HC_CLAIM_LEASE_BAR_H
#define HC_CLAIM_LEASE_BAR_H

#include <base/auto.h>
#include <base/error.h>
#include <cache/cache.h>

#include <stdbool.h>
#include <stdint.h>

#define HC_LEASE_BAR_NAME "bar"

struct hc_lease_bar;

/* 1 and the bar: from now on no lease of the revision is taken or renewed. 0: it has a
 * lease, or another process has barred it. -1: the volume refuses. */
int hc_lease_bar(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_lease_bar **bar, struct hc_error *err);

/*
 * Whether it still bars. A process that was stopped for longer than
 * HC_HEARTBEAT_TIMEOUT_MS may have lost its bar to a lease that another host took: a
 * remover asks before each step that cannot be undone.
 */
bool hc_lease_bar_holds(const struct hc_lease_bar *bar);

/* NULL is fine. */
void hc_lease_unbar(struct hc_lease_bar *bar);
HC_DEFINE_AUTO(hc_lease_bar, hc_lease_unbar)

/* ---- for lease.c ------------------------------------------------------------------- */

/* Whether the directory of a revision's leases is barred by a process that lives. A bar
 * whose process is gone is removed. */
bool hc_lease_directory_is_barred(int dir, int64_t now_ms);

#endif
