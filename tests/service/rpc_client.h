/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A minimal gRPC client: a test starts calls, any number at a time, and awaits them. A
 * failure of the client itself aborts the test program. One thread uses it.
 */
#ifndef HC_SERVICE_RPC_CLIENT_H
#define HC_SERVICE_RPC_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_client;
struct rpc_call;

struct rpc_request {
    const char *path;                /* "/hubcache.v1.Resolver/ResolveFile" */
    const ProtobufCMessage *message; /* or, when NULL, the bytes */
    const void *bytes;
    size_t size;
    bool has_no_message;       /* neither: the call ends before one */
    bool has_more;             /* the test sends more messages, and ends them */
    bool reads_nothing;        /* answers stay where flow control keeps them */
    const char *token;         /* Optional: x-hub-token */
    const char *authorization; /* Optional: the header */
    const char *traceparent;   /* likewise */
    const char *pod;           /* Optional: x-hubcache-pod */
    int64_t timeout_ms;        /* Optional: a deadline */
};

/* "127.0.0.1:50051", "unix:/path". */
struct rpc_client *rpc_client_open(const char *address);

/* What the client trusts and shows, in PEM. */
struct rpc_tls {
    const char *ca;
    const char *cert, *key; /* Optional: the client's certificate */
};

/* NULL: the first attempt to connect fails. */
struct rpc_client *rpc_client_open_tls(const char *address, const struct rpc_tls *tls);

/* Cancels and frees the calls that a failed test has left. */
void rpc_client_close(struct rpc_client *client);

struct rpc_call *rpc_call_start(struct rpc_client *client,
                                const struct rpc_request *request);
void rpc_call_cancel(struct rpc_call *call);

/* Sends one more message of a call that has_more, and waits until it has gone out. */
void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);

/* The last message has been sent. */
void rpc_call_send_end(struct rpc_call *call);

/* Waits until `count` messages have arrived or the call is over; returns their number. */
size_t rpc_call_await_messages(struct rpc_call *call, size_t count);

/* Waits until the call is over, and returns its status code. */
unsigned rpc_call_await(struct rpc_call *call);

/* Waits until the call is over, and frees it. */
void rpc_call_free(struct rpc_call *call);

/* Message `number`, from 0; the caller frees with protobuf_c_message_free_unpacked(). */
ProtobufCMessage *rpc_call_message(struct rpc_call *call, size_t number,
                                   const ProtobufCMessageDescriptor *type);

/*
 * Parts of the failure of a call, "" when absent; borrowed until the next of these calls.
 */
const char *rpc_call_error(struct rpc_call *call);
const char *rpc_call_reason(struct rpc_call *call);
const char *rpc_call_error_info(struct rpc_call *call,
                                const char *key);      /* of ErrorInfo */
const char *rpc_call_violation(struct rpc_call *call); /* BadRequest's field */
int64_t rpc_call_retry_ms(struct rpc_call *call);      /* RetryInfo's, or -1 */
const char *rpc_call_pushback(struct rpc_call *call);  /* grpc-retry-pushback-ms */

#endif
