/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the candidates of an eviction are the revisions of the cache, the least
 * recently used first, ties by name; the last use is that of the newest of their blobs;
 * and the room of a blob is that of the revision which goes last of those that have it.
 */
#include "cache_fixture.h"

#include <maintenance/candidates.h>

#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name"
#define OTHER "datasets--org--set"

enum { BLOCK = 4096 };

static char one[] = "1111111111111111111111111111111111111111";
static char two[] = "2222222222222222222222222222222222222222";
static char three[] = "3333333333333333333333333333333333333333";

/* Sets the atime or, of a directory, the mtime, to so many seconds after the epoch. */
static void set_used(const struct fixture *f, const char *path, time_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    assert_int_equal(utimensat(hc_cache_fd(f->cache), path, times, AT_SYMLINK_NOFOLLOW),
                     0);
}

static void make_blob(const struct fixture *f, const char *folder, const char *etag,
                      unsigned blocks, time_t used_s)
{
    char path[PATH_MAX];
    HC_AUTO_FREE char *bytes = malloc((size_t)blocks * BLOCK + 1);

    memset(bytes, 'x', (size_t)blocks * BLOCK);
    bytes[(size_t)blocks * BLOCK] = '\0';
    (void)hc_format(path, sizeof path, "%s/blobs/%s", folder, etag);
    temp_dir_write(f->dir, path, bytes);
    set_used(f, path, used_s);
}

static void make_pointer(const struct fixture *f, const char *folder, const char *commit,
                         const char *etag)
{
    char path[PATH_MAX], target[PATH_MAX];
    struct hc_error err;

    (void)hc_format(path, sizeof path, "%s/snapshots/%s/%s", folder, commit, etag);
    (void)hc_format(target, sizeof target, "../../blobs/%s", etag);
    assert_int_equal(hc_file_mkparents(hc_cache_fd(f->cache), path, &err), 0);
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

/* After its pointers, whose creation changes the directory. */
static void age_snapshot(const struct fixture *f, const char *folder, const char *commit)
{
    char path[PATH_MAX];

    (void)hc_format(path, sizeof path, "%s/snapshots/%s", folder, commit);
    set_used(f, path, 1);
}

static void make_revision(const struct fixture *f, const char *folder, const char *commit,
                          const char *etag)
{
    make_pointer(f, folder, commit, etag);
    age_snapshot(f, folder, commit);
}

static struct hc_candidates scan(struct fixture *f)
{
    struct hc_candidates list = {0};

    assert_int_equal(hc_candidates_scan(&list, f->cache, NULL, &f->err), 0);
    return list;
}

static void assert_candidate(const struct hc_candidates *list, size_t number,
                             const char *commit, uint64_t bytes)
{
    assert_true(number < list->count);
    assert_string_equal(list->items[number].commit, commit);
    assert_int_equal(list->items[number].bytes, bytes);
}

static void an_empty_cache_has_no_candidates(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_candidates) list = scan(f);

    assert_int_equal(list.count, 0);
}

static void revisions_come_in_the_order_of_their_last_use(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_candidates) list = {0};

    make_blob(f, REPO, "a", 1, 300);
    make_blob(f, REPO, "b", 2, 100);
    make_blob(f, OTHER, "c", 3, 200);
    make_revision(f, REPO, one, "a");
    make_revision(f, REPO, two, "b");
    make_revision(f, OTHER, three, "c");
    list = scan(f);
    assert_int_equal(list.count, 3);
    assert_candidate(&list, 0, two, 2 * BLOCK);
    assert_candidate(&list, 1, three, 3 * BLOCK);
    assert_candidate(&list, 2, one, 1 * BLOCK);
    assert_string_equal(list.items[1].folder, OTHER);
    assert_int_equal(list.items[0].last_used_ms, 100000);
}

static void revisions_that_were_used_at_the_same_time_come_by_name(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_candidates) list = {0};

    make_blob(f, REPO, "a", 1, 100);
    make_blob(f, OTHER, "c", 1, 100);
    make_revision(f, REPO, two, "a");
    make_revision(f, REPO, one, "a");
    make_revision(f, OTHER, three, "c");
    list = scan(f);
    assert_candidate(&list, 0, three, BLOCK);
    assert_candidate(&list, 1, one, 0);
    assert_candidate(&list, 2, two, BLOCK);
}

static void a_blob_counts_for_the_revision_that_goes_last(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_candidates) list = {0};

    make_blob(f, REPO, "old", 1, 100);
    make_blob(f, REPO, "new", 2, 200);
    make_blob(f, REPO, "both", 4, 50);
    make_revision(f, REPO, one, "new");
    make_revision(f, REPO, one, "both");
    make_revision(f, REPO, two, "old");
    make_revision(f, REPO, two, "both");
    list = scan(f);
    assert_candidate(&list, 0, two, 1 * BLOCK);
    assert_candidate(&list, 1, one, 6 * BLOCK);
}

static void a_hard_link_counts_as_a_part_and_a_plain_file_whole(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);
    HC_AUTO_VALUE(hc_candidates) list = {0};

    make_blob(f, REPO, "a", 4, 100);
    make_revision(f, REPO, one, "a");
    make_blob(f, OTHER, "x", 1, 100);
    make_revision(f, OTHER, two, "a");
    assert_int_equal(linkat(root, REPO "/blobs/a", root, OTHER "/blobs/a", 0), 0);
    temp_dir_write(f->dir,
                   "models--org--plain/snapshots/3333333333333333333333333333"
                   "333333333333/config.json",
                   "{}");
    list = scan(f);
    assert_int_equal(list.count, 3);
    assert_candidate(&list, 0, two, 2 * BLOCK);
    assert_candidate(&list, 1, one, 2 * BLOCK);
    assert_candidate(&list, 2, three, BLOCK);
}

static void a_snapshot_that_changed_just_now_is_used(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_candidates) list = {0};

    make_blob(f, REPO, "a", 1, 100);
    make_pointer(f, REPO, one, "a");
    list = scan(f);
    assert_true(list.items[0].last_used_ms > 1000000);
}

static void a_use_after_the_scan_is_seen_by_a_second_look(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_candidates) list = {0};

    make_blob(f, REPO, "a", 1, 100);
    make_revision(f, REPO, one, "a");
    list = scan(f);
    assert_int_equal(hc_candidate_last_used(f->cache, &list.items[0]), 100000);
    set_used(f, REPO "/blobs/a", 500);
    assert_int_equal(hc_candidate_last_used(f->cache, &list.items[0]), 500000);
    assert_int_equal(renameat(hc_cache_fd(f->cache), REPO, hc_cache_fd(f->cache), "gone"),
                     0);
    assert_int_equal(hc_candidate_last_used(f->cache, &list.items[0]), -1);
}

/* Random revisions of random blobs against a count that takes no short cut. */
static void the_room_of_all_candidates_is_that_of_all_blobs(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_candidates) list = {0};
    uint64_t blocks = 0, listed = 0;
    unsigned seed = 12;

    for (unsigned i = 0; i < 30; i++) {
        char etag[8], commit[41];
        unsigned size = (unsigned)rand_r(&seed) % 4;

        (void)hc_format(etag, sizeof etag, "blob%u", i);
        make_blob(f, REPO, etag, size, (time_t)(rand_r(&seed) % 50 + 1));
        (void)hc_format(commit, sizeof commit, "%040u", i % 7);
        make_revision(f, REPO, commit, etag);
        (void)hc_format(commit, sizeof commit, "%040u", (i + 1) % 7);
        make_revision(f, REPO, commit, etag);
        blocks += size;
    }
    list = scan(f);
    for (size_t i = 0; i < list.count; i++) {
        listed += list.items[i].bytes;
        assert_true(i == 0 ||
                    list.items[i - 1].last_used_ms <= list.items[i].last_used_ms);
    }
    assert_int_equal(listed, blocks * BLOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(an_empty_cache_has_no_candidates),
        WITH_CACHE(revisions_come_in_the_order_of_their_last_use),
        WITH_CACHE(revisions_that_were_used_at_the_same_time_come_by_name),
        WITH_CACHE(a_blob_counts_for_the_revision_that_goes_last),
        WITH_CACHE(a_hard_link_counts_as_a_part_and_a_plain_file_whole),
        WITH_CACHE(a_snapshot_that_changed_just_now_is_used),
        WITH_CACHE(a_use_after_the_scan_is_seen_by_a_second_look),
        WITH_CACHE(the_room_of_all_candidates_is_that_of_all_blobs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
