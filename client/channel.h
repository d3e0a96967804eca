/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's gRPC channel to one hubcached, and blocking calls over it. Any number of
 * threads may call at once. The connection is made by the first call; when it is lost,
 * the next call makes a new one. Of the client, only channel.c and connection.[ch] know
 * gRPC's headers.
 */
#ifndef HC_CLIENT_CHANNEL_H
#define HC_CLIENT_CHANNEL_H

#include "base/auto.h"
#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct hc_channel;
struct hc_client_options;

/*
 * Receives a message as it arrives; the message is borrowed for the call. Returning false
 * ends the call with CANCELLED.
 */
typedef bool (*hc_channel_message_fn)(void *ctx, const ProtobufCMessage *message);

/*
 * The same for the bytes of a message, in the pieces that the network brought. The bytes
 * stay until the function has returned for two more messages, or hc_channel_settle_fn
 * has.
 */
typedef bool (*hc_channel_pieces_fn)(void *ctx, const struct iovec *pieces, size_t count);

/* Called when an attempt is over, before the bytes of its last messages are freed. */
typedef void (*hc_channel_settle_fn)(void *ctx);

/*
 * Called before a call is made again; it may change the message of the request. Sets
 * `*has_progress` if the attempt before was of use: then the time to wait counts anew.
 * False: no further attempt is needed.
 */
typedef bool (*hc_channel_resume_fn)(void *ctx, bool *has_progress);

struct hc_channel_request {
    const char *method;                         /* Required. "/package.Service/Method" */
    const ProtobufCMessage *message;            /* Required. */
    const ProtobufCMessageDescriptor *response; /* Required by hc_channel_call(). */
    hc_channel_message_fn each;  /* Optional: receives every message of the response. */
    hc_channel_pieces_fn pieces; /* Required by hc_channel_read(). */
    hc_channel_settle_fn settle; /* Optional. */
    hc_channel_resume_fn resume; /* Optional. */
    void *ctx;                   /* Optional: given to the four. */
    bool takes_lease;            /* the call has the header x-hubcache-pod */
    int64_t limit_ms; /* Optional: the call is made once, for so long at most */
};

/*
 * Opens a channel to `options->server`, which is required here. Copies the
 * options; the mount is not looked at. NULL on failure: as hc_connection_open().
 */
struct hc_channel *hc_channel_open(const struct hc_client_options *options,
                                   struct hc_error *err);

/* No call may be running. Wipes the tokens. NULL is fine. */
void hc_channel_close(struct hc_channel *channel);
HC_DEFINE_AUTO(hc_channel, hc_channel_close)

/* The address given to open, borrowed until close. */
const char *hc_channel_server(const struct hc_channel *channel);

/*
 * Sends the request and reads the response to its end. Returns the last message, which is
 * the only one unless the method streams; the caller frees it with
 * protobuf_c_message_free_unpacked(). NULL on failure; CANCELLED when `each` returned
 * false.
 *
 * A call that fails because the server restarts or its queue is full is made again after
 * a growing pause, for `wait_ms` of the options and within the timeout. `each` may
 * therefore receive messages of more than one attempt.
 */
ProtobufCMessage *hc_channel_call(struct hc_channel *channel,
                                  const struct hc_channel_request *request,
                                  struct hc_error *err);

/*
 * The same for a streaming method whose messages are not decoded: `pieces` receives each
 * of them. 0: the server ended the call with OK; it may have sent nothing.
 */
int hc_channel_read(struct hc_channel *channel, const struct hc_channel_request *request,
                    struct hc_error *err);

#endif
