/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The method Evict of the service Cache: a blocking call (blocking_call.h).
 */
#ifndef HC_SERVER_CACHE_EVICTION_H
#define HC_SERVER_CACHE_EVICTION_H

#include "blocking_call.h"

int hc_cache_evict(void *ctx, struct hc_blocking_call *call,
                   const ProtobufCMessage *message, struct hc_error *err);

#endif
