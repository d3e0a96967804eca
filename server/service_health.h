/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service grpc.health.v1.Health, for probes of Kubernetes and for load balancers: the
 * state of the server as a whole ("") and of hubcache.v1.Resolver. Callable from any
 * thread.
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

/* NOT_SERVING from now on: watchers get it as their last message, and their calls end. */
void hc_health_service_stop(struct hc_health_service *health);

#endif
