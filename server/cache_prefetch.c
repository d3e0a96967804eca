/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a prefetch:
 *
 *     queued    for a thread of the pool. The caller is told at once that it is, by a
 *               first message of progress
 *     running   a thread resolves one snapshot after the other
 *     over      all are there, or have failed, or the server stops
 *
 * Meanwhile its call is
 *
 *     attached  it gets progress, and each result or failure
 *     left      the caller has left, its deadline has passed, it has taken no message for
 *               SEND_MS, or the server stops: the call is finished, and the prefetch
 *               continues without it
 *
 * The member `call` says which: the thread that sets it to NULL finishes the call. The
 * task and the call have a reference to the prefetch each, and the last one frees it.
 */
#include "cache_prefetch.h"

#include "audit.h"
#include "cache_codec.h"
#include "caller.h"
#include "codec.h"
#include "log.h"
#include "resolve.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/workers.h>

#include <hubcache/v1/cache.pb-c.h>
#include <pthread.h>
#include <string.h>

enum { SEND_MS = 60 * 1000 };

struct prefetch {
    struct hc_task task; /* first: the task is cast to it */
    LIST_ENTRY(prefetch) link;
    struct hc_prefetches *prefetches;
    struct hc_cancellation *cancellation;
    const Hubcache__V1__PrefetchRequest *request; /* in the arena, as the next */
    const char *hub_token;
    struct hc_caller *identity;
    uint64_t caller;
    struct hc_trace trace;
    unsigned current; /* the snapshot that is resolved */
    atomic_uint references;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct hc_rpc_call *call; /* NULL: it has left */
        bool is_sending;          /* a message is on its way */
    } shared;
    struct hc_arena arena;
};

struct hc_prefetches {
    struct hc_resolver *resolver;
    struct hc_audit *audit; /* NULL: none */
    struct hc_workers *workers;
    atomic_uint_least64_t fetched, failed;
    struct {
        pthread_mutex_t lock;
        LIST_HEAD(, prefetch) list; /* those that are not over */
        bool is_cancelled;
    } shared;
};

/* ---- one prefetch ------------------------------------------------------------------ */

static void prefetch_release(struct prefetch *prefetch)
{
    if (!prefetch || atomic_fetch_sub(&prefetch->references, 1) > 1)
        return;
    hc_cancellation_free(prefetch->cancellation);
    hc_caller_release(prefetch->identity);
    (void)pthread_cond_destroy(&prefetch->shared.changed);
    (void)pthread_mutex_destroy(&prefetch->shared.lock);
    hc_arena_reset(&prefetch->arena);
    free(prefetch);
}

HC_DEFINE_AUTO(prefetch, prefetch_release)

/* With one reference. */
static struct prefetch *prefetch_new(struct hc_prefetches *prefetches)
{
    struct prefetch *prefetch = calloc(1, sizeof *prefetch);

    if (!prefetch)
        return NULL;
    prefetch->prefetches = prefetches;
    atomic_store(&prefetch->references, 1);
    hc_arena_init(&prefetch->arena);
    (void)pthread_mutex_init(&prefetch->shared.lock, NULL);
    hc_condition_init(&prefetch->shared.changed);
    prefetch->cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    if (prefetch->cancellation)
        return prefetch;
    prefetch_release(prefetch);
    return NULL;
}

/* What the edge wipes when `start` returns is copied: the message and the token. */
static int prefetch_copy_request(struct prefetch *prefetch, struct hc_rpc_call *call,
                                 struct hc_error *err)
{
    struct hc_request *request = hc_rpc_call_request(call);
    size_t size = strlen(request->hub_token) + 1;
    char *token = hc_arena_take_secret(&prefetch->arena, size);

    if (!token)
        return hc_fail_memory(err);
    prefetch->hub_token = memcpy(token, request->hub_token, size);
    prefetch->identity = hc_caller_hold(request->identity);
    prefetch->caller = request->caller;
    prefetch->trace = request->trace;
    prefetch->request =
        (const void *)hc_message_unpack(&hubcache__v1__prefetch_request__descriptor,
                                        request->bytes, request->size, &prefetch->arena,
                                        err);
    if (!prefetch->request)
        return -1;
    if (prefetch->request->n_snapshots == 0 ||
        prefetch->request->n_snapshots > HC_PREFETCH_SNAPSHOTS_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "snapshots",
                             "%zu snapshots are named; one is the least, and %d the most",
                             prefetch->request->n_snapshots, HC_PREFETCH_SNAPSHOTS_MAX);
    return 0;
}

/* ---- the call ---------------------------------------------------------------------- */

static struct prefetch **prefetch_slot(struct hc_rpc_call *call)
{
    return hc_rpc_call_scratch(call);
}

/* The calling function finishes the call, if it is not NULL, and releases it. */
static struct hc_rpc_call *prefetch_detach(struct prefetch *prefetch)
{
    struct hc_rpc_call *call;
    HC_LOCKED(&prefetch->shared.lock);

    call = hc_take(&prefetch->shared.call);
    (void)pthread_cond_signal(&prefetch->shared.changed);
    return call;
}

static void call_fail(struct hc_rpc_call *call, const struct hc_error *err)
{
    HC_AUTO(hc_answer) *failure = hc_answer_of_error(err, NULL, NULL);

    hc_rpc_call_finish(call, failure);
}

static void prefetch_leave(struct hc_rpc_call *call)
{
    struct hc_error err;

    if (!prefetch_detach(*prefetch_slot(call)))
        return;
    hc_rpc_call_fail_left(call, &err);
    call_fail(call, &err);
    hc_rpc_call_release(call);
}

static void prefetch_sent(struct hc_rpc_call *call)
{
    struct prefetch *prefetch = *prefetch_slot(call);
    HC_LOCKED(&prefetch->shared.lock);

    prefetch->shared.is_sending = false;
    (void)pthread_cond_signal(&prefetch->shared.changed);
}

static void prefetch_end_call(struct hc_rpc_call *call)
{
    prefetch_release(*prefetch_slot(call));
}

static const struct hc_rpc_stream prefetch_hooks = {prefetch_leave, prefetch_sent,
                                                    prefetch_end_call};

/* The call, held, to which a message may be sent now; NULL: it has left, or the message
 * before is still on its way, with `may_wait` for SEND_MS. */
static struct hc_rpc_call *prefetch_begin_send(struct prefetch *prefetch, bool may_wait)
{
    int64_t end_ms = hc_monotonic_ms() + SEND_MS;
    HC_LOCKED(&prefetch->shared.lock);

    while (may_wait && prefetch->shared.call && prefetch->shared.is_sending &&
           hc_monotonic_ms() < end_ms)
        hc_condition_wait(&prefetch->shared.changed, &prefetch->shared.lock,
                          end_ms - hc_monotonic_ms());
    if (!prefetch->shared.call || prefetch->shared.is_sending)
        return NULL;
    prefetch->shared.is_sending = true;
    hc_rpc_call_hold(prefetch->shared.call);
    return prefetch->shared.call;
}

static void prefetch_send(struct hc_rpc_call *call,
                          const Hubcache__V1__PrefetchResponse *event)
{
    HC_AUTO(hc_answer) *answer = hc_answer_new(&event->base);

    if (answer)
        hc_rpc_call_send(call, answer);
    hc_rpc_call_release(call);
}

/* The client takes nothing any more. */
static void prefetch_drop_call(struct prefetch *prefetch)
{
    struct hc_rpc_call *call = prefetch_detach(prefetch);
    struct hc_error err;

    if (!call)
        return;
    (void)hc_fail(&err, HC_DEADLINE_EXCEEDED,
                  "the client has taken no message for %d seconds; the prefetch goes on",
                  SEND_MS / 1000);
    call_fail(call, &err);
    hc_rpc_call_release(call);
}

/* A result or a failure, which the caller must not miss. */
static void prefetch_tell(struct prefetch *prefetch,
                          const Hubcache__V1__PrefetchResponse *event)
{
    struct hc_rpc_call *call = prefetch_begin_send(prefetch, true);

    if (call)
        prefetch_send(call, event);
    else
        prefetch_drop_call(prefetch);
}

/* ---- the task ---------------------------------------------------------------------- */

static Hubcache__V1__PrefetchResponse event_new(const struct prefetch *prefetch)
{
    Hubcache__V1__PrefetchResponse event;

    hubcache__v1__prefetch_response__init(&event);
    event.index = prefetch->current;
    return event;
}

/* A hc_progress_fn: left out while the message before it is on its way. */
static void prefetch_offer_progress(void *ctx, const struct hc_progress *progress)
{
    struct prefetch *prefetch = ctx;
    Hubcache__V1__PrefetchResponse event = event_new(prefetch);
    struct hc_rpc_call *call = prefetch_begin_send(prefetch, false);
    Hubcache__V1__SnapshotProgress encoded;

    if (!call)
        return;
    hc_encode_progress(progress, &encoded);
    event.event_case = HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_PROGRESS;
    event.progress = &encoded;
    prefetch_send(call, &event);
}

/* The log has what the caller may not be there to see. */
static void prefetch_log(const struct hc_resolve *resolve, const struct hc_error *failure)
{
    const struct hc_snapshot *snapshot = &resolve->result.snapshot;
    const char *id = resolve->target && resolve->target->id ? resolve->target->id : "";
    const char *revision =
        resolve->target && resolve->target->revision ? resolve->target->revision : "main";

    if (failure)
        HC_LOG(HC_LOG_WARN, "prefetch failed", HC_TEXT("repo", id),
               HC_TEXT("revision", revision),
               HC_TEXT("reason", hc_reason_name(failure->reason)),
               HC_TEXT("error", failure->message));
    else
        HC_LOG(HC_LOG_INFO, "prefetched", HC_TEXT("repo", id),
               HC_TEXT("revision", revision), HC_TEXT("commit", snapshot->commit_hash),
               HC_NUMBER("files", snapshot->file_count),
               HC_NUMBER("downloaded", snapshot->downloaded_bytes));
}

/* With a policy, the audit log gets each file. */
static bool prefetches_note_files(const struct hc_prefetches *prefetches)
{
    return prefetches->audit && hc_resolver_policy_generation(prefetches->resolver) > 0;
}

static int prefetch_resolve(struct prefetch *prefetch, struct hc_resolve *resolve,
                            struct hc_error *err)
{
    const struct hc_fetch_options options = {
        .hub_token = *prefetch->hub_token ? prefetch->hub_token : NULL,
        .caller = prefetch->caller,
        .identity = prefetch->identity ? &prefetch->identity->identity : NULL,
        .is_background = true};
    const Hubcache__V1__ResolveSnapshotRequest *message =
        prefetch->request->snapshots[prefetch->current];
    struct hc_snapshot_request *request = &resolve->request.snapshot;
    char traceparent[HC_TRACEPARENT_SIZE];

    if (hc_resolve_decode(resolve, &message->base, &options, err) < 0)
        return -1;
    if (message->options && message->options->lease)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.lease",
                             "a prefetch gives no lease, for its caller may have left: "
                             "resolve the snapshot for one");
    if (prefetches_note_files(prefetch->prefetches))
        hc_resolve_list_files(resolve);
    hc_trace_format(&prefetch->trace, traceparent);
    request->options.traceparent = traceparent;
    request->progress = prefetch_offer_progress;
    request->progress_ctx = prefetch;
    return hc_resolve_snapshot(prefetch->prefetches->resolver, request,
                               prefetch->cancellation, &resolve->result.snapshot, err);
}

static void prefetch_tell_failure(struct prefetch *prefetch,
                                  const struct hc_resolve *resolve,
                                  const struct hc_error *failure)
{
    HC_AUTO(hc_answer) *answer = hc_answer_of_error(failure, resolve->target, NULL);
    Hubcache__V1__PrefetchResponse event = event_new(prefetch);
    struct hc_error unused;

    event.event_case = HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_ERROR;
    if (answer)
        event.error =
            (void *)hc_message_unpack(&google__rpc__status__descriptor, answer->bytes,
                                      answer->size, resolve->arena, &unused);
    if (event.error)
        prefetch_tell(prefetch, &event);
    else
        prefetch_drop_call(prefetch);
}

/* Fetches the current snapshot, and tells the caller the result. */
static void prefetch_fetch(struct prefetch *prefetch)
{
    struct hc_prefetches *prefetches = prefetch->prefetches;
    HC_AUTO_VALUE(hc_arena) arena;
    HC_AUTO_VALUE(hc_resolve)
    resolve = hc_resolve_new(&hc_resolve_kind_snapshot, prefetches->resolver, &arena);
    Hubcache__V1__PrefetchResponse event = event_new(prefetch);
    const ProtobufCMessage *response = NULL;
    struct hc_error err;

    hc_arena_init(&arena);
    if (prefetch_resolve(prefetch, &resolve, &err) == 0)
        response = hc_resolve_encode(&resolve, &err);
    if (hc_cancellation_is_set(prefetch->cancellation))
        return; /* the server stops: nothing is told any more */
    atomic_fetch_add(response ? &prefetches->fetched : &prefetches->failed, 1);
    prefetch_log(&resolve, response ? NULL : &err);
    if (!response) {
        prefetch_tell_failure(prefetch, &resolve, &err);
        return;
    }
    if (prefetches_note_files(prefetches))
        hc_audit_add_files(prefetches->audit, prefetch->identity,
                           resolve.result.snapshot.files, resolve.result.snapshot.listed);
    event.event_case = HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_RESULT;
    event.result = (void *)hc_unconst((const void *)response);
    prefetch_tell(prefetch, &event);
}

/* The end of a prefetch whose server has not stopped is the end of its call. */
static void prefetch_finish(struct prefetch *prefetch)
{
    struct hc_rpc_call *call = prefetch_detach(prefetch);
    HC_AUTO(hc_answer) *end = NULL;
    struct hc_error err;

    if (!call)
        return;
    if (hc_cancellation_is_set(prefetch->cancellation)) {
        (void)hc_fail(&err, HC_SHUTTING_DOWN, "the server stops: ask another one");
        call_fail(call, &err);
    } else {
        end = hc_answer_new_end();
        hc_rpc_call_finish(call, end);
    }
    hc_rpc_call_release(call);
}

static void prefetches_remove(struct hc_prefetches *prefetches, struct prefetch *prefetch)
{
    HC_LOCKED(&prefetches->shared.lock);

    LIST_REMOVE(prefetch, link);
}

static bool prefetch_run(struct hc_task *task)
{
    HC_AUTO(prefetch) *prefetch = (struct prefetch *)task;
    unsigned count = (unsigned)prefetch->request->n_snapshots;

    {
        HC_LOCKED(&prefetch->shared.lock); /* the start has told the caller */
    }
    while (prefetch->current < count && !hc_cancellation_is_set(prefetch->cancellation)) {
        prefetch_fetch(prefetch);
        prefetch->current++;
    }
    prefetch_finish(prefetch);
    prefetches_remove(prefetch->prefetches, prefetch);
    return false;
}

/* ---- the start --------------------------------------------------------------------- */

static void prefetches_add(struct hc_prefetches *prefetches, struct prefetch *prefetch)
{
    HC_LOCKED(&prefetches->shared.lock);

    LIST_INSERT_HEAD(&prefetches->shared.list, prefetch, link);
    if (prefetches->shared.is_cancelled)
        hc_cancellation_cancel(prefetch->cancellation);
}

/*
 * Queues the prefetch, and tells the caller so, before its thread can say more: the pool
 * is called with the lock held, which it does not call back for. From now on the task has
 * the reference of the calling function.
 */
static int prefetch_submit(struct prefetch *prefetch, struct hc_error *err)
{
    Hubcache__V1__PrefetchResponse event = event_new(prefetch);
    Hubcache__V1__SnapshotProgress none;
    HC_AUTO(hc_answer) *answer = NULL;
    HC_LOCKED(&prefetch->shared.lock);

    if (hc_workers_submit(prefetch->prefetches->workers, &prefetch->task, err) < 0)
        return -1;
    hubcache__v1__snapshot_progress__init(&none);
    event.event_case = HUBCACHE__V1__PREFETCH_RESPONSE__EVENT_PROGRESS;
    event.progress = &none;
    answer = hc_answer_new(&event.base);
    if (answer && prefetch->shared.call) {
        prefetch->shared.is_sending = true;
        hc_rpc_call_send(prefetch->shared.call, answer);
    }
    return 0;
}

/* For the log: the first snapshot, whose type is not checked yet. */
static void request_describe(struct hc_request *request,
                             const Hubcache__V1__PrefetchRequest *message)
{
    const Hubcache__V1__ResolveSnapshotRequest *first = message->snapshots[0];
    struct hc_target target = {.id = first->repo_id,
                               .revision = *first->revision ? first->revision : NULL};
    struct hc_error unused;

    (void)hc_decode_repo_type(first->repo_type, &target.type, &unused);
    hc_request_set_target(request, &target, NULL);
}

static struct prefetch *prefetch_begin(struct hc_prefetches *prefetches,
                                       struct hc_rpc_call *call, struct hc_error *err)
{
    struct hc_request *request = hc_rpc_call_request(call);
    HC_AUTO(prefetch) *prefetch = NULL;
    int result = hc_request_read_token(request, call, err);

    hc_request_identify(request, call);
    hc_request_identify_by_address(request, call);
    if (result < 0)
        return NULL;
    prefetch = prefetch_new(prefetches);
    if (!prefetch) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (prefetch_copy_request(prefetch, call, err) < 0)
        return NULL;
    request_describe(request, prefetch->request);
    prefetch->task.run = prefetch_run;
    prefetch->task.caller = prefetch->caller;
    prefetch->task.repo = hc_request_repo_hash(
        &(struct hc_target){.id = prefetch->request->snapshots[0]->repo_id});
    return hc_take(&prefetch);
}

void hc_prefetches_start(struct hc_prefetches *prefetches, struct hc_rpc_call *call)
{
    struct hc_error err;
    HC_AUTO(prefetch) *prefetch = prefetch_begin(prefetches, call, &err);

    if (!prefetch) {
        call_fail(call, &err);
        return;
    }
    *prefetch_slot(call) = prefetch;
    atomic_fetch_add(&prefetch->references, 1); /* of the call */
    hc_rpc_call_hold(call);
    prefetch->shared.call = call;
    hc_rpc_call_park_stream(call, &prefetch_hooks);
    prefetches_add(prefetches, prefetch);
    if (prefetch_submit(prefetch, &err) == 0) {
        (void)hc_take(&prefetch); /* the task's */
        return;
    }
    prefetches_remove(prefetches, prefetch);
    if (prefetch_detach(prefetch)) {
        call_fail(call, &err);
        hc_rpc_call_release(call);
    }
}

/* ---- all of them ------------------------------------------------------------------- */

struct hc_prefetches *hc_prefetches_open(struct hc_resolver *resolver,
                                         struct hc_error *err)
{
    HC_AUTO(hc_prefetches) *prefetches = calloc(1, sizeof *prefetches);

    if (!prefetches) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    prefetches->resolver = resolver;
    (void)pthread_mutex_init(&prefetches->shared.lock, NULL);
    prefetches->workers = hc_workers_open(HC_PREFETCH_THREADS, HC_PREFETCH_QUEUE, err);
    return prefetches->workers ? hc_take(&prefetches) : NULL;
}

void hc_prefetches_set_audit(struct hc_prefetches *prefetches, struct hc_audit *audit)
{
    prefetches->audit = audit;
}

void hc_prefetches_cancel(struct hc_prefetches *prefetches)
{
    struct prefetch *prefetch;
    HC_LOCKED(&prefetches->shared.lock);

    prefetches->shared.is_cancelled = true;
    LIST_FOREACH(prefetch, &prefetches->shared.list, link)
    {
        hc_cancellation_cancel(prefetch->cancellation);
    }
}

void hc_prefetches_close(struct hc_prefetches *prefetches)
{
    if (!prefetches)
        return;
    hc_prefetches_cancel(prefetches);
    hc_workers_close(prefetches->workers);
    (void)pthread_mutex_destroy(&prefetches->shared.lock);
    free(prefetches);
}

void hc_prefetches_count(struct hc_prefetches *prefetches,
                         struct hc_prefetch_counts *counts)
{
    hc_workers_count(prefetches->workers, &counts->running, &counts->queued);
    counts->fetched = atomic_load(&prefetches->fetched);
    counts->failed = atomic_load(&prefetches->failed);
}
