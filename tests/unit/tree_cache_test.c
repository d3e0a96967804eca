/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: callers of a process share one listing of a commit, which is the one on the
 * volume; memory for unused listings keeps to a budget. A caller waits for another one's
 * read until its own deadline, and no longer.
 */
#include "cache_fixture.h"

#include <base/cancellation.h>
#include <base/text.h>
#include <cache/tree_cache.h>
#include <repo/tree.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { CALLERS = 16 };

/* A commit that is one digit, repeated. */
static const char *numbered_commit(int number)
{
    static _Thread_local char text[HC_COMMIT_SIZE];

    memset(text, "0123456789abcdef"[number], HC_COMMIT_SIZE - 1);
    return text;
}

static struct hc_tree *make_numbered_tree(const char *path, int files)
{
    struct hc_error err;
    struct hc_tree *tree = hc_tree_new(&err);

    assert_non_null(tree);
    for (int i = 0; i < files; i++) {
        char name[64];

        assert_true(hc_format(name, sizeof name, "%s-%06d", path, i) > 0);
        assert_int_equal(hc_tree_add(tree,
                                     &(const struct hc_entry){.path = name,
                                                              .blob_id = HELLO_GIT},
                                     &err),
                         0);
    }
    assert_int_equal(hc_tree_finish(tree, &err), 0);
    return tree;
}

static void numbered_tree_save(struct fixture *f, int number, struct hc_tree *tree)
{
    assert_int_equal(hc_tree_save(f->cache, &f->repo, numbered_commit(number), tree,
                                  &f->err),
                     0);
}

static struct hc_tree *numbered_tree_load(struct fixture *f, int number)
{
    struct hc_tree *tree = NULL;

    (void)hc_tree_load(f->cache, &f->repo, numbered_commit(number), NULL, &tree, &f->err);
    return tree;
}

/* Writes the file through another cache, so that this process has not seen it. */
static void write_as_another_replica(struct fixture *f, int number, const char *path,
                                     int files)
{
    struct hc_error err;
    HC_AUTO(hc_cache) *other = hc_cache_open(f->dir, false, &err);
    HC_AUTO(hc_tree) *tree = make_numbered_tree(path, files);

    assert_non_null(other);
    assert_int_equal(hc_tree_save(other, &f->repo, numbered_commit(number), tree, &err),
                     0);
}

static size_t cached_bytes(struct fixture *f)
{
    return hc_tree_cache_bytes(hc_cache_trees(f->cache));
}

static void a_saved_listing_is_shared_and_not_read(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = make_numbered_tree("a", 3);
    HC_AUTO(hc_tree) *first = NULL;
    HC_AUTO(hc_tree) *second = NULL;

    numbered_tree_save(f, 1, tree);
    first = numbered_tree_load(f, 1);
    second = numbered_tree_load(f, 1);
    assert_ptr_equal(first, tree);
    assert_ptr_equal(second, tree);
}

static void a_listing_of_another_replica_is_read_once(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *first = NULL;
    HC_AUTO(hc_tree) *second = NULL;

    write_as_another_replica(f, 1, "a", 3);
    first = numbered_tree_load(f, 1);
    second = numbered_tree_load(f, 1);
    assert_non_null(first);
    assert_ptr_equal(first, second);
}

static void a_file_that_was_replaced_is_read_again(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *first = NULL;
    HC_AUTO(hc_tree) *second = NULL;

    write_as_another_replica(f, 1, "a", 3);
    first = numbered_tree_load(f, 1);
    write_as_another_replica(f, 1, "b", 3);
    second = numbered_tree_load(f, 1);
    assert_string_equal(first->entries[0].path, "a-000000");
    assert_string_equal(second->entries[0].path, "b-000000");
}

static void a_file_that_is_gone_is_absent(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *tree = make_numbered_tree("a", 3);

    numbered_tree_save(f, 1, tree);
    hc_tree_drop(f->cache, &f->repo, numbered_commit(1));
    assert_null(numbered_tree_load(f, 1));
    assert_int_equal(cached_bytes(f), 0);
}

static void a_file_that_is_no_listing_is_not_kept(void **state)
{
    struct fixture *f = *state;
    char path[128];

    assert_true(hc_format(path, sizeof path, "%s/trees/%s.json", f->repo.folder,
                          numbered_commit(1)) > 0);
    temp_dir_write(f->dir, path, "{\"format_version\": 1, \"files\": {\"a\"");
    assert_null(numbered_tree_load(f, 1));
    assert_int_equal(cached_bytes(f), 0);
    write_as_another_replica(f, 1, "a", 3);
    hc_tree_free(numbered_tree_load(f, 1));
    assert_true(cached_bytes(f) > 0);
}

static void names_to_expect_are_kept_beside_the_listing(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_tree) *names = make_numbered_tree("n", 2);
    HC_AUTO(hc_tree) *expected = NULL;

    assert_null(hc_tree_expected_names(f->cache, &f->repo, numbered_commit(1)));
    hc_tree_expect_names(f->cache, &f->repo, numbered_commit(1), names);
    assert_null(numbered_tree_load(f, 1));
    expected = hc_tree_expected_names(f->cache, &f->repo, numbered_commit(1));
    assert_ptr_equal(expected, names);
    hc_tree_free(expected);
    hc_tree_expect_names(f->cache, &f->repo, numbered_commit(1),
                         names); /* as for a second caller */
    expected = hc_tree_expected_names(f->cache, &f->repo, numbered_commit(1));
    assert_ptr_equal(expected, names);
    hc_tree_expect_names(f->cache, &f->repo, numbered_commit(1), NULL);
    assert_null(hc_tree_expected_names(f->cache, &f->repo, numbered_commit(1)));
}

/* A budget for two trees of a size, and one of a byte less. */
static void the_listing_used_longest_ago_goes_first(void **state)
{
    struct fixture *f = *state;
    size_t size;

    for (int i = 0; i < 3; i++)
        write_as_another_replica(f, i, "a", 100);
    hc_tree_free(numbered_tree_load(f, 0));
    size = cached_bytes(f);
    for (int short_of = 0; short_of < 2; short_of++) {
        hc_tree_cache_set_budget(hc_cache_trees(f->cache), 2 * size - (size_t)short_of);
        hc_tree_free(numbered_tree_load(f, 0));
        hc_tree_free(numbered_tree_load(f, 1));
        assert_int_equal(cached_bytes(f), (size_t)(2 - short_of) * size);
        hc_tree_free(numbered_tree_load(f, 2));
        assert_int_equal(cached_bytes(f), (size_t)(2 - short_of) * size);
    }
}

static void a_listing_in_use_is_shared_whatever_the_budget(void **state)
{
    struct fixture *f = *state;
    struct hc_tree *first, *second;

    hc_tree_cache_set_budget(hc_cache_trees(f->cache), 1);
    write_as_another_replica(f, 1, "a", 100);
    first = numbered_tree_load(f, 1);
    second = numbered_tree_load(f, 1);
    assert_ptr_equal(first, second);
    hc_tree_free(first);
    assert_true(cached_bytes(f) > 0);
    hc_tree_free(second);
    assert_int_equal(cached_bytes(f), 0);
}

struct caller {
    struct fixture *f;
    pthread_barrier_t *start;             /* Optional. */
    struct hc_cancellation *cancellation; /* Optional. */
    int result;
    struct hc_tree *tree;
    struct hc_error err;
    pthread_t thread;
};

static void *caller_load_tree(void *ctx)
{
    struct caller *caller = ctx;

    if (caller->start)
        (void)pthread_barrier_wait(caller->start);
    caller->result = hc_tree_load(caller->f->cache, &caller->f->repo, numbered_commit(1),
                                  caller->cancellation, &caller->tree, &caller->err);
    return NULL;
}

static void caller_start(struct caller *caller)
{
    assert_int_equal(pthread_create(&caller->thread, NULL, caller_load_tree, caller), 0);
}

static void caller_finish(struct caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
}

static void many_callers_read_a_file_once(void **state)
{
    struct fixture *f = *state;
    struct caller callers[CALLERS];
    pthread_barrier_t start;

    write_as_another_replica(f, 1, "a", 20000);
    assert_int_equal(pthread_barrier_init(&start, NULL, CALLERS), 0);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.f = f, .start = &start};
        caller_start(&callers[i]);
    }
    for (int i = 0; i < CALLERS; i++)
        caller_finish(&callers[i]);
    for (int i = 0; i < CALLERS; i++) {
        assert_non_null(callers[i].tree);
        assert_ptr_equal(callers[i].tree, callers[0].tree);
    }
    for (int i = 0; i < CALLERS; i++)
        hc_tree_free(callers[i].tree);
    (void)pthread_barrier_destroy(&start);
}

/* The next read of a file waits for the test, as on a volume that hangs. */
static struct {
    atomic_bool is_armed;
    sem_t has_begun, may_end;
} hanging_read;

struct hc_tree *__real_hc_tree_read_json(struct hc_json *json);
struct hc_tree *__wrap_hc_tree_read_json(struct hc_json *json);

struct hc_tree *__wrap_hc_tree_read_json(struct hc_json *json)
{
    if (atomic_exchange(&hanging_read.is_armed, false)) {
        (void)sem_post(&hanging_read.has_begun);
        (void)sem_wait(&hanging_read.may_end);
    }
    return __real_hc_tree_read_json(json);
}

/* A read begins, and hangs until the test posts `may_end`. */
static void reader_start(struct caller *reader)
{
    assert_int_equal(sem_init(&hanging_read.has_begun, 0, 0), 0);
    assert_int_equal(sem_init(&hanging_read.may_end, 0, 0), 0);
    atomic_store(&hanging_read.is_armed, true);
    caller_start(reader);
    (void)sem_wait(&hanging_read.has_begun);
}

/* The reader is let go only after the others have left, and still answers the rest. */
static void a_caller_that_waits_for_a_read_may_leave(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cancellation) *soon = hc_cancellation_new(hc_monotonic_ms() + 200);
    HC_AUTO(hc_cancellation) *never = hc_cancellation_new(HC_NO_DEADLINE);
    struct caller reader = {.f = f}, hasty = {.f = f, .cancellation = soon};
    struct caller leaver = {.f = f, .cancellation = never}, patient = {.f = f};

    write_as_another_replica(f, 1, "a", 100);
    reader_start(&reader);
    caller_start(&patient);
    caller_start(&hasty);
    caller_start(&leaver);
    hc_cancellation_cancel(never);
    caller_finish(&hasty);
    caller_finish(&leaver);
    (void)sem_post(&hanging_read.may_end);
    caller_finish(&reader);
    caller_finish(&patient);

    assert_int_equal(hasty.result, -1);
    assert_int_equal(hasty.err.reason, HC_DEADLINE_EXCEEDED);
    assert_int_equal(leaver.result, -1);
    assert_int_equal(leaver.err.reason, HC_CANCELLED);
    assert_int_equal(patient.result, 1);
    assert_ptr_equal(patient.tree, reader.tree);
    hc_tree_free(patient.tree);
    hc_tree_free(reader.tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_saved_listing_is_shared_and_not_read),
        WITH_CACHE(a_listing_of_another_replica_is_read_once),
        WITH_CACHE(a_file_that_was_replaced_is_read_again),
        WITH_CACHE(a_file_that_is_gone_is_absent),
        WITH_CACHE(a_file_that_is_no_listing_is_not_kept),
        WITH_CACHE(names_to_expect_are_kept_beside_the_listing),
        WITH_CACHE(the_listing_used_longest_ago_goes_first),
        WITH_CACHE(a_listing_in_use_is_shared_whatever_the_budget),
        WITH_CACHE(many_callers_read_a_file_once),
        WITH_CACHE(a_caller_that_waits_for_a_read_may_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
