/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a ref says what a revision meant and when that was heard, in the bytes of the
 * reference client.
 */
#include "cache_fixture.h"

#include <cache/ref.h>

#include <string.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REFS "models--org--name/refs/"

static int hear(struct fixture *f, const char *revision, const char *commit)
{
    return hc_ref_hear(f->cache, &f->repo, revision, commit, &f->err);
}

static int find(struct fixture *f, const char *revision, struct hc_ref *ref)
{
    return hc_ref_find(f->cache, &f->repo, revision, ref, &f->err);
}

static void what_was_heard_is_found(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    struct hc_ref ref;

    assert_int_equal(hear(f, "main", COMMIT), 0);
    assert_int_equal(find(f, "main", &ref), 1);
    assert_string_equal(ref.commit, COMMIT);
    assert_true(ref.heard_ms >= now_ms - 5000 && ref.heard_ms <= now_ms + 60000);
}

static void a_ref_is_40_bytes_without_a_line_end(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hear(f, "main", COMMIT), 0);
    assert_content(f, REFS "main", COMMIT);
}

static void a_revision_with_slashes_is_nested(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hear(f, "refs/pr/1", COMMIT), 0);
    assert_content(f, REFS "refs/pr/1", COMMIT);
}

static void a_moved_revision_is_replaced(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hear(f, "main", COMMIT), 0);
    assert_int_equal(hear(f, "main", OTHER_COMMIT), 0);
    assert_content(f, REFS "main", OTHER_COMMIT);
}

static void hearing_the_same_again_only_renews_the_time(void **state)
{
    struct fixture *f = *state;
    struct hc_ref old, new;

    temp_dir_write(f->dir, REFS "main", COMMIT "\n");
    age_file(f, REFS "main", 1000);
    assert_int_equal(find(f, "main", &old), 1);
    assert_int_equal(hear(f, "main", COMMIT), 0);
    assert_int_equal(find(f, "main", &new), 1);
    assert_true(new.heard_ms - old.heard_ms > 900000);
    assert_content(f, REFS "main", COMMIT "\n");
}

static void a_commit_is_no_ref_of_itself(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hear(f, COMMIT, COMMIT), 0);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
}

static void white_space_after_the_commit_is_read(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, REFS "main", COMMIT " \r\n");
    assert_int_equal(find(f, "main", &ref), 1);
    assert_string_equal(ref.commit, COMMIT);
}

static void what_is_no_commit_is_no_ref(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, REFS "short", "1234567");
    temp_dir_write(f->dir, REFS "path", "../../../../../../../../../../../../etc");
    temp_dir_write(f->dir, REFS "empty", "");
    temp_dir_write(f->dir, REFS "dir/file", "");
    assert_int_equal(find(f, "short", &ref), 0);
    assert_int_equal(find(f, "path", &ref), 0);
    assert_int_equal(find(f, "empty", &ref), 0);
    assert_int_equal(find(f, "dir", &ref), 0);
    assert_int_equal(find(f, "none", &ref), 0);
}

static void a_read_only_volume_matters_only_to_news(void **state)
{
    struct fixture *f = *state;
    int same, news;

    assert_int_equal(hear(f, "main", COMMIT), 0);
    make_read_only(f);
    same = hear(f, "main", COMMIT);
    news = hear(f, "main", OTHER_COMMIT);
    make_writable(f);
    assert_int_equal(same, 0);
    assert_int_equal(news, -1);
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
    assert_content(f, REFS "main", COMMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(what_was_heard_is_found),
        WITH_CACHE(a_ref_is_40_bytes_without_a_line_end),
        WITH_CACHE(a_revision_with_slashes_is_nested),
        WITH_CACHE(a_moved_revision_is_replaced),
        WITH_CACHE(hearing_the_same_again_only_renews_the_time),
        WITH_CACHE(a_commit_is_no_ref_of_itself),
        WITH_CACHE(white_space_after_the_commit_is_read),
        WITH_CACHE(what_is_no_commit_is_no_ref),
        WITH_CACHE(a_read_only_volume_matters_only_to_news),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
