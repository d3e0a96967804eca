/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: callers that want the same blob at the same time cost the Hub one
 * transfer, and it goes on as long as one of them waits. Threads meet at the blob's own
 * lock, which the test holds until all have joined, or at a stalled answer: nothing
 * depends on timing.
 */
#include "blob_id.h"
#include "cache_helper.h"
#include "single_flight_helper.h"
#include "transfer_fixture.h"

#include <base/auto.h>

#include <transfer/blob_download.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 16, STALL_AT = 1000 };

/* One thread that fetches. */
struct fetcher {
    struct fixture *f;
    const struct hc_metadata *metadata;
    struct hc_hub_credentials credentials;
    const char *location; /* where it was told the bytes are */
    pthread_t thread;
    int result;
    struct hc_blob_result blob;
    struct hc_error err;
};

static void *sharer_main(void *ctx)
{
    struct fetcher *fetcher = ctx;
    struct hc_blob_request request =
        blob_request_of(fetcher->f, "small.bin", fetcher->metadata);

    request.location = fetcher->location;
    fetcher->result =
        hc_transfers_fetch(fetcher->f->transfers, &request, &fetcher->credentials,
                           &fetcher->blob, &fetcher->err);
    return NULL;
}

static void sharer_start(struct fetcher *fetcher, struct fixture *f,
                         const struct hc_metadata *metadata)
{
    fetcher->f = f;
    fetcher->metadata = metadata;
    fetcher->credentials.cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    assert_int_equal(pthread_create(&fetcher->thread, NULL, sharer_main, fetcher), 0);
}

static int sharer_finish(struct fetcher *fetcher)
{
    assert_int_equal(pthread_join(fetcher->thread, NULL), 0);
    hc_cancellation_free(fetcher->credentials.cancellation);
    return fetcher->result;
}

static void hub_stall_first(struct fixture *f)
{
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_STALL,
                                          .number = STALL_AT});
}

/* A leader in mid-transfer, and a waiter. */
static void sharers_start_two(struct fixture *f, const struct hc_metadata *metadata,
                              struct fetcher fetchers[2])
{
    hub_stall_first(f);
    sharer_start(&fetchers[0], f, metadata);
    test_hub_await_stall(f->server);
    await_arrived(f, metadata->etag, STALL_AT);
    sharer_start(&fetchers[1], f, metadata);
    await_callers(f, 2);
}

/* Before any of them can begin: the test has the lock, until they all wait. */
static void sharers_start(struct fetcher fetchers[THREADS], struct fixture *f,
                          const struct hc_metadata *metadata, struct hc_blob_lock *lock)
{
    for (size_t i = 0; i < THREADS; i++)
        sharer_start(&fetchers[i], f, metadata);
    await_callers(f, THREADS);
    hc_blob_lock_release(lock);
}

static void many_callers_cost_one_transfer(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct hc_blob_lock *lock = take_lock(f->cache, BLOB_OF(f, metadata.etag));
    struct fetcher fetchers[THREADS] = {0};
    uint64_t fetched = 0;

    sharers_start(fetchers, f, &metadata, lock);

    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(sharer_finish(&fetchers[i]), 0);
        fetched += fetchers[i].blob.fetched_bytes;
    }
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
    assert_int_equal(fetched, SMALL_SIZE); /* one of them fetched it */
    assert_int_equal(single_flights_callers(&f->transfers->active), 0);
    expect_only_blob(f, "small.bin");
}

static void all_callers_see_the_retries_of_a_shared_transfer(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct hc_blob_lock *lock = take_lock(f->cache, BLOB_OF(f, metadata.etag));
    struct fetcher fetchers[THREADS] = {0};

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_CUT,
                                          .number = STALL_AT});
    sharers_start(fetchers, f, &metadata, lock);

    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(sharer_finish(&fetchers[i]), 0);
        assert_int_equal(fetchers[i].blob.retries, 1);
    }
}

static void a_blob_that_another_process_fetched_is_not_fetched_again(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct hc_blob_lock *lock = take_lock(f->cache, BLOB_OF(f, metadata.etag));
    struct fetcher fetcher = {0};
    char blob[PATH_MAX];
    char *bytes = malloc(SMALL_SIZE + 1);

    assert_non_null(bytes);
    memset(bytes, 'x', SMALL_SIZE);
    bytes[SMALL_SIZE] = '\0';
    sharer_start(&fetcher, f, &metadata);
    await_callers(f, 1);
    assert_int_equal(hc_cache_blob_path(blob, BLOB_OF(f, metadata.etag), &f->err), 0);
    temp_dir_write(f->dir, blob, bytes);
    hc_blob_lock_release(lock);
    free(bytes);

    assert_int_equal(sharer_finish(&fetcher), 0);
    assert_int_equal(fetcher.blob.fetched_bytes, 0);
    assert_int_equal(test_hub_count(f->server, "GET", NULL), 0);
}

static void a_transfer_outlives_the_caller_that_began_it(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct fetcher fetchers[2] = {0};

    sharers_start_two(f, &metadata, fetchers);
    hc_cancellation_cancel(fetchers[0].credentials.cancellation);

    assert_int_equal(sharer_finish(&fetchers[0]), -1);
    assert_int_equal(fetchers[0].err.reason, HC_CANCELLED);
    assert_int_equal(sharer_finish(&fetchers[1]), 0);
    assert_int_equal(fetchers[1].blob.fetched_bytes, SMALL_SIZE);
    expect_log(f, "range=bytes=1000-", true);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 2);
    expect_only_blob(f, "small.bin");
}

static void a_waiting_caller_may_leave(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct fetcher fetchers[2] = {0};

    sharers_start_two(f, &metadata, fetchers);
    hc_cancellation_cancel(fetchers[1].credentials.cancellation);
    assert_int_equal(sharer_finish(&fetchers[1]), -1);
    assert_int_equal(fetchers[1].err.reason, HC_CANCELLED);

    test_hub_release(f->server);
    assert_int_equal(sharer_finish(&fetchers[0]), 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
    expect_only_blob(f, "small.bin");
}

static void a_transfer_without_callers_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct fetcher fetchers[2] = {0};

    sharers_start_two(f, &metadata, fetchers);
    hc_cancellation_cancel(fetchers[0].credentials.cancellation);
    hc_cancellation_cancel(fetchers[1].credentials.cancellation);
    assert_int_equal(sharer_finish(&fetchers[0]), -1);
    assert_int_equal(sharer_finish(&fetchers[1]), -1);

    expect_no_blob(f);
    assert_false(hc_blob_lock_is_held(f->cache, BLOB_OF(f, metadata.etag)));
    assert_int_equal(hc_transfers_progress(f->transfers, BLOB_OF(f, metadata.etag)).bytes,
                     0);
}

static void a_failure_reaches_all_callers(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct hc_blob_lock *lock = take_lock(f->cache, BLOB_OF(f, metadata.etag));
    struct fetcher fetchers[THREADS] = {0};

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .fault = TEST_HUB_CORRUPT,
                                          .number = 1});
    sharers_start(fetchers, f, &metadata, lock);

    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(sharer_finish(&fetchers[i]), -1);
        assert_int_equal(fetchers[i].err.reason, HC_CHECKSUM_MISMATCH);
    }
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 2);
    expect_no_blob(f);
}

static void a_good_token_is_not_spoilt_by_bad_ones(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct hc_blob_lock *lock = take_lock(f->cache, BLOB_OF(f, metadata.etag));
    struct fetcher fetchers[THREADS] = {0};

    test_hub_set_access(f->server, "models/org/m", TEST_HUB_GATED);
    fetchers[THREADS - 1].credentials.token = "hf_good";
    sharers_start(fetchers, f, &metadata, lock);

    for (size_t i = 0; i < THREADS; i++)
        (void)sharer_finish(&fetchers[i]);
    assert_int_equal(fetchers[THREADS - 1].result, 0);
    for (size_t i = 0; i < THREADS; i++) {
        /* The others share a refusal, or came when the blob was there. */
        if (fetchers[i].result < 0)
            assert_int_equal(fetchers[i].err.reason, HC_GATED_REPO);
    }
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
}

/* ---- credentials
 * ------------------------------------------------------------------------
 *  */

/* One in mid-transfer with the good token, of a repo that is given only to that. */
static void sharers_start_restricted(struct fixture *f,
                                     const struct hc_metadata *metadata,
                                     struct fetcher *fetcher)
{
    test_hub_set_access(f->server, "models/org/m", TEST_HUB_PRIVATE);
    hub_stall_first(f);
    fetcher->credentials.token = "hf_good";
    sharer_start(fetcher, f, metadata);
    test_hub_await_stall(f->server);
    await_arrived(f, metadata->etag, STALL_AT);
}

static void bytes_for_one_token_are_not_for_a_caller_without_it(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct fetcher owner = {0}, other = {0}, wrong = {.credentials.token = "hf_bad"};

    sharers_start_restricted(f, &metadata, &owner);
    sharer_start(&other, f, &metadata);
    assert_int_equal(sharer_finish(&other), -1);
    assert_int_equal(other.err.reason, HC_REPO_NOT_FOUND);
    sharer_start(&wrong, f, &metadata);
    assert_int_equal(sharer_finish(&wrong), -1);
    assert_int_equal(wrong.err.reason, HC_HUB_UNAUTHORIZED);

    test_hub_release(f->server);
    assert_int_equal(sharer_finish(&owner), 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
}

/* It has joined while its access is refused: the partial file is not for it. */
static void nor_are_they_when_that_caller_leaves(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct fetcher owner = {0}, other = {0};

    sharers_start_restricted(f, &metadata, &owner);
    inject_rule(f, (struct test_hub_rule){.method = "HEAD",
                                          .fault = TEST_HUB_DELAY,
                                          .number = 300});
    sharer_start(&other, f, &metadata);
    test_hub_await(f->server, "HEAD", "small.bin", 1);
    hc_cancellation_cancel(owner.credentials.cancellation);
    assert_int_equal(sharer_finish(&owner), -1);

    assert_int_equal(sharer_finish(&other), -1);
    assert_int_equal(other.err.reason, HC_REPO_NOT_FOUND);
    expect_no_blob(f);
}

static void a_caller_with_access_of_its_own_shares_them(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct fetcher owner = {0}, other = {.credentials.token = "hf_good"};

    hub_stall_first(f);
    sharer_start(&owner, f, &metadata);
    test_hub_await_stall(f->server);
    await_arrived(f, metadata.etag, STALL_AT);
    sharer_start(&other, f, &metadata);
    test_hub_await(f->server, "HEAD", "small.bin", 1);
    hc_cancellation_cancel(owner.credentials.cancellation);
    assert_int_equal(sharer_finish(&owner), -1);
    assert_int_equal(sharer_finish(&other), 0);
    expect_log(f, "range=bytes=1000-", true); /* it went on where that one was */
    assert_int_equal(test_hub_count(f->server, "HEAD", "small.bin"), 1);
}

static void a_caller_that_was_told_of_the_file_proves_nothing_again(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "small.bin");
    struct fetcher owner = {0}, other = {.credentials.token = "hf_good"};

    hub_stall_first(f);
    sharer_start(&owner, f, &metadata);
    test_hub_await_stall(f->server);
    other.location = metadata.location;
    sharer_start(&other, f, &metadata);
    await_callers(f, 2);
    test_hub_release(f->server);
    assert_int_equal(sharer_finish(&owner), 0);
    assert_int_equal(sharer_finish(&other), 0);
    assert_int_equal(test_hub_count(f->server, "HEAD", NULL), 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_callers_cost_one_transfer),
        TEST(all_callers_see_the_retries_of_a_shared_transfer),
        TEST(a_blob_that_another_process_fetched_is_not_fetched_again),
        TEST(a_transfer_outlives_the_caller_that_began_it),
        TEST(a_waiting_caller_may_leave),
        TEST(a_transfer_without_callers_leaves_nothing),
        TEST(a_failure_reaches_all_callers),
        TEST(a_good_token_is_not_spoilt_by_bad_ones),
        TEST(bytes_for_one_token_are_not_for_a_caller_without_it),
        TEST(nor_are_they_when_that_caller_leaves),
        TEST(a_caller_with_access_of_its_own_shares_them),
        TEST(a_caller_that_was_told_of_the_file_proves_nothing_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
