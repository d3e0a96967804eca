/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the files of an open snapshot are found without the server, and stay as
 * long as it is open; its lease is renewed whatever happens to the server meanwhile; when
 * the lease is lost all the same, the program is told, and never gets a path. A path that
 * is gone when an answer comes is resolved once more.
 */
#include "service_fixture.h"

#include <base/auto.h>
#include <base/cancellation.h>
#include <base/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <hubcache-client/snapshot.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

HC_DEFINE_AUTO(hc_client_open_snapshot, hc_client_snapshot_close)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)

#define LEASES "cache/.hubcache/leases"

enum { GIVE_UP_MS = 30000, SHORT_MS = 3000, LONG_MS = 600000 };

struct fixture {
    struct world *world;
    char *socket, *address, *mount;
    struct hc_client *client;
    struct hc_error err;
};

static void serve(struct fixture *f)
{
    world_serve(f->world, (const char *const[]){"--listen", f->address, NULL});
}

static int set_up(void **state)
{
    static struct fixture f;
    struct hc_client_options options = {.pod = "a-pod", .wait_ms = -1};

    if (world_setup_empty(state) < 0)
        return -1;
    f = (struct fixture){.world = *state};
    f.socket = temp_dir_path(f.world->dir, "socket");
    f.mount = temp_dir_path(f.world->dir, "cache");
    assert_true(asprintf(&f.address, "unix:%s", f.socket) > 0);
    serve(&f);
    options.server = f.address;
    options.mount = f.mount;
    f.client = hc_client_open(&options, &f.err);
    assert_non_null(f.client);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    void *world = f->world;

    hc_client_close(f->client);
    free(f->socket);
    free(f->address);
    free(f->mount);
    return world_teardown(&world);
}

static void kill_server(struct fixture *f)
{
    rpc_client_close(f->world->client);
    f->world->client = NULL;
    assert_int_equal(kill(f->world->server, SIGKILL), 0);
    (void)world_await_end(f->world);
    (void)unlink(f->socket);
}

static struct hc_client_open_snapshot *open_snapshot(struct fixture *f, int64_t lease_ms)
{
    const struct hc_client_snapshot_request request = {.repo = {.id = "org/name"},
                                                       .fetch.lease_ms = lease_ms};
    struct hc_client_open_snapshot *snapshot =
        hc_client_snapshot_open(f->client, &request, &f->err);

    if (!snapshot)
        fail_msg("%s", f->err.message);
    return snapshot;
}

static bool stat_in(DIR *dir, const char *name, struct stat *status)
{
    int fd = dirfd(dir);

    return fd >= 0 && fstatat(fd, name, status, 0) == 0;
}

/* The end of the only lease, as its file has it; 0: there is none. */
static int64_t lease_end_ms(const struct fixture *f)
{
    char path[PATH_MAX];
    HC_AUTO_FREE char *full = NULL;
    HC_AUTO_CLOSEDIR DIR *dir = NULL;
    const struct dirent *entry;
    struct stat status;

    assert_true(hc_format(path, sizeof path, LEASES "/models--org--name/%s",
                          f->world->commit) > 0);
    full = temp_dir_path(f->world->dir, path);
    dir = opendir(full);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && stat_in(dir, entry->d_name, &status))
            return (int64_t)status.st_mtim.tv_sec * 1000 +
                   status.st_mtim.tv_nsec / 1000000;
    }
    return 0;
}

static void pause_briefly(int64_t give_up_ms)
{
    const struct timespec moment = {.tv_nsec = 10000000};

    if (hc_monotonic_ms() >= give_up_ms)
        fail_msg("it has not happened in %d seconds", GIVE_UP_MS / 1000);
    (void)nanosleep(&moment, NULL);
}

static void await_renewal(const struct fixture *f, int64_t end_ms)
{
    int64_t give_up_ms = hc_monotonic_ms() + GIVE_UP_MS;

    while (lease_end_ms(f) <= end_ms)
        pause_briefly(give_up_ms);
}

static void await_loss(struct fixture *f, const struct hc_client_open_snapshot *snapshot)
{
    int64_t give_up_ms = hc_monotonic_ms() + GIVE_UP_MS;
    char path[PATH_MAX] = "";

    while (hc_client_snapshot_check(snapshot, &f->err) == 0)
        pause_briefly(give_up_ms);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_int_equal(hc_client_snapshot_file(snapshot, "config.json", path, sizeof path,
                                             &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_string_equal(path, "");
}

static void its_files_are_found_without_the_server(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_client_open_snapshot) *snapshot = open_snapshot(f, LONG_MS);
    char path[PATH_MAX], small[64];
    HC_AUTO_FREE char *expected = NULL;

    kill_server(f);
    assert_int_equal(hc_client_snapshot_file(snapshot, "config.json", path, sizeof path,
                                             &f->err),
                     1);
    assert_true(asprintf(&expected, "%s/models--org--name/snapshots/%s/config.json",
                         f->mount, f->world->commit) > 0);
    assert_string_equal(path, expected);
    assert_int_equal(access(path, R_OK), 0);
    assert_int_equal(hc_client_snapshot_file(snapshot, "no-such-file", path, sizeof path,
                                             &f->err),
                     0);
    assert_int_equal(hc_client_snapshot_file(snapshot, "config.json", small, sizeof small,
                                             &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_INVALID_FILENAME);
}

static void no_name_leads_out_of_it(void **state)
{
    static const char *const names[] = {"",   "/etc/passwd", "..",      "../x", "a/../b",
                                        "a/", "a//b",        "./a.txt", "a/.",  "a/.."};
    struct fixture *f = *state;
    HC_AUTO(hc_client_open_snapshot) *snapshot = open_snapshot(f, LONG_MS);
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(hc_client_snapshot_file(snapshot, names[i], path, sizeof path,
                                                 &f->err),
                         -1);
        assert_int_equal(f->err.reason, HC_INVALID_FILENAME);
    }
}

static void its_lease_is_renewed(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_client_open_snapshot) *snapshot = open_snapshot(f, SHORT_MS);
    int64_t end_ms = lease_end_ms(f);

    assert_true(end_ms > 0);
    await_renewal(f, end_ms);
    assert_int_equal(hc_client_snapshot_check(snapshot, &f->err), 0);
    assert_int_equal(temp_dir_count(f->world->dir, LEASES), 1);
}

static void a_restart_of_the_server_is_not_noticed(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_client_open_snapshot) *snapshot = open_snapshot(f, 2 * (int64_t)SHORT_MS);
    int64_t end_ms = lease_end_ms(f);

    kill_server(f);
    assert_int_equal(hc_client_snapshot_check(snapshot, &f->err), 0);
    serve(f);
    await_renewal(f, end_ms);
    assert_int_equal(hc_client_snapshot_check(snapshot, &f->err), 0);
}

static void one_that_an_operator_released_is_lost(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_client_open_snapshot) *snapshot = open_snapshot(f, SHORT_MS);

    assert_int_equal(
        hc_client_release_lease(f->client, hc_client_snapshot_answer(snapshot)->lease_id,
                                &f->err),
        0);
    await_loss(f, snapshot);
    assert_non_null(strstr(f->err.message, "is lost"));
}

static void without_a_server_it_is_lost_when_its_time_is_over(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_client_open_snapshot) *snapshot = open_snapshot(f, 500);

    kill_server(f);
    await_loss(f, snapshot);
}

static void closing_it_releases_its_lease(void **state)
{
    struct fixture *f = *state;
    struct hc_client_open_snapshot *one = open_snapshot(f, LONG_MS);
    struct hc_client_open_snapshot *two = open_snapshot(f, LONG_MS);

    assert_int_equal(temp_dir_count(f->world->dir, LEASES), 2);
    hc_client_snapshot_close(one);
    assert_int_equal(temp_dir_count(f->world->dir, LEASES), 1);
    hc_client_snapshot_close(two);
    assert_int_equal(temp_dir_count(f->world->dir, LEASES), 0);
}

static unsigned long own_threads(void)
{
    HC_AUTO_FCLOSE FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long count = 0;

    assert_non_null(status);
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, "Threads:", 8) == 0)
            count = strtoul(line + 8, NULL, 10);
    }
    return count;
}

/* gRPC has threads of its own, some of which come and go. */
static void all_snapshots_of_a_client_have_one_thread(void **state)
{
    enum { SNAPSHOTS = 20 };
    struct fixture *f = *state;
    struct hc_client_open_snapshot *snapshots[SNAPSHOTS];
    unsigned long before;

    snapshots[0] = open_snapshot(f, LONG_MS);
    before = own_threads();
    for (int i = 1; i < SNAPSHOTS; i++)
        snapshots[i] = open_snapshot(f, LONG_MS);
    assert_true(own_threads() < before + SNAPSHOTS / 2);
    for (int i = 0; i < SNAPSHOTS; i++)
        hc_client_snapshot_close(snapshots[i]);
    assert_int_equal(temp_dir_count(f->world->dir, LEASES), 0);
}

static void a_lease_of_more_than_the_server_allows_opens_nothing(void **state)
{
    struct fixture *f = *state;
    const struct hc_client_snapshot_request request = {
        .repo = {.id = "org/name"},
        .fetch.lease_ms = (int64_t)48 * 3600 * 1000,
    };

    assert_null(hc_client_snapshot_open(f->client, &request, &f->err));
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
    assert_non_null(strstr(f->err.message, "--max-lease"));
}

#ifdef SLOW_LIBRARY
/* The server remembers where the snapshot is, and another client removes it. */
static void a_path_that_is_gone_is_resolved_once_more(void **state)
{
    struct fixture *f = *state;
    const struct hc_client_snapshot_request request = {.repo = {.id = "org/name"}};
    HC_AUTO_VALUE(hc_client_snapshot) first = {0};
    HC_AUTO_VALUE(hc_client_snapshot) second = {0};
    HC_AUTO_FREE char *away = temp_dir_path(f->world->dir, "away");

    kill_server(f);
    f->world->preload = SLOW_LIBRARY;
    assert_int_equal(setenv("SLOW_VOLUME", f->mount, 1), 0); /* NOLINT */
    world_serve(f->world, (const char *const[]){"--listen", f->address, "--confirm-after",
                                                "60s", NULL});
    assert_int_equal(unsetenv("SLOW_VOLUME"), 0); /* NOLINT */
    for (int i = 0; i < 3; i++) {
        hc_client_snapshot_clear(&first);
        assert_int_equal(hc_client_resolve_snapshot(f->client, &request, &first, &f->err),
                         0);
    }
    assert_int_equal(rename(first.path, away), 0);
    assert_int_equal(hc_client_resolve_snapshot(f->client, &request, &second, &f->err),
                     0);
    assert_int_equal(access(second.path, F_OK), 0);
    assert_string_equal(second.lease_id, "");
}
#endif

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(its_files_are_found_without_the_server),
        test(no_name_leads_out_of_it),
        test(its_lease_is_renewed),
        test(a_restart_of_the_server_is_not_noticed),
        test(one_that_an_operator_released_is_lost),
        test(without_a_server_it_is_lost_when_its_time_is_over),
        test(closing_it_releases_its_lease),
        test(all_snapshots_of_a_client_have_one_thread),
        test(a_lease_of_more_than_the_server_allows_opens_nothing),
#ifdef SLOW_LIBRARY
        test(a_path_that_is_gone_is_resolved_once_more),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
