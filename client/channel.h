/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a hubcached and blocking calls over it, for any number of threads at
 * once. Nothing outside rpc.c knows that gRPC does it. The connection is made by the
 * first call; when it is lost, the next call makes it anew.
 */
#ifndef HC_CLIENT_CHANNEL_H
#define HC_CLIENT_CHANNEL_H

#include "base/auto.h"
#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct hc_channel;

struct hc_channel_options {
    const char *server;       /* Required. */
    const char *bearer_token; /* Optional: printable ASCII without spaces. */
    const char *hub_token;    /* Optional: likewise. */
    int64_t timeout_ms;       /* Optional: 0 waits for ever. */
};

/* A message as it arrives, borrowed. False gives the call up. */
typedef bool (*hc_channel_message_fn)(void *ctx, const ProtobufCMessage *message);

struct hc_channel_request {
    const char *method;                       /* Required. "/package.Service/Method" */
    const ProtobufCMessage *message;          /* Required. */
    const ProtobufCMessageDescriptor *answer; /* Required. */
    hc_channel_message_fn each; /* Optional: sees every message of the answer */
    void *ctx;
};

/* Copies `options`. INVALID_OPTIONS for an unusable address. */
struct hc_channel *hc_channel_open(const struct hc_channel_options *options,
                                   struct hc_error *err);

/* No call may be running. */
void hc_channel_close(struct hc_channel *channel);
HC_DEFINE_AUTO(hc_channel, hc_channel_close)

/* As given to open. */
const char *hc_channel_server(const struct hc_channel *channel);

/*
 * Where a restart of the server, or a full queue, made the call fail, it is repeated after
 * a growing pause, eight times in all, while the timeout has not passed. `each` may so see
 * messages of more than one attempt.
 *
 * Sends the request and reads the answer to its end: the last message, which is the only
 * one unless the method streams; the caller frees it with
 * protobuf_c_message_free_unpacked. NULL on failure; CANCELLED when `each` gave up.
 */
ProtobufCMessage *hc_channel_call(struct hc_channel *channel,
                                  const struct hc_channel_request *request,
                                  struct hc_error *err);

#endif
