/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service hubcache.v1.Cache: what is on the volume, and changes to it. All methods
 * but Prefetch (cache_prefetch.h) are blocking calls (blocking_call.h) on a pool of their
 * own.
 */
#ifndef HC_SERVER_SERVICE_CACHE_H
#define HC_SERVER_SERVICE_CACHE_H

#include "blocking_call.h"
#include "verify_counts.h"

#include <hubcache/resolver.h>

#define HC_CACHE_SERVICE "hubcache.v1.Cache"

struct hc_audit;

/* What its methods work with, borrowed but for what says so. */
struct hc_cache_service {
    struct hc_resolver *resolver;
    struct hc_workers *workers;
    struct hc_verify_counts *verify_counts;
    struct hc_prefetches *prefetches;              /* owned */
    struct hc_rpc_method rows[HC_RPC_METHODS_MAX]; /* for the edge */
};

struct hc_cache_service *hc_cache_service_new(struct hc_resolver *resolver,
                                              struct hc_workers *workers,
                                              struct hc_verify_counts *verify_counts,
                                              struct hc_error *err);

/* Before it serves: see hc_prefetches_set_audit(). */
void hc_cache_service_set_audit(struct hc_cache_service *service, struct hc_audit *audit);

/* No call runs: `workers` is closed. */
void hc_cache_service_free(struct hc_cache_service *service);
HC_DEFINE_AUTO(hc_cache_service, hc_cache_service_free)

int hc_cache_service_serve(struct hc_cache_service *service, struct hc_rpc *rpc,
                           struct hc_error *err);

#endif
