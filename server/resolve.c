/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row of functions per kind of request. The rows differ in types only;
 * service_resolver.c knows the sequence of the steps. To add a kind: a row here, a member
 * of both unions of struct hc_resolve, and its functions in codec.c.
 *
 * A snapshot's lookup is unbounded: each of its files is looked at, to prove that the
 * snapshot is complete. So is its answer, so a list of files lives in the arena.
 */
#include "resolve.h"

#include "caller.h"
#include "codec.h"
#include "log.h"

#include <base/error.h>
#include <base/text.h>

#include <hubcache/v1/resolver.pb-c.h>
#include <limits.h>

enum { WATCH_PROGRESS = 1 /* the field of WatchSnapshotResponse */, RECALLS_MAX = 64 };

/* Each row has all functions; clear accepts a result that was never filled. */
struct hc_resolve_kind {
    const ProtobufCMessageDescriptor *type;
    int (*decode)(struct hc_resolve *resolve, const ProtobufCMessage *message,
                  const struct hc_fetch_options *caller, struct hc_error *err);
    int (*at_memory)(struct hc_resolve *resolve, struct hc_error *err);
    int (*at_disk)(struct hc_resolve *resolve, struct hc_error *err);
    int (*at_hub)(struct hc_resolve *resolve, struct hc_cancellation *cancellation,
                  struct hc_error *err);
    const ProtobufCMessage *(*encode)(struct hc_resolve *resolve, struct hc_error *err);
    void (*clear)(struct hc_resolve *resolve);

    Hubcache__V1__FetchOptions *(*options)(const ProtobufCMessage *message);
    int (*lease)(struct hc_resolve *resolve, const struct hc_lease_terms *terms,
                 struct hc_lease *lease, struct hc_error *err);
    unsigned lease_id; /* the field of the response */
    unsigned file;     /* of the response, which has the cache path; 0: it has that */
};

/* Memory for a part of the response, until the arena's reset. NULL with `err`. */
static void *response_take(struct hc_resolve *resolve, size_t size, struct hc_error *err)
{
    void *taken = hc_arena_take(resolve->arena, size);

    if (!taken)
        (void)hc_fail_memory(err);
    return taken;
}

/* An answer that is given again passes by the resolver, which would read its files
 * ahead. */
static void resolve_offer_reuse(struct hc_resolve *resolve,
                                struct hc_fetch_options *options)
{
    options->reuse = options->warm ? NULL : &resolve->reuse;
}

/* ---- facts ------------------------------------------------------------------------- */

/* By which rule, and of which repo: the first part of its path. "": without a policy. */
static void facts_set_rule(struct hc_facts *facts, const char *rule,
                           const char *cache_path)
{
    size_t length = strcspn(cache_path, "/");

    if (!rule[0])
        return;
    (void)hc_format(facts->rule, sizeof facts->rule, "%s", rule);
    (void)hc_format(facts->folder, sizeof facts->folder, "%.*s", (int)length, cache_path);
}

static void facts_set_file(struct hc_facts *facts, const struct hc_file *file)
{
    facts_set_rule(facts, file->rule, file->cache_path);
    facts->source = file->source;
    facts->is_stale = file->stale;
    facts->files = 1;
    facts->bytes = file->size_bytes;
    memcpy(facts->commit, file->commit_hash, sizeof facts->commit);
    memcpy(facts->etag, file->etag, sizeof facts->etag - 1);
    facts->etag[sizeof facts->etag - 1] = '\0';
}

/* The Hub's if any file came from there, stale if any is. */
static void facts_set_files(struct hc_facts *facts, const struct hc_files *files)
{
    if (files->count > 0)
        facts_set_rule(facts, files->items[0].rule, files->items[0].cache_path);
    facts->files = (unsigned)files->count;
    facts->bytes = 0;
    memcpy(facts->commit, files->commit_hash, sizeof facts->commit);
    for (size_t i = 0; i < files->count; i++) {
        if (i == 0 || files->items[i].source == HC_SOURCE_HUB)
            facts->source = files->items[i].source;
        facts->is_stale |= files->items[i].stale;
        facts->bytes += files->items[i].size_bytes;
    }
}

static void facts_set_snapshot(struct hc_facts *facts, const struct hc_snapshot *snapshot)
{
    facts_set_rule(facts, snapshot->rule, snapshot->cache_path);
    facts->source = snapshot->source;
    facts->is_stale = snapshot->stale;
    facts->files = snapshot->file_count;
    facts->bytes = snapshot->size_bytes;
    memcpy(facts->commit, snapshot->commit_hash, sizeof facts->commit);
}

/* ---- a file ------------------------------------------------------------------------ */

static int file_decode(struct hc_resolve *resolve, const ProtobufCMessage *message,
                       const struct hc_fetch_options *caller, struct hc_error *err)
{
    struct hc_file_request *request = &resolve->request.file;
    int result;

    resolve->target = &request->repo;
    resolve->lookups = 1;
    result = hc_decode_file((const void *)message, caller, request, err);
    resolve->filename = request->filename; /* of a refused request, too */
    resolve_offer_reuse(resolve, &request->options);
    return result;
}

static int file_at_memory(struct hc_resolve *resolve, struct hc_error *err)
{
    return hc_resolve_file_remembered(resolve->resolver, &resolve->request.file,
                                      &resolve->result.file, err);
}

static int file_at_disk(struct hc_resolve *resolve, struct hc_error *err)
{
    return hc_resolve_file_cached(resolve->resolver, &resolve->request.file,
                                  &resolve->result.file, err);
}

static int file_at_hub(struct hc_resolve *resolve, struct hc_cancellation *cancellation,
                       struct hc_error *err)
{
    return hc_resolve_file(resolve->resolver, &resolve->request.file, cancellation,
                           &resolve->result.file, err);
}

static const ProtobufCMessage *file_encode(struct hc_resolve *resolve,
                                           struct hc_error *err)
{
    Hubcache__V1__ResolveFileResponse *response =
        response_take(resolve, sizeof *response, err);
    Hubcache__V1__ResolvedFile *file =
        response ? response_take(resolve, sizeof *file, err) : NULL;

    if (!file)
        return NULL;
    hubcache__v1__resolve_file_response__init(response);
    hc_encode_file(&resolve->result.file, file);
    response->file = file;
    response->cache_id = hc_unconst(hc_resolver_cache_id(resolve->resolver));
    facts_set_file(&resolve->facts, &resolve->result.file);
    return &response->base;
}

static void file_result_clear(struct hc_resolve *resolve)
{
    hc_file_clear(&resolve->result.file);
}

static Hubcache__V1__FetchOptions *file_options(const ProtobufCMessage *message)
{
    const Hubcache__V1__ResolveFileRequest *request = (const void *)message;

    return request->options;
}

static int file_lease(struct hc_resolve *resolve, const struct hc_lease_terms *terms,
                      struct hc_lease *lease, struct hc_error *err)
{
    return hc_resolver_lease_file(resolve->resolver, &resolve->request.file, terms, lease,
                                  err);
}

const struct hc_resolve_kind hc_resolve_kind_file = {
    &hubcache__v1__resolve_file_request__descriptor,
    file_decode,
    file_at_memory,
    file_at_disk,
    file_at_hub,
    file_encode,
    file_result_clear,
    file_options,
    file_lease,
    3,
    1,
};

/* ---- several files ----------------------------------------------------------------- */

/* The failure of one of several files names it, so `filename` stays NULL. */
static int files_decode(struct hc_resolve *resolve, const ProtobufCMessage *message,
                        const struct hc_fetch_options *caller, struct hc_error *err)
{
    struct hc_files_request *request = &resolve->request.files;
    int result = hc_decode_files((const void *)message, caller, request, err);

    resolve->target = &request->repo;
    resolve->lookups = request->filename_count < HC_LOOKUPS_UNBOUNDED
                           ? (unsigned)request->filename_count
                           : HC_LOOKUPS_UNBOUNDED - 1;
    return result;
}

static int files_at_memory(struct hc_resolve *resolve, struct hc_error *err)
{
    return hc_resolve_files_remembered(resolve->resolver, &resolve->request.files,
                                       &resolve->result.files, err);
}

static int files_at_disk(struct hc_resolve *resolve, struct hc_error *err)
{
    return hc_resolve_files_cached(resolve->resolver, &resolve->request.files,
                                   &resolve->result.files, err);
}

static int files_at_hub(struct hc_resolve *resolve, struct hc_cancellation *cancellation,
                        struct hc_error *err)
{
    return hc_resolve_files(resolve->resolver, &resolve->request.files, cancellation,
                            &resolve->result.files, err);
}

static const ProtobufCMessage *files_encode(struct hc_resolve *resolve,
                                            struct hc_error *err)
{
    Hubcache__V1__ResolveFilesResponse *response =
        response_take(resolve, sizeof *response, err);

    if (!response ||
        hc_encode_files(&resolve->result.files, resolve->arena, response, err) < 0)
        return NULL;
    response->cache_id = hc_unconst(hc_resolver_cache_id(resolve->resolver));
    facts_set_files(&resolve->facts, &resolve->result.files);
    return &response->base;
}

static void files_result_clear(struct hc_resolve *resolve)
{
    hc_files_clear(&resolve->result.files);
}

static Hubcache__V1__FetchOptions *files_options(const ProtobufCMessage *message)
{
    const Hubcache__V1__ResolveFilesRequest *request = (const void *)message;

    return request->options;
}

static int files_lease(struct hc_resolve *resolve, const struct hc_lease_terms *terms,
                       struct hc_lease *lease, struct hc_error *err)
{
    return hc_resolver_lease_files(resolve->resolver, &resolve->request.files, terms,
                                   lease, err);
}

const struct hc_resolve_kind hc_resolve_kind_files = {
    &hubcache__v1__resolve_files_request__descriptor,
    files_decode,
    files_at_memory,
    files_at_disk,
    files_at_hub,
    files_encode,
    files_result_clear,
    files_options,
    files_lease,
    5,
    1,
};

/* ---- a snapshot -------------------------------------------------------------------- */

static int snapshot_decode(struct hc_resolve *resolve, const ProtobufCMessage *message,
                           const struct hc_fetch_options *caller, struct hc_error *err)
{
    struct hc_snapshot_request *request = &resolve->request.snapshot;
    int result;

    resolve->target = &request->repo;
    resolve->lookups = HC_LOOKUPS_UNBOUNDED;
    result = hc_decode_snapshot((const void *)message, caller, request, err);
    resolve_offer_reuse(resolve, &request->options);
    return result;
}

static int snapshot_at_memory(struct hc_resolve *resolve, struct hc_error *err)
{
    return hc_resolve_snapshot_remembered(resolve->resolver, &resolve->request.snapshot,
                                          &resolve->result.snapshot, err);
}

static int snapshot_at_disk(struct hc_resolve *resolve, struct hc_error *err)
{
    return hc_resolve_snapshot_cached(resolve->resolver, &resolve->request.snapshot,
                                      &resolve->result.snapshot, err);
}

static int snapshot_at_hub(struct hc_resolve *resolve,
                           struct hc_cancellation *cancellation, struct hc_error *err)
{
    return hc_resolve_snapshot(resolve->resolver, &resolve->request.snapshot,
                               cancellation, &resolve->result.snapshot, err);
}

/* The message borrows from the result: both live until hc_resolve_clear(). */
static const ProtobufCMessage *snapshot_encode(struct hc_resolve *resolve,
                                               struct hc_error *err)
{
    Hubcache__V1__ResolveSnapshotResponse *response =
        response_take(resolve, sizeof *response, err);

    if (!response ||
        hc_encode_snapshot(&resolve->result.snapshot, resolve->arena, response, err) < 0)
        return NULL;
    if (resolve->hides_files)
        response->n_files = 0;
    response->cache_id = hc_unconst(hc_resolver_cache_id(resolve->resolver));
    facts_set_snapshot(&resolve->facts, &resolve->result.snapshot);
    return &response->base;
}

static void snapshot_result_clear(struct hc_resolve *resolve)
{
    hc_snapshot_clear(&resolve->result.snapshot);
}

static Hubcache__V1__FetchOptions *snapshot_options(const ProtobufCMessage *message)
{
    const Hubcache__V1__ResolveSnapshotRequest *request = (const void *)message;

    return request->options;
}

static int snapshot_lease(struct hc_resolve *resolve, const struct hc_lease_terms *terms,
                          struct hc_lease *lease, struct hc_error *err)
{
    return hc_resolver_lease_snapshot(resolve->resolver, &resolve->request.snapshot,
                                      terms, lease, err);
}

const struct hc_resolve_kind hc_resolve_kind_snapshot = {
    &hubcache__v1__resolve_snapshot_request__descriptor,
    snapshot_decode,
    snapshot_at_memory,
    snapshot_at_disk,
    snapshot_at_hub,
    snapshot_encode,
    snapshot_result_clear,
    snapshot_options,
    snapshot_lease,
    14,
    0,
};

/*
 * Sends the progress of a snapshot as a WatchSnapshotResponse, on the transfer's thread.
 */
static void watchers_send_progress(void *ctx, const struct hc_progress *progress)
{
    struct hc_coalesced_request *watched = ctx;
    Hubcache__V1__SnapshotProgress encoded;
    HC_AUTO(hc_answer) *inner = NULL;
    HC_AUTO(hc_answer) *event = NULL;

    if (!hc_coalesced_request_is_watched(watched))
        return;
    hc_encode_progress(progress, &encoded);
    inner = hc_answer_new(&encoded.base);
    event = inner ? hc_answer_wrap(WATCH_PROGRESS, inner) : NULL;
    if (event)
        hc_coalesced_request_send_progress(watched, event);
}

void hc_resolve_list_files(struct hc_resolve *resolve)
{
    struct hc_snapshot_request *request = &resolve->request.snapshot;

    if (resolve->kind != &hc_resolve_kind_snapshot || request->list_files)
        return;
    request->list_files = true;
    resolve->hides_files = true;
}

const struct hc_file *hc_resolve_result_files(const struct hc_resolve *resolve,
                                              size_t *count)
{
    *count = 0;
    if (resolve->kind == &hc_resolve_kind_files) {
        *count = resolve->result.files.count;
        return resolve->result.files.items;
    }
    if (resolve->kind != &hc_resolve_kind_snapshot)
        return NULL;
    *count = resolve->result.snapshot.listed;
    return resolve->result.snapshot.files;
}

/* ---- the interface ----------------------------------------------------------------- */

/* An initializer zeroes only the first member of a union (C17, 6.7.9, paragraph 10). */
struct hc_resolve hc_resolve_new(const struct hc_resolve_kind *kind,
                                 struct hc_resolver *resolver, struct hc_arena *arena)
{
    struct hc_resolve resolve;

    memset(&resolve, 0, sizeof resolve);
    resolve.kind = kind;
    resolve.resolver = resolver;
    resolve.arena = arena;
    return resolve;
}

const ProtobufCMessageDescriptor *
hc_resolve_message_type(const struct hc_resolve_kind *kind)
{
    return kind->type;
}

int hc_resolve_decode(struct hc_resolve *resolve, const ProtobufCMessage *message,
                      const struct hc_fetch_options *caller, struct hc_error *err)
{
    return resolve->kind->decode(resolve, message, caller, err);
}

int hc_resolve_decode_key(struct hc_resolve *resolve, const struct hc_request_key *key,
                          struct hc_error *err)
{
    const ProtobufCMessage *message =
        hc_message_unpack(hc_resolve_message_type(key->kind), key->request, key->size,
                          resolve->arena, err);
    const struct hc_fetch_options options = {.hub_token = *key->token ? key->token : NULL,
                                             .caller = key->caller,
                                             .identity = key->identity
                                                             ? &key->identity->identity
                                                             : NULL};

    return message ? hc_resolve_decode(resolve, message, &options, err) : -1;
}

/* What is formatted and compared for each name takes time, too. */
int hc_resolve_at_memory(struct hc_resolve *resolve, struct hc_error *err)
{
    if (resolve->kind == &hc_resolve_kind_files && resolve->lookups > RECALLS_MAX)
        return 0;
    return resolve->kind->at_memory(resolve, err);
}

int hc_resolve_at_proof(struct hc_resolve *resolve, struct hc_error *err)
{
    if (resolve->kind != &hc_resolve_kind_snapshot)
        return 0;
    return hc_resolve_snapshot_proved(resolve->resolver, &resolve->request.snapshot,
                                      &resolve->result.snapshot, err);
}

int hc_resolve_at_disk(struct hc_resolve *resolve, struct hc_error *err)
{
    return resolve->kind->at_disk(resolve, err);
}

static struct hc_fetch_options *resolve_options(struct hc_resolve *resolve)
{
    if (resolve->kind == &hc_resolve_kind_file)
        return &resolve->request.file.options;
    if (resolve->kind == &hc_resolve_kind_files)
        return &resolve->request.files.options;
    return &resolve->request.snapshot.options;
}

int hc_resolve_at_hub(struct hc_resolve *resolve, struct hc_cancellation *cancellation,
                      struct hc_coalesced_request *watched, struct hc_error *err)
{
    resolve_options(resolve)->traceparent = resolve->traceparent;
    if (resolve->kind == &hc_resolve_kind_snapshot) {
        resolve->request.snapshot.progress = watchers_send_progress;
        resolve->request.snapshot.progress_ctx = watched;
    }
    return resolve->kind->at_hub(resolve, cancellation, err) < 0 ? -1 : 1;
}

const ProtobufCMessage *hc_resolve_encode(struct hc_resolve *resolve,
                                          struct hc_error *err)
{
    return resolve->kind->encode(resolve, err);
}

int hc_resolve_take_lease(const struct hc_resolve *resolve,
                          const ProtobufCMessage *message, int64_t *duration_ms,
                          struct hc_error *err)
{
    Hubcache__V1__FetchOptions *options = resolve->kind->options(message);
    const Google__Protobuf__Duration *lease = options ? options->lease : NULL;

    if (!lease)
        return 0;
    options->lease = NULL;
    if (options->dry_run)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.lease",
                             "a dry run fetches nothing, so it gives no lease");
    return hc_decode_duration(lease, "options.lease", duration_ms, err) < 0 ? -1 : 1;
}

/* The text that the field `number` has among the fields from `at` on; else NULL. */
static const uint8_t *message_find_field(unsigned number, const uint8_t *at,
                                         const uint8_t **end)
{
    struct hc_message_field field;

    while (at < *end && hc_message_take_field(&at, *end, &field)) {
        if (field.number != number)
            continue;
        *end = at;
        return field.content;
    }
    return NULL;
}

/* The cache path of the answer, or of its first file. */
static bool answer_find_cache_path(const struct hc_resolve_kind *kind,
                                   const struct hc_answer *answer, char path[PATH_MAX])
{
    enum { CACHE_PATH = 2 };
    const uint8_t *at = answer->bytes, *end = answer->bytes + answer->size;

    if (kind->file > 0)
        at = message_find_field(kind->file, at, &end);
    if (at)
        at = message_find_field(CACHE_PATH, at, &end);
    return at && hc_format(path, PATH_MAX, "%.*s", (int)(end - at), (const char *)at) > 0;
}

int hc_resolve_lease(struct hc_resolve *resolve, const struct hc_answer *answer,
                     const struct hc_lease_terms *terms, struct hc_lease *lease,
                     struct hc_error *err)
{
    struct hc_lease_terms complete = *terms;
    char path[PATH_MAX];

    if (!answer_find_cache_path(resolve->kind, answer, path))
        return hc_fail(err, HC_INTERNAL, "the answer to lease names no path");
    complete.cache_path = path;
    return resolve->kind->lease(resolve, &complete, lease, err);
}

unsigned hc_resolve_lease_field(const struct hc_resolve_kind *kind)
{
    return kind->lease_id;
}

static void describe_patterns(const struct hc_snapshot_request *snapshot,
                              struct hc_request *request)
{
    for (size_t i = 0; i < snapshot->allow_count; i++)
        hc_request_add_pattern(request, '+', snapshot->allow_patterns[i]);
    for (size_t i = 0; i < snapshot->ignore_count; i++)
        hc_request_add_pattern(request, '-', snapshot->ignore_patterns[i]);
}

/* The name of a file within its repo has its subfolder in front. */
void hc_resolve_describe(const struct hc_resolve *resolve, struct hc_request *request)
{
    const struct hc_file_request *file = &resolve->request.file;
    char joined[HC_REQUEST_FILES_SIZE];

    if (!resolve->target || !resolve->target->id)
        return;
    hc_request_set_target(request, resolve->target, resolve->filename);
    if (resolve->kind == &hc_resolve_kind_snapshot)
        describe_patterns(&resolve->request.snapshot, request);
    if (resolve->kind == &hc_resolve_kind_file && file->subfolder && file->filename &&
        hc_format(joined, sizeof joined, "%s/%s", file->subfolder, file->filename) >= 0)
        hc_request_set_target(request, resolve->target, joined);
}

void hc_resolve_clear(struct hc_resolve *resolve)
{
    resolve->kind->clear(resolve);
}
