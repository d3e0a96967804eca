/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fault_fixture.h. A process that will die is this program, started again.
 */
#include "fault_fixture.h"

#include "random.h"

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

enum { CALLS_MAX = 2000, CONTENTS_MAX = 16, CONNECTIONS = 4, SPLIT_SIZE = 256 * 1024 };

/* Every n is for the plain build; the slow ones look at memory and threads. */
#if defined(__SANITIZE_THREAD__)
enum { STRIDE = 4 };
#elif defined(__SANITIZE_ADDRESS__)
enum { STRIDE = 2 };
#else
enum { STRIDE = 1 };
#endif

extern char **environ;

/* nftw() passes nothing along. */
static struct {
    const void *bytes;
    size_t size;
} contents[CONTENTS_MAX];
static size_t content_count;
static unsigned wrong_files;
static unsigned left_behind;
static char *kept_cache;

/* ---- what is seen --------------------------------------------------------------------
 */

void fault_expect_content(const void *bytes, size_t size)
{
    assert_true(content_count < CONTENTS_MAX);
    contents[content_count].bytes = bytes;
    contents[content_count].size = size;
    content_count++;
}

static bool file_is_right(const char *path, size_t size)
{
    char *content = temp_dir_read("/", path + 1);
    bool found = false;

    for (size_t i = 0; content && i < content_count; i++)
        found = found || (contents[i].size == size &&
                          memcmp(contents[i].bytes, content, size) == 0);
    free(content);
    return found;
}

/* A pointer leads somewhere; what is there is looked at by itself. */
static bool file_is_wrong(const char *path, const struct stat *status)
{
    struct stat target;

    return S_ISLNK(status->st_mode) ? stat(path, &target) < 0
                                    : !file_is_right(path, (size_t)status->st_size);
}

static int walk_check_file(const char *path, const struct stat *status, int type,
                           struct FTW *where)
{
    size_t length = strlen(path);
    bool is_incomplete = length > 11 && strcmp(path + length - 11, ".incomplete") == 0;

    (void)where;
    if (is_incomplete || strstr(path, "/.hubcache/transfers/"))
        left_behind += type != FTW_D;
    else if ((strstr(path, "/blobs/") || strstr(path, "/snapshots/")) && type != FTW_D)
        wrong_files += file_is_wrong(path, status);
    return 0;
}

static void walk_cache(struct fixture *f)
{
    wrong_files = left_behind = 0;
    assert_int_equal(nftw(f->dir, walk_check_file, 16, FTW_PHYS), 0);
}

/* A ref names a commit, and one that is there: the scanner drops others. */
void fault_assert_nothing_wrong(struct fixture *f, const char *folder)
{
    char path[PATH_MAX];
    char *ref;

    walk_cache(f);
    assert_int_equal(wrong_files, 0);
    (void)snprintf(path, sizeof path, "%s/refs/main", folder);
    ref = temp_dir_read(f->dir, path);
    if (ref) {
        assert_string_equal(ref, f->commit);
        (void)snprintf(path, sizeof path, "%s/snapshots/%s", folder, ref);
        assert_true(temp_dir_has(f->dir, path));
    }
    free(ref);
}

unsigned fault_left_behind(struct fixture *f)
{
    walk_cache(f);
    return left_behind;
}

/* ---- caches --------------------------------------------------------------------------
 */

int fault_run(char **args)
{
    pid_t child;
    int status;

    assert_int_equal(posix_spawnp(&child, args[0], NULL, NULL, args, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* "cp -a": owners, times and hard links as they are. */
static char *cache_copy(const char *dir)
{
    char *copy = temp_dir_make();
    char *from = temp_dir_path(dir, ".");
    char program[] = "cp", option[] = "-a";
    char *args[] = {program, option, from, copy, NULL};

    assert_int_equal(fault_run(args), 0);
    free(from);
    return copy;
}

static void cache_close_all(struct fixture *f)
{
    hc_resolver_close(f->resolver);
    f->resolver = NULL;
}

void fault_start_afresh(struct fixture *f)
{
    cache_close_all(f);
    temp_dir_remove(f->dir);
    f->dir = kept_cache ? cache_copy(kept_cache) : temp_dir_make();
    free(f->settings.cache_dir);
    f->settings.cache_dir = strdup(f->dir);
    f->settings.snapshot_workers = 1; /* of tiny files the n-th call is then always one */
    f->settings.connections = CONNECTIONS;
    f->settings.min_split_size = SPLIT_SIZE;
    resolver_fixture_reopen(f, false);
}

void fault_keep_cache(struct fixture *f)
{
    cache_close_all(f);
    kept_cache = cache_copy(f->dir);
}

void fault_forget_cache(void)
{
    temp_dir_remove(kept_cache);
    kept_cache = NULL;
}

/* ---- calls that fail -----------------------------------------------------------------
 */

static void assert_has_a_reason(const struct fixture *f, int errnum, const char *call)
{
    enum hc_reason reason = errnum == EIO ? HC_CACHE_IO : HC_NO_SPACE;

    if (f->err.reason != reason)
        fail_msg("%s: %s: %s: %s", call, strerrorname_np(errnum),
                 hc_reason_name(f->err.reason), f->err.message);
}

/* All that may be left is one claim and its file, and that only until the next run. */
static void assert_little_is_left(const struct fault_action *action, const char *call)
{
    if (left_behind != 0 && !(action->may_be_left && left_behind == 2))
        fail_msg("%s: %s: %u files are left behind", action->name, call, left_behind);
}

/* A resolver opened after the fault tidies up and gets everything right. */
static void assert_recovers(struct fixture *f, const struct fault_action *action,
                            const char *call)
{
    test_hub_clear_rules(f->hub);
    resolver_fixture_reopen(f, false);
    fault_assert_nothing_wrong(f, action->folder);
    assert_little_is_left(action, call);
    if (action->act(f->resolver, &f->err) < 0)
        fail_msg("%s after %s: %s", action->name, call, f->err.message);
    fault_assert_nothing_wrong(f, action->folder);
    assert_int_equal(left_behind, 0);
}

struct fault {
    enum fault_kind kind;
    int errnum;
};

static void action_begin(struct fixture *f, const struct fault_action *action)
{
    fault_start_afresh(f);
    if (action->prepare)
        action->prepare(f);
}

static unsigned action_stride(const struct fault_action *action)
{
    return action->stride > 0 ? action->stride : STRIDE;
}

/* Another one in each run, so that each call has its turn. */
static unsigned action_first(const struct fault_action *action)
{
    struct random_source random;

    if (action->stride == 0)
        return 1;
    random_begin(&random, action->name);
    return (unsigned)random_between(&random, 1, action->stride);
}

static const char *action_fail_at(struct fixture *f, const struct fault_action *action,
                                  unsigned n, struct fault fault)
{
    const char *hit;
    int result;

    action_begin(f, action);
    fault_arm(fault.kind, n, fault.errnum);
    result = action->act(f->resolver, &f->err);
    hit = fault_hit();
    fault_disarm();
    if (result < 0)
        assert_has_a_reason(f, fault.errnum, hit);
    fault_assert_nothing_wrong(f, action->folder);
    if (!action->may_be_left)
        assert_int_equal(left_behind, 0);
    assert_recovers(f, action, hit ? hit : "nothing");
    return hit;
}

static void assert_enough(const struct fault_action *action, unsigned n)
{
    print_message("             %s: %u calls\n", action->name,
                  n - 1 - action_stride(action));
    assert_true(n > action->calls_min && n < CALLS_MAX);
}

/* Stops when a run makes fewer calls. */
static void action_fail_at_every_call(struct fixture *f,
                                      const struct fault_action *action,
                                      struct fault fault)
{
    const char *hit = "";
    unsigned n;

    for (n = action_first(action); hit && n < CALLS_MAX; n += action_stride(action))
        hit = action_fail_at(f, action, n, fault);
    assert_enough(action, n);
}

void fault_fail_everywhere(struct fixture *f, const struct fault_action *action,
                           int errnum)
{
    action_fail_at_every_call(f, action, (struct fault){FAULT_ERRNO, errnum});
}

void fault_fill_everywhere(struct fixture *f, const struct fault_action *action)
{
    action_fail_at_every_call(f, action, (struct fault){FAULT_FULL, ENOSPC});
}

/* ---- death ---------------------------------------------------------------------------
 */

static struct hc_settings fault_settings_of(const char *dir, const char *endpoint)
{
    return (struct hc_settings){
        .cache_dir = strdup(dir),
        .endpoint = strdup(endpoint),
        .metadata_timeout_s = 5,
        .download_timeout_s = 5,
        .max_staleness_ms = 60000,
        .snapshot_workers = 1,
        .connections = CONNECTIONS,
        .min_split_size = SPLIT_SIZE,
    };
}

/* `--die DEED NTH DIR ENDPOINT`: 0 done, 1 failed, or killed at the n-th call. */
static int action_die(const struct fault_action *action, char **args)
{
    struct hc_settings settings = fault_settings_of(args[1], args[2]);
    struct hc_resolver *resolver;
    struct hc_error err;
    int result;

    resolver = hc_resolver_open(&settings, &err);
    if (!resolver)
        return 1;
    fault_arm(FAULT_EXIT, (unsigned)strtoul(args[0], NULL, 10), 0);
    result = action->act(resolver, &err);
    fault_disarm();
    hc_resolver_close(resolver);
    hc_settings_clear(&settings);
    return result < 0 ? 1 : 0;
}

int fault_dies(int argc, char **argv, const struct fault_action *const actions[])
{
    if (argc != 6 || strcmp(argv[1], "--die") != 0)
        return -1;
    for (; *actions; actions++) {
        if (strcmp((*actions)->name, argv[2]) == 0)
            return action_die(*actions, argv + 3);
    }
    return 1;
}

static int action_run_until_death(struct fixture *f, const struct fault_action *action,
                                  unsigned n)
{
    char program[] = "/proc/self/exe", flag[] = "--die", name[16], nth[16], url[128];
    char *args[] = {program, flag, name, nth, f->dir, url, NULL};

    (void)snprintf(name, sizeof name, "%s", action->name);
    (void)snprintf(nth, sizeof nth, "%u", n);
    (void)snprintf(url, sizeof url, "%s", test_hub_endpoint(f->hub));
    return fault_run(args);
}

void fault_die_everywhere(struct fixture *f, const struct fault_action *action)
{
    int status = -1;
    unsigned n;

    for (n = action_first(action); status != 0 && n < CALLS_MAX;
         n += action_stride(action)) {
        action_begin(f, action);
        status = action_run_until_death(f, action, n);
        assert_true(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        fault_assert_nothing_wrong(f, action->folder);
        assert_recovers(f, action, "death");
    }
    assert_enough(action, n);
}
