/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge: gRPC calls in, answers out, and no trace of gRPC's own types. One thread
 * takes all events; it unpacks a request and hands it to the method's function, which
 * either answers at once or parks the call and lets any thread finish it later. That
 * function must not block; if it does all the same (a volume hangs), another thread takes
 * the events meanwhile, so that it may then run twice at a time. Only rpc.c knows gRPC.
 */
#ifndef HC_SERVER_RPC_H
#define HC_SERVER_RPC_H

#include "answer.h"
#include "request.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_listener;
struct hc_rpc;
struct hc_rpc_call;

/* One row of the table of methods. `request` lives until `start` returns. */
struct hc_rpc_method {
    const char *path; /* "/hubcache.v1.Resolver/ResolveFile" */
    const ProtobufCMessageDescriptor *request;
    void (*start)(void *service, struct hc_rpc_call *call,
                  const ProtobufCMessage *request);
    bool is_streaming; /* hc_rpc_call_send() may be used */
};

enum { HC_RPC_METHODS_MAX = 16 }; /* number 0 is for calls of unknown methods */

/*
 * Accepts nothing yet. `finished` may be NULL; the thread that finishes a call calls it,
 * before the answer goes out.
 */
struct hc_rpc *hc_rpc_open(unsigned connections_max,
                           void (*finished)(void *ctx, const struct hc_request *request,
                                            const struct hc_answer *answer),
                           void *ctx, struct hc_error *err);

/* `methods` and `service` are borrowed; any number of services before the start. */
int hc_rpc_add(struct hc_rpc *rpc, const struct hc_rpc_method *methods, size_t count,
               void *service, struct hc_error *err);

/* host:port or unix:/path; `bound` gets the address with its real port. */
int hc_rpc_listen(struct hc_rpc *rpc, const char *address, char *bound, size_t size,
                  struct hc_error *err);

int hc_rpc_start(struct hc_rpc *rpc, struct hc_error *err);

/* Borrowed; it stops with hc_rpc_stop(). */
struct hc_listener *hc_rpc_listener(const struct hc_rpc *rpc);

/* No new calls from now on; those that run go on. */
void hc_rpc_stop(struct hc_rpc *rpc);

/*
 * A descriptor that is readable once the last call is over after hc_rpc_stop(). Idle
 * connections may still be open: gRPC's clients take their time to notice the end.
 */
int hc_rpc_drained_fd(const struct hc_rpc *rpc);

/* Likewise, once every connection is closed too. */
int hc_rpc_ended_fd(const struct hc_rpc *rpc);

/*
 * The end of the grace period: calls `gone` of each parked call that is not over, on this
 * thread, for its service to finish it with HC_SHUTTING_DOWN. How many there were.
 */
unsigned hc_rpc_end_calls(struct hc_rpc *rpc);

/* Cancels what still runs and closes the connections: clients see a broken one. */
void hc_rpc_cancel(struct hc_rpc *rpc);

/* Stops, cancels, and waits until every parked call has been finished. */
void hc_rpc_close(struct hc_rpc *rpc);
HC_DEFINE_AUTO(hc_rpc, hc_rpc_close)

/* --- one call ------------------------------------------------------------------------
 */

enum { HC_RPC_SCRATCH = 128 };

/* Memory of the call's own for whoever parks it, from `start` to the finish. */
void *hc_rpc_call_scratch(struct hc_rpc_call *call);

/* The call's request context, from `start` to the end of the call. */
struct hc_request *hc_rpc_call_request(struct hc_rpc_call *call);

/* A header of the request, not terminated: true when there is one. Within `start` only.
 */
bool hc_rpc_call_header(const struct hc_rpc_call *call, const char *name,
                        const char **value, size_t *size);

enum { HC_RPC_PEER_MAX = 64 };

/* Where the call comes from, without the port: the same for all calls of one host. */
void hc_rpc_call_peer(const struct hc_rpc_call *call, char address[HC_RPC_PEER_MAX]);

/* Within `start`, of a call that is not parked. */
void hc_rpc_call_reply(struct hc_rpc_call *call, const ProtobufCMessage *message);

/*
 * Within `start`: the call will be finished later. `gone` is called on the edge's thread
 * when the caller has left or its deadline has passed before that, and by hc_rpc_end_calls(),
 * possibly by both at once; the call has to be finished all the same, once.
 */
void hc_rpc_call_park(struct hc_rpc_call *call, void (*gone)(struct hc_rpc_call *call));

/* Whether `gone` was called, or may have been, by hc_rpc_end_calls(). */
bool hc_rpc_call_is_shutting_down(const struct hc_rpc_call *call);

/* A message of a streaming method. The newest one wins while another is on its way. */
void hc_rpc_call_send(struct hc_rpc_call *call, struct hc_answer *message);

/* The end, exactly once, parked or not. NULL says that memory is short. */
void hc_rpc_call_finish(struct hc_rpc_call *call, struct hc_answer *answer);

/* Keeps the scratch memory of a parked call alive; sending to a finished call is
 * harmless. */
void hc_rpc_call_hold(struct hc_rpc_call *call);
void hc_rpc_call_release(struct hc_rpc_call *call);

#endif
