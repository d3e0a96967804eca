/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods of the service Cache that list what is on the volume; rows of service_cache.c.
 */
#ifndef HC_SERVER_CACHE_INVENTORY_H
#define HC_SERVER_CACHE_INVENTORY_H

#include "blocking_call.h"

int hc_cache_list_repos(void *ctx, struct hc_blocking_call *call,
                        const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_list_revisions(void *ctx, struct hc_blocking_call *call,
                            const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_list_files(void *ctx, struct hc_blocking_call *call,
                        const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_get_usage(void *ctx, struct hc_blocking_call *call,
                       const ProtobufCMessage *message, struct hc_error *err);

#endif
