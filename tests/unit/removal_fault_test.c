/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whichever system call of a removal fails, and before whichever the process
 * dies, no pointer dangles and no ref names a snapshot that is not there; what was not
 * selected is whole; after the next sweep, the revision is there with its files and refs,
 * or nothing of it is; and another removal completes it.
 */
#include "fault.h"
#include "removal_fixture.h"

#include <maintenance/prune.h>
#include <maintenance/trash.h>

#include <claim/claim_record.h>
#include <claim/lease.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { CALLS_MAX = 2000, LATER_MS = 2 * 3600 * 1000 };

static const struct hc_removal_options carried_out = {0};

/* A is in both revisions, B and C are in the first alone. */
static void put_revisions(const struct fixture *f)
{
    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, COMMIT, "sub/b", BLOB_B);
    put_file(f, &f->repo, COMMIT, "sub/dir/c", BLOB_C);
    put_file(f, &f->repo, OTHER_COMMIT, "a", BLOB_A);
    put_ref(f, &f->repo, "main", COMMIT);
    put_ref(f, &f->repo, "refs/pr/1", COMMIT);
    put_ref(f, &f->repo, "v1", OTHER_COMMIT);
    temp_dir_write(f->dir, FOLDER "trees/" COMMIT ".json", "{}");
    temp_dir_write(f->dir, FOLDER ".no_exist/" COMMIT "/x", "");
}

static void remove_first(const struct fixture *f)
{
    static const char *const commits[] = {COMMIT};
    struct hc_removal_result result =
        remove_revisions(f, &f->repo, commits, 1, &carried_out);

    hc_removal_result_clear(&result);
}

static void assert_other_is_whole(const struct fixture *f)
{
    assert_cache_is_sound(f);
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" OTHER_COMMIT "/a"));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_true(temp_dir_has(f->dir, FOLDER "refs/v1"));
}

/* With its refs and files, or without any. */
static void assert_is_whole_or_gone(const struct fixture *f)
{
    static const char *const parts[] = {"refs/main",
                                        "refs/refs/pr/1",
                                        "snapshots/" COMMIT "/sub/dir/c",
                                        "snapshots/" COMMIT "/sub/b",
                                        "blobs/" BLOB_B,
                                        "blobs/" BLOB_C};
    bool is_there = temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT);
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        (void)snprintf(path, sizeof path, FOLDER "%s", parts[i]);
        if (temp_dir_has(f->dir, path) != is_there)
            fail_msg("'%s' is %s", parts[i], is_there ? "gone" : "there");
    }
}

/* As two hours later: what no ref names by then goes. */
static void prune_later(const struct fixture *f, int64_t now_ms)
{
    const struct hc_removal_options options = {.now_ms = now_ms};
    struct hc_prune_result result = {0};
    struct hc_error err;
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(f->cache, &options, &result.revisions, &err);
    const struct hc_prune prune = {.cache = f->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .unused_for_ms = 1,
                                   .now_ms = now_ms};

    assert_int_equal(hc_prune_repo(&prune, &f->repo, &err), 0);
    hc_prune_result_clear(&result);
}

/* What the sweep leaves when the removal has expired, and then another and a prune. */
static void assert_is_completed(const struct fixture *f)
{
    int64_t now_ms = hc_volume_now_ms(f->cache) + LATER_MS;
    unsigned leases;

    (void)hc_removal_sweep(f->cache, now_ms, HC_TRASH_EXPIRY_MS);
    assert_is_whole_or_gone(f);
    (void)hc_lease_sweep(f->cache, now_ms, &leases);
    remove_first(f);
    prune_later(f, now_ms);
    assert_other_is_whole(f);
    assert_no_trash(f);
    assert_false(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT));
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_C));
    assert_false(temp_dir_has(f->dir, FOLDER "refs/main"));
}

/* Every `stride`-th call. */
static void calls_may_fail(struct fixture *f, int errnum, unsigned stride)
{
    unsigned n = 1;

    for (bool is_hit = true; is_hit; n += stride) {
        assert_true(n < CALLS_MAX);
        put_revisions(f);
        fault_arm(FAULT_ERRNO, n, errnum);
        remove_first(f);
        is_hit = fault_hit() != NULL;
        fault_disarm();
        assert_other_is_whole(f);
        assert_is_completed(f);
    }
    print_message("%u calls\n", n);
}

static void a_removal_survives_an_io_error_at_every_other_call(void **state)
{
    calls_may_fail(*state, EIO, 2);
}

static void a_removal_survives_a_refusal_at_many_calls(void **state)
{
    calls_may_fail(*state, EACCES, 7);
}

static void a_removal_survives_a_stale_handle_at_many_calls(void **state)
{
    calls_may_fail(*state, ESTALE, 11);
}

/* In a process of its own, which opens the cache itself. True: it was killed. */
static bool remove_and_die(const struct fixture *f, unsigned n)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct fixture own = *f;

        own.cache = hc_cache_open(f->dir, false, &own.err);
        fault_arm(FAULT_EXIT, n, 0);
        remove_first(&own);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* At once: a prune removes nothing that had a ref, and a sweep moves the refs back. */
static void assert_refs_are_not_lost(const struct fixture *f, bool by_prune)
{
    int64_t now_ms = hc_volume_now_ms(f->cache);

    if (!temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT))
        return;
    if (by_prune)
        prune_later(f, now_ms + LATER_MS);
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT));
    (void)hc_removal_sweep(f->cache, now_ms, HC_TRASH_EXPIRY_MS);
    assert_is_whole_or_gone(f);
}

static void a_removal_that_dies_before_any_call_is_completed_later(void **state)
{
    struct fixture *f = *state;
    unsigned n = 1;

    for (bool is_killed = true; is_killed; n++) {
        assert_true(n < CALLS_MAX);
        put_revisions(f);
        is_killed = remove_and_die(f, n);
        assert_other_is_whole(f);
        assert_refs_are_not_lost(f, n % 2);
        assert_is_completed(f);
    }
    print_message("%u calls\n", n - 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_removal_survives_an_io_error_at_every_other_call),
        WITH_CACHE(a_removal_survives_a_refusal_at_many_calls),
        WITH_CACHE(a_removal_survives_a_stale_handle_at_many_calls),
        WITH_CACHE(a_removal_that_dies_before_any_call_is_completed_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
