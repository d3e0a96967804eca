/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The method of the service Cache that explains the policy. A hc_blocking_fn, which any
 * thread may call.
 */
#ifndef HC_SERVER_CACHE_POLICY_H
#define HC_SERVER_CACHE_POLICY_H

#include "blocking_call.h"

int hc_cache_test_policy(void *ctx, struct hc_blocking_call *call,
                         const ProtobufCMessage *message, struct hc_error *err);

#endif
