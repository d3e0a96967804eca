/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a removal keeps what begins to hold a revision between its plan and its end,
 * whatever it removes: files, a revision, or a whole repo; and what may hold it, but
 * cannot be read.
 */
#include "removal_fixture.h"

#include <base/file.h>
#include <base/text.h>
#include <claim/claim_record.h>
#include <claim/lease.h>
#include <maintenance/prune.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

/* Runs at each look at what the policy keeps, which comes after the look for leases:
 * once for the plan, and once more when the revision is barred. */
struct late {
    const struct fixture *f;
    unsigned looks, nth;
    void (*run)(const struct fixture *f);
};

static bool late_is_kept(void *ctx, const struct hc_repo *repo, const char *revision)
{
    struct late *late = ctx;

    (void)repo;
    (void)revision;
    if (++late->looks == late->nth)
        late->run(late->f);
    return false;
}

static void take_lease(const struct fixture *f)
{
    const struct hc_lease_request request = {.repo = &f->repo,
                                             .commit = COMMIT,
                                             .duration_ms = 60000};
    struct hc_lease lease;
    struct hc_error err;

    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &err), 1);
}

/* As a process on another host does that has not seen its heartbeat for long. */
static void lose_bar(const struct fixture *f)
{
    assert_int_equal(unlinkat(hc_cache_fd(f->cache),
                              ".hubcache/leases/" FOLDER COMMIT "/bar", 0),
                     0);
    take_lease(f);
}

static struct hc_removal_result remove_selected(const struct fixture *f,
                                                const struct hc_hold_rules *rules,
                                                const char *pattern)
{
    const struct hc_removal_options options = {.rules = rules};
    const struct hc_patterns patterns = {.allow = &pattern, .allow_count = 1};
    struct hc_removal_result result = {0};
    struct hc_error err;
    HC_AUTO(hc_filter) *filter = pattern ? hc_filter_new(&patterns, NULL, &err) : NULL;
    const struct hc_removal_request request = {.repo = &f->repo,
                                               .filter = filter,
                                               .detail = "test"};
    HC_AUTO(hc_removal) *removal = hc_removal_new(f->cache, &options, &result, &err);

    assert_int_equal(hc_removal_take(removal, &request, &err), 0);
    return result;
}

static void put_revision(const struct fixture *f)
{
    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, COMMIT, "b", BLOB_B);
}

static void assert_revision_is_whole(const struct fixture *f)
{
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT "/a"));
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT "/b"));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_cache_is_sound(f);
}

/* ---- a lease ----------------------------------------------------------------------- */

static void a_revision_that_is_leased_after_the_plan_outlives_its_repo(void **state)
{
    struct fixture *f = *state;
    struct late late = {.f = f, .nth = 1, .run = take_lease};
    const struct hc_hold_rules rules = {.is_kept = late_is_kept, .ctx = &late};
    struct hc_removal_result result;

    put_revision(f);
    result = remove_selected(f, &rules, NULL);
    assert_int_equal(late.looks, 1);
    assert_int_equal(result.removed_count, 0);
    assert_int_equal(result.kept_count, 1);
    assert_int_equal(result.kept[0].held_by, HC_HELD_BY_LEASE);
    assert_revision_is_whole(f);
    hc_removal_result_clear(&result);
}

static void files_stay_when_the_bar_is_lost(void **state)
{
    struct fixture *f = *state;
    struct late late = {.f = f, .nth = 2, .run = lose_bar};
    const struct hc_hold_rules rules = {.is_kept = late_is_kept, .ctx = &late};
    struct hc_removal_result result;

    put_revision(f);
    result = remove_selected(f, &rules, "*");
    assert_int_equal(late.looks, 2);
    assert_int_equal(result.removed_count, 0);
    assert_revision_is_whole(f);
    hc_removal_result_clear(&result);
}

/* A blob of both stays with the one that is held by then. */
static void what_is_shared_with_a_revision_that_is_held_late_is_not_freed(void **state)
{
    struct fixture *f = *state;
    struct late late = {.f = f, .nth = 2, .run = take_lease};
    const struct hc_hold_rules rules = {.is_kept = late_is_kept, .ctx = &late};
    struct hc_removal_result result;

    put_revision(f);
    put_file(f, &f->repo, OTHER_COMMIT, "a", BLOB_A);
    result = remove_selected(f, &rules, NULL);
    assert_int_equal(result.kept_count, 1);
    assert_int_equal(result.removed_count, 1);
    assert_string_equal(result.removed[0].commit_hash, OTHER_COMMIT);
    assert_int_equal(result.freed_bytes, 0);
    assert_int_equal(result.removed_files, 0);
    assert_revision_is_whole(f);
    hc_removal_result_clear(&result);
}

/* ---- another client ---------------------------------------------------------------- */

static void make_another_snapshot(const struct fixture *f)
{
    put_file(f, &f->repo, OTHER_COMMIT, "c", BLOB_C);
}

static void a_snapshot_that_is_made_after_the_plan_outlives_its_repo(void **state)
{
    struct fixture *f = *state;
    struct late late = {.f = f, .nth = 1, .run = make_another_snapshot};
    const struct hc_hold_rules rules = {.is_kept = late_is_kept, .ctx = &late};
    struct hc_removal_result result;

    put_revision(f);
    result = remove_selected(f, &rules, NULL);
    assert_int_equal(result.removed_count, 1);
    assert_false(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT));
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" OTHER_COMMIT "/c"));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_C));
    assert_cache_is_sound(f);
    hc_removal_result_clear(&result);
}

/* ---- a file's own last use --------------------------------------------------------- */

static int64_t an_hour(void *ctx, const struct hc_repo *repo, const char *const *names,
                       size_t count)
{
    (void)ctx;
    (void)repo;
    (void)names;
    (void)count;
    return INT64_C(3600) * 1000;
}

/* `old` was used before the retention, `young` within it. */
static void only_the_old_file_goes(const struct fixture *f, const char *old_blob,
                                   const char *old, const char *young_blob,
                                   const char *young)
{
    const struct hc_hold_rules rules = {.retention_ms = an_hour};
    struct hc_removal_result result;

    put_revision(f);
    age_file(f, old_blob, 3700);
    result = remove_selected(f, &rules, "*");
    assert_int_equal(result.removed_count, 1);
    assert_string_equal(result.removed[0].filename, strrchr(old, '/') + 1);
    assert_int_equal(result.kept_count, 1);
    assert_int_equal(result.kept[0].held_by, HC_HELD_BY_RETENTION);
    assert_false(temp_dir_has(f->dir, old));
    assert_true(temp_dir_has(f->dir, young));
    assert_true(temp_dir_has(f->dir, young_blob));
    assert_cache_is_sound(f);
    hc_removal_result_clear(&result);
}

static void a_file_used_within_the_retention_stays_when_another_goes(void **state)
{
    struct fixture *f = *state;

    only_the_old_file_goes(f, FOLDER "blobs/" BLOB_A, FOLDER "snapshots/" COMMIT "/a",
                           FOLDER "blobs/" BLOB_B, FOLDER "snapshots/" COMMIT "/b");
    only_the_old_file_goes(f, FOLDER "blobs/" BLOB_B, FOLDER "snapshots/" COMMIT "/b",
                           FOLDER "blobs/" BLOB_A, FOLDER "snapshots/" COMMIT "/a");
}

/* ---- a ref that cannot be read ----------------------------------------------------- */

static const char *unreadable; /* the name of a file; NULL: none */

int __real_hc_file_read(int root, const char *path, char *buffer, size_t size,
                        struct hc_error *err);
int __wrap_hc_file_read(int root, const char *path, char *buffer, size_t size,
                        struct hc_error *err);

int __wrap_hc_file_read(int root, const char *path, char *buffer, size_t size,
                        struct hc_error *err)
{
    if (unreadable && strcmp(path, unreadable) == 0)
        return hc_fail_errno(err, EIO, "read '%s'", path);
    return __real_hc_file_read(root, path, buffer, size, err);
}

static void prune_all_that_is_old(const struct fixture *f)
{
    int64_t now_ms = hc_volume_now_ms(f->cache) + INT64_C(2) * 3600 * 1000;
    const struct hc_removal_options options = {.now_ms = now_ms};
    struct hc_prune_result result = {0};
    struct hc_error err;
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(f->cache, &options, &result.revisions, &err);
    const struct hc_prune prune = {.cache = f->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .unused_for_ms = 1,
                                   .now_ms = now_ms};

    assert_int_equal(hc_prune_repo(&prune, &f->repo, &err), 0);
    hc_prune_result_clear(&result);
}

static void a_prune_keeps_what_a_ref_may_name_that_cannot_be_read(void **state)
{
    struct fixture *f = *state;

    put_revision(f);
    put_ref(f, &f->repo, "main", COMMIT);
    unreadable = "main";
    prune_all_that_is_old(f);
    unreadable = NULL;
    assert_revision_is_whole(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_revision_that_is_leased_after_the_plan_outlives_its_repo),
        WITH_CACHE(files_stay_when_the_bar_is_lost),
        WITH_CACHE(what_is_shared_with_a_revision_that_is_held_late_is_not_freed),
        WITH_CACHE(a_snapshot_that_is_made_after_the_plan_outlives_its_repo),
        WITH_CACHE(a_file_used_within_the_retention_stays_when_another_goes),
        WITH_CACHE(a_prune_keeps_what_a_ref_may_name_that_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
