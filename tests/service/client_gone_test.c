/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: an answer whose path is gone from the client's mount is asked for once
 * more, with a lease that the caller does not see, by every call that resolves; what the
 * second answer says holds, a failure as well. Calls that ask for a lease, or have no
 * mount, are made once.
 *
 * The mount of these tests has the id of the cache, and nothing else, so that each path
 * is gone; the leases on the volume tell how often a call was made.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <errno.h>
#include <hubcache-client/client.h>
#include <string.h>
#include <unistd.h>

HC_DEFINE_AUTO_VALUE(hc_client_file, hc_client_file_clear)
HC_DEFINE_AUTO_VALUE(hc_client_files, hc_client_files_clear)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)

#define LEASES "cache/.hubcache/leases"

struct fixture {
    struct world *world;
    struct hc_client *client;
    char *mount;
    struct hc_error err;
};

static void open_client(struct fixture *f, const char *mount)
{
    const struct hc_client_options options = {.server = f->world->address,
                                              .mount = mount};

    hc_client_close(f->client);
    f->client = hc_client_open(&options, &f->err);
    assert_non_null(f->client);
}

static int set_up_of(void **state, const char *const *flags)
{
    struct fixture *f = calloc(1, sizeof *f);
    HC_AUTO_FREE char *real = NULL;
    HC_AUTO_FREE char *link = NULL;

    assert_non_null(f);
    *state = f;
    (void)world_setup_empty((void **)&f->world);
    world_serve(f->world, flags);
    f->mount = temp_dir_path(f->world->dir, "mount");
    temp_dir_write(f->world->dir, "mount/other", "");
    real = temp_dir_path(f->world->dir, "cache/.hubcache");
    link = temp_dir_path(f->world->dir, "mount/.hubcache");
    assert_int_equal(symlink(real, link), 0);
    open_client(f, f->mount);
    return 0;
}

static int set_up(void **state)
{
    return set_up_of(state, (const char *const[]){NULL});
}

static int set_up_short_leases(void **state)
{
    return set_up_of(state, (const char *const[]){"--max-lease", "5s", NULL});
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    hc_client_close(f->client);
    (void)world_teardown((void **)&f->world);
    free(f->mount);
    free(f);
    return 0;
}

static bool progress_ignore(void *ctx, const struct hc_client_progress *progress)
{
    (void)ctx;
    (void)progress;
    return true;
}

/* One call of each kind; all return the same, and have `count` leases on the volume. */
static void assert_resolves(struct fixture *f, const struct hc_client_fetch *fetch,
                            enum hc_reason reason, unsigned count)
{
    static const char *const names[] = {"config.json", "weights.bin"};
    const struct hc_client_repo repo = {.id = "org/name"};
    const struct hc_client_file_request one = {repo, names[0], NULL, *fetch};
    const struct hc_client_files_request two = {repo, names, 2, NULL, false, *fetch};
    struct hc_client_snapshot_request all = {.repo = repo, .fetch = *fetch};
    HC_AUTO_VALUE(hc_client_file) file = {0};
    HC_AUTO_VALUE(hc_client_files) files = {0};
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    HC_AUTO_VALUE(hc_client_snapshot) watched = {0};
    int expected = reason == HC_OK ? 0 : -1;

    assert_int_equal(hc_client_resolve_file(f->client, &one, &file, &f->err), expected);
    assert_int_equal(f->err.reason, reason);
    assert_int_equal(hc_client_resolve_files(f->client, &two, &files, &f->err), expected);
    assert_int_equal(f->err.reason, reason);
    assert_int_equal(hc_client_resolve_snapshot(f->client, &all, &snapshot, &f->err),
                     expected);
    assert_int_equal(f->err.reason, reason);
    all.progress = progress_ignore;
    assert_int_equal(hc_client_resolve_snapshot(f->client, &all, &watched, &f->err),
                     expected);
    assert_int_equal(f->err.reason, reason);
    assert_int_equal(temp_dir_count(f->world->dir, LEASES), count);
    if (expected < 0) {
        assert_null(file.path);
        assert_null(files.items);
        assert_null(snapshot.path);
    } else if (fetch->lease_ms == 0) {
        assert_string_equal(file.lease_id, "");
        assert_string_equal(files.lease_id, "");
        assert_string_equal(snapshot.lease_id, "");
        assert_string_equal(watched.lease_id, "");
    }
}

static void each_call_is_made_once_more_with_a_lease(void **state)
{
    assert_resolves(*state, &(const struct hc_client_fetch){.warm = false}, HC_OK, 4);
}

static void a_call_that_asks_for_a_lease_is_made_once(void **state)
{
    assert_resolves(*state, &(const struct hc_client_fetch){.lease_ms = 5000}, HC_OK, 4);
}

static void a_dry_run_is_made_once(void **state)
{
    assert_resolves(*state, &(const struct hc_client_fetch){.dry_run = true}, HC_OK, 0);
}

static void without_a_mount_a_call_is_made_once(void **state)
{
    struct fixture *f = *state;

    open_client(f, NULL);
    assert_resolves(f, &(const struct hc_client_fetch){.warm = false}, HC_OK, 0);
}

static void a_path_that_is_there_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *cache = temp_dir_path(f->world->dir, "cache");

    open_client(f, cache);
    assert_resolves(f, &(const struct hc_client_fetch){.warm = false}, HC_OK, 0);
}

static void when_the_second_call_fails_its_failure_is_told(void **state)
{
    assert_resolves(*state, &(const struct hc_client_fetch){.warm = false},
                    HC_INVALID_OPTIONS, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_call_is_made_once_more_with_a_lease),
        TEST(a_call_that_asks_for_a_lease_is_made_once),
        TEST(a_dry_run_is_made_once),
        TEST(without_a_mount_a_call_is_made_once),
        TEST(a_path_that_is_there_is_asked_for_once),
        cmocka_unit_test_setup_teardown(when_the_second_call_fails_its_failure_is_told,
                                        set_up_short_leases, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
