/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: of a removal and a resolution that work on the same blob, snapshot or ref at
 * the same time, one sees the other: no pointer dangles, and no ref names a snapshot that
 * is not there.
 */
#include "removal_fixture.h"

#include <base/file.h>
#include <base/text.h>
#include <cache/pointer.h>
#include <cache/ref.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(links_and_removals_at_once_leave_no_pointer_that_dangles),
        WITH_CACHE(a_blob_to_which_a_pointer_leads_by_then_is_given_back),
        WITH_CACHE(a_pointer_that_is_made_during_a_long_removal_never_dangles),
        WITH_CACHE(a_pointer_whose_blob_went_meanwhile_is_not_answered_as_made),
        WITH_CACHE(a_ref_whose_snapshot_went_meanwhile_does_not_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
