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
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    Hubcache__V1__EvictResponse response;
    struct hc_encoded_removal encoded;

    hubcache__v1__evict_response__init(&response);
    if (hc_resolver_evict(service->resolver, &request,
                          hc_blocking_call_cancellation(call), &result, err) < 0)
        return -1;
    if (hc_encode_removal(&result, hc_blocking_call_arena(call), &encoded, err) < 0)
        return -1;
    response.removed = encoded.removed;
    response.n_removed = encoded.removed_count;
    response.removed_total = encoded.removed_total;
    response.kept = encoded.kept;
    response.n_kept = encoded.kept_count;
    response.freed_bytes = result.freed_bytes;
    if (!request.dry_run)
        hc_cache_note_removed(call, result.removed_files, result.freed_bytes);
    response.missing_bytes = result.missing_bytes;
    return hc_blocking_call_reply(call, &response.base, err);
}
