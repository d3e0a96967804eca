/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: of those aboard a flight exactly one leads; a leader who leaves is
 * replaced, one who lands decides for all, one whom the Hub refuses speaks for its own
 * token only, and none with other credentials has a part in it before they are proved. One
 * thread plays all the parts, so that every order of events is the same on each run.
 */
#include "cache_helper.h"
#include "test.h"

#include <base/error.h>
#include <transfer/shared_transfer.h>

#include <string.h>

static const char etag[] = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
static const char content[] = "hello";

enum { LARGE_SIZE = 4 * 1024 * 1024, LEFT_SIZE = 2 * 1024 * 1024 };

struct fixture {
    char *dir;
    struct hc_cache *cache;
    struct hc_shared_transfers *flights;
    struct hc_repo repo;
    struct hc_error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->dir = temp_dir_make();
    f->cache = hc_cache_open(f->dir, false, &f->err);
    assert_non_null(f->cache);
    f->flights = hc_shared_transfers_new(&f->err);
    assert_non_null(f->flights);
    assert_int_equal(hc_repo_init(&f->repo, HC_REPO_MODEL, "org/m", &f->err), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    hc_shared_transfers_free(f->flights);
    hc_cache_close(f->cache);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

static struct hc_shared_transfer *join(struct fixture *f, bool is_forced)
{
    const struct hc_shared_transfer_key name = {.repo = &f->repo,
                                                .etag = etag,
                                                .is_forced = is_forced};
    struct hc_shared_transfer *flight =
        hc_shared_transfer_join(f->flights, &name, &(const struct hc_caller){0}, &f->err);

    assert_non_null(flight);
    return flight;
}

static void admit(struct fixture *f, struct hc_shared_transfer *flight, const char *token)
{
    const struct hc_caller caller = {.token = token};

    assert_int_equal(hc_shared_transfer_admit(f->flights, flight, &caller, &f->err), 0);
}

/* Waits as somebody who is not going to wait long: a caller whose call is over. */
static int wait_as(struct fixture *f, struct hc_shared_transfer *flight,
                   const char *token)
{
    struct hc_cancellation *call = hc_cancellation_new(HC_NO_DEADLINE);
    const struct hc_caller caller = {.token = token, .call = call};
    int answer;

    hc_cancellation_cancel(call);
    answer = hc_shared_transfer_wait(f->flights, flight, &caller, &f->err);
    hc_cancellation_free(call);
    return answer;
}

/* Puts a lock and the first bytes of a blob on board. */
static void load(struct fixture *f, struct hc_shared_transfer *flight)
{
    struct hc_partial_file cargo = {.lock = take_lock(f->cache, &f->repo, etag),
                                    .ingest = begin_ingest(f->cache, &f->repo, etag, 100,
                                                           &f->err)};

    assert_non_null(cargo.lock);
    assert_non_null(cargo.ingest);
    assert_int_equal(hc_ingest_write(cargo.ingest, 0, content, 5, &f->err), 0);
    hc_shared_transfer_set_partial(f->flights, flight, cargo);
}

static void expect_nothing_left(struct fixture *f)
{
    assert_int_equal(temp_dir_count(f->dir, "models--org--m/blobs"), 0);
    assert_false(hc_lock_is_held(f->cache, f->repo.folder, etag));
}

static void the_first_leads_and_the_next_waits(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *first = join(f, false), *second = join(f, false);

    assert_ptr_equal(first, second);
    assert_int_equal(hc_shared_transfers_waiters(f->flights, &f->repo, etag), 2);
    assert_int_equal(wait_as(f, first, NULL), HC_SHARED_TRANSFER_LEAD);
    assert_int_equal(wait_as(f, second, NULL), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);

    hc_shared_transfer_leave(f->flights, second);
    hc_shared_transfer_finish(f->flights, first, NULL);
    hc_shared_transfer_leave(f->flights, first);
}

static void a_landing_is_everybodys_answer_and_the_end_of_the_flight(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *leader = join(f, false), *waiter = join(f, false);
    struct hc_shared_transfer *later;

    assert_int_equal(wait_as(f, leader, NULL), HC_SHARED_TRANSFER_LEAD);
    load(f, leader);
    hc_shared_transfer_finish(f->flights, leader, NULL);
    expect_nothing_left(f); /* while they are still aboard */

    later = join(f, false);
    assert_ptr_not_equal(later, leader);
    assert_int_equal(wait_as(f, waiter, NULL), HC_SHARED_TRANSFER_DONE);
    assert_int_equal(wait_as(f, later, NULL), HC_SHARED_TRANSFER_LEAD);

    hc_shared_transfer_leave(f->flights, later);
    hc_shared_transfer_leave(f->flights, waiter);
    hc_shared_transfer_leave(f->flights, leader);
}

static void a_failure_is_everybodys_too(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *leader = join(f, false), *waiter = join(f, false);
    struct hc_error failure;

    assert_int_equal(wait_as(f, leader, NULL), HC_SHARED_TRANSFER_LEAD);
    (void)hc_fail(&failure, HC_CHECKSUM_MISMATCH, "wrong bytes");
    hc_shared_transfer_finish(f->flights, leader, &failure);

    assert_int_equal(wait_as(f, waiter, NULL), -1);
    assert_int_equal(f->err.reason, HC_CHECKSUM_MISMATCH);
    assert_string_equal(f->err.message, "wrong bytes");
    hc_shared_transfer_leave(f->flights, leader);
    hc_shared_transfer_leave(f->flights, waiter);
}

static void cargo_is_handed_over_with_the_lead(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *leader = join(f, false), *waiter = join(f, false);
    struct hc_partial_file cargo;

    assert_int_equal(wait_as(f, leader, NULL), HC_SHARED_TRANSFER_LEAD);
    load(f, leader);
    assert_int_equal(
        hc_shared_transfers_progress(f->flights, &f->repo, etag).arrival.bytes, 5);
    hc_shared_transfer_hand_over(f->flights, leader, NULL, NULL);
    hc_shared_transfer_leave(f->flights, leader);

    assert_int_equal(wait_as(f, waiter, NULL), HC_SHARED_TRANSFER_LEAD);
    cargo = hc_shared_transfer_partial(f->flights, waiter);
    assert_int_equal(hc_pieces_arrived(hc_ingest_pieces(cargo.ingest)), 5);
    assert_true(hc_lock_is_held(f->cache, f->repo.folder, etag));

    hc_shared_transfer_leave(f->flights, waiter); /* the last one */
    expect_nothing_left(f);
    assert_int_equal(
        hc_shared_transfers_progress(f->flights, &f->repo, etag).arrival.bytes, 0);
    assert_int_equal(hc_shared_transfers_waiters(f->flights, &f->repo, etag), 0);
}

static struct hc_ingest *begin_large(struct fixture *f)
{
    struct hc_ingest *ingest =
        begin_ingest(f->cache, &f->repo, etag, LARGE_SIZE, &f->err);

    assert_non_null(ingest);
    return ingest;
}

static void what_an_earlier_transfer_left_is_given(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *flight = join(f, false);
    struct hc_partial_file cargo = {.ingest = begin_large(f)};
    char *bytes = calloc(1, LEFT_SIZE);

    assert_non_null(bytes);
    assert_int_equal(hc_ingest_write(cargo.ingest, 0, bytes, LEFT_SIZE, &f->err), 0);
    hc_ingest_drop(cargo.ingest);
    cargo.ingest = begin_large(f);
    hc_shared_transfer_set_partial(f->flights, flight, cargo);
    assert_int_equal(hc_ingest_write(cargo.ingest, LEFT_SIZE, bytes, 5, &f->err), 0);

    assert_int_equal(
        hc_shared_transfers_progress(f->flights, &f->repo, etag).arrival.bytes,
        LEFT_SIZE + 5);
    assert_int_equal(hc_shared_transfers_progress(f->flights, &f->repo, etag).given,
                     LEFT_SIZE);
    hc_shared_transfer_leave(f->flights, flight);
    free(bytes);
}

static void what_another_process_had_at_first_sight_is_given(void **state)
{
    static const struct hc_blob_progress sights[] = {{70, true}, {90, true}, {0, false}};
    struct fixture *f = *state;
    struct hc_shared_transfer *flight = join(f, false);

    assert_int_equal(wait_as(f, flight, NULL), HC_SHARED_TRANSFER_LEAD);
    hc_shared_transfer_set_remote(f->flights, flight, &sights[0]);
    hc_shared_transfer_set_remote(f->flights, flight, &sights[1]);
    assert_int_equal(
        hc_shared_transfers_progress(f->flights, &f->repo, etag).arrival.bytes, 90);
    assert_int_equal(hc_shared_transfers_progress(f->flights, &f->repo, etag).given, 70);

    hc_shared_transfer_set_remote(f->flights, flight, &sights[2]);
    load(f, flight); /* an ingest that began with nothing */
    assert_int_equal(hc_shared_transfers_progress(f->flights, &f->repo, etag).given, 0);
    hc_shared_transfer_leave(f->flights, flight);
}

static void a_refusal_is_for_those_with_the_same_token(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *flight = join(f, false);
    const struct hc_caller refused = {.token = "hf_bad"};
    struct hc_error refusal;

    (void)join(f, false);
    (void)join(f, false);
    admit(f, flight, "hf_bad");
    admit(f, flight, "hf_good");
    assert_int_equal(wait_as(f, flight, "hf_bad"), HC_SHARED_TRANSFER_LEAD);
    (void)hc_fail(&refusal, HC_GATED_REPO, "no");
    hc_shared_transfer_hand_over(f->flights, flight, &refused, &refusal);

    assert_int_equal(wait_as(f, flight, "hf_bad"), -1);
    assert_int_equal(f->err.reason, HC_GATED_REPO);
    assert_int_equal(wait_as(f, flight, "hf_good"), HC_SHARED_TRANSFER_LEAD);
    for (int i = 0; i < 3; i++)
        hc_shared_transfer_leave(f->flights, flight);
}

static void no_token_and_an_empty_one_are_the_same(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *flight = join(f, false);
    const struct hc_caller refused = {0};
    struct hc_error refusal;

    assert_int_equal(wait_as(f, flight, NULL), HC_SHARED_TRANSFER_LEAD);
    (void)hc_fail(&refusal, HC_REPO_NOT_FOUND, "no");
    hc_shared_transfer_hand_over(f->flights, flight, &refused, &refusal);

    assert_int_equal(wait_as(f, flight, ""), -1);
    assert_int_equal(f->err.reason, HC_REPO_NOT_FOUND);
    hc_shared_transfer_leave(f->flights, flight);
}

static void other_credentials_are_proved_before_waiting_or_leading(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *flight = join(f, false);

    (void)join(f, false);
    assert_int_equal(wait_as(f, flight, "hf_other"),
                     HC_SHARED_TRANSFER_PROVE); /* to lead */
    assert_int_equal(wait_as(f, flight, NULL), HC_SHARED_TRANSFER_LEAD);
    load(f, flight);
    assert_int_equal(wait_as(f, flight, "hf_other"),
                     HC_SHARED_TRANSFER_PROVE); /* to wait */
    hc_shared_transfer_hand_over(f->flights, flight, NULL, NULL);
    assert_int_equal(wait_as(f, flight, "hf_other"),
                     HC_SHARED_TRANSFER_PROVE); /* to go on */

    admit(f, flight, "hf_other");
    admit(f, flight, "hf_other");
    assert_int_equal(wait_as(f, flight, "hf_othe"), HC_SHARED_TRANSFER_PROVE);
    assert_int_equal(wait_as(f, flight, "hf_other"), HC_SHARED_TRANSFER_LEAD);
    hc_shared_transfer_finish(f->flights, flight, NULL);
    assert_int_equal(wait_as(f, flight, "hf_third"),
                     HC_SHARED_TRANSFER_DONE); /* it is there */
    hc_shared_transfer_leave(f->flights, flight);
    hc_shared_transfer_leave(f->flights, flight);
}

static void a_forced_fetch_flies_alone(void **state)
{
    struct fixture *f = *state;
    struct hc_shared_transfer *usual = join(f, false), *forced = join(f, true);

    assert_ptr_not_equal(usual, forced);
    assert_int_equal(wait_as(f, usual, NULL), HC_SHARED_TRANSFER_LEAD);
    assert_int_equal(wait_as(f, forced, NULL), HC_SHARED_TRANSFER_LEAD);
    hc_shared_transfer_leave(f->flights, usual);
    hc_shared_transfer_leave(f->flights, forced);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_leads_and_the_next_waits),
        TEST(a_landing_is_everybodys_answer_and_the_end_of_the_flight),
        TEST(a_failure_is_everybodys_too),
        TEST(cargo_is_handed_over_with_the_lead),
        TEST(what_an_earlier_transfer_left_is_given),
        TEST(what_another_process_had_at_first_sight_is_given),
        TEST(a_refusal_is_for_those_with_the_same_token),
        TEST(no_token_and_an_empty_one_are_the_same),
        TEST(other_credentials_are_proved_before_waiting_or_leading),
        TEST(a_forced_fetch_flies_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
