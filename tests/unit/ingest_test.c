/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: what had arrived when a transfer ended, dropped or killed, is there for the
 * next one, until it is too old.
 */
#include "blob_id.h"
#include "cache_helper.h"
#include "ingest_fixture.h"

#include <base/text.h>
#include <cache/blob_lock.h>
#include <claim/claim.h>
#include <claim/sweep.h>
#include <store/ingest.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

/* A process of this host begins a transfer, gets these bytes, and is killed. */
static void content_crash_with(struct fixture *f, uint64_t from, uint64_t to)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct hc_ingest *ingest = content_begin(f);

        _exit(ingest && content_write(f, ingest, from, to) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static unsigned sweep_after(struct fixture *f, int64_t ms)
{
    return hc_claim_sweep(f->cache, (int64_t)time(NULL) * 1000 + ms);
}

static void bytes_of_a_killed_process_are_resumed(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    content_crash_with(f, 0, HALF);
    ingest = content_begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), HALF);
    assert_int_equal(hc_pieces_front(hc_ingest_pieces(ingest)), HALF);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    content_finish(f, ingest, HALF);
}

static void bytes_beyond_a_hole_are_resumed(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    content_crash_with(f, 2 * (uint64_t)PIECE, 3 * (uint64_t)PIECE);
    ingest = content_begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), PIECE);
    assert_int_equal(hc_pieces_front(hc_ingest_pieces(ingest)), 0);
    content_finish(f, ingest, 0);
}

static void a_dropped_transfer_is_resumed(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);

    assert_non_null(ingest);
    assert_int_equal(content_write(f, ingest, 0, HALF + 1), 0);
    hc_ingest_drop(ingest); /* by a process that lives on */
    ingest = content_begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), HALF + 1);
    content_finish(f, ingest, HALF + 1);
}

static void it_may_go_on_more_than_once(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    content_crash_with(f, 0, 2 * (uint64_t)MIB);
    content_crash_with(f, 2 * (uint64_t)MIB, 4 * (uint64_t)MIB);
    content_crash_with(f, 4 * (uint64_t)MIB, HALF);
    ingest = content_begin(f);
    assert_non_null(ingest);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), HALF);
    content_finish(f, ingest, HALF);
}

static void a_little_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);

    assert_non_null(ingest);
    assert_int_equal(content_write(f, ingest, 0, MIB - 1), 0);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void resumed_bytes_are_hashed_like_others(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);
    char wrong = (char)~content[5];

    assert_non_null(ingest);
    assert_int_equal(hc_ingest_write(ingest, 0, content, 5, &f->err), 0);
    assert_int_equal(hc_ingest_write(ingest, 5, &wrong, 1, &f->err), 0);
    assert_int_equal(content_write(f, ingest, 6, HALF), 0);
    hc_ingest_drop(ingest);

    ingest = content_begin(f);
    assert_non_null(ingest);
    assert_int_equal(content_write(f, ingest, HALF, SIZE), 0);
    assert_int_equal(hc_ingest_commit(ingest, NULL, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_int_equal(hc_ingest_restart(ingest, &f->err), 0);
    assert_int_equal(hc_ingest_resumed_bytes(ingest), 0);
    content_finish(f, ingest, 0);
}

static void resumed_bytes_do_not_hold_back_the_network(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest;

    content_crash_with(f, 0, HALF);
    ingest = content_begin(f);
    assert_int_equal(content_write(f, ingest, HALF, HALF + PIECE), 0);
    assert_int_equal(hc_ingest_unhashed(ingest), 0); /* as long as that is not hashed */
    while (hc_ingest_unhashed(ingest) == 0)
        assert_int_equal(hc_ingest_hash_next(ingest, &f->err), 1);
    assert_in_range(hc_ingest_unhashed(ingest), 1, PIECE);
    content_finish(f, ingest, HALF + PIECE);
}

static void bytes_that_are_there_are_not_written_again(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);
    char *wrong = calloc(1, HALF);

    assert_non_null(ingest);
    assert_non_null(wrong);
    assert_int_equal(content_write(f, ingest, 0, HALF), 0);
    assert_int_equal(hc_ingest_write(ingest, 0, wrong, HALF, &f->err), 0);
    assert_int_equal(hc_pieces_arrived(hc_ingest_pieces(ingest)), HALF);
    free(wrong);
    content_finish(f, ingest, HALF - 7);
}

static void the_hash_follows_what_arrives_in_order(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *ingest = content_begin(f);

    assert_non_null(ingest);
    assert_int_equal(content_write(f, ingest, PIECE, 2 * (uint64_t)PIECE), 0);
    assert_int_equal(hc_ingest_hash_next(ingest, &f->err), 0);
    assert_int_equal(content_write(f, ingest, 0, PIECE), 0);
    while (hc_ingest_hash_next(ingest, &f->err) == 1)
        continue;
    assert_int_equal(hc_ingest_hash_next(ingest, &f->err), 0);
    content_finish(f, ingest, 2 * (uint64_t)PIECE);
}

static void the_sweep_keeps_it_for_a_day(void **state)
{
    struct fixture *f = *state;

    content_crash_with(f, 0, HALF);
    assert_int_equal(sweep_after(f, 0), 0);
    assert_int_equal(sweep_after(f, HC_PARTIAL_KEEP_MS - 60000), 0);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
    assert_int_equal(sweep_after(f, HC_PARTIAL_KEEP_MS + 60000), 1);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void the_sweep_does_not_keep_it_when_the_blob_is_there(void **state)
{
    struct fixture *f = *state;
    char blob[PATH_MAX];

    content_crash_with(f, 0, HALF);
    assert_true(hc_format(blob, sizeof blob, BLOBS "/%s", content_etag) > 0);
    temp_dir_write(f->dir, blob, "another client was faster");
    assert_int_equal(sweep_after(f, 0), 1);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
}

static void a_living_transfer_is_not_taken_over(void **state)
{
    struct fixture *f = *state;
    struct hc_ingest *one = content_begin(f); /* on a volume without flock */
    struct hc_ingest *two;

    assert_non_null(one);
    assert_int_equal(content_write(f, one, 0, HALF), 0);
    assert_null(content_begin(f)); /* its claim is in the way */
    two = take_ingest_over(f->cache, BLOB_OF(f, content_etag), SIZE);
    assert_int_equal(hc_ingest_resumed_bytes(two), HALF); /* a copy */
    assert_int_equal(content_write(f, one, HALF, SIZE), 0);
    assert_int_equal(content_write(f, two, HALF, SIZE), 0);
    assert_int_equal(hc_ingest_commit(one, NULL, &f->err), 0);
    assert_int_equal(hc_ingest_commit(two, NULL, &f->err), 0);
    hc_ingest_drop(one);
    hc_ingest_drop(two);
    assert_int_equal(temp_dir_count(f->dir, BLOBS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(bytes_of_a_killed_process_are_resumed),
        WITH_CACHE(bytes_beyond_a_hole_are_resumed),
        WITH_CACHE(a_dropped_transfer_is_resumed),
        WITH_CACHE(it_may_go_on_more_than_once),
        WITH_CACHE(a_little_is_not_kept),
        WITH_CACHE(resumed_bytes_are_hashed_like_others),
        WITH_CACHE(resumed_bytes_do_not_hold_back_the_network),
        WITH_CACHE(bytes_that_are_there_are_not_written_again),
        WITH_CACHE(the_hash_follows_what_arrives_in_order),
        WITH_CACHE(the_sweep_keeps_it_for_a_day),
        WITH_CACHE(the_sweep_does_not_keep_it_when_the_blob_is_there),
        WITH_CACHE(a_living_transfer_is_not_taken_over),
    };

    return cmocka_run_group_tests(tests, content_make, content_free);
}
