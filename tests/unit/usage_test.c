/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a scan of the cache counts each blob of a repo once, and of all repos once
 * again, whichever way clients share blobs; it remembers the largest repos of many, and
 * nothing that is no repo's.
 */
#include "cache_fixture.h"

#include <cache/usage.h>

#include <string.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define OTHER "datasets--org--set/"

enum { MANY = 2 * HC_USAGE_REPOS_MAX + 300 };

static struct hc_usage scan_of(struct fixture *f)
{
    struct hc_usage usage;

    if (hc_usage_scan(f->cache, NULL, &usage, &f->err) < 0)
        fail_msg("%s", f->err.message);
    assert_false(usage.is_incomplete);
    return usage;
}

static void make_symlink(const struct fixture *f, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

static void set_size(const struct fixture *f, const char *path, off_t size)
{
    HC_AUTO_FREE char *whole = temp_dir_path(f->dir, path);

    assert_int_equal(truncate(whole, size), 0);
}

static const struct hc_repo_usage *repo_of(const struct hc_usage *usage, const char *id)
{
    for (size_t i = 0; i < usage->listed; i++) {
        if (strcmp(usage->repos[i].id, id) == 0)
            return &usage->repos[i];
    }
    fail_msg("no repo %s", id);
    return NULL;
}

static void assert_usage(const struct hc_usage *usage, const char *id, unsigned bytes,
                         unsigned files)
{
    const struct hc_repo_usage *repo = repo_of(usage, id);

    assert_int_equal(repo->bytes, bytes);
    assert_int_equal(repo->files, files);
}

static void an_empty_cache_takes_nothing(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_usage) usage = scan_of(f);

    assert_int_equal(usage.listed, 0);
    assert_int_equal(usage.bytes, 0);
    assert_true(usage.began_ms > 0);
}

static void a_blob_counts_once_for_all_its_pointers(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_usage) usage = {0};

    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT, "hello");
    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT ".01234567.incomplete", "he");
    temp_dir_write(f->dir, REPO "snapshots/" COMMIT "/x/other", "plain");
    temp_dir_write(f->dir, REPO "snapshots/" OTHER_COMMIT "/b", "plain file");
    make_symlink(f, "../../blobs/" HELLO_GIT, REPO "snapshots/" COMMIT "/a");
    make_symlink(f, "../../blobs/" HELLO_GIT, REPO "snapshots/" OTHER_COMMIT "/a");
    make_symlink(f, "../../blobs/gone", REPO "snapshots/" COMMIT "/dangling");
    usage = scan_of(f);

    assert_usage(&usage, "org/name", 5 + 5 + 10, 3);
    assert_int_equal(repo_of(&usage, "org/name")->revisions, 2);
    assert_int_equal(usage.bytes, 20);
    assert_int_equal(usage.files, 3);
}

static void a_linked_blob_counts_in_each_repo_and_once_in_all(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_usage) usage = {0};

    temp_dir_write(f->dir, REPO "blobs/" HELLO_SHA256, "hello");
    temp_dir_write(f->dir, OTHER "blobs/own", "own");
    assert_int_equal(linkat(hc_cache_fd(f->cache), REPO "blobs/" HELLO_SHA256,
                            hc_cache_fd(f->cache), OTHER "blobs/" HELLO_SHA256, 0),
                     0);
    assert_int_equal(linkat(hc_cache_fd(f->cache), REPO "blobs/" HELLO_SHA256,
                            hc_cache_fd(f->cache), REPO "blobs/" HELLO_GIT, 0),
                     0);
    usage = scan_of(f);

    assert_usage(&usage, "org/name", 5, 1);
    assert_usage(&usage, "org/set", 8, 2);
    assert_int_equal(usage.bytes, 8);
    assert_int_equal(usage.files, 2);
    assert_int_equal(usage.repo_count, 2);
}

static void a_blob_of_the_shared_store_counts_likewise(void **state)
{
    static const char store[] = "../../blobs/2c/" HELLO_SHA256;
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_usage) usage = {0};

    temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "1\n");
    temp_dir_write(f->dir, "blobs/2c/" HELLO_SHA256, "hello");
    temp_dir_write(f->dir, REPO "blobs/own", "mine");
    temp_dir_write(f->dir, OTHER "refs/main", COMMIT);
    temp_dir_write(f->dir, OTHER "blobs/unrelated.incomplete", "");
    make_symlink(f, store, REPO "blobs/" HELLO_GIT);
    make_symlink(f, store, OTHER "blobs/" HELLO_GIT);
    make_symlink(f, "../../blobs/2c/gone", OTHER "blobs/dangling");
    usage = scan_of(f);

    assert_usage(&usage, "org/name", 9, 2);
    assert_usage(&usage, "org/set", 5, 1);
    assert_int_equal(usage.bytes, 9);
    assert_int_equal(usage.repo_count, 2);
}

static void the_newest_atime_is_the_last_use(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_usage) usage = {0};

    temp_dir_write(f->dir, REPO "blobs/old", "1");
    temp_dir_write(f->dir, REPO "blobs/newer", "2");
    age_file(f, REPO "blobs/old", 7200);
    age_file(f, REPO "blobs/newer", 3600);
    usage = scan_of(f);

    assert_in_range(usage.began_ms - repo_of(&usage, "org/name")->last_used_ms, 3599000,
                    3660000);
}

/* Sizes go up and down, so that large ones come early and late, in any order. */
static void of_many_repos_the_largest_are_listed(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_usage) usage = {0};
    char path[64];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(path, sizeof path, "models--org--m%d/blobs/x", i);
        temp_dir_write(f->dir, path, "");
        set_size(f, path, (i * 7) % MANY);
    }
    usage = scan_of(f);

    assert_int_equal(usage.listed, HC_USAGE_REPOS_MAX);
    assert_int_equal(usage.repo_count, MANY);
    assert_int_equal(usage.bytes, (uint64_t)MANY * (MANY - 1) / 2);
    for (unsigned i = 0; i < HC_USAGE_REPOS_MAX; i++)
        assert_int_equal(usage.repos[i].bytes, MANY - 1 - i);
}

static void a_cancelled_scan_ends(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cancellation) *end = hc_cancellation_new(HC_NO_DEADLINE);
    HC_AUTO_VALUE(hc_usage) usage = {0};

    temp_dir_write(f->dir, REPO "blobs/" HELLO_GIT, "hello");
    hc_cancellation_cancel(end);
    assert_int_equal(hc_usage_scan(f->cache, end, &usage, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(an_empty_cache_takes_nothing),
        WITH_CACHE(a_blob_counts_once_for_all_its_pointers),
        WITH_CACHE(a_linked_blob_counts_in_each_repo_and_once_in_all),
        WITH_CACHE(a_blob_of_the_shared_store_counts_likewise),
        WITH_CACHE(the_newest_atime_is_the_last_use),
        WITH_CACHE(of_many_repos_the_largest_are_listed),
        WITH_CACHE(a_cancelled_scan_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
