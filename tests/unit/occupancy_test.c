/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: what the cache occupies is known to every process of the volume as soon as one
 * has scanned it; what any of them adds or removes counts at once, also if that process
 * is gone by then, and a file that a process writes just now is not misread.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <cache/occupancy.h>
#include <cache/usage.h>

#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define OTHER_GIT "0123456789012345678901234567890123456789"

enum { MIB = 1024 * 1024 };

static struct hc_occupancy *own(const struct fixture *f)
{
    return hc_cache_occupancy(f->cache);
}

static struct hc_occupancy *other_process(struct fixture *f)
{
    struct hc_occupancy *occupancy = hc_occupancy_new(f->cache, &f->err);

    assert_non_null(occupancy);
    return occupancy;
}

static void set_occupied(struct hc_occupancy *occupancy, uint64_t bytes)
{
    const struct hc_occupancy_scan scan = hc_occupancy_begin_scan(occupancy);

    hc_occupancy_end_scan(occupancy, &scan, bytes);
}

static void assert_occupied(struct hc_occupancy *occupancy, uint64_t bytes)
{
    uint64_t found = 0;

    assert_int_equal(hc_occupancy_find(occupancy, &found), 1);
    assert_int_equal(found, bytes);
}

static uint64_t blocks_of(const struct fixture *f, const char *path)
{
    struct stat status;

    assert_int_equal(fstatat(hc_cache_fd(f->cache), path, &status, 0), 0);
    return (uint64_t)status.st_blocks * 512;
}

static void before_a_scan_nothing_is_known(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;

    assert_int_equal(hc_occupancy_find(own(f), &bytes), 0);
    hc_occupancy_add(own(f), 5 * MIB);
    assert_int_equal(hc_occupancy_find(own(f), &bytes), 0);
}

static void additions_and_removals_count_from_the_scan_on(void **state)
{
    struct fixture *f = *state;

    hc_occupancy_add(own(f), 7 * MIB);
    set_occupied(own(f), 10 * MIB);
    assert_occupied(own(f), 10 * MIB);
    hc_occupancy_add(own(f), 3);
    hc_occupancy_remove(own(f), 2 * MIB);
    assert_occupied(own(f), 8 * MIB + 3);
    hc_occupancy_remove(own(f), 100 * MIB);
    assert_occupied(own(f), 0);
}

static void other_processes_see_a_change_at_once(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_occupancy) *other = other_process(f);

    set_occupied(own(f), 10 * MIB);
    set_occupied(other, 10 * MIB);
    hc_occupancy_add(own(f), MIB);
    assert_occupied(other, 11 * MIB);
    hc_occupancy_remove(other, 2 * MIB);
    assert_occupied(own(f), 9 * MIB);
}

static void small_changes_of_others_count_when_the_process_ends(void **state)
{
    struct fixture *f = *state;
    struct hc_occupancy *other = other_process(f);

    set_occupied(own(f), 10 * MIB);
    hc_occupancy_add(other, 1);
    hc_occupancy_free(other);
    assert_occupied(own(f), 10 * MIB + 1);
}

static void a_new_process_takes_over_what_another_knows(void **state)
{
    struct fixture *f = *state;
    struct hc_occupancy *other = other_process(f);
    HC_AUTO(hc_occupancy) *third = NULL;

    set_occupied(other, 10 * MIB);
    hc_occupancy_add(other, 4 * MIB);
    assert_occupied(other, 14 * MIB);
    hc_occupancy_free(other);
    third = other_process(f);
    assert_occupied(third, 14 * MIB);
}

/* The total in a file is that of the last look; the counters beside it are newer. */
static void what_came_after_the_total_that_is_taken_over_counts(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_occupancy) *other = other_process(f);
    HC_AUTO(hc_occupancy) *third = other_process(f);
    HC_AUTO(hc_occupancy) *started = NULL;

    set_occupied(other, 10 * MIB);
    hc_occupancy_add(other, 4 * MIB);
    hc_occupancy_remove(other, MIB);
    hc_occupancy_add(third, 2 * MIB);
    started = other_process(f);
    assert_occupied(started, 15 * MIB);
}

static void what_comes_during_a_scan_counts_and_what_goes_does_not(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_occupancy) *other = other_process(f);
    struct hc_occupancy_scan scan = hc_occupancy_begin_scan(own(f));

    hc_occupancy_add(other, 2 * MIB);
    hc_occupancy_add(own(f), 3 * MIB);
    hc_occupancy_remove(other, 4 * MIB);
    hc_occupancy_end_scan(own(f), &scan, 10 * MIB);
    assert_occupied(own(f), 15 * MIB);
}

static void a_file_that_was_read_during_a_write_is_left_for_the_next_time(void **state)
{
    struct fixture *f = *state;

    set_occupied(own(f), 10 * MIB);
    temp_dir_write(f->dir, ".hubcache/occupancy/process.00000001",
                   "00000000000099999999 00000000000000000000 00000000000000000000 "
                   "00000000000000000001\n");
    temp_dir_write(f->dir, ".hubcache/occupancy/process.00000002", "half of");
    temp_dir_write(f->dir, ".hubcache/occupancy/a-name-that-is-longer-than-ours", "1");
    assert_occupied(own(f), 10 * MIB);
}

static void files_of_processes_that_are_gone_are_swept_after_a_while(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = (int64_t)time(NULL) * 1000;

    set_occupied(own(f), 10 * MIB);
    hc_occupancy_add(own(f), MIB);
    hc_occupancy_sweep(f->cache, now_ms);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/occupancy"), 1);
    hc_occupancy_sweep(f->cache, now_ms + HC_OCCUPANCY_KEEP_MS + 60000);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/occupancy"), 0);
    hc_occupancy_add(own(f), MIB); /* the process lived all the same */
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/occupancy"), 1);
    assert_occupied(own(f), 12 * MIB);
}

static void a_measurement_counts_each_inode_once(void **state)
{
    struct fixture *f = *state;
    uint64_t blob, partial, quarantined;

    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT, "hello");
    temp_dir_write(f->dir, REPO "blobs/" HELLO_SHA256 ".incomplete", "python's");
    temp_dir_write(f->dir, REPO "blobs/" OTHER_GIT ".01234567.incomplete", "claimed");
    temp_dir_write(f->dir, ".hubcache/transfers/models--org--name/" OTHER_GIT, "");
    temp_dir_write(f->dir, ".hubcache/quarantine/models--org--name/" HELLO_GIT ".1", "x");
    temp_dir_write(f->dir, "models--org--other/blobs/other", "other");
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), "models--org--other/blobs/other", 0),
                     0);
    assert_int_equal(linkat(hc_cache_fd(f->cache), REPO "blobs/" HELLO_GIT,
                            hc_cache_fd(f->cache), "models--org--other/blobs/" HELLO_GIT,
                            0),
                     0);
    blob = blocks_of(f, REPO "blobs/" HELLO_GIT);
    partial = blocks_of(f, REPO "blobs/" HELLO_SHA256 ".incomplete");
    quarantined = blocks_of(f, ".hubcache/quarantine/models--org--name/" HELLO_GIT ".1");
    assert_true(blob > 0);
    assert_int_equal(hc_usage_measure(f->cache, true, NULL, &f->err), 0);
    assert_occupied(own(f), blob + partial + quarantined);
}

static void commit_hello(struct fixture *f)
{
    HC_AUTO(hc_ingest) *ingest =
        begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), 5, &f->err);

    assert_non_null(ingest);
    assert_int_equal(hc_ingest_write(ingest, 0, "hello", 5, &f->err), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), 0);
}

static void a_commit_adds_what_its_file_takes(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hc_usage_measure(f->cache, true, NULL, &f->err), 0);
    commit_hello(f);
    assert_occupied(own(f), blocks_of(f, REPO "blobs/" HELLO_GIT));
    commit_hello(f); /* replaces the first */
    assert_occupied(own(f), blocks_of(f, REPO "blobs/" HELLO_GIT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(before_a_scan_nothing_is_known),
        WITH_CACHE(additions_and_removals_count_from_the_scan_on),
        WITH_CACHE(other_processes_see_a_change_at_once),
        WITH_CACHE(small_changes_of_others_count_when_the_process_ends),
        WITH_CACHE(a_new_process_takes_over_what_another_knows),
        WITH_CACHE(what_came_after_the_total_that_is_taken_over_counts),
        WITH_CACHE(what_comes_during_a_scan_counts_and_what_goes_does_not),
        WITH_CACHE(a_file_that_was_read_during_a_write_is_left_for_the_next_time),
        WITH_CACHE(files_of_processes_that_are_gone_are_swept_after_a_while),
        WITH_CACHE(a_measurement_counts_each_inode_once),
        WITH_CACHE(a_commit_adds_what_its_file_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
