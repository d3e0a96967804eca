/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service hubcache.v1.Resolver: the six methods of the contract over one resolver.
 * The edge's thread answers calls for a few files that are on disk; every other call is
 * parked and waits for a coalesced request.
 */
#ifndef HC_SERVER_SERVICE_RESOLVER_H
#define HC_SERVER_SERVICE_RESOLVER_H

#include "coalescer.h"
#include "metrics.h"
#include "rpc.h"

#include <hubcache/resolver.h>

#define HC_RESOLVER_SERVICE "hubcache.v1.Resolver"

enum { HC_SLOW_DISK_THREADS = 8 /* times as many as look at a quick volume */ };

struct hc_audit;
struct hc_read_streams;
struct hc_resolver_service;

/* Borrows all four; `disk` and `hub` are the pools of worker threads. Of `disk`, a quick
 * volume needs one in HC_SLOW_DISK_THREADS. */
struct hc_resolver_service *hc_resolver_service_new(struct hc_resolver *resolver,
                                                    struct hc_workers *disk,
                                                    struct hc_workers *hub,
                                                    struct hc_metrics *metrics,
                                                    struct hc_error *err);

/* Before the first call; borrowed. With a policy, each file of several is put into it. */
void hc_resolver_service_set_audit(struct hc_resolver_service *service,
                                   struct hc_audit *audit);

/* Waits until every coalesced request is done. */
void hc_resolver_service_free(struct hc_resolver_service *service);
HC_DEFINE_AUTO(hc_resolver_service, hc_resolver_service_free)

/* Borrowed. */
struct hc_coalescer *
hc_resolver_service_coalescer(const struct hc_resolver_service *service);

struct hc_read_streams *
hc_resolver_service_reads(const struct hc_resolver_service *service);

int hc_resolver_service_serve(struct hc_resolver_service *service, struct hc_rpc *rpc,
                              struct hc_error *err);

#endif
