/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls whose work blocks for long: listings, removals, verifications. A method of such a
 * call is one function, which reads from top to bottom on a thread of a pool that no call
 * of the service Resolver uses. It returns 0 after it has replied (unary), or has sent
 * its messages (streaming); -1: the call fails with `err`.
 *
 * A call that finds all threads busy waits in the pool's queue, where callers and methods
 * take turns; BUSY when that is full. `cancellation` is set when the caller leaves, the
 * deadline of the call passes or the server stops; a function that works for long looks
 * at it. The caller's failure is then the edge's, whatever the function returns.
 */
#ifndef HC_SERVER_BLOCKING_CALL_H
#define HC_SERVER_BLOCKING_CALL_H

#include "request.h"
#include "rpc.h"

#include <base/cancellation.h>
#include <base/workers.h>

struct hc_blocking_call;

enum {
    HC_BLOCKING_THREADS = 8,
    HC_BLOCKING_QUEUE = 256,
    HC_BLOCKING_SEND_MS = 60 * 1000 /* for a client to take a message */
};

/* `message` and what hc_blocking_call_arena() gives live until the function returns. */
typedef int (*hc_blocking_fn)(void *service, struct hc_blocking_call *call,
                              const ProtobufCMessage *message, struct hc_error *err);

/* One row of a service's table of methods. */
struct hc_blocking_method {
    const char *path; /* "/hubcache.v1.Cache/ListRepos" */
    const ProtobufCMessageDescriptor *request;
    hc_blocking_fn run;
    enum hc_rpc_kind kind; /* HC_RPC_UNARY or HC_RPC_SERVER_STREAMING */
};

/*
 * Within `start` of a struct hc_rpc_method: parks the call, and runs the method on a
 * thread of `workers`. Sets the caller and the Hub token of the request.
 */
void hc_blocking_call_start(struct hc_workers *workers, struct hc_rpc_call *call,
                            const struct hc_blocking_method *method, void *service);

/* --- for the function ----------------------------------------------------------------
 */

/* The answer of a unary method, packed at once. */
int hc_blocking_call_reply(struct hc_blocking_call *blocking,
                           const ProtobufCMessage *message, struct hc_error *err);

/*
 * Sends a message of a streaming method, after the one before it has gone out. -1: the
 * cancellation is set, or the client has not taken that one for HC_BLOCKING_SEND_MS.
 */
int hc_blocking_call_send(struct hc_blocking_call *blocking,
                          const ProtobufCMessage *message, struct hc_error *err);

/* The same for progress: left out while the message before it is on its way. */
void hc_blocking_call_offer(struct hc_blocking_call *blocking,
                            const ProtobufCMessage *message);

/* Of the call; also, for what it is about, hc_request_set_target() of the request. */
struct hc_cancellation *hc_blocking_call_cancellation(struct hc_blocking_call *blocking);
struct hc_request *hc_blocking_call_request(struct hc_blocking_call *blocking);
struct hc_arena *hc_blocking_call_arena(struct hc_blocking_call *blocking);

/* The caller's token, number and identity, borrowed until the function returns. */
struct hc_fetch_options hc_blocking_call_options(struct hc_blocking_call *blocking);

#endif
