/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a scrub makes one pass in an interval, whichever process makes it; one that
 * was interrupted is continued after the last file, by this or another process, and
 * counts on; while one process has the lock, another does nothing.
 */
#include "cache_fixture.h"

#include <base/text.h>
#include <maintenance/scrub.h>

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define HOUR_MS (INT64_C(3600) * 1000)

/* ---- helper functions -------------------------------------------------------------- */

struct scrubbing {
    struct fixture *f;
    struct hc_replica_lock lock;
    struct hc_verify_result result;
    const char *stops_at; /* the end of a path; NULL: at nothing */
    unsigned findings;
};

static int note_finding(void *ctx, struct hc_finding *finding, struct hc_error *err)
{
    struct scrubbing *scrubbing = ctx;

    scrubbing->findings++;
    if (scrubbing->stops_at && hc_text_ends(finding->cache_path, scrubbing->stops_at))
        return hc_fail(err, HC_CANCELLED, "stopped");
    return 0;
}

static struct scrubbing scrubbing_new(struct fixture *f)
{
    return (struct scrubbing){.f = f, .lock = {.cache = f->cache, .path = HC_SCRUB_LOCK}};
}

static int scrub(struct scrubbing *scrubbing, int64_t interval_ms)
{
    static const struct hc_verify_request request = {0};
    const struct hc_scrub scrub = {.cache = scrubbing->f->cache,
                                   .request = &request,
                                   .lock = &scrubbing->lock,
                                   .interval_ms = interval_ms,
                                   .found = note_finding,
                                   .ctx = scrubbing,
                                   .result = &scrubbing->result};

    scrubbing->result = (struct hc_verify_result){0};
    return hc_scrub_run(&scrub, &scrubbing->f->err);
}

/* Three blobs that cannot be verified, each of which is a finding. */
static void make_repo(const struct fixture *f)
{
    temp_dir_write(f->dir, REPO "refs/main", COMMIT);
    temp_dir_write(f->dir, REPO "blobs/a", "1");
    temp_dir_write(f->dir, REPO "blobs/b", "22");
    temp_dir_write(f->dir, REPO "blobs/c", "333");
    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT, "hello");
    temp_dir_write(f->dir, REPO "snapshots/" COMMIT "/x", "");
}

static struct hc_scrub_state read_state(const struct fixture *f)
{
    struct hc_scrub_state state;

    assert_int_equal(hc_scrub_state_read(f->cache, &state), 1);
    return state;
}

/* ---- tests ------------------------------------------------------------------------- */

static void a_pass_is_made_once_in_an_interval(void **state)
{
    struct fixture *f = *state;
    struct scrubbing scrubbing = scrubbing_new(f);
    struct hc_scrub_state found;

    assert_int_equal(hc_scrub_state_read(f->cache, &found), 0);
    make_repo(f);
    assert_int_equal(scrub(&scrubbing, HOUR_MS), 1);
    found = read_state(f);
    assert_int_equal(found.pass_began_ms, 0);
    assert_string_equal(found.pass_path, "");
    assert_true(found.last_ended_ms >= found.last_began_ms);
    assert_int_equal(found.last.blobs, 1);
    assert_int_equal(found.last.bytes, 5);
    assert_int_equal(found.last.findings[HC_UNVERIFIABLE_BLOB], 4);

    assert_int_equal(scrub(&scrubbing, HOUR_MS), 0);
    assert_int_equal(scrub(&scrubbing, 0), 1);
}

static void an_interrupted_pass_is_continued_and_counts_on(void **state)
{
    struct fixture *f = *state;
    struct scrubbing scrubbing = scrubbing_new(f), other = scrubbing_new(f);
    struct hc_scrub_state found;

    make_repo(f);
    scrubbing.stops_at = "/c";
    assert_int_equal(scrub(&scrubbing, HOUR_MS), -1);
    found = read_state(f);
    assert_true(found.pass_began_ms > 0);
    assert_int_equal(found.last_ended_ms, 0);
    assert_string_equal(found.pass_path, REPO "blobs/" HELLO_GIT);

    assert_int_equal(scrub(&other, HOUR_MS), 1);
    assert_int_equal(other.findings, 2); /* c again, and the plain file */
    found = read_state(f);
    assert_int_equal(found.last.blobs, 1);
    assert_true(found.last_ended_ms > 0);
}

static void two_processes_do_not_scrub_at_once(void **state)
{
    struct fixture *f = *state;
    struct scrubbing scrubbing = scrubbing_new(f), other = scrubbing_new(f);

    make_repo(f);
    assert_true(hc_replica_lock_try(&other.lock, hc_monotonic_ms()));
    assert_int_equal(scrub(&scrubbing, HOUR_MS), 0);
    hc_replica_lock_release(&other.lock);
    assert_int_equal(scrub(&scrubbing, HOUR_MS), 1);
}

static void a_state_that_is_garbage_begins_a_pass(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"last_ended_ms\": \"x\", \"pass_path\": 7}",
        "{\"last_ended_ms\": 9000000000000000000}",
        "{\"pass_began_ms\": 1, \"pass_path\": \"models--org--name\"}"};
    struct fixture *f = *state;

    make_repo(f);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct scrubbing scrubbing = scrubbing_new(f);

        temp_dir_write(f->dir, ".hubcache/scrub.json", texts[i]);
        assert_int_equal(scrub(&scrubbing, HOUR_MS), 1);
        assert_int_equal(scrubbing.result.blobs, 1);
    }
}

static void what_goes_away_meanwhile_does_not_stop_a_pass(void **state)
{
    struct fixture *f = *state;
    struct scrubbing scrubbing = scrubbing_new(f);

    make_repo(f);
    temp_dir_write(
        f->dir, ".hubcache/scrub.json",
        "{\"pass_began_ms\": 1, \"pass_path\": \"models--org--gone/blobs/x\"}");
    assert_int_equal(scrub(&scrubbing, HOUR_MS), 1);
    assert_int_equal(scrubbing.result.blobs, 1); /* its folder comes after */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_pass_is_made_once_in_an_interval),
        WITH_CACHE(an_interrupted_pass_is_continued_and_counts_on),
        WITH_CACHE(two_processes_do_not_scrub_at_once),
        WITH_CACHE(a_state_that_is_garbage_begins_a_pass),
        WITH_CACHE(what_goes_away_meanwhile_does_not_stop_a_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
