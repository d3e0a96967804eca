/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: one process at a time holds the claim of a blob. The sweep removes what a
 * crashed transfer has left, unless it is enough to be resumed (ingest_test) and no other
 * download needs the space; it keeps what a running transfer uses, and no claim, however
 * forged, makes it touch anything else.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/text.h>
#include <claim/claim.h>
#include <claim/sweep.h>
#include <store/ingest.h>

#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define FOLDER "models--org--name"
#define CLAIMS ".hubcache/transfers/" FOLDER
#define CLAIM CLAIMS "/" HELLO_GIT
#define INCOMPLETE HELLO_GIT ".01234567.incomplete"

static int64_t claim_test_now_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

static unsigned claim_sweep_after(struct fixture *f, int64_t ms)
{
    return hc_claim_sweep(f->cache, claim_test_now_ms() + ms);
}

/* NULL when another process, or another claim of this one, holds it. */
static struct hc_claim *acquire_hello(struct fixture *f, uint64_t size,
                                      const char *stalled)
{
    const struct hc_blob_request request = {.blob = *BLOB_OF(f, HELLO_GIT), .size = size};
    const struct hc_claim_options options = {.stalled = stalled};
    struct hc_claim *claim = NULL;
    int result = hc_claim_acquire(f->cache, &request, &options, &claim, &f->err);

    assert_int_equal(result, claim ? 1 : 0);
    return claim;
}

static const char *partial_name_of(const struct hc_claim *claim)
{
    return strrchr(hc_claim_partial_path(claim), '/') + 1;
}

/* A claim of another host, with a heartbeat of now. */
static void claim_of_another_host(struct fixture *f, const char *incomplete)
{
    char text[512];

    assert_true(
        hc_format(text, sizeof text,
                  "host=elsewhere.invalid\npid=1\nstart=1\nincomplete=%s\nbytes=0\n",
                  incomplete) > 0);
    temp_dir_write(f->dir, CLAIM, text);
}

/* A process of this host begins a transfer and is killed. */
static void crash_in_mid_transfer(struct fixture *f)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct hc_ingest *ingest =
            begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), 5, &f->err);

        _exit(ingest && hc_ingest_write(ingest, 0, "he", 2, &f->err) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_claim_names_its_owner_and_its_partial_file(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_claim) *claim = acquire_hello(f, 5, NULL);
    HC_AUTO_FREE char *text = temp_dir_read(f->dir, CLAIM);
    char pid[32];

    assert_non_null(claim);
    assert_non_null(text);
    assert_true(hc_format(pid, sizeof pid, "\npid=%d\n", getpid()) > 0);
    assert_true(hc_text_starts(text, "host="));
    assert_non_null(strstr(text, pid));
    assert_non_null(strstr(text, "\nstart="));
    assert_null(strstr(text, "\nstart=0\n"));
    assert_non_null(strstr(text, partial_name_of(claim)));
    assert_true(hc_text_ends(text, "\nsize=5\nbytes=0\nranges=\n"));
}

static void a_dropped_claim_is_removed(void **state)
{
    struct fixture *f = *state;

    hc_claim_drop(acquire_hello(f, 5, NULL));
    assert_false(temp_dir_has(f->dir, CLAIM));
    hc_claim_drop(NULL);
}

static void a_held_claim_refuses_a_second_one(void **state)
{
    struct fixture *f = *state;
    struct hc_claim *one = acquire_hello(f, 5, NULL);

    assert_non_null(one);
    assert_null(acquire_hello(f, 5, NULL));
    hc_claim_drop(one);
    one = acquire_hello(f, 5, NULL);
    assert_non_null(one);
    hc_claim_drop(one);
}

static void a_superseded_claim_is_removed_by_its_owner(void **state)
{
    struct fixture *f = *state;
    struct hc_claim *one = acquire_hello(f, 5, NULL);
    struct hc_claim *two = acquire_hello(f, 5, partial_name_of(one));

    assert_non_null(two);
    assert_int_equal(temp_dir_count(f->dir, CLAIMS), 2);
    hc_claim_drop(one);
    assert_true(temp_dir_has(f->dir, CLAIM));
    assert_int_equal(temp_dir_count(f->dir, CLAIMS), 1);
    hc_claim_drop(two);
    assert_int_equal(temp_dir_count(f->dir, CLAIMS), 0);
}

static void a_superseded_claim_is_swept_when_its_owner_is_gone(void **state)
{
    struct fixture *f = *state;
    struct hc_claim *claim;

    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "he");
    claim_of_another_host(f, INCOMPLETE);
    claim = acquire_hello(f, 5, INCOMPLETE);
    assert_non_null(claim);
    assert_int_equal(claim_sweep_after(f, 0), 0);
    assert_int_equal(temp_dir_count(f->dir, CLAIMS), 2);
    assert_int_equal(claim_sweep_after(f, HC_HEARTBEAT_TIMEOUT_MS + 10000), 1);
    assert_false(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
    assert_int_equal(temp_dir_count(f->dir, CLAIMS), 1);
    assert_true(temp_dir_has(f->dir, CLAIM));
    hc_claim_drop(claim);
}

static void a_heartbeat_soon_after_another_writes_nothing(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_claim) *claim = acquire_hello(f, 5, NULL);
    HC_AUTO_FREE char *text = NULL;

    hc_pieces_add_arrived(hc_claim_pieces(claim), 0, 3);
    hc_claim_heartbeat(claim);
    text = temp_dir_read(f->dir, CLAIM);
    assert_non_null(text);
    assert_true(hc_text_ends(text, "\nbytes=0\nranges=\n"));
}

static void a_volume_that_refuses_claims_fails_no_transfer(void **state)
{
    struct fixture *f = *state;
    struct hc_claim *claim;

    make_cache_read_only(f);
    claim = acquire_hello(f, 5, NULL);
    make_cache_writable(f);
    assert_non_null(claim);
    hc_claim_heartbeat(claim);
    assert_false(hc_claim_abandon(claim));
    hc_claim_drop(claim);
}

static void a_mebibyte_causes_a_heartbeat(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_claim) *claim = acquire_hello(f, 4 << 20, NULL);
    HC_AUTO_FREE char *text = NULL;

    hc_pieces_add_arrived(hc_claim_pieces(claim), 0, 1 << 20);
    hc_claim_heartbeat(claim);
    text = temp_dir_read(f->dir, CLAIM);
    assert_non_null(text);
    assert_true(hc_text_ends(text, "\nbytes=1048576\nranges=0-1048576\n"));
}

static void a_crashed_transfer_of_the_same_host_is_swept_at_once(void **state)
{
    struct fixture *f = *state;

    crash_in_mid_transfer(f);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 1);
    assert_int_equal(claim_sweep_after(f, 0), 1);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 0);
    assert_false(temp_dir_has(f->dir, CLAIM));
}

static void a_new_transfer_replaces_a_crashed_one_of_the_same_blob(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    crash_in_mid_transfer(f);
    ingest = begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), 5, &f->err);
    assert_non_null(ingest);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 1);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 0);
}

static void the_sweep_keeps_a_running_transfer(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), 5, &f->err);

    assert_non_null(ingest);
    assert_int_equal(claim_sweep_after(f, 10 * (int64_t)HC_HEARTBEAT_TIMEOUT_MS), 0);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 1);
    assert_true(temp_dir_has(f->dir, CLAIM));
    hc_ingest_drop(ingest);
}

static void another_hosts_transfer_is_swept_when_its_heartbeat_stops(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "he");
    claim_of_another_host(f, INCOMPLETE);
    assert_int_equal(claim_sweep_after(f, HC_HEARTBEAT_TIMEOUT_MS - 10000), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
    assert_int_equal(claim_sweep_after(f, HC_HEARTBEAT_TIMEOUT_MS + 10000), 1);
    assert_false(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
    assert_false(temp_dir_has(f->dir, CLAIM));
}

/* Any user may set the mtime of a file; its ctime is set by the volume. */
static void a_heartbeat_dated_ahead_still_expires(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "he");
    claim_of_another_host(f, INCOMPLETE);
    age_file(f, CLAIM, -365L * 24 * 3600);
    assert_int_equal(claim_sweep_after(f, HC_HEARTBEAT_TIMEOUT_MS - 10000), 0);
    assert_int_equal(claim_sweep_after(f, HC_HEARTBEAT_TIMEOUT_MS + 10000), 1);
    assert_false(temp_dir_has(f->dir, CLAIM));
}

/* The volume's clock was ahead, and then it was set back. */
static void a_heartbeat_far_in_the_future_has_expired(void **state)
{
    struct fixture *f = *state;
    int64_t skew_ms = HC_HEARTBEAT_TIMEOUT_MS + 10000;

    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "he");
    claim_of_another_host(f, INCOMPLETE);
    assert_int_equal(claim_sweep_after(f, -(HC_HEARTBEAT_TIMEOUT_MS - 10000)), 0);
    assert_int_equal(claim_sweep_after(f, -skew_ms), 1);
    assert_false(temp_dir_has(f->dir, CLAIM));
}

static void private_files_dated_in_the_future_are_swept(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/tmp/1.00000000", "");
    temp_dir_write(f->dir, ".hubcache/tmp/2.00000000/file", "");
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), ".hubcache/tmp/2.00000000/file", 0),
                     0);
    age_file(f, ".hubcache/tmp/1.00000000", -365L * 24 * 3600);
    age_file(f, ".hubcache/tmp/2.00000000", -365L * 24 * 3600);
    assert_int_equal(claim_sweep_after(f, 0), 0);
    assert_int_equal(claim_sweep_after(f, 2 * (int64_t)HC_HEARTBEAT_TIMEOUT_MS), 2);
    assert_false(temp_dir_has(f->dir, ".hubcache/tmp/2.00000000"));
    temp_dir_write(f->dir, ".hubcache/tmp/1.00000000", "");
    assert_int_equal(claim_sweep_after(f, -HC_PARTIAL_KEEP_MS + 60000), 0);
    assert_int_equal(claim_sweep_after(f, -HC_PARTIAL_KEEP_MS - 60000), 1);
}

static void the_sweep_keeps_the_partial_file_of_a_locked_blob(void **state)
{
    struct fixture *f = *state;
    struct hc_blob_lock *lock = take_lock(f->cache, BLOB_OF(f, HELLO_GIT));

    assert_non_null(lock);
    crash_in_mid_transfer(f);
    assert_int_equal(claim_sweep_after(f, 0), 0);
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 1);
    hc_blob_lock_release(lock);
    assert_int_equal(claim_sweep_after(f, 0), 1);
}

static void forged_file_names_remove_nothing(void **state)
{
    static const char *const forged[] = {
        "../../precious",
        HELLO_GIT,
        HELLO_GIT ".0123456.incomplete",
        HELLO_GIT ".012345678.incomplete",
        HELLO_GIT ".01234567.incomplete.x",
        HELLO_GIT ".0123456G.incomplete",
        HELLO_SHA256 ".01234567.incomplete",
        HELLO_GIT "/.1234567.incomplete",
        "",
    };
    struct fixture *f = *state;

    temp_dir_write(f->dir, "precious", "");
    temp_dir_write(f->dir, FOLDER "/blobs/" HELLO_GIT, "hello");
    temp_dir_write(f->dir, FOLDER "/blobs/" HELLO_SHA256 ".01234567.incomplete", "hello");
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        claim_of_another_host(f, forged[i]);
        assert_int_equal(claim_sweep_after(f, 10 * (int64_t)HC_HEARTBEAT_TIMEOUT_MS), 0);
    }
    assert_true(temp_dir_has(f->dir, "precious"));
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 2);
}

static void a_malformed_claim_is_kept(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "he");
    temp_dir_write(f->dir, CLAIM, "pid=x\nhost=\nincomplete=" INCOMPLETE "\n");
    assert_int_equal(claim_sweep_after(f, 10 * (int64_t)HC_HEARTBEAT_TIMEOUT_MS), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
}

static void the_sweep_follows_no_symlink(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);

    temp_dir_write(f->dir, "outside/blobs/" INCOMPLETE, "he");
    temp_dir_write(f->dir, "outside/claims/" FOLDER "/x", "he");
    claim_of_another_host(f, INCOMPLETE);
    assert_int_equal(symlinkat("outside", root, FOLDER), 0);
    assert_int_equal(claim_sweep_after(f, 10 * (int64_t)HC_HEARTBEAT_TIMEOUT_MS), 0);
    assert_true(temp_dir_has(f->dir, "outside/blobs/" INCOMPLETE));
}

static void only_old_private_files_are_swept(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/tmp/1.00000000", "");
    assert_int_equal(symlinkat("/etc", hc_cache_fd(f->cache), ".hubcache/tmp/link"), 0);
    assert_int_equal(claim_sweep_after(f, 0), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 2);
    assert_int_equal(claim_sweep_after(f, 10 * (int64_t)HC_HEARTBEAT_TIMEOUT_MS), 2);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

#define OTHER_FOLDER "models--org--other"

/* A partial file of so many bytes that its owner has abandoned so long ago. */
static void abandon_partial(struct fixture *f, const char *folder, size_t size,
                            long age_s)
{
    HC_AUTO_FREE char *bytes = calloc(1, size + 1);
    char path[PATH_MAX], text[512];

    assert_non_null(bytes);
    memset(bytes, 'x', size);
    assert_true(hc_format(path, sizeof path, "%s/blobs/" INCOMPLETE, folder) > 0);
    temp_dir_write(f->dir, path, bytes);
    assert_true(
        hc_format(path, sizeof path, ".hubcache/transfers/%s/" HELLO_GIT, folder) > 0);
    assert_true(hc_format(text, sizeof text,
                          "host=\npid=0\nstart=0\nincomplete=" INCOMPLETE
                          "\nsize=%zu\nbytes=%zu\nranges=0-%zu\n",
                          2 * size, size, size) > 0);
    temp_dir_write(f->dir, path, text);
    age_file(f, path, age_s);
}

static uint64_t reclaim(struct fixture *f, const char *folder, uint64_t bytes)
{
    const struct hc_space_request request = {.folder = folder};
    struct hc_space_held unused;

    return hc_claim_reclaim(f->cache, &request, bytes, &unused);
}

static void a_reclaim_removes_abandoned_partial_files_of_other_repos(void **state)
{
    struct fixture *f = *state;

    abandon_partial(f, FOLDER, 2 << 20, 60);
    abandon_partial(f, OTHER_FOLDER, 2 << 20, 60);
    temp_dir_write(f->dir, OTHER_FOLDER "/blobs/" HELLO_SHA256 ".incomplete", "theirs");
    assert_int_equal(claim_sweep_after(f, 0), 0);

    assert_int_equal(reclaim(f, FOLDER, 1), 2 << 20);
    assert_true(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
    assert_true(temp_dir_has(f->dir, CLAIM));
    assert_int_equal(temp_dir_count(f->dir, OTHER_FOLDER "/blobs"), 1);
    assert_int_equal(reclaim(f, FOLDER, 1), 0);
}

static void a_reclaim_removes_the_oldest_first_and_no_more_than_is_needed(void **state)
{
    struct fixture *f = *state;

    abandon_partial(f, "models--a--new", 2 << 20, 60);
    abandon_partial(f, "models--b--old", 2 << 20, 7200);
    abandon_partial(f, "models--c--new", 2 << 20, 60);
    assert_int_equal(reclaim(f, FOLDER, 1 << 20), 2 << 20);
    assert_int_equal(temp_dir_count(f->dir, "models--b--old/blobs"), 0);
    assert_int_equal(reclaim(f, FOLDER, 1 << 20), 2 << 20);
    assert_int_equal(temp_dir_count(f->dir, "models--a--new/blobs") +
                         temp_dir_count(f->dir, "models--c--new/blobs"),
                     1);
}

static void a_reclaim_keeps_held_claims_and_locked_blobs(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_blob_lock) *lock = NULL;

    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "he");
    claim_of_another_host(f, INCOMPLETE);
    assert_int_equal(reclaim(f, OTHER_FOLDER, UINT64_MAX), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));

    abandon_partial(f, FOLDER, 2 << 20, 60);
    lock = take_lock(f->cache, BLOB_OF(f, HELLO_GIT));
    assert_int_equal(reclaim(f, OTHER_FOLDER, UINT64_MAX), 0);
    assert_true(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
}

static void a_cache_without_claims_can_be_swept(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, "plain/file", "");
    assert_int_equal(claim_sweep_after(f, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_claim_names_its_owner_and_its_partial_file),
        WITH_CACHE(a_dropped_claim_is_removed),
        WITH_CACHE(a_held_claim_refuses_a_second_one),
        WITH_CACHE(a_superseded_claim_is_removed_by_its_owner),
        WITH_CACHE(a_superseded_claim_is_swept_when_its_owner_is_gone),
        WITH_CACHE(a_heartbeat_soon_after_another_writes_nothing),
        WITH_CACHE(a_mebibyte_causes_a_heartbeat),
        WITH_CACHE(a_volume_that_refuses_claims_fails_no_transfer),
        WITH_CACHE(a_crashed_transfer_of_the_same_host_is_swept_at_once),
        WITH_CACHE(a_new_transfer_replaces_a_crashed_one_of_the_same_blob),
        WITH_CACHE(the_sweep_keeps_a_running_transfer),
        WITH_CACHE(another_hosts_transfer_is_swept_when_its_heartbeat_stops),
        WITH_CACHE(a_heartbeat_dated_ahead_still_expires),
        WITH_CACHE(a_heartbeat_far_in_the_future_has_expired),
        WITH_CACHE(private_files_dated_in_the_future_are_swept),
        WITH_CACHE(the_sweep_keeps_the_partial_file_of_a_locked_blob),
        WITH_CACHE(forged_file_names_remove_nothing),
        WITH_CACHE(a_malformed_claim_is_kept),
        WITH_CACHE(the_sweep_follows_no_symlink),
        WITH_CACHE(only_old_private_files_are_swept),
        WITH_CACHE(a_reclaim_removes_abandoned_partial_files_of_other_repos),
        WITH_CACHE(a_reclaim_removes_the_oldest_first_and_no_more_than_is_needed),
        WITH_CACHE(a_reclaim_keeps_held_claims_and_locked_blobs),
        WITH_CACHE(a_cache_without_claims_can_be_swept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
