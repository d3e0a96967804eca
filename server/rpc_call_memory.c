/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holders of a call keep its memory: the last batch, the close of a parked call, and
 * waiters that send progress. The last holder resets it, and puts it on a list for the
 * next calls. The server's lock guards the lists: of free calls, of parked ones, and of
 * those of bidirectional methods.
 */
#include "rpc_core.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { FREE_MAX = 1024 };

static struct hc_rpc_call *call_new(struct hc_rpc *rpc)
{
    struct hc_rpc_call *call = calloc(1, sizeof *call);

    if (!call)
        return NULL;
    call->rpc = rpc;
    hc_rpc_call_set_events(call);
    for (size_t i = 0; i < HC_RPC_TRAILERS_MAX; i++)
        call->trailers[i].value = grpc_empty_slice();
    grpc_metadata_array_init(&call->headers);
    grpc_call_details_init(&call->details);
    (void)pthread_mutex_init(&call->shared.lock, NULL);
    return call;
}

static void call_free(struct hc_rpc_call *call)
{
    grpc_metadata_array_destroy(&call->headers);
    grpc_call_details_destroy(&call->details);
    (void)pthread_mutex_destroy(&call->shared.lock);
    free(call);
}

/* As when it was new, but it keeps the memory of its arrays for the next call. */
static void call_reset(struct hc_rpc_call *call)
{
    if (call->payload)
        grpc_byte_buffer_destroy(call->payload);
    if (call->core)
        grpc_call_unref(call->core);
    for (size_t i = 0; i < HC_RPC_TRAILERS_MAX; i++) {
        grpc_slice_unref(call->trailers[i].value);
        call->trailers[i].value = grpc_empty_slice();
    }
    if (!call->served->row) {
        grpc_call_details_destroy(&call->details);
        grpc_call_details_init(&call->details);
    }
    hc_request_clear(&call->request);
    call->payload = NULL;
    call->core = NULL;
    call->headers.count = 0;
    call->is_cancelled = 0;
    call->leave = NULL;
    atomic_store(&call->is_ended, false);
    call->stream = NULL;
    call->shared.has_started = false;
    call->shared.is_sending = false;
    call->shared.is_over = false;
}

struct hc_rpc_call *hc_rpc_call_take(struct hc_rpc *rpc)
{
    struct hc_rpc_call *call;

    {
        HC_LOCKED(&rpc->shared.lock);

        call = rpc->shared.free;
        if (call) {
            rpc->shared.free = call->next_free;
            rpc->shared.free_count--;
        }
        rpc->shared.live_count++;
    }
    return call ? call : call_new(rpc);
}

void hc_rpc_call_give_back(struct hc_rpc *rpc, struct hc_rpc_call *call)
{
    bool keep, is_drained;

    {
        HC_LOCKED(&rpc->shared.lock);

        keep = call && rpc->shared.free_count < FREE_MAX;
        if (keep) {
            call->next_free = rpc->shared.free;
            rpc->shared.free = call;
            rpc->shared.free_count++;
        }
        is_drained = --rpc->shared.live_count == 0 && rpc->shared.is_stopping;
    }
    if (call && !keep)
        call_free(call);
    if (is_drained)
        (void)eventfd_write(rpc->drained_fd, 1);
}

void hc_rpc_call_hold(struct hc_rpc_call *call)
{
    atomic_fetch_add_explicit(&call->holders, 1, memory_order_relaxed);
}

void hc_rpc_call_release(struct hc_rpc_call *call)
{
    if (atomic_fetch_sub(&call->holders, 1) != 1)
        return;
    if (call->stream)
        call->stream->end(call);
    call_reset(call);
    hc_rpc_call_give_back(call->rpc, call);
}

/* --- the parked ones ---------------------------------------------------------------- */

bool hc_rpc_call_is_bidirectional(const struct hc_rpc_call *call)
{
    return call->served->row && call->served->row->kind == HC_RPC_BIDIRECTIONAL;
}

bool hc_rpc_parked_add(struct hc_rpc_call *call)
{
    struct hc_rpc *rpc = call->rpc;
    struct hc_rpc_call **list =
        hc_rpc_call_is_bidirectional(call) ? &rpc->shared.streams : &rpc->shared.parked;
    HC_LOCKED(&rpc->shared.lock);

    call->next_parked = *list;
    call->parked = list;
    if (call->next_parked)
        call->next_parked->parked = &call->next_parked;
    *list = call;
    return !rpc->shared.is_stopping;
}

void hc_rpc_parked_remove(struct hc_rpc_call *call)
{
    if (!call->parked)
        return;
    *call->parked = call->next_parked;
    if (call->next_parked)
        call->next_parked->parked = call->parked;
    call->parked = NULL;
}

struct hc_rpc_call *hc_rpc_parked_take(struct hc_rpc *rpc, struct hc_rpc_call **list)
{
    struct hc_rpc_call *call;
    HC_LOCKED(&rpc->shared.lock);

    call = *list;
    if (call) {
        hc_rpc_parked_remove(call);
        hc_rpc_call_hold(call);
    }
    return call;
}

static struct hc_rpc_call *free_list_take(struct hc_rpc *rpc)
{
    struct hc_rpc_call *first;
    HC_LOCKED(&rpc->shared.lock);

    first = rpc->shared.free;
    rpc->shared.free = NULL;
    return first;
}

void hc_rpc_call_free_all(struct hc_rpc *rpc)
{
    struct hc_rpc_call *next = free_list_take(rpc);

    while (next) {
        struct hc_rpc_call *call = next;

        next = call->next_free;
        call_free(call);
    }
}
