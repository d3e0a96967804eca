/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whichever system call of a roll-out is the process's last, or fails, the
 * ref names a commit of which every file is there, and the next roll-out completes the
 * new one. What a crash leaves is no record that a reader cannot do without.
 */
#include "fault.h"
#include "resolver_fixture.h"

#include <hubcache/keep.h>

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { CALLS_MIN = 20, CALLS_MAX = 2000 };

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

extern char **environ;

static char *policy_dir;

static int setup(void **state)
{
    struct fixture *f;

    (void)resolver_fixture_setup(state);
    f = *state;
    policy_dir = temp_dir_make();
    temp_dir_write(policy_dir, "policy.yaml",
                   "version: 1\ndefault: allow\nkeep: [{repo: org/model}]\n");
    f->settings.policy_file = temp_dir_path(policy_dir, "policy.yaml");
    f->settings.snapshot_workers = 1;
    f->settings.connections = 2;
    resolver_fixture_reopen(f, false);
    return 0;
}

static int teardown(void **state)
{
    temp_dir_remove(policy_dir);
    return resolver_fixture_teardown(state);
}

/* Asks, and fetches what is behind. */
static int keep_roll_out(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_snapshot snapshot = {0};
    struct hc_keep **items;
    size_t count;
    int result;

    if (hc_keep_list(resolver, &items, &count, err) < 0)
        return -1;
    result = hc_keep_ask(resolver, items[0], 1, NULL, err);
    if (result > 0)
        result = hc_keep_fetch(resolver, items[0], NULL, &snapshot, err);
    hc_snapshot_clear(&snapshot);
    for (size_t i = 0; i < count; i++)
        hc_keep_release(items[i]);
    free(items);
    return result < 0 ? -1 : 0;
}

/* The version of the files that the ref names; all of them are there. */
static unsigned version_on_volume(struct fixture *f)
{
    char *ref = temp_dir_read(f->dir, REPO_FOLDER "/refs/main");
    char *a, *b;
    unsigned version;

    assert_non_null(ref);
    a = temp_dir_read(f->dir, pointer_path(ref, "a.txt"));
    b = temp_dir_read(f->dir, pointer_path(ref, "dir/b.txt"));
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(a, b);
    version = (unsigned)strtoul(a, NULL, 10);
    free(ref);
    free(a);
    free(b);
    return version;
}

static void commit_version(struct fixture *f, unsigned version)
{
    char text[16], commit[41];

    (void)snprintf(text, sizeof text, "%u\n", version);
    test_hub_add(f->hub, "a.txt", text, strlen(text), false);
    test_hub_add(f->hub, "dir/b.txt", text, strlen(text), false);
    test_hub_commit(f->hub, "models/org/model", "main", commit);
}

/* The process after the crash. */
static void assert_completes(struct fixture *f, unsigned version)
{
    resolver_fixture_reopen(f, false);
    if (keep_roll_out(f->resolver, &f->err) < 0)
        fail_msg("version %u: %s", version, f->err.message);
    assert_int_equal(version_on_volume(f), version);
}

/* ---- a process that dies ----------------------------------------------------------- */

/* `--die NTH DIR ENDPOINT POLICY`: 0 done, 1 failed, or killed at the n-th call. */
static int program_die(char **args)
{
    struct hc_settings settings = {.cache_dir = strdup(args[1]),
                                   .endpoint = strdup(args[2]),
                                   .policy_file = strdup(args[3]),
                                   .metadata_timeout_s = 5,
                                   .download_timeout_s = 5,
                                   .max_staleness_ms = 60000,
                                   .snapshot_workers = 1,
                                   .connections = 2};
    struct hc_error err;
    struct hc_resolver *resolver = hc_resolver_open(&settings, &err);
    int result;

    if (!resolver)
        return 1;
    fault_arm(FAULT_EXIT, (unsigned)strtoul(args[0], NULL, 10), 0);
    result = keep_roll_out(resolver, &err);
    fault_disarm();
    hc_resolver_close(resolver);
    hc_settings_clear(&settings);
    return result < 0 ? 1 : 0;
}

static int run_until_death(struct fixture *f, unsigned n)
{
    char program[] = "/proc/self/exe", flag[] = "--die", nth[16], url[128];
    char *args[] = {program, flag, nth, f->dir, url, f->settings.policy_file, NULL};
    pid_t child;
    int status;

    (void)snprintf(nth, sizeof nth, "%u", n);
    (void)snprintf(url, sizeof url, "%s", test_hub_endpoint(f->hub));
    assert_int_equal(posix_spawnp(&child, args[0], NULL, NULL, args, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void a_roll_out_survives_death_at_every_call(void **state)
{
    struct fixture *f = *state;
    unsigned version = 1, n, seen;
    int status = -1;

    commit_version(f, version);
    assert_completes(f, version);
    for (n = 1; status != 0 && n < CALLS_MAX; n += STRIDE) {
        commit_version(f, ++version);
        status = run_until_death(f, n);
        assert_true(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        seen = version_on_volume(f);
        assert_true(seen == version || seen == version - 1);
        assert_completes(f, version);
    }
    print_message("             %u calls\n", n - 1 - STRIDE);
    assert_true(n > CALLS_MIN && n < CALLS_MAX);
}

static void a_roll_out_survives_a_failure_of_every_call(void **state)
{
    static const int errnums[] = {ENOSPC, EIO};
    struct fixture *f = *state;
    unsigned version = 1, seen;

    commit_version(f, version);
    assert_completes(f, version);
    for (size_t i = 0; i < sizeof errnums / sizeof *errnums; i++) {
        const char *hit = "";

        for (unsigned n = 1; hit && n < CALLS_MAX; n += 6 * STRIDE) {
            commit_version(f, ++version);
            fault_arm(FAULT_ERRNO, n, errnums[i]);
            (void)keep_roll_out(f->resolver, &f->err);
            hit = fault_hit();
            fault_disarm();
            seen = version_on_volume(f);
            assert_true(seen == version || seen == version - 1);
            assert_completes(f, version);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_roll_out_survives_death_at_every_call, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_roll_out_survives_a_failure_of_every_call,
                                        setup, teardown),
    };

    if (argc == 6 && strcmp(argv[1], "--die") == 0)
        return program_die(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
