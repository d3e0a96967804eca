/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: with a real hubcached, the client library does what its header promises:
 * it answers with paths on the caller's mount and with the server's reasons, survives
 * restarts of the server, and serves many threads at once. The server is offline; this
 * test fills its cache.
 */
#include "test.h"

#include <base/auto.h>

#include <hubcache-client/client.h>
#include <hubcache/cancellation.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMIT "0123456789012345678901234567890123456789"
#define FOLDER "models--org--name"

enum { THREADS = 8, CALLS = 50, RESTARTS = 3, SLOW_MS = 1500 };

struct fixture {
    char *dir;
    char *cache;   /* the server's mount */
    char *mount;   /* the same volume at another path */
    char *address; /* "unix:<dir>/socket" */
    pid_t server;
};

/* Turns the child into hubcached. */
static void server_exec(const struct fixture *f, int out)
{
    (void)dup2(out, STDOUT_FILENO);
    (void)execl(HUBCACHED, "hubcached", "--offline", "--listen", f->address,
                "--cache-dir", f->cache, "--local-root", f->dir, "--log-level", "error",
                (char *)NULL);
    _exit(127);
}

/* Returns when the server has printed that it listens. */
static void server_start(struct fixture *f)
{
    char line[256];
    FILE *out;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    f->server = fork();
    if (f->server == 0)
        server_exec(f, ends[1]);
    assert_true(f->server > 0);
    (void)close(ends[1]);
    out = fdopen(ends[0], "r");
    if (!out || !fgets(line, sizeof line, out))
        line[0] = '\0';
    if (out)
        (void)fclose(out);
    assert_memory_equal(line, "listening ", strlen("listening "));
}

static void server_stop(struct fixture *f)
{
    int status = 0;

    assert_int_equal(kill(f->server, SIGTERM), 0);
    assert_int_equal(waitpid(f->server, &status, 0), f->server);
    assert_int_equal(status, 0);
}

static void server_kill(const struct fixture *f)
{
    assert_int_equal(kill(f->server, SIGKILL), 0);
    assert_int_equal(waitpid(f->server, NULL, 0), f->server);
}

static int client_test_setup(void **state)
{
    static struct fixture f;

    f.dir = temp_dir_make();
    f.cache = temp_dir_path(f.dir, "cache");
    f.mount = temp_dir_path(f.dir, "elsewhere");
    assert_true(asprintf(&f.address, "unix:%s/socket", f.dir) > 0);
    temp_dir_write(f.dir, "cache/" FOLDER "/refs/main", COMMIT);
    temp_dir_write(f.dir, "cache/" FOLDER "/snapshots/" COMMIT "/config.json", "{}");
    temp_dir_write(f.dir, "local/config.json", "{}");
    assert_int_equal(symlink("cache", f.mount), 0);
    server_start(&f);
    *state = &f;
    return 0;
}

static int client_test_teardown(void **state)
{
    struct fixture *f = *state;

    server_stop(f);
    temp_dir_remove(f->dir);
    free(f->cache);
    free(f->mount);
    free(f->address);
    return 0;
}

static struct hc_client *client_open(const struct fixture *f, const char *mount)
{
    struct hc_client_options options = {.server = f->address, .mount = mount};
    struct hc_error err = {0};
    struct hc_client *client = hc_client_open(&options, &err);

    assert_non_null(client);
    return client;
}

/* Returns HC_OK and sets `path`, or returns the reason of the failure. */
static enum hc_reason client_resolve(struct hc_client *client, const char *repo,
                                     const char *name, char path[512])
{
    struct hc_client_file_request request = {.repo = {.id = repo}, .filename = name};
    struct hc_client_file file = {0};
    struct hc_error err = {0};

    if (hc_client_resolve_file(client, &request, &file, &err) < 0)
        return err.reason;
    (void)snprintf(path, 512, "%s", file.path);
    hc_client_file_clear(&file);
    return HC_OK;
}

static void a_cached_file_is_found_on_the_callers_mount(void **state)
{
    const struct fixture *f = *state;
    struct hc_client *client = client_open(f, f->mount);
    char path[512] = "";

    assert_int_equal(client_resolve(client, "org/name", "config.json", path), HC_OK);
    assert_memory_equal(path, f->mount, strlen(f->mount));
    assert_int_equal(access(path, R_OK), 0);
    hc_client_close(client);
}

static void a_mount_of_something_else_is_refused(void **state)
{
    const struct fixture *f = *state;
    char *other = temp_dir_path(f->dir, "local");
    struct hc_client *client = client_open(f, other);
    char path[512] = "";

    assert_int_equal(client_resolve(client, "org/name", "config.json", path),
                     HC_CACHE_MISMATCH);
    hc_client_close(client);
    free(other);
}

static void a_local_directorys_file_needs_no_mount(void **state)
{
    const struct fixture *f = *state;
    char *local = temp_dir_path(f->dir, "local");
    struct hc_client *client = client_open(f, "/nonexistent");
    char path[512] = "";

    assert_int_equal(client_resolve(client, local, "config.json", path), HC_OK);
    assert_memory_equal(path, local, strlen(local));
    hc_client_close(client);
    free(local);
}

static void failures_have_the_servers_reason(void **state)
{
    const struct fixture *f = *state;
    struct hc_client *client = client_open(f, NULL);
    char path[512] = "";

    assert_int_equal(client_resolve(client, "org/name", "absent.json", path),
                     HC_NOT_CACHED);
    assert_int_equal(client_resolve(client, "a--b", "x", path), HC_INVALID_REPO_ID);
    assert_int_equal(client_resolve(client, "org/name", "../x", path),
                     HC_INVALID_FILENAME);
    hc_client_close(client);
}

static void several_files_are_answered_together_or_not_at_all(void **state)
{
    const struct fixture *f = *state;
    struct hc_client *client = client_open(f, f->mount);
    const char *const names[] = {"config.json", "absent.json"};
    struct hc_client_files_request request = {.repo = {.id = "org/name"},
                                              .filenames = names,
                                              .filename_count = 2};
    struct hc_client_files files = {0};
    struct hc_error err = {0};

    assert_int_equal(hc_client_resolve_files(client, &request, &files, &err), -1);
    assert_int_equal(err.reason, HC_NOT_CACHED);
    request.allow_missing = true;
    assert_int_equal(hc_client_resolve_files(client, &request, &files, &err), 0);
    assert_int_equal(files.count, 1);
    assert_int_equal(files.missing_count, 1);
    assert_string_equal(files.missing[0], "absent.json");
    hc_client_files_clear(&files);
    hc_client_close(client);
}

static bool count_events(void *ctx, const struct hc_client_progress *progress)
{
    (void)progress;
    (*(unsigned *)ctx)++;
    return true;
}

static void a_watched_snapshot_has_the_same_answer(void **state)
{
    const struct fixture *f = *state;
    struct hc_client *client = client_open(f, f->mount);
    unsigned events = 0;
    struct hc_client_snapshot_request request = {.repo = {.id = "org/name"}};
    struct hc_client_snapshot plain = {0}, watched = {0};
    struct hc_error err = {0};

    assert_int_equal(hc_client_resolve_snapshot(client, &request, &plain, &err), 0);
    request.progress = count_events;
    request.progress_ctx = &events;
    assert_int_equal(hc_client_resolve_snapshot(client, &request, &watched, &err), 0);
    assert_string_equal(plain.path, watched.path);
    assert_string_equal(plain.commit_hash, COMMIT);
    assert_int_equal(plain.completeness, HC_CLIENT_UNKNOWN); /* no tree is on disk */
    hc_client_snapshot_clear(&plain);
    hc_client_snapshot_clear(&watched);
    hc_client_close(client);
}

static void the_client_gets_the_servers_info(void **state)
{
    const struct fixture *f = *state;
    struct hc_client *client = client_open(f, NULL);
    struct hc_client_info info = {0};
    struct hc_error err = {0};

    assert_int_equal(hc_client_get_info(client, &info, &err), 0);
    assert_true(info.offline);
    assert_string_equal(info.cache_root, f->cache);
    assert_string_not_equal(info.cache_id, "");
    hc_client_info_clear(&info);
    hc_client_close(client);
}

static struct hc_client *client_open_waiting(struct fixture *f, int64_t wait_ms)
{
    struct hc_client_options options = {.server = f->address, .wait_ms = wait_ms};
    struct hc_error err = {0};
    struct hc_client *client = hc_client_open(&options, &err);

    assert_non_null(client);
    return client;
}

/* Once without waiting, once after a few attempts. */
static void the_same_client_finds_a_server_that_restarted(void **state)
{
    struct fixture *f = *state;
    struct hc_client *client = client_open_waiting(f, -1);
    struct hc_client *patient = client_open_waiting(f, 300);
    char path[512] = "";

    assert_int_equal(client_resolve(patient, "org/name", "config.json", path), HC_OK);
    assert_int_equal(client_resolve(client, "org/name", "config.json", path), HC_OK);
    server_kill(f);
    assert_int_equal(client_resolve(client, "org/name", "config.json", path),
                     HC_SERVER_UNAVAILABLE);
    assert_int_equal(client_resolve(patient, "org/name", "config.json", path),
                     HC_SERVER_UNAVAILABLE);
    server_start(f);
    assert_int_equal(client_resolve(client, "org/name", "config.json", path), HC_OK);
    assert_int_equal(client_resolve(patient, "org/name", "config.json", path), HC_OK);
    hc_client_close(client);
    hc_client_close(patient);
}

struct caller {
    struct hc_client *client;
    atomic_bool *is_over;
    unsigned calls;
    struct hc_error failure; /* the first one */
};

static void *resolve_until_over(void *ctx)
{
    struct caller *caller = ctx;
    struct hc_client_file_request request = {.repo = {.id = "org/name"},
                                             .filename = "config.json"};

    while (!atomic_load(caller->is_over) && caller->failure.reason == HC_OK) {
        struct hc_client_file file = {0};

        if (hc_client_resolve_file(caller->client, &request, &file, &caller->failure) < 0)
            continue;
        hc_client_file_clear(&file);
        caller->calls++;
    }
    return NULL;
}

static void a_restart_of_the_server_fails_no_call(void **state)
{
    struct fixture *f = *state;
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    atomic_bool is_over = false;
    bool is_slow = false; /* a restart took longer than a client retries */

    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.client = client_open(f, NULL), .is_over = &is_over};
        assert_int_equal(pthread_create(&threads[i], NULL, resolve_until_over,
                                        &callers[i]),
                         0);
    }
    for (int i = 0; i < RESTARTS; i++) {
        int64_t start_ms = hc_monotonic_ms();

        server_stop(f);
        server_start(f);
        is_slow = is_slow || hc_monotonic_ms() - start_ms > SLOW_MS;
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        hc_client_close(callers[i].client);
    }
    for (int i = 0; i < THREADS; i++) {
        enum hc_reason reason = callers[i].failure.reason;

        if (reason != HC_OK && !(is_slow && reason == HC_SERVER_UNAVAILABLE))
            fail_msg("after %u calls: %s", callers[i].calls, callers[i].failure.message);
    }
}

static void a_call_to_an_absent_server_fails_within_the_timeout(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *nowhere = NULL;
    struct hc_client_options options = {.timeout_ms = 300};
    struct hc_client_file_request request = {.repo = {.id = "org/name"},
                                             .filename = "config.json"};
    struct hc_client_file file = {0};
    struct hc_error err = {0};
    struct hc_client *client;
    int64_t start_ms = hc_monotonic_ms();

    assert_true(asprintf(&nowhere, "unix:%s/nowhere", f->dir) > 0);
    options.server = nowhere;
    client = hc_client_open(&options, &err);
    assert_non_null(client);
    assert_int_equal(hc_client_resolve_file(client, &request, &file, &err), -1);
    assert_true(err.reason == HC_SERVER_UNAVAILABLE ||
                err.reason == HC_DEADLINE_EXCEEDED);
    assert_true(hc_monotonic_ms() - start_ms < 2000);
    hc_client_close(client);
}

static void *thread_resolve_often(void *client)
{
    char path[512] = "";
    size_t wrong = 0;

    for (int i = 0; i < CALLS; i++) {
        wrong += client_resolve(client, "org/name", "config.json", path) != HC_OK;
        wrong += client_resolve(client, "org/name", "absent.json", path) != HC_NOT_CACHED;
    }
    return (void *)wrong; /* NOLINT(performance-no-int-to-ptr): a count, no address */
}

static void many_threads_share_one_client(void **state)
{
    const struct fixture *f = *state;
    struct hc_client *client = client_open(f, f->mount);
    pthread_t threads[THREADS];
    void *wrong;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread_resolve_often, client),
                         0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    hc_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cached_file_is_found_on_the_callers_mount),
        cmocka_unit_test(a_mount_of_something_else_is_refused),
        cmocka_unit_test(a_local_directorys_file_needs_no_mount),
        cmocka_unit_test(failures_have_the_servers_reason),
        cmocka_unit_test(several_files_are_answered_together_or_not_at_all),
        cmocka_unit_test(a_watched_snapshot_has_the_same_answer),
        cmocka_unit_test(the_client_gets_the_servers_info),
        cmocka_unit_test(the_same_client_finds_a_server_that_restarted),
        cmocka_unit_test(a_restart_of_the_server_fails_no_call),
        cmocka_unit_test(a_call_to_an_absent_server_fails_within_the_timeout),
        cmocka_unit_test(many_threads_share_one_client),
    };

    return cmocka_run_group_tests(tests, client_test_setup, client_test_teardown);
}
