/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The services grpc.reflection.v1.ServerReflection and its older twin, v1alpha: they tell
 * tools such as grpcurl which services there are and what their messages look like, with
 * the comments of the contract.
 */
#ifndef HC_SERVER_SERVICE_REFLECTION_H
#define HC_SERVER_SERVICE_REFLECTION_H

#include "rpc.h"

struct hc_reflection_service;

struct hc_reflection_service *hc_reflection_service_new(struct hc_error *err);
void hc_reflection_service_free(struct hc_reflection_service *reflection);
HC_DEFINE_AUTO(hc_reflection_service, hc_reflection_service_free)

int hc_reflection_service_serve(struct hc_reflection_service *reflection,
                                struct hc_rpc *rpc, struct hc_error *err);

#endif
