/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call that waits for a coalesced request, without a thread. It ends once: with the
 * answer of the coalesced request, or when the caller leaves, the deadline passes or the
 * server stops. hc_coalescer_leave() decides which of the two comes first.
 */
#ifndef HC_SERVER_PARKED_CALL_H
#define HC_SERVER_PARKED_CALL_H

#include "coalescer.h"
#include "rpc.h"

/*
 * Within `start` of a method: parks the call, and finishes it in any case. `key` is
 * copied. A call that `watches` gets the progress, and its answer as the last event of
 * WatchSnapshot.
 */
void hc_parked_call_begin(struct hc_coalescer *coalescer, struct hc_rpc_call *call,
                          const struct hc_request_key *key, bool watches);

#endif
