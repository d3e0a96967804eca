/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a prune removes what nothing refers to, and that alone: no revision that a ref
 * names, that is held or was used lately; nothing that a live client writes.
 */
#include "removal_fixture.h"

#include <maintenance/prune.h>

#include <base/file.h>
#include <cache/blob_lock.h>
#include <cache/pin.h>
#include <claim/claim_record.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define HOUR_MS (INT64_C(3600) * 1000)

/* `after_ms` from now, with what is used for less than `unused_for_ms` left. */
static struct hc_prune_result prune_at(const struct fixture *f, int64_t after_ms,
                                       int64_t unused_for_ms, bool is_dry_run)
{
    const int64_t now_ms = hc_volume_now_ms(f->cache) + after_ms;
    const struct hc_removal_options options = {.is_dry_run = is_dry_run,
                                               .now_ms = now_ms};
    struct hc_prune_result result = {0};
    struct hc_error err;
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(f->cache, &options, &result.revisions, &err);
    const struct hc_prune prune = {.cache = f->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .unused_for_ms = unused_for_ms,
                                   .now_ms = now_ms,
                                   .is_dry_run = is_dry_run};

    assert_int_equal(hc_prune_repo(&prune, &f->repo, &err), 0);
    assert_int_equal(hc_prune_cache(&prune, &err), 0);
    return result;
}

static unsigned findings_of(const struct hc_prune_result *result,
                            enum hc_finding_kind kind)
{
    unsigned count = 0;

    for (size_t i = 0; i < result->file_count; i++)
        count += result->files[i].kind == kind;
    return count;
}

static void a_revision_that_no_ref_names_goes_when_it_was_not_used_for_long(void **state)
{
    struct fixture *f = *state;
    struct hc_prune_result result;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, OTHER_COMMIT, "b", BLOB_B);
    put_ref(f, &f->repo, "main", COMMIT);

    result = prune_at(f, HOUR_MS - 60000, HOUR_MS, false);
    assert_int_equal(result.revisions.removed_count, 0);
    assert_int_equal(result.revisions.kept_count, 0);
    hc_prune_result_clear(&result);

    result = prune_at(f, HOUR_MS + 60000, HOUR_MS, false);
    assert_int_equal(result.revisions.removed_count, 1);
    assert_string_equal(result.revisions.removed[0].commit_hash, OTHER_COMMIT);
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT "/a"));
    assert_cache_is_sound(f);
    assert_no_trash(f);
    hc_prune_result_clear(&result);
}

static void a_pinned_revision_without_a_ref_is_kept_and_told(void **state)
{
    const struct hc_pin pin = {.reason = "x"};
    struct fixture *f = *state;
    struct hc_prune_result result;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &pin, &f->err), 0);
    result = prune_at(f, 2 * HOUR_MS, HOUR_MS, false);
    assert_int_equal(result.revisions.removed_count, 0);
    assert_int_equal(result.revisions.kept_count, 1);
    assert_int_equal(result.revisions.kept[0].held_by, HC_HELD_BY_PIN);
    hc_prune_result_clear(&result);
}

static void put_leftovers(const struct fixture *f)
{
    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_ref(f, &f->repo, "main", COMMIT);
    put_pointer(f, &f->repo, COMMIT, "dangling", BLOB_B);
    put_ref(f, &f->repo, "gone", THIRD_COMMIT);
    put_ref(f, &f->repo, "main.deadbeef.tmp", COMMIT);
    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_C, "orphan");
    temp_dir_write(f->dir, FOLDER "blobs/x.00112233.incomplete", "half");
    temp_dir_write(f->dir, FOLDER "blobs/legacy.incomplete", "half");
}

static void leftovers_go_after_an_hour(void **state)
{
    struct fixture *f = *state;
    struct hc_prune_result result;

    put_leftovers(f);
    result = prune_at(f, 2 * HOUR_MS, HOUR_MS, false);
    assert_int_equal(findings_of(&result, HC_DANGLING_POINTER), 1);
    assert_int_equal(findings_of(&result, HC_ORPHAN_BLOB), 1);
    assert_int_equal(findings_of(&result, HC_STRAY_TEMPORARY), 3);
    assert_int_equal(findings_of(&result, HC_DANGLING_REF), 1);
    for (size_t i = 0; i < result.file_count; i++)
        assert_true(result.files[i].is_removed);
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_C));
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/x.00112233.incomplete"));
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/legacy.incomplete"));
    assert_false(temp_dir_has(f->dir, FOLDER "refs/gone"));
    assert_false(temp_dir_has(f->dir, FOLDER "refs/main.deadbeef.tmp"));
    assert_true(temp_dir_has(f->dir, FOLDER "refs/main"));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_cache_is_sound(f);
    assert_no_trash(f);
    hc_prune_result_clear(&result);
}

/* But for a pointer that dangles, when what was used just now is to go, too. */
static void young_leftovers_stay(void **state)
{
    struct fixture *f = *state;
    struct hc_prune_result result;

    put_leftovers(f);
    result = prune_at(f, HOUR_MS - 60000, HOUR_MS, false);
    assert_int_equal(result.file_total, 0);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "snapshots"), 2);
    hc_prune_result_clear(&result);
    result = prune_at(f, 0, 0, false);
    assert_int_equal(result.file_total, 1);
    assert_int_equal(result.files[0].kind, HC_DANGLING_POINTER);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_C));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/x.00112233.incomplete"));
    assert_true(temp_dir_has(f->dir, FOLDER "refs/gone"));
    hc_prune_result_clear(&result);
}

static void a_dry_run_finds_the_same_and_removes_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_prune_result planned, done;
    unsigned before;

    put_leftovers(f);
    put_file(f, &f->repo, OTHER_COMMIT, "b", "dddd");
    before = temp_dir_count(f->dir, "");
    planned = prune_at(f, 2 * HOUR_MS, HOUR_MS, true);
    assert_int_equal(temp_dir_count(f->dir, ""), before);
    done = prune_at(f, 2 * HOUR_MS, HOUR_MS, false);
    assert_int_equal(planned.file_total, done.file_total);
    assert_int_equal(planned.file_removed, 0);
    assert_int_equal(done.file_removed, done.file_total);
    assert_int_equal(planned.file_bytes, done.file_bytes);
    assert_int_equal(planned.revisions.removed_count, done.revisions.removed_count);
    assert_int_equal(planned.revisions.freed_bytes, done.revisions.freed_bytes);
    hc_prune_result_clear(&planned);
    hc_prune_result_clear(&done);
}

static void a_blob_and_a_temporary_whose_lock_is_held_stay(void **state)
{
    const struct hc_blob_id orphan = {"models--org--name", BLOB_C};
    const struct hc_blob_id half = {"models--org--name", "x"};
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = hc_blob_lock_new(f->cache, &orphan, &f->err);
    HC_AUTO(hc_blob_lock) *other = hc_blob_lock_new(f->cache, &half, &f->err);
    struct hc_prune_result result;
    unsigned removed = 0;

    put_leftovers(f);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 1);
    assert_int_equal(hc_blob_lock_try(other, &f->err), 1);
    result = prune_at(f, 2 * HOUR_MS, HOUR_MS, false);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_C));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/x.00112233.incomplete"));
    assert_true(temp_dir_has(f->dir, FOLDER "refs/gone")); /* it may be fetched */
    for (size_t i = 0; i < result.file_count; i++)
        removed += result.files[i].is_removed;
    assert_int_equal(result.file_removed, removed);
    assert_true(result.file_total > removed);
    hc_prune_result_clear(&result);
}

/* As a failed first download leaves it. The scanner calls it corrupt. */
static void a_repo_without_a_snapshot_goes(void **state)
{
    struct fixture *f = *state;
    struct hc_prune_result result;

    put_ref(f, &f->repo, "main", COMMIT);
    temp_dir_write(f->dir, FOLDER ".no_exist/" COMMIT "/x", "");
    result = prune_at(f, 0, HOUR_MS, false);
    assert_true(temp_dir_has(f->dir, "models--org--name"));
    hc_prune_result_clear(&result);
    result = prune_at(f, 2 * HOUR_MS, HOUR_MS, true);
    assert_true(temp_dir_has(f->dir, "models--org--name"));
    hc_prune_result_clear(&result);
    result = prune_at(f, 2 * HOUR_MS, HOUR_MS, false);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
    hc_prune_result_clear(&result);
}

/* What a sweep does, `after_ms` from now. */
static void prune_folders_at(const struct fixture *f, int64_t after_ms)
{
    const struct hc_removal_options options = {.now_ms =
                                                   hc_volume_now_ms(f->cache) + after_ms};
    HC_AUTO_VALUE(hc_prune_result) result = {0};
    struct hc_error err;
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(f->cache, &options, &result.revisions, &err);
    const struct hc_prune prune = {.cache = f->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .now_ms = options.now_ms};

    assert_int_equal(hc_prune_folders(&prune, &err), 0);
}

static void a_sweep_takes_a_folder_without_revisions_after_an_hour(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "trees/" COMMIT ".json", "[]");
    temp_dir_write(f->dir, FOLDER ".no_exist/" COMMIT "/x", "");
    prune_folders_at(f, 0);
    assert_true(temp_dir_has(f->dir, "models--org--name"));
    prune_folders_at(f, 2 * HOUR_MS);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
    assert_no_trash(f);
}

static void a_sweep_leaves_a_folder_with_a_ref_a_partial_file_or_a_revision(void **state)
{
    static const char *const paths[] = {FOLDER "refs/main",
                                        FOLDER "blobs/x.00112233.incomplete",
                                        FOLDER "snapshots/" COMMIT "/x"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        temp_dir_write(f->dir, paths[i], COMMIT);
        prune_folders_at(f, 2 * HOUR_MS);
        assert_true(temp_dir_has(f->dir, paths[i]));
        assert_int_equal(unlinkat(hc_cache_fd(f->cache), paths[i], 0), 0);
    }
}

static void more_leftovers_than_a_result_lists_are_counted(void **state)
{
    struct fixture *f = *state;
    struct hc_prune_result result;
    char path[128];

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_ref(f, &f->repo, "main", COMMIT);
    for (unsigned i = 0; i < HC_PRUNED_FILES_MAX + 1; i++) {
        (void)snprintf(path, sizeof path, FOLDER "blobs/%040u", i);
        temp_dir_write(f->dir, path, "x");
    }
    result = prune_at(f, 2 * HOUR_MS, HOUR_MS, false);
    assert_int_equal(result.file_count, HC_PRUNED_FILES_MAX);
    assert_int_equal(result.file_total, HC_PRUNED_FILES_MAX + 1);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "blobs"), 1);
    hc_prune_result_clear(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_revision_that_no_ref_names_goes_when_it_was_not_used_for_long),
        WITH_CACHE(a_pinned_revision_without_a_ref_is_kept_and_told),
        WITH_CACHE(leftovers_go_after_an_hour),
        WITH_CACHE(young_leftovers_stay),
        WITH_CACHE(a_dry_run_finds_the_same_and_removes_nothing),
        WITH_CACHE(a_blob_and_a_temporary_whose_lock_is_held_stay),
        WITH_CACHE(a_repo_without_a_snapshot_goes),
        WITH_CACHE(a_sweep_takes_a_folder_without_revisions_after_an_hour),
        WITH_CACHE(a_sweep_leaves_a_folder_with_a_ref_a_partial_file_or_a_revision),
        WITH_CACHE(more_leftovers_than_a_result_lists_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
