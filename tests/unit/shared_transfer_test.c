/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: exactly one caller of a shared transfer leads; a leader that leaves is
 * replaced, one that finishes decides for all, one that the Hub refuses decides for its
 * own token only, and a caller with other credentials has no part in it before they are
 * proved. One thread plays all the parts, so that every order of events is the same on
 * each run.
 */
#include "blob_id.h"
#include "cache_helper.h"
#include "single_flight_helper.h"
#include "test.h"

#include <base/error.h>
#include <hub/endpoint.h>
#include <transfer/shared_transfer.h>

#include <string.h>

static const char etag[] = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
static const char content[] = "hello";

enum { LARGE_SIZE = 4 * 1024 * 1024, LEFT_SIZE = 2 * 1024 * 1024 };

struct fixture {
    char *dir;
    struct hc_cache *cache;
    struct hc_single_flights transfers;
    struct hc_repo repo;
    struct hc_error err;
};

static int shared_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->dir = temp_dir_make();
    f->cache = hc_cache_open(f->dir, false, &f->err);
    assert_non_null(f->cache);
    hc_shared_transfers_init(&f->transfers);
    assert_int_equal(hc_repo_init(&f->repo, HC_REPO_MODEL, "org/m", &f->err), 0);
    *state = f;
    return 0;
}

static int shared_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_single_flights_clear(&f->transfers);
    hc_cache_close(f->cache);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

static struct hc_shared_transfer *shared_join(struct fixture *f, bool is_forced)
{
    const struct hc_blob_request request = {.blob = *BLOB_OF(f, etag),
                                            .is_forced = is_forced};
    struct hc_shared_transfer *transfer =
        hc_shared_transfer_join(&f->transfers, &request,
                                &(const struct hc_hub_credentials){0}, &f->err);

    assert_non_null(transfer);
    return transfer;
}

static void shared_admit(struct fixture *f, struct hc_shared_transfer *transfer,
                         const char *token)
{
    const struct hc_hub_credentials credentials = {.token = token};

    assert_int_equal(hc_shared_transfer_admit(transfer, &credentials, &f->err), 0);
}

/* Waits as a caller that has been cancelled, so that the wait is short. */
static int shared_wait_as(struct fixture *f, struct hc_shared_transfer *transfer,
                          const char *token)
{
    struct hc_cancellation *call = hc_cancellation_new(HC_NO_DEADLINE);
    const struct hc_hub_credentials credentials = {.token = token, .cancellation = call};
    int role;

    hc_cancellation_cancel(call);
    role = hc_shared_transfer_wait(transfer, &credentials, &f->err);
    hc_cancellation_free(call);
    return role;
}

/* Gives the transfer the lock and the first bytes of a blob. */
static void shared_set_partial(struct fixture *f, struct hc_shared_transfer *transfer)
{
    struct hc_ingest *ingest = begin_ingest(f->cache, BLOB_OF(f, etag), 100, &f->err);

    assert_non_null(ingest);
    assert_int_equal(hc_ingest_write(ingest, 0, content, 5, &f->err), 0);
    hc_shared_transfer_keep_lock(transfer, take_lock(f->cache, BLOB_OF(f, etag)));
    hc_shared_transfer_keep_ingest(transfer, ingest);
}

static void expect_no_partial(struct fixture *f)
{
    assert_int_equal(temp_dir_count(f->dir, "models--org--m/blobs"), 0);
    assert_false(hc_blob_lock_is_held(f->cache, BLOB_OF(f, etag)));
}

static void the_first_leads_and_the_next_waits(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *first = shared_join(f, false),
                              *second = shared_join(f, false);

    assert_ptr_equal(first, second);
    assert_int_equal(single_flights_callers(&f->transfers), 2);
    assert_int_equal(shared_wait_as(f, first, NULL), HC_SHARED_TRANSFER_LEAD);
    assert_int_equal(shared_wait_as(f, second, NULL), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);

    hc_shared_transfer_leave(second);
    hc_shared_transfer_finish(first, NULL);
    hc_shared_transfer_leave(first);
}

static void transfers_from_two_endpoints_are_not_shared(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_endpoint) *other = hc_endpoint_new("http://other.example", 0, &f->err);
    const struct hc_hub_credentials credentials = {.endpoint = other};
    const struct hc_blob_request request = {.blob = *BLOB_OF(f, etag)};
    struct hc_shared_transfer *first = shared_join(f, false);
    struct hc_shared_transfer *second =
        hc_shared_transfer_join(&f->transfers, &request, &credentials, &f->err);
    struct hc_shared_transfer *third =
        hc_shared_transfer_join(&f->transfers, &request, &credentials, &f->err);

    assert_ptr_not_equal(first, second);
    assert_ptr_equal(second, third);
    hc_shared_transfer_leave(first);
    hc_shared_transfer_leave(second);
    hc_shared_transfer_leave(third);
}

static void a_finish_is_the_answer_of_all_waiters_and_the_end(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *leader = shared_join(f, false),
                              *waiter = shared_join(f, false);
    struct hc_shared_transfer *later;

    assert_int_equal(shared_wait_as(f, leader, NULL), HC_SHARED_TRANSFER_LEAD);
    shared_set_partial(f, leader);
    hc_shared_transfer_finish(leader, NULL);
    expect_no_partial(f); /* while its callers have not left yet */

    later = shared_join(f, false);
    assert_ptr_not_equal(later, leader);
    assert_int_equal(shared_wait_as(f, waiter, NULL), HC_SHARED_TRANSFER_DONE);
    assert_int_equal(shared_wait_as(f, later, NULL), HC_SHARED_TRANSFER_LEAD);

    hc_shared_transfer_leave(later);
    hc_shared_transfer_leave(waiter);
    hc_shared_transfer_leave(leader);
}

static void a_failure_reaches_all_waiters(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *leader = shared_join(f, false),
                              *waiter = shared_join(f, false);
    struct hc_error failure;

    assert_int_equal(shared_wait_as(f, leader, NULL), HC_SHARED_TRANSFER_LEAD);
    (void)hc_fail(&failure, HC_CHECKSUM_MISMATCH, "wrong bytes");
    hc_shared_transfer_finish(leader, &failure);

    assert_int_equal(shared_wait_as(f, waiter, NULL), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_string_equal(f->err.message, "wrong bytes");
    hc_shared_transfer_leave(leader);
    hc_shared_transfer_leave(waiter);
}

static void the_partial_file_is_handed_over_with_the_lead(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *leader = shared_join(f, false),
                              *waiter = shared_join(f, false);
    const struct hc_partial_file *partial;

    assert_int_equal(shared_wait_as(f, leader, NULL), HC_SHARED_TRANSFER_LEAD);
    shared_set_partial(f, leader);
    assert_int_equal(hc_shared_transfers_progress(&f->transfers, BLOB_OF(f, etag)).bytes,
                     5);
    hc_shared_transfer_hand_over(leader, NULL, NULL);
    hc_shared_transfer_leave(leader);

    assert_int_equal(shared_wait_as(f, waiter, NULL), HC_SHARED_TRANSFER_LEAD);
    partial = hc_shared_transfer_partial(waiter);
    assert_int_equal(hc_pieces_arrived(hc_ingest_pieces(partial->ingest)), 5);
    assert_true(hc_blob_lock_is_held(f->cache, BLOB_OF(f, etag)));

    hc_shared_transfer_leave(waiter); /* the last one */
    expect_no_partial(f);
    assert_int_equal(hc_shared_transfers_progress(&f->transfers, BLOB_OF(f, etag)).bytes,
                     0);
    assert_int_equal(single_flights_callers(&f->transfers), 0);
}

static struct hc_ingest *begin_large(struct fixture *f)
{
    struct hc_ingest *ingest =
        begin_ingest(f->cache, BLOB_OF(f, etag), LARGE_SIZE, &f->err);

    assert_non_null(ingest);
    return ingest;
}

static void bytes_of_an_earlier_transfer_count_as_reused(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *transfer = shared_join(f, false);
    struct hc_ingest *ingest = begin_large(f);
    char *bytes = calloc(1, LEFT_SIZE);

    assert_non_null(bytes);
    assert_int_equal(hc_ingest_write(ingest, 0, bytes, LEFT_SIZE, &f->err), 0);
    hc_ingest_drop(ingest);
    ingest = begin_large(f);
    hc_shared_transfer_keep_ingest(transfer, ingest);
    assert_int_equal(hc_ingest_write(ingest, LEFT_SIZE, bytes, 5, &f->err), 0);

    assert_int_equal(hc_shared_transfers_progress(&f->transfers, BLOB_OF(f, etag)).bytes,
                     LEFT_SIZE + 5);
    assert_int_equal(
        hc_shared_transfers_progress(&f->transfers, BLOB_OF(f, etag)).reused_bytes,
        LEFT_SIZE);
    hc_shared_transfer_leave(transfer);
    free(bytes);
}

static void bytes_of_another_process_count_as_reused(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *transfer = shared_join(f, false);

    assert_int_equal(shared_wait_as(f, transfer, NULL), HC_SHARED_TRANSFER_LEAD);
    hc_shared_transfer_set_remote(transfer, 70, true);
    hc_shared_transfer_set_remote(transfer, 90, true);
    assert_int_equal(hc_shared_transfers_progress(&f->transfers, BLOB_OF(f, etag)).bytes,
                     90);
    assert_int_equal(
        hc_shared_transfers_progress(&f->transfers, BLOB_OF(f, etag)).reused_bytes, 70);

    hc_shared_transfer_set_remote(transfer, 0, false);
    shared_set_partial(f, transfer); /* an ingest that began with nothing */
    assert_int_equal(
        hc_shared_transfers_progress(&f->transfers, BLOB_OF(f, etag)).reused_bytes, 0);
    hc_shared_transfer_leave(transfer);
}

static void a_refusal_is_for_callers_with_the_same_token(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *transfer = shared_join(f, false);
    const struct hc_hub_credentials refused = {.token = "hf_bad"};
    struct hc_error refusal;

    (void)shared_join(f, false);
    (void)shared_join(f, false);
    shared_admit(f, transfer, "hf_bad");
    shared_admit(f, transfer, "hf_good");
    assert_int_equal(shared_wait_as(f, transfer, "hf_bad"), HC_SHARED_TRANSFER_LEAD);
    (void)hc_fail(&refusal, HC_GATED_REPO, "no");
    hc_shared_transfer_hand_over(transfer, &refused, &refusal);

    assert_int_equal(shared_wait_as(f, transfer, "hf_bad"), -1);
    assert_int_equal(f->err.reason, HC_GATED_REPO);
    assert_int_equal(shared_wait_as(f, transfer, "hf_good"), HC_SHARED_TRANSFER_LEAD);
    for (int i = 0; i < 3; i++)
        hc_shared_transfer_leave(transfer);
}

static void no_token_and_an_empty_one_are_the_same(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *transfer = shared_join(f, false);
    const struct hc_hub_credentials refused = {0};
    struct hc_error refusal;

    assert_int_equal(shared_wait_as(f, transfer, NULL), HC_SHARED_TRANSFER_LEAD);
    (void)hc_fail(&refusal, HC_REPO_NOT_FOUND, "no");
    hc_shared_transfer_hand_over(transfer, &refused, &refusal);

    assert_int_equal(shared_wait_as(f, transfer, ""), -1);
    assert_int_equal(f->err.reason, HC_REPO_NOT_FOUND);
    hc_shared_transfer_leave(transfer);
}

static void other_credentials_are_proved_before_waiting_or_leading(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *transfer = shared_join(f, false);

    (void)shared_join(f, false);
    assert_int_equal(shared_wait_as(f, transfer, "hf_other"),
                     HC_SHARED_TRANSFER_PROVE); /* to lead */
    assert_int_equal(shared_wait_as(f, transfer, NULL), HC_SHARED_TRANSFER_LEAD);
    shared_set_partial(f, transfer);
    assert_int_equal(shared_wait_as(f, transfer, "hf_other"),
                     HC_SHARED_TRANSFER_PROVE); /* to wait */
    hc_shared_transfer_hand_over(transfer, NULL, NULL);
    assert_int_equal(shared_wait_as(f, transfer, "hf_other"),
                     HC_SHARED_TRANSFER_PROVE); /* to go on */

    shared_admit(f, transfer, "hf_other");
    shared_admit(f, transfer, "hf_other");
    assert_int_equal(shared_wait_as(f, transfer, "hf_othe"), HC_SHARED_TRANSFER_PROVE);
    assert_int_equal(shared_wait_as(f, transfer, "hf_other"), HC_SHARED_TRANSFER_LEAD);
    hc_shared_transfer_finish(transfer, NULL);
    assert_int_equal(shared_wait_as(f, transfer, "hf_third"),
                     HC_SHARED_TRANSFER_DONE); /* it is there */
    hc_shared_transfer_leave(transfer);
    hc_shared_transfer_leave(transfer);
}

static void a_forced_fetch_is_not_shared(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *usual = shared_join(f, false),
                              *forced = shared_join(f, true);

    assert_ptr_not_equal(usual, forced);
    assert_int_equal(shared_wait_as(f, usual, NULL), HC_SHARED_TRANSFER_LEAD);
    assert_int_equal(shared_wait_as(f, forced, NULL), HC_SHARED_TRANSFER_LEAD);
    hc_shared_transfer_leave(usual);
    hc_shared_transfer_leave(forced);
}

/* What a listing told of the only transfer there was. */
struct listed {
    unsigned count;
    struct hc_running_transfer last;
    char repo_id[32], path[32];
};

static void note_listed(void *ctx, const struct hc_running_transfer *transfer)
{
    struct listed *listed = ctx;

    listed->count++;
    listed->last = *transfer;
    (void)snprintf(listed->repo_id, sizeof listed->repo_id, "%s", transfer->repo_id);
    (void)snprintf(listed->path, sizeof listed->path, "%s", transfer->path);
}

static struct listed list_at(struct fixture *f, int64_t now_ms)
{
    struct listed listed = {0};

    hc_shared_transfers_list(&f->transfers, now_ms, note_listed, &listed);
    return listed;
}

static void a_listing_tells_how_far_a_transfer_is(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = {.blob = *BLOB_OF(f, etag),
                                            .file = {.repo = &f->repo,
                                                     .revision = "main",
                                                     .path = "a/file"},
                                            .size = 100};
    const struct hc_hub_credentials anonymous = {0};
    struct hc_shared_transfer *transfer =
        hc_shared_transfer_join(&f->transfers, &request, &anonymous, &f->err);
    int64_t now_ms = hc_monotonic_ms();
    struct listed listed;

    assert_ptr_equal(hc_shared_transfer_join(&f->transfers, &request, &anonymous,
                                             &f->err),
                     transfer);
    assert_int_equal(shared_wait_as(f, transfer, NULL), HC_SHARED_TRANSFER_LEAD);
    listed = list_at(f, now_ms);
    assert_int_equal(listed.last.size_bytes, 100);
    assert_int_equal(listed.last.done_bytes, 0);

    shared_set_partial(f, transfer);
    atomic_store(&hc_shared_transfer_counts(transfer)->connections, 4);
    listed = list_at(f, now_ms + 10000);

    assert_int_equal(listed.count, 1);
    assert_string_equal(listed.repo_id, "org/m");
    assert_int_equal(listed.last.repo_type, HC_REPO_MODEL);
    assert_string_equal(listed.path, "a/file");
    assert_int_equal(listed.last.done_bytes, 5);
    assert_int_equal(listed.last.callers, 2);
    assert_int_equal(listed.last.connections, 4);
    assert_in_range(listed.last.age_ms, 10000, 70000);
    hc_shared_transfer_leave(transfer);
    hc_shared_transfer_leave(transfer);
    assert_int_equal(list_at(f, now_ms).count, 0);
}

/* Listings that follow each other at once have no time to divide by. */
static void the_rate_is_that_of_the_last_seconds(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *transfer = shared_join(f, false);
    int64_t now_ms = hc_monotonic_ms() + 60000;

    hc_shared_transfer_set_remote(transfer, 1000000, true);
    assert_int_equal(list_at(f, now_ms).last.bytes_per_second, 0);
    hc_shared_transfer_set_remote(transfer, 1006000, true);
    (void)list_at(f, now_ms + 3000);
    hc_shared_transfer_set_remote(transfer, 1012000, true);

    assert_int_equal(list_at(f, now_ms + 6000).last.bytes_per_second, 2000);
    assert_int_equal(list_at(f, now_ms + 6001).last.bytes_per_second, 1999);
    assert_true(list_at(f, now_ms + 6002).last.is_remote);
    hc_shared_transfer_leave(transfer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, shared_set_up, shared_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_leads_and_the_next_waits),
        TEST(transfers_from_two_endpoints_are_not_shared),
        TEST(a_finish_is_the_answer_of_all_waiters_and_the_end),
        TEST(a_failure_reaches_all_waiters),
        TEST(the_partial_file_is_handed_over_with_the_lead),
        TEST(bytes_of_an_earlier_transfer_count_as_reused),
        TEST(bytes_of_another_process_count_as_reused),
        TEST(a_refusal_is_for_callers_with_the_same_token),
        TEST(no_token_and_an_empty_one_are_the_same),
        TEST(other_credentials_are_proved_before_waiting_or_leading),
        TEST(a_forced_fetch_is_not_shared),
        TEST(a_listing_tells_how_far_a_transfer_is),
        TEST(the_rate_is_that_of_the_last_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
