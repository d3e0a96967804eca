/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function per message, field by field. Lists of messages are made in the arena of
 * the call; texts are borrowed from the library's structs.
 */
#include "cache_codec.h"

#include <base/error.h>

#include <string.h>

enum { MS = 1000, NS_PER_MS = 1000000 };

/* Bytes of the rows of one answer: clients of gRPC take 4 MiB by default. */
enum {
    REMOVED_MAX = 2 << 20,
    KEPT_MAX = 1 << 20,
    REVISIONS_MAX = 3 << 20, /* of a page of repos */
    ROWS_MAX = 20000,
    FIELD_MAX = 8 /* the tag and the length of a row */
};

static void *arena_take(struct hc_arena *arena, size_t size, struct hc_error *err)
{
    void *taken = hc_arena_take(arena, size);

    if (!taken)
        (void)hc_fail_memory(err);
    return taken;
}

void **hc_encode_list(struct hc_arena *arena, size_t count, size_t size,
                      struct hc_error *err)
{
    char *messages = arena_take(arena, (count + 1) * size, err);
    void **list = messages ? arena_take(arena, (count + 1) * sizeof *list, err) : NULL;

    for (size_t i = 0; list && i < count; i++)
        list[i] = messages + i * size;
    return list;
}

int hc_decode_repo_type(Hubcache__V1__RepoType type, enum hc_repo_type *decoded,
                        struct hc_error *err)
{
    *decoded = (enum hc_repo_type)type;
    if (*decoded == HC_REPO_DEFAULT || hc_repo_type_name(*decoded))
        return 0;
    *decoded = HC_REPO_DEFAULT;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "repo_type",
                         "%d is no type of repo: 1 model, 2 dataset, 3 space, 4 kernel",
                         (int)type);
}

int hc_decode_cached_target(const char *id, Hubcache__V1__RepoType type,
                            const char *revision, struct hc_target *target,
                            struct hc_error *err)
{
    *target = (struct hc_target){.id = id, .revision = *revision ? revision : NULL};
    return hc_decode_repo_type(type, &target->type, err);
}

int hc_encode_time(int64_t ms, struct hc_arena *arena,
                   Google__Protobuf__Timestamp **message, struct hc_error *err)
{
    *message = NULL;
    if (ms == 0)
        return 0;
    *message = arena_take(arena, sizeof **message, err);
    if (!*message)
        return -1;
    google__protobuf__timestamp__init(*message);
    /* A time before 1970 has nanoseconds that count forward all the same. */
    (*message)->nanos = (int32_t)((ms % MS + MS) % MS * NS_PER_MS);
    (*message)->seconds = (ms - (ms % MS + MS) % MS) / MS;
    return 0;
}

enum hc_repo_type *hc_decode_repo_types(const Hubcache__V1__RepoType *types, size_t count,
                                        struct hc_arena *arena, struct hc_error *err)
{
    enum hc_repo_type *decoded = arena_take(arena, (count + 1) * sizeof *decoded, err);

    for (size_t i = 0; decoded && i < count; i++) {
        if (hc_decode_repo_type(types[i], &decoded[i], err) < 0)
            return NULL;
    }
    return decoded;
}

int hc_decode_list_repos(const Hubcache__V1__ListReposRequest *message,
                         struct hc_arena *arena, struct hc_repos_request *request,
                         struct hc_error *err)
{
    *request = (struct hc_repos_request){
        .repo_ids = (const char *const *)message->repo_ids,
        .repo_id_count = message->n_repo_ids,
        .repo_types =
            hc_decode_repo_types(message->repo_types, message->n_repo_types, arena, err),
        .repo_type_count = message->n_repo_types,
        .with_revisions = message->with_revisions,
        .page_size = message->page_size,
        .page_token = message->page_token,
    };
    return request->repo_types ? 0 : -1;
}

int hc_decode_get_usage(const Hubcache__V1__GetUsageRequest *message,
                        struct hc_arena *arena, struct hc_repos_request *request,
                        struct hc_error *err)
{
    *request = (struct hc_repos_request){
        .repo_ids = (const char *const *)message->repo_ids,
        .repo_id_count = message->n_repo_ids,
        .repo_types =
            hc_decode_repo_types(message->repo_types, message->n_repo_types, arena, err),
        .repo_type_count = message->n_repo_types,
    };
    return request->repo_types ? 0 : -1;
}

static int encode_revision(const struct hc_cached_revision *revision,
                           struct hc_arena *arena, Hubcache__V1__CachedRevision *message,
                           struct hc_error *err)
{
    hubcache__v1__cached_revision__init(message);
    message->commit_hash = hc_unconst(revision->commit_hash);
    message->refs = revision->refs;
    message->n_refs = revision->ref_count;
    message->completeness = (Hubcache__V1__Completeness)revision->completeness;
    message->size_bytes = revision->size_bytes;
    message->file_count = revision->file_count;
    message->leases = revision->leases;
    message->pinned = revision->is_pinned;
    message->kept = revision->is_kept;
    message->freeable_bytes = revision->freeable_bytes;
    if (hc_encode_time(revision->last_used_ms, arena, &message->last_used, err) < 0)
        return -1;
    return hc_encode_time(revision->last_modified_ms, arena, &message->last_modified,
                          err);
}

static int encode_revisions(const struct hc_cached_revision *revisions, size_t count,
                            struct hc_arena *arena, Hubcache__V1__CachedRevision ***list,
                            struct hc_error *err)
{
    *list = (void *)hc_encode_list(arena, count, sizeof ***list, err);
    if (!*list)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (encode_revision(&revisions[i], arena, (*list)[i], err) < 0)
            return -1;
    }
    return 0;
}

/* How many of the revisions fit into what is left of a page. */
static size_t revisions_fit(Hubcache__V1__CachedRevision *const *list, size_t count,
                            size_t *left)
{
    size_t fit = 0;

    for (; fit < count; fit++) {
        size_t size = hubcache__v1__cached_revision__get_packed_size(list[fit]);

        if (size + FIELD_MAX > *left)
            break;
        *left -= size + FIELD_MAX;
    }
    return fit;
}

/* `left` is the room for revisions that the page still has. */
static int encode_repo(const struct hc_cached_repo *repo, struct hc_arena *arena,
                       Hubcache__V1__CachedRepo *message, size_t *left,
                       struct hc_error *err)
{
    hubcache__v1__cached_repo__init(message);
    message->repo_id = hc_unconst(repo->id);
    message->repo_type = (Hubcache__V1__RepoType)repo->type;
    message->size_bytes = repo->size_bytes;
    message->file_count = repo->file_count;
    message->cache_path = hc_unconst(repo->cache_path);
    if (repo->warning)
        message->warning = repo->warning;
    message->revisions_total = (uint32_t)repo->revision_count;
    if (hc_encode_time(repo->last_used_ms, arena, &message->last_used, err) < 0 ||
        hc_encode_time(repo->last_modified_ms, arena, &message->last_modified, err) < 0 ||
        encode_revisions(repo->revisions, repo->revision_count, arena,
                         &message->revisions, err) < 0)
        return -1;
    message->n_revisions = revisions_fit(message->revisions, repo->revision_count, left);
    return 0;
}

int hc_encode_list_repos(const struct hc_cached_repos *repos, struct hc_arena *arena,
                         Hubcache__V1__ListReposResponse *message, struct hc_error *err)
{
    size_t left = REVISIONS_MAX;

    hubcache__v1__list_repos_response__init(message);
    message->repos =
        (void *)hc_encode_list(arena, repos->count, sizeof **message->repos, err);
    if (!message->repos)
        return -1;
    for (size_t i = 0; i < repos->count; i++) {
        if (encode_repo(&repos->items[i], arena, message->repos[i], &left, err) < 0)
            return -1;
    }
    message->n_repos = repos->count;
    if (repos->next_page_token)
        message->next_page_token = repos->next_page_token;
    return 0;
}

int hc_encode_list_revisions(const struct hc_cached_revisions *revisions,
                             struct hc_arena *arena,
                             Hubcache__V1__ListRevisionsResponse *message,
                             struct hc_error *err)
{
    hubcache__v1__list_revisions_response__init(message);
    message->n_revisions = revisions->count;
    if (revisions->next_page_token)
        message->next_page_token = revisions->next_page_token;
    return encode_revisions(revisions->items, revisions->count, arena,
                            &message->revisions, err);
}

static int encode_cached_file(const struct hc_cached_file *file, struct hc_arena *arena,
                              Hubcache__V1__CachedFile *message, struct hc_error *err)
{
    hubcache__v1__cached_file__init(message);
    message->filename = file->filename;
    message->etag = hc_unconst(file->etag);
    message->size_bytes = file->size_bytes;
    message->cache_path = file->cache_path;
    message->dangling = file->is_dangling;
    if (hc_encode_time(file->last_used_ms, arena, &message->last_used, err) < 0)
        return -1;
    return hc_encode_time(file->last_modified_ms, arena, &message->last_modified, err);
}

int hc_encode_list_files(const struct hc_cached_files *files, struct hc_arena *arena,
                         Hubcache__V1__ListFilesResponse *message, struct hc_error *err)
{
    hubcache__v1__list_files_response__init(message);
    message->files =
        (void *)hc_encode_list(arena, files->count, sizeof **message->files, err);
    if (!message->files)
        return -1;
    for (size_t i = 0; i < files->count; i++) {
        if (encode_cached_file(&files->items[i], arena, message->files[i], err) < 0)
            return -1;
    }
    message->n_files = files->count;
    message->commit_hash = hc_unconst(files->commit_hash);
    if (files->next_page_token)
        message->next_page_token = files->next_page_token;
    return 0;
}

/* ---- verification ------------------------------------------------------------------ */

void hc_encode_finding(const struct hc_finding *finding, Hubcache__V1__Finding *message)
{
    size_t count = finding->pointer_count;

    hubcache__v1__finding__init(message);
    message->kind = (Hubcache__V1__FindingKind)finding->kind;
    message->cache_path = hc_unconst(finding->cache_path);
    message->size_bytes = finding->size_bytes;
    message->action = hc_unconst(finding->action);
    message->actual = hc_unconst(finding->actual);
    memcpy(&message->pointers, &finding->pointers, sizeof message->pointers);
    message->n_pointers =
        count < HC_FINDING_POINTERS_MAX ? count : HC_FINDING_POINTERS_MAX;
}

void hc_encode_verify_progress(const struct hc_verify_progress *progress,
                               Hubcache__V1__VerifyProgress *message)
{
    hubcache__v1__verify_progress__init(message);
    message->blobs_total = progress->blobs_total;
    message->blobs_done = progress->blobs_done;
    message->bytes_total = progress->bytes_total;
    message->bytes_done = progress->bytes_done;
}

static uint32_t count_fits(uint64_t count)
{
    return count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
}

void hc_encode_verify_result(const struct hc_verify_result *result,
                             Hubcache__V1__VerifyResult *message)
{
    uint64_t findings = 0;

    for (int kind = 1; kind < HC_FINDING_KINDS; kind++)
        findings += result->findings[kind];
    hubcache__v1__verify_result__init(message);
    message->blobs = result->blobs;
    message->bytes = result->bytes;
    message->findings = count_fits(findings);
    message->corrupt = count_fits(result->findings[HC_CORRUPT_BLOB]);
    message->repaired = count_fits(result->repaired);
    message->not_repaired = count_fits(result->not_repaired);
}

/* ---- removals ---------------------------------------------------------------------- */

static int encode_removed(const struct hc_removed *removed, struct hc_arena *arena,
                          Hubcache__V1__Removed *message, struct hc_error *err)
{
    hubcache__v1__removed__init(message);
    message->repo_id = hc_unconst(removed->repo_id);
    message->repo_type = (Hubcache__V1__RepoType)removed->repo_type;
    message->commit_hash = hc_unconst(removed->commit_hash);
    if (removed->filename)
        message->filename = removed->filename;
    message->freed_bytes = removed->freed_bytes;
    message->detail = hc_unconst(removed->detail);
    return hc_encode_time(removed->last_used_ms, arena, &message->last_used, err);
}

static void encode_kept_row(const struct hc_kept *kept, Hubcache__V1__Kept *message)
{
    hubcache__v1__kept__init(message);
    message->repo_id = hc_unconst(kept->repo_id);
    message->repo_type = (Hubcache__V1__RepoType)kept->repo_type;
    message->commit_hash = hc_unconst(kept->commit_hash);
    message->held_by = (Hubcache__V1__HeldBy)kept->held_by;
    message->detail = hc_unconst(kept->detail);
}

/* Whether the row still fits, which then counts. */
static bool row_fits(const ProtobufCMessage *row, size_t *left)
{
    size_t size = protobuf_c_message_get_packed_size(row) + FIELD_MAX;

    if (size > *left)
        return false;
    *left -= size;
    return true;
}

static size_t rows_max(size_t count)
{
    return count < ROWS_MAX ? count : ROWS_MAX;
}

static int encode_kept(const struct hc_removal_result *result, struct hc_arena *arena,
                       struct hc_encoded_removal *encoded, struct hc_error *err)
{
    size_t left = KEPT_MAX;

    encoded->kept_count = 0;
    encoded->kept_total = count_fits(result->kept_count);
    encoded->kept = (void *)hc_encode_list(arena, rows_max(result->kept_count),
                                           sizeof **encoded->kept, err);
    if (!encoded->kept)
        return -1;
    for (size_t i = 0; i < rows_max(result->kept_count); i++) {
        encode_kept_row(&result->kept[i], encoded->kept[i]);
        if (!row_fits(&encoded->kept[i]->base, &left))
            break;
        encoded->kept_count++;
    }
    return 0;
}

int hc_encode_removal(const struct hc_removal_result *result, struct hc_arena *arena,
                      struct hc_encoded_removal *encoded, struct hc_error *err)
{
    size_t left = REMOVED_MAX;

    encoded->removed_count = 0;
    encoded->removed_total = count_fits(result->removed_count);
    encoded->removed = (void *)hc_encode_list(arena, rows_max(result->removed_count),
                                              sizeof **encoded->removed, err);
    if (!encoded->removed)
        return -1;
    for (size_t i = 0; i < rows_max(result->removed_count); i++) {
        if (encode_removed(&result->removed[i], arena, encoded->removed[i], err) < 0)
            return -1;
        if (!row_fits(&encoded->removed[i]->base, &left))
            break;
        encoded->removed_count++;
    }
    return encode_kept(result, arena, encoded, err);
}
