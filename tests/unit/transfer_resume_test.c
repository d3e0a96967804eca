/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: bytes of a blob that have arrived are not fetched again, whatever ended
 * the transfer: the last waiter left, the Hub went away, or the process was killed.
 */
#include "blob_id.h"
#include "cache_helper.h"
#include "transfer_fixture.h"

#include <store/ingest.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, PART = 8 * MIB, STALL_AT = 5 * MIB };

/* One thread that fetches large.bin and is cancelled. */
struct fetcher {
    struct fixture *f;
    struct hc_cancellation *call;
    pthread_t thread;
    int result;
};

static void *leaver_main(void *ctx)
{
    struct fetcher *fetcher = ctx;
    uint64_t fetched;

    fetcher->result = fetch_file(fetcher->f, "large.bin", fetcher->call, &fetched);
    return NULL;
}

/* Also over the connection that replaces the first one. */
static void hub_stall(struct fixture *f)
{
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .range = "bytes=0-",
                                          .fault = TEST_HUB_STALL,
                                          .number = STALL_AT});
    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .range = "bytes=5242880-",
                                          .fault = TEST_HUB_STALL});
}

/*
 * A transfer whose only waiter leaves when all is there but what the first connection,
 * which stalls, has not brought of its part.
 */
static void leave_in_mid_transfer(struct fixture *f)
{
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    struct fetcher fetcher = {.f = f, .call = hc_cancellation_new(HC_NO_DEADLINE)};

    hub_stall(f);
    assert_int_equal(pthread_create(&fetcher.thread, NULL, leaver_main, &fetcher), 0);
    await_arrived(f, metadata.etag, LARGE_SIZE - PART + STALL_AT);
    hc_cancellation_cancel(fetcher.call);
    assert_int_equal(pthread_join(fetcher.thread, NULL), 0);
    hc_cancellation_free(fetcher.call);
    assert_int_equal(fetcher.result, -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
    test_hub_clear_rules(f->server);
}

static void when_the_last_waiter_leaves_what_arrived_is_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    leave_in_mid_transfer(f);
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, PART - STALL_AT);
    expect_log(f, "range=bytes=5242880-8388607", true);
    expect_only_blob(f, "large.bin");
}

static void a_forced_fetch_starts_from_the_beginning(void **state)
{
    struct fixture *f = *state;
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    struct hc_blob_request request = blob_request_of(f, "large.bin", &metadata);
    const struct hc_hub_credentials credentials = {0};
    struct hc_blob_result result;

    leave_in_mid_transfer(f);
    request.is_forced = true;
    assert_int_equal(hc_transfers_fetch(f->transfers, &request, &credentials, &result,
                                        &f->err),
                     0);
    assert_int_equal(result.fetched_bytes, LARGE_SIZE);
    expect_only_blob(f, "large.bin");
}

static void what_came_before_the_hub_went_away_is_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    inject_rule(f, (struct test_hub_rule){.on_cdn = true,
                                          .times = 1,
                                          .fault = TEST_HUB_CUT,
                                          .number = STALL_AT});
    inject_rule(f, (struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_CLOSE});
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    test_hub_clear_rules(f->server);

    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, LARGE_SIZE - STALL_AT);
    expect_only_blob(f, "large.bin");
}

/* A transfer of another process, which has fetched `count` bytes of value `value`. */
static void crash_with_partial(struct fixture *f, int value, size_t count)
{
    const struct hc_metadata metadata = metadata_of(f, "large.bin");
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct hc_ingest *ingest =
            begin_ingest(f->cache, BLOB_OF(f, metadata.etag), metadata.size, &f->err);
        char *bytes = malloc(count);

        memset(bytes, value, count);
        _exit(ingest && hc_ingest_write(ingest, 0, bytes, count, &f->err) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void wrong_bytes_of_a_dead_process_cost_one_more_fetch(void **state)
{
    struct fixture *f = *state;
    uint64_t fetched;

    crash_with_partial(f, 'x', 3 * (uint64_t)MIB);
    assert_int_equal(fetch_file(f, "large.bin", NULL, &fetched), 0);
    assert_int_equal(fetched, LARGE_SIZE);
    expect_log(f, "range=bytes=3145728-", true);
    expect_only_blob(f, "large.bin");
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(when_the_last_waiter_leaves_what_arrived_is_kept),
        TEST(a_forced_fetch_starts_from_the_beginning),
        TEST(what_came_before_the_hub_went_away_is_kept),
        TEST(wrong_bytes_of_a_dead_process_cost_one_more_fetch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
