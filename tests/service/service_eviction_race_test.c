/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a hit may race with an eviction. A path that is answered with a lease is
 * there with all its bytes until the lease ends, while another replica evicts all that it
 * may, all the time. Without a lease a path may vanish, and the call that follows has the
 * file fetched again; nothing else happens to a caller.
 */
#include "replicas_fixture.h"

#include <base/auto.h>
#include <base/hash.h>

#include <errno.h>
#include <hubcache-client/snapshot.h>
#include <hubcache/error.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

HC_DEFINE_AUTO(hc_client_open_snapshot, hc_client_snapshot_close)
HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)

enum { CALLERS = 6, ROUNDS = 40, LEASE_MS = 60000, FIRST = REPOS, RACED = 3, GROUPS = 3 };

struct race {
    struct replicas *replicas;
    struct hc_client *client;   /* of the first replica */
    struct hc_client *pathless; /* the same without a mount: it looks at no path */
    uint64_t hashes[REPOS_MAX]; /* of the files' bytes */
    atomic_uint vanished;       /* paths without a lease, before they were opened */
};

struct race_caller {
    struct race *race;
    struct hc_client *client;
    unsigned first; /* repo of its group */
    int (*round)(struct race_caller *caller, const char *repo_id, unsigned number);
    unsigned opened; /* paths */
    struct hc_error err;
    pthread_t thread;
};

/* 1: all bytes are there, and right; 0: there is no such file; -1. */
static int file_read(const struct race *race, unsigned number, const char *path,
                     struct hc_error *err)
{
    HC_AUTO_FCLOSE FILE *file = fopen(path, "re");
    uint64_t hash = HC_HASH_START;
    char bytes[8192];
    size_t got;

    if (!file)
        return errno == ENOENT ? 0 : hc_fail_errno(err, errno, "open '%s'", path);
    while ((got = fread(bytes, 1, sizeof bytes, file)) > 0)
        hash = hc_hash_bytes(hash, bytes, got);
    if (hash != race->hashes[number])
        return hc_fail(err, HC_INTERNAL, "'%s' has other bytes", path);
    return 1;
}

/* A path with a lease has to be there. */
static int file_read_leased(struct race_caller *caller, unsigned number, const char *path)
{
    int is_there = file_read(caller->race, number, path, &caller->err);

    if (is_there == 0)
        return hc_fail(&caller->err, HC_INTERNAL, "'%s' is gone", path);
    caller->opened += is_there > 0;
    return is_there < 0 ? -1 : 0;
}

static int file_read_unleased(struct race_caller *caller, unsigned number,
                              const char *path)
{
    int is_there = file_read(caller->race, number, path, &caller->err);

    if (is_there == 0)
        (void)atomic_fetch_add(&caller->race->vanished, 1);
    caller->opened += is_there > 0;
    return is_there < 0 ? -1 : 0;
}

/* ---- rounds ------------------------------------------------------------------------ */

static int round_of_leased_file(struct race_caller *caller, const char *repo_id,
                                unsigned number)
{
    const struct hc_client_file_request request = {
        .repo = {.id = repo_id},
        .filename = "weights.bin",
        .fetch = {.lease_ms = LEASE_MS},
    };
    struct hc_client *client = caller->client;
    HC_AUTO_VALUE(hc_client_file) file = {0};

    if (hc_client_resolve_file(client, &request, &file, &caller->err) < 0 ||
        file_read_leased(caller, number, file.path) < 0)
        return -1;
    return hc_client_release_lease(client, file.lease_id, &caller->err);
}

static int round_of_open_snapshot(struct race_caller *caller, const char *repo_id,
                                  unsigned number)
{
    const struct hc_client_snapshot_request request = {.repo = {.id = repo_id}};
    HC_AUTO(hc_client_open_snapshot) *snapshot =
        hc_client_snapshot_open(caller->client, &request, &caller->err);
    char path[600];
    int found;

    if (!snapshot)
        return -1;
    found =
        hc_client_snapshot_file(snapshot, "weights.bin", path, sizeof path, &caller->err);
    if (found == 0)
        return hc_fail(&caller->err, HC_INTERNAL, "'%s' is gone", path);
    return found < 0 ? -1 : file_read_leased(caller, number, path);
}

static int round_of_file(struct race_caller *caller, const char *repo_id, unsigned number)
{
    const struct hc_client_file_request request = {.repo = {.id = repo_id},
                                                   .filename = "weights.bin"};
    HC_AUTO_VALUE(hc_client_file) file = {0};

    if (hc_client_resolve_file(caller->client, &request, &file, &caller->err) < 0)
        return -1;
    return file_read_unleased(caller, number, file.path);
}

static int round_of_snapshot(struct race_caller *caller, const char *repo_id,
                             unsigned number)
{
    const struct hc_client_snapshot_request request = {.repo = {.id = repo_id}};
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    char path[600];

    if (hc_client_resolve_snapshot(caller->client, &request, &snapshot, &caller->err) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/weights.bin", snapshot.path);
    return file_read_unleased(caller, number, path);
}

/* ---- the race ---------------------------------------------------------------------- */

static void *caller_run(void *ctx)
{
    struct race_caller *caller = ctx;
    char repo_id[40];

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned number = caller->first + i % RACED;

        (void)snprintf(repo_id, sizeof repo_id, "org/evict-%u", number);
        if (caller->round(caller, repo_id, number) < 0)
            break;
    }
    return NULL;
}

/* The first look at each file says what its bytes are. */
static void race_prepare(struct race *race, struct replicas *f)
{
    HC_AUTO_FREE char *mount = temp_dir_path(f->world->dir, "cache");
    struct hc_client_options options = {.mount = mount};
    struct hc_error err;

    world_serve(f->world, (const char *const[]){NULL});
    world_serve_replica(f->world, &f->other, (const char *const[]){NULL});
    options.server = f->world->address;
    race->replicas = f;
    race->client = hc_client_open(&options, &err);
    assert_non_null(race->client);
    options.mount = NULL;
    race->pathless = hc_client_open(&options, &err);
    assert_non_null(race->pathless);
    for (unsigned i = FIRST; i < FIRST + GROUPS * RACED; i++) {
        HC_AUTO_FREE char *bytes = NULL;

        replicas_add_repo(f, i, 65536 + i);
        (void)snapshot_fetch(f->world, i);
        bytes = temp_dir_read(f->world->dir, replicas_path(f, i, "/weights.bin"));
        race->hashes[i] = hc_hash_bytes(HC_HASH_START, bytes, 65536 + i);
    }
}

/* Evicts until the callers are done; at least once. */
static void race_evict(struct race *race, struct race_caller *callers)
{
    struct replicas *f = race->replicas;
    unsigned evicted = 0, running = CALLERS;

    while (running > 0) {
        Hubcache__V1__EvictResponse *answer =
            evict_answer(evict_start(&f->other, UINT64_MAX, false));

        evicted += answer->removed_total;
        protobuf_c_message_free_unpacked(&answer->base, NULL);
        while (running > 0 && pthread_tryjoin_np(callers[running - 1].thread, NULL) == 0)
            running--;
    }
    assert_true(evicted > RACED);
}

/*
 * Three groups of callers, with repos of their own: with leases; without; and without,
 * but by a client that looks whether the path is there, and then asks once more with a
 * lease, which it keeps for a while.
 */
static void a_hit_races_with_evictions_of_another_replica(void **state)
{
    static int (*const rounds[CALLERS])(struct race_caller *, const char *, unsigned) = {
        round_of_leased_file, round_of_open_snapshot, round_of_file,
        round_of_snapshot,    round_of_file,          round_of_snapshot,
    };
    struct race race = {0};
    struct race_caller callers[CALLERS] = {0};

    race_prepare(&race, *state);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] =
            (struct race_caller){.race = &race,
                                 .client = i / 2 == 1 ? race.pathless : race.client,
                                 .first = FIRST + i / 2 * RACED,
                                 .round = rounds[i]};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_run,
                                        &callers[i]),
                         0);
    }
    race_evict(&race, callers);
    for (unsigned i = 0; i < CALLERS; i++) {
        if (callers[i].err.reason != HC_OK)
            fail_msg("caller %u: %s", i, callers[i].err.message);
        if (i < 2)
            assert_int_equal(callers[i].opened, ROUNDS);
        assert_true(callers[i].opened > 0);
    }
    print_message("%u paths without a lease vanished\n", atomic_load(&race.vanished));
    hc_client_close(race.client);
    hc_client_close(race.pathless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hit_races_with_evictions_of_another_replica,
                                        replicas_set_up, replicas_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
