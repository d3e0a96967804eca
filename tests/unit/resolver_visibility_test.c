/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whether a repo is public, gated or private is recorded on the volume when
 * the Hub describes it, without mirrors too, and written again only when it changes; and
 * callers cannot make records of repos that do not exist.
 */
#include "resolver_fixture.h"

#include <base/text.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

#define RECORD ".hubcache/visibility/" REPO_FOLDER

/* The Hub is asked, which lists the commit. 0 or -1 and f->err. */
static int snapshot_resolve(struct fixture *f, const char *id, const char *token)
{
    const struct hc_snapshot_request request = {.repo = {.id = id},
                                                .options = {.hub_token = token,
                                                            .has_max_staleness = true}};
    struct hc_snapshot snapshot;
    int result = hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err);

    hc_snapshot_clear(&snapshot);
    return result;
}

static void assert_recorded(const struct fixture *f, const char *word)
{
    HC_AUTO_FREE char *text = temp_dir_read(f->dir, RECORD);

    assert_non_null(text);
    assert_string_equal(text, word);
}

static void a_listed_repo_is_recorded_as_public_gated_or_private(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(snapshot_resolve(f, "org/model", NULL), 0);
    assert_recorded(f, "public\n");
    test_hub_set_access(f->hub, "models/org/model", TEST_HUB_GATED);
    assert_int_equal(snapshot_resolve(f, "org/model", "t"), 0);
    assert_recorded(f, "gated\n");
    test_hub_set_access(f->hub, "models/org/model", TEST_HUB_PRIVATE);
    assert_int_equal(snapshot_resolve(f, "org/model", "t"), 0);
    assert_recorded(f, "private\n");
    test_hub_set_access(f->hub, "models/org/model", TEST_HUB_PUBLIC);
    assert_int_equal(snapshot_resolve(f, "org/model", "t"), 0);
    assert_recorded(f, "public\n");
}

/* The revision is fresh, and its files are listed. */
static void a_repo_is_recorded_when_its_files_are_listed(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    assert_false(temp_dir_has(f->dir, RECORD));
    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err),
                     0);
    hc_snapshot_clear(&snapshot);
    assert_recorded(f, "public\n");
}

static void a_record_is_not_written_again_without_a_change(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, RECORD);
    struct stat before, after;

    assert_int_equal(snapshot_resolve(f, "org/model", NULL), 0);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(snapshot_resolve(f, "org/model", NULL), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
}

static void a_public_repo_that_the_hub_hides_is_public_no_more(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(snapshot_resolve(f, "org/model", NULL), 0);
    test_hub_set_access(f->hub, "models/org/model", TEST_HUB_PRIVATE);
    (void)snapshot_resolve(f, "org/model", NULL);
    assert_recorded(f, "private\n");
}

static void a_repo_that_does_not_exist_is_not_recorded(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(snapshot_resolve(f, "org/none", NULL), -1);
    assert_int_equal(f->err.reason, HC_REPO_NOT_FOUND);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/visibility"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_listed_repo_is_recorded_as_public_gated_or_private),
        TEST(a_repo_is_recorded_when_its_files_are_listed),
        TEST(a_record_is_not_written_again_without_a_change),
        TEST(a_public_repo_that_the_hub_hides_is_public_no_more),
        TEST(a_repo_that_does_not_exist_is_not_recorded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
