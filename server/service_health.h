/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1.Health, as probes of Kubernetes and load balancers ask it: of the server
 * as a whole ("") and of hubcache.v1.Resolver. Callable from any thread.
 */
#ifndef HC_SERVER_SERVICE_HEALTH_H
#define HC_SERVER_SERVICE_HEALTH_H

#include "rpc.h"

struct hc_health_service;

/* SERVING from the start. */
struct hc_health_service *hc_health_service_new(struct hc_error *err);
void hc_health_service_free(struct hc_health_service *health);
HC_DEFINE_AUTO(hc_health_service, hc_health_service_free)

int hc_health_service_serve(struct hc_health_service *health, struct hc_rpc *rpc,
                            struct hc_error *err);

/* NOT_SERVING, for good: those who watch are told, and their calls end. */
void hc_health_service_stop(struct hc_health_service *health);

#endif
