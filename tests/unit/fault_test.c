/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: nothing visible is unfinished or wrong, whatever fails. A file and a
 * snapshot are resolved into an empty cache while the n-th system call on the volume
 * fails (full disk, I/O error) or the process dies there, for every n until none is hit.
 * Each time the failure has a reason, what can be seen is right, and the next resolve
 * succeeds and leaves nothing behind.
 */
#include "fault.h"
#include "resolver_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

enum { CALLS_MAX = 2000 };

extern char **environ;

/* ---- what is done, by this process or by one that will die
 * ------------------------------ */

static int resolve_one(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = "weights.bin"};
    struct hc_file file;

    if (hc_resolve_file(resolver, &request, NULL, &file, err) < 0)
        return -1;
    hc_file_clear(&file);
    return 0;
}

static int resolve_all(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;

    if (hc_resolve_snapshot(resolver, &request, NULL, &snapshot, err) < 0)
        return -1;
    hc_snapshot_clear(&snapshot);
    return 0;
}

typedef int (*deed)(struct hc_resolver *resolver, struct hc_error *err);

static struct hc_settings settings_of(const char *dir, const char *endpoint)
{
    return (struct hc_settings){
        .cache_dir = strdup(dir),
        .endpoint = strdup(endpoint),
        .metadata_timeout_s = 5,
        .download_timeout_s = 5,
        .max_staleness_ms = 60000,
        .snapshot_workers = 1, /* so that the n-th call is the same one each time */
    };
}

/* `fault_test --die DEED NTH DIR ENDPOINT`: 0 done, 1 failed, or killed at the n-th call.
 */
static int die(char **args)
{
    struct hc_settings settings = settings_of(args[2], args[3]);
    deed act = strcmp(args[0], "file") == 0 ? resolve_one : resolve_all;
    struct hc_resolver *resolver;
    struct hc_error err;
    int result;

    resolver = hc_resolver_open(&settings, &err);
    if (!resolver)
        return 1;
    fault_arm(FAULT_EXIT, (unsigned)strtoul(args[1], NULL, 10), 0);
    result = act(resolver, &err);
    fault_disarm();
    hc_resolver_close(resolver);
    hc_settings_clear(&settings);
    return result < 0 ? 1 : 0;
}

/* ---- what must hold afterwards
 * ---------------------------------------------------------- */

static const char *const right[] = {"{\"v\": 1}", "# model\n", "", "nested",
                                    "0123456789abcdef"};

static bool is_right(const char *path)
{
    char *content = temp_dir_read("/", path + 1);
    bool found = false;

    for (size_t i = 0; content && i < sizeof right / sizeof *right; i++)
        found = found || strcmp(content, right[i]) == 0;
    free(content);
    return found;
}

static unsigned wrong_files; /* nftw() passes nothing along */
static unsigned left_behind;

static int look_at(const char *path, const struct stat *status, int type,
                   struct FTW *where)
{
    size_t length = strlen(path);
    bool is_incomplete = length > 11 && strcmp(path + length - 11, ".incomplete") == 0;

    (void)status;
    (void)where;
    if (is_incomplete || strstr(path, "/.hubcache/transfers/"))
        left_behind += type != FTW_D;
    else if ((strstr(path, "/blobs/") || strstr(path, "/snapshots/")) && type != FTW_D)
        wrong_files += type == FTW_SLN || !is_right(path);
    return 0;
}

static void assert_nothing_visible_is_wrong(struct fixture *f)
{
    char *ref = temp_dir_read(f->dir, REPO_FOLDER "/refs/main");
    char snapshot[PATH_MAX];

    wrong_files = left_behind = 0;
    assert_int_equal(nftw(f->dir, look_at, 16, FTW_PHYS), 0);
    assert_int_equal(wrong_files, 0);
    if (ref) { /* names a commit, and one that is there: the scanner drops others */
        assert_string_equal(ref, f->commit);
        (void)snprintf(snapshot, sizeof snapshot, REPO_FOLDER "/snapshots/%s", ref);
        assert_true(temp_dir_has(f->dir, snapshot));
    }
    free(ref);
}

/* A resolver opened after the fault tidies up and gets everything right. */
static void assert_recovers(struct fixture *f, deed act)
{
    resolver_fixture_reopen(f, false);
    assert_nothing_visible_is_wrong(f);
    assert_int_equal(left_behind, 0);
    assert_int_equal(act(f->resolver, &f->err), 0);
    assert_nothing_visible_is_wrong(f);
    assert_int_equal(left_behind, 0);
}

static void start_afresh(struct fixture *f)
{
    hc_resolver_close(f->resolver);
    f->resolver = NULL;
    temp_dir_remove(f->dir);
    f->dir = temp_dir_make();
    free(f->settings.cache_dir);
    f->settings.cache_dir = strdup(f->dir);
    f->settings.snapshot_workers = 1;
    resolver_fixture_reopen(f, false);
}

static void assert_has_a_reason(const struct fixture *f, int errnum, const char *call)
{
    enum hc_reason reason = f->err.reason;

    if (errnum == ENOSPC && reason != HC_NO_SPACE)
        fail_msg("%s without space: %s: %s", call, hc_reason_name(reason),
                 f->err.message);
    if (errnum == EIO && reason != HC_CACHE_IO)
        fail_msg("%s with EIO: %s: %s", call, hc_reason_name(reason), f->err.message);
}

/* Every n-th call fails once; stops when a run makes fewer calls. */
static void fail_everywhere(struct fixture *f, deed act, int errnum)
{
    const char *hit = "";
    unsigned n;

    for (n = 1; hit && n < CALLS_MAX; n++) {
        int result;

        start_afresh(f);
        fault_arm(FAULT_ERRNO, n, errnum);
        result = act(f->resolver, &f->err);
        hit = fault_hit();
        fault_disarm();
        if (result < 0)
            assert_has_a_reason(f, errnum, hit);
        assert_nothing_visible_is_wrong(f);
        assert_int_equal(left_behind, 0);
        assert_recovers(f, act);
    }
    assert_true(n > 15 && n < CALLS_MAX);
}

static int run_until_death(struct fixture *f, const char *name, unsigned n)
{
    char program[] = "fault_test", flag[] = "--die", deed_name[16], nth[16], url[128];
    char *args[] = {program, flag, deed_name, nth, f->dir, url, NULL};
    pid_t child;
    int status;

    (void)snprintf(deed_name, sizeof deed_name, "%s", name);
    (void)snprintf(nth, sizeof nth, "%u", n);
    (void)snprintf(url, sizeof url, "%s", test_hub_endpoint(f->hub));
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, args, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void die_everywhere(struct fixture *f, const char *name, deed act)
{
    int status = -1;
    unsigned n;

    for (n = 1; status != 0 && n < CALLS_MAX; n++) {
        start_afresh(f);
        status = run_until_death(f, name, n);
        assert_true(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        assert_nothing_visible_is_wrong(f);
        assert_recovers(f, act);
    }
    assert_true(n > 15 && n < CALLS_MAX);
}

/* ---- the tests
 * -------------------------------------------------------------------------- */

static void a_file_survives_a_full_disk_at_every_call(void **state)
{
    fail_everywhere(*state, resolve_one, ENOSPC);
}

static void a_file_survives_an_io_error_at_every_call(void **state)
{
    fail_everywhere(*state, resolve_one, EIO);
}

static void a_snapshot_survives_a_full_disk_at_every_call(void **state)
{
    fail_everywhere(*state, resolve_all, ENOSPC);
}

static void a_file_survives_death_at_every_call(void **state)
{
    die_everywhere(*state, "file", resolve_one);
}

static void a_snapshot_survives_death_at_every_call(void **state)
{
    die_everywhere(*state, "snapshot", resolve_all);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        test(a_file_survives_a_full_disk_at_every_call),
        test(a_file_survives_an_io_error_at_every_call),
        test(a_snapshot_survives_a_full_disk_at_every_call),
        test(a_file_survives_death_at_every_call),
        test(a_snapshot_survives_death_at_every_call),
    };

    if (argc == 6 && strcmp(argv[1], "--die") == 0)
        return die(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
