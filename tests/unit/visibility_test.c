/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: what the Hub said of a repo's visibility is known to every process of the
 * volume; that it is restricted holds until the Hub says otherwise, that it is public for
 * a day; and records of repos that were never cached do not pile up.
 */
#include "cache_fixture.h"

#include <cache/visibility.h>

#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

static const char record[] = ".hubcache/visibility/models--org--m";

static const int64_t day_ms = INT64_C(24) * 60 * 60 * 1000;

static int64_t now(void)
{
    return (int64_t)time(NULL) * 1000;
}

static struct hc_repo repo_of(struct fixture *f)
{
    struct hc_repo repo;

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, "org/m", &f->err), 0);
    return repo;
}

static void what_was_heard_is_found(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = repo_of(f);

    assert_int_equal(hc_visibility_find(f->cache, &repo, now()), HC_VISIBILITY_UNKNOWN);
    hc_visibility_hear(f->cache, &repo, HC_VISIBILITY_RESTRICTED, now());
    assert_int_equal(hc_visibility_find(f->cache, &repo, now()),
                     HC_VISIBILITY_RESTRICTED);
    hc_visibility_hear(f->cache, &repo, HC_VISIBILITY_UNKNOWN, now());
    assert_int_equal(hc_visibility_find(f->cache, &repo, now()),
                     HC_VISIBILITY_RESTRICTED);
    hc_visibility_hear(f->cache, &repo, HC_VISIBILITY_PUBLIC, now());
    assert_int_equal(hc_visibility_find(f->cache, &repo, now()), HC_VISIBILITY_PUBLIC);
}

static void only_what_is_restricted_stays_so(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = repo_of(f);

    hc_visibility_hear(f->cache, &repo, HC_VISIBILITY_PUBLIC, now());
    assert_int_equal(hc_visibility_find(f->cache, &repo, now() + day_ms - 60000),
                     HC_VISIBILITY_PUBLIC);
    assert_int_equal(hc_visibility_find(f->cache, &repo, now() + day_ms + 60000),
                     HC_VISIBILITY_UNKNOWN);
    assert_int_equal(hc_visibility_find(f->cache, &repo, now() - day_ms - 60000),
                     HC_VISIBILITY_UNKNOWN);
    hc_visibility_hear(f->cache, &repo, HC_VISIBILITY_RESTRICTED, now());
    assert_int_equal(hc_visibility_find(f->cache, &repo, now() + 1000 * day_ms),
                     HC_VISIBILITY_RESTRICTED);
}

static void what_others_wrote_there_is_not_believed(void **state)
{
    static const char *const texts[] = {"", "public", "restricted", "public\nx", "yes\n"};
    struct fixture *f = *state;
    const struct hc_repo repo = repo_of(f);

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        temp_dir_write(f->dir, record, texts[i]);
        assert_int_equal(hc_visibility_find(f->cache, &repo, now()),
                         HC_VISIBILITY_UNKNOWN);
    }
}

static void records_of_repos_that_were_never_cached_are_swept(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo repo = repo_of(f);

    hc_visibility_hear(f->cache, &repo, HC_VISIBILITY_RESTRICTED, now());
    hc_visibility_sweep(f->cache, now() + 29 * day_ms);
    assert_true(temp_dir_has(f->dir, record));
    temp_dir_write(f->dir, "models--org--m/refs/main", "x");
    hc_visibility_sweep(f->cache, now() + 31 * day_ms);
    assert_true(temp_dir_has(f->dir, record));
    hc_visibility_hear(f->cache, &(struct hc_repo){.folder = "models--other--m"},
                       HC_VISIBILITY_RESTRICTED, now());
    hc_visibility_sweep(f->cache, now() + 31 * day_ms);
    assert_true(temp_dir_has(f->dir, record));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/visibility"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(what_was_heard_is_found),
        WITH_CACHE(only_what_is_restricted_stays_so),
        WITH_CACHE(what_others_wrote_there_is_not_believed),
        WITH_CACHE(records_of_repos_that_were_never_cached_are_swept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
