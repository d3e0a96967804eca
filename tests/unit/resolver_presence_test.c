/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whether the volume is quick, or slow and looked at side by side, the same
 * files are missing. A proof saves a slow volume the looks at the files; what it cannot
 * show, bytes that were lost within a blob, the hourly look at each file does.
 */
#include "random.h"
#include "resolver_fixture.h"

#include <base/cancellation.h>
#include <cache/memo.h>
#include <cache/proof.h>
#include <cache/tree_cache.h>
#include <resolver/resolver.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, presence_setup, resolver_fixture_teardown)

#define MANY "models--org--many"
#define COMMIT "1234567890123456789012345678901234567890"
#define PROOF ".hubcache/proofs/" MANY "/" COMMIT

enum { FILES = 200, PER_DIRECTORY = 30, LOOKS = 300, PATIENCE_MS = 30 * 1000 };

static const struct hc_snapshot_request request = {
    .repo = {.id = "org/many", .revision = COMMIT},
    .options = {.local_files_only = true, .dry_run = true},
};

/* ---- the snapshot ------------------------------------------------------------------ */

static void format_blob(char path[128], unsigned number)
{
    (void)snprintf(path, 128, MANY "/blobs/%040x", number + 1);
}

static void format_pointer(char path[128], unsigned number)
{
    (void)snprintf(path, 128, MANY "/snapshots/" COMMIT "/d-%u/file-%03u",
                   number / PER_DIRECTORY, number);
}

static void write_file(const struct fixture *f, unsigned number)
{
    char path[128], target[128];
    HC_AUTO_FREE char *pointer = NULL;

    format_blob(path, number);
    temp_dir_write(f->dir, path, "bytes");
    format_pointer(path, number);
    temp_dir_write(f->dir, path, "");
    pointer = temp_dir_path(f->dir, path);
    (void)snprintf(target, sizeof target, "../../../blobs/%040x", number + 1);
    assert_int_equal(unlink(pointer), 0);
    assert_int_equal(symlink(target, pointer), 0);
}

static void write_listing(const struct fixture *f)
{
    HC_AUTO_FREE char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    (void)fputs("{\"format_version\": 1, \"files\": {", out);
    for (unsigned i = 0; i < FILES; i++)
        (void)fprintf(out, "%s\"d-%u/file-%03u\": {\"size\": 5, \"blob_id\": \"%040x\"}",
                      i ? ", " : "", i / PER_DIRECTORY, i, i + 1);
    (void)fputs("}}", out);
    (void)fclose(out);
    temp_dir_write(f->dir, MANY "/trees/" COMMIT ".json", text);
}

static int presence_setup(void **state)
{
    struct fixture *f;

    assert_int_equal(resolver_fixture_setup(state), 0);
    f = *state;
    write_listing(f);
    for (unsigned i = 0; i < FILES; i++)
        write_file(f, i);
    resolver_fixture_reopen(f, true);
    return 0;
}

static struct hc_memo *memo_of(const struct fixture *f)
{
    return hc_cache_memo(f->resolver->cache);
}

/* So slow that the looks of a test, which are quick, do not change it; and nothing is
 * answered from memory. */
static void make_volume_slow(const struct fixture *f)
{
    hc_memo_set_interval(memo_of(f), 0);
    for (int i = 0; i < LOOKS; i++) {
        struct hc_memo_look look = hc_memo_begin_look(memo_of(f), "speed");

        look.began_ns -= INT64_C(1000) * 1000 * 1000 * 1000 * 1000;
        hc_memo_store_absent(memo_of(f), &look);
    }
    assert_true(hc_resolver_is_volume_slow(f->resolver));
}

static struct hc_snapshot look(struct fixture *f)
{
    struct hc_snapshot snapshot;

    assert_int_equal(hc_resolve_snapshot_cached(f->resolver, &request, &snapshot,
                                                &f->err),
                     1);
    assert_int_equal(snapshot.file_count, FILES);
    return snapshot;
}

static unsigned count_missing(struct fixture *f)
{
    struct hc_snapshot snapshot = look(f);
    unsigned missing = snapshot.missing_total;

    assert_int_equal(snapshot.completeness, missing ? HC_PARTIAL : HC_COMPLETE);
    hc_snapshot_clear(&snapshot);
    return missing;
}

/* As a server writes it that has looked at all, some seconds from now. */
static void write_proof(const struct fixture *f)
{
    const struct hc_parallel looks = {.workers = f->resolver->lookup_workers};
    HC_AUTO(hc_tree) *tree = NULL;
    struct hc_proof *proof;
    struct hc_repo repo;
    struct hc_error err;

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, "org/many", &err), 0);
    assert_int_equal(hc_tree_load(f->resolver->cache, &repo, COMMIT, NULL, &tree, &err),
                     1);
    proof =
        hc_proof_open(f->resolver->cache,
                      &(const struct hc_repo_file){&repo, COMMIT, NULL}, tree, &looks);
    assert_non_null(proof);
    for (size_t i = 0; i < FILES; i++)
        hc_proof_set(proof, i, true);
    hc_proof_save(proof, (int64_t)time(NULL) * 1000 + 10 * 1000);
    hc_proof_close(proof);
    assert_true(temp_dir_has(f->dir, PROOF));
}

static void truncate_blob(const struct fixture *f, unsigned number)
{
    char path[128];
    HC_AUTO_FREE char *blob = NULL;

    format_blob(path, number);
    blob = temp_dir_path(f->dir, path);
    assert_int_equal(truncate(blob, 3), 0);
}

/* ---- tests ------------------------------------------------------------------------- */

static void remove_at_random(const struct fixture *f, struct random_source *random)
{
    unsigned number = (unsigned)random_between(random, 0, FILES - 1);
    char path[128];
    HC_AUTO_FREE char *victim = NULL;

    if (random_between(random, 0, 1))
        format_blob(path, number);
    else
        format_pointer(path, number);
    victim = temp_dir_path(f->dir, path);
    (void)unlink(victim);
}

static void on_a_slow_volume_the_same_files_are_missing(void **state)
{
    struct fixture *f = *state;
    struct random_source random;

    random_begin(&random, "missing files");
    assert_int_equal(count_missing(f), 0);
    for (int i = 0; i < 10; i++) {
        struct hc_snapshot quick, slow;

        for (int k = 0; k < i; k++)
            remove_at_random(f, &random);
        resolver_fixture_reopen(f, true);
        quick = look(f);
        make_volume_slow(f);
        slow = look(f);
        assert_int_equal(slow.missing_total, quick.missing_total);
        for (size_t k = 0; k < quick.missing_listed; k++)
            assert_string_equal(slow.missing[k], quick.missing[k]);
        assert_int_equal(slow.size_bytes, quick.size_bytes);
        hc_snapshot_clear(&quick);
        hc_snapshot_clear(&slow);
    }
}

static struct hc_files look_at_files(struct fixture *f, struct hc_strings *names)
{
    const struct hc_files_request all = {.repo = {.id = "org/many", .revision = COMMIT},
                                         .filenames = (const char *const *)names->items,
                                         .filename_count = names->count,
                                         .allow_missing = true,
                                         .options.local_files_only = true};
    struct hc_files files;

    assert_int_equal(hc_resolve_files_cached(f->resolver, &all, &files, &f->err), 1);
    return files;
}

static void on_a_slow_volume_the_same_files_are_found(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_strings) names = {0};
    struct random_source random;
    struct hc_files quick, slow;

    random_begin(&random, "found files");
    for (unsigned i = 0; i < FILES; i++) {
        char path[128];

        format_pointer(path, i);
        assert_int_equal(hc_strings_add(&names, strstr(path, "d-"), &f->err), 0);
        if (i % 10 == 0)
            remove_at_random(f, &random);
    }
    quick = look_at_files(f, &names);
    make_volume_slow(f);
    slow = look_at_files(f, &names);
    assert_true(quick.missing_count > 0);
    assert_int_equal(slow.count, quick.count);
    assert_int_equal(slow.missing_count, quick.missing_count);
    for (size_t i = 0; i < quick.count; i++)
        assert_string_equal(slow.items[i].path, quick.items[i].path);
    for (size_t i = 0; i < quick.missing_count; i++)
        assert_string_equal(slow.missing[i], quick.missing[i]);
    hc_files_clear(&quick);
    hc_files_clear(&slow);
}

static size_t remembered_count(const struct fixture *f)
{
    size_t entries, bytes;

    hc_memo_count(memo_of(f), &entries, &bytes);
    return entries;
}

/* Each look at a file is remembered, so the count tells how many there were. */
static void a_proof_saves_the_looks_at_the_files(void **state)
{
    struct fixture *f = *state;

    write_proof(f);
    resolver_fixture_reopen(f, true);
    make_volume_slow(f);
    assert_int_equal(count_missing(f), 0);
    assert_true(remembered_count(f) < 10);
}

static void patterns_are_answered_by_the_same_proof(void **state)
{
    static const char *const patterns[] = {"d-[0-2]/*"};
    struct fixture *f = *state;
    struct hc_snapshot_request some = request;
    struct hc_snapshot snapshot;

    write_proof(f);
    resolver_fixture_reopen(f, true);
    make_volume_slow(f);
    some.allow_patterns = patterns;
    some.allow_count = 1;
    assert_int_equal(hc_resolve_snapshot_cached(f->resolver, &some, &snapshot, &f->err),
                     1);
    assert_int_equal(snapshot.completeness, HC_COMPLETE);
    assert_int_equal(snapshot.file_count, 3 * PER_DIRECTORY);
    hc_snapshot_clear(&snapshot);
    assert_true(remembered_count(f) < 10);
}

static void on_a_quick_volume_each_file_is_looked_at(void **state)
{
    struct fixture *f = *state;

    write_proof(f);
    truncate_blob(f, 77);
    assert_int_equal(count_missing(f), 1);
    assert_true(remembered_count(f) >= FILES - 1);
}

static void what_a_proof_cannot_show_the_hourly_look_does(void **state)
{
    struct fixture *f = *state;
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, PROOF);
    const int64_t end_ms = hc_monotonic_ms() + PATIENCE_MS;

    write_proof(f);
    truncate_blob(f, 77);
    make_volume_slow(f);
    assert_int_equal(count_missing(f), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    assert_int_equal(count_missing(f), 0); /* and it is looked at in the background */
    while (count_missing(f) == 0 && hc_monotonic_ms() < end_ms)
        (void)nanosleep(&(const struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(count_missing(f), 1);
}

static void a_volume_that_refuses_proofs_is_looked_at(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/proofs", "a file in the place of the directory");
    make_volume_slow(f);
    assert_int_equal(count_missing(f), 0);
    truncate_blob(f, 77);
    assert_int_equal(count_missing(f), 1);
}

static void a_cancelled_caller_gets_no_answer(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    struct hc_snapshot snapshot;

    make_volume_slow(f);
    hc_cancellation_cancel(cancellation);
    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, cancellation, &snapshot,
                                         &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(on_a_slow_volume_the_same_files_are_missing),
        test(on_a_slow_volume_the_same_files_are_found),
        test(a_proof_saves_the_looks_at_the_files),
        test(patterns_are_answered_by_the_same_proof),
        test(on_a_quick_volume_each_file_is_looked_at),
        test(what_a_proof_cannot_show_the_hourly_look_does),
        test(a_volume_that_refuses_proofs_is_looked_at),
        test(a_cancelled_caller_gets_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
