/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order holds the request as bytes because the message it came in is long gone when a
 * worker gets to it. Each function reads: unpack, decode, resolve, encode; the first of
 * these that fails makes the answer a failure.
 */
#include "resolve.h"

#include "arena.h"
#include "codec.h"
#include "wire.h"

#include <base/error.h>

#include <hubcache/v1/resolver.pb-c.h>

enum { WATCH_PROGRESS = 1 }; /* the field of WatchSnapshotResponse */

HC_DEFINE_AUTO_VALUE(hc_arena, hc_arena_reset)
HC_DEFINE_AUTO_VALUE(hc_file, hc_file_clear)
HC_DEFINE_AUTO_VALUE(hc_files, hc_files_clear)
HC_DEFINE_AUTO_VALUE(hc_snapshot, hc_snapshot_clear)

static struct hc_answer *run_file(void *ctx, const struct hc_order *order,
                                  struct hc_call *call, struct hc_errand *errand)
{
    const ProtobufCMessageDescriptor *type =
        &hubcache__v1__resolve_file_request__descriptor;
    Hubcache__V1__ResolveFileResponse answer;
    Hubcache__V1__ResolvedFile encoded;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_file) file = {0};
    struct hc_file_request request = {0};
    struct hc_resolving *self = ctx;
    struct hc_facts facts;
    struct hc_error err;
    const void *message;

    hubcache__v1__resolve_file_response__init(&answer);
    (void)errand;
    hc_arena_init(&arena);
    message = hc_wire_unpack(type, order->request, order->size, &arena, &err);
    if (!message || hc_decode_file(message, order->token, &request, &err) < 0 ||
        hc_resolve_file(self->resolver, &request, call, &file, &err) < 0) {
        facts = hc_facts_of(&request.repo, request.filename);
        return hc_status_answer(&err, &facts);
    }
    hc_encode_file(&file, &encoded);
    answer.file = &encoded;
    answer.cache_id = hc_lend(hc_resolver_cache_id(self->resolver));
    return hc_answer_new(&answer.base);
}

static struct hc_answer *run_files(void *ctx, const struct hc_order *order,
                                   struct hc_call *call, struct hc_errand *errand)
{
    const ProtobufCMessageDescriptor *type =
        &hubcache__v1__resolve_files_request__descriptor;
    Hubcache__V1__ResolveFilesResponse answer;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_files) files = {0};
    struct hc_files_request request = {0};
    struct hc_resolving *self = ctx;
    struct hc_facts facts;
    struct hc_error err;
    const void *message;

    (void)errand;
    hc_arena_init(&arena);
    message = hc_wire_unpack(type, order->request, order->size, &arena, &err);
    if (!message || hc_decode_files(message, order->token, &request, &err) < 0 ||
        hc_resolve_files(self->resolver, &request, call, &files, &err) < 0 ||
        hc_encode_files(&files, &arena, &answer, &err) < 0) {
        facts = hc_facts_of(&request.repo, NULL);
        return hc_status_answer(&err, &facts);
    }
    answer.cache_id = hc_lend(hc_resolver_cache_id(self->resolver));
    return hc_answer_new(&answer.base);
}

static void tell(void *ctx, const struct hc_progress *progress)
{
    struct hc_errand *errand = ctx;
    Hubcache__V1__SnapshotProgress encoded;
    HC_AUTO(hc_answer) *inner = NULL;
    HC_AUTO(hc_answer) *event = NULL;

    if (!hc_errand_is_watched(errand))
        return;
    hc_encode_progress(progress, &encoded);
    inner = hc_answer_new(&encoded.base);
    event = inner ? hc_answer_wrap(WATCH_PROGRESS, inner) : NULL;
    if (event)
        hc_errand_tell(errand, event);
}

static struct hc_answer *run_snapshot(void *ctx, const struct hc_order *order,
                                      struct hc_call *call, struct hc_errand *errand)
{
    const ProtobufCMessageDescriptor *type =
        &hubcache__v1__resolve_snapshot_request__descriptor;
    Hubcache__V1__ResolveSnapshotResponse answer;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_snapshot) snapshot = {0};
    struct hc_snapshot_request request = {0};
    struct hc_resolving *self = ctx;
    struct hc_facts facts;
    struct hc_error err;
    const void *message;

    hc_arena_init(&arena);
    message = hc_wire_unpack(type, order->request, order->size, &arena, &err);
    if (message && hc_decode_snapshot(message, order->token, &request, &err) == 0) {
        request.progress = tell;
        request.progress_ctx = errand;
    }
    if (!request.progress ||
        hc_resolve_snapshot(self->resolver, &request, call, &snapshot, &err) < 0 ||
        hc_encode_snapshot(&snapshot, &arena, &answer, &err) < 0) {
        facts = hc_facts_of(&request.repo, NULL);
        return hc_status_answer(&err, &facts);
    }
    answer.cache_id = hc_lend(hc_resolver_cache_id(self->resolver));
    return hc_answer_new(&answer.base);
}

void hc_resolving_init(struct hc_resolving *self, struct hc_resolver *resolver)
{
    *self = (struct hc_resolving){
        .resolver = resolver,
        .file = {.name = "ResolveFile", .run = run_file, .ctx = self},
        .files = {.name = "ResolveFiles", .run = run_files, .ctx = self},
        .snapshot = {.name = "ResolveSnapshot", .run = run_snapshot, .ctx = self},
    };
}
