/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise, of a replica that remembers what is on a slow volume: what another replica
 * has evicted it answers no longer than --confirm-after, and with a lease not at all; and
 * an answer from memory or from a proof is a use, so that what is asked for all the time
 * is not what was used least recently.
 */
#include "replicas_fixture.h"

#include <base/auto.h>

#include <fcntl.h>
#include <hubcache/error.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 70, LARGE = REPOS, POLLS = 6000 };

static void pause_briefly(void)
{
    (void)nanosleep(&(const struct timespec){.tv_nsec = 5000000}, NULL);
}

/* For the second replica alone, the volume is slow. */
static void serve_two(struct replicas *f, const char *confirm_after)
{
    HC_AUTO_FREE char *cache = temp_dir_path(f->world->dir, "cache");

    world_serve(f->world, (const char *const[]){NULL});
    f->world->preload = SLOW_LIBRARY;
    assert_int_equal(setenv("SLOW_VOLUME", cache, 1), 0); /* NOLINT */
    world_serve_replica(f->world, &f->other,
                        (const char *const[]){"--confirm-after", confirm_after, NULL});
    assert_int_equal(unsetenv("SLOW_VOLUME"), 0); /* NOLINT */
    f->world->preload = NULL;
}

/* So many hits that the answer is remembered. */
static void remember(struct replicas *f, unsigned number)
{
    for (int i = 0; i < 3; i++)
        (void)snapshot_fetch(&f->other, number);
}

static bool file_is_there(struct replicas *f, unsigned number, const char *name)
{
    HC_AUTO_FREE char *path =
        temp_dir_path(f->world->dir, replicas_path(f, number, name));

    return access(path, F_OK) == 0;
}

static void with_a_lease_what_is_gone_is_not_answered(void **state)
{
    struct replicas *f = *state;
    char lease[LEASE_ID_SIZE];

    serve_two(f, "60s");
    for (int i = 0; i < 3; i++) {
        remember(f, 0);
        evict(f->world, REPO_SIZE);
        assert_false(file_is_there(f, 0, "/weights.bin"));
        snapshot_fetch_leased(&f->other, 0, lease);
        lease_release(f->world, lease);
    }
}

/* The call itself succeeds at once, with a path that may be gone. */
static void without_a_lease_what_is_gone_is_answered_until_memory_is_too_old(void **state)
{
    struct replicas *f = *state;
    bool is_there = false;

    serve_two(f, "100ms");
    remember(f, 0);
    evict(f->world, REPO_SIZE);
    for (unsigned i = 0; i < POLLS && !is_there; i++) {
        struct rpc_call *call = snapshot_start(&f->other, 0);

        assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
        rpc_call_free(call);
        is_there = file_is_there(f, 0, "/weights.bin");
        pause_briefly();
    }
    assert_true(is_there);
}

/* So many files that a proof is worth its look. */
static void add_large_repo(struct replicas *f)
{
    char name[40];

    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "file-%u.json", i);
        test_hub_add(f->world->hub, name, name, strlen(name), false);
    }
    replicas_add_repo(f, LARGE, 4096); /* and weights.bin */
}

/* No proof is written within two seconds of the last change. */
static void await_proof(struct replicas *f)
{
    bool has_proof = false;

    for (unsigned i = 0; i < POLLS && !has_proof; i++) {
        (void)snapshot_fetch(&f->other, LARGE);
        has_proof = temp_dir_count(f->world->dir, "cache/.hubcache/proofs") > 0;
        pause_briefly();
    }
    assert_true(has_proof);
}

/* The path of a file of the large repo; the caller frees it. */
static char *large_path(struct replicas *f, unsigned number)
{
    char name[40];

    (void)snprintf(name, sizeof name, "/file-%u.json", number);
    return temp_dir_path(f->world->dir, replicas_path(f, LARGE, name));
}

/* The last use of each blob. That of the snapshot's directory is a fact of the proof. */
static void set_large_used(struct replicas *f, time_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    for (unsigned i = 0; i < FILES; i++) {
        HC_AUTO_FREE char *path = large_path(f, i);

        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
}

static time_t find_large_used(struct replicas *f)
{
    struct stat status;
    time_t used = 0;

    for (unsigned i = 0; i < FILES; i++) {
        HC_AUTO_FREE char *path = large_path(f, i);

        assert_int_equal(stat(path, &status), 0);
        used = used > status.st_atim.tv_sec ? used : status.st_atim.tv_sec;
    }
    return used;
}

static void a_hit_that_a_proof_answers_is_a_use(void **state)
{
    struct replicas *f = *state;
    time_t used = 1000;

    add_large_repo(f);
    serve_two(f, "100ms");
    await_proof(f);
    set_large_used(f, used);
    for (unsigned i = 0; i < POLLS && used == 1000; i++) {
        (void)snapshot_fetch(&f->other, LARGE);
        used = find_large_used(f);
        pause_briefly();
    }
    assert_int_not_equal(used, 1000);
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, replicas_set_up, replicas_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(with_a_lease_what_is_gone_is_not_answered),
        TEST(without_a_lease_what_is_gone_is_answered_until_memory_is_too_old),
        TEST(a_hit_that_a_proof_answers_is_a_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
