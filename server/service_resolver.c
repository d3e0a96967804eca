/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is decoded and checked. A lookup of a few files is made at once, on the edge's
 * thread, as long as the volume is quick. If the disk does not answer the call, or for
 * lookups that take longer, the call is parked and joins a coalesced request: a worker
 * thread unpacks the same request again and resolves it with the same functions. A call
 * for a snapshot is always parked: to prove that one is complete, each of its files is
 * looked at.
 *
 * To add a method: a row in `methods` and a function. To add a kind of request: a row of
 * functions in resolve.c.
 */
#include "service_resolver.h"

#include "audit.h"
#include "caller.h"
#include "leased_call.h"
#include "log.h"
#include "parked_call.h"
#include "read_stream.h"
#include "recent_answers.h"
#include "resolve.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <hubcache/v1/resolver.pb-c.h>
#include <stdatomic.h>

enum { INLINE_LOOKUPS_MAX = 16, SLOW_LOOKS_MIN = 64 };

/* How a call is resolved: its answer is an event; the audit log gets the files. */
enum { CALL_WATCHES = 1, CALL_LISTS_FILES = 2 };

struct hc_resolver_service {
    struct hc_resolver *resolver;
    struct hc_coalescer *coalescer;
    struct hc_metrics *metrics;
    struct hc_workers *disk;
    atomic_bool is_looking; /* a thread that takes events looks at the disk */
    atomic_uint slow_looks; /* in a row, up to SLOW_LOOKS_MIN */
    struct hc_coalescer_work work;
    struct hc_read_streams *reads;
    struct hc_leased_calls *leased;
    struct hc_recent_answers *recent;
    struct hc_audit *audit; /* NULL: none */
};

/* ---- parked calls ------------------------------------------------------------------ */

/*
 * Completes the key of a call. The request's bytes are packed again: two equal requests
 * may differ in unknown fields or in the sequence of fields. False: memory is short.
 */
static bool key_complete(struct hc_request_key *key, struct hc_rpc_call *call,
                         const ProtobufCMessage *message)
{
    struct hc_request *request = hc_rpc_call_request(call);
    uint8_t *bytes;

    key->size = protobuf_c_message_get_packed_size(message);
    key->request = bytes = hc_arena_take(request->arena, key->size);
    if (!bytes)
        return false;
    (void)protobuf_c_message_pack(message, bytes);
    hc_request_identify_by_address(request, call);
    key->caller = request->caller;
    key->token = request->hub_token;
    key->identity = request->identity;
    key->trace = request->trace;
    return true;
}

/* Parks the call. */
static void call_coalesce(struct hc_resolver_service *service, struct hc_rpc_call *call,
                          struct hc_request_key *key, const ProtobufCMessage *message,
                          bool watches)
{
    if (key_complete(key, call, message))
        hc_parked_call_begin(service->coalescer, call, key, watches);
    else
        hc_rpc_call_finish(call, NULL);
}

/* ---- provenance -------------------------------------------------------------------- */

/* With a policy, the audit log gets each file of an answer, unless the same caller got an
 * equal answer within the last second: then they are there. */
static bool service_notes_files(const struct hc_resolver_service *service)
{
    return service->audit && hc_resolver_policy_generation(service->resolver) > 0;
}

/* The line of the call itself tells of one file. */
static void service_note_files(const struct hc_resolver_service *service,
                               const struct hc_resolve *resolve,
                               const struct hc_caller *identity)
{
    size_t count;
    const struct hc_file *files = hc_resolve_result_files(resolve, &count);

    if (service_notes_files(service))
        hc_audit_add_files(service->audit, identity, files, count);
}

/* ---- the edge's thread ------------------------------------------------------------- */

static void call_fail(struct hc_rpc_call *call, const struct hc_resolve *resolve,
                      const struct hc_error *err)
{
    HC_AUTO(hc_answer) *failure =
        hc_answer_of_error(err, resolve->target, resolve->filename);

    hc_rpc_call_finish(call, failure);
}

static struct hc_recent_key service_recent_key(const struct hc_resolver_service *service,
                                               const struct hc_request *request)
{
    const struct hc_caller *identity = request->identity;

    return (
        struct hc_recent_key){.method = request->method_number,
                              .policy = hc_resolver_policy_generation(service->resolver),
                              .caller = identity ? identity->key : hc_keyed_hash_of(NULL),
                              .bytes = request->bytes,
                              .size = request->size};
}

/* The answer, if it may be kept; else NULL. */
static struct hc_answer *call_pack_answer(const struct hc_resolver_service *service,
                                          struct hc_rpc_call *call,
                                          const struct hc_resolve *resolve,
                                          const ProtobufCMessage *response)
{
    const struct hc_request *request = hc_rpc_call_request(call);
    struct hc_answer *answer;

    if (*request->hub_token || (!hc_reuse_is_valid(&resolve->reuse, hc_monotonic_ns()) &&
                                !service_notes_files(service)))
        return NULL;
    answer = hc_answer_new(response);
    if (!answer)
        return NULL;
    answer->facts = resolve->facts;
    (void)hc_answer_set_subject(answer, &request->subject);
    return answer;
}

/* Whether the audit log lacks the files of the answer, of which NULL has none. */
static bool call_lacks_files(const struct hc_resolver_service *service,
                             const struct hc_request *request,
                             const struct hc_answer *answer)
{
    const struct hc_recent_key key = service_recent_key(service, request);

    return service_notes_files(service) &&
           !(answer &&
             hc_recent_answers_have(service->recent, &key, answer, request->arrived_ns));
}

/* The answer that an equal request of the same caller got just now. */
static struct hc_answer *call_recall(void *ctx, struct hc_rpc_call *call)
{
    struct hc_resolver_service *service = ctx;
    struct hc_request *request = hc_rpc_call_request(call);
    struct hc_recent_key key;
    struct hc_answer *answer;
    const char *token;
    size_t size;

    if (hc_rpc_call_header(call, "x-hub-token", &token, &size))
        return NULL;
    hc_request_identify(request, call);
    key = service_recent_key(service, request);
    answer = hc_recent_answers_find(service->recent, &key, request->arrived_ns);
    if (answer)
        hc_metrics_add_hit(service->metrics);
    return answer;
}

/* What is noted is kept as of now, so that the files are noted again in a second. */
static void call_note_and_keep(struct hc_resolver_service *service,
                               struct hc_rpc_call *call, const struct hc_resolve *resolve,
                               struct hc_answer *answer)
{
    const struct hc_request *request = hc_rpc_call_request(call);
    const struct hc_recent_key key = service_recent_key(service, request);

    if (service_notes_files(service) && !call_lacks_files(service, request, answer))
        return;
    service_note_files(service, resolve, request->identity);
    if (answer && answer->subject)
        hc_recent_answers_add(service->recent, &key, answer, &resolve->reuse);
}

/*
 * A hit, on the edge's thread: the answer is packed into gRPC's own memory. A call that
 * watches gets it as its only event. False: the files of the answer are to be listed
 * first, for the audit log.
 */
static bool call_reply(struct hc_resolver_service *service, struct hc_rpc_call *call,
                       struct hc_resolve *resolve, unsigned how)
{
    Hubcache__V1__WatchSnapshotResponse event;
    HC_AUTO(hc_answer) *kept = NULL;
    struct hc_error err;
    const ProtobufCMessage *response = hc_resolve_encode(resolve, &err);

    if (!response) {
        hc_rpc_call_finish(call, NULL);
        return true;
    }
    if (!(how & CALL_WATCHES))
        kept = call_pack_answer(service, call, resolve, response);
    if (!(how & CALL_LISTS_FILES) && resolve->kind == &hc_resolve_kind_snapshot &&
        call_lacks_files(service, hc_rpc_call_request(call), kept))
        return false;
    hc_rpc_call_request(call)->facts = resolve->facts;
    call_note_and_keep(service, call, resolve, kept);
    hc_metrics_add_hit(service->metrics);
    if (kept) {
        hc_rpc_call_finish(call, kept);
        return true;
    }
    hubcache__v1__watch_snapshot_response__init(&event);
    event.event_case = HUBCACHE__V1__WATCH_SNAPSHOT_RESPONSE__EVENT_RESULT;
    event.result = (void *)hc_unconst((const void *)response);
    hc_rpc_call_reply(call, how & CALL_WATCHES ? &event.base : response);
    return true;
}

/*
 * The caller is set even if the token is refused, so that the log and the limits have it.
 */
static int call_decode(struct hc_rpc_call *call, struct hc_resolve *resolve,
                       const ProtobufCMessage *message, struct hc_error *err)
{
    struct hc_request *request = hc_rpc_call_request(call);
    int decoded = hc_request_read_token(request, call, err);
    struct hc_fetch_options options;

    hc_request_identify(request, call);
    options = hc_request_options(request);
    if (decoded == 0)
        decoded = hc_resolve_decode(resolve, message, &options, err);
    hc_resolve_describe(resolve, request);
    return decoded;
}

/*
 * After a look. Threads that wait for a slow volume need no processor, so there are more
 * of them; on a quick one they would only get in each other's way. A few looks that a
 * busy machine delays start no threads.
 */
static void service_note_speed(struct hc_resolver_service *service)
{
    bool is_slow = hc_resolver_is_volume_slow(service->resolver);
    unsigned count = atomic_load_explicit(&service->slow_looks, memory_order_relaxed);

    if (is_slow && count < SLOW_LOOKS_MIN &&
        atomic_fetch_add(&service->slow_looks, 1) + 1 == SLOW_LOOKS_MIN) {
        hc_workers_set_divisor(service->disk, 1);
        HC_LOG(HC_LOG_INFO, "the volume is slow",
               HC_NUMBER("times_as_many_disk_workers", HC_SLOW_DISK_THREADS));
    }
    if (!is_slow && count > 0) {
        atomic_store(&service->slow_looks, 0);
        hc_workers_set_divisor(service->disk, HC_SLOW_DISK_THREADS);
    }
}

/*
 * Looks at the disk, if that is a few lookups on a quick volume; else returns 0. A
 * snapshot is more, unless memory has a proof of it: then its ref is looked at. While a
 * lookup hangs, no other thread that takes events begins one.
 */
static int lookup_inline(struct hc_resolver_service *service, struct hc_resolve *resolve,
                         bool *was_looked_up, struct hc_error *err)
{
    bool is_short = resolve->lookups <= INLINE_LOOKUPS_MAX;
    int found;

    *was_looked_up = false;
    if (hc_resolver_is_volume_slow(service->resolver) ||
        atomic_exchange(&service->is_looking, true))
        return 0;
    *was_looked_up = is_short;
    found =
        is_short ? hc_resolve_at_disk(resolve, err) : hc_resolve_at_proof(resolve, err);
    atomic_store(&service->is_looking, false);
    service_note_speed(service);
    return found;
}

/* What the client calls itself, else its address. The texts are borrowed. */
static const char *call_pod(struct hc_rpc_call *call, char text[HC_LEASE_POD_SIZE + 1])
{
    const char *header;
    size_t size;

    if (!hc_rpc_call_header(call, "x-hubcache-pod", &header, &size) || size == 0) {
        hc_rpc_call_peer(call, text);
        return text;
    }
    if (size > HC_LEASE_POD_SIZE) /* one byte too many is enough to be refused */
        size = HC_LEASE_POD_SIZE;
    memcpy(text, header, size);
    text[size] = '\0';
    return text;
}

/* The answer that memory has, for hc_leased_call_begin(): 1, 0, -1. */
static int call_recall_leased(struct hc_resolver_service *service,
                              struct hc_rpc_call *call, struct hc_resolve *resolve,
                              struct hc_answer **answer, struct hc_error *err)
{
    int found = hc_resolve_at_memory(resolve, err);
    const ProtobufCMessage *response = found > 0 ? hc_resolve_encode(resolve, err) : NULL;

    if (found <= 0)
        return found;
    *answer = response ? hc_answer_new(response) : NULL;
    if (!*answer)
        return hc_fail_memory(err);
    (*answer)->facts = resolve->facts;
    service_note_files(service, resolve, hc_rpc_call_request(call)->identity);
    hc_metrics_add_hit(service->metrics);
    return 1;
}

/* A call of one of these methods that asks for a lease, of `lease_ms`. */
static void call_resolve_leased(struct hc_resolver_service *service,
                                struct hc_rpc_call *call, struct hc_resolve *resolve,
                                const ProtobufCMessage *message,
                                const struct hc_leased_request *request)
{
    char pod[HC_LEASE_POD_SIZE + 1];
    struct hc_leased_request leased = *request;
    struct hc_request_key key = {.kind = resolve->kind};
    HC_AUTO(hc_answer) *answer = NULL;
    struct hc_error err;
    int result;

    leased.terms.pod = call_pod(call, pod);
    result = hc_resolver_check_lease(service->resolver, &leased.terms, &err);
    if (result == 0)
        result = call_recall_leased(service, call, resolve, &answer, &err);
    key.repo = hc_request_repo_hash(resolve->target);
    if (result >= 0 && !key_complete(&key, call, message))
        result = hc_fail_memory(&err);
    if (result < 0) {
        call_fail(call, resolve, &err);
        return;
    }
    leased.key = &key;
    leased.answer = answer;
    hc_leased_call_begin(service->leased, call, &leased);
}

/* False: the files of the answer are to be listed first. */
static bool call_try(struct hc_resolver_service *service, struct hc_rpc_call *call,
                     const struct hc_resolve_kind *kind, const ProtobufCMessage *message,
                     unsigned how)
{
    HC_AUTO_VALUE(hc_resolve)
    resolve = hc_resolve_new(kind, service->resolver, hc_rpc_call_request(call)->arena);
    struct hc_leased_request leased = {.watches = how & CALL_WATCHES};
    struct hc_request_key key = {.kind = kind};
    struct hc_error err;
    int found = call_decode(call, &resolve, message, &err);

    if (found == 0 && how & CALL_LISTS_FILES)
        hc_resolve_list_files(&resolve);
    if (found == 0)
        found = hc_resolve_take_lease(&resolve, message, &leased.terms.duration_ms, &err);
    if (found == 1) {
        if (service_notes_files(service))
            hc_resolve_list_files(&resolve);
        call_resolve_leased(service, call, &resolve, message, &leased);
        return true;
    }
    if (found == 0)
        found = hc_resolve_at_memory(&resolve, &err);
    if (found == 0)
        found = lookup_inline(service, &resolve, &key.was_looked_up, &err);
    if (found < 0) {
        call_fail(call, &resolve, &err);
    } else if (found > 0) {
        return call_reply(service, call, &resolve, how);
    } else {
        key.repo = hc_request_repo_hash(resolve.target);
        key.policy = hc_resolver_policy_generation(service->resolver);
        call_coalesce(service, call, &key, message, how & CALL_WATCHES);
    }
    return true;
}

/* A call of one of the methods that resolve. `how`: see CALL_WATCHES. */
static void call_resolve(struct hc_resolver_service *service, struct hc_rpc_call *call,
                         const struct hc_resolve_kind *kind,
                         const ProtobufCMessage *message, unsigned how)
{
    if (!call_try(service, call, kind, message, how))
        (void)call_try(service, call, kind, message, how | CALL_LISTS_FILES);
}

/* ---- worker threads ---------------------------------------------------------------- */

static int key_decode(const struct hc_resolver_service *service,
                      const struct hc_request_key *key, struct hc_resolve *resolve,
                      struct hc_error *err)
{
    if (hc_resolve_decode_key(resolve, key, err) < 0)
        return -1;
    if (service_notes_files(service))
        hc_resolve_list_files(resolve);
    return 0;
}

/* `found` 1: encodes the result. NULL: memory is short even for the failure. */
static struct hc_answer *resolve_answer(struct hc_resolve *resolve, int found,
                                        struct hc_error *err)
{
    const ProtobufCMessage *response = found > 0 ? hc_resolve_encode(resolve, err) : NULL;
    struct hc_answer *answer =
        response ? hc_answer_new(response)
                 : hc_answer_of_error(err, resolve->target, resolve->filename);

    if (answer && response)
        answer->facts = resolve->facts;
    return answer;
}

/* On a thread of the disk pool. False: the Hub has to be asked. */
static bool key_look(void *ctx, const struct hc_request_key *key,
                     struct hc_answer **answer)
{
    struct hc_resolver_service *service = ctx;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_resolve)
    resolve = hc_resolve_new(key->kind, service->resolver, &arena);
    struct hc_error err;
    int found = -1;

    hc_arena_init(&arena);
    if (key_decode(service, key, &resolve, &err) == 0)
        found = hc_resolve_at_disk(&resolve, &err);
    service_note_speed(service);
    if (found == 0)
        return false;
    if (found > 0 && resolve.lookups < HC_LOOKUPS_UNBOUNDED)
        hc_metrics_add_hit(service->metrics);
    *answer = resolve_answer(&resolve, found, &err);
    if (found > 0)
        service_note_files(service, &resolve, key->identity);
    return true;
}

/* On a thread of the Hub pool. */
static struct hc_answer *key_run(void *ctx, const struct hc_request_key *key,
                                 struct hc_cancellation *cancellation,
                                 struct hc_coalesced_request *request)
{
    struct hc_resolver_service *service = ctx;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_resolve)
    resolve = hc_resolve_new(key->kind, service->resolver, &arena);
    struct hc_error err;
    char traceparent[HC_TRACEPARENT_SIZE];
    struct hc_answer *answer;
    int found = -1;

    hc_arena_init(&arena);
    resolve.traceparent = traceparent;
    hc_metrics_add_miss(service->metrics);
    hc_trace_format(&key->trace, traceparent);
    if (key_decode(service, key, &resolve, &err) == 0)
        found = hc_resolve_at_hub(&resolve, cancellation, request, &err);
    answer = resolve_answer(&resolve, found, &err);
    if (found > 0)
        service_note_files(service, &resolve, key->identity);
    return answer;
}

/* ---- methods ----------------------------------------------------------------------- */

static void method_resolve_file(void *ctx, struct hc_rpc_call *call,
                                const ProtobufCMessage *message)
{
    call_resolve(ctx, call, &hc_resolve_kind_file, message, 0);
}

static void method_resolve_files(void *ctx, struct hc_rpc_call *call,
                                 const ProtobufCMessage *message)
{
    call_resolve(ctx, call, &hc_resolve_kind_files, message, 0);
}

static void method_resolve_snapshot(void *ctx, struct hc_rpc_call *call,
                                    const ProtobufCMessage *message)
{
    call_resolve(ctx, call, &hc_resolve_kind_snapshot, message, 0);
}

/* Without `snapshot` it is an empty request, which the library refuses with a reason. */
static void method_watch_snapshot(void *ctx, struct hc_rpc_call *call,
                                  const ProtobufCMessage *message)
{
    Hubcache__V1__ResolveSnapshotRequest none;
    const Hubcache__V1__WatchSnapshotRequest *request = (const void *)message;

    hubcache__v1__resolve_snapshot_request__init(&none);
    call_resolve(ctx, call, &hc_resolve_kind_snapshot,
                 request->snapshot ? &request->snapshot->base : &none.base, CALL_WATCHES);
}

/*
 * The file is always resolved on a pool, in work that calls of ResolveFile share: to open
 * the file takes a thread anyway. Without `file` it is an empty request, as above. Its
 * bytes are about to be read, so they are not read ahead.
 */
static void method_read_file(void *ctx, struct hc_rpc_call *call,
                             const ProtobufCMessage *message)
{
    struct hc_resolver_service *service = ctx;
    const Hubcache__V1__ReadFileRequest *request = (const void *)message;
    Hubcache__V1__ResolveFileRequest none;
    const ProtobufCMessage *file = request->file ? &request->file->base : &none.base;
    HC_AUTO_VALUE(hc_resolve)
    resolve = hc_resolve_new(&hc_resolve_kind_file, service->resolver,
                             hc_rpc_call_request(call)->arena);
    struct hc_request_key key = {.kind = &hc_resolve_kind_file};
    struct hc_error err;
    int result;

    hubcache__v1__resolve_file_request__init(&none);
    if (request->file && request->file->options)
        request->file->options->warm = false;
    result = call_decode(call, &resolve, file, &err);
    if (result == 0 && resolve.request.file.options.dry_run)
        result = hc_fail_field(&err, HC_INVALID_OPTIONS, "options.dry_run",
                               "a dry run reads nothing: ask ResolveFile for it");
    if (result == 0 && request->file && request->file->options &&
        request->file->options->lease)
        result = hc_fail_field(&err, HC_INVALID_OPTIONS, "options.lease",
                               "ReadFile keeps the file open and needs no lease");
    if (result == 0 && !key_complete(&key, call, file))
        result = hc_fail_memory(&err);
    if (result == 0) {
        key.repo = hc_request_repo_hash(resolve.target);
        key.policy = hc_resolver_policy_generation(service->resolver);
        result = hc_read_streams_begin(service->reads, call, &key, request, &err);
    }
    if (result < 0)
        call_fail(call, &resolve, &err);
}

static void method_get_server_info(void *ctx, struct hc_rpc_call *call,
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
    {PATH("ResolveFile"), &hubcache__v1__resolve_file_request__descriptor,
     method_resolve_file, HC_RPC_UNARY, call_recall},
    {PATH("ResolveFiles"), &hubcache__v1__resolve_files_request__descriptor,
     method_resolve_files, HC_RPC_UNARY, NULL},
    {PATH("ResolveSnapshot"), &hubcache__v1__resolve_snapshot_request__descriptor,
     method_resolve_snapshot, HC_RPC_UNARY, call_recall},
    {PATH("WatchSnapshot"), &hubcache__v1__watch_snapshot_request__descriptor,
     method_watch_snapshot, HC_RPC_SERVER_STREAMING, NULL},
    {PATH("ReadFile"), &hubcache__v1__read_file_request__descriptor, method_read_file,
     HC_RPC_SERVER_STREAMING, NULL},
    {PATH("GetServerInfo"), &hubcache__v1__get_server_info_request__descriptor,
     method_get_server_info, HC_RPC_UNARY, NULL},
};

/* ---- the interface ----------------------------------------------------------------- */

struct hc_resolver_service *hc_resolver_service_new(struct hc_resolver *resolver,
                                                    struct hc_workers *disk,
                                                    struct hc_workers *hub,
                                                    struct hc_metrics *metrics,
                                                    struct hc_error *err)
{
    HC_AUTO(hc_resolver_service) *service = calloc(1, sizeof *service);

    if (!service) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    service->resolver = resolver;
    service->metrics = metrics;
    service->disk = disk;
    hc_workers_set_divisor(disk, HC_SLOW_DISK_THREADS);
    service->recent = hc_recent_answers_new(err);
    if (!service->recent)
        return NULL;
    service->work = (struct hc_coalescer_work){key_look, key_run, service};
    service->coalescer = hc_coalescer_open(disk, hub, &service->work, err);
    if (!service->coalescer)
        return NULL;
    service->leased = hc_leased_calls_open(resolver, service->coalescer, err);
    if (!service->leased)
        return NULL;
    service->reads = hc_read_streams_open(resolver, service->coalescer, err);
    return service->reads ? hc_take(&service) : NULL;
}

void hc_resolver_service_free(struct hc_resolver_service *service)
{
    if (!service)
        return;
    hc_leased_calls_close(service->leased);
    hc_coalescer_close(service->coalescer);
    hc_read_streams_close(service->reads);
    hc_recent_answers_free(service->recent);
    free(service);
}

struct hc_coalescer *
hc_resolver_service_coalescer(const struct hc_resolver_service *service)
{
    return service->coalescer;
}

struct hc_read_streams *
hc_resolver_service_reads(const struct hc_resolver_service *service)
{
    return service->reads;
}

void hc_resolver_service_set_audit(struct hc_resolver_service *service,
                                   struct hc_audit *audit)
{
    service->audit = audit;
}

int hc_resolver_service_serve(struct hc_resolver_service *service, struct hc_rpc *rpc,
                              struct hc_error *err)
{
    return hc_rpc_add(rpc, methods, sizeof methods / sizeof *methods, service, err);
}
