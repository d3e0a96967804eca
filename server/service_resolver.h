/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache.v1.Resolver: the five methods of the contract over one resolver. A file, or a
 * few, that are on disk are answered on the edge's thread; everything else becomes an
 * errand.
 */
#ifndef HC_SERVER_SERVICE_RESOLVER_H
#define HC_SERVER_SERVICE_RESOLVER_H

#include "coalescer.h"
#include "metrics.h"
#include "rpc.h"

#include <hubcache/resolver.h>

#define HC_RESOLVER_SERVICE "hubcache.v1.Resolver"

struct hc_resolver_service;

/* Borrows all three. */
struct hc_resolver_service *hc_resolver_service_new(struct hc_resolver *resolver,
                                                    struct hc_coalescer *coalescer,
                                                    struct hc_metrics *metrics,
                                                    struct hc_error *err);
void hc_resolver_service_free(struct hc_resolver_service *service);
HC_DEFINE_AUTO(hc_resolver_service, hc_resolver_service_free)

int hc_resolver_service_serve(struct hc_resolver_service *service, struct hc_rpc *rpc,
                              struct hc_error *err);

#endif
