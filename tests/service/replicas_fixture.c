/* SPDX-License-Identifier: Apache-2.0 */
#include "replicas_fixture.h"

#include <base/auto.h>
#include <base/text.h>

#include <fcntl.h>
#include <fts.h>
#include <hubcache/error.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_METHOD(name) "/hubcache.v1.Cache/" name

enum { HOUR = 3600 };

/* A request for the snapshot of a repo lives as long as its parts. */
struct wish {
    Hubcache__V1__ResolveSnapshotRequest snapshot;
    Hubcache__V1__FetchOptions options;
    Google__Protobuf__Duration lease;
    char repo_id[40];
};

static void wish_for(struct wish *wish, unsigned number, int64_t lease_s)
{
    hubcache__v1__resolve_snapshot_request__init(&wish->snapshot);
    hubcache__v1__fetch_options__init(&wish->options);
    google__protobuf__duration__init(&wish->lease);
    (void)snprintf(wish->repo_id, sizeof wish->repo_id, "org/evict-%u", number);
    wish->snapshot.repo_id = wish->repo_id;
    wish->snapshot.options = &wish->options;
    wish->lease.seconds = lease_s;
    wish->options.lease = lease_s > 0 ? &wish->lease : NULL;
}

struct rpc_call *snapshot_start_within(struct world *world, unsigned number,
                                       int64_t lease_s, int64_t timeout_ms)
{
    struct wish wish;

    wish_for(&wish, number, lease_s);
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                .message = &wish.snapshot.base,
                                                .timeout_ms = timeout_ms});
}

struct rpc_call *snapshot_start(struct world *world, unsigned number)
{
    return snapshot_start_within(world, number, 0, 0);
}

struct rpc_call *snapshot_start_as(struct world *world, unsigned number,
                                   const char *authorization)
{
    struct wish wish;

    wish_for(&wish, number, 0);
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                .message = &wish.snapshot.base,
                                                .authorization = authorization});
}

Hubcache__V1__Source snapshot_take(struct rpc_call *call, char id[LEASE_ID_SIZE])
{
    Hubcache__V1__ResolveSnapshotResponse *answer;
    Hubcache__V1__Source source;
    char path[600];

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    answer =
        (void *)rpc_call_message(call, 0,
                                 &hubcache__v1__resolve_snapshot_response__descriptor);
    assert_true(hc_format(path, sizeof path, "%s/weights.bin", answer->path) > 0);
    assert_int_equal(access(path, R_OK), 0);
    if (id)
        assert_true(hc_format(id, LEASE_ID_SIZE, "%s", answer->lease_id) > 0);
    source = answer->source;
    protobuf_c_message_free_unpacked(&answer->base, NULL);
    rpc_call_free(call);
    return source;
}

Hubcache__V1__Source snapshot_fetch(struct world *world, unsigned number)
{
    return snapshot_take(snapshot_start(world, number), NULL);
}

void snapshot_fetch_leased(struct world *world, unsigned number, char id[LEASE_ID_SIZE])
{
    (void)snapshot_take(snapshot_start_within(world, number, HOUR, 0), id);
}

static struct rpc_call *ask(struct world *world, const char *path,
                            const ProtobufCMessage *message)
{
    struct rpc_call *call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = path, .message = message});

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    return call;
}

void lease_release(struct world *world, char *id)
{
    Hubcache__V1__ReleaseLeaseRequest request;

    hubcache__v1__release_lease_request__init(&request);
    request.lease_id = id;
    rpc_call_free(ask(world, CACHE_METHOD("ReleaseLease"), &request.base));
}

void snapshot_pin(struct world *world, unsigned number)
{
    Hubcache__V1__PinRequest request;
    struct wish wish;

    wish_for(&wish, number, 0);
    hubcache__v1__pin_request__init(&request);
    request.repo_id = wish.repo_id;
    rpc_call_free(ask(world, CACHE_METHOD("Pin"), &request.base));
}

struct rpc_call *evict_start(struct world *world, uint64_t bytes, bool is_dry_run)
{
    Hubcache__V1__EvictRequest request;

    hubcache__v1__evict_request__init(&request);
    request.bytes = bytes;
    request.dry_run = is_dry_run;
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = CACHE_METHOD("Evict"),
                                                .message = &request.base});
}

Hubcache__V1__EvictResponse *evict_answer(struct rpc_call *call)
{
    Hubcache__V1__EvictResponse *answer;

    if (rpc_call_await(call) != HC_STATUS_OK)
        fail_msg("%s: %s", rpc_call_reason(call), rpc_call_error(call));
    answer = (void *)rpc_call_message(call, 0, &hubcache__v1__evict_response__descriptor);
    rpc_call_free(call);
    return answer;
}

void evict(struct world *world, uint64_t bytes)
{
    Hubcache__V1__EvictResponse *answer = evict_answer(evict_start(world, bytes, false));

    assert_int_equal(answer->missing_bytes, 0);
    protobuf_c_message_free_unpacked(&answer->base, NULL);
}

/* ---- the volume -------------------------------------------------------------------- */

const char *replicas_path(struct replicas *f, unsigned number, const char *rest)
{
    (void)snprintf(f->path, sizeof f->path, "cache/models--org--evict-%u/snapshots/%s%s",
                   number, f->commits[number], rest);
    return f->path;
}

void replicas_set_used(struct replicas *f, unsigned number, time_t seconds)
{
    static const char *const parts[] = {"/weights.bin", ""};
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    for (size_t i = 0; i < 2; i++) {
        HC_AUTO_FREE char *path =
            temp_dir_path(f->world->dir, replicas_path(f, number, parts[i]));

        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
}

void replicas_find_left(struct replicas *f, char left[REPOS + 1])
{
    size_t count = 0;

    for (unsigned i = 0; i < REPOS; i++) {
        HC_AUTO_FREE char *path =
            temp_dir_path(f->world->dir, replicas_path(f, i, "/weights.bin"));

        if (access(path, F_OK) == 0)
            left[count++] = (char)('0' + i);
    }
    left[count] = '\0';
}

void replicas_assert_left(struct replicas *f, const char *expected)
{
    char left[REPOS + 1];

    replicas_find_left(f, left);
    assert_string_equal(left, expected);
}

unsigned replicas_count_snapshots(struct replicas *f)
{
    unsigned count = 0;

    for (unsigned i = 0; i < REPOS_MAX; i++)
        count += temp_dir_has(f->world->dir, replicas_path(f, i, ""));
    return count;
}

uint64_t replicas_room(const struct replicas *f)
{
    HC_AUTO_FREE char *root = temp_dir_path(f->world->dir, "cache");
    char *roots[] = {root, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    uint64_t bytes = 0;
    const FTSENT *entry;

    assert_non_null(fts);
    while ((entry = fts_read(fts))) {
        if (entry->fts_info == FTS_F && strstr(entry->fts_path, "/blobs/"))
            bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
    }
    (void)fts_close(fts);
    return bytes;
}

/* ---- fixture ----------------------------------------------------------------------- */

void replicas_add_repo(struct replicas *f, unsigned number, uint64_t size)
{
    char repo[40];

    (void)snprintf(repo, sizeof repo, "models/org/evict-%u", number);
    test_hub_add_generated(f->world->hub, "weights.bin", size, 100 + number, true);
    test_hub_commit(f->world->hub, repo, "main", f->commits[number]);
}

int replicas_set_up(void **state)
{
    struct replicas *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    (void)world_setup_empty((void **)&f->world);
    for (unsigned i = 0; i < REPOS; i++)
        replicas_add_repo(f, i, REPO_SIZE);
    return 0;
}

int replicas_tear_down(void **state)
{
    struct replicas *f = *state;

    world_end_replica(&f->other);
    (void)world_teardown((void **)&f->world);
    free(f);
    return 0;
}

void replicas_fill(struct replicas *f)
{
    for (unsigned i = 0; i < REPOS_FIT; i++) {
        (void)snapshot_fetch(f->world, i);
        replicas_set_used(f, i, 1000 + (time_t)i);
    }
    replicas_assert_left(f, "0123");
}
