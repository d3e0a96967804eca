/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whatever system call fails, no right blob is moved or called corrupt; and
 * whichever call is the process's last, the next sweep and the next verification leave no
 * corrupt blob and no pointer that dangles.
 */
#include "cache_fixture.h"

#include "fault.h"

#include <base/text.h>
#include <maintenance/quarantine_limit.h>
#include <maintenance/verification.h>

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define SNAPSHOT "snapshots/" COMMIT "/"
#define RIGHT REPO "blobs/" HELLO_SHA256
#define WRONG REPO "blobs/" HELLO_GIT
#define HASH "ab" HEX62
#define HEX62 "cdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
#define PAYLOAD "blobs/ab/" HASH

enum { CALLS_MIN = 20 };

extern char **environ;

/* ---- helper functions -------------------------------------------------------------- */

static void make_symlink(const struct fixture *f, const char *target, const char *path)
{
    if (!temp_dir_has(f->dir, path))
        assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

/* A right blob, and a wrong one with two pointers: a file of the repo, or a payload of
 * the shared store. */
static void make_repo(const struct fixture *f, bool is_shared)
{
    temp_dir_write(f->dir, RIGHT, "hello");
    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    temp_dir_write(f->dir, REPO SNAPSHOT "sub/x", "");
    if (is_shared) {
        temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "1\n");
        temp_dir_write(f->dir, PAYLOAD, "jello");
        temp_dir_write(f->dir, PAYLOAD ".refs", WRONG "\n");
        make_symlink(f, "../../" PAYLOAD, WRONG);
    } else {
        temp_dir_write(f->dir, WRONG, "jello");
    }
    make_symlink(f, "../../blobs/" HELLO_SHA256, REPO SNAPSHOT "right");
    make_symlink(f, "../../blobs/" HELLO_GIT, REPO SNAPSHOT "wrong");
    make_symlink(f, "../../../blobs/" HELLO_GIT, REPO SNAPSHOT "sub/wrong");
}

static int note_finding(void *ctx, struct hc_finding *finding, struct hc_error *err)
{
    (void)ctx;
    (void)err;
    if (finding->kind == HC_CORRUPT_BLOB)
        assert_string_not_equal(finding->cache_path, RIGHT);
    return 0;
}

static int verify(const struct hc_cache *cache, struct hc_verify_result *result)
{
    static const struct hc_verify_request request = {0};
    const struct hc_verification verification = {.cache = cache,
                                                 .request = &request,
                                                 .found = note_finding};
    struct hc_error err;

    *result = (struct hc_verify_result){0};
    return hc_verification_run(&verification, result, &err);
}

/* After a sweep, as another process makes it. */
static void assert_mends_itself(struct fixture *f)
{
    struct hc_verify_result result;

    assert_true(temp_dir_has(f->dir, RIGHT));
    assert_true(temp_dir_has(f->dir, REPO SNAPSHOT "right"));
    reopen_cache(f, false);
    (void)hc_quarantine_sweep(f->cache, hc_epoch_ms());
    assert_int_equal(verify(f->cache, &result), 0);
    (void)hc_quarantine_sweep(f->cache, hc_epoch_ms());
    assert_int_equal(verify(f->cache, &result), 0);
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 0);
    assert_int_equal(result.findings[HC_DANGLING_POINTER], 0);
    assert_false(temp_dir_has(f->dir, REPO SNAPSHOT "wrong"));
    assert_false(temp_dir_has(f->dir, REPO SNAPSHOT "sub/wrong"));
    assert_file_content(f, RIGHT, "hello");
    (void)hc_quarantine_sweep(f->cache, hc_epoch_ms() + HC_QUARANTINE_AGE_MS + 60000);
}

static void fail_everywhere(struct fixture *f, bool is_shared, int errnum)
{
    struct hc_verify_result result;
    const char *hit = "";
    unsigned n;

    for (n = 1; hit; n++) {
        make_repo(f, is_shared);
        fault_arm(FAULT_ERRNO, n, errnum);
        (void)verify(f->cache, &result);
        hit = fault_hit();
        fault_disarm();
        assert_mends_itself(f);
    }
    assert_true(n > CALLS_MIN);
}

/* ---- tests ------------------------------------------------------------------------- */

static void a_failure_of_any_call_moves_no_right_blob(void **state)
{
    struct fixture *f = *state;

    fail_everywhere(f, false, EIO);
    fail_everywhere(f, true, EACCES);
}

/* Reads are told from other failures: what cannot be read stays, and is told so. */
static void a_blob_that_cannot_be_read_is_unreadable_and_stays(void **state)
{
    struct fixture *f = *state;
    struct hc_verify_result result;

    make_repo(f, false);
    fault_refuse("pread", EIO);
    assert_int_equal(verify(f->cache, &result), 0);
    fault_disarm();
    assert_int_equal(result.findings[HC_UNREADABLE_BLOB], 2);
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 0);
    assert_true(temp_dir_has(f->dir, RIGHT));
    assert_true(temp_dir_has(f->dir, WRONG));
}

static void a_name_that_the_volume_refuses_leaves_the_blob(void **state)
{
    struct fixture *f = *state;
    struct hc_verify_result result;

    make_repo(f, false);
    fault_refuse("renameat", EROFS);
    assert_int_equal(verify(f->cache, &result), 0);
    fault_disarm();
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 1);
    assert_true(temp_dir_has(f->dir, WRONG));
    assert_true(temp_dir_has(f->dir, REPO SNAPSHOT "wrong"));
}

/* This program again, as a process that dies at its n-th call; whether it did. */
static bool verify_and_die(const struct fixture *f, unsigned n)
{
    char number[16], program[] = "/proc/self/exe";
    char *args[] = {program, f->dir, number, NULL};
    pid_t child;
    int status;

    (void)snprintf(number, sizeof number, "%u", n);
    assert_int_equal(posix_spawn(&child, program, NULL, NULL, args, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void a_process_that_dies_at_any_call_leaves_what_a_sweep_mends(void **state)
{
    struct fixture *f = *state;

    for (int is_shared = 0; is_shared < 2; is_shared++) {
        bool has_died = true;
        unsigned n;

        for (n = 1; has_died; n++) {
            make_repo(f, is_shared);
            has_died = verify_and_die(f, n);
            assert_mends_itself(f);
        }
        assert_true(n > CALLS_MIN);
    }
}

/* Between the rename and the removal of the pointers there is no wrapped call. */
static void pointers_that_a_dead_process_has_left_are_removed_by_the_sweep(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    make_repo(f, false);
    temp_dir_write(f->dir, ".hubcache/quarantine/models--org--name/" HELLO_GIT ".1.json",
                   "{\"etag\": \"" HELLO_GIT "\", \"pointers\": [\"" REPO SNAPSHOT
                   "wrong\", \"" REPO SNAPSHOT "sub/wrong\", \"" REPO SNAPSHOT
                   "right\", \"../x\", 7, \"" REPO "refs/main\"]}");
    assert_int_equal(renameat(root, WRONG, root,
                              ".hubcache/quarantine/models--org--name/" HELLO_GIT ".1"),
                     0);
    assert_true(temp_dir_has(f->dir, REPO SNAPSHOT "wrong"));
    (void)hc_quarantine_sweep(f->cache, hc_epoch_ms());
    assert_false(temp_dir_has(f->dir, REPO SNAPSHOT "wrong"));
    assert_false(temp_dir_has(f->dir, REPO SNAPSHOT "sub/wrong"));
    assert_true(temp_dir_has(f->dir, REPO SNAPSHOT "right"));
    assert_true(temp_dir_has(f->dir, REPO "refs/main"));
}

/* The process that dies: its arguments are the cache and the number of the call. */
static int run_and_die(const char *dir, const char *number)
{
    struct hc_verify_result result;
    struct hc_error err;
    struct hc_cache *cache = hc_cache_open(dir, false, &err);

    if (!cache)
        return 1;
    fault_arm(FAULT_EXIT, (unsigned)strtoul(number, NULL, 10), 0);
    (void)verify(cache, &result);
    fault_disarm();
    hc_cache_close(cache);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_failure_of_any_call_moves_no_right_blob),
        WITH_CACHE(a_blob_that_cannot_be_read_is_unreadable_and_stays),
        WITH_CACHE(a_name_that_the_volume_refuses_leaves_the_blob),
        WITH_CACHE(a_process_that_dies_at_any_call_leaves_what_a_sweep_mends),
        WITH_CACHE(pointers_that_a_dead_process_has_left_are_removed_by_the_sweep),
    };

    if (argc == 3)
        return run_and_die(argv[1], argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
