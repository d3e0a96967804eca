/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a repo is read as it is, whatever other processes do to it meanwhile: a
 * revision that stays has the same numbers each time, and nothing outside of the cache is
 * looked at. Leases, pins and what the policy keeps are told. Listings that hits use stay
 * in memory, and atimes stay as they are. (tests/interop/test_management.py compares the
 * numbers with those of the reference client.)
 */
#include "cache_fixture.h"

#include <base/file.h>
#include <base/text.h>
#include <base/workers.h>
#include <cache/tree_cache.h>
#include <claim/claim_record.h>
#include <maintenance/hold.h>
#include <maintenance/inventory.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define REPO "models--org--name/"
#define SNAPSHOT(commit) REPO "snapshots/" commit "/"
#define OTHER_BLOB "2222222222222222222222222222222222222222"

enum { ROUNDS = 300, MANY = 2000 };

static void write_text(const struct fixture *f, const char *path, const char *text)
{
    struct hc_error err;
    int fd;

    assert_int_equal(hc_file_mkparents(hc_cache_fd(f->cache), path, &err), 0);
    fd = openat(hc_cache_fd(f->cache), path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(hc_file_write_all(fd, text, strlen(text), &err), 0);
    (void)close(fd);
}

static void make_link(const struct fixture *f, const char *target, const char *path)
{
    struct hc_error err;

    assert_int_equal(hc_file_mkparents(hc_cache_fd(f->cache), path, &err), 0);
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

/* A revision with one file of five bytes. */
static void make_hello(const struct fixture *f, const char *commit)
{
    char path[PATH_MAX];

    write_text(f, REPO "blobs/" HELLO_GIT, "hello");
    (void)hc_format(path, sizeof path, REPO "snapshots/%s/hello.txt", commit);
    make_link(f, "../../blobs/" HELLO_GIT, path);
}

static struct hc_inventory inventory_of(const struct fixture *f)
{
    return (struct hc_inventory){.cache = f->cache,
                                 .now_ms = hc_volume_now_ms(f->cache),
                                 .with_revisions = true};
}

/* The caller clears it. */
static struct hc_cached_repo read_repo(struct fixture *f)
{
    const struct hc_inventory inventory = inventory_of(f);
    struct hc_cached_repo found;

    assert_int_equal(hc_inventory_read_repo(&inventory, &f->repo, &found, &f->err), 1);
    return found;
}

static void a_repo_that_is_not_there_is_absent(void **state)
{
    struct fixture *f = *state;
    const struct hc_inventory inventory = inventory_of(f);
    struct hc_cached_repo found;

    assert_int_equal(hc_inventory_read_repo(&inventory, &f->repo, &found, &f->err), 0);
}

static void a_symlink_in_the_place_of_a_folder_is_not_followed(void **state)
{
    struct fixture *f = *state;
    const struct hc_inventory inventory = inventory_of(f);
    struct hc_cached_repo found;

    make_hello(f, COMMIT);
    assert_int_equal(renameat(hc_cache_fd(f->cache), "models--org--name",
                              hc_cache_fd(f->cache), "elsewhere"),
                     0);
    make_link(f, "elsewhere", "models--org--name");
    assert_int_equal(hc_inventory_read_repo(&inventory, &f->repo, &found, &f->err), 0);

    assert_int_equal(unlinkat(hc_cache_fd(f->cache), "models--org--name", 0), 0);
    make_link(f, "../elsewhere/snapshots", REPO "snapshots");
    found = read_repo(f);
    assert_int_equal(found.revision_count, 0);
    assert_int_equal(found.file_count, 0);
    hc_cached_repo_clear(&found);
}

static void leases_count_until_they_end(void **state)
{
    struct fixture *f = *state;
    const char *lease =
        ".hubcache/leases/models--org--name/" COMMIT "/00112233445566778899aabbccddeeff";
    HC_AUTO_VALUE(hc_cached_repo) before = {0};
    HC_AUTO_VALUE(hc_cached_repo) after = {0};

    make_hello(f, COMMIT);
    write_text(f, lease, "{}");
    age_file(f, lease, -60);
    before = read_repo(f);
    age_file(f, lease, 60);
    after = read_repo(f);

    assert_int_equal(before.revisions[0].leases, 1);
    assert_int_equal(after.revisions[0].leases, 0);
}

static bool keeps_main(void *ctx, const struct hc_repo *repo, const char *revision)
{
    (void)repo;
    return strcmp(revision, ctx) == 0;
}

static void pins_and_what_the_policy_keeps_are_told(void **state)
{
    struct fixture *f = *state;
    char kept[] = "main";
    const struct hc_hold_rules rules = {.is_kept = keeps_main, .ctx = kept};
    struct hc_inventory inventory = inventory_of(f);
    HC_AUTO_VALUE(hc_cached_repo) found = {0};

    make_hello(f, COMMIT);
    make_hello(f, OTHER_COMMIT);
    write_text(f, REPO "refs/main", OTHER_COMMIT);
    write_text(f, ".hubcache/pins/models--org--name/" COMMIT, "{}");
    inventory.rules = &rules;
    assert_int_equal(hc_inventory_read_repo(&inventory, &f->repo, &found, &f->err), 1);

    assert_int_equal(found.revision_count, 2);
    assert_true(found.revisions[0].is_pinned && !found.revisions[0].is_kept);
    assert_true(!found.revisions[1].is_pinned && found.revisions[1].is_kept);
}

static void a_folder_that_is_no_commit_counts_but_is_no_revision(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_cached_repo) found = {0};

    make_hello(f, COMMIT);
    write_text(f, REPO "blobs/" OTHER_BLOB, "1234567");
    make_link(f, "../../blobs/" OTHER_BLOB, SNAPSHOT("not-a-commit") "x");
    make_link(f, "../../blobs/" HELLO_GIT, SNAPSHOT("not-a-commit") "y");
    found = read_repo(f);

    assert_int_equal(found.revision_count, 1);
    assert_int_equal(found.size_bytes, 12);
    assert_int_equal(found.file_count, 2);
    assert_int_equal(found.revisions[0].size_bytes, 5);
    assert_int_equal(found.revisions[0].freeable_bytes, 0);
}

static void a_pointer_that_leads_elsewhere_is_a_file_of_its_own(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_cached_repo) found = {0};

    make_hello(f, COMMIT);
    make_link(f, "hello.txt", SNAPSHOT(COMMIT) "again");
    make_link(f, ".", SNAPSHOT(COMMIT) "directory");
    make_link(f, "loop", SNAPSHOT(COMMIT) "loop");
    found = read_repo(f);

    assert_int_equal(found.revisions[0].file_count, 2);
    assert_non_null(strstr(found.warning, "broken symlink"));
}

static void the_atime_of_a_blob_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_cached_repo) found = {0};
    struct stat status;

    make_hello(f, COMMIT);
    age_file(f, REPO "blobs/" HELLO_GIT, 1000);
    found = read_repo(f);

    assert_int_equal(fstatat(hc_cache_fd(f->cache), REPO "blobs/" HELLO_GIT, &status, 0),
                     0);
    assert_int_equal(hc_file_time_ms(&status.st_atim), found.last_used_ms);
    assert_true(hc_volume_now_ms(f->cache) - found.last_used_ms >= 999 * 1000);
}

static void a_listing_that_is_read_takes_no_place_in_memory(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_cached_repo) found = {0};

    make_hello(f, COMMIT);
    write_text(f, REPO "trees/" COMMIT ".json",
               "{\"format_version\": 1, \"files\": {\"hello.txt\": {\"size\": 5, "
               "\"blob_id\": \"" HELLO_GIT "\"}}}");
    found = read_repo(f);

    assert_int_equal(found.revisions[0].completeness, HC_COMPLETE);
    assert_int_equal(hc_tree_cache_bytes(hc_cache_trees(f->cache)), 0);
}

static void a_cancelled_call_ends(void **state)
{
    struct fixture *f = *state;
    struct hc_inventory inventory = inventory_of(f);
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_cached_repo found;
    char path[PATH_MAX];

    make_hello(f, COMMIT);
    for (unsigned i = 0; i < MANY; i++) {
        (void)hc_format(path, sizeof path, SNAPSHOT(COMMIT) "file-%u", i);
        make_link(f, "../../blobs/" HELLO_GIT, path);
    }
    hc_cancellation_cancel(cancellation);
    inventory.cancellation = cancellation;
    assert_int_equal(hc_inventory_read_repo(&inventory, &f->repo, &found, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
}

static void blobs_that_are_looked_at_side_by_side_count_the_same(void **state)
{
    struct fixture *f = *state;
    struct hc_inventory inventory = inventory_of(f);
    HC_AUTO(hc_workers) *workers = hc_workers_open(8, 64, &f->err);
    HC_AUTO_VALUE(hc_cached_repo) in_order = {0};
    HC_AUTO_VALUE(hc_cached_repo) side_by_side = {0};
    char path[PATH_MAX], target[PATH_MAX];

    assert_non_null(workers);
    for (unsigned i = 0; i < MANY; i++) {
        (void)hc_format(path, sizeof path, REPO "blobs/%040x", i);
        write_text(f, path, i % 3 == 0 ? "" : "text");
        (void)hc_format(path, sizeof path, SNAPSHOT(COMMIT) "file-%u", i);
        (void)hc_format(target, sizeof target, "../../blobs/%040x", i);
        make_link(f, target, path);
    }
    in_order = read_repo(f);
    inventory.workers = workers;
    inventory.is_slow = true;
    assert_int_equal(hc_inventory_read_repo(&inventory, &f->repo, &side_by_side, &f->err),
                     1);

    assert_int_equal(in_order.file_count, MANY);
    assert_int_equal(side_by_side.file_count, MANY);
    assert_int_equal(side_by_side.size_bytes, in_order.size_bytes);
    assert_int_equal(side_by_side.revisions[0].freeable_bytes,
                     in_order.revisions[0].freeable_bytes);
}

/* ---- changes meanwhile ------------------------------------------------------------- */

struct churn {
    struct fixture *f;
    atomic_bool ends;
};

/* Makes and removes the other revision, its ref and its blob, as clients and removals
 * do. */
static void *churn_run(void *ctx)
{
    struct churn *churn = ctx;
    struct fixture *f = churn->f;
    int root = hc_cache_fd(f->cache);

    while (!atomic_load(&churn->ends)) {
        write_text(f, REPO "blobs/" OTHER_BLOB, "1234567");
        make_link(f, "../../../blobs/" OTHER_BLOB, SNAPSHOT(OTHER_COMMIT) "a/b");
        make_link(f, "../../blobs/" HELLO_GIT, SNAPSHOT(OTHER_COMMIT) "hello");
        write_text(f, REPO "refs/other", OTHER_COMMIT);
        (void)unlinkat(root, REPO "refs/other", 0);
        (void)unlinkat(root, REPO "blobs/" OTHER_BLOB, 0);
        (void)unlinkat(root, SNAPSHOT(OTHER_COMMIT) "a/b", 0);
        (void)unlinkat(root, SNAPSHOT(OTHER_COMMIT) "a", AT_REMOVEDIR);
        (void)unlinkat(root, SNAPSHOT(OTHER_COMMIT) "hello", 0);
        (void)unlinkat(root, REPO "snapshots/" OTHER_COMMIT, AT_REMOVEDIR);
    }
    return NULL;
}

static void a_revision_that_stays_has_its_numbers_while_others_change(void **state)
{
    struct churn churn = {.f = *state};
    pthread_t thread;

    make_hello(churn.f, COMMIT);
    write_text(churn.f, REPO "refs/main", COMMIT);
    assert_int_equal(pthread_create(&thread, NULL, churn_run, &churn), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        HC_AUTO_VALUE(hc_cached_repo) found = {0};
        struct hc_error err;
        const struct hc_inventory inventory = inventory_of(churn.f);

        assert_int_equal(hc_inventory_read_repo(&inventory, &churn.f->repo, &found, &err),
                         1);
        assert_true(found.revision_count == 1 || found.revision_count == 2);
        assert_string_equal(found.revisions[0].commit_hash, COMMIT);
        assert_int_equal(found.revisions[0].size_bytes, 5);
        assert_int_equal(found.revisions[0].file_count, 1);
        assert_int_equal(found.revisions[0].ref_count, 1);
        assert_true(found.size_bytes == 5 || found.size_bytes == 12);
    }
    atomic_store(&churn.ends, true);
    (void)pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_repo_that_is_not_there_is_absent),
        WITH_CACHE(a_symlink_in_the_place_of_a_folder_is_not_followed),
        WITH_CACHE(leases_count_until_they_end),
        WITH_CACHE(pins_and_what_the_policy_keeps_are_told),
        WITH_CACHE(a_folder_that_is_no_commit_counts_but_is_no_revision),
        WITH_CACHE(a_pointer_that_leads_elsewhere_is_a_file_of_its_own),
        WITH_CACHE(the_atime_of_a_blob_stays_as_it_is),
        WITH_CACHE(a_listing_that_is_read_takes_no_place_in_memory),
        WITH_CACHE(a_cancelled_call_ends),
        WITH_CACHE(blobs_that_are_looked_at_side_by_side_count_the_same),
        WITH_CACHE(a_revision_that_stays_has_its_numbers_while_others_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
