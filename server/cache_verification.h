/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verify of the service Cache; a row of service_cache.c. A verification ends with its
 * caller, or with the server.
 */
#ifndef HC_SERVER_CACHE_VERIFICATION_H
#define HC_SERVER_CACHE_VERIFICATION_H

#include "blocking_call.h"

int hc_cache_verify(void *ctx, struct hc_blocking_call *call,
                    const ProtobufCMessage *message, struct hc_error *err);

#endif
