/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: that a commit lacks a file is remembered as the reference client does.
 */
#include "cache_fixture.h"

#include <cache/no_exist.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define MARKERS "models--org--name/.no_exist/" COMMIT "/"

static int find(struct fixture *f, const char *path)
{
    return hc_no_exist_find(f->cache, &f->repo, COMMIT, path, &f->err);
}

static void a_marked_file_is_known_not_to_exist(void **state)
{
    struct fixture *f = *state;

    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a/b.json");
    assert_int_equal(find(f, "a/b.json"), 1);
    assert_content(f, MARKERS "a/b.json", "");
}

static void what_was_not_marked_is_not_known(void **state)
{
    struct fixture *f = *state;

    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a/b.json");
    assert_int_equal(find(f, "b.json"), 0);
    assert_int_equal(find(f, "a"), 0);
    assert_int_equal(find(f, "a/b.json/c"), 0);
}

static void a_volume_that_refuses_is_of_no_interest(void **state)
{
    struct fixture *f = *state;

    make_read_only(f);
    hc_no_exist_mark(f->cache, &f->repo, COMMIT, "a");
    make_writable(f);
    assert_int_equal(find(f, "a"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_marked_file_is_known_not_to_exist),
        WITH_CACHE(what_was_not_marked_is_not_known),
        WITH_CACHE(a_volume_that_refuses_is_of_no_interest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
