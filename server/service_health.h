/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service grpc.health.v1.Health, for probes of Kubernetes and for load balancers:
 *
 *     "" (the server as a whole), hubcache.v1.Resolver
 *                 SERVING while the volume is usable and the server does not stop
 *     grpc.health.v1.Health, grpc.reflection.v1.ServerReflection and its v1alpha
 *                 SERVING while the server does not stop
 *     liveness    SERVING whenever there is an answer: a restart would repair nothing
 *
 * Callable from any thread.
 */
#ifndef HC_SERVER_SERVICE_HEALTH_H
#define HC_SERVER_SERVICE_HEALTH_H

#include "rpc.h"

struct hc_health_service;

/* The volume is usable from the start. */
struct hc_health_service *hc_health_service_new(struct hc_error *err);
void hc_health_service_free(struct hc_health_service *health);
HC_DEFINE_AUTO(hc_health_service, hc_health_service_free)

int hc_health_service_serve(struct hc_health_service *health, struct hc_rpc *rpc,
                            struct hc_error *err);

/* Watchers whose service changes get its state. True: the volume was otherwise. */
bool hc_health_service_set_volume(struct hc_health_service *health, bool is_usable);

/* The server stops: watchers get their last message, and their calls end. */
void hc_health_service_stop(struct hc_health_service *health);

#endif
