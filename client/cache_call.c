/* SPDX-License-Identifier: Apache-2.0 */
/* The channel of a client, for messages that the client itself does not know. */
#include "cache_call.h"

#include "client.h"

ProtobufCMessage *hc_cache_call(struct hc_client *client,
                                const struct hc_channel_request *request,
                                struct hc_error *err)
{
    return hc_channel_call(hc_client_channel(client), request, err);
}
