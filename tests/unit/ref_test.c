/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a ref says which commit a revision meant and when the Hub confirmed it, in the
 * bytes of the reference client.
 */
#include "cache_fixture.h"

#include <cache/ref.h>

#include <base/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REFS "models--org--name/refs/"

/* The files that were flushed and renamed, in order: "fsync <path>\nrename <path>\n…". */
static char events[8192];

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);

static void event_record(const char *what, const char *path)
{
    size_t used = strlen(events);

    (void)hc_format(events + used, sizeof events - used, "%s %s\n", what, path);
}

int __wrap_fsync(int fd)
{
    char name[64], path[PATH_MAX];
    ssize_t length;

    (void)hc_format(name, sizeof name, "/proc/self/fd/%d", fd);
    // NOLINTNEXTLINE(readability-suspicious-call-argument)
    length = readlink(name, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    event_record("fsync", path);
    return __real_fsync(fd);
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    event_record("rename", to);
    return __real_renameat(from_dir, from, to_dir, to);
}

static int ref_update(struct fixture *f, const char *revision, const char *commit)
{
    return hc_ref_update(f->cache, &f->repo, revision, commit, &f->err);
}

static int ref_find(struct fixture *f, const char *revision, struct hc_ref *ref)
{
    return hc_ref_find(f->cache, &f->repo, revision, ref, &f->err);
}

static void an_updated_ref_is_found(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    struct hc_ref ref;

    assert_int_equal(ref_update(f, "main", COMMIT), 0);
    assert_int_equal(ref_find(f, "main", &ref), 1);
    assert_string_equal(ref.commit, COMMIT);
    assert_true(ref.confirmed_ms >= now_ms - 5000 && ref.confirmed_ms <= now_ms + 60000);
}

static void a_ref_is_40_bytes_without_a_line_end(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ref_update(f, "main", COMMIT), 0);
    assert_file_content(f, REFS "main", COMMIT);
}

static void a_revision_with_slashes_is_nested(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ref_update(f, "refs/pr/1", COMMIT), 0);
    assert_file_content(f, REFS "refs/pr/1", COMMIT);
}

static void a_moved_revision_is_replaced(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ref_update(f, "main", COMMIT), 0);
    assert_int_equal(ref_update(f, "main", OTHER_COMMIT), 0);
    assert_file_content(f, REFS "main", OTHER_COMMIT);
}

static void an_update_to_the_same_commit_only_renews_the_time(void **state)
{
    struct fixture *f = *state;
    struct hc_ref old, new;

    temp_dir_write(f->dir, REFS "main", COMMIT "\n");
    age_file(f, REFS "main", 1000);
    assert_int_equal(ref_find(f, "main", &old), 1);
    assert_int_equal(ref_update(f, "main", COMMIT), 0);
    assert_int_equal(ref_find(f, "main", &new), 1);
    assert_true(new.confirmed_ms - old.confirmed_ms > 900000);
    assert_file_content(f, REFS "main", COMMIT "\n");
}

/* A removal takes the refs of a revision, and then its snapshot. */
static void a_ref_that_is_confirmed_after_its_removal_stays_removed(void **state)
{
    struct fixture *f = *state;
    struct hc_ref old, new;

    temp_dir_write(f->dir, REFS "main", COMMIT);
    age_file(f, REFS "main", 1000);
    assert_int_equal(ref_find(f, "main", &old), 1);
    hc_ref_confirm(f->cache, &f->repo, "main", COMMIT);
    assert_int_equal(ref_find(f, "main", &new), 1);
    assert_true(new.confirmed_ms - old.confirmed_ms > 900000);
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), REFS "main", 0), 0);
    hc_ref_confirm(f->cache, &f->repo, "main", COMMIT);
    assert_false(temp_dir_has(f->dir, REFS "main"));
    temp_dir_write(f->dir, REFS "main", OTHER_COMMIT);
    hc_ref_confirm(f->cache, &f->repo, "main", COMMIT);
    assert_file_content(f, REFS "main", OTHER_COMMIT);
}

static void a_commit_is_no_ref_of_itself(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ref_update(f, COMMIT, COMMIT), 0);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
}

static void a_commit_never_resolves_to_another_commit(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    assert_int_equal(ref_update(f, COMMIT, OTHER_COMMIT), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_false(temp_dir_has(f->dir, "models--org--name"));

    temp_dir_write(f->dir, REFS COMMIT, OTHER_COMMIT);
    assert_int_equal(ref_find(f, COMMIT, &ref), 0);
}

static void white_space_after_the_commit_is_read(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, REFS "main", COMMIT " \r\n");
    assert_int_equal(ref_find(f, "main", &ref), 1);
    assert_string_equal(ref.commit, COMMIT);
}

static void a_file_without_a_commit_is_no_ref(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, REFS "short", "1234567");
    temp_dir_write(f->dir, REFS "path", "../../../../../../../../../../../../etc");
    temp_dir_write(f->dir, REFS "empty", "");
    temp_dir_write(f->dir, REFS "dir/file", "");
    assert_int_equal(ref_find(f, "short", &ref), 0);
    assert_int_equal(ref_find(f, "path", &ref), 0);
    assert_int_equal(ref_find(f, "empty", &ref), 0);
    assert_int_equal(ref_find(f, "dir", &ref), 0);
    assert_int_equal(ref_find(f, "none", &ref), 0);
}

static void a_read_only_volume_refuses_only_a_moved_ref(void **state)
{
    struct fixture *f = *state;
    int same, news;

    assert_int_equal(ref_update(f, "main", COMMIT), 0);
    make_cache_read_only(f);
    same = ref_update(f, "main", COMMIT);
    news = ref_update(f, "main", OTHER_COMMIT);
    make_cache_writable(f);
    assert_int_equal(same, 0);
    assert_int_equal(news, -1);
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
    assert_file_content(f, REFS "main", COMMIT);
}

static void a_branch_that_became_a_directory_of_branches_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    assert_int_equal(ref_update(f, "release", COMMIT), 0);
    assert_int_equal(ref_update(f, "other", COMMIT), 0);
    assert_int_equal(ref_update(f, "release/v1/rc", OTHER_COMMIT), 0);
    assert_int_equal(ref_find(f, "release/v1/rc", &ref), 1);
    assert_string_equal(ref.commit, OTHER_COMMIT);
    assert_int_equal(ref_find(f, "release", &ref), 0);
    assert_int_equal(ref_find(f, "other", &ref), 1);
}

static void branches_that_became_one_branch_are_replaced(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    assert_int_equal(ref_update(f, "release/v1/rc", COMMIT), 0);
    assert_int_equal(ref_update(f, "release/v2", COMMIT), 0);
    assert_int_equal(ref_update(f, "release", OTHER_COMMIT), 0);
    assert_int_equal(ref_find(f, "release", &ref), 1);
    assert_string_equal(ref.commit, OTHER_COMMIT);
    assert_int_equal(ref_find(f, "release/v2", &ref), 0);
}

static void an_empty_directory_in_the_place_of_a_ref_is_replaced(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, REFS "release/v1", "");
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), REFS "release/v1", 0), 0);
    assert_int_equal(ref_update(f, "release", COMMIT), 0);
    assert_file_content(f, REFS "release", COMMIT);
}

/* A failure of the disk is not taken for a name in the way. */
static void a_foreign_file_in_the_way_stays_and_fails_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, REFS "release/v1", COMMIT);
    assert_int_equal(symlinkat("v1", hc_cache_fd(f->cache), REFS "release/v2"), 0);
    assert_int_equal(ref_update(f, "release", COMMIT), 0);
    assert_int_equal(ref_find(f, "release", &ref), 0);
    assert_file_content(f, REFS "release/v1", COMMIT);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

/* Another client, or another program, may have put it there. */
static void a_file_in_the_place_of_all_refs_stays_and_fails_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, "models--org--name/refs", "x");
    assert_int_equal(ref_update(f, "main", COMMIT), 0);
    assert_int_equal(ref_update(f, "feature/new", COMMIT), 0);
    assert_int_equal(ref_find(f, "main", &ref), 0);
    assert_file_content(f, "models--org--name/refs", "x");
}

static void a_dead_ref_that_cannot_be_removed_fails_nothing(void **state)
{
    struct fixture *f = *state;
    int below;

    assert_int_equal(ref_update(f, "release", COMMIT), 0);
    make_cache_read_only(f);
    below = ref_update(f, "release/v1", COMMIT);
    make_cache_writable(f);
    assert_int_equal(below, 0);
    assert_file_content(f, REFS "release", COMMIT);
}

/* Finds the event in `events` whose path ends like this; it must be there. */
static const char *event_find(const char *what, const char *end)
{
    char line[PATH_MAX];
    const char *place;

    assert_true(hc_format(line, sizeof line, "%s\n", end) > 0);
    for (place = strstr(events, line); place; place = strstr(place + 1, line)) {
        const char *start = place;

        while (start > events && start[-1] != '\n')
            start--;
        if (hc_text_starts(start, what))
            return start;
    }
    fail_msg("no '%s …%s' in:\n%s", what, end, events);
    return NULL;
}

static void an_expired_ref_keeps_its_commit_but_counts_as_never_confirmed(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    assert_int_equal(ref_update(f, "main", COMMIT), 0);
    hc_ref_expire(f->cache, &f->repo, "main");
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_string_equal(ref.commit, COMMIT);
    assert_int_equal(ref.confirmed_ms, 0);
    hc_ref_expire(f->cache, &f->repo, "never heard");
    assert_false(temp_dir_has(f->dir, REFS "never heard"));
}

static void power_loss_leaves_no_ref_without_its_snapshot(void **state)
{
    static const char *const first[] = {
        ("models--org--name/snapshots/" COMMIT "/a/b"),
        ("models--org--name/snapshots/" COMMIT "/a"),
        ("models--org--name/snapshots/" COMMIT),
        "models--org--name/snapshots",
        "models--org--name",
    };
    struct fixture *f = *state;
    const char *rename;

    temp_dir_write(f->dir, "models--org--name/snapshots/" COMMIT "/a/b/file", "");
    events[0] = '\0';
    assert_int_equal(ref_update(f, "main", COMMIT), 0);

    rename = event_find("rename", REFS "main");
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        assert_true(event_find("fsync", first[i]) < rename);
    assert_true(event_find("fsync", "models--org--name/refs") > rename);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(an_updated_ref_is_found),
        WITH_CACHE(a_ref_is_40_bytes_without_a_line_end),
        WITH_CACHE(a_revision_with_slashes_is_nested),
        WITH_CACHE(a_moved_revision_is_replaced),
        WITH_CACHE(an_update_to_the_same_commit_only_renews_the_time),
        WITH_CACHE(a_ref_that_is_confirmed_after_its_removal_stays_removed),
        WITH_CACHE(a_commit_is_no_ref_of_itself),
        WITH_CACHE(a_commit_never_resolves_to_another_commit),
        WITH_CACHE(white_space_after_the_commit_is_read),
        WITH_CACHE(a_file_without_a_commit_is_no_ref),
        WITH_CACHE(a_read_only_volume_refuses_only_a_moved_ref),
        WITH_CACHE(a_branch_that_became_a_directory_of_branches_is_replaced),
        WITH_CACHE(branches_that_became_one_branch_are_replaced),
        WITH_CACHE(an_empty_directory_in_the_place_of_a_ref_is_replaced),
        WITH_CACHE(a_foreign_file_in_the_way_stays_and_fails_nothing),
        WITH_CACHE(a_file_in_the_place_of_all_refs_stays_and_fails_nothing),
        WITH_CACHE(a_dead_ref_that_cannot_be_removed_fails_nothing),
        WITH_CACHE(an_expired_ref_keeps_its_commit_but_counts_as_never_confirmed),
        WITH_CACHE(power_loss_leaves_no_ref_without_its_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
