/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the service hubcache.v1.Cache with the messages of its proto file, for the
 * command. A request has the method, HC_CACHE_METHOD("Pin"), its message, and the
 * descriptor of the response, &hubcache__v1__pin_response__descriptor; the answer is
 * such a response, which HC_AUTO_MESSAGE releases.
 *
 * A streaming method has `each` in the request as well: it receives every message, and
 * the answer is the last one. Callable from any thread.
 */
#ifndef HC_CLIENT_CACHE_CALL_H
#define HC_CLIENT_CACHE_CALL_H

#include "channel.h"
#include "message.h"

#include <hubcache-client/client.h>
#include <hubcache/v1/cache.pb-c.h>

#define HC_CACHE_METHOD(name) "/hubcache.v1.Cache/" name

/* As hc_channel_call(). */
ProtobufCMessage *hc_cache_call(struct hc_client *client,
                                const struct hc_channel_request *request,
                                struct hc_error *err);

/* For the texts of a request, which protobuf-c does not write to. */
static inline char *hc_cache_text(const char *text)
{
    union {
        const char *given;
        char *lent;
    } both = {.given = text ? text : ""};

    return both.lent;
}

#endif
