/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a file that a commit lacks is marked as the reference client marks it, and
 * markers are bounded.
 */
#include "cache_fixture.h"

#include <base/text.h>
#include <cache/no_exist.h>

#include <string.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define SNAPSHOT "models--org--name/snapshots/" COMMIT "/"
#define MARKERS "models--org--name/.no_exist/" COMMIT "/"

static int no_exist_find(struct fixture *f, const char *path)
{
    return hc_no_exist_find(f->cache, &f->repo, COMMIT, path, &f->err);
}

static void a_marked_file_is_known_not_to_exist(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, SNAPSHOT "a/c.json", "");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a/b.json");
    assert_int_equal(no_exist_find(f, "a/b.json"), 1);
    assert_file_content(f, MARKERS "a/b.json", "");
}

static void a_file_of_a_directory_that_is_not_there_is_not_marked(void **state)
{
    struct fixture *f = *state;
    char deep[2 * HC_NO_EXIST_MAX + 1];

    memset(deep, 'x', sizeof deep);
    for (size_t i = 1; i < sizeof deep; i += 2)
        deep[i] = '/';
    deep[sizeof deep - 1] = '\0';
    deep[sizeof deep - 2] = 'x';
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, deep);
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a/b.json");
    assert_int_equal(no_exist_find(f, "a/b.json"), 0);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
}

static void a_marker_of_another_client_makes_its_directory_known(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, MARKERS "a/c.json", "");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a/b.json");
    assert_int_equal(no_exist_find(f, "a/b.json"), 1);
}

/* A commit may lack both; the marker that was made first stays. */
static void a_marker_in_the_way_of_another_fails_nothing(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, SNAPSHOT "x/file", "");
    temp_dir_write(f->dir, SNAPSHOT "y/file", "");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "x");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "x/y");
    assert_int_equal(no_exist_find(f, "x"), 1);
    assert_int_equal(no_exist_find(f, "x/y"), 0);

    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "y/x");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "y");
    assert_int_equal(no_exist_find(f, "y"), 0);
    assert_int_equal(no_exist_find(f, "y/x"), 1);
}

static void the_markers_of_a_commit_are_limited(void **state)
{
    struct fixture *f = *state;
    char name[32];

    for (int i = 0; i <= HC_NO_EXIST_MAX; i++) {
        assert_true(hc_format(name, sizeof name, "%d", i) > 0);
        hc_no_exist_mark(f->cache, &f->repo, COMMIT, name);
        assert_int_equal(no_exist_find(f, name), i < HC_NO_EXIST_MAX);
    }
    assert_int_equal(temp_dir_count(f->dir, MARKERS), HC_NO_EXIST_MAX);
    hc_no_exist_mark(f->cache, &f->repo, OTHER_COMMIT, "a");
    assert_int_equal(hc_no_exist_find(f->cache, &f->repo, OTHER_COMMIT, "a", &f->err), 1);
}

static void old_markers_are_swept_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = (int64_t)time(NULL) * 1000;

    temp_dir_write(f->dir, SNAPSHOT "a/file", "x");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a/b");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "c");
    assert_int_equal(symlinkat("c", hc_cache_fd(f->cache), MARKERS "link"), 0);
    age_file(f, MARKERS "a/b", 3600);
    assert_int_equal(hc_no_exist_sweep(f->cache,
                                       now_ms + HC_NO_EXIST_MAX_AGE_MS - 1800000),
                     1);
    assert_int_equal(no_exist_find(f, "a/b"), 0);
    assert_false(temp_dir_has(f->dir, MARKERS "a"));
    assert_int_equal(no_exist_find(f, "c"), 1);
    assert_int_equal(hc_no_exist_sweep(f->cache, now_ms + HC_NO_EXIST_MAX_AGE_MS + 60000),
                     1);
    assert_true(temp_dir_has(f->dir, MARKERS "link"));
    assert_file_content(f, SNAPSHOT "a/file", "x");
}

static void an_unmarked_file_is_not_known(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, SNAPSHOT "a/c.json", "");
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a/b.json");
    assert_int_equal(no_exist_find(f, "b.json"), 0);
    assert_int_equal(no_exist_find(f, "a"), 0);
    assert_int_equal(no_exist_find(f, "a/b.json/c"), 0);
}

static void a_read_only_volume_fails_no_marking(void **state)
{
    struct fixture *f = *state;

    make_cache_read_only(f);
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a");
    make_cache_writable(f);
    assert_int_equal(no_exist_find(f, "a"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_marked_file_is_known_not_to_exist),
        WITH_CACHE(a_file_of_a_directory_that_is_not_there_is_not_marked),
        WITH_CACHE(a_marker_of_another_client_makes_its_directory_known),
        WITH_CACHE(a_marker_in_the_way_of_another_fails_nothing),
        WITH_CACHE(the_markers_of_a_commit_are_limited),
        WITH_CACHE(old_markers_are_swept_and_nothing_else),
        WITH_CACHE(an_unmarked_file_is_not_known),
        WITH_CACHE(a_read_only_volume_fails_no_marking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
