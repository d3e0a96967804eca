/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whatever system call fails while a blob is committed for a caller, and at
 * whatever call the process dies: a blob that is there has its record, unless only the
 * record could not be written; what is not there counts for no caller; the next commit
 * succeeds, counts once, and nothing is left over.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"
#include "fault.h"

#include <cache/fetched_totals.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define RECORD ".hubcache/fetched/models--org--name/" HELLO_GIT
#define BLOB "models--org--name/blobs/" HELLO_GIT

enum { BYTES = 5, CALLS_MIN = 8, CALLS_MAX = 500, OLD_MS = 4 * 3600 * 1000 };

static const struct hc_identity alice = {.kind = "token", .name = "alice"};
static const struct hc_identity bob = {.kind = "token", .name = "bob"};

/* Commits the blob "hello" for the caller. */
static int commit(struct fixture *f, const struct hc_identity *identity)
{
    const struct hc_blob_request request = {.blob = {f->repo.folder, HELLO_GIT},
                                            .size = BYTES,
                                            .identity = identity};
    struct hc_ingest *ingest = begin_ingest(f->cache, &request.blob, BYTES, &f->err);
    int committed = -1;

    if (ingest && hc_ingest_write(ingest, 0, "hello", BYTES, &f->err) == 0)
        committed = hc_ingest_commit(ingest, &request, &f->err);
    hc_ingest_drop(ingest);
    return committed;
}

struct sums {
    uint64_t alice, all;
};

static void sums_add(void *ctx, const struct hc_fetched_total *total)
{
    struct sums *sums = ctx;

    sums->all += total->bytes;
    if (total->identity && strcmp(total->identity->name, alice.name) == 0)
        sums->alice += total->bytes;
}

/* As this process has it, and as another one that reads all records. */
static void assert_counts(struct fixture *f, uint64_t of_alice, uint64_t all)
{
    for (int i = 0; i < 2; i++) {
        struct sums sums = {0};

        assert_int_equal(hc_fetched_totals_refresh(f->cache, 0, NULL, &f->err), 0);
        hc_fetched_totals_list(f->cache, sums_add, &sums);
        assert_int_equal(sums.alice, of_alice);
        assert_int_equal(sums.all, all);
        reopen_cache(f, false);
    }
}

/* The record of a blob is alice's, or there is none; one without a blob is no more than
 * what a sweep takes. */
static void assert_consistent(struct fixture *f)
{
    bool has_blob = temp_dir_has(f->dir, BLOB);
    HC_AUTO_VALUE(hc_fetched) fetched = {0};
    int found = hc_fetched_read(f->cache, BLOB_OF(f, HELLO_GIT), &fetched, &f->err);

    assert_in_range(found, 0, 1);
    if (found == 1)
        assert_int_equal(fetched.bytes, BYTES);
    else
        assert_false(temp_dir_has(f->dir, RECORD)); /* no half of one */
    if (has_blob)
        return;
    (void)hc_fetched_sweep(f->cache, hc_volume_now_ms(f->cache) + OLD_MS);
    assert_false(temp_dir_has(f->dir, RECORD));
}

static void remove_file(const struct fixture *f, const char *path)
{
    HC_AUTO_FREE char *full = temp_dir_path(f->dir, path);

    assert_int_equal(unlink(full), 0);
}

/* Bob's commit of the same blob has it, and leaves nothing. */
static void assert_works(struct fixture *f)
{
    assert_int_equal(commit(f, &bob), 0);
    assert_counts(f, 0, BYTES);
    remove_file(f, BLOB);
    remove_file(f, RECORD);
}

static const int failures[] = {EIO, ENOSPC, EROFS, EACCES, EDQUOT};

static void commit_with_each_call_failing(struct fixture *f, int errnum)
{
    bool was_hit = true;

    for (unsigned n = 1; was_hit; n++) {
        bool has_record, has_blob;
        int committed;

        assert_int_equal(hc_fetched_totals_refresh(f->cache, 0, NULL, &f->err), 0);
        fault_arm(FAULT_ERRNO, n, errnum);
        committed = commit(f, &alice);
        was_hit = fault_hit() != NULL;
        assert_true(was_hit || n > CALLS_MIN);
        assert_true(n < CALLS_MAX);
        fault_disarm();
        has_record = temp_dir_has(f->dir, RECORD);
        has_blob = temp_dir_has(f->dir, BLOB);
        assert_true(has_blob || committed < 0);
        if (has_record && !has_blob)
            fail_msg("call %u, errno %d: a record without a blob", n, errnum);
        assert_counts(f, has_record ? BYTES : 0, has_record ? BYTES : 0);
        assert_consistent(f);
        assert_works(f);
    }
}

static void what_could_not_be_committed_counts_for_no_caller(void **state)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        commit_with_each_call_failing(*state, failures[i]);
}

/* Whether it died. */
static bool dies_at(struct fixture *f, unsigned n)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        fault_arm(FAULT_EXIT, n, 0);
        (void)commit(f, &alice);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void wherever_a_process_dies_a_blob_has_its_record(void **state)
{
    struct fixture *f = *state;
    bool has_died = true;

    for (unsigned n = 1; has_died; n++) {
        has_died = dies_at(f, n);
        assert_true(has_died || n > CALLS_MIN);
        if (temp_dir_has(f->dir, BLOB))
            assert_counts(f, BYTES, BYTES);
        assert_consistent(f);
        assert_works(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(what_could_not_be_committed_counts_for_no_caller),
        WITH_CACHE(wherever_a_process_dies_a_blob_has_its_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
