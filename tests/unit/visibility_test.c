/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: what the Hub said of a repo's visibility is known to every process of the
 * volume; "gated" and "private" hold until the Hub says otherwise, "public" for a day;
 * and records of repos that were never cached do not pile up.
 */
#include "cache_fixture.h"

#include <cache/visibility.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

static const char record[] = ".hubcache/visibility/models--org--m";

static const int64_t day_ms = INT64_C(24) * 60 * 60 * 1000;

static int64_t wall_clock_now_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

static struct hc_repo org_name_repo(struct fixture *f)
{
    struct hc_repo repo;

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, "org/m", &f->err), 0);
    return repo;
}

static void an_updated_visibility_is_found(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = org_name_repo(f);

    assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                     HC_VISIBILITY_UNKNOWN);
    hc_visibility_update(f->cache, &repo, HC_VISIBILITY_GATED, wall_clock_now_ms());
    assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                     HC_VISIBILITY_GATED);
    hc_visibility_update(f->cache, &repo, HC_VISIBILITY_UNKNOWN, wall_clock_now_ms());
    assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                     HC_VISIBILITY_GATED);
    hc_visibility_update(f->cache, &repo, HC_VISIBILITY_PUBLIC, wall_clock_now_ms());
    assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                     HC_VISIBILITY_PUBLIC);
}

static void only_a_restricted_visibility_never_expires(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = org_name_repo(f);

    hc_visibility_update(f->cache, &repo, HC_VISIBILITY_PUBLIC, wall_clock_now_ms());
    assert_int_equal(hc_visibility_find(f->cache, &repo,
                                        wall_clock_now_ms() + day_ms - 60000),
                     HC_VISIBILITY_PUBLIC);
    assert_int_equal(hc_visibility_find(f->cache, &repo,
                                        wall_clock_now_ms() + day_ms + 60000),
                     HC_VISIBILITY_UNKNOWN);
    assert_int_equal(hc_visibility_find(f->cache, &repo,
                                        wall_clock_now_ms() - day_ms - 60000),
                     HC_VISIBILITY_UNKNOWN);
    hc_visibility_update(f->cache, &repo, HC_VISIBILITY_GATED, wall_clock_now_ms());
    assert_int_equal(hc_visibility_find(f->cache, &repo,
                                        wall_clock_now_ms() + 1000 * day_ms),
                     HC_VISIBILITY_GATED);
}

static void make_record_old(const struct fixture *f)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, record);
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void the_last_word_about_a_public_repo_has_no_age(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = org_name_repo(f);

    assert_int_equal(hc_visibility_find_last(f->cache, &repo), HC_VISIBILITY_UNKNOWN);
    temp_dir_write(f->dir, record, "public\n");
    make_record_old(f);
    assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                     HC_VISIBILITY_UNKNOWN);
    assert_int_equal(hc_visibility_find_last(f->cache, &repo), HC_VISIBILITY_PUBLIC);
}

static void a_record_is_one_word_and_the_word_of_older_versions_is_read(void **state)
{
    static const struct {
        enum hc_visibility visibility;
        const char *text;
    } rows[] = {{HC_VISIBILITY_PUBLIC, "public\n"},
                {HC_VISIBILITY_GATED, "gated\n"},
                {HC_VISIBILITY_PRIVATE, "private\n"}};
    struct fixture *f = *state;
    const struct hc_repo repo = org_name_repo(f);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        HC_AUTO_FREE char *text = NULL;

        hc_visibility_update(f->cache, &repo, rows[i].visibility, wall_clock_now_ms());
        text = temp_dir_read(f->dir, record);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                         rows[i].visibility);
    }
    temp_dir_write(f->dir, record, "restricted\n");
    assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                     HC_VISIBILITY_PRIVATE);
}

static void a_malformed_record_is_unknown(void **state)
{
    static const char *const texts[] = {"",        "public",    "restricted",
                                        "private", "public\nx", "yes\n"};
    struct fixture *f = *state;
    const struct hc_repo repo = org_name_repo(f);

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        temp_dir_write(f->dir, record, texts[i]);
        assert_int_equal(hc_visibility_find(f->cache, &repo, wall_clock_now_ms()),
                         HC_VISIBILITY_UNKNOWN);
    }
}

static void records_of_repos_that_were_never_cached_are_swept(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = org_name_repo(f);

    hc_visibility_update(f->cache, &repo, HC_VISIBILITY_GATED, wall_clock_now_ms());
    hc_visibility_sweep(f->cache, wall_clock_now_ms() + 29 * day_ms);
    assert_true(temp_dir_has(f->dir, record));
    temp_dir_write(f->dir, "models--org--m/refs/main", "x");
    hc_visibility_sweep(f->cache, wall_clock_now_ms() + 31 * day_ms);
    assert_true(temp_dir_has(f->dir, record));
    hc_visibility_update(f->cache, &(struct hc_repo){.folder = "models--other--m"},
                         HC_VISIBILITY_GATED, wall_clock_now_ms());
    hc_visibility_sweep(f->cache, wall_clock_now_ms() + 31 * day_ms);
    assert_true(temp_dir_has(f->dir, record));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/visibility"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(an_updated_visibility_is_found),
        WITH_CACHE(only_a_restricted_visibility_never_expires),
        WITH_CACHE(the_last_word_about_a_public_repo_has_no_age),
        WITH_CACHE(a_record_is_one_word_and_the_word_of_older_versions_is_read),
        WITH_CACHE(a_malformed_record_is_unknown),
        WITH_CACHE(records_of_repos_that_were_never_cached_are_swept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
