/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rpc.c (the server), rpc_call.c and rpc_call_memory.c (its calls), rpc_peer.c
 * (their connections), rpc_request.c (their requests), rpc_batch.c (their operations) and
 * rpc_tls.c (TLS) share. No other file includes it, so no other file includes gRPC's
 * headers.
 */
#ifndef HC_SERVER_RPC_CORE_H
#define HC_SERVER_RPC_CORE_H

#include "listener.h"
#include "rpc.h"

#include <base/workers.h>

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdalign.h>

/* The tag of an event of a call: gRPC gives it back when the event happens. */
struct hc_rpc_event {
    void (*happened)(struct hc_rpc_call *call, bool ok);
    struct hc_rpc_call *call;
};

/* A method that is served. `row` is NULL for the calls of all unknown methods. */
struct hc_rpc_served {
    const struct hc_rpc_method *row;
    void *service;
    void *registered;
    atomic_bool is_used; /* a call of it has arrived */
    atomic_uint running; /* calls that have arrived and are not finished */
};

/* A thread that takes events or decodes, and its memory for the request it unpacks. */
struct hc_rpc_thread {
    struct hc_rpc *rpc;
    pthread_t handle;
    struct hc_arena arena;
    atomic_uint turns; /* odd while it handles an event */
};

enum { HC_RPC_TRAILERS_MAX = 2, HC_RPC_RETRY_AFTER_MS = 1000 };

struct hc_rpc_call {
    struct hc_rpc_event arrived, received, closed, sent, finished;
    struct hc_rpc *rpc;
    struct hc_rpc_served *served;
    struct hc_rpc_thread *thread; /* the one that took its newest message */
    struct hc_rpc_call *next_free;
    grpc_call *core;
    gpr_timespec deadline;
    grpc_metadata_array headers;
    grpc_byte_buffer *payload;
    grpc_call_details details;                   /* of an unknown method */
    grpc_metadata trailers[HC_RPC_TRAILERS_MAX]; /* of a failure */
    int is_cancelled;
    struct hc_request request;
    struct hc_task decoding;                   /* of a large request */
    void (*leave)(struct hc_rpc_call *call);   /* parked when not NULL */
    struct hc_rpc_call *next_parked, **parked; /* NULL `parked`: on neither list */
    const struct hc_rpc_stream *stream;        /* NULL: its method has none */
    atomic_bool is_ended; /* bidirectional: the first finish counts */
    atomic_uint holders;
    struct {
        pthread_mutex_t lock;
        bool has_started; /* the headers are sent */
        bool is_sending;
        bool is_over;           /* finished by its method */
        struct hc_answer *next; /* the next message; waits while is_sending */
        struct hc_answer *last; /* if is_over: the answer; waits likewise */
    } shared;
    alignas(max_align_t) char scratch[HC_RPC_SCRATCH];
};

struct hc_rpc {
    grpc_server *server;
    grpc_completion_queue *queue;
    grpc_server_credentials *plain;
    struct hc_tls *tls; /* NULL: clear text; see rpc_tls.c, as for the next */
    grpc_server_credentials *secure;
    struct hc_rpc_acceptor *acceptor;
    uint64_t tls_generation; /* of the certificate in use; gRPC's lock guards it */
    grpc_resource_quota *quota;
    struct hc_listener *listener;
    void (*finished)(void *ctx, const struct hc_request *request,
                     const struct hc_answer *answer); /* may be NULL */
    void *ctx;
    int (*admit)(void *ctx, struct hc_rpc_call *call, struct hc_error *err); /* or NULL */
    void *admit_ctx;
    struct hc_rpc_served served[HC_RPC_METHODS_MAX];
    size_t served_count;
    struct hc_rpc_thread edge, relief; /* see rpc.c */
    struct hc_cancellation *end;       /* cancelled: the relief ends */
    struct hc_rpc_thread decoder;      /* of large requests; see rpc_request.c */
    struct hc_workers *decoders;       /* that one thread */
    atomic_size_t large_bytes;         /* of requests that wait for it */
    atomic_uint_least64_t last_id;
    struct hc_trace_source traces;
    bool is_started, has_relief, records_peers;
    int drained_fd;           /* readable: no call runs */
    int ended_fd;             /* readable: gRPC has closed the last connection, too */
    atomic_uint abandoned;    /* calls whose clients did not wait for the answer */
    atomic_uint useful_looks; /* of the relief, when the edge's thread was of use */
    atomic_uint order;        /* see hc_rpc_release_order() */
    atomic_bool is_ending;    /* hc_rpc_end_calls() */
    struct {
        pthread_mutex_t lock;
        struct hc_rpc_call *free;
        struct hc_rpc_call *parked;  /* neither closed nor ended by the shutdown */
        struct hc_rpc_call *streams; /* likewise: those of bidirectional methods */
        unsigned free_count, live_count;
        bool is_stopping;
    } shared;
};

enum { HC_RPC_HANDSHAKE_MS = 10 * 1000 };

/* For the server's creation. */
grpc_arg hc_rpc_tls_arg(struct hc_rpc *rpc);

/* Begins the handshake of an accepted connection; gRPC owns the descriptor then. */
void hc_rpc_tls_accept(struct hc_rpc *rpc, int fd);

/* ---- rpc_call_memory.c ------------------------------------------------------------- */

/* NULL: memory is short. In every case hc_rpc_call_give_back() has to follow. */
struct hc_rpc_call *hc_rpc_call_take(struct hc_rpc *rpc);

/* `call` may be NULL. When the server stops, the last call makes drained_fd readable. */
void hc_rpc_call_give_back(struct hc_rpc *rpc, struct hc_rpc_call *call);

bool hc_rpc_call_is_bidirectional(const struct hc_rpc_call *call);

/* Puts the call on the list of parked ones, or on that of bidirectional ones. False: the
 * server stops. */
bool hc_rpc_parked_add(struct hc_rpc_call *call);

/* Takes it off its list, if it is on one. The lock is held. */
void hc_rpc_parked_remove(struct hc_rpc_call *call);

/* The first call of the list, off it and held; NULL: there is none. */
struct hc_rpc_call *hc_rpc_parked_take(struct hc_rpc *rpc, struct hc_rpc_call **list);

/* Frees the list of calls that wait to be used again. */
void hc_rpc_call_free_all(struct hc_rpc *rpc);

/* ---- rpc_call.c -------------------------------------------------------------------- */

/* Of a new call: which functions its events call. */
void hc_rpc_call_set_events(struct hc_rpc_call *call);

/* Finishes the call with that failure. */
void hc_rpc_call_fail(struct hc_rpc_call *call, const struct hc_error *err);

/* Before the calling function does anything else with a call that has arrived. */
void hc_rpc_request_init(struct hc_rpc_call *call);

/*
 * Starts the method of the call, on this thread or, for a large request, on the decoder's
 * and perhaps after this function has returned.
 */
void hc_rpc_request_start(struct hc_rpc_call *call);

struct hc_rpc_batch {
    grpc_op ops[4];
    size_t count;
    grpc_byte_buffer *message;
    grpc_slice text;
};

void hc_rpc_batch_add_headers(struct hc_rpc_batch *batch);

/* Takes `bytes` over. */
void hc_rpc_batch_add_message(struct hc_rpc_batch *batch, grpc_slice bytes);

/* The message of an answer, whose bytes are not copied: the batch holds the answer. */
void hc_rpc_batch_add_shared(struct hc_rpc_batch *batch, struct hc_answer *answer);

void hc_rpc_batch_add_status(struct hc_rpc_batch *batch, unsigned code, const char *text);

/*
 * Adds message and status, or a failure with its trailers. `answer` NULL: memory is
 * short.
 */
void hc_rpc_batch_add_answer(struct hc_rpc_batch *batch, struct hc_rpc_call *call,
                             struct hc_answer *answer);

/* The caller's next message becomes the payload; NULL: there is none. */
void hc_rpc_batch_add_receive(struct hc_rpc_batch *batch, struct hc_rpc_call *call);

/* Completes when the call is over, be it finished, cancelled or broken. */
void hc_rpc_batch_add_close(struct hc_rpc_batch *batch, struct hc_rpc_call *call);

/* Starts the operations; `event` happens when all of them are complete. */
void hc_rpc_batch_start(struct hc_rpc_batch *batch, struct hc_rpc_call *call,
                        struct hc_rpc_event *event);

/*
 * A thread writes to a call and then starts an operation; the edge's thread reads it when
 * the event happens. gRPC's locks make that safe, but ThreadSanitizer does not see them
 * in a library that is not instrumented: these two show it the same sequence.
 */
static inline void hc_rpc_release_order(struct hc_rpc *rpc)
{
    atomic_fetch_add_explicit(&rpc->order, 1, memory_order_release);
}

static inline void hc_rpc_acquire_order(struct hc_rpc *rpc)
{
    (void)atomic_load_explicit(&rpc->order, memory_order_acquire);
}

/* The batch with the close of the call is complete: its client has left before that. */
void hc_rpc_count_abandoned(const struct hc_rpc_call *call);

/* Requests the first calls of that method from gRPC. */
void hc_rpc_call_request_first(struct hc_rpc *rpc, struct hc_rpc_served *served);

/*
 * Takes every call off the list of parked ones, and lets those that are not over leave.
 */
unsigned hc_rpc_call_end_all(struct hc_rpc *rpc);

/* When the server stops: finishes every call of a bidirectional method. */
void hc_rpc_call_end_streams(struct hc_rpc *rpc);

#endif
