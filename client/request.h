/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A caller's request as the message that is sent. The message borrows every string of the
 * request; both must live until it is packed.
 */
#ifndef HC_CLIENT_REQUEST_H
#define HC_CLIENT_REQUEST_H

#include <hubcache-client/client.h>

#include <google/protobuf/duration.pb-c.h>
#include <hubcache/v1/resolver.pb-c.h>

/* What the messages below point to. */
struct hc_message_options {
    Google__Protobuf__Duration max_staleness;
    Hubcache__V1__FetchOptions message;
};

void hc_message_encode_file(const struct hc_client_file_request *request,
                            struct hc_message_options *options,
                            Hubcache__V1__ResolveFileRequest *message);
void hc_message_encode_files(const struct hc_client_files_request *request,
                             struct hc_message_options *options,
                             Hubcache__V1__ResolveFilesRequest *message);
void hc_message_encode_snapshot(const struct hc_client_snapshot_request *request,
                                struct hc_message_options *options,
                                Hubcache__V1__ResolveSnapshotRequest *message);

#endif
