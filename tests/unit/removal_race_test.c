/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: of a removal and a resolution that work on the same blob, snapshot or ref at
 * the same time, one sees the other: no pointer dangles, and no ref names a snapshot that
 * is not there.
 */
#include "removal_fixture.h"

#include <base/cancellation.h>
#include <base/file.h>
#include <base/text.h>
#include <cache/blob_lock.h>
#include <cache/pointer.h>
#include <cache/ref.h>
#include <claim/claim_record.h>
#include <maintenance/prune.h>
#include <maintenance/trash.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { ROUNDS = 60, LINKERS = 2, REMOVERS = 2 };

struct race {
    const struct fixture *f;
    pthread_barrier_t start;
    atomic_uint failures;
};

/* As an ingest publishes it: by rename. */
static int blob_put(const struct fixture *f, const char *etag, struct hc_error *err)
{
    char path[PATH_MAX];

    (void)hc_format(path, sizeof path, FOLDER "blobs/%s", etag);
    return hc_cache_publish(f->cache, path, "bytes", 5, err);
}

/* Until the link is made to a blob that is there, as blob.c of the resolver does it. */
static bool blob_link(const struct fixture *f, const char *path, const char *etag)
{
    const struct hc_repo_file file = {&f->repo, COMMIT, path};
    struct hc_error err;
    int linked;

    do {
        linked = blob_put(f, etag, &err) < 0
                     ? -1
                     : hc_pointer_link(f->cache, &file, etag, false, &err);
    } while (linked == 1);
    if (linked < 0)
        print_message("%s\n", err.message);
    return linked == 0;
}

static void *race_link(void *ctx)
{
    struct race *race = ctx;
    struct hc_error err;

    (void)pthread_barrier_wait(&race->start);
    for (int i = 0; i < ROUNDS; i++) {
        if (!blob_link(race->f, "a", BLOB_A) || !blob_link(race->f, "sub/b", BLOB_B) ||
            hc_ref_update(race->f->cache, &race->f->repo, "main", COMMIT, &err) < 0)
            atomic_fetch_add(&race->failures, 1);
    }
    return NULL;
}

static void *race_remove(void *ctx)
{
    static const struct hc_removal_options options = {0};
    static const char *const commits[] = {COMMIT};
    struct race *race = ctx;

    (void)pthread_barrier_wait(&race->start);
    for (int i = 0; i < ROUNDS; i++) {
        struct hc_removal_result result =
            remove_revisions(race->f, &race->f->repo, commits, 1, &options);

        hc_removal_result_clear(&result);
    }
    return NULL;
}

static void links_and_removals_at_once_leave_no_pointer_that_dangles(void **state)
{
    struct race race = {.f = *state};
    pthread_t threads[LINKERS + REMOVERS];

    put_file(race.f, &race.f->repo, OTHER_COMMIT, "c", BLOB_C);
    assert_int_equal(pthread_barrier_init(&race.start, NULL, LINKERS + REMOVERS), 0);
    for (int i = 0; i < LINKERS + REMOVERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i < LINKERS ? race_link : race_remove, &race),
                         0);
    for (int i = 0; i < LINKERS + REMOVERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    (void)pthread_barrier_destroy(&race.start);
    assert_int_equal(atomic_load(&race.failures), 0);
    assert_cache_is_sound(race.f);
    assert_true(temp_dir_has(race.f->dir, FOLDER "blobs/" BLOB_C));
    assert_no_trash(race.f);
}

/* ---- one interleaving at a time ---------------------------------------------------- */

/* Runs once, before or after the rename of a file of this name. */
static struct {
    const struct fixture *f;
    const char *name;
    void (*before)(const struct fixture *f);
    void (*after)(const struct fixture *f);
} hook;

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    bool is_hooked = hook.name && hc_text_ends(to, hook.name);
    int result;

    if (is_hooked)
        hook.name = NULL;
    if (is_hooked && hook.before)
        hook.before(hook.f);
    result = __real_renameat(from_dir, from, to_dir, to);
    if (is_hooked && hook.after)
        hook.after(hook.f);
    return result;
}

/* Another process makes a pointer to the blob, which it has found to be there. */
static void link_late(const struct fixture *f)
{
    put_pointer(f, &f->repo, OTHER_COMMIT, "late", BLOB_A);
}

static void a_blob_to_which_a_pointer_leads_by_then_is_given_back(void **state)
{
    struct fixture *f = *state;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, OTHER_COMMIT, "c", BLOB_C);
    hook = (__typeof__(hook)){.f = f, .name = BLOB_A, .before = link_late};

    assert_int_equal(remove_revision(f, COMMIT), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_cache_is_sound(f);
    assert_no_trash(f);
}

/* ---- a removal that takes long ----------------------------------------------------- */

static int64_t later_ms; /* the clock is ahead by this */

int64_t __real_hc_monotonic_ms(void);
int64_t __wrap_hc_monotonic_ms(void);

int64_t __wrap_hc_monotonic_ms(void)
{
    return __real_hc_monotonic_ms() + later_ms;
}

static void note_vanished(const struct fixture *f)
{
    (void)f;
    fail_msg("a blob has vanished that a pointer leads to");
}

/* Another process makes a pointer to a blob that the removal has not come to. */
static void link_ahead(const struct fixture *f)
{
    later_ms = 3600000;
    put_pointer(f, &f->repo, OTHER_COMMIT, "ahead", BLOB_C);
    hook = (__typeof__(hook)){.f = f, .name = BLOB_C, .before = note_vanished};
}

static void a_pointer_that_is_made_during_a_long_removal_never_dangles(void **state)
{
    struct fixture *f = *state;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, COMMIT, "c", BLOB_C);
    put_file(f, &f->repo, OTHER_COMMIT, "b", BLOB_B);
    hook = (__typeof__(hook)){.f = f, .name = BLOB_A, .after = link_ahead};
    (void)remove_revision(f, COMMIT);
    later_ms = 0;
    hook.name = NULL;
    assert_cache_is_sound(f);
}

static void remove_blob(const struct fixture *f)
{
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), FOLDER "blobs/" BLOB_A, 0), 0);
}

static void a_pointer_whose_blob_went_meanwhile_is_not_answered_as_made(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo_file file = {&f->repo, COMMIT, "a"};

    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_A, "x");
    hook = (__typeof__(hook)){.f = f, .name = COMMIT "/a", .after = remove_blob};

    assert_int_equal(hc_pointer_link(f->cache, &file, BLOB_A, false, &f->err), 1);
}

static void remove_snapshot(const struct fixture *f)
{
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), FOLDER "snapshots/" COMMIT "/a", 0),
                     0);
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), FOLDER "snapshots/" COMMIT,
                              AT_REMOVEDIR),
                     0);
}

static void a_ref_whose_snapshot_went_meanwhile_does_not_stay(void **state)
{
    struct fixture *f = *state;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    hook = (__typeof__(hook)){.f = f, .name = "refs/main", .before = remove_snapshot};

    assert_int_equal(hc_ref_update(f->cache, &f->repo, "main", COMMIT, &f->err), 0);
    assert_false(temp_dir_has(f->dir, FOLDER "refs/main"));
}

/* ---- what another host has done ---------------------------------------------------- */

/* The file system answers a look at this path by what it has read, until `directory` is
 * opened: as NFS does. */
static struct {
    const char *path;
    const char *directory;
    bool is_there;
} stale;

int __real_faccessat(int dir, const char *path, int mode, int flags);
int __wrap_faccessat(int dir, const char *path, int mode, int flags);

int __wrap_faccessat(int dir, const char *path, int mode, int flags)
{
    if (!stale.path || !hc_text_ends(path, stale.path))
        return __real_faccessat(dir, path, mode, flags);
    errno = ENOENT;
    return stale.is_there ? 0 : -1;
}

int __real_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);

int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
    if (stale.path && hc_text_ends(path, stale.directory))
        stale.path = NULL;
    return __real_openat(dir, path, flags, mode);
}

static void
a_pointer_whose_blob_another_host_removed_is_not_answered_as_made(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo_file file = {&f->repo, COMMIT, "a"};

    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_B, "x");
    stale = (__typeof__(stale)){COMMIT "/a", "blobs", true};
    assert_int_equal(hc_pointer_link(f->cache, &file, BLOB_A, false, &f->err), 1);
    assert_null(stale.path);
}

/* The snapshot goes, and is seen until the directory that had it is opened. */
static void remove_snapshot_unseen(const struct fixture *f)
{
    remove_snapshot(f);
    stale = (__typeof__(stale)){"snapshots/" COMMIT, "snapshots", true};
}

static void a_ref_whose_snapshot_another_host_removed_does_not_stay(void **state)
{
    struct fixture *f = *state;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    hook =
        (__typeof__(hook)){.f = f, .name = "refs/main", .before = remove_snapshot_unseen};
    assert_int_equal(hc_ref_update(f->cache, &f->repo, "main", COMMIT, &f->err), 0);
    assert_false(temp_dir_has(f->dir, FOLDER "refs/main"));
}

static void put_blob_unseen(const struct fixture *f)
{
    put_file(f, &f->repo, OTHER_COMMIT, "b", BLOB_B);
    stale = (__typeof__(stale)){"blobs/" BLOB_B, "blobs", false};
}

/* The pointer is in the trash, and its blob has just come. */
static void a_pointer_whose_blob_another_host_made_is_given_back(void **state)
{
    const int64_t now_ms = hc_epoch_ms() + 2 * INT64_C(3600) * 1000;
    const struct hc_removal_options options = {.now_ms = now_ms};
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_prune_result) result = {0};
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(f->cache, &options, &result.revisions, &f->err);
    const struct hc_prune prune = {.cache = f->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .unused_for_ms = now_ms,
                                   .now_ms = now_ms};

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_pointer(f, &f->repo, COMMIT, "b", BLOB_B);
    hook = (__typeof__(hook)){.f = f, .name = "0", .after = put_blob_unseen};
    assert_int_equal(hc_prune_repo(&prune, &f->repo, &f->err), 0);
    assert_null(hook.name);
    assert_true(temp_dir_has(f->dir, FOLDER "snapshots/" COMMIT "/b"));
}

/* ---- another client, between two steps of a removal -------------------------------- */

static void (*sleeping)(const struct fixture *f);

int __real_hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                                 struct hc_error *err);
int __wrap_hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                                 struct hc_error *err);

int __wrap_hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                                 struct hc_error *err)
{
    if (sleeping)
        sleeping(hook.f);
    return __real_hc_cancellation_sleep(cancellation, ms, err);
}

/* The reference client looks for the blob, gets its lock, and makes the pointer. */
static void a_pointer_that_follows_the_removal_of_its_blob_leads_to_it_again(void **state)
{
    struct fixture *f = *state;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, OTHER_COMMIT, "c", BLOB_C);
    hook.f = f;
    sleeping = link_late;
    assert_int_equal(remove_revision(f, COMMIT), 0);
    sleeping = NULL;
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_A));
    assert_cache_is_sound(f);
    assert_no_trash(f);
}

static struct hc_blob_lock *transfer;

/* By the reference client: it locks the blob, and then makes the file. */
static void begin_transfer(const struct fixture *f)
{
    static const struct hc_blob_id blob = {"models--org--name", BLOB_C};
    struct hc_error err;

    transfer = hc_blob_lock_new(f->cache, &blob, &err);
    assert_int_equal(hc_blob_lock_try(transfer, &err), 1);
    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_C ".00112233.incomplete", "x");
}

static void a_transfer_that_begins_during_a_removal_keeps_its_partial_file(void **state)
{
    static const struct hc_removal_options options = {0};
    struct fixture *f = *state;
    struct hc_removal_result result;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    temp_dir_write(f->dir, FOLDER "blobs/" BLOB_B, "orphan");
    temp_dir_write(f->dir, FOLDER "blobs/tmp", "no blob");
    hook = (__typeof__(hook)){.f = f, .name = BLOB_B, .before = begin_transfer};
    result = remove_revisions(f, &f->repo, NULL, 0, &options);
    assert_null(hook.name);
    assert_true(temp_dir_has(f->dir, FOLDER "blobs/" BLOB_C ".00112233.incomplete"));
    assert_false(temp_dir_has(f->dir, FOLDER "blobs/tmp"));
    hc_removal_result_clear(&result);
    hc_blob_lock_release(transfer);
}

/* ---- a removal that stands still --------------------------------------------------- */

/* Its trash looks as if it had died; then its heartbeat comes. */
static void sweep_meanwhile(const struct fixture *f)
{
    static const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk_names(f->cache, &f->repo);
    struct stat status = {0};

    assert_true(hc_directory_walk_next(&walk));
    assert_int_equal(utimensat(walk.dir, walk.name, long_ago, 0), 0);
    for (int i = 0; i < 1000 && status.st_mtim.tv_sec < 2; i++) {
        (void)usleep(10000);
        assert_int_equal(fstatat(walk.dir, walk.name, &status, 0), 0);
    }
    assert_int_equal(hc_removal_sweep(f->cache, hc_epoch_ms(), HC_TRASH_EXPIRY_MS), 0);
}

static void a_removal_that_stands_still_does_not_count_as_dead(void **state)
{
    struct fixture *f = *state;

    put_file(f, &f->repo, COMMIT, "a", BLOB_A);
    put_file(f, &f->repo, OTHER_COMMIT, "c", BLOB_C);
    hook = (__typeof__(hook)){.f = f, .name = COMMIT, .after = sweep_meanwhile};
    assert_true(remove_revision(f, COMMIT) > 0);
    assert_null(hook.name);
    assert_no_trash(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(links_and_removals_at_once_leave_no_pointer_that_dangles),
        WITH_CACHE(a_blob_to_which_a_pointer_leads_by_then_is_given_back),
        WITH_CACHE(a_pointer_that_is_made_during_a_long_removal_never_dangles),
        WITH_CACHE(a_pointer_whose_blob_went_meanwhile_is_not_answered_as_made),
        WITH_CACHE(a_ref_whose_snapshot_went_meanwhile_does_not_stay),
        WITH_CACHE(a_pointer_whose_blob_another_host_removed_is_not_answered_as_made),
        WITH_CACHE(a_ref_whose_snapshot_another_host_removed_does_not_stay),
        WITH_CACHE(a_pointer_whose_blob_another_host_made_is_given_back),
        WITH_CACHE(a_pointer_that_follows_the_removal_of_its_blob_leads_to_it_again),
        WITH_CACHE(a_transfer_that_begins_during_a_removal_keeps_its_partial_file),
        WITH_CACHE(a_removal_that_stands_still_does_not_count_as_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
