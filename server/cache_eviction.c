/* SPDX-License-Identifier: Apache-2.0 */
#include "cache_eviction.h"

#include "cache_codec.h"
#include "cache_removal.h"
#include "service_cache.h"

#include <base/auto.h>

#include <hubcache/maintenance.h>

HC_DEFINE_AUTO_VALUE(hc_removal_result, hc_removal_result_clear)

int hc_cache_evict(void *ctx, struct hc_blocking_call *call,
                   const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__EvictRequest *asked = (const void *)message;
    const struct hc_evict_request request = {.bytes = asked->bytes,
                                             .dry_run = asked->dry_run,
                                             .options = hc_blocking_call_options(call)};
    struct hc_arena *arena = hc_blocking_call_arena(call);
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    Hubcache__V1__EvictResponse response;

    hubcache__v1__evict_response__init(&response);
    if (hc_resolver_evict(service->resolver, &request,
                          hc_blocking_call_cancellation(call), &result, err) < 0)
        return -1;
    if (hc_encode_removed(&result, arena, &response.removed, err) < 0 ||
        hc_encode_kept(&result, arena, &response.kept, err) < 0)
        return -1;
    response.n_removed = result.removed_count;
    response.n_kept = result.kept_count;
    response.freed_bytes = result.freed_bytes;
    if (!request.dry_run)
        hc_cache_note_removed(call, result.removed_files, result.freed_bytes);
    response.missing_bytes = result.missing_bytes;
    return hc_blocking_call_reply(call, &response.base, err);
}
