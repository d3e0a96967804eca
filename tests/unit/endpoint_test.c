/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise to the Hub: what it tells one caller holds for all, and it gets no more
 * requests than its budget. The promise to callers: none waits beyond its deadline, and
 * none with an older answer waits at all.
 */
#include "hub_fixture.h"

#include <hub/breaker.h>
#include <hub/hub_request.h>

#include <pthread.h>
#include <string.h>

static struct hc_endpoint *endpoint_of(struct fixture *f)
{
    return f->hub->endpoints[0];
}

/* A caller that waits, with this token, if it has one, asking about this repo. */
static struct hc_endpoint_permit endpoint_permit_of(struct hc_cancellation *cancellation,
                                                    const char *token,
                                                    const struct hc_repo *repo)
{
    const struct hc_hub_credentials credentials = {.token = token};

    return (struct hc_endpoint_permit){.key = hc_hub_request_breaker_key(&credentials,
                                                                         repo, true),
                                       .cancellation = cancellation,
                                       .pause_base_ms = 1,
                                       .may_wait = true};
}

static void endpoint_report(struct fixture *f, struct hc_endpoint *endpoint,
                            const struct hc_hub_response *reply,
                            const struct hc_error *failure)
{
    struct hc_endpoint_permit permit = endpoint_permit_of(NULL, NULL, &f->repo);

    hc_endpoint_report(endpoint, &permit, reply, failure);
}

static int endpoint_acquire_as(struct fixture *f, struct hc_endpoint *endpoint,
                               struct hc_cancellation *cancellation)
{
    struct hc_endpoint_permit permit = endpoint_permit_of(cancellation, NULL, &f->repo);

    return hc_endpoint_acquire(endpoint, &permit, &f->err);
}

/* As after a response to another caller. */
static void endpoint_report_status(struct fixture *f, long status,
                                   unsigned retry_after_ms)
{
    const struct hc_hub_response reply = {.status = status,
                                          .retry_after_ms = retry_after_ms};

    endpoint_report(f, endpoint_of(f), &reply, NULL);
}

static void endpoint_report_silence(struct fixture *f, unsigned times)
{
    const struct hc_error failure = {.reason = HC_HUB_UNREACHABLE};
    const struct hc_hub_response nothing = {0};

    while (times-- > 0)
        endpoint_report(f, endpoint_of(f), &nothing, &failure);
}

static void what_one_caller_is_told_throttles_all(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;
    int64_t start_ms = hc_monotonic_ms();

    endpoint_report_status(f, 429, 300);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);
    assert_true(hc_monotonic_ms() - start_ms >= 300);
}

static void a_429_that_says_no_time_throttles_all_for_a_second(void **state)
{
    struct fixture *f = *state;
    const struct hc_breaker_key key =
        hc_hub_request_breaker_key(&f->credentials, &f->repo, true);
    struct hc_metadata metadata;
    int64_t start_ms = hc_monotonic_ms();

    endpoint_report_status(f, 503, 0);
    assert_int_equal(hc_endpoint_throttled_ms(endpoint_of(f), &key), 0);
    endpoint_report_status(f, 429, 0);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);
    assert_in_range(hc_monotonic_ms() - start_ms, 1000, 5000);
}

static void a_throttle_that_outlasts_the_deadline_is_reported_at_once(void **state)
{
    static const struct {
        long status;
        enum hc_reason reason;
    } rows[] = {{429, HC_HUB_RATE_LIMITED}, {503, HC_HUB_UNREACHABLE}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        HC_AUTO(hc_hub) *hub = hub_fixture_open(test_hub_endpoint(f->server), 3);
        HC_AUTO(hc_cancellation) *cancellation =
            hc_cancellation_new(hc_monotonic_ms() + 20000);
        const struct hc_hub_credentials credentials = {.cancellation = cancellation};
        const struct hc_hub_response reply = {.status = rows[i].status,
                                              .retry_after_ms = 60000};
        struct hc_revision revision;

        endpoint_report(f, hub->endpoints[0], &reply, NULL);
        assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &credentials, &revision,
                                         &f->err),
                         -1);
        assert_int_equal(f->err.reason, rows[i].reason);
        assert_in_range(f->err.retry_after_ms, 50000, 60000);
        assert_non_null(strstr(f->err.message, "org/m"));
        assert_true(hc_cancellation_remaining_ms(cancellation) > 10000);
    }
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 0);
}

static void a_caller_with_an_older_answer_does_not_wait_for_a_throttle(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    f->credentials.no_retry = true;
    endpoint_report_status(f, 429, 20000);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_HUB_RATE_LIMITED);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 0);
}

static void
an_endpoint_that_is_down_is_left_alone_by_callers_with_an_older_answer(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    f->credentials.no_retry = true;
    endpoint_report_silence(f, HC_BREAKER_FAILURES);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 0);

    f->credentials.no_retry = false; /* the others find it back, for all */
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);
    f->credentials.no_retry = true;
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);
}

static void an_outage_is_noticed_by_asking(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_CLOSE});
    f->credentials.no_retry = true;
    for (int i = 0; i < HC_BREAKER_FAILURES + 5; i++) {
        assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
        assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    }
    assert_int_equal(test_hub_count(f->server, NULL, NULL), HC_BREAKER_FAILURES);
}

static void
a_caller_with_an_older_answer_hears_of_an_outage_before_its_deadline(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cancellation) *cancellation =
        hc_cancellation_new(hc_monotonic_ms() + 1900);
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_DELAY,
                                                   .number = 60000});
    f->credentials =
        (struct hc_hub_credentials){.cancellation = cancellation, .no_retry = true};
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
}

/* A hub with a budget of one request a second. */
static struct hc_hub *endpoint_open_budget_hub(struct fixture *f)
{
    char *endpoint = strdup(test_hub_endpoint(f->server));
    const struct hc_settings settings = {.endpoint = endpoint,
                                         .metadata_timeout_s = 5,
                                         .requests_per_second = 1};
    struct hc_hub *hub = hc_hub_open(&settings, &f->err);

    assert_non_null(hub);
    free(endpoint);
    return hub;
}

static void the_budget_is_kept(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = endpoint_open_budget_hub(f);
    int64_t start_ms = hc_monotonic_ms();
    struct hc_revision revision;

    for (int i = 0; i < 2; i++)
        assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials,
                                         &revision, &f->err),
                         0);
    assert_true(hc_monotonic_ms() - start_ms >= 900);
}

static void a_budget_spent_beyond_the_deadline_is_reported_at_once(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = endpoint_open_budget_hub(f);
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() + 900);
    struct hc_revision revision;

    f->credentials.cancellation = cancellation;
    assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials, &revision,
                                     &f->err),
                     0);
    assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials, &revision,
                                     &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_HUB_RATE_LIMITED);
    assert_in_range(f->err.retry_after_ms, 1, 1000);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 1);
}

static void a_caller_that_leaves_takes_nothing_out_of_the_budget(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = endpoint_open_budget_hub(f);
    HC_AUTO(hc_cancellation) *leaver = hc_cancellation_new(HC_NO_DEADLINE);
    HC_AUTO(hc_cancellation) *cancellation =
        hc_cancellation_new(hc_monotonic_ms() + 8000);

    assert_int_equal(endpoint_acquire_as(f, hub->endpoints[0], cancellation), 0);
    hc_cancellation_cancel(leaver);
    for (int i = 0; i < 20; i++)
        assert_int_equal(endpoint_acquire_as(f, hub->endpoints[0], leaver), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
    assert_int_equal(endpoint_acquire_as(f, hub->endpoints[0], cancellation), 0);
}

static void *endpoint_acquire_thread(void *ctx)
{
    struct hc_endpoint *endpoint = ctx;
    struct hc_endpoint_permit permit = {.may_wait = true};
    struct hc_error err;

    return hc_endpoint_acquire(endpoint, &permit, &err) < 0 ? ctx : NULL;
}

/* The first is let in at once, the others a second apart. */
static void the_budget_is_kept_by_all_together(void **state)
{
    enum { CALLERS = 4 };
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = endpoint_open_budget_hub(f);
    int64_t start_ms = hc_monotonic_ms();
    pthread_t threads[CALLERS];

    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, endpoint_acquire_thread,
                                        hub->endpoints[0]),
                         0);
    for (int i = 0; i < CALLERS; i++) {
        void *failed;

        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_in_range(hc_monotonic_ms() - start_ms, (CALLERS - 1) * 1000 - 10, 10000);
}

static void a_caller_that_waits_for_the_budget_hears_of_a_throttle(void **state)
{
    const struct hc_hub_response reply = {.status = 429, .retry_after_ms = 2000};
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = endpoint_open_budget_hub(f);
    int64_t held_ms;
    pthread_t thread;

    assert_int_equal(endpoint_acquire_as(f, hub->endpoints[0], NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, endpoint_acquire_thread,
                                    hub->endpoints[0]),
                     0);
    assert_int_equal(hc_cancellation_sleep(NULL, 200, &f->err), 0); /* it waits by now */
    endpoint_report(f, hub->endpoints[0], &reply, NULL);
    held_ms = hc_monotonic_ms();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(hc_monotonic_ms() - held_ms >= 1990);
}

static int endpoint_take_bytes(void *ctx, const void *bytes, size_t count,
                               struct hc_error *err)
{
    size_t *taken = ctx;

    (void)bytes, (void)err;
    *taken += count;
    return 0;
}

static void bandwidth_is_waited_for_until_the_caller_leaves(void **state)
{
    struct fixture *f = *state;
    char *endpoint = strdup(test_hub_endpoint(f->server));
    const struct hc_settings settings = {.endpoint = endpoint,
                                         .download_timeout_s = 5,
                                         .bytes_per_second = 1};
    HC_AUTO(hc_hub) *hub = hc_hub_open(&settings, &f->err);
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() + 500);
    size_t taken = 0;
    const struct hc_hub_download download = {
        .request =
            &(const struct hc_blob_request){.file = {&f->repo, f->commit, "model.bin"}},
        .size = 10,
        .write = endpoint_take_bytes,
        .ctx = &taken};

    f->credentials.cancellation = cancellation;
    assert_non_null(hub);
    assert_int_equal(hc_hub_get(hub, &download, &f->credentials, &f->err), -1);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    assert_int_equal(taken, 10);
    free(endpoint);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, hub_fixture_set_up, hub_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_one_caller_is_told_throttles_all),
        TEST(a_429_that_says_no_time_throttles_all_for_a_second),
        TEST(a_throttle_that_outlasts_the_deadline_is_reported_at_once),
        TEST(a_caller_with_an_older_answer_does_not_wait_for_a_throttle),
        TEST(an_endpoint_that_is_down_is_left_alone_by_callers_with_an_older_answer),
        TEST(an_outage_is_noticed_by_asking),
        TEST(a_caller_with_an_older_answer_hears_of_an_outage_before_its_deadline),
        TEST(the_budget_is_kept),
        TEST(a_budget_spent_beyond_the_deadline_is_reported_at_once),
        TEST(a_caller_that_leaves_takes_nothing_out_of_the_budget),
        TEST(the_budget_is_kept_by_all_together),
        TEST(a_caller_that_waits_for_the_budget_hears_of_a_throttle),
        TEST(bandwidth_is_waited_for_until_the_caller_leaves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
