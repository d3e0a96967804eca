/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters since the start of the server, and a page of them and of gauges in Prometheus'
 * text format. To count is one atomic addition, from any thread.
 */
#ifndef HC_SERVER_METRICS_H
#define HC_SERVER_METRICS_H

#include "coalescer.h"
#include "rpc.h"
#include "volume_probe.h"

#include <base/workers.h>
#include <hubcache/resolver.h>
#include <stdio.h>

struct hc_gauges;
struct hc_metrics;

struct hc_metrics *hc_metrics_new(struct hc_error *err);
void hc_metrics_free(struct hc_metrics *metrics);
HC_DEFINE_AUTO(hc_metrics, hc_metrics_free)

/* Counts a call that is over. */
void hc_metrics_add_request(struct hc_metrics *metrics, const struct hc_request *request,
                            const struct hc_answer *answer, int64_t duration_us);

/* Counts a request that the disk alone has answered, and one that it has not. */
void hc_metrics_add_hit(struct hc_metrics *metrics);
void hc_metrics_add_miss(struct hc_metrics *metrics);

/* Counts a stale answer by the reason for it. */
void hc_metrics_add_stale(struct hc_metrics *metrics, enum hc_reason reason);

/* Counts a transfer that is over. */
void hc_metrics_add_transfer(struct hc_metrics *metrics,
                             const struct hc_transfer *transfer);

/* The volume is usable from the start, until this says otherwise. */
void hc_metrics_set_volume(struct hc_metrics *metrics, bool is_usable);
bool hc_metrics_is_volume_usable(const struct hc_metrics *metrics);

/* From then on the page has it, if it is known. */
void hc_metrics_set_space(struct hc_metrics *metrics,
                          const struct hc_volume_space *space);

/* The page: the counters, and what the owners of the others count (gauges.h). */
void hc_metrics_write(struct hc_metrics *metrics, const struct hc_gauges *gauges,
                      FILE *out);

#endif
