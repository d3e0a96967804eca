/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: what a caller leases or pins is there, and what may hold a revision holds it,
 * also when another host has changed the volume just now and the file system does not
 * show that by itself, as NFS does not for up to a minute.
 */
#include "resolver_fixture.h"

#include <hubcache/lease.h>
#include <hubcache/maintenance.h>

#include <base/auto.h>
#include <base/text.h>
#include <cache/cache.h>
#include <cache/pin.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_RESOLVER(test)                                                              \
    cmocka_unit_test_setup_teardown(test, set_up, resolver_fixture_teardown)

/* ---- a file system that remembers -------------------------------------------------- */

/* Looks at what is at and below `path` find what is at `instead` (NULL: nothing), until
 * `directory` is opened. */
static struct {
    const char *path;
    const char *instead;
    const char *directory;
} stale;

/* False: the real path counts. */
static bool stale_path(const char *path, char instead[PATH_MAX])
{
    const char *found = stale.path ? strstr(path, stale.path) : NULL;

    if (!found)
        return false;
    (void)snprintf(instead, PATH_MAX, "%s%s", stale.instead ? stale.instead : "absent",
                   found + strlen(stale.path));
    return true;
}

int __real_fstatat(int dir, const char *path, struct stat *status, int flags);
int __wrap_fstatat(int dir, const char *path, struct stat *status, int flags);

int __wrap_fstatat(int dir, const char *path, struct stat *status, int flags)
{
    char instead[PATH_MAX];

    return __real_fstatat(dir, stale_path(path, instead) ? instead : path, status, flags);
}

int __real_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);

int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
    char instead[PATH_MAX];

    if (stale.path && hc_text_ends(path, stale.directory))
        stale.path = NULL;
    return __real_openat(dir, stale_path(path, instead) ? instead : path, flags, mode);
}

static int set_up(void **state)
{
    stale.path = NULL;
    return resolver_fixture_setup(state);
}

static void move(const struct fixture *f, const char *from, const char *to)
{
    char old[PATH_MAX], new[PATH_MAX];

    (void)snprintf(old, sizeof old, "%s/%s", f->dir, from);
    (void)snprintf(new, sizeof new, "%s/%s", f->dir, to);
    assert_int_equal(rename(old, new), 0);
}

/* ---- leases ------------------------------------------------------------------------ */

static int lease_snapshot(struct fixture *f, const char *cache_path)
{
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    const struct hc_lease_terms terms = {.duration_ms = 60000, .cache_path = cache_path};
    struct hc_lease lease;

    return hc_resolver_lease_snapshot(f->resolver, &request, &terms, &lease, &f->err);
}

static int lease_file(struct fixture *f, const char *cache_path, const char *filename)
{
    const struct hc_file_request request = {.repo = {.id = "org/model"},
                                            .filename = filename};
    const struct hc_lease_terms terms = {.duration_ms = 60000, .cache_path = cache_path};
    struct hc_lease lease;

    return hc_resolver_lease_file(f->resolver, &request, &terms, &lease, &f->err);
}

static void resolve_all(struct fixture *f, struct hc_snapshot *snapshot)
{
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};

    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL, snapshot, &f->err),
                     0);
}

static void a_snapshot_that_another_host_removed_is_not_leased(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot snapshot;

    resolve_all(f, &snapshot);
    assert_int_equal(lease_snapshot(f, snapshot.cache_path), 1);
    temp_dir_write(f->dir, REPO_FOLDER "/moved/x", "");
    move(f, snapshot.cache_path, REPO_FOLDER "/moved/snapshot");
    stale = (__typeof__(stale)){snapshot.cache_path, REPO_FOLDER "/moved/snapshot",
                                "snapshots"};
    assert_int_equal(lease_snapshot(f, snapshot.cache_path), 0);
    assert_null(stale.path);
    hc_snapshot_clear(&snapshot);
}

static void a_file_whose_blob_another_host_removed_is_not_leased(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, NULL, "config.json", &file), 0);
    assert_int_equal(lease_file(f, file.cache_path, "config.json"), 1);
    temp_dir_write(f->dir, "seen", "{\"v\": 1}");
    move(f, REPO_FOLDER "/blobs", "moved");
    temp_dir_write(f->dir, REPO_FOLDER "/blobs/other", "");
    stale = (__typeof__(stale)){file.cache_path, "seen", "blobs"};
    assert_int_equal(lease_file(f, file.cache_path, "config.json"), 0);
    assert_null(stale.path);
    hc_file_clear(&file);
}

/* ---- pins -------------------------------------------------------------------------- */

static struct hc_removal_result delete_repo(struct fixture *f)
{
    static const struct hc_removal_selector all = {.repo = {.id = "org/model"}};
    const struct hc_delete_request request = {.selectors = &all, .selector_count = 1};
    struct hc_removal_result result;

    assert_int_equal(hc_resolver_delete(f->resolver, &request, NULL, &result, &f->err),
                     0);
    return result;
}

static void assert_is_held(struct fixture *f, enum hc_held_by by)
{
    struct hc_removal_result result = delete_repo(f);

    assert_int_equal(result.removed_count, 0);
    assert_int_equal(result.kept_count, 1);
    assert_int_equal(result.kept[0].held_by, by);
    hc_removal_result_clear(&result);
}

static int pin_main(struct fixture *f)
{
    const struct hc_pin_request request = {.repo = {.id = "org/model"}};
    char commit[41];

    return hc_resolver_pin(f->resolver, &request, commit, &f->err);
}

static void a_pin_of_another_host_holds(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot snapshot;

    resolve_all(f, &snapshot);
    assert_int_equal(pin_main(f), 0);
    stale = (__typeof__(stale)){".hubcache/pins/" REPO_FOLDER "/", NULL, "pins"};
    assert_is_held(f, HC_HELD_BY_PIN);
    assert_null(stale.path);
    hc_snapshot_clear(&snapshot);
}

static bool removes_when_pinned;

int __real_hc_pin_set(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, const struct hc_pin *pin, struct hc_error *err);
int __wrap_hc_pin_set(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, const struct hc_pin *pin, struct hc_error *err);

/* Another process removes the snapshot, for which it has looked for pins just before. */
int __wrap_hc_pin_set(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, const struct hc_pin *pin, struct hc_error *err)
{
    int set = __real_hc_pin_set(cache, repo, commit, pin, err);

    if (removes_when_pinned)
        assert_int_equal(renameat(hc_cache_fd(cache), REPO_FOLDER "/snapshots",
                                  hc_cache_fd(cache), "moved"),
                         0);
    return set;
}

static void a_revision_that_is_removed_meanwhile_is_not_left_pinned(void **state)
{
    struct fixture *f = *state;
    struct hc_snapshot snapshot;

    resolve_all(f, &snapshot);
    removes_when_pinned = true;
    assert_int_equal(pin_main(f), -1);
    removes_when_pinned = false;
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/pins/" REPO_FOLDER), 0);
    hc_snapshot_clear(&snapshot);
}

/* ---- what cannot be read ----------------------------------------------------------- */

static void a_revision_to_which_a_kept_one_may_be_rolled_out_is_held(void **state)
{
    static const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
    static const char record[] = ".hubcache/kept/" REPO_FOLDER "/main";
    struct fixture *f = *state;
    struct hc_removal_result result;
    struct hc_snapshot snapshot;
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, record);

    resolve_all(f, &snapshot);
    temp_dir_write(f->dir, record, "{\"commit\": ");
    assert_is_held(f, HC_HELD_BY_KEEP);
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    result = delete_repo(f);
    assert_int_equal(result.kept_count, 0);
    assert_true(result.freed_bytes > 0);
    hc_removal_result_clear(&result);
    hc_snapshot_clear(&snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RESOLVER(a_snapshot_that_another_host_removed_is_not_leased),
        WITH_RESOLVER(a_file_whose_blob_another_host_removed_is_not_leased),
        WITH_RESOLVER(a_pin_of_another_host_holds),
        WITH_RESOLVER(a_revision_that_is_removed_meanwhile_is_not_left_pinned),
        WITH_RESOLVER(a_revision_to_which_a_kept_one_may_be_rolled_out_is_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
