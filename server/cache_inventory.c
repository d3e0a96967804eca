/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each function decodes its request, asks the library for a page and encodes it.
 */
#include "cache_inventory.h"

#include "cache_codec.h"
#include "service_cache.h"

#include <base/error.h>

#include <maintenance/inventory.h>

int hc_cache_list_repos(void *ctx, struct hc_blocking_call *call,
                        const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    HC_AUTO_VALUE(hc_cached_repos) repos = {0};
    struct hc_repos_request request;
    Hubcache__V1__ListReposResponse response;

    if (hc_decode_list_repos((const void *)message, hc_blocking_call_arena(call),
                             &request, err) < 0)
        return -1;
    request.options = hc_blocking_call_options(call);
    if (hc_resolver_list_repos(service->resolver, &request,
                               hc_blocking_call_cancellation(call), &repos, err) < 0 ||
        hc_encode_list_repos(&repos, hc_blocking_call_arena(call), &response, err) < 0)
        return -1;
    return hc_blocking_call_reply(call, &response.base, err);
}
