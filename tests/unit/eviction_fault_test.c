/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: an eviction that dies before any of its system calls, or of which any fails,
 * leaves a cache that every client reads, and nothing that is held is gone; the next one
 * goes on, and after it and a sweep no file is left over; empty directories may be.
 */
#include "fault.h"
#include "removal_fixture.h"

#include <base/text.h>
#include <cache/pin.h>
#include <maintenance/eviction.h>
#include <maintenance/trash.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { REVISIONS = 4, HELD = 2, CALLS_MIN = 300, STRIDE = 41 };

static struct hc_repo repo_number(unsigned number)
{
    struct hc_repo repo;
    struct hc_error err;
    char id[32];

    (void)hc_format(id, sizeof id, "org/repo-%u", number);
    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, id, &err), 0);
    return repo;
}

/* Of repo 1 two revisions that share a blob, of the others one each; repo HELD is
 * pinned. */
static void fill(struct fixture *f)
{
    const struct hc_pin pin = {.reason = "it is good"};

    for (unsigned i = 1; i <= REVISIONS; i++) {
        struct hc_repo repo = repo_number(i);

        put_file(f, &repo, COMMIT, "a", BLOB_A);
        put_file(f, &repo, COMMIT, "sub/b", BLOB_B);
        put_ref(f, &repo, "main", COMMIT);
        if (i == 1)
            put_file(f, &repo, OTHER_COMMIT, "a", BLOB_A);
        if (i == HELD)
            assert_int_equal(hc_pin_set(f->cache, &repo, COMMIT, &pin, &f->err), 0);
    }
}

static void evict_all(struct fixture *f)
{
    const struct hc_eviction_request request = {.bytes = UINT64_MAX};
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    struct hc_error err;
    HC_AUTO(hc_eviction) *eviction = hc_eviction_new(f->cache, NULL, &err);

    if (eviction)
        (void)hc_eviction_run(eviction, &request, &result, &err);
}

static void assert_held_is_there(const struct fixture *f)
{
    struct hc_repo repo = repo_number(HELD);
    char path[PATH_MAX];

    (void)hc_format(path, sizeof path, "%s/snapshots/" COMMIT "/sub/b", repo.folder);
    if (!temp_dir_has(f->dir, path))
        fail_msg("'%s' was held, and is gone", path);
}

static void assert_only_held_is_left(struct fixture *f)
{
    static const char *const files[] = {"blobs/" BLOB_A, "blobs/" BLOB_B, "refs/main",
                                        "snapshots/" COMMIT};
    char path[PATH_MAX];

    evict_all(f);
    (void)hc_removal_sweep(f->cache, ((int64_t)time(NULL) + 24 * INT64_C(3600)) * 1000,
                           HC_TRASH_EXPIRY_MS);
    for (unsigned i = 1; i <= REVISIONS; i++) {
        struct hc_repo repo = repo_number(i);

        for (size_t n = 0; n < sizeof files / sizeof *files; n++) {
            (void)hc_format(path, sizeof path, "%s/%s", repo.folder, files[n]);
            if (temp_dir_has(f->dir, path) != (i == HELD))
                fail_msg("'%s' is %s", path, i == HELD ? "gone" : "left");
        }
    }
    assert_no_trash(f);
}

/* Whether the process died, and did not come to its end. */
static bool evict_and_die(struct fixture *f, unsigned nth)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        fault_arm(FAULT_EXIT, nth, 0);
        evict_all(f);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status);
}

static void a_crash_anywhere_leaves_a_cache_that_every_client_reads(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 1;
    bool has_died = true;

    for (; has_died; nth += STRIDE) {
        fill(f);
        has_died = evict_and_die(f, nth);
        assert_cache_is_sound(f);
        assert_held_is_there(f);
        assert_only_held_is_left(f);
    }
    assert_true(nth > CALLS_MIN);
}

static void a_failure_anywhere_leaves_a_cache_that_every_client_reads(void **state)
{
    static const int errnums[] = {EROFS, EIO, ENOSPC};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof errnums / sizeof *errnums; i++) {
        const char *hit = "";

        for (unsigned nth = 1; hit; nth += STRIDE) {
            fill(f);
            fault_arm(FAULT_ERRNO, nth, errnums[i]);
            evict_all(f);
            hit = fault_hit();
            fault_disarm();
            assert_cache_is_sound(f);
            assert_held_is_there(f);
            assert_only_held_is_left(f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_crash_anywhere_leaves_a_cache_that_every_client_reads),
        WITH_CACHE(a_failure_anywhere_leaves_a_cache_that_every_client_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
