/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a removal takes what it was asked for, and every blob that nothing else leads
 * to; it takes nothing else, whatever other clients have put beside it. What it says that
 * it frees is free afterwards, and a dry run says the same and changes nothing. After it,
 * no pointer dangles and no ref names a snapshot that is not there.
 */
#include "removal_fixture.h"

#include <base/file.h>
#include <cache/blob_lock.h>
#include <cache/no_exist.h>
#include <cache/pin.h>
#include <cache/pointer.h>
#include <cache/ref.h>
#include <claim/fetching.h>
#include <maintenance/trash.h>

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

static const struct hc_removal_options carried_out = {0};
static const struct hc_removal_options dry_run = {.is_dry_run = true};

/* Bytes that the file takes on the volume. */
static uint64_t room_of(const struct fixture *f, const char *path)
{
    struct stat status;

    assert_int_equal(fstatat(hc_cache_fd(f->cache), path, &status, 0), 0);
    return (uint64_t)status.st_blocks * 512;
}

static struct hc_repo repo_of(enum hc_repo_type type, const char *id)
{
    struct hc_repo repo;
    struct hc_error err;

    assert_int_equal(hc_repo_init(&repo, type, id, &err), 0);
    return repo;
}

/* Two revisions: A is in both, B in the first, C in the second. */
static void put_two_revisions(const struct fixture *f)
{
    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, COMMIT, "sub/dir/b", BLOB_B);
    put_file(f, &f->repo, OTHER_COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, OTHER_COMMIT, "c", BLOB_C);
    put_ref(f, &f->repo, "main", COMMIT);
    put_ref(f, &f->repo, "refs/pr/1", COMMIT);
    put_ref(f, &f->repo, "v1", OTHER_COMMIT);
}

/* ---- revisions --------------------------------------------------------------------- */

static void a_revision_goes_with_its_refs_and_its_own_blobs(void **state)
{
    struct fixture *f = *state;
    uint64_t room;

    put_two_revisions(f);
    room = room_of(f, FOLDER "blobs/" BLOB_B);

    assert_int_equal(remove_revision(f, COMMIT), room);
    assert_false(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT));
    assert_false(temp_dir_has(f->dir, FOLDER "refs/main"));
    assert_false(temp_dir_has(f->dir, FOLDER "refs/refs"));
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_false(temp_dir_has(f->dir, ".locks/" FOLDER BLOB_B ".lock"));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_C));
    assert_true(temp_dir_has(f->dir, FOLDER "refs/v1"));
    assert_cache_is_sound(f);
    assert_no_trash(f);
}

static void the_folder_goes_with_the_last_revision(void **state)
{
    struct fixture *f = *state;
    uint64_t freed, room;

    put_two_revisions(f);
    temp_dir_write(f->dir, FOLDER "trees/" COMMIT ".json", "{}");
    temp_dir_write(f->dir, FOLDER ".no_exist/" COMMIT "/x", "");
    room = room_of(f, FOLDER "blobs/" BLOB_A) + room_of(f, FOLDER "blobs/" BLOB_B) +
           room_of(f, FOLDER "blobs/" BLOB_C);

    freed = remove_revision(f, COMMIT);
    assert_true(temp_dir_has(f->dir, FOLDER));
    assert_false(temp_dir_has(f->dir, FOLDER "trees/" COMMIT ".json"));
    assert_false(temp_dir_has(f->dir, FOLDER ".no_exist/" COMMIT));
    freed += remove_revision(f, OTHER_COMMIT);
    assert_int_equal(freed, room);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
    assert_int_equal(temp_dir_count(f->dir, ".locks/models--org--name"), 0);
    assert_no_trash(f);
}

static void a_repo_goes_with_all_that_is_in_its_folder(void **state)
{
    struct fixture *f = *state;
    struct hc_removal_result result;

    put_two_revisions(f);
    temp_dir_write(f->dir, FOLDER "blobs/orphan", "nothing leads to it");
    temp_dir_write(f->dir, FOLDER "blobs/x.00112233.incomplete", "old");
    age_file(f, FOLDER "blobs/x.00112233.incomplete", 7200);
    put_pointer(f, &f->repo, "notahash", "file", BLOB_A);

    result = remove_revisions(f, &f->repo, NULL, 0, &carried_out);
    assert_int_equal(result.kept_count, 0);
    assert_int_equal(result.removed_count, 3);
    assert_string_equal(result.removed[0].commit_hash, COMMIT);
    assert_string_equal(result.removed[1].commit_hash, OTHER_COMMIT);
    assert_string_equal(result.removed[2].commit_hash, "");
    assert_false(temp_dir_has(f->dir, "models--org--name"));
    assert_no_trash(f);
    hc_removal_result_clear(&result);
}

static void two_pointers_of_a_snapshot_to_one_blob_free_it_once(void **state)
{
    struct fixture *f = *state;
    uint64_t room;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, COMMIT, "sub/a", BLOB_A);
    put_file(f, &f->repo, OTHER_COMMIT, "c", BLOB_C);
    room = room_of(f, FOLDER "blobs/" BLOB_A);

    assert_int_equal(remove_revision(f, COMMIT), room);
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
}

/* Trap 56: forks and duplicates have the same commits. */
static void the_same_commit_of_another_repo_stays(void **state)
{
    struct fixture *f = *state;
    struct hc_repo fork = repo_of(HC_REPO_MODEL, "fork/name");
    struct hc_repo dataset = repo_of(HC_REPO_DATASET, "org/name");

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &fork, COMMIT, "a", BLOB_A);
    put_file(f, &dataset, COMMIT, "a", BLOB_A);

    (void)remove_revision(f, COMMIT);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
    assert_true(temp_dir_has(f->dir, "models--fork--name/blobs/" BLOB_A));
    assert_true(temp_dir_has(f->dir, "datasets--org--name/snapshots/" COMMIT "/a"));
    assert_cache_is_sound(f);
}

/* Other clients have such folders (trap 58): their pointers count. */
static void
a_pointer_in_a_folder_that_is_named_like_no_commit_keeps_its_blob(void **state)
{
    struct fixture *f = *state;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_pointer(f, &f->repo, "notahash", "deep/er/a", BLOB_A);

    assert_int_equal(remove_revision(f, COMMIT), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_cache_is_sound(f);
}

static void a_revision_that_is_not_there_is_no_failure(void **state)
{
    static const char *const commits[] = {THIRD_COMMIT};
    struct fixture *f = *state;
    struct hc_repo absent = repo_of(HC_REPO_MODEL, "org/absent");
    struct hc_removal_result result;

    put_two_revisions(f);
    result = remove_revisions(f, &f->repo, commits, 1, &carried_out);
    assert_int_equal(result.removed_count + result.kept_count, 0);
    hc_removal_result_clear(&result);
    result = remove_revisions(f, &absent, commits, 1, &carried_out);
    assert_int_equal(result.removed_count + result.kept_count, 0);
    hc_removal_result_clear(&result);
    result = remove_revisions(f, &absent, NULL, 0, &carried_out);
    assert_int_equal(result.removed_count + result.kept_count, 0);
    hc_removal_result_clear(&result);
}

static void a_reader_that_has_a_file_open_keeps_it(void **state)
{
    struct fixture *f = *state;
    char bytes[16];

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);

    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(f->cache), FOLDER "snapshots/" COMMIT "/a",
                                  O_RDONLY | O_CLOEXEC);

    (void)remove_revision(f, COMMIT);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 4000), sizeof bytes);
    assert_memory_equal(bytes, "xxxxxxxxxxxxxxxx", sizeof bytes);
}

/* ---- dry runs ---------------------------------------------------------------------- */

static void a_dry_run_says_the_same_and_changes_nothing(void **state)
{
    static const char *const commits[] = {OTHER_COMMIT, COMMIT};
    struct fixture *f = *state;
    struct hc_removal_result planned, done;
    unsigned before;

    put_two_revisions(f);
    before = temp_dir_count(f->dir, "");
    planned = remove_revisions(f, &f->repo, commits, 2, &dry_run);
    assert_int_equal(temp_dir_count(f->dir, ""), before);

    done = remove_revisions(f, &f->repo, commits, 2, &carried_out);
    assert_int_equal(planned.freed_bytes, done.freed_bytes);
    assert_int_equal(planned.removed_files, done.removed_files);
    assert_int_equal(planned.removed_count, done.removed_count);
    for (size_t i = 0; i < done.removed_count; i++) {
        assert_string_equal(planned.removed[i].commit_hash, done.removed[i].commit_hash);
        assert_int_equal(planned.removed[i].freed_bytes, done.removed[i].freed_bytes);
    }
    hc_removal_result_clear(&planned);
    hc_removal_result_clear(&done);
}

/* As eviction plans: one revision after the other. */
static void a_dry_run_counts_what_it_has_planned_as_gone(void **state)
{
    struct fixture *f = *state;
    const char *first = COMMIT, *second = OTHER_COMMIT;
    struct hc_removal_request request = {.repo = &f->repo,
                                         .commits = &first,
                                         .commit_count = 1,
                                         .detail = "test"};
    struct hc_removal_result result = {0};
    struct hc_removal *removal = hc_removal_new(f->cache, &dry_run, &result, &f->err);
    uint64_t room;

    put_two_revisions(f);
    room = room_of(f, FOLDER "blobs/" BLOB_A) + room_of(f, FOLDER "blobs/" BLOB_C);
    assert_int_equal(hc_removal_take(removal, &request, &f->err), 0);
    assert_int_equal(hc_removal_take(removal, &request, &f->err), 0);
    assert_int_equal(result.removed_count, 1);
    request.commits = &second;
    assert_int_equal(hc_removal_take(removal, &request, &f->err), 0);
    assert_int_equal(result.removed_count, 3);
    assert_int_equal(result.removed[1].freed_bytes, room);
    hc_removal_free(removal);
    hc_removal_result_clear(&result);
}

/* ---- files ------------------------------------------------------------------------- */

static struct hc_removal_result remove_files(const struct fixture *f, const char *pattern)
{
    static const char *const commits[] = {COMMIT};
    const struct hc_patterns patterns = {.allow = &pattern, .allow_count = 1};
    struct hc_removal_result result = {0};
    struct hc_error err;
    HC_AUTO(hc_filter) *filter = hc_filter_new(&patterns, NULL, &err);
    const struct hc_removal_request request = {.repo = &f->repo,
                                               .commits = commits,
                                               .commit_count = 1,
                                               .filter = filter,
                                               .detail = "test"};
    HC_AUTO(hc_removal) *removal = hc_removal_new(f->cache, &carried_out, &result, &err);

    assert_int_equal(hc_removal_take(removal, &request, &err), 0);
    return result;
}

static void a_file_goes_with_its_blob_and_the_rest_of_the_revision_stays(void **state)
{
    struct fixture *f = *state;
    struct hc_removal_result result;

    put_two_revisions(f);
    temp_dir_write(f->dir, ".hubcache/proofs/" FOLDER COMMIT, "whole");

    result = remove_files(f, "*b");
    assert_int_equal(result.removed_count, 1);
    assert_string_equal(result.removed[0].filename, "sub/dir/b");
    assert_string_equal(result.removed[0].commit_hash, COMMIT);
    assert_true(result.removed[0].freed_bytes > 0);
    assert_false(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT "/sub"));
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_false(temp_dir_has(f->dir, ".hubcache/proofs/" FOLDER COMMIT));
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT "/a"));
    assert_true(temp_dir_has(f->dir, FOLDER "refs/main"));
    assert_cache_is_sound(f);
    assert_no_trash(f);
    hc_removal_result_clear(&result);
}

static void a_file_whose_blob_another_revision_has_frees_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_removal_result result;

    put_two_revisions(f);
    result = remove_files(f, "a");
    assert_int_equal(result.removed_count, 1);
    assert_int_equal(result.freed_bytes, 0);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_cache_is_sound(f);
    hc_removal_result_clear(&result);
}

/* ---- plain files, links and payloads ----------------------------------------------- */

static void plain_files_of_a_cache_without_symlinks_go_and_count(void **state)
{
    struct fixture *f = *state;
    uint64_t room;

    temp_dir_write(f->dir, FOLDER "snapshots/" COMMIT "/a", "plain");
    temp_dir_write(f->dir, FOLDER "snapshots/" COMMIT "/sub/b", "plain, too");
    room = room_of(f, FOLDER "snapshots/" COMMIT "/a") +
           room_of(f, FOLDER "snapshots/" COMMIT "/sub/b");

    assert_int_equal(remove_revision(f, COMMIT), room);
    assert_false(temp_dir_has(f->dir, "models--org--name"));
}

/* The duplicates of two repos that hubcache makes are hard links. */
static void the_room_of_hard_links_is_counted_with_the_last(void **state)
{
    struct fixture *f = *state;
    struct hc_repo fork = repo_of(HC_REPO_MODEL, "fork/name");
    const char *commit = COMMIT;
    struct hc_removal_result result;
    int root = hc_cache_fd(f->cache);
    uint64_t room;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &fork, COMMIT, "a", BLOB_A);
    (void)unlinkat(root, "models--fork--name/blobs/" BLOB_A, 0);
    assert_int_equal(linkat(root, FOLDER "blobs/" BLOB_A, root,
                            "models--fork--name/blobs/" BLOB_A, 0),
                     0);
    room = room_of(f, FOLDER "blobs/" BLOB_A);

    assert_int_equal(remove_revision(f, COMMIT), 0);
    result = remove_revisions(f, &fork, &commit, 1, &carried_out);
    assert_int_equal(result.freed_bytes, room);
    hc_removal_result_clear(&result);
}

static void one_removal_of_both_hard_links_frees_their_room(void **state)
{
    struct fixture *f = *state;
    struct hc_repo fork = repo_of(HC_REPO_MODEL, "fork/name");
    struct hc_removal_request request = {.repo = &f->repo, .detail = "test"};
    struct hc_removal_result result = {0};
    HC_AUTO(hc_removal) *removal = hc_removal_new(f->cache, &dry_run, &result, &f->err);
    int root = hc_cache_fd(f->cache);

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &fork, COMMIT, "a", BLOB_A);
    (void)unlinkat(root, "models--fork--name/blobs/" BLOB_A, 0);
    assert_int_equal(linkat(root, FOLDER "blobs/" BLOB_A, root,
                            "models--fork--name/blobs/" BLOB_A, 0),
                     0);

    assert_int_equal(hc_removal_take(removal, &request, &f->err), 0);
    assert_int_equal(result.freed_bytes, 0);
    request.repo = &fork;
    assert_int_equal(hc_removal_take(removal, &request, &f->err), 0);
    assert_int_equal(result.freed_bytes, room_of(f, FOLDER "blobs/" BLOB_A));
    hc_removal_result_clear(&result);
}

#define HASH "ab00000000000000000000000000000000000000000000000000000000000000"
#define PAYLOAD "blobs/ab/" HASH

/* As a client of 1.32 or later publishes it. */
static void put_shared(const struct fixture *f, const struct hc_repo *repo,
                       const char *etag, bool has_line)
{
    char blob[PATH_MAX], line[PATH_MAX];
    char *manifest = temp_dir_read(f->dir, PAYLOAD ".refs");

    (void)hc_format(blob, sizeof blob, "%s/blobs/%s", repo->folder, etag);
    (void)hc_format(line, sizeof line, "%s%s\n", manifest ? manifest : "", blob);
    free(manifest);
    temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "1\n");
    if (!temp_dir_has(f->dir, PAYLOAD))
        temp_dir_write(f->dir, PAYLOAD, "payload");
    if (has_line)
        temp_dir_write(f->dir, PAYLOAD ".refs", line);
    put_file(f, repo, COMMIT, "shared", etag);
    (void)unlinkat(hc_cache_fd(f->cache), blob, 0);
    assert_int_equal(symlinkat("../../" PAYLOAD, hc_cache_fd(f->cache), blob), 0);
}

static void a_payload_goes_with_the_last_symlink_that_its_manifest_has(void **state)
{
    struct fixture *f = *state;
    struct hc_repo fork = repo_of(HC_REPO_DATASET, "fork/name");
    const char *commit = COMMIT;
    struct hc_removal_result result;
    uint64_t room;

    put_shared(f, &f->repo, BLOB_A, true);
    put_shared(f, &fork, BLOB_B, true);
    room = room_of(f, PAYLOAD);

    assert_int_equal(remove_revision(f, COMMIT), 0);
    assert_true(temp_dir_has(f->dir, PAYLOAD));
    assert_cache_is_sound(f);
    result = remove_revisions(f, &fork, &commit, 1, &carried_out);
    assert_int_equal(result.freed_bytes, room);
    assert_false(temp_dir_has(f->dir, PAYLOAD));
    assert_false(temp_dir_has(f->dir, PAYLOAD ".refs"));
    hc_removal_result_clear(&result);
}

static void a_payload_without_a_manifest_stays(void **state)
{
    struct fixture *f = *state;

    put_shared(f, &f->repo, BLOB_A, false);
    assert_int_equal(remove_revision(f, COMMIT), 0);
    assert_true(temp_dir_has(f->dir, PAYLOAD));
}

static void a_payload_of_a_store_without_its_marker_stays(void **state)
{
    static const char *const markers[] = {"", "1", "2\n", "1\n\n"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++) {
        put_shared(f, &f->repo, BLOB_A, true);
        temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", markers[i]);
        assert_int_equal(remove_revision(f, COMMIT), 0);
        assert_true(temp_dir_has(f->dir, PAYLOAD));
    }
}

static void lines_that_lead_elsewhere_do_not_keep_a_payload(void **state)
{
    struct fixture *f = *state;

    put_shared(f, &f->repo, BLOB_A, true);
    temp_dir_write(f->dir, PAYLOAD ".refs",
                   FOLDER "blobs/" BLOB_A "\n" FOLDER "blobs/" BLOB_A "\n"
                          "models--org--gone/blobs/" BLOB_A "\n"
                          "../outside/blobs/x\n/etc/blobs/x\nmodels--a/blobs/b/c\n\n");
    (void)remove_revision(f, COMMIT);
    assert_false(temp_dir_has(f->dir, PAYLOAD));
}

static void a_payload_that_a_client_has_locked_stays(void **state)
{
    struct fixture *f = *state;
    int fd;

    put_shared(f, &f->repo, BLOB_A, true);
    temp_dir_write(f->dir, PAYLOAD ".lock", "");
    fd = openat(hc_cache_fd(f->cache), PAYLOAD ".lock", O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    (void)remove_revision(f, COMMIT);
    assert_true(temp_dir_has(f->dir, PAYLOAD));
    (void)close(fd);
}

/* ---- what holds -------------------------------------------------------------------- */

static void assert_kept(const struct fixture *f, const struct hc_removal_options *options,
                        enum hc_held_by held_by)
{
    static const char *const commits[] = {COMMIT};
    struct hc_removal_result result = remove_revisions(f, &f->repo, commits, 1, options);

    assert_int_equal(result.removed_count, 0);
    assert_int_equal(result.kept_count, 1);
    assert_int_equal(result.kept[0].held_by, held_by);
    assert_string_equal(result.kept[0].commit_hash, COMMIT);
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT "/a"));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_true(temp_dir_has(f->dir, FOLDER "refs/main"));
    hc_removal_result_clear(&result);
}

static void a_pinned_revision_is_kept(void **state)
{
    const struct hc_pin pin = {.reason = "production"};
    struct fixture *f = *state;

    put_two_revisions(f);
    assert_int_equal(hc_pin_set(f->cache, &f->repo, COMMIT, &pin, &f->err), 0);
    assert_kept(f, &carried_out, HC_HELD_BY_PIN);
    assert_kept(f, &dry_run, HC_HELD_BY_PIN);
    assert_int_equal(hc_pin_clear(f->cache, &f->repo, COMMIT, &f->err), 1);
    (void)remove_revision(f, COMMIT);
}

static bool revision_is(void *ctx, const struct hc_repo *repo, const char *revision)
{
    assert_string_equal(repo->id, "org/name");
    return strcmp(ctx, revision) == 0;
}

static void what_the_policy_keeps_is_kept_by_ref_and_by_commit(void **state)
{
    static char names[][HC_COMMIT_SIZE] = {"main", "refs/pr/1", COMMIT};
    struct fixture *f = *state;

    put_two_revisions(f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct hc_hold_rules rules = {.is_kept = revision_is, .ctx = names[i]};
        const struct hc_removal_options options = {.rules = &rules};

        assert_kept(f, &options, HC_HELD_BY_KEEP);
    }
}

static int64_t an_hour(void *ctx, const struct hc_repo *repo, const char *const *names,
                       size_t count)
{
    (void)ctx;
    (void)repo;
    assert_int_equal(count, 3);
    assert_string_equal(names[0], COMMIT);
    return INT64_C(3600) * 1000;
}

static void what_was_used_within_the_retention_is_kept(void **state)
{
    const struct hc_hold_rules rules = {.retention_ms = an_hour};
    const struct hc_removal_options options = {.rules = &rules};
    static const char *const commits[] = {COMMIT};
    struct fixture *f = *state;
    struct hc_removal_result result;

    put_two_revisions(f);
    assert_kept(f, &options, HC_HELD_BY_RETENTION);
    age_file(f, FOLDER "blobs/" BLOB_A, 3700);
    age_file(f, FOLDER "blobs/" BLOB_B, 3700);
    age_file(f, FOLDER "snapshots/" COMMIT, 3700);
    result = remove_revisions(f, &f->repo, commits, 1, &options);
    assert_int_equal(result.removed_count, 1);
    hc_removal_result_clear(&result);
}

static void a_revision_of_which_another_client_fetches_a_file_is_kept(void **state)
{
    struct fixture *f = *state;

    put_two_revisions(f);
    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_A ".00112233.incomplete", "half");
    assert_kept(f, &carried_out, HC_HELD_BY_TRANSFER);
    age_file(f, FOLDER "blobs/" BLOB_A ".00112233.incomplete", 3700);
    (void)remove_revision(f, COMMIT);
}

static void a_transfer_of_another_revision_does_not_keep_one_with_a_listing(void **state)
{
    struct fixture *f = *state;

    put_two_revisions(f);
    temp_dir_write(f->dir, FOLDER "trees/" COMMIT ".json",
                   "{\"format_version\": 1, \"files\": {\"a\": {\"size\": 5000, "
                   "\"blob_id\": \"" BLOB_A "\"}}}");
    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_B ".00112233.incomplete", "half");
    (void)remove_revision(f, COMMIT);
    put_two_revisions(f);
    temp_dir_write(f->dir, FOLDER "trees/" COMMIT ".json",
                   "{\"format_version\": 1, \"files\": {\"a\": {\"size\": 5000, "
                   "\"blob_id\": \"" BLOB_A "\"}}}");
    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_A ".00112233.incomplete", "half");
    assert_kept(f, &carried_out, HC_HELD_BY_TRANSFER);
}

/* Its lock is held; the revision goes all the same. */
static void a_blob_that_is_locked_stays(void **state)
{
    const struct hc_blob_id blob = {"models--org--name", BLOB_B};
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = hc_blob_lock_new(f->cache, &blob, &f->err);

    put_two_revisions(f);
    assert_int_equal(hc_blob_lock_try(lock, &f->err), 1);
    assert_int_equal(remove_revision(f, COMMIT), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_false(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT));
}

static void a_volume_that_refuses_keeps_the_revision_and_its_refs(void **state)
{
    static const char *const commits[] = {COMMIT, OTHER_COMMIT};
    struct fixture *f = *state;
    struct hc_removal_result result;

    put_two_revisions(f);
    make_cache_read_only(f);
    result = remove_revisions(f, &f->repo, commits, 2, &carried_out);
    make_cache_writable(f);
    assert_int_equal(result.removed_count, 0);
    assert_int_equal(result.kept_count, 2);
    assert_int_equal(result.kept[0].held_by, HC_HELD_BY_FAILURE);
    assert_true(strlen(result.kept[0].detail) > 0);
    assert_true(temp_dir_has(f->dir, FOLDER "refs/main"));
    assert_cache_is_sound(f);
    hc_removal_result_clear(&result);
}

/* ---- symlinks that lead elsewhere -------------------------------------------------- */

static void nothing_outside_of_the_cache_is_removed(void **state)
{
    struct fixture *f = *state;
    char *outside = temp_dir_make();
    int root = hc_cache_fd(f->cache);

    temp_dir_write(outside, "snapshots/" COMMIT "/a", "not ours");
    temp_dir_write(outside, "blobs/" BLOB_A, "not ours");
    assert_int_equal(symlinkat(outside, root, "models--org--name"), 0);

    struct hc_removal_result result =
        remove_revisions(f, &f->repo, NULL, 0, &carried_out);

    assert_int_equal(result.removed_count, 0);
    assert_int_equal(temp_dir_count(outside, ""), 2);
    hc_removal_result_clear(&result);
    assert_int_equal(unlinkat(root, "models--org--name", 0), 0);

    put_file(f, &f->repo, COMMIT, "a", BLOB_B);
    put_file(f, &f->repo, OTHER_COMMIT, "c", BLOB_C);
    assert_int_equal(symlinkat(outside, root, FOLDER "snapshots/" COMMIT "/dir"), 0);
    (void)remove_revision(f, COMMIT);
    assert_int_equal(temp_dir_count(outside, ""), 2);
    temp_dir_remove(outside);
}

/* ---- what this process remembers --------------------------------------------------- */

static void a_pointer_and_a_ref_that_were_remembered_are_forgotten(void **state)
{
    struct fixture *f = *state;
    struct hc_pointer pointer;
    struct hc_ref ref;
    bool is_due = false;

    put_two_revisions(f);
    hc_memo_set_interval(hc_cache_memo(f->cache), INT64_MAX);
    assert_int_equal(hc_pointer_find(f->cache, &f->repo, COMMIT, "sub/dir/b", &pointer,
                                     &f->err),
                     1);
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    (void)remove_revision(f, COMMIT);
    assert_false(
        hc_pointer_recall(f->cache, &f->repo, COMMIT, "sub/dir/b", &pointer, &is_due));
    assert_false(hc_ref_recall(f->cache, &f->repo, "main", &ref, &is_due));
    assert_int_equal(hc_pointer_find(f->cache, &f->repo, COMMIT, "sub/dir/b", &pointer,
                                     &f->err),
                     0);
}

/* ---- removals that died ------------------------------------------------------------ */

/* What a removal leaves that dies after it has moved the snapshot. */
static void a_sweep_finishes_the_removal_of_a_process_that_died(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    put_two_revisions(f);
    temp_dir_write(f->dir, FOLDER "trees/" COMMIT ".json", "{}");
    temp_dir_write(f->dir, ".hubcache/trash/" FOLDER "00112233/snapshots/x", "");
    (void)unlinkat(root, FOLDER "refs/main", 0);
    (void)unlinkat(root, FOLDER "refs/refs/pr/1", 0);
    assert_int_equal(renameat(root, FOLDER "snapshots/" COMMIT, root,
                              ".hubcache/trash/" FOLDER "00112233/snapshots/" COMMIT),
                     0);

    assert_int_equal(hc_removal_sweep(f->cache, hc_epoch_ms(), HC_TRASH_EXPIRY_MS), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_int_equal(hc_removal_sweep(f->cache, hc_epoch_ms() + 2 * HC_FETCHING_YOUNG_MS,
                                      HC_TRASH_EXPIRY_MS),
                     1);
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_false(temp_dir_has(f->dir, FOLDER "trees/" COMMIT ".json"));
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_cache_is_sound(f);
    assert_no_trash(f);
}

static void a_sweep_gives_a_blob_back_to_which_a_pointer_leads(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    put_two_revisions(f);
    temp_dir_write(f->dir, ".hubcache/trash/" FOLDER "00112233/blobs/orphan", "orphan");
    assert_int_equal(renameat(root, FOLDER "blobs/" BLOB_B, root,
                              ".hubcache/trash/" FOLDER "00112233/blobs/" BLOB_B),
                     0);
    assert_int_equal(hc_removal_sweep(f->cache, hc_epoch_ms() + 2 * HC_FETCHING_YOUNG_MS,
                                      HC_TRASH_EXPIRY_MS),
                     1);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_B));
    assert_cache_is_sound(f);
    assert_no_trash(f);
}

static void directories_that_their_owner_may_not_write_to_are_emptied(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    put_two_revisions(f);
    assert_int_equal(fchmodat(root, FOLDER "snapshots/" COMMIT "/sub", 0500, 0), 0);
    (void)remove_revision(f, COMMIT);
    assert_no_trash(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_revision_goes_with_its_refs_and_its_own_blobs),
        WITH_CACHE(the_folder_goes_with_the_last_revision),
        WITH_CACHE(a_repo_goes_with_all_that_is_in_its_folder),
        WITH_CACHE(two_pointers_of_a_snapshot_to_one_blob_free_it_once),
        WITH_CACHE(the_same_commit_of_another_repo_stays),
        WITH_CACHE(a_pointer_in_a_folder_that_is_named_like_no_commit_keeps_its_blob),
        WITH_CACHE(a_revision_that_is_not_there_is_no_failure),
        WITH_CACHE(a_reader_that_has_a_file_open_keeps_it),
        WITH_CACHE(a_dry_run_says_the_same_and_changes_nothing),
        WITH_CACHE(a_dry_run_counts_what_it_has_planned_as_gone),
        WITH_CACHE(a_file_goes_with_its_blob_and_the_rest_of_the_revision_stays),
        WITH_CACHE(a_file_whose_blob_another_revision_has_frees_nothing),
        WITH_CACHE(plain_files_of_a_cache_without_symlinks_go_and_count),
        WITH_CACHE(the_room_of_hard_links_is_counted_with_the_last),
        WITH_CACHE(one_removal_of_both_hard_links_frees_their_room),
        WITH_CACHE(a_payload_goes_with_the_last_symlink_that_its_manifest_has),
        WITH_CACHE(a_payload_without_a_manifest_stays),
        WITH_CACHE(a_payload_of_a_store_without_its_marker_stays),
        WITH_CACHE(lines_that_lead_elsewhere_do_not_keep_a_payload),
        WITH_CACHE(a_payload_that_a_client_has_locked_stays),
        WITH_CACHE(a_pinned_revision_is_kept),
        WITH_CACHE(what_the_policy_keeps_is_kept_by_ref_and_by_commit),
        WITH_CACHE(what_was_used_within_the_retention_is_kept),
        WITH_CACHE(a_revision_of_which_another_client_fetches_a_file_is_kept),
        WITH_CACHE(a_transfer_of_another_revision_does_not_keep_one_with_a_listing),
        WITH_CACHE(a_blob_that_is_locked_stays),
        WITH_CACHE(a_volume_that_refuses_keeps_the_revision_and_its_refs),
        WITH_CACHE(nothing_outside_of_the_cache_is_removed),
        WITH_CACHE(a_pointer_and_a_ref_that_were_remembered_are_forgotten),
        WITH_CACHE(a_sweep_finishes_the_removal_of_a_process_that_died),
        WITH_CACHE(a_sweep_gives_a_blob_back_to_which_a_pointer_leads),
        WITH_CACHE(directories_that_their_owner_may_not_write_to_are_emptied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
