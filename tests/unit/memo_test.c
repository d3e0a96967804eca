/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the memo says what the file would say now. A file in another state, or one
 * that has only just changed, is read; and a ref or a pointer that another client changed
 * is seen, however often it was looked up before.
 */
#include "cache_fixture.h"

#include <cache/memo.h>
#include <cache/pointer.h>
#include <cache/ref.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define test(name) cmocka_unit_test_setup_teardown(name, make_cache, remove_cache)

#define OLD "1111111111111111111111111111111111111111"
#define NEW "2222222222222222222222222222222222222222"

static const struct stat settled = {.st_ino = 1,
                                    .st_size = 40,
                                    .st_ctim = {.tv_sec = 100}};

static void a_stored_text_is_found_for_the_same_state_only(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = hc_memo_new(&f->err);
    struct stat changed = settled;
    char text[64];

    hc_memo_store(memo, "a", &settled, "one", 200);
    assert_true(hc_memo_find(memo, "a", &settled, text, sizeof text));
    assert_string_equal(text, "one");
    assert_false(hc_memo_find(memo, "b", &settled, text, sizeof text));
    changed.st_ctim.tv_nsec = 1;
    assert_false(hc_memo_find(memo, "a", &changed, text, sizeof text));
    changed = settled;
    changed.st_ino = 2;
    assert_false(hc_memo_find(memo, "a", &changed, text, sizeof text));
}

static void a_file_that_has_just_changed_is_not_stored(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = hc_memo_new(&f->err);
    char text[64];

    hc_memo_store(memo, "a", &settled, "one", 101);
    assert_false(hc_memo_find(memo, "a", &settled, text, sizeof text));
    hc_memo_store(memo, "a", &settled, "one", 102);
    assert_true(hc_memo_find(memo, "a", &settled, text, sizeof text));
}

static void a_text_that_does_not_fit_is_not_found(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = hc_memo_new(&f->err);
    char text[3];

    hc_memo_store(memo, "a", &settled, "four", 200);
    assert_false(hc_memo_find(memo, "a", &settled, text, sizeof text));
}

static void a_ref_that_changed_in_place_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, "models--org--name/refs/main", OLD);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_string_equal(ref.commit, OLD);

    temp_dir_write(f->dir, "models--org--name/refs/main", NEW);
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_string_equal(ref.commit, NEW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_stored_text_is_found_for_the_same_state_only),
        test(a_file_that_has_just_changed_is_not_stored),
        test(a_text_that_does_not_fit_is_not_found),
        test(a_ref_that_changed_in_place_is_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
