/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rpc.c (the server), rpc_call.c (its calls) and rpc_batch.c (their operations)
 * share; nobody else includes it, so that nobody else knows gRPC.
 */
#ifndef HC_SERVER_RPC_CORE_H
#define HC_SERVER_RPC_CORE_H

#include "listener.h"
#include "rpc.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdalign.h>

/* What the tag of a call's event points to. */
struct hc_rpc_event {
    void (*happened)(struct hc_rpc_call *call, bool ok);
    struct hc_rpc_call *call;
};

/* `row` is NULL for calls of methods that there are not. */
struct hc_rpc_served {
    const struct hc_rpc_method *row;
    void *service;
    void *registered;
};

/* A thread that takes events, and its memory for the call that it hands over. */
struct hc_rpc_thread {
    struct hc_rpc *rpc;
    pthread_t handle;
    struct hc_arena arena;
    atomic_uint turns; /* odd while it handles an event */
};

struct hc_rpc_call {
    struct hc_rpc_event arrived, closed, sent, finished;
    struct hc_rpc *rpc;
    const struct hc_rpc_served *served;
    struct hc_rpc_thread *thread; /* that it was handed over by */
    struct hc_rpc_call *next_free;
    grpc_call *core;
    gpr_timespec deadline;
    grpc_metadata_array headers;
    grpc_byte_buffer *payload;
    grpc_call_details details; /* of an unknown method */
    grpc_metadata trailer;
    int is_cancelled;
    struct hc_request request;
    void (*leave)(struct hc_rpc_call *call);   /* parked when not NULL */
    struct hc_rpc_call *next_parked, **parked; /* NULL `parked`: not on the list */
    atomic_uint holders;
    struct {
        pthread_mutex_t lock;
        bool has_started; /* the headers are sent */
        bool is_sending;
        bool is_over;           /* finished by its method */
        struct hc_answer *next; /* waits for what is being sent */
        struct hc_answer *last; /* is_over: waits for it too */
    } shared;
    alignas(max_align_t) char scratch[HC_RPC_SCRATCH];
};

struct hc_rpc {
    grpc_server *server;
    grpc_completion_queue *queue;
    grpc_server_credentials *plain;
    struct hc_listener *listener;
    void (*finished)(void *ctx, const struct hc_request *request,
                     const struct hc_answer *answer); /* may be NULL */
    void *ctx;
    struct hc_rpc_served served[HC_RPC_METHODS_MAX];
    size_t served_count;
    struct hc_rpc_thread edge, relief; /* see rpc.c */
    struct hc_cancellation *end;       /* over: the relief is not needed any more */
    atomic_uint_least64_t last_id;
    bool is_started, has_relief;
    int drained_fd;        /* no call runs any more */
    int ended_fd;          /* and gRPC has let go of the last connection */
    atomic_uint order;     /* see hc_rpc_release_order() */
    atomic_bool is_ending; /* hc_rpc_end_calls() */
    struct {
        pthread_mutex_t lock;
        struct hc_rpc_call *free;
        struct hc_rpc_call *parked; /* whose callers have not heard of the end */
        unsigned free_count, live_count;
        bool is_stopping;
    } shared;
};

struct hc_rpc_batch {
    grpc_op ops[4];
    size_t count;
    grpc_byte_buffer *message;
    grpc_slice text;
};

void hc_rpc_batch_add_headers(struct hc_rpc_batch *batch);

/* Takes `bytes`. */
void hc_rpc_batch_add_message(struct hc_rpc_batch *batch, grpc_slice bytes);
void hc_rpc_batch_add_status(struct hc_rpc_batch *batch, unsigned code, const char *text);

/* Message and status, or a failure with its trailer; NULL: memory is short. */
void hc_rpc_batch_add_answer(struct hc_rpc_batch *batch, struct hc_rpc_call *call,
                             struct hc_answer *answer);

/* Ends when the call is over, for whatever cause. */
void hc_rpc_batch_add_close(struct hc_rpc_batch *batch, struct hc_rpc_call *call);

/* The answer's bytes, not copied. */
grpc_slice hc_rpc_batch_share(struct hc_answer *answer);

/* `event` tells of its end. */
void hc_rpc_batch_start(struct hc_rpc_batch *batch, struct hc_rpc_call *call,
                        struct hc_rpc_event *event);

/*
 * What a thread has written before it starts something at gRPC, the edge's thread may
 * read when the event comes. gRPC sees to that by means that ThreadSanitizer cannot see.
 */
static inline void hc_rpc_release_order(struct hc_rpc *rpc)
{
    atomic_fetch_add_explicit(&rpc->order, 1, memory_order_release);
}

static inline void hc_rpc_acquire_order(struct hc_rpc *rpc)
{
    (void)atomic_load_explicit(&rpc->order, memory_order_acquire);
}

/* Asks gRPC for one call of that method. */
void hc_rpc_call_request_next(struct hc_rpc *rpc, const struct hc_rpc_served *served);

/* Takes every call off the list of parked ones; how many of them were not over. */
unsigned hc_rpc_call_end_all(struct hc_rpc *rpc);

/* Frees the list. */
void hc_rpc_call_free_all(struct hc_rpc *rpc);

#endif
