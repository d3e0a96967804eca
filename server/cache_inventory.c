/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each function decodes its request, asks the library for a page and encodes it.
 */
#include "cache_inventory.h"

#include "cache_codec.h"
#include "cached_target.h"
#include "service_cache.h"
#include "usage_scanner.h"

#include <base/error.h>
#include <base/text.h>

#include <maintenance/fetched_usage.h>
#include <maintenance/file_inventory.h>
#include <maintenance/inventory.h>
#include <string.h>

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

int hc_cache_list_revisions(void *ctx, struct hc_blocking_call *call,
                            const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__ListRevisionsRequest *asked = (const void *)message;
    HC_AUTO_VALUE(hc_cached_revisions) revisions = {0};
    struct hc_revisions_request request = {.page_size = asked->page_size,
                                           .page_token = asked->page_token,
                                           .options = hc_blocking_call_options(call)};
    Hubcache__V1__ListRevisionsResponse response;

    if (hc_decode_cached_target(asked->repo_id, asked->repo_type, "", &request.repo,
                                err) < 0 ||
        hc_cached_target_take(service, call, &request.repo, err) < 0)
        return -1;
    if (hc_resolver_list_revisions(service->resolver, &request,
                                   hc_blocking_call_cancellation(call), &revisions,
                                   err) < 0 ||
        hc_encode_list_revisions(&revisions, hc_blocking_call_arena(call), &response,
                                 err) < 0)
        return -1;
    return hc_blocking_call_reply(call, &response.base, err);
}

int hc_cache_list_files(void *ctx, struct hc_blocking_call *call,
                        const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const Hubcache__V1__ListFilesRequest *asked = (const void *)message;
    HC_AUTO_VALUE(hc_cached_files) files = {0};
    struct hc_cached_files_request request = {.page_size = asked->page_size,
                                              .page_token = asked->page_token,
                                              .options = hc_blocking_call_options(call)};
    Hubcache__V1__ListFilesResponse response;

    if (hc_decode_cached_target(asked->repo_id, asked->repo_type, asked->revision,
                                &request.repo, err) < 0 ||
        hc_cached_target_take(service, call, &request.repo, err) < 0)
        return -1;
    if (hc_resolver_list_files(service->resolver, &request,
                               hc_blocking_call_cancellation(call), &files, err) < 0 ||
        hc_encode_list_files(&files, hc_blocking_call_arena(call), &response, err) < 0)
        return -1;
    return hc_blocking_call_reply(call, &response.base, err);
}

/* ---- usage ------------------------------------------------------------------------- */

/* "model/org/name". */
static char *usage_name(const struct hc_repo_usage *repo, struct hc_arena *arena,
                        struct hc_error *err)
{
    const char *type = hc_repo_type_name(repo->type);
    size_t size = strlen(type) + strlen(repo->id) + 2;
    char *name = hc_arena_take(arena, size);

    if (name)
        (void)hc_format(name, size, "%s/%s", type, repo->id);
    else
        (void)hc_fail_memory(err);
    return name;
}

static int usage_encode_repos(const struct hc_usage *usage, struct hc_arena *arena,
                              Hubcache__V1__GetUsageResponse *response,
                              struct hc_error *err)
{
    response->repos =
        (void *)hc_encode_list(arena, usage->listed, sizeof **response->repos, err);
    if (!response->repos)
        return -1;
    for (size_t i = 0; i < usage->listed; i++) {
        const struct hc_repo_usage *repo = &usage->repos[i];
        Hubcache__V1__Usage *row = response->repos[i];

        hubcache__v1__usage__init(row);
        row->name = usage_name(repo, arena, err);
        if (!row->name)
            return -1;
        row->size_bytes = repo->occupied_bytes;
        row->file_count = repo->files;
    }
    response->n_repos = usage->listed;
    return 0;
}

static int usage_encode_names(const struct hc_named_usages *names, struct hc_arena *arena,
                              Hubcache__V1__Usage ***rows, struct hc_error *err)
{
    *rows = (void *)hc_encode_list(arena, names->count, sizeof ***rows, err);
    if (!*rows)
        return -1;
    for (size_t i = 0; i < names->count; i++) {
        const struct hc_named_usage *named = &names->items[i];
        Hubcache__V1__Usage *row = (*rows)[i];

        hubcache__v1__usage__init(row);
        row->name = named->name;
        row->size_bytes = named->bytes;
        row->file_count = named->files;
        row->quota_bytes = named->quota_bytes;
    }
    return 0;
}

static int usage_encode_fetched(const struct hc_fetched_usage *fetched,
                                struct hc_arena *arena,
                                Hubcache__V1__GetUsageResponse *response,
                                struct hc_error *err)
{
    response->n_callers = fetched->callers.count;
    response->n_rules = fetched->rules.count;
    if (usage_encode_names(&fetched->callers, arena, &response->callers, err) < 0)
        return -1;
    return usage_encode_names(&fetched->rules, arena, &response->rules, err);
}

int hc_cache_get_usage(void *ctx, struct hc_blocking_call *call,
                       const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    struct hc_arena *arena = hc_blocking_call_arena(call);
    struct hc_repos_request request;
    HC_AUTO_VALUE(hc_usage) usage = {0};
    HC_AUTO_VALUE(hc_fetched_usage) fetched = {0};
    Hubcache__V1__GetUsageResponse response;
    uint64_t volume_size;

    hubcache__v1__get_usage_response__init(&response);
    if (hc_decode_get_usage((const void *)message, arena, &request, err) < 0)
        return -1;
    request.options = hc_blocking_call_options(call);
    if (hc_resolver_measure_usage(service->resolver, &request,
                                  hc_blocking_call_cancellation(call), &usage, err) < 0 ||
        hc_resolver_fetched_usage(service->resolver, &request.options,
                                  hc_blocking_call_cancellation(call), &fetched,
                                  err) < 0 ||
        usage_encode_repos(&usage, arena, &response, err) < 0 ||
        usage_encode_fetched(&fetched, arena, &response, err) < 0 ||
        hc_encode_time(usage.began_ms, arena, &response.scanned, err) < 0)
        return -1;
    response.size_bytes = usage.occupied_bytes;
    response.file_count = usage.files;
    response.limit_bytes = usage.limit_bytes;
    response.free_floor_bytes = usage.floor_bytes;
    (void)hc_resolver_volume_space(service->resolver, &volume_size, &response.free_bytes);
    return hc_blocking_call_reply(call, &response.base, err);
}
