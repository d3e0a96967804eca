/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of fault_test.c, kept for a blob that comes in parts over several
 * connections, for one that resumes the bytes of a killed process, and for one that
 * another repo of the cache has. Then threads race, and another call fails each time. The
 * order of the calls is checked as well: the power may go at any moment, and takes with
 * it whatever was not flushed.
 */
#include "cache_helper.h"
#include "fault_fixture.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define LARGE "models--org--large"
#define FORK "models--org--fork"
#define FILENAME "large.bin"

enum {
    MIB = 1024 * 1024,
    SIZE = 2 * MIB + 12345,
    PIECE = 64 * 1024,
    HAD = MIB + 100, /* bytes that the killed process had */
    SLOW_REQUESTS = 5,
    CALLS_MIN = 25
};

static char content[SIZE];
static char etag[201];

static char beginning[] = "beginning", with_holes[] = "holes";

static int resolve_file_in(const char *repo, struct hc_resolver *resolver,
                           struct hc_error *err)
{
    struct hc_file_request request = {.repo = {.id = repo}, .filename = FILENAME};
    struct hc_file file;

    if (hc_resolve_file(resolver, &request, NULL, &file, err) < 0)
        return -1;
    memcpy(etag, file.etag, sizeof etag);
    hc_file_clear(&file);
    return 0;
}

static int resolve_large_file(struct hc_resolver *resolver, struct hc_error *err)
{
    return resolve_file_in("org/large", resolver, err);
}

static int resolve_fork_file(struct hc_resolver *resolver, struct hc_error *err)
{
    return resolve_file_in("org/fork", resolver, err);
}

/* The first connection is slow enough for other ones to help it. */
static void server_slow_down(struct fixture *f)
{
    test_hub_clear_rules(f->hub);
    test_hub_rule(f->hub, &(const struct test_hub_rule){.on_cdn = true,
                                                        .times = SLOW_REQUESTS,
                                                        .fault = TEST_HUB_THROTTLE,
                                                        .number = MIB / 2});
}

#define DEED(folder_, act_)                                                              \
    .folder = (folder_), .act = (act_), .calls_min = CALLS_MIN, .may_be_left = true

static const struct fault_action parts = {.name = "parts",
                                          DEED(LARGE, resolve_large_file),
                                          .stride = 5};
static const struct fault_action rest = {.name = "rest",
                                         DEED(LARGE, resolve_large_file),
                                         .stride = 5};
static const struct fault_action holes = {.name = "holes",
                                          DEED(LARGE, resolve_large_file),
                                          .prepare = server_slow_down,
                                          .stride = 29};
static const struct fault_action duplicate = {.name = "twin",
                                              DEED(FORK, resolve_fork_file),
                                              .stride = 5};

/* ---- what was there before -----------------------------------------------------------
 */

/* A beginning, or every other piece: what is missing then takes a request for each. */
static int ingest_write_some(struct hc_ingest *ingest, bool has_holes,
                             struct hc_error *err)
{
    if (!has_holes)
        return hc_ingest_write(ingest, 0, content, HAD, err);
    for (size_t at = 0; at < SIZE; at += 2 * (size_t)PIECE) {
        size_t count = SIZE - at < PIECE ? SIZE - at : PIECE;

        if (hc_ingest_write(ingest, at, content + at, count, err) < 0)
            return -1;
    }
    return 0;
}

/* `--begin DIR ETAG HOW`: dies when half of the blob is there. */
static int begin_and_die(char **args)
{
    struct hc_error err;
    struct hc_repo repo;
    const struct hc_blob_request request = {.blob = {repo.folder, args[1]}, .size = SIZE};
    const struct hc_claim_options options = {.piece_length = PIECE};
    struct hc_ingest *ingest = NULL;
    struct hc_cache *cache = hc_cache_open(args[0], false, &err);

    if (cache && hc_repo_init(&repo, HC_REPO_MODEL, "org/large", &err) == 0 &&
        hc_ingest_begin(cache, &request, &options, &ingest, &err) == 1 &&
        ingest_write_some(ingest, strcmp(args[2], "holes") == 0, &err) == 0)
        (void)raise(SIGKILL);
    return 1;
}

/* A cache in which a process was killed that had half of the blob. */
static void keep_what_a_killed_process_leaves(struct fixture *f, char *how)
{
    char program[] = "/proc/self/exe", flag[] = "--begin";
    int status;

    assert_int_equal(resolve_large_file(f->resolver, &f->err), 0); /* for the etag */
    fault_start_afresh(f);
    status = fault_run((char *[]){program, flag, f->dir, etag, how, NULL});
    assert_true(WIFSIGNALED(status));
    assert_int_equal(fault_left_behind(f), 2);
    fault_keep_cache(f);
}

static void keep_what_another_repo_has(struct fixture *f)
{
    assert_int_equal(resolve_large_file(f->resolver, &f->err), 0);
    fault_keep_cache(f);
}

/* ---- calls that fail, and death ------------------------------------------------------
 */

static void parts_survive_a_full_disk_at_every_call(void **state)
{
    fault_fail_everywhere(*state, &parts, ENOSPC);
}

static void parts_survive_a_disk_that_is_full_from_any_call_on(void **state)
{
    fault_fill_everywhere(*state, &parts);
}

static void parts_survive_a_full_quota_at_every_call(void **state)
{
    fault_fail_everywhere(*state, &parts, EDQUOT);
}

static void parts_survive_an_io_error_at_every_call(void **state)
{
    fault_fail_everywhere(*state, &parts, EIO);
}

static void parts_survive_death_at_every_call(void **state)
{
    fault_die_everywhere(*state, &parts);
}

static void what_a_killed_process_had_survives_a_full_disk_at_every_call(void **state)
{
    keep_what_a_killed_process_leaves(*state, beginning);
    fault_fail_everywhere(*state, &rest, ENOSPC);
}

static void
what_a_killed_process_had_survives_a_disk_that_is_full_from_any_call_on(void **state)
{
    keep_what_a_killed_process_leaves(*state, beginning);
    fault_fill_everywhere(*state, &rest);
}

static void what_a_killed_process_had_survives_an_io_error_at_every_call(void **state)
{
    keep_what_a_killed_process_leaves(*state, beginning);
    fault_fail_everywhere(*state, &rest, EIO);
}

static void what_a_killed_process_had_survives_death_at_every_call(void **state)
{
    struct fixture *f = *state;

    keep_what_a_killed_process_leaves(f, beginning);
    fault_die_everywhere(f, &rest);
    fault_start_afresh(f);
    test_hub_clear_log(f->hub);
    assert_int_equal(resolve_large_file(f->resolver, &f->err), 0);
    assert_true(test_hub_bytes_sent(f->hub) < SIZE - MIB + PIECE); /* and no more */
}

static void note_most_connections(void *ctx, const struct hc_transfer *transfer)
{
    *(unsigned *)ctx = transfer->connections;
}

static void many_connections_survive_a_full_disk(void **state)
{
    struct fixture *f = *state;
    unsigned connections = 0;

    keep_what_a_killed_process_leaves(f, with_holes);
    fault_fail_everywhere(f, &holes, ENOSPC);
    fault_start_afresh(f);
    server_slow_down(f);
    hc_resolver_watch(f->resolver, note_most_connections, &connections);
    assert_int_equal(resolve_large_file(f->resolver, &f->err), 0);
    assert_true(connections > 1); /* the case to be tested */
}

static void many_connections_survive_death(void **state)
{
    keep_what_a_killed_process_leaves(*state, with_holes);
    fault_die_everywhere(*state, &holes);
}

static void what_another_repo_has_survives_a_full_disk_at_every_call(void **state)
{
    keep_what_another_repo_has(*state);
    fault_fail_everywhere(*state, &duplicate, ENOSPC);
}

static void what_another_repo_has_survives_an_io_error_at_every_call(void **state)
{
    keep_what_another_repo_has(*state);
    fault_fail_everywhere(*state, &duplicate, EIO);
}

static void what_another_repo_has_survives_death_at_every_call(void **state)
{
    struct fixture *f = *state;

    keep_what_another_repo_has(f);
    fault_die_everywhere(f, &duplicate);
    fault_start_afresh(f);
    test_hub_clear_log(f->hub);
    assert_int_equal(resolve_fork_file(f->resolver, &f->err), 0);
    assert_int_equal(test_hub_count_cdn(f->hub, NULL), 0); /* it was shared */
}

/* ---- setting up ----------------------------------------------------------------------
 */

static void large_make_content(void)
{
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)((i * 2654435761u) >> 13);
    fault_expect_content(content, SIZE);
}

static int fault_parts_set_up(void **state)
{
    struct fixture *f;

    (void)resolver_fixture_setup(state);
    f = *state;
    test_hub_add(f->hub, FILENAME, content, SIZE, true);
    test_hub_commit(f->hub, "models/org/fork", "main", f->commit);
    test_hub_add(f->hub, FILENAME, content, SIZE, true);
    test_hub_commit(f->hub, "models/org/large", "main", f->commit);
    fault_start_afresh(f);
    return 0;
}

static int fault_parts_tear_down(void **state)
{
    fault_forget_cache();
    return resolver_fixture_teardown(state);
}

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, fault_parts_set_up, fault_parts_tear_down)

int main(int argc, char **argv)
{
    static const struct fault_action *const actions[] = {&parts, &rest, &holes,
                                                         &duplicate, NULL};
    const struct CMUnitTest tests[] = {
        test(parts_survive_a_full_disk_at_every_call),
        test(parts_survive_a_disk_that_is_full_from_any_call_on),
        test(parts_survive_a_full_quota_at_every_call),
        test(parts_survive_an_io_error_at_every_call),
        test(parts_survive_death_at_every_call),
        test(what_a_killed_process_had_survives_a_full_disk_at_every_call),
        test(what_a_killed_process_had_survives_a_disk_that_is_full_from_any_call_on),
        test(what_a_killed_process_had_survives_an_io_error_at_every_call),
        test(what_a_killed_process_had_survives_death_at_every_call),
        test(many_connections_survive_a_full_disk),
        test(many_connections_survive_death),
        test(what_another_repo_has_survives_a_full_disk_at_every_call),
        test(what_another_repo_has_survives_an_io_error_at_every_call),
        test(what_another_repo_has_survives_death_at_every_call),
    };
    int died;

    large_make_content();
    if (argc == 5 && strcmp(argv[1], "--begin") == 0)
        return begin_and_die(argv + 2);
    died = fault_dies(argc, argv, actions);
    return died >= 0 ? died : cmocka_run_group_tests(tests, NULL, NULL);
}
