/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function per message, field by field. Lists of messages are made in the arena of
 * the call; texts are borrowed from the library's structs.
 */
#include "cache_codec.h"

#include <base/error.h>

enum { MS = 1000, NS_PER_MS = 1000000 };

static void *arena_take(struct hc_arena *arena, size_t size, struct hc_error *err)
{
    void *taken = hc_arena_take(arena, size);

    if (!taken)
        (void)hc_fail_memory(err);
    return taken;
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

int hc_decode_list_repos(const Hubcache__V1__ListReposRequest *message,
                         struct hc_arena *arena, struct hc_repos_request *request,
                         struct hc_error *err)
{
    enum hc_repo_type *types =
        arena_take(arena, (message->n_repo_types + 1) * sizeof *types, err);

    if (!types)
        return -1;
    *request = (struct hc_repos_request){
        .repo_ids = (const char *const *)message->repo_ids,
        .repo_id_count = message->n_repo_ids,
        .repo_types = types,
        .repo_type_count = message->n_repo_types,
        .with_revisions = message->with_revisions,
        .page_size = message->page_size,
        .page_token = message->page_token,
    };
    for (size_t i = 0; i < message->n_repo_types; i++) {
        if (hc_decode_repo_type(message->repo_types[i], &types[i], err) < 0)
            return -1;
    }
    return 0;
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

static int encode_revisions(const struct hc_cached_repo *repo, struct hc_arena *arena,
                            Hubcache__V1__CachedRevision ***list, struct hc_error *err)
{
    size_t count = repo->revision_count;
    Hubcache__V1__CachedRevision *messages =
        arena_take(arena, (count + 1) * sizeof *messages, err);

    *list = messages ? arena_take(arena, (count + 1) * sizeof **list, err) : NULL;
    if (!*list)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (encode_revision(&repo->revisions[i], arena, &messages[i], err) < 0)
            return -1;
        (*list)[i] = &messages[i];
    }
    return 0;
}

static int encode_repo(const struct hc_cached_repo *repo, struct hc_arena *arena,
                       Hubcache__V1__CachedRepo *message, struct hc_error *err)
{
    hubcache__v1__cached_repo__init(message);
    message->repo_id = hc_unconst(repo->id);
    message->repo_type = (Hubcache__V1__RepoType)repo->type;
    message->size_bytes = repo->size_bytes;
    message->file_count = repo->file_count;
    message->cache_path = hc_unconst(repo->cache_path);
    if (repo->warning)
        message->warning = repo->warning;
    message->n_revisions = repo->revision_count;
    if (hc_encode_time(repo->last_used_ms, arena, &message->last_used, err) < 0 ||
        hc_encode_time(repo->last_modified_ms, arena, &message->last_modified, err) < 0)
        return -1;
    return encode_revisions(repo, arena, &message->revisions, err);
}

int hc_encode_list_repos(const struct hc_cached_repos *repos, struct hc_arena *arena,
                         Hubcache__V1__ListReposResponse *message, struct hc_error *err)
{
    Hubcache__V1__CachedRepo *messages =
        arena_take(arena, (repos->count + 1) * sizeof *messages, err);

    hubcache__v1__list_repos_response__init(message);
    message->repos =
        messages ? arena_take(arena, (repos->count + 1) * sizeof *message->repos, err)
                 : NULL;
    if (!message->repos)
        return -1;
    for (size_t i = 0; i < repos->count; i++) {
        if (encode_repo(&repos->items[i], arena, &messages[i], err) < 0)
            return -1;
        message->repos[i] = &messages[i];
    }
    message->n_repos = repos->count;
    if (repos->next_page_token)
        message->next_page_token = repos->next_page_token;
    return 0;
}
