/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of the service Cache about leases (service_cache.c has their rows). Leases
 * are taken by calls of the service Resolver (leased_call.h).
 */
#ifndef HC_SERVER_CACHE_LEASES_H
#define HC_SERVER_CACHE_LEASES_H

#include "blocking_call.h"

int hc_cache_renew_lease(void *ctx, struct hc_blocking_call *call,
                         const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_release_lease(void *ctx, struct hc_blocking_call *call,
                           const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_list_leases(void *ctx, struct hc_blocking_call *call,
                         const ProtobufCMessage *message, struct hc_error *err);

#endif
