/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters behind hc_resolver_hub_counts(): a hub's requests, by kind, host and
 * answer, and the bytes of files. To count is one relaxed addition, from any thread.
 */
#ifndef HC_HUB_TALLY_H
#define HC_HUB_TALLY_H

#include <hubcache/hub_counts.h>

#include <stdatomic.h>

/* Zeroed memory has counted nothing. */
struct hc_hub_tally {
    atomic_uint_least64_t requests[HC_HUB_KINDS][HC_HUB_HOSTS][HC_HUB_ANSWERS];
    atomic_uint_least64_t bytes[HC_HUB_HOSTS];
};

/* `status` 0: no answer. */
void hc_hub_tally_add_request(struct hc_hub_tally *tally, enum hc_hub_request_kind kind,
                              enum hc_hub_host host, long status);
void hc_hub_tally_add_bytes(struct hc_hub_tally *tally, enum hc_hub_host host,
                            uint64_t count);

void hc_hub_tally_read(const struct hc_hub_tally *tally, struct hc_hub_counts *counts);

#endif
