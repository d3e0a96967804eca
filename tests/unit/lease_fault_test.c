/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whatever system call on the volume fails while a lease is taken, renewed or
 * released, or a revision is barred, and at whatever call the process dies: a lease that
 * was answered is on the disk; a call that failed says so and leaves no lease behind; and
 * the next process, after a sweep, takes leases and bars as if nothing had happened.
 */
#include "cache_fixture.h"
#include "fault.h"

#include <base/text.h>
#include <claim/claim_record.h>
#include <claim/lease.h>
#include <claim/lease_bar.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { HOUR_MS = 3600 * 1000, CALLS_MIN = 8, CALLS_MAX = 500 };

static int take(struct fixture *f, struct hc_lease *lease)
{
    const struct hc_lease_request request = {.repo = &f->repo,
                                             .commit = COMMIT,
                                             .duration_ms = HOUR_MS};

    return hc_lease_take(f->cache, &request, lease, &f->err);
}

static unsigned leases_on_disk(struct fixture *f)
{
    return temp_dir_count(f->dir, ".hubcache/leases");
}

/* A sweep; then a lease can be taken, keeps a bar away, and is released. */
static void assert_works(struct fixture *f)
{
    const int64_t now_ms = hc_volume_now_ms(f->cache);
    struct hc_lease_bar *bar = NULL;
    struct hc_lease lease;
    unsigned held;

    (void)hc_lease_sweep(f->cache, now_ms, &held);
    assert_int_equal(take(f, &lease), 1);
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 0);
    assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 1);
}

/* Nothing is left: the revision can be barred, and that leaves nothing either. */
static void assert_nothing_left(struct fixture *f)
{
    struct hc_lease_bar *bar = NULL;
    unsigned held;

    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
    hc_lease_unbar(bar);
    (void)hc_lease_sweep(f->cache, hc_volume_now_ms(f->cache), &held);
    assert_int_equal(held, 0);
    assert_int_equal(leases_on_disk(f), 0);
}

static void assert_failed_with_a_reason(struct fixture *f, int errnum)
{
    if (f->err.reason != HC_CACHE_IO && f->err.reason != HC_NO_SPACE &&
        f->err.reason != HC_CACHE_READ_ONLY)
        fail_msg("errno %d: %s", errnum, f->err.message);
}

static const int failures[] = {EIO, ENOSPC, EROFS, EACCES, EDQUOT};

static void take_with_each_call_failing(struct fixture *f, int errnum)
{
    bool was_hit = true;

    for (unsigned n = 1; was_hit; n++) {
        struct hc_lease lease, found;
        int taken;

        fault_arm(FAULT_ERRNO, n, errnum);
        taken = take(f, &lease);
        was_hit = fault_hit() != NULL;
        assert_true(was_hit || n > CALLS_MIN);
        assert_true(n < CALLS_MAX);
        fault_disarm();
        if (taken == 1) {
            assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 1);
            assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 1);
        } else {
            assert_int_equal(taken, -1);
            assert_failed_with_a_reason(f, errnum);
        }
        assert_nothing_left(f);
    }
}

static void a_take_with_a_call_that_fails_says_so_and_leaves_no_lease(void **state)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        take_with_each_call_failing(*state, failures[i]);
}

static void on_a_volume_that_fills_up_no_lease_is_answered_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    struct hc_lease lease, found;
    bool was_hit = true;

    for (unsigned n = 1; was_hit; n++) {
        int taken;

        fault_arm(FAULT_FULL, n, ENOSPC);
        taken = take(f, &lease);
        was_hit = fault_hit() != NULL;
        fault_disarm();
        if (taken == 1)
            assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 1);
        else
            assert_int_equal(f->err.reason, HC_NO_SPACE);
        if (taken == 1)
            assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 1);
        assert_nothing_left(f);
    }
}

/* A renewal that fails leaves the lease as it was. */
static void a_renewal_with_a_call_that_fails_keeps_the_lease(void **state)
{
    struct fixture *f = *state;
    bool was_hit = true;

    for (unsigned n = 1; was_hit; n++) {
        struct hc_lease lease, renewed, found;
        int result;

        assert_int_equal(take(f, &lease), 1);
        fault_arm(FAULT_ERRNO, n, EIO);
        result =
            hc_lease_renew(f->cache, lease.id, 2 * (int64_t)HOUR_MS, &renewed, &f->err);
        was_hit = fault_hit() != NULL;
        fault_disarm();
        if (result == 1) {
            assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 1);
            assert_true(found.until_ms >= lease.until_ms + HOUR_MS);
        } else {
            assert_int_equal(result, -1);
            assert_failed_with_a_reason(f, EIO);
        }
        (void)hc_lease_release(f->cache, lease.id, &f->err);
        assert_nothing_left(f);
    }
}

static void a_bar_with_a_call_that_fails_bars_nothing(void **state)
{
    struct fixture *f = *state;
    bool was_hit = true;

    for (unsigned n = 1; was_hit; n++) {
        struct hc_lease_bar *bar = NULL;
        int result;

        fault_arm(FAULT_ERRNO, n, EIO);
        result = hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err);
        was_hit = fault_hit() != NULL;
        fault_disarm();
        assert_true(result == 1 || bar == NULL);
        hc_lease_unbar(bar);
        assert_works(f);
    }
}

/* ---- death ------------------------------------------------------------------------- */

static void act_take(struct fixture *f)
{
    struct hc_lease lease;

    (void)take(f, &lease);
}

static void act_all(struct fixture *f)
{
    struct hc_lease_bar *bar = NULL;
    struct hc_lease lease, renewed;
    unsigned held;

    (void)take(f, &lease);
    (void)hc_lease_renew(f->cache, lease.id, HOUR_MS, &renewed, &f->err);
    (void)hc_lease_release(f->cache, lease.id, &f->err);
    (void)hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err);
    hc_lease_unbar(bar);
    (void)take(f, &lease);
    (void)hc_lease_sweep(f->cache, INT64_MAX / 2, &held);
}

/* Whether it died. */
static bool dies_at(struct fixture *f, unsigned n, void (*act)(struct fixture *f))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        fault_arm(FAULT_EXIT, n, 0);
        act(f);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void wherever_a_process_dies_the_next_one_goes_on(void **state)
{
    static void (*const acts[])(struct fixture *f) = {act_take, act_all};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        bool has_died = true;

        for (unsigned n = 1; has_died; n++) {
            has_died = dies_at(f, n, acts[i]);
            assert_true(has_died || n > CALLS_MIN);
            assert_works(f);
        }
    }
}

/* What it leaves ends by itself: leases of an hour, and private files. */
static void what_dead_processes_leave_is_swept(void **state)
{
    struct fixture *f = *state;
    unsigned held;

    for (unsigned n = 1; dies_at(f, n, act_take); n++)
        continue;
    (void)hc_lease_sweep(f->cache, hc_volume_now_ms(f->cache) + 2 * (int64_t)HOUR_MS,
                         &held);
    assert_int_equal(held, 0);
    assert_nothing_left(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_take_with_a_call_that_fails_says_so_and_leaves_no_lease),
        WITH_CACHE(on_a_volume_that_fills_up_no_lease_is_answered_that_is_not_there),
        WITH_CACHE(a_renewal_with_a_call_that_fails_keeps_the_lease),
        WITH_CACHE(a_bar_with_a_call_that_fails_bars_nothing),
        WITH_CACHE(wherever_a_process_dies_the_next_one_goes_on),
        WITH_CACHE(what_dead_processes_leave_is_swept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
