/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the service Cache each. The answers say nothing that a client needs. */
#include "client_lease.h"

#include "cache_call.h"

#include <hubcache-client/client.h>

int hc_lease_renew_within(struct hc_client *client, const char *lease_id,
                          int64_t lease_ms, int64_t limit_ms, struct hc_error *err)
{
    Hubcache__V1__RenewLeaseRequest message;
    Google__Protobuf__Duration lease = GOOGLE__PROTOBUF__DURATION__INIT;
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("RenewLease"),
        .message = &message.base,
        .response = &hubcache__v1__renew_lease_response__descriptor,
        .limit_ms = limit_ms,
    };
    HC_AUTO_MESSAGE *response = NULL;

    hubcache__v1__renew_lease_request__init(&message);
    hc_message_set_duration(&lease, lease_ms);
    message.lease_id = hc_cache_text(lease_id);
    message.lease = &lease;
    response = hc_cache_call(client, &call, err);
    return response ? 0 : -1;
}

int hc_lease_release_within(struct hc_client *client, const char *lease_id,
                            int64_t limit_ms, struct hc_error *err)
{
    Hubcache__V1__ReleaseLeaseRequest message;
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("ReleaseLease"),
        .message = &message.base,
        .response = &hubcache__v1__release_lease_response__descriptor,
        .limit_ms = limit_ms,
    };
    HC_AUTO_MESSAGE *response = NULL;

    hubcache__v1__release_lease_request__init(&message);
    message.lease_id = hc_cache_text(lease_id);
    response = hc_cache_call(client, &call, err);
    return response ? 0 : -1;
}

int hc_client_renew_lease(struct hc_client *client, const char *lease_id,
                          int64_t lease_ms, struct hc_error *err)
{
    return hc_lease_renew_within(client, lease_id, lease_ms, 0, err);
}

int hc_client_release_lease(struct hc_client *client, const char *lease_id,
                            struct hc_error *err)
{
    return hc_lease_release_within(client, lease_id, 0, err);
}
