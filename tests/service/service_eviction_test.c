/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise, of several replicas on one volume: a download that needs room gets that of
 * the revisions which no replica has used for the longest time, and none that is held;
 * where all is held, it fails at once and says so; where room will come, it waits for it.
 * One replica at a time evicts, and another one goes on when it dies. What is gone is not
 * answered for longer than a memory may be old, and with a lease not at all.
 */
#include "replicas_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <fts.h>
#include <hubcache/error.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE_MS = 300 /* of a call that must not end before */ };

static void assert_fails(struct rpc_call *call, const char *reason)
{
    assert_int_not_equal(rpc_call_await(call), HC_STATUS_OK);
    assert_string_equal(rpc_call_reason(call), reason);
    rpc_call_free(call);
}

static void assert_waits(struct world *world, unsigned number)
{
    struct rpc_call *call = snapshot_start_within(world, number, 0, DEADLINE_MS);

    assert_int_equal(rpc_call_await(call), HC_STATUS_DEADLINE_EXCEEDED);
    rpc_call_free(call);
}

static void serve(struct replicas *f)
{
    world_serve(f->world, (const char *const[]){"--cache-limit", REPLICAS_LIMIT, NULL});
}

static void serve_two(struct replicas *f)
{
    serve(f);
    world_serve_replica(f->world, &f->other,
                        (const char *const[]){"--cache-limit", REPLICAS_LIMIT, NULL});
}

/* What the clients of the Hub see: names, inodes, sizes and times; of the caller. */
static char *describe_cache(const struct replicas *f)
{
    HC_AUTO_FREE char *root = temp_dir_path(f->world->dir, "cache");
    char *roots[] = {root, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    FTSENT *entry;

    assert_non_null(fts);
    assert_non_null(out);
    while ((entry = fts_read(fts))) {
        const struct stat *status = entry->fts_statp;

        if (strcmp(entry->fts_name, ".hubcache") == 0)
            (void)fts_set(fts, entry, FTS_SKIP);
        else if (entry->fts_level > 0 && entry->fts_info != FTS_DP)
            (void)fprintf(out, "%s %ju %jd %jd.%09ld\n", entry->fts_path,
                          (uintmax_t)status->st_ino, (intmax_t)status->st_size,
                          (intmax_t)status->st_mtim.tv_sec, status->st_mtim.tv_nsec);
    }
    (void)fts_close(fts);
    (void)fclose(out);
    return text;
}

/* For what a server does by itself. */
static void pause_briefly(void)
{
    (void)nanosleep(&(const struct timespec){.tv_nsec = 5000000}, NULL);
}

static void await_left(struct replicas *f, const char *expected)
{
    char left[REPOS + 1];

    for (unsigned i = 0; i < 6000; i++) {
        replicas_find_left(f, left);
        if (strcmp(left, expected) == 0)
            return;
        pause_briefly();
    }
    assert_string_equal(left, expected);
}

/* ---- which revisions go ------------------------------------------------------------ */

static void a_hit_of_another_replica_is_a_use(void **state)
{
    struct replicas *f = *state;

    serve_two(f);
    replicas_fill(f);
    assert_int_equal(snapshot_fetch(&f->other, 0), HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    (void)snapshot_fetch(f->world, 4);
    replicas_assert_left(f,
                         "034"); /* the margin takes one more than the download needs */
}

/* The first replica has its list of candidates from the eviction before. */
static void a_hit_of_another_replica_after_the_list_was_made_is_a_use(void **state)
{
    struct replicas *f = *state;

    serve_two(f);
    replicas_fill(f);
    (void)snapshot_fetch(f->world, 4);
    (void)snapshot_fetch(f->world, 5);
    replicas_assert_left(f, "2345");
    assert_int_equal(snapshot_fetch(&f->other, 2), HUBCACHE__V1__SOURCE__SOURCE_CACHE);
    evict(f->world, REPO_SIZE);
    replicas_assert_left(f, "245");
}

/* Each replica makes room of what the other one has fetched. */
static void replicas_evict_what_the_others_have_fetched(void **state)
{
    struct replicas *f = *state;

    serve_two(f);
    replicas_fill(f);
    (void)snapshot_fetch(&f->other, 4);
    replicas_assert_left(f, "234");
    (void)snapshot_fetch(f->world, 5);
    replicas_assert_left(f, "2345");
    (void)snapshot_fetch(&f->other, 0);
    assert_true(replicas_room(f) <= (uint64_t)REPOS_FIT * REPO_SIZE);
}

/* A twentieth of the limit more than one download needs, which takes a second repo: the
 * room of the next one is there. */
static void what_is_freed_beyond_the_need_serves_the_next_download(void **state)
{
    struct replicas *f = *state;

    serve(f);
    replicas_fill(f);
    (void)snapshot_fetch(f->world, 4);
    replicas_assert_left(f, "234");
    (void)snapshot_fetch(f->world, 5);
    replicas_assert_left(f, "2345");
}

static void what_was_evicted_is_fetched_again(void **state)
{
    struct replicas *f = *state;

    serve_two(f);
    replicas_fill(f);
    (void)snapshot_fetch(&f->other, 0);
    evict(f->world, (uint64_t)REPOS_FIT * REPO_SIZE);
    replicas_assert_left(f, "");
    assert_int_equal(snapshot_fetch(f->world, 1), HUBCACHE__V1__SOURCE__SOURCE_HUB);
    (void)snapshot_take(snapshot_start_within(&f->other, 0, 3600, 0), NULL);
    replicas_assert_left(f, "01");
}

/* ---- what is held ------------------------------------------------------------------ */

static void when_all_is_held_the_call_fails_at_once_with_the_figures(void **state)
{
    struct replicas *f = *state;
    HC_AUTO_FREE char *policy = temp_dir_path(f->world->dir, "policy.yaml");
    char lease[LEASE_ID_SIZE], other_lease[LEASE_ID_SIZE];
    struct rpc_call *call;

    temp_dir_write(f->world->dir, "policy.yaml",
                   "version: 1\ndefault: allow\nkeep: [{repo: org/evict-1}]\n");
    world_serve(f->world, (const char *const[]){"--cache-limit", REPLICAS_LIMIT,
                                                "--policy", policy, NULL});
    world_serve_replica(f->world, &f->other,
                        (const char *const[]){"--cache-limit", REPLICAS_LIMIT, "--policy",
                                              policy, NULL});
    replicas_fill(f);
    snapshot_fetch_leased(f->world, 0, lease);
    snapshot_pin(&f->other, 2);
    snapshot_fetch_leased(&f->other, 3, other_lease);
    call = snapshot_start(&f->other, 4);
    assert_int_equal(rpc_call_await(call), HC_STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(rpc_call_reason(call), "NO_SPACE");
    assert_string_equal(rpc_call_error_info(call, "needed_bytes"), "2097152");
    assert_string_equal(rpc_call_error_info(call, "free_bytes"), "0");
    assert_string_equal(rpc_call_error_info(call, "limit_bytes"), "8388608");
    assert_string_equal(rpc_call_error_info(call, "rule"), "");
    assert_non_null(strstr(rpc_call_error(call), "end leases"));
    rpc_call_free(call);
    replicas_assert_left(f, "0123");
    lease_release(&f->other, lease); /* of the other replica */
    (void)snapshot_fetch(&f->other, 4);
    replicas_assert_left(f, "1234");
}

static void a_download_larger_than_the_limit_takes_nothing(void **state)
{
    struct replicas *f = *state;

    serve(f);
    replicas_fill(f);
    replicas_add_repo(f, REPOS, (uint64_t)REPOS_FIT * REPO_SIZE + 1);
    assert_fails(snapshot_start(f->world, REPOS), "NO_SPACE");
    replicas_assert_left(f, "0123");
    replicas_add_repo(f, REPOS + 1, (uint64_t)REPOS_FIT * REPO_SIZE);
    (void)snapshot_fetch(f->world, REPOS + 1);
    replicas_assert_left(f, "");
}

static void assert_kept(const Hubcache__V1__EvictResponse *answer, size_t i,
                        const char *repo_id, Hubcache__V1__HeldBy held_by)
{
    assert_true(i < answer->n_kept);
    assert_string_equal(answer->kept[i]->repo_id, repo_id);
    assert_int_equal(answer->kept[i]->held_by, held_by);
}

static void a_dry_run_tells_what_goes_and_why_and_leaves_everything(void **state)
{
    struct replicas *f = *state;
    HC_AUTO_FREE char *before = NULL;
    HC_AUTO_FREE char *after = NULL;
    char lease[LEASE_ID_SIZE];
    Hubcache__V1__EvictResponse *plan, *done;

    serve_two(f);
    replicas_fill(f);
    snapshot_fetch_leased(&f->other, 0, lease);
    snapshot_pin(&f->other, 1);
    replicas_set_used(f, 0, 1000);
    replicas_set_used(f, 1, 1001);
    before = describe_cache(f);
    plan = evict_answer(evict_start(f->world, REPO_SIZE, true));
    after = describe_cache(f);
    assert_string_equal(before, after);
    assert_int_equal(plan->n_removed, 2); /* and the folder of its repo */
    assert_string_equal(plan->removed[0]->repo_id, "org/evict-2");
    assert_string_equal(plan->removed[0]->commit_hash, f->commits[2]);
    assert_string_equal(plan->removed[0]->detail, "least recently used");
    assert_int_equal(plan->removed[0]->last_used->seconds, 1002);
    assert_int_equal(plan->freed_bytes, REPO_SIZE);
    assert_int_equal(plan->missing_bytes, 0);
    assert_int_equal(plan->n_kept, 2);
    assert_kept(plan, 0, "org/evict-0", HUBCACHE__V1__HELD_BY__HELD_BY_LEASE);
    assert_kept(plan, 1, "org/evict-1", HUBCACHE__V1__HELD_BY__HELD_BY_PIN);

    done = evict_answer(evict_start(&f->other, REPO_SIZE, false));
    assert_int_equal(done->n_removed, plan->n_removed);
    assert_string_equal(done->removed[0]->commit_hash, plan->removed[0]->commit_hash);
    assert_int_equal(done->freed_bytes, plan->freed_bytes);
    replicas_assert_left(f, "013");
    protobuf_c_message_free_unpacked(&plan->base, NULL);
    protobuf_c_message_free_unpacked(&done->base, NULL);
}

/* ---- waiting ----------------------------------------------------------------------- */

/* Three repos are leased, and the download of a fourth, which may go when it is there,
 * stands still. */
static struct rpc_call *fill_until_stall(struct replicas *f,
                                         char leases[3][LEASE_ID_SIZE])
{
    struct rpc_call *stalled;

    for (unsigned i = 0; i < 3; i++)
        snapshot_fetch_leased(f->world, i, leases[i]);
    test_hub_rule(f->world->hub, &(struct test_hub_rule){.on_cdn = true,
                                                         .method = "GET",
                                                         .times = 1,
                                                         .fault = TEST_HUB_STALL,
                                                         .number = REPO_SIZE / 2});
    stalled = snapshot_start(f->world, 3);
    test_hub_await_stall(f->world->hub);
    return stalled;
}

static void a_call_waits_for_the_room_of_a_download_that_will_be_free(void **state)
{
    struct replicas *f = *state;
    char leases[3][LEASE_ID_SIZE];
    struct rpc_call *stalled, *waiting;

    serve_two(f);
    stalled = fill_until_stall(f, leases);
    assert_waits(&f->other, 4);
    waiting = snapshot_start(&f->other, 4);
    test_hub_release(f->world->hub);
    (void)snapshot_take(stalled, NULL);
    (void)snapshot_take(waiting, NULL);
    replicas_assert_left(f, "0124");
}

static void a_call_that_waits_takes_the_room_of_a_lease_that_ends(void **state)
{
    struct replicas *f = *state;
    char leases[3][LEASE_ID_SIZE];
    struct rpc_call *stalled, *waiting;

    serve_two(f);
    stalled = fill_until_stall(f, leases);
    waiting = snapshot_start(&f->other, 4);
    test_hub_await(f->world->hub, NULL, "evict-4", 1);
    lease_release(&f->other, leases[1]);
    (void)snapshot_take(waiting, NULL);
    replicas_assert_left(f, "024");
    test_hub_release(f->world->hub);
    (void)snapshot_take(stalled, NULL);
    replicas_assert_left(f, "0234");
}

/* ---- one replica at a time --------------------------------------------------------- */

static int lock_evictions(const struct replicas *f)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->world->dir, "cache/.hubcache/eviction");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    return fd;
}

static void while_another_replica_evicts_a_call_waits(void **state)
{
    struct replicas *f = *state;
    Hubcache__V1__EvictResponse *plan;
    struct rpc_call *waiting;
    int fd;

    serve_two(f);
    replicas_fill(f);
    fd = lock_evictions(f);
    assert_waits(f->world, 4);
    waiting = snapshot_start(&f->other, 4);
    plan = evict_answer(evict_start(f->world, REPO_SIZE, true)); /* needs no lock */
    assert_int_equal(plan->freed_bytes, REPO_SIZE);
    protobuf_c_message_free_unpacked(&plan->base, NULL);
    replicas_assert_left(f, "0123");
    (void)close(fd);
    (void)snapshot_take(waiting, NULL);
    replicas_assert_left(f, "234");
}

/* None of the three knows what the others are about to fetch, but by the volume. With
 * leases, since a replica may free more than is missing once the bytes have come. */
static void replicas_that_need_room_at_once_get_it(void **state)
{
    struct replicas *f = *state;
    struct world third;
    struct rpc_call *calls[3];
    char left[REPOS + 1];

    serve_two(f);
    world_serve_replica(f->world, &third,
                        (const char *const[]){"--cache-limit", REPLICAS_LIMIT, NULL});
    replicas_fill(f);
    replicas_add_repo(f, REPOS, REPO_SIZE);
    calls[0] = snapshot_start_within(f->world, 4, 3600, 0);
    calls[1] = snapshot_start_within(&f->other, 5, 3600, 0);
    calls[2] = snapshot_start_within(&third, REPOS, 3600, 0);
    for (int i = 0; i < 3; i++)
        (void)snapshot_take(calls[i], NULL);
    replicas_find_left(f, left);
    assert_null(strpbrk(left, "012")); /* three at least have gone, and these first */
    assert_true(replicas_room(f) <= (uint64_t)REPOS_FIT * REPO_SIZE);
    world_end_replica(&third);
}

/* Kills the first replica while it evicts many repos; false: it was too late. */
static bool kill_during_eviction(struct replicas *f)
{
    struct rpc_call *call;

    for (unsigned i = 0; i < REPOS_MAX; i++)
        (void)snapshot_fetch(f->world, i);
    call = evict_start(f->world, UINT64_MAX, false);
    while (replicas_count_snapshots(f) > REPOS_MAX - 3)
        ;
    assert_int_equal(kill(f->world->server, SIGKILL), 0);
    (void)rpc_call_await(call);
    rpc_call_free(call);
    world_end_replica(f->world);
    return replicas_count_snapshots(f) > 0;
}

static void when_a_replica_is_killed_another_one_goes_on(void **state)
{
    struct replicas *f = *state;
    Hubcache__V1__EvictResponse *rest;

    for (unsigned i = REPOS; i < REPOS_MAX; i++)
        replicas_add_repo(f, i, 4096);
    do
        world_serve(f->world, (const char *const[]){NULL});
    while (!kill_during_eviction(f));
    world_serve_replica(f->world, &f->other, (const char *const[]){NULL});
    rest = evict_answer(evict_start(&f->other, UINT64_MAX, false));
    assert_true(rest->n_removed > 0);
    protobuf_c_message_free_unpacked(&rest->base, NULL);
    assert_int_equal(replicas_count_snapshots(f), 0);
    for (unsigned i = 0; i < REPOS_MAX; i++)
        (void)snapshot_fetch(&f->other, i);
    assert_int_equal(replicas_count_snapshots(f), REPOS_MAX);
}

/* ---- the floor --------------------------------------------------------------------- */

/* No volume has so much: all that is not held goes, in the background; and then a
 * download, which could not have room, takes nothing. */
static void below_the_floor_what_is_not_held_goes(void **state)
{
    struct replicas *f = *state;
    char lease[LEASE_ID_SIZE];
    struct rpc_call *call;

    world_serve(f->world, (const char *const[]){NULL});
    replicas_fill(f);
    snapshot_fetch_leased(f->world, 1, lease);
    world_serve_replica(f->world, &f->other,
                        (const char *const[]){"--free-floor", "8000000T", NULL});
    await_left(f, "1");
    snapshot_fetch_leased(f->world, 2, lease);
    call = snapshot_start(&f->other, 4);
    assert_int_equal(rpc_call_await(call), HC_STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(rpc_call_reason(call), "NO_SPACE");
    assert_string_equal(rpc_call_error_info(call, "limit_bytes"), "");
    rpc_call_free(call);
    replicas_assert_left(f, "12");
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, replicas_set_up, replicas_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_hit_of_another_replica_is_a_use),
        TEST(a_hit_of_another_replica_after_the_list_was_made_is_a_use),
        TEST(replicas_evict_what_the_others_have_fetched),
        TEST(what_is_freed_beyond_the_need_serves_the_next_download),
        TEST(what_was_evicted_is_fetched_again),
        TEST(when_all_is_held_the_call_fails_at_once_with_the_figures),
        TEST(a_download_larger_than_the_limit_takes_nothing),
        TEST(a_dry_run_tells_what_goes_and_why_and_leaves_everything),
        TEST(a_call_waits_for_the_room_of_a_download_that_will_be_free),
        TEST(a_call_that_waits_takes_the_room_of_a_lease_that_ends),
        TEST(while_another_replica_evicts_a_call_waits),
        TEST(replicas_that_need_room_at_once_get_it),
        TEST(when_a_replica_is_killed_another_one_goes_on),
        TEST(below_the_floor_what_is_not_held_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
