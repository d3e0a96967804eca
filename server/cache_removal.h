/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of the service Cache that remove, and those that keep from removal
 * (service_cache.c has their rows).
 */
#ifndef HC_SERVER_CACHE_REMOVAL_H
#define HC_SERVER_CACHE_REMOVAL_H

#include "blocking_call.h"

int hc_cache_delete_revisions(void *ctx, struct hc_blocking_call *call,
                              const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_prune(void *ctx, struct hc_blocking_call *call,
                   const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_pin(void *ctx, struct hc_blocking_call *call,
                 const ProtobufCMessage *message, struct hc_error *err);
int hc_cache_unpin(void *ctx, struct hc_blocking_call *call,
                   const ProtobufCMessage *message, struct hc_error *err);

/* For the log and the audit log: what a removal has taken. */
void hc_cache_note_removed(struct hc_blocking_call *call, uint64_t files, uint64_t bytes);

#endif
