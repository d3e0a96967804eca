/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: after a verification, no caller is answered a corrupt blob, whatever
 * memory, proofs and other repos have of it: online the next resolution fetches the right
 * bytes, or the verification has done so itself, and then its path has not vanished
 * meanwhile; offline the failure says why the file is not there.
 */
#include "resolver_fixture.h"

#include <base/auto.h>
#include <hubcache/verification.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

#define CONFIG "{\"v\": 1}"

/* ---- helper functions -------------------------------------------------------------- */

static void resolve_config(struct fixture *f, enum hc_source source)
{
    struct hc_file file;

    if (fixture_resolve_file(f, "main", "config.json", &file) < 0)
        fail_msg("%s", f->err.message);
    assert_file_content(&file, CONFIG);
    assert_int_equal(file.source, source);
    hc_file_clear(&file);
}

static int resolve_snapshot(struct fixture *f, struct hc_snapshot *snapshot)
{
    const struct hc_snapshot_request request = {.repo.id = "org/model"};

    return hc_resolve_snapshot(f->resolver, &request, NULL, snapshot, &f->err);
}

static void expect_snapshot(struct fixture *f, enum hc_source source)
{
    struct hc_snapshot snapshot;

    if (resolve_snapshot(f, &snapshot) < 0)
        fail_msg("%s", f->err.message);
    assert_int_equal(snapshot.completeness, HC_COMPLETE);
    assert_int_equal(snapshot.source, source);
    hc_snapshot_clear(&snapshot);
}

/* A byte of the blob behind a pointer becomes another one, in place. */
static void corrupt_file(struct fixture *f, const char *path)
{
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, pointer_path(f->commit, path));
    HC_AUTO_CLOSE int fd = open(file, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "#", 1, 0), 1);
}

static void note_action(void *ctx, const struct hc_finding *finding)
{
    char *actions = ctx;
    size_t used = strlen(actions);

    (void)snprintf(actions + used, 4096 - used, "%s: %s\n",
                   hc_finding_kind_name(finding->kind), finding->action);
}

static struct hc_verify_result verify(struct fixture *f, bool repair, char actions[4096])
{
    const struct hc_verify_request request = {.repair = repair,
                                              .found = note_action,
                                              .ctx = actions};
    struct hc_verify_result result;

    actions[0] = '\0';
    if (hc_resolver_verify(f->resolver, &request, NULL, &result, &f->err) < 0)
        fail_msg("%s", f->err.message);
    return result;
}

/* ---- tests ------------------------------------------------------------------------- */

static void the_next_resolution_fetches_a_right_file(void **state)
{
    struct fixture *f = *state;
    char actions[4096];

    resolve_config(f, HC_SOURCE_HUB);
    resolve_config(f, HC_SOURCE_CACHE);
    corrupt_file(f, "config.json");
    assert_int_equal(verify(f, false, actions).findings[HC_CORRUPT_BLOB], 1);
    resolve_config(f, HC_SOURCE_HUB);
    resolve_config(f, HC_SOURCE_CACHE);
    assert_int_equal(verify(f, false, actions).findings[HC_CORRUPT_BLOB], 0);
}

static void a_snapshot_that_was_proved_is_completed_again(void **state)
{
    struct fixture *f = *state;
    char actions[4096];

    expect_snapshot(f, HC_SOURCE_HUB);
    expect_snapshot(f, HC_SOURCE_CACHE);
    corrupt_file(f, "weights.bin");
    assert_int_equal(verify(f, false, actions).findings[HC_CORRUPT_BLOB], 1);
    expect_snapshot(f, HC_SOURCE_HUB);
    expect_snapshot(f, HC_SOURCE_CACHE);
    assert_string_equal((verify(f, false, actions), actions), "");
}

static void a_repair_fetches_at_once(void **state)
{
    struct fixture *f = *state;
    struct hc_verify_result result;
    char actions[4096];

    expect_snapshot(f, HC_SOURCE_HUB);
    corrupt_file(f, "config.json");
    corrupt_file(f, "sub/dir/nested.txt");
    result = verify(f, true, actions);
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 2);
    assert_int_equal(result.repaired, 2);
    assert_int_equal(result.not_repaired, 0);
    assert_non_null(strstr(actions, "; fetched again\n"));
    expect_snapshot(f, HC_SOURCE_CACHE);
    resolve_config(f, HC_SOURCE_CACHE);
}

/* ---- a path that stays ------------------------------------------------------------- */

/* Which names of a directory are taken away from now on. */
static int watch_directory(const char *dir)
{
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    assert_true(watch >= 0);
    assert_true(inotify_add_watch(watch, dir, IN_DELETE | IN_MOVED_FROM) >= 0);
    return watch;
}

static void assert_kept(int watch, const char *name)
{
    char events[4096];
    ssize_t size = read(watch, events, sizeof events);

    for (ssize_t at = 0; at < size;) {
        struct inotify_event event;

        memcpy(&event, events + at, sizeof event);
        at += (ssize_t)sizeof event;
        assert_string_not_equal(event.len > 0 ? events + at : "", name);
        at += event.len;
    }
}

static void a_path_does_not_vanish_while_its_bytes_are_fetched_again(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = NULL;
    char actions[4096], blob[PATH_MAX], snapshot[PATH_MAX], *name;

    expect_snapshot(f, HC_SOURCE_HUB);
    file = temp_dir_path(f->dir, pointer_path(f->commit, "config.json"));
    assert_non_null(realpath(file, blob));
    corrupt_file(f, "config.json");
    (void)snprintf(snapshot, sizeof snapshot, "%.*s", (int)(strrchr(file, '/') - file),
                   file);
    name = strrchr(blob, '/');
    *name++ = '\0';

    HC_AUTO_CLOSE int pointers = watch_directory(snapshot);
    HC_AUTO_CLOSE int blobs = watch_directory(blob);

    assert_int_equal(verify(f, true, actions).repaired, 1);
    assert_non_null(strstr(actions, "corrupt_blob: moved to .hubcache/quarantine/"));
    assert_kept(pointers, "config.json");
    assert_kept(blobs, name);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/quarantine"), 2);
    assert_string_equal((verify(f, false, actions), actions), "");
    resolve_config(f, HC_SOURCE_CACHE);
}

static void a_repair_brings_back_what_dangles(void **state)
{
    struct fixture *f = *state;
    struct hc_verify_result result;
    HC_AUTO_FREE char *file = NULL;
    char actions[4096], blob[PATH_MAX];

    expect_snapshot(f, HC_SOURCE_HUB);
    file = temp_dir_path(f->dir, pointer_path(f->commit, "config.json"));
    assert_non_null(realpath(file, blob));
    assert_int_equal(unlink(blob), 0);
    result = verify(f, false, actions);
    assert_int_equal(result.findings[HC_DANGLING_POINTER], 1);
    assert_int_equal(result.repaired, 0);
    result = verify(f, true, actions);
    assert_int_equal(result.findings[HC_DANGLING_POINTER], 1);
    assert_int_equal(result.repaired, 1);
    assert_string_equal((verify(f, false, actions), actions), "");
}

/* A repo that has the same blob by a hard link has the same wrong bytes, under the same
 * name: a repair takes them for a duplicate that saves a download. */
static void a_repair_takes_no_wrong_bytes_from_another_repo(void **state)
{
    struct fixture *f = *state;
    struct hc_verify_result result;
    HC_AUTO_FREE char *file = NULL, *other = temp_dir_path(f->dir, "models--other--copy");
    char actions[4096], blob[PATH_MAX], link_path[PATH_MAX + 64];

    expect_snapshot(f, HC_SOURCE_HUB);
    file = temp_dir_path(f->dir, pointer_path(f->commit, "weights.bin"));
    assert_non_null(realpath(file, blob));
    temp_dir_write(f->dir, "models--other--copy/refs/x", "");
    temp_dir_write(f->dir, "models--other--copy/blobs/x", "");
    (void)snprintf(link_path, sizeof link_path, "%s/blobs/%s", other,
                   strrchr(blob, '/') + 1);
    assert_int_equal(link(blob, link_path), 0);
    corrupt_file(f, "weights.bin");
    result = verify(f, true, actions);
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 2);
    assert_int_equal(result.repaired, 1);
    assert_int_equal(verify(f, false, actions).findings[HC_CORRUPT_BLOB], 0);
    expect_snapshot(f, HC_SOURCE_CACHE);
}

static void offline_the_failure_says_that_it_was_quarantined(void **state)
{
    struct fixture *f = *state;
    struct hc_verify_result result;
    struct hc_snapshot snapshot;
    struct hc_file file;
    char actions[4096];

    expect_snapshot(f, HC_SOURCE_HUB);
    corrupt_file(f, "config.json");
    resolver_fixture_reopen(f, true);
    result = verify(f, true, actions);
    assert_int_equal(result.not_repaired, 1);
    assert_non_null(strstr(actions, "; not fetched again: "));
    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_non_null(strstr(f->err.message, "was corrupt"));
    assert_non_null(strstr(f->err.message, ".hubcache/quarantine"));
    assert_int_equal(resolve_snapshot(f, &snapshot), -1);
    assert_int_equal(f->err.reason, HC_INCOMPLETE_SNAPSHOT);
    assert_non_null(strstr(f->err.message, ".hubcache/quarantine"));
    resolver_fixture_reopen(f, false);
    expect_snapshot(f, HC_SOURCE_HUB);
}

static void a_dry_run_fetches_nothing(void **state)
{
    struct fixture *f = *state;
    char actions[4096] = "";
    const struct hc_verify_request request = {.repair = true,
                                              .dry_run = true,
                                              .found = note_action,
                                              .ctx = actions};
    struct hc_verify_result result;

    expect_snapshot(f, HC_SOURCE_HUB);
    corrupt_file(f, "config.json");
    assert_int_equal(hc_resolver_verify(f->resolver, &request, NULL, &result, &f->err),
                     0);
    assert_int_equal(result.findings[HC_CORRUPT_BLOB], 1);
    assert_int_equal(result.repaired, 0);
    assert_string_equal(actions, "corrupt_blob: \n");
    expect_snapshot(f, HC_SOURCE_CACHE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(the_next_resolution_fetches_a_right_file),
        test(a_snapshot_that_was_proved_is_completed_again),
        test(a_repair_fetches_at_once),
        test(a_path_does_not_vanish_while_its_bytes_are_fetched_again),
        test(a_repair_brings_back_what_dangles),
        test(a_repair_takes_no_wrong_bytes_from_another_repo),
        test(offline_the_failure_says_that_it_was_quarantined),
        test(a_dry_run_fetches_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
