/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each function decodes its request, lets the library do it, and encodes what it did. The
 * audit log has the first repo that is selected, and how many files and bytes were
 * removed.
 */
#include "cache_removal.h"

#include "cache_codec.h"
#include "cached_target.h"
#include "codec.h"
#include "service_cache.h"

#include <base/error.h>

#include <maintenance/prune.h>
#include <maintenance/removal.h>

enum { SELECTORS_MAX = 1000 };

void hc_cache_note_removed(struct hc_blocking_call *call, uint64_t files, uint64_t bytes)
{
    struct hc_facts *facts = &hc_blocking_call_request(call)->facts;

    facts->files = files < UINT32_MAX ? (unsigned)files : UINT32_MAX;
    facts->bytes = bytes;
}

/* ---- DeleteRevisions --------------------------------------------------------------- */

static int selector_decode(const Hubcache__V1__CacheSelector *message,
                           struct hc_removal_selector *selector, struct hc_error *err)
{
    selector->patterns = (const char *const *)message->patterns;
    selector->pattern_count = message->n_patterns;
    return hc_decode_cached_target(message->repo_id, message->repo_type,
                                   message->revision, &selector->repo, err);
}

static int selectors_decode(const struct hc_cache_service *service,
                            struct hc_blocking_call *call,
                            const Hubcache__V1__DeleteRevisionsRequest *message,
                            struct hc_delete_request *request, struct hc_error *err)
{
    size_t count = message->n_selectors;
    struct hc_removal_selector *selectors;

    if (count == 0 || count > SELECTORS_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "selectors",
                             "there must be 1 to %d selectors", SELECTORS_MAX);
    selectors = hc_arena_take(hc_blocking_call_arena(call), count * sizeof *selectors);
    if (!selectors)
        return hc_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        if (selector_decode(message->selectors[i], &selectors[i], err) < 0 ||
            hc_cached_target_replace_alias(service, call, &selectors[i].repo, err) < 0)
            return -1;
    }
    hc_request_set_target(hc_blocking_call_request(call), &selectors[0].repo, NULL);
    for (size_t i = 0; i < selectors[0].pattern_count; i++)
        hc_request_add_pattern(hc_blocking_call_request(call), '+',
                               selectors[0].patterns[i]);
    *request = (struct hc_delete_request){.selectors = selectors,
                                          .selector_count = count,
                                          .dry_run = message->dry_run,
                                          .options = hc_blocking_call_options(call)};
    return 0;
}

int hc_cache_delete_revisions(void *ctx, struct hc_blocking_call *call,
                              const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    struct hc_arena *arena = hc_blocking_call_arena(call);
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    Hubcache__V1__DeleteRevisionsResponse response;
    struct hc_encoded_removal encoded;
    struct hc_delete_request request = {0};

    if (selectors_decode(service, call, (const void *)message, &request, err) < 0 ||
        hc_resolver_delete(service->resolver, &request,
                           hc_blocking_call_cancellation(call), &result, err) < 0) {
        if (request.selector_count > 1) /* the message says which of them failed */
            hc_request_set_target(hc_blocking_call_request(call),
                                  &(struct hc_target){.id = ""}, NULL);
        return -1;
    }
    if (!request.dry_run)
        hc_cache_note_removed(call, result.removed_files, result.freed_bytes);
    if (hc_encode_removal(&result, arena, &encoded, err) < 0)
        return -1;
    hubcache__v1__delete_revisions_response__init(&response);
    response.removed = encoded.removed;
    response.n_removed = encoded.removed_count;
    response.removed_total = encoded.removed_total;
    response.kept = encoded.kept;
    response.n_kept = encoded.kept_count;
    response.kept_total = encoded.kept_total;
    response.freed_bytes = result.freed_bytes;
    return hc_blocking_call_reply(call, &response.base, err);
}

/* ---- Prune ------------------------------------------------------------------------- */

static int findings_encode(const struct hc_prune_result *result, struct hc_arena *arena,
                           Hubcache__V1__Finding ***list, struct hc_error *err)
{
    *list = (void *)hc_encode_list(arena, result->file_count, sizeof ***list, err);
    if (!*list)
        return -1;
    for (size_t i = 0; i < result->file_count; i++) {
        const struct hc_pruned_file *file = &result->files[i];
        Hubcache__V1__Finding *finding = (*list)[i];

        hubcache__v1__finding__init(finding);
        finding->kind = (Hubcache__V1__FindingKind)file->kind;
        finding->cache_path = file->cache_path;
        finding->size_bytes = file->size_bytes;
        if (file->is_removed)
            finding->action = hc_unconst("removed");
    }
    return 0;
}

static int prune_reply(struct hc_blocking_call *call,
                       const struct hc_prune_result *result, struct hc_error *err)
{
    struct hc_arena *arena = hc_blocking_call_arena(call);
    Hubcache__V1__PruneResponse response;
    struct hc_encoded_removal encoded;

    hubcache__v1__prune_response__init(&response);
    if (hc_encode_removal(&result->revisions, arena, &encoded, err) < 0 ||
        findings_encode(result, arena, &response.findings, err) < 0)
        return -1;
    response.removed = encoded.removed;
    response.n_removed = encoded.removed_count;
    response.removed_total = encoded.removed_total;
    response.kept = encoded.kept;
    response.n_kept = encoded.kept_count;
    response.kept_total = encoded.kept_total;
    response.n_findings = result->file_count;
    response.finding_total =
        result->file_total < UINT32_MAX ? (uint32_t)result->file_total : UINT32_MAX;
    response.freed_bytes = result->freed_bytes;
    return hc_blocking_call_reply(call, &response.base, err);
}

static int prune_decode(struct hc_blocking_call *call,
                        const Hubcache__V1__PruneRequest *message,
                        struct hc_prune_request *request, struct hc_error *err)
{
    *request = (struct hc_prune_request){
        .repo_ids = (const char *const *)message->repo_ids,
        .repo_id_count = message->n_repo_ids,
        .repo_types = hc_decode_repo_types(message->repo_types, message->n_repo_types,
                                           hc_blocking_call_arena(call), err),
        .repo_type_count = message->n_repo_types,
        .dry_run = message->dry_run,
        .options = hc_blocking_call_options(call),
    };
    if (!request->repo_types)
        return -1;
    for (size_t i = 0; i < request->repo_id_count; i++)
        hc_request_add_pattern(hc_blocking_call_request(call), '+', request->repo_ids[i]);
    if (!message->unused_for)
        return 0;
    if (hc_decode_duration(message->unused_for, "unused_for", &request->unused_for_ms,
                           err) < 0)
        return -1;
    if (request->unused_for_ms == 0)
        request->unused_for_ms = -1;
    return 0;
}

int hc_cache_prune(void *ctx, struct hc_blocking_call *call,
                   const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    HC_AUTO_VALUE(hc_prune_result) result = {0};
    struct hc_prune_request request;

    if (prune_decode(call, (const void *)message, &request, err) < 0 ||
        hc_resolver_prune(service->resolver, &request,
                          hc_blocking_call_cancellation(call), &result, err) < 0)
        return -1;
    if (!request.dry_run)
        hc_cache_note_removed(call, result.revisions.removed_files + result.file_removed,
                              result.freed_bytes);
    return prune_reply(call, &result, err);
}

/* ---- Pin and Unpin ----------------------------------------------------------------- */

int hc_cache_pin(void *ctx, struct hc_blocking_call *call,
                 const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__PinRequest *pin = (const void *)message;
    struct hc_pin_request request = {.reason = pin->reason,
                                     .options = hc_blocking_call_options(call)};
    Hubcache__V1__PinResponse response;
    char commit[HC_COMMIT_SIZE];

    if (hc_decode_cached_target(pin->repo_id, pin->repo_type, pin->revision,
                                &request.repo, err) < 0 ||
        hc_cached_target_take(service, call, &request.repo, err) < 0)
        return -1;
    if (hc_resolver_pin(service->resolver, &request, commit, err) < 0)
        return -1;
    hubcache__v1__pin_response__init(&response);
    response.commit_hash = commit;
    return hc_blocking_call_reply(call, &response.base, err);
}

int hc_cache_unpin(void *ctx, struct hc_blocking_call *call,
                   const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__UnpinRequest *unpin = (const void *)message;
    struct hc_pin_request request = {.options = hc_blocking_call_options(call)};
    Hubcache__V1__UnpinResponse response;
    char commit[HC_COMMIT_SIZE];
    int was_pinned;

    if (hc_decode_cached_target(unpin->repo_id, unpin->repo_type, unpin->revision,
                                &request.repo, err) < 0 ||
        hc_cached_target_take(service, call, &request.repo, err) < 0)
        return -1;
    was_pinned = hc_resolver_unpin(service->resolver, &request, commit, err);
    if (was_pinned < 0)
        return -1;
    hubcache__v1__unpin_response__init(&response);
    response.commit_hash = commit;
    response.was_pinned = was_pinned == 1;
    return hc_blocking_call_reply(call, &response.base, err);
}
