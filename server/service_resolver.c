/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is decoded and checked. A lookup of a few files is made at once, on the edge's
 * thread, as long as the volume is quick (pace.h); when it does not answer the call, and
 * for lookups that take longer, the call is parked and joins an errand. Snapshots always
 * do, because proving that one is whole looks at every file of it.
 */
#include "service_resolver.h"

#include "arena.h"
#include "codec.h"
#include "resolve.h"
#include "wire.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <hubcache/v1/resolver.pb-c.h>
#include <string.h>

enum {
    TOKEN_MAX = 4096,
    WATCH_RESULT = 2, /* the field of WatchSnapshotResponse */
    INLINE_NAMES_MAX = 16,
    RETRY_AFTER_MS = 1000
};

struct hc_resolver_service {
    struct hc_resolver *resolver;
    struct hc_coalescer *coalescer;
    struct hc_metrics *metrics;
    struct hc_resolving resolving;
};

/* A parked call, in its scratch memory. */
struct parked_call {
    struct hc_waiter waiter;
    struct hc_rpc_call *call;
    struct hc_coalescer *coalescer;
    bool watches;
};

_Static_assert(sizeof(struct parked_call) <= HC_RPC_SCRATCH,
               "it lives in the scratch memory");

HC_DEFINE_AUTO_VALUE(hc_file, hc_file_clear)
HC_DEFINE_AUTO_VALUE(hc_files, hc_files_clear)

/* --- passengers ----------------------------------------------------------------------
 */

static struct parked_call *parked_call_of(struct hc_waiter *waiter)
{
    return (struct parked_call *)waiter;
}

static void parked_call_finish(struct hc_waiter *waiter, struct hc_answer *answer)
{
    struct parked_call *parked_call = parked_call_of(waiter);
    HC_AUTO(hc_answer) *event = NULL;

    if (!parked_call->watches || !answer || answer->code != 0) {
        hc_rpc_call_finish(parked_call->call, answer);
        return;
    }
    event = hc_answer_wrap(WATCH_RESULT, answer);
    hc_rpc_call_finish(parked_call->call, event);
}

static void parked_call_send_progress(struct hc_waiter *waiter, struct hc_answer *message)
{
    hc_rpc_call_send(parked_call_of(waiter)->call, message);
}

static void parked_call_hold(struct hc_waiter *waiter)
{
    hc_rpc_call_hold(parked_call_of(waiter)->call);
}

static void parked_call_release(struct hc_waiter *waiter)
{
    hc_rpc_call_release(parked_call_of(waiter)->call);
}

static const struct hc_waiter_type parked_call_waiter = {parked_call_finish,
                                                         parked_call_send_progress,
                                                         parked_call_hold,
                                                         parked_call_release};

static void parked_call_failure(const struct hc_rpc_call *call, int64_t deadline_ms,
                                struct hc_error *err)
{
    if (deadline_ms <= hc_monotonic_ms()) {
        (void)hc_fail(err, HC_DEADLINE_EXCEEDED, "the caller's deadline passed");
    } else if (hc_rpc_call_is_shutting_down(call)) {
        (void)hc_fail(err, HC_SHUTTING_DOWN,
                      "this hubcached stops before the answer is there: ask again, "
                      "another replica or the next start goes on with the download");
        err->retry_after_ms = RETRY_AFTER_MS;
    } else {
        (void)hc_fail(err, HC_CANCELLED, "the caller left");
    }
}

static void parked_call_leave(struct hc_rpc_call *call)
{
    struct parked_call *parked_call = hc_rpc_call_scratch(call);
    HC_AUTO(hc_answer) *answer = NULL;
    struct hc_error err;

    if (!hc_coalescer_leave(parked_call->coalescer, &parked_call->waiter))
        return;
    parked_call_failure(call, parked_call->waiter.deadline_ms, &err);
    answer = hc_status_answer(&err, NULL);
    hc_rpc_call_finish(call, answer);
}

static void park_call(struct hc_resolver_service *service, struct hc_rpc_call *call,
                      const struct hc_request_key *order, bool watches)
{
    struct parked_call *parked_call = hc_rpc_call_scratch(call);

    *parked_call = (struct parked_call){
        .waiter = {.type = &parked_call_waiter,
                   .deadline_ms = hc_rpc_call_deadline_ms(call),
                   .wants_progress = watches},
        .call = call,
        .coalescer = service->coalescer,
        .watches = watches,
    };
    hc_rpc_call_park(call, parked_call_leave);
    hc_coalescer_join(service->coalescer, order, &parked_call->waiter);
}

/*
 * Whose share of threads and places a call has: that of the identity that it names, of its
 * Hub token, or else of the address that it comes from.
 */
static uint64_t caller_key(const struct hc_rpc_call *call, const char *token)
{
    char address[HC_RPC_PEER_MAX];
    const char *value;
    size_t size;

    if (hc_rpc_call_header(call, "authorization", &value, &size))
        return hc_hash_bytes(HC_HASH_START, value, size);
    if (token[0])
        return hc_hash_bytes(HC_HASH_START, token, strlen(token));
    hc_rpc_call_peer(call, address);
    return hc_hash_bytes(HC_HASH_START, address, strlen(address));
}

static uint64_t repo_key(const struct hc_target *repo)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, &repo->type, sizeof repo->type);

    return hc_hash_bytes(hash, repo->id, strlen(repo->id));
}

/* `errand` has all but the request, which is packed once more, without whatever made two
 * equal ones differ. */
static void coalesce_call(struct hc_resolver_service *service, struct hc_rpc_call *call,
                          struct hc_request_key key, const ProtobufCMessage *message,
                          bool watches)
{
    uint8_t *bytes;

    key.size = protobuf_c_message_get_packed_size(message);
    key.request = bytes = hc_arena_take(hc_rpc_call_arena(call), key.size);
    key.caller = caller_key(call, key.token);
    if (!bytes) {
        hc_rpc_call_finish(call, NULL);
        return;
    }
    (void)protobuf_c_message_pack(message, bytes);
    park_call(service, call, &key, watches);
}

/* --- the request ----------------------------------------------------------------------
 */

static void call_fail(struct hc_rpc_call *call, const struct hc_error *err,
                      const struct hc_target *target, const char *filename)
{
    struct hc_error_info info = hc_error_info_of(target, filename);
    HC_AUTO(hc_answer) *failure = hc_status_answer(err, &info);

    hc_rpc_call_finish(call, failure);
}

static bool is_white_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* The caller's own Hub token, "" when there is none. Its bytes go into a header; white
 * space around them is that of the file or variable that the caller took it from. */
static int read_token(const struct hc_rpc_call *call, const char **token,
                      struct hc_error *err)
{
    const char *value = "";
    char *copy;
    size_t size = 0;

    *token = "";
    if (!hc_rpc_call_header(call, "x-hub-token", &value, &size))
        return 0;
    for (; size > 0 && is_white_space(value[size - 1]); size--)
        continue;
    for (; size > 0 && is_white_space(*value); size--)
        value++;
    if (size > TOKEN_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "x-hub-token",
                             "x-hub-token is longer than %d bytes", TOKEN_MAX);
    for (size_t i = 0; i < size; i++) {
        if (value[i] < 0x21 || value[i] > 0x7e)
            return hc_fail_field(err, HC_INVALID_OPTIONS, "x-hub-token",
                                 "x-hub-token holds a space or an unprintable byte");
    }
    copy = hc_arena_take(hc_rpc_call_arena(call), size + 1);
    if (!copy)
        return hc_fail_memory(err);
    memcpy(copy, value, size);
    copy[size] = '\0';
    *token = copy;
    return 0;
}

/* --- methods -------------------------------------------------------------------------
 */

static void reply_file(struct hc_resolver_service *service, struct hc_rpc_call *call,
                       const struct hc_file *file)
{
    Hubcache__V1__ResolveFileResponse answer;
    Hubcache__V1__ResolvedFile encoded;

    hubcache__v1__resolve_file_response__init(&answer);
    hc_encode_file(file, &encoded);
    answer.file = &encoded;
    answer.cache_id = hc_unconst(hc_resolver_cache_id(service->resolver));
    hc_metrics_add_hit(service->metrics);
    hc_rpc_call_reply(call, &answer.base);
}

static void resolve_file(void *ctx, struct hc_rpc_call *call,
                         const ProtobufCMessage *message)
{
    struct hc_resolver_service *service = ctx;
    HC_AUTO_VALUE(hc_file) file = {0};
    struct hc_file_request request = {0};
    struct hc_volume_speed *speed = &service->resolving.speed;
    const int64_t began_ms = hc_monotonic_ms();
    const char *token;
    struct hc_error err;
    bool has_looked = false;
    int found = -1;

    if (read_token(call, &token, &err) == 0 &&
        hc_decode_file((const void *)message, token, &request, &err) == 0) {
        has_looked = hc_volume_speed_begin_lookup(speed);
        found = has_looked
                    ? hc_resolve_file_cached(service->resolver, &request, &file, &err)
                    : 0;
        if (has_looked)
            hc_volume_speed_end_lookup(speed, hc_monotonic_ms() - began_ms);
    }
    if (found > 0)
        reply_file(service, call, &file);
    else if (found == 0)
        coalesce_call(service, call,
                      (struct hc_request_key){.kind = &service->resolving.file,
                                              .token = token,
                                              .repo = repo_key(&request.repo),
                                              .was_looked_up = has_looked},
                      message, false);
    else
        call_fail(call, &err, &request.repo, request.filename);
}

static void reply_files(struct hc_resolver_service *service, struct hc_rpc_call *call,
                        const struct hc_files *files)
{
    Hubcache__V1__ResolveFilesResponse answer;
    struct hc_error err;

    if (hc_encode_files(files, hc_rpc_call_arena(call), &answer, &err) < 0) {
        hc_rpc_call_finish(call, NULL);
    } else {
        answer.cache_id = hc_unconst(hc_resolver_cache_id(service->resolver));
        hc_metrics_add_hit(service->metrics);
        hc_rpc_call_reply(call, &answer.base);
    }
}

static void resolve_files(void *ctx, struct hc_rpc_call *call,
                          const ProtobufCMessage *message)
{
    struct hc_resolver_service *service = ctx;
    HC_AUTO_VALUE(hc_files) files = {0};
    struct hc_files_request request = {0};
    struct hc_volume_speed *speed = &service->resolving.speed;
    const int64_t began_ms = hc_monotonic_ms();
    const char *token;
    struct hc_error err;
    bool has_looked = false;
    int found = -1;

    if (read_token(call, &token, &err) == 0 &&
        hc_decode_files((const void *)message, token, &request, &err) == 0) {
        has_looked = request.filename_count <= INLINE_NAMES_MAX &&
                     hc_volume_speed_begin_lookup(speed);
        found = has_looked
                    ? hc_resolve_files_cached(service->resolver, &request, &files, &err)
                    : 0;
        if (has_looked)
            hc_volume_speed_end_lookup(speed, hc_monotonic_ms() - began_ms);
    }
    if (found > 0)
        reply_files(service, call, &files);
    else if (found == 0)
        coalesce_call(service, call,
                      (struct hc_request_key){.kind = &service->resolving.files,
                                              .token = token,
                                              .repo = repo_key(&request.repo),
                                              .was_looked_up = has_looked},
                      message, false);
    else
        call_fail(call, &err, &request.repo, NULL);
}

static void begin_snapshot(struct hc_resolver_service *service, struct hc_rpc_call *call,
                           const Hubcache__V1__ResolveSnapshotRequest *message,
                           bool watches)
{
    struct hc_snapshot_request request = {0};
    const char *token;
    struct hc_error err;

    if (read_token(call, &token, &err) < 0 ||
        hc_decode_snapshot(message, token, &request, &err) < 0)
        call_fail(call, &err, &request.repo, NULL);
    else
        coalesce_call(service, call,
                      (struct hc_request_key){.kind = &service->resolving.snapshot,
                                              .token = token,
                                              .repo = repo_key(&request.repo)},
                      &message->base, watches);
}

static void resolve_snapshot(void *ctx, struct hc_rpc_call *call,
                             const ProtobufCMessage *message)
{
    begin_snapshot(ctx, call, (const void *)message, false);
}

/* Without `snapshot` it is an empty request, of which the library says what is wrong. */
static void watch_snapshot(void *ctx, struct hc_rpc_call *call,
                           const ProtobufCMessage *message)
{
    Hubcache__V1__ResolveSnapshotRequest none;
    const Hubcache__V1__WatchSnapshotRequest *request = (const void *)message;

    hubcache__v1__resolve_snapshot_request__init(&none);
    begin_snapshot(ctx, call, request->snapshot ? request->snapshot : &none, true);
}

static void get_server_info(void *ctx, struct hc_rpc_call *call,
                            const ProtobufCMessage *message)
{
    const struct hc_resolver_service *service = ctx;
    Hubcache__V1__GetServerInfoResponse answer;

    hubcache__v1__get_server_info_response__init(&answer);
    (void)message;
    answer.version = hc_unconst(hc_version());
    answer.cache_root = hc_unconst(hc_resolver_cache_root(service->resolver));
    answer.cache_id = hc_unconst(hc_resolver_cache_id(service->resolver));
    answer.offline = hc_resolver_is_offline(service->resolver);
    answer.endpoint = hc_unconst(hc_resolver_endpoint(service->resolver));
    hc_rpc_call_reply(call, &answer.base);
}

#define PATH(name) "/" HC_RESOLVER_SERVICE "/" name

static const struct hc_rpc_method methods[] = {
    {PATH("ResolveFile"), &hubcache__v1__resolve_file_request__descriptor, resolve_file,
     false},
    {PATH("ResolveFiles"), &hubcache__v1__resolve_files_request__descriptor,
     resolve_files, false},
    {PATH("ResolveSnapshot"), &hubcache__v1__resolve_snapshot_request__descriptor,
     resolve_snapshot, false},
    {PATH("WatchSnapshot"), &hubcache__v1__watch_snapshot_request__descriptor,
     watch_snapshot, true},
    {PATH("GetServerInfo"), &hubcache__v1__get_server_info_request__descriptor,
     get_server_info, false},
};

/* --- public --------------------------------------------------------------------------
 */

struct hc_resolver_service *hc_resolver_service_new(struct hc_resolver *resolver,
                                                    struct hc_coalescer *coalescer,
                                                    struct hc_metrics *metrics,
                                                    struct hc_error *err)
{
    struct hc_resolver_service *service = calloc(1, sizeof *service);

    if (!service) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    service->resolver = resolver;
    service->coalescer = coalescer;
    service->metrics = metrics;
    hc_resolving_init(&service->resolving, resolver, metrics);
    return service;
}

void hc_resolver_service_free(struct hc_resolver_service *service)
{
    free(service);
}

int hc_resolver_service_serve(struct hc_resolver_service *service, struct hc_rpc *rpc,
                              struct hc_error *err)
{
    return hc_rpc_add(rpc, methods, sizeof methods / sizeof *methods, service, err);
}
