/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: an order that survives power loss. What power loss takes is whatever was
 * not flushed, and any part of it: a file's bytes until that file is, a name until its
 * directory is. So each step has to be flushed before the next one that relies on it: the
 * bytes before the blob has its name, the name before a pointer names it, the pointers
 * and all directories on the way before a ref leads there, and all of it before the
 * caller is told. The test reads the calls that the library makes, in their order.
 */
#include "fault_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 1000, MIB = 1024 * 1024, SIZE = MIB + 1000 };

/* One call; paths are relative to the cache. */
struct step {
    char call[20];
    char from[PATH_MAX / 2];
    char to[PATH_MAX / 2]; /* of a rename or link */
};

static struct step steps[STEPS_MAX];
static size_t count;

static char content[SIZE];

/* ---- what was done -------------------------------------------------------------------
 */

static void copy_relative(char *to, const char *path, const char *root)
{
    size_t length = strlen(root);

    if (strncmp(path, root, length) == 0 && strchr("/", path[length]))
        path += length + (path[length] == '/');
    (void)snprintf(to, sizeof steps->to, "%s", path);
}

static void read_step(const char *root, char *line)
{
    char *from = strchr(line, ' ');
    char *to = from ? strchr(from + 1, ' ') : NULL;
    struct step *step = &steps[count++];

    assert_true(count < STEPS_MAX && from);
    *from = '\0';
    if (to)
        *to = '\0';
    (void)snprintf(step->call, sizeof step->call, "%s", line);
    copy_relative(step->from, from + 1, root);
    copy_relative(step->to, to ? to + 1 : "", root);
}

typedef int (*action_fn)(struct hc_resolver *resolver, struct hc_error *err);

/* Does it, and takes down how. */
static void record_steps(struct fixture *f, action_fn action)
{
    char root[PATH_MAX];
    char *text, *rest;

    fault_record();
    assert_int_equal(action(f->resolver, &f->err), 0);
    text = fault_recorded();
    assert_non_null(realpath(f->dir, root));
    count = 0;
    for (char *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest))
        read_step(root, line);
    free(text);
}

/* ---- what is asked of it -------------------------------------------------------------
 */

static bool step_is_call(size_t i, const char *call)
{
    return strcmp(steps[i].call, call) == 0;
}

/* A file gets a name that is seen. */
static bool step_names(size_t i, const char *folder)
{
    const char *to = steps[i].to;

    return step_is_call(i, "renameat") && strstr(to, folder) &&
           !strstr(to, ".incomplete");
}

static bool step_is_write(size_t i, const char *path)
{
    return (step_is_call(i, "write") || step_is_call(i, "pwrite") ||
            step_is_call(i, "ftruncate")) &&
           strcmp(steps[i].from, path) == 0;
}

/* Whether `path` is flushed after step `from` and before step `to`. */
static bool step_is_flushed(const char *path, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (step_is_call(i, "fsync") && strcmp(steps[i].from, path) == 0)
            return true;
    }
    return false;
}

/* That of what is in the cache root itself is "". */
static bool is_parent_flushed(const char *path, size_t from, size_t to)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];

    (void)snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) : 0, path);
    return step_is_flushed(parent, from, to);
}

/* All bytes of what gets a name in step `named` are on the disk then. */
static void assert_bytes_come_first(size_t named)
{
    size_t written = 0;

    for (size_t i = 0; i < named; i++) {
        if (step_is_write(i, steps[named].from))
            written = i;
    }
    if (!step_is_flushed(steps[named].from, written, named))
        fail_msg("'%s' has its name before its bytes are flushed", steps[named].to);
}

static void assert_blobs_come_first(size_t pointer)
{
    for (size_t i = 0; i < pointer; i++) {
        if (step_names(i, "/blobs/") && !is_parent_flushed(steps[i].to, i, pointer))
            fail_msg("'%s' comes before the name of '%s' is flushed", steps[pointer].to,
                     steps[i].to);
    }
}

/* A directory that is made on the way from the cache root to a pointer or a blob. */
static bool step_makes_folder(size_t i)
{
    const char *path = steps[i].from;

    return step_is_call(i, "mkdirat") && strstr(path, "--") && !strstr(path, "/trees") &&
           !strstr(path, "/refs") && path[0] != '.';
}

/* What gets a name in a step that an answer relies on; NULL when it does not. */
static const char *step_named(size_t i)
{
    if (step_names(i, "/snapshots/"))
        return steps[i].to;
    return step_makes_folder(i) ? steps[i].from : NULL;
}

/* `what` is about to happen, and leads to all that has a name by then. */
static void assert_names_are_flushed(size_t before, const char *what)
{
    for (size_t i = 0; i < before; i++) {
        const char *path = step_named(i);

        if (path && !is_parent_flushed(path, i, before))
            fail_msg("%s comes before the name of '%s' is flushed", what, path);
    }
}

static void assert_ref_is_in_order(size_t ref)
{
    assert_bytes_come_first(ref);
    assert_names_are_flushed(ref, steps[ref].to);
    if (!is_parent_flushed(steps[ref].to, ref, count))
        fail_msg("the name of '%s' is never flushed", steps[ref].to);
}

struct seen {
    unsigned blobs;
    unsigned pointers;
    unsigned refs;
};

static void steps_assert_order(struct seen expected)
{
    struct seen seen = {0};

    for (size_t i = 0; i < count; i++) {
        if (step_names(i, "/blobs/")) {
            assert_bytes_come_first(i);
            seen.blobs++;
        } else if (step_names(i, "/snapshots/")) {
            assert_blobs_come_first(i);
            seen.pointers++;
        } else if (step_names(i, "/refs/")) {
            assert_ref_is_in_order(i);
            seen.refs++;
        }
    }
    assert_names_are_flushed(count, "the answer");
    assert_memory_equal(&seen, &expected, sizeof seen);
}

/* ---- the tests -----------------------------------------------------------------------
 */

static int resolve_snapshot(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;

    if (hc_resolve_snapshot(resolver, &request, NULL, &snapshot, err) < 0)
        return -1;
    hc_snapshot_clear(&snapshot);
    return 0;
}

static int resolve_file_of(const char *repo, const char *filename,
                           struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_file_request request = {.repo = {.id = repo}, .filename = filename};
    struct hc_file file;

    if (hc_resolve_file(resolver, &request, NULL, &file, err) < 0)
        return -1;
    hc_file_clear(&file);
    return 0;
}

static int resolve_large_blob(struct hc_resolver *resolver, struct hc_error *err)
{
    return resolve_file_of("org/large", "large.bin", resolver, err);
}

static int resolve_fork_blob(struct hc_resolver *resolver, struct hc_error *err)
{
    return resolve_file_of("org/fork", "large.bin", resolver, err);
}

static void a_snapshot_is_flushed_step_by_step(void **state)
{
    record_steps(*state, resolve_snapshot);
    steps_assert_order((struct seen){5, 5, 1});
}

static int resolve_config(struct hc_resolver *resolver, struct hc_error *err)
{
    return resolve_file_of("org/model", "config.json", resolver, err);
}

static int resolve_nested(struct hc_resolver *resolver, struct hc_error *err)
{
    return resolve_file_of("org/model", "sub/dir/nested.txt", resolver, err);
}

static void a_file_more_under_the_same_ref_is_flushed_before_it_is_answered(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(resolve_config(f->resolver, &f->err), 0);
    record_steps(f, resolve_nested);
    steps_assert_order((struct seen){1, 1, 0});
}

static void the_rest_of_a_snapshot_is_flushed_before_it_is_answered(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(resolve_config(f->resolver, &f->err), 0);
    record_steps(f, resolve_snapshot);
    steps_assert_order((struct seen){4, 4, 0});
}

static void a_blob_in_parts_is_flushed_before_it_has_its_name(void **state)
{
    record_steps(*state, resolve_large_blob);
    steps_assert_order((struct seen){1, 1, 1});
}

static void a_duplicate_is_flushed_like_others(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(resolve_large_blob(f->resolver, &f->err), 0);
    record_steps(f, resolve_fork_blob);
    steps_assert_order((struct seen){1, 1, 1});
}

static void without_symlinks_it_is_the_same(void **state)
{
    struct fixture *f = *state;

    f->settings.no_symlinks = true;
    resolver_fixture_reopen(f, false);
    record_steps(f, resolve_snapshot);
    steps_assert_order((struct seen){5, 5, 1});
}

static int power_loss_set_up(void **state)
{
    static const char *const repos[] = {"models/org/fork", "models/org/large"};
    struct fixture *f;

    (void)resolver_fixture_setup(state);
    f = *state;
    for (size_t i = 0; i < sizeof repos / sizeof *repos; i++) {
        test_hub_add(f->hub, "large.bin", content, SIZE, true);
        test_hub_commit(f->hub, repos[i], "main", f->commit);
    }
    fault_start_afresh(f);
    return 0;
}

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, power_loss_set_up, resolver_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_snapshot_is_flushed_step_by_step),
        test(a_file_more_under_the_same_ref_is_flushed_before_it_is_answered),
        test(the_rest_of_a_snapshot_is_flushed_before_it_is_answered),
        test(a_blob_in_parts_is_flushed_before_it_has_its_name),
        test(a_duplicate_is_flushed_like_others),
        test(without_symlinks_it_is_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
