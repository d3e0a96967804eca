/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order holds the request as bytes because the message it came in is long gone when a
 * thread gets to it. Each function reads: unpack, decode, resolve, encode; the first of
 * these that fails makes the answer a failure. Looking at the disk and asking the Hub
 * differ in what "resolve" is.
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

/* How an order is carried out. */
struct way {
    bool asks_hub; /* else the disk alone is looked at */
    struct hc_cancellation *call;
    struct hc_coalesced_request *errand; /* hears of progress */
};

static int found_of(int resolved)
{
    return resolved < 0 ? -1 : 1;
}

static void note_hit(struct hc_resolving *self, const struct way *way)
{
    if (!way->asks_hub)
        hc_metrics_add_hit(self->metrics);
}

/* False: the Hub has to be asked. */
static bool answer_file(struct hc_resolving *self, const struct hc_request_key *order,
                        const struct way *way, struct hc_answer **result)
{
    const ProtobufCMessageDescriptor *type =
        &hubcache__v1__resolve_file_request__descriptor;
    Hubcache__V1__ResolveFileResponse answer;
    Hubcache__V1__ResolvedFile encoded;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_file) file = {0};
    struct hc_file_request request = {0};
    struct hc_error_info info;
    struct hc_error err;
    const void *message;
    int64_t began_ms;
    int found = -1;

    hubcache__v1__resolve_file_response__init(&answer);
    hc_arena_init(&arena);
    message = hc_wire_unpack(type, order->request, order->size, &arena, &err);
    if (message && hc_decode_file(message, order->token, &request, &err) == 0) {
        request.options.caller = order->caller;
        began_ms = hc_monotonic_ms();
        found = way->asks_hub
                    ? found_of(hc_resolve_file(self->resolver, &request, way->call, &file,
                                               &err))
                    : hc_resolve_file_cached(self->resolver, &request, &file, &err);
        if (!way->asks_hub)
            hc_volume_speed_add_lookup(&self->speed, hc_monotonic_ms() - began_ms);
    }
    if (found == 0)
        return false;
    if (found < 0) {
        info = hc_error_info_of(&request.repo, request.filename);
        *result = hc_status_answer(&err, &info);
        return true;
    }
    note_hit(self, way);
    hc_encode_file(&file, &encoded);
    answer.file = &encoded;
    answer.cache_id = hc_unconst(hc_resolver_cache_id(self->resolver));
    *result = hc_answer_new(&answer.base);
    return true;
}

static bool answer_files(struct hc_resolving *self, const struct hc_request_key *order,
                         const struct way *way, struct hc_answer **result)
{
    const ProtobufCMessageDescriptor *type =
        &hubcache__v1__resolve_files_request__descriptor;
    Hubcache__V1__ResolveFilesResponse answer;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_files) files = {0};
    struct hc_files_request request = {0};
    struct hc_error_info info;
    struct hc_error err;
    const void *message;
    int found = -1;

    hc_arena_init(&arena);
    message = hc_wire_unpack(type, order->request, order->size, &arena, &err);
    if (message && hc_decode_files(message, order->token, &request, &err) == 0) {
        request.options.caller = order->caller;
        found = way->asks_hub
                    ? found_of(hc_resolve_files(self->resolver, &request, way->call,
                                                &files, &err))
                    : hc_resolve_files_cached(self->resolver, &request, &files, &err);
    }
    if (found == 0)
        return false;
    if (found < 0 || hc_encode_files(&files, &arena, &answer, &err) < 0) {
        info = hc_error_info_of(&request.repo, NULL);
        *result = hc_status_answer(&err, &info);
        return true;
    }
    note_hit(self, way);
    answer.cache_id = hc_unconst(hc_resolver_cache_id(self->resolver));
    *result = hc_answer_new(&answer.base);
    return true;
}

static void send_progress(void *ctx, const struct hc_progress *progress)
{
    struct hc_coalesced_request *errand = ctx;
    Hubcache__V1__SnapshotProgress encoded;
    HC_AUTO(hc_answer) *inner = NULL;
    HC_AUTO(hc_answer) *event = NULL;

    if (!hc_coalesced_request_is_watched(errand))
        return;
    hc_encode_progress(progress, &encoded);
    inner = hc_answer_new(&encoded.base);
    event = inner ? hc_answer_wrap(WATCH_PROGRESS, inner) : NULL;
    if (event)
        hc_coalesced_request_send_progress(errand, event);
}

static bool answer_snapshot(struct hc_resolving *self, const struct hc_request_key *order,
                            const struct way *way, struct hc_answer **result)
{
    const ProtobufCMessageDescriptor *type =
        &hubcache__v1__resolve_snapshot_request__descriptor;
    Hubcache__V1__ResolveSnapshotResponse answer;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_snapshot) snapshot = {0};
    struct hc_snapshot_request request = {0};
    struct hc_error_info info;
    struct hc_error err;
    const void *message;
    int found = -1;

    hc_arena_init(&arena);
    message = hc_wire_unpack(type, order->request, order->size, &arena, &err);
    if (message && hc_decode_snapshot(message, order->token, &request, &err) == 0) {
        request.options.caller = order->caller;
        request.progress = send_progress;
        request.progress_ctx = way->errand;
        found = way->asks_hub ? found_of(hc_resolve_snapshot(self->resolver, &request,
                                                             way->call, &snapshot, &err))
                              : hc_resolve_snapshot_cached(self->resolver, &request,
                                                           &snapshot, &err);
    }
    if (found == 0)
        return false;
    if (found < 0 || hc_encode_snapshot(&snapshot, &arena, &answer, &err) < 0) {
        info = hc_error_info_of(&request.repo, NULL);
        *result = hc_status_answer(&err, &info);
        return true;
    }
    answer.cache_id = hc_unconst(hc_resolver_cache_id(self->resolver));
    *result = hc_answer_new(&answer.base);
    return true;
}

static const struct way disk_only = {.asks_hub = false};

#define DEFINE_STEPS(kind)                                                               \
    static bool look_at_##kind(void *ctx, const struct hc_request_key *order,            \
                               struct hc_answer **answer)                                \
    {                                                                                    \
        return answer_##kind(ctx, order, &disk_only, answer);                            \
    }                                                                                    \
    static struct hc_answer *run_##kind(void *ctx, const struct hc_request_key *order,   \
                                        struct hc_cancellation *call,                    \
                                        struct hc_coalesced_request *errand)             \
    {                                                                                    \
        struct hc_answer *answer = NULL;                                                 \
                                                                                         \
        (void)answer_##kind(ctx, order, &(struct way){true, call, errand}, &answer);     \
        return answer;                                                                   \
    }

DEFINE_STEPS(file)
DEFINE_STEPS(files)
DEFINE_STEPS(snapshot)

void hc_resolving_init(struct hc_resolving *self, struct hc_resolver *resolver,
                       struct hc_metrics *metrics)
{
    *self = (struct hc_resolving){
        .resolver = resolver,
        .metrics = metrics,
        .file = {"ResolveFile", look_at_file, run_file, self},
        .files = {"ResolveFiles", look_at_files, run_files, self},
        .snapshot = {"ResolveSnapshot", look_at_snapshot, run_snapshot, self},
    };
}
