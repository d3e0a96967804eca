/* SPDX-License-Identifier: Apache-2.0 */
/* A parked call is a waiter in the scratch memory of its call, and allocates nothing. */
#include "parked_call.h"

#include "watch_result.h"

struct parked_call {
    struct hc_waiter waiter; /* first: the coalescer's */
    struct hc_rpc_call *call;
    struct hc_coalescer *coalescer;
};

_Static_assert(sizeof(struct parked_call) <= HC_RPC_SCRATCH,
               "a parked call lives in the scratch memory of its call");

static struct parked_call *parked_call_of(struct hc_waiter *waiter)
{
    return (struct parked_call *)waiter;
}

static void parked_call_finish(struct hc_waiter *waiter, struct hc_answer *answer)
{
    struct parked_call *parked = parked_call_of(waiter);
    HC_AUTO(hc_answer) *event = NULL;

    if (!waiter->wants_progress || !answer || answer->code != 0) {
        hc_rpc_call_finish(parked->call, answer);
        return;
    }
    event = hc_watch_result_new(answer);
    hc_rpc_call_finish(parked->call, event);
}

static void parked_call_send_progress(struct hc_waiter *waiter, struct hc_answer *message)
{
    hc_rpc_call_send(parked_call_of(waiter)->call, message);
}

static void parked_call_hold(struct hc_waiter *waiter)
{
    hc_rpc_call_hold(parked_call_of(waiter)->call);
}

static void parked_call_release(struct hc_waiter *waiter)
{
    hc_rpc_call_release(parked_call_of(waiter)->call);
}

static const struct hc_waiter_type parked_call_waiter = {parked_call_finish,
                                                         parked_call_send_progress,
                                                         parked_call_hold,
                                                         parked_call_release};

static void parked_call_leave(struct hc_rpc_call *call)
{
    struct parked_call *parked = hc_rpc_call_scratch(call);
    HC_AUTO(hc_answer) *answer = NULL;
    struct hc_error err;

    if (!hc_coalescer_leave(parked->coalescer, &parked->waiter))
        return;
    hc_rpc_call_fail_left(call, &err);
    answer = hc_answer_of_error(&err, NULL, NULL);
    hc_rpc_call_finish(call, answer);
}

void hc_parked_call_begin(struct hc_coalescer *coalescer, struct hc_rpc_call *call,
                          const struct hc_request_key *key, bool watches)
{
    struct parked_call *parked = hc_rpc_call_scratch(call);

    *parked = (struct parked_call){
        .waiter = {.type = &parked_call_waiter,
                   .caller = key->caller,
                   .deadline_ms = hc_rpc_call_request(call)->deadline_ms,
                   .wants_progress = watches},
        .call = call,
        .coalescer = coalescer,
    };
    hc_rpc_call_park(call, parked_call_leave);
    hc_coalescer_join(coalescer, key, &parked->waiter);
}
