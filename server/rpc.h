/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge: gRPC calls in, answers out. One thread, the edge's, takes all events. It
 * unpacks a request and calls the method's function, which either answers at once or
 * parks the call, so that any thread can finish it later. That function must not block.
 * If it does (a volume hangs), a second thread takes the events meanwhile. A third one
 * unpacks large requests and calls the function for them. So it may run three times at a
 * time.
 *
 * This header has none of gRPC's types. Only the files rpc*.c include gRPC's headers,
 * through rpc_core.h.
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
#include <sys/types.h>

struct hc_listener;
struct hc_rpc;
struct hc_rpc_call;
struct hc_tls;

/*
 * How many messages the caller and the method send. A method that streams answers sends
 * them with hc_rpc_call_send(). Of a bidirectional method `start` gets each message of
 * the caller, not only the first one, and sends one answer to it; the edge reads the next
 * message when the answer has gone out. The edge itself parks such a call and ends it:
 * after the caller's last message, or when the server stops.
 */
enum hc_rpc_kind { HC_RPC_UNARY, HC_RPC_SERVER_STREAMING, HC_RPC_BIDIRECTIONAL };

/* One row of a service's table of methods. `request` lives until `start` returns. */
struct hc_rpc_method {
    const char *path; /* "/hubcache.v1.Resolver/ResolveFile" */
    const ProtobufCMessageDescriptor *request;
    void (*start)(void *service, struct hc_rpc_call *call,
                  const ProtobufCMessage *request);
    enum hc_rpc_kind kind;

    /* Optional: the answer to a request that is not unpacked yet, held for the edge;
     * NULL: `start` is called. */
    struct hc_answer *(*recall)(void *service, struct hc_rpc_call *call);
};

enum {
    HC_RPC_METHODS_MAX = 32,             /* number 0 is for calls of unknown methods */
    HC_RPC_SMALL_BYTES_MAX = 256 * 1024, /* of a request; larger ones are large */
    HC_RPC_LARGE_WAITING_MAX = 512,      /* three quarters for one caller */
    HC_RPC_LARGE_BYTES_MAX = 48 * 1024 * 1024 /* of large requests that wait */
};

/* What operators may limit. 0 milliseconds: no limit. */
struct hc_rpc_limits {
    unsigned connections;
    int64_t connection_age_ms, connection_idle_ms;
};

/*
 * gRPC's library closes with the last server or with the last of these references. That
 * waits for gRPC's own threads, of which gRPC 1.51 leaves one in epoll_wait() for up to
 * ten seconds after a client has stalled. A program that holds a reference of its own
 * closes everything else before that.
 */
void hc_rpc_library_open(void);
const char *hc_rpc_library_version(void);
void hc_rpc_library_close(void);

/*
 * Accepts nothing yet. `finished` may be NULL; the thread that finishes a call calls it,
 * before the answer goes out.
 */
struct hc_rpc *hc_rpc_open(const struct hc_rpc_limits *limits,
                           void (*finished)(void *ctx, const struct hc_request *request,
                                            const struct hc_answer *answer),
                           void *ctx, struct hc_error *err);

/* `methods` and `service` are borrowed; any number of services before the start. */
int hc_rpc_add(struct hc_rpc *rpc, const struct hc_rpc_method *methods, size_t count,
               void *service, struct hc_error *err);

/*
 * Before the start: connections over TCP speak TLS with `tls`, which is borrowed. Those
 * over unix sockets do not.
 */
int hc_rpc_use_tls(struct hc_rpc *rpc, struct hc_tls *tls, struct hc_error *err);

/* Binds host:port or unix:/path, before the start; `bound` gets the real port. */
int hc_rpc_listen(struct hc_rpc *rpc, const char *address, char *bound, size_t size,
                  struct hc_error *err);

/*
 * Before the start: `admit` decides about each call of a method, when it arrives, before
 * any byte of its request is looked at. It must not block. -1: the call fails with `err`.
 */
void hc_rpc_guard(struct hc_rpc *rpc,
                  int (*admit)(void *ctx, struct hc_rpc_call *call, struct hc_error *err),
                  void *ctx);

/* Before the start: requests have the address of their client, at a system call each. */
void hc_rpc_record_peers(struct hc_rpc *rpc);

int hc_rpc_start(struct hc_rpc *rpc, struct hc_error *err);

/* Borrowed. hc_rpc_stop() stops it. */
struct hc_listener *hc_rpc_listener(const struct hc_rpc *rpc);

/*
 * Calls of a method that have arrived and are not finished. False: there is no method of
 * that number. Any thread, after the start.
 */
bool hc_rpc_count_calls(const struct hc_rpc *rpc, unsigned number, const char **path,
                        unsigned *count);

/* Takes no new calls from now on; running calls go on. */
void hc_rpc_stop(struct hc_rpc *rpc);

/*
 * A descriptor that becomes readable when, after hc_rpc_stop(), the last call is over.
 * Idle connections may still be open: gRPC's clients close them some time after the
 * GOAWAY.
 */
int hc_rpc_drained_fd(const struct hc_rpc *rpc);

/* Likewise, when every connection is closed too. */
int hc_rpc_ended_fd(const struct hc_rpc *rpc);

/*
 * The end of the grace period: calls `leave` of each parked call that is not over, on
 * this thread, so that its service finishes it with HC_SHUTTING_DOWN. Returns their
 * number.
 */
unsigned hc_rpc_end_calls(struct hc_rpc *rpc);

/* Cancels running calls and closes the connections; the clients see broken ones. */
void hc_rpc_cancel(struct hc_rpc *rpc);

/* Stops, cancels, and waits until every parked call has been finished. */
void hc_rpc_close(struct hc_rpc *rpc);
HC_DEFINE_AUTO(hc_rpc, hc_rpc_close)

/* --- one call ------------------------------------------------------------------------
 */

enum { HC_RPC_SCRATCH = 128 };

/* Memory of the call for the service that parks it, from `start` to the finish. */
void *hc_rpc_call_scratch(struct hc_rpc_call *call);

/* The call's request context, from `start` to the end of the call. */
struct hc_request *hc_rpc_call_request(struct hc_rpc_call *call);

/* True: the request has that header; `*value` has no NUL. Only within `start`. */
bool hc_rpc_call_header(const struct hc_rpc_call *call, const char *name,
                        const char **value, size_t *size);

enum { HC_RPC_PEER_MAX = HC_REQUEST_PEER_SIZE };

/* The address of the client without the port: the same for all calls of one host. */
void hc_rpc_call_peer(const struct hc_rpc_call *call, char address[HC_RPC_PEER_MAX]);

/* True: the call came over a unix socket, to which a process of user `*uid` connected. */
bool hc_rpc_call_uid(const struct hc_rpc_call *call, uid_t *uid);

/*
 * The certificate that the client has shown over TLS, in PEM, borrowed until the end of
 * the call; TLS has checked it. NULL: it has shown none.
 */
const char *hc_rpc_call_certificate(const struct hc_rpc_call *call, size_t *size);

/* Finishes a call with `message`. Only within `start`, for a call that is not parked. */
void hc_rpc_call_reply(struct hc_rpc_call *call, const ProtobufCMessage *message);

/*
 * Within `start`: the call will be finished later, by any thread. The edge calls `leave`
 * if the caller leaves or its deadline passes before that, and so does
 * hc_rpc_end_calls(), on its own thread and perhaps at the same time. The call must still
 * be finished once.
 */
void hc_rpc_call_park(struct hc_rpc_call *call, void (*leave)(struct hc_rpc_call *call));

/*
 * The functions of a parked call that sends one message after the other. `leave` is as
 * above. The edge's thread calls `sent` when a message has gone out, so that the next one
 * can be sent; it must not block. It is called neither for a call that is finished nor
 * for one that has broken. `end` is called once when no thread uses the call any more,
 * on any thread: it frees what the scratch memory refers to.
 */
struct hc_rpc_stream {
    void (*leave)(struct hc_rpc_call *call);
    void (*sent)(struct hc_rpc_call *call);
    void (*end)(struct hc_rpc_call *call);
};

/* Parks the call likewise; `stream` is static. */
void hc_rpc_call_park_stream(struct hc_rpc_call *call,
                             const struct hc_rpc_stream *stream);

/* The failure of a call that the edge has told to leave: its deadline has passed, the
 * server stops, or the caller left. Sets `err`. */
void hc_rpc_call_fail_left(const struct hc_rpc_call *call, struct hc_error *err);

/*
 * Sends a message of a streaming method. While one is on its way only the newest waits:
 * a method that must not lose any sends the next one after `sent`. A message is on its
 * way as long as the client's flow control holds back a byte of it.
 */
void hc_rpc_call_send(struct hc_rpc_call *call, struct hc_answer *message);

/*
 * Finishes a call, parked or not, exactly once; a bidirectional one perhaps after the
 * edge, which is harmless. `answer` NULL: memory is short.
 */
void hc_rpc_call_finish(struct hc_rpc_call *call, struct hc_answer *answer);

/*
 * Keep the scratch memory of a parked call alive. To send to a finished call is harmless.
 */
void hc_rpc_call_hold(struct hc_rpc_call *call);
void hc_rpc_call_release(struct hc_rpc_call *call);

#endif
