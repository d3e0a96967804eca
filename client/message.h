/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An unpacked message that goes with its scope: HC_AUTO_MESSAGE *answer = NULL;
 */
#ifndef HC_CLIENT_MESSAGE_H
#define HC_CLIENT_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

static inline void hc_message_auto(ProtobufCMessage *const *message)
{
    if (*message)
        protobuf_c_message_free_unpacked(*message, NULL);
}

#define HC_AUTO_MESSAGE __attribute__((cleanup(hc_message_auto))) ProtobufCMessage

#endif
