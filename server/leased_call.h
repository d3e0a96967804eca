/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that ask for a lease with their answer. The answer is that of a call without one,
 * and shared like that; the lease is each call's own. It is written to the volume by a
 * thread of a pool that does nothing else, so neither the edge nor calls without a lease
 * wait for it.
 */
#ifndef HC_SERVER_LEASED_CALL_H
#define HC_SERVER_LEASED_CALL_H

#include "coalescer.h"
#include "rpc.h"

#include <hubcache/lease.h>

struct hc_leased_calls;

/* Both are borrowed. */
struct hc_leased_calls *hc_leased_calls_open(struct hc_resolver *resolver,
                                             struct hc_coalescer *coalescer,
                                             struct hc_error *err);

/* No call is parked any more. */
void hc_leased_calls_close(struct hc_leased_calls *calls);
HC_DEFINE_AUTO(hc_leased_calls, hc_leased_calls_close)

/* What the call asks for; copied. */
struct hc_leased_request {
    const struct hc_request_key *key; /* of the request without the lease */
    struct hc_lease_terms terms;
    bool watches;
    struct hc_answer *answer; /* Optional: what memory answers */
};

/* Within `start` of a method: parks the call, and finishes it in any case. */
void hc_leased_call_begin(struct hc_leased_calls *calls, struct hc_rpc_call *call,
                          const struct hc_leased_request *request);

#endif
