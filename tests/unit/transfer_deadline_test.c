/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the deadline of the caller that leads a transfer ends its connections, one
 * or many, when the storage answers no connect or says nothing; its connections are given
 * back, and a caller with a later deadline fetches the blob.
 */
#include "relay.h"
#include "transfer_fixture.h"

#include <base/auto.h>
#include <base/error.h>
#include <hub/hub.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SOON_MS = 2000, LATE_MS = 3600000 };

struct fetcher {
    struct fixture *f;
    struct hc_blob_request request;
    struct hc_hub_credentials credentials;
    pthread_t thread;
    int result;
    struct hc_blob_result blob;
    struct hc_error err;
};

static void *fetcher_main(void *ctx)
{
    struct fetcher *fetcher = ctx;

    fetcher->result =
        hc_transfers_fetch(fetcher->f->transfers, &fetcher->request,
                           &fetcher->credentials, &fetcher->blob, &fetcher->err);
    return NULL;
}

static void fetcher_start(struct fetcher *fetcher, int64_t deadline_ms)
{
    fetcher->credentials.cancellation = hc_cancellation_new(deadline_ms);
    assert_int_equal(pthread_create(&fetcher->thread, NULL, fetcher_main, fetcher), 0);
}

static int fetcher_finish(struct fetcher *fetcher)
{
    assert_int_equal(pthread_join(fetcher->thread, NULL), 0);
    hc_cancellation_free(fetcher->credentials.cancellation);
    return fetcher->result;
}

static void expect_no_transfers(struct fixture *f)
{
    unsigned count, connections;

    hc_transfers_count(f->transfers, &count, &connections);
    assert_int_equal(count, 0);
    assert_int_equal(connections, 0);
}

/* Of the hasty caller that leads, and the patient one that waits for it. */
static void fetch_by_two(struct fixture *f, const char *path, enum relay_fault fault)
{
    const struct hc_metadata metadata = metadata_of(f, path);
    struct relay *relay = relay_start(metadata.location, fault);
    const char *target = strchr(strstr(metadata.location, "://") + 3, '/');
    HC_AUTO_FREE char *location = NULL;
    struct fetcher hasty = {.f = f, .request = blob_request_of(f, path, &metadata)};
    struct fetcher patient;

    assert_true(asprintf(&location, "%s%s", relay_url(relay), target) > 0);
    hasty.request.location = location;
    patient = hasty;
    fetcher_start(&hasty, hc_monotonic_ms() + SOON_MS);
    await_callers(f, 1);
    fetcher_start(&patient, hc_monotonic_ms() + LATE_MS);

    assert_int_equal(fetcher_finish(&hasty), -1);
    assert_int_equal(hasty.err.reason, HC_DEADLINE_EXCEEDED);
    if (fault != RELAY_DROPS_CONNECTS)
        relay_await_closed(relay, 1);
    relay_release(relay);
    assert_int_equal(fetcher_finish(&patient), 0);
    assert_int_equal(patient.blob.fetched_bytes, metadata.size);
    expect_no_transfers(f);
    expect_only_blob(f, path);
    relay_stop(relay);
}

static void a_connect_that_is_never_answered_ends_with_its_caller(void **state)
{
    fetch_by_two(*state, "small.bin", RELAY_DROPS_CONNECTS);
}

static void a_silent_storage_is_left_with_its_caller(void **state)
{
    fetch_by_two(*state, "small.bin", RELAY_KEEPS_ANSWERS);
}

static void so_is_one_that_trickles(void **state)
{
    fetch_by_two(*state, "small.bin", RELAY_TRICKLES_ANSWERS);
}

static void all_connections_of_a_large_blob_end_with_their_caller(void **state)
{
    fetch_by_two(*state, "large.bin", RELAY_DROPS_CONNECTS);
}

static void all_connections_to_a_silent_storage_end_with_their_caller(void **state)
{
    fetch_by_two(*state, "large.bin", RELAY_KEEPS_ANSWERS);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connect_that_is_never_answered_ends_with_its_caller),
        TEST(a_silent_storage_is_left_with_its_caller),
        TEST(so_is_one_that_trickles),
        TEST(all_connections_of_a_large_blob_end_with_their_caller),
        TEST(all_connections_to_a_silent_storage_end_with_their_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
