/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: what goes wrong for one token or one repo stays with it, and while the
 * whole Hub is down the number of requests does not grow with the number of callers.
 */
#include "hub_fixture.h"

#include <hub/breaker.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 60, RETRIES = 5 };

/* A hub whose first pause is that long. */
static struct hc_hub *outage_open_hub(struct fixture *f, unsigned retries,
                                      unsigned pause_ms)
{
    char *endpoint = strdup(test_hub_endpoint(f->server));
    const struct hc_settings settings = {.endpoint = endpoint,
                                         .metadata_timeout_s = 2,
                                         .retries = retries,
                                         .retry_base_ms = pause_ms};
    struct hc_hub *hub = hc_hub_open(&settings, &f->err);

    assert_non_null(hub);
    free(endpoint);
    return hub;
}

/* A caller on a thread of its own, and its answer. */
struct caller {
    struct fixture *f;
    struct hc_hub *hub;
    struct hc_repo repo;
    pthread_t thread;
    int result;
    struct hc_error err;
};

static void *outage_ask(void *ctx)
{
    struct caller *caller = ctx;
    struct hc_revision answer;

    caller->result = hc_hub_revision(caller->hub, &caller->repo, "main",
                                     &caller->f->credentials, &answer, &caller->err);
    return NULL;
}

/* Each asks about a repo of its own, all at the same time. */
static void outage_start_all(struct fixture *f, struct hc_hub *hub,
                             struct caller *callers)
{
    for (int i = 0; i < CALLERS; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "org/m%d", i);
        callers[i] = (struct caller){.f = f, .hub = hub};
        assert_int_equal(hc_repo_init(&callers[i].repo, HC_REPO_MODEL, id,
                                      &callers[i].err),
                         0);
    }
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&callers[i].thread, NULL, outage_ask,
                                        &callers[i]),
                         0);
}

static void outage_join_all(struct caller *callers)
{
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
}

static void callers_in_an_outage_share_one_back_off(void **state)
{
    static const struct test_hub_rule faults[] = {
        {.fault = TEST_HUB_CLOSE},
        {.fault = TEST_HUB_STATUS, .number = 503},
        {.fault = TEST_HUB_STATUS, .number = 500},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        HC_AUTO(hc_hub) *hub = outage_open_hub(f, RETRIES, 50);
        struct caller callers[CALLERS];

        test_hub_clear_rules(f->server);
        test_hub_clear_log(f->server);
        hub_fixture_add_rule(f, faults[i]);
        outage_start_all(f, hub, callers);
        outage_join_all(callers);
        for (int k = 0; k < CALLERS; k++) {
            assert_int_equal(callers[k].result, -1);
            assert_int_equal(callers[k].err.reason, HC_HUB_UNREACHABLE);
            assert_non_null(strstr(callers[k].err.message, callers[k].repo.id));
            assert_true(callers[k].err.retry_after_ms > 0);
        }
        /* Each once, then one trial for all of them after each pause. */
        assert_in_range(test_hub_count(f->server, NULL, NULL), RETRIES,
                        CALLERS + 2 * RETRIES);
    }
}

static void all_callers_go_on_when_a_trial_finds_the_hub_back(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = outage_open_hub(f, RETRIES, 200);
    struct caller callers[CALLERS];

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_CLOSE});
    for (int i = 0; i < CALLERS; i++) {
        char repo[24];
        char commit[41];

        (void)snprintf(repo, sizeof repo, "models/org/m%d", i);
        test_hub_add(f->server, "f", "f", 1, false);
        test_hub_commit(f->server, repo, "main", commit);
    }
    outage_start_all(f, hub, callers);
    test_hub_await(f->server, "GET", NULL, HC_BREAKER_FAILURES + 1);
    test_hub_clear_rules(f->server);
    outage_join_all(callers);
    for (int i = 0; i < CALLERS; i++) {
        if (callers[i].result != 0)
            fail_msg("caller %d: %s", i, callers[i].err.message);
    }
}

static void a_caller_that_comes_late_does_not_ask_in_an_outage(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() + 400);
    HC_AUTO(hc_hub) *hub = outage_open_hub(f, 0, 10000);
    struct hc_revision answer;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_CLOSE});
    for (int i = 0; i < 3; i++)
        assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials, &answer,
                                         &f->err),
                         -1);
    f->credentials.cancellation = cancellation;
    test_hub_clear_log(f->server);
    assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials, &answer,
                                     &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_in_range(f->err.retry_after_ms, 1000, 15000);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 0);
}

static void a_caller_that_leaves_its_trial_leaves_it_to_another(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = hub_fixture_open(test_hub_endpoint(f->server), 0);
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(hc_monotonic_ms() + 500);
    struct hc_revision answer;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_CLOSE, .times = 3});
    for (int i = 0; i < 3; i++)
        assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials, &answer,
                                         &f->err),
                         -1);
    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_DELAY,
                                                   .number = 1500,
                                                   .times = 1});
    f->credentials.cancellation = cancellation;
    assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials, &answer,
                                     &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    f->credentials.cancellation = NULL;
    assert_int_equal(hc_hub_revision(hub, &f->repo, "main", &f->credentials, &answer,
                                     &f->err),
                     0);
}

static void one_repos_failures_leave_the_others_alone(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;
    struct hc_repo broken;

    assert_int_equal(hc_repo_init(&broken, HC_REPO_MODEL, "org/broken", &f->err), 0);
    hub_fixture_add_rule(f, (struct test_hub_rule){.contains = "broken",
                                                   .fault = TEST_HUB_STATUS,
                                                   .number = 500});
    f->credentials.no_retry = true; /* there are older answers of all of them */
    for (int i = 0; i < 10; i++) {
        struct hc_revision answer;

        assert_int_equal(hc_hub_revision(f->hub, &broken, "main", &f->credentials,
                                         &answer, &f->err),
                         -1);
        assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    }
    assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata), 0);
    assert_int_equal(test_hub_count(f->server, NULL, "broken"), 3); /* then it is down */
}

static void a_pause_told_to_one_token_throttles_no_other(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;
    int64_t start_ms = hc_monotonic_ms();

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                   .times = 1,
                                                   .number = 429,
                                                   .retry_after_s = 60});
    f->credentials.token = good_token;
    assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata), -1);
    assert_int_equal(f->err.reason, HC_HUB_RATE_LIMITED);

    f->credentials.token = NULL;
    assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata), 0);
    assert_true(hc_monotonic_ms() - start_ms < 10000);
    f->credentials.token = good_token; /* and this one is still throttled */
    test_hub_clear_log(f->server);
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_HUB_RATE_LIMITED);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 0);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, hub_fixture_set_up, hub_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(callers_in_an_outage_share_one_back_off),
        TEST(all_callers_go_on_when_a_trial_finds_the_hub_back),
        TEST(a_caller_that_comes_late_does_not_ask_in_an_outage),
        TEST(a_caller_that_leaves_its_trial_leaves_it_to_another),
        TEST(one_repos_failures_leave_the_others_alone),
        TEST(a_pause_told_to_one_token_throttles_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
