/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: an endpoint that throttles a token or a repo gets no such request until
 * the time it named; a circuit opens only after several failures in a row, for the repo
 * that failed or for all, and closes when one request gets a good response. The clock is
 * the test's.
 */
#include "test.h"

#include <hub/breaker.h>

#include <stdio.h>

enum { NOW = 5000, PAUSE = 100 };

static struct hc_breaker_key breaker_key_of(const char *token, const char *repo)
{
    return (struct hc_breaker_key){.token = hc_keyed_hash_of(token),
                                   .repo = hc_keyed_hash_of(repo)};
}

/* A request about the repo that a server had, and did not answer well. */
static void breaker_fail_repo(struct hc_breaker *breaker, const char *repo,
                              int64_t now_ms)
{
    const struct hc_breaker_key key = breaker_key_of(NULL, repo);

    hc_breaker_record_failure(breaker, &key,
                              &(const struct hc_breaker_failure){.was_sent = true,
                                                                 .now_ms = now_ms,
                                                                 .pause_ms = PAUSE});
}

/* A connection that could not be made. */
static void breaker_fail_to_connect(struct hc_breaker *breaker, int64_t now_ms)
{
    const struct hc_breaker_key key = breaker_key_of(NULL, "r");

    hc_breaker_record_failure(breaker, &key,
                              &(const struct hc_breaker_failure){.now_ms = now_ms,
                                                                 .pause_ms = PAUSE});
}

static void breaker_fail_trial(struct hc_breaker *breaker,
                               const struct hc_breaker_key *key, int64_t now_ms)
{
    hc_breaker_record_failure(breaker, key,
                              &(const struct hc_breaker_failure){.was_sent = true,
                                                                 .was_trial = true,
                                                                 .now_ms = now_ms,
                                                                 .pause_ms = PAUSE});
}

static int64_t breaker_open_ms(struct hc_breaker *breaker, const char *repo,
                               int64_t now_ms)
{
    const struct hc_breaker_key key = breaker_key_of(NULL, repo);

    return hc_breaker_open_ms(breaker, &key, now_ms);
}

static void breaker_succeed(struct hc_breaker *breaker, const char *repo)
{
    const struct hc_breaker_key key = breaker_key_of(NULL, repo);

    hc_breaker_record_success(breaker, &key);
}

static int64_t breaker_throttled_ms(struct hc_breaker *breaker, const char *token,
                                    const char *repo, int64_t now_ms)
{
    const struct hc_breaker_key key = breaker_key_of(token, repo);
    const struct hc_throttle *pause = hc_breaker_find_throttle(breaker, &key, now_ms);

    return pause ? pause->until_ms - now_ms : 0;
}

static void breaker_throttle(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                             enum hc_reason reason, int64_t ms)
{
    hc_breaker_throttle(breaker, key,
                        &(const struct hc_throttle){.reason = reason,
                                                    .until_ms = NOW + ms},
                        NOW);
}

static void a_new_breaker_is_closed(void **state)
{
    const struct hc_breaker_key key = breaker_key_of("t", "r");
    struct hc_breaker_wait seen = {0};
    struct hc_breaker breaker = {0};

    (void)state;
    assert_null(hc_breaker_find_throttle(&breaker, &key, NOW));
    assert_int_equal(hc_breaker_open_ms(&breaker, &key, NOW), 0);
    assert_int_equal(hc_breaker_try(&breaker, &key, NOW), 0);
    assert_int_equal(hc_breaker_try(&breaker, &key, NOW), 0);
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &seen, NOW), HC_BREAKER_CLOSED);
}

static void a_throttle_lasts_as_long_as_the_longest_that_was_asked_for(void **state)
{
    const struct hc_breaker_key key = breaker_key_of("t", "r");
    struct hc_breaker breaker = {0};

    (void)state;
    breaker_throttle(&breaker, &key, HC_HUB_RATE_LIMITED, 2000);
    breaker_throttle(&breaker, &key, HC_HUB_UNREACHABLE, 500);
    assert_int_equal(breaker_throttled_ms(&breaker, "t", "r", NOW + 1), 1999);
    assert_int_equal(hc_breaker_find_throttle(&breaker, &key, NOW)->reason,
                     HC_HUB_RATE_LIMITED);
    assert_int_equal(breaker_throttled_ms(&breaker, "t", "r", NOW + 2000), 0);
}

static void a_rate_limit_throttles_the_token_that_was_told(void **state)
{
    struct hc_breaker_key key = breaker_key_of("one", "r");
    struct hc_breaker breaker = {0};

    (void)state;
    breaker_throttle(&breaker, &key, HC_HUB_RATE_LIMITED, 2000);
    assert_int_equal(breaker_throttled_ms(&breaker, "one", "other", NOW), 2000);
    assert_int_equal(breaker_throttled_ms(&breaker, "two", "r", NOW), 0);
    assert_int_equal(breaker_throttled_ms(&breaker, NULL, "r", NOW), 0);

    key.token = hc_keyed_hash_of("");
    breaker_throttle(&breaker, &key, HC_HUB_RATE_LIMITED, 1000);
    assert_int_equal(breaker_throttled_ms(&breaker, NULL, "other", NOW), 1000);
    assert_int_equal(breaker_throttled_ms(&breaker, "two", "r", NOW), 0);
}

static void an_overload_throttles_the_repo_and_in_an_outage_all(void **state)
{
    const struct hc_breaker_key key = breaker_key_of("t", "r");
    struct hc_breaker breaker = {0};

    (void)state;
    breaker_throttle(&breaker, &key, HC_HUB_UNREACHABLE, 2000);
    assert_int_equal(breaker_throttled_ms(&breaker, "other", "r", NOW), 2000);
    assert_int_equal(breaker_throttled_ms(&breaker, "t", "other", NOW), 0);

    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        breaker_fail_to_connect(&breaker, NOW);
    breaker_throttle(&breaker, &key, HC_HUB_UNREACHABLE, 3000);
    assert_int_equal(breaker_throttled_ms(&breaker, NULL, "other", NOW), 3000);
}

static void more_throttles_than_there_are_slots_forget_the_shortest(void **state)
{
    struct hc_breaker breaker = {0};
    char token[16];

    (void)state;
    for (int i = 0; i <= HC_BREAKER_THROTTLES; i++) {
        struct hc_breaker_key key;

        (void)snprintf(token, sizeof token, "%d", i);
        key = breaker_key_of(token, "r");
        breaker_throttle(&breaker, &key, HC_HUB_RATE_LIMITED, 1000 + i);
    }
    assert_int_equal(breaker_throttled_ms(&breaker, "0", "r", NOW), 0);
    assert_int_equal(breaker_throttled_ms(&breaker, "1", "r", NOW), 1001);
    assert_int_equal(breaker_throttled_ms(&breaker, token, "r", NOW),
                     1000 + HC_BREAKER_THROTTLES);
}

static void a_response_to_another_request_ends_no_throttle(void **state)
{
    const struct hc_breaker_key key = breaker_key_of("t", "r");
    struct hc_breaker breaker = {0};

    (void)state;
    breaker_throttle(&breaker, &key, HC_HUB_RATE_LIMITED, 2000);
    hc_breaker_record_success(&breaker, &key);
    assert_int_equal(breaker_throttled_ms(&breaker, "t", "r", NOW), 2000);
}

static void silence_counts_only_in_a_row(void **state)
{
    struct hc_breaker breaker = {0};

    (void)state;
    for (int i = 0; i < 10; i++) {
        breaker_fail_repo(&breaker, "r", NOW);
        breaker_fail_to_connect(&breaker, NOW);
        assert_int_equal(breaker_open_ms(&breaker, "r", NOW), 0);
        breaker_succeed(&breaker, "r");
    }
    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        breaker_fail_repo(&breaker, "r", NOW);
    assert_int_equal(breaker_open_ms(&breaker, "r", NOW), HC_BREAKER_OPEN_MS);
}

static void one_broken_repo_opens_its_circuit_only(void **state)
{
    struct hc_breaker breaker = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        breaker_fail_repo(&breaker, "broken", NOW + i);
    assert_int_equal(breaker_open_ms(&breaker, "broken", NOW + 99), HC_BREAKER_OPEN_MS);
    assert_int_equal(breaker_open_ms(&breaker, "other", NOW + 99), 0);

    breaker_succeed(&breaker, "other"); /* says nothing of the broken one */
    assert_int_equal(breaker_open_ms(&breaker, "broken", NOW + 99), HC_BREAKER_OPEN_MS);
    breaker_succeed(&breaker, "broken");
    assert_int_equal(breaker_open_ms(&breaker, "broken", NOW + 99), 0);
}

static void
several_repos_that_fail_in_a_row_open_the_circuit_of_the_endpoint(void **state)
{
    static const char *const repos[] = {"a", "b", "c"};
    struct hc_breaker breaker = {0};

    (void)state;
    for (int i = 0; i < 2; i++)
        breaker_fail_repo(&breaker, repos[i], NOW);
    breaker_succeed(&breaker, "good");
    for (int i = 0; i < 2; i++)
        breaker_fail_repo(&breaker, repos[i], NOW);
    assert_int_equal(breaker_open_ms(&breaker, "good", NOW), 0);
    breaker_fail_repo(&breaker, repos[2], NOW);
    assert_int_equal(breaker_open_ms(&breaker, "good", NOW), HC_BREAKER_OPEN_MS);
}

static void connections_that_cannot_be_made_open_the_circuit_of_the_endpoint(void **state)
{
    struct hc_breaker breaker = {0};

    (void)state;
    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        breaker_fail_to_connect(&breaker, NOW);
    assert_int_equal(breaker_open_ms(&breaker, "other", NOW), HC_BREAKER_OPEN_MS);
}

static void more_broken_repos_than_there_are_slots_do_no_harm(void **state)
{
    struct hc_breaker breaker = {0};

    (void)state;
    for (int i = 0; i < 3 * HC_BREAKER_REPOS; i++) {
        char repo[16];

        (void)snprintf(repo, sizeof repo, "%d", i);
        breaker_fail_repo(&breaker, repo, NOW + i);
        breaker_succeed(&breaker, "good");
    }
    assert_int_equal(breaker_open_ms(&breaker, "good", NOW), 0);
}

static void one_trial_finds_out_whether_it_is_back(void **state)
{
    const struct hc_breaker_key key = breaker_key_of(NULL, "r");
    struct hc_breaker breaker = {0};
    const int64_t later = NOW + HC_BREAKER_OPEN_MS;

    (void)state;
    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        breaker_fail_repo(&breaker, "r", NOW);
    assert_int_equal(hc_breaker_try(&breaker, &key, later - 1), 1);
    assert_int_equal(hc_breaker_try(&breaker, &key, later), 0);
    assert_int_equal(hc_breaker_try(&breaker, &key, later), HC_BREAKER_OPEN_MS);

    breaker_fail_repo(&breaker, "r", later + 10);
    assert_int_equal(hc_breaker_try(&breaker, &key, later + 10), HC_BREAKER_OPEN_MS);
    breaker_succeed(&breaker, "r");
    assert_int_equal(hc_breaker_try(&breaker, &key, later + 10), 0);
    assert_int_equal(hc_breaker_try(&breaker, &key, later + 10), 0);
}

static void waiting_callers_share_one_pause_and_one_trial(void **state)
{
    const struct hc_breaker_key key = breaker_key_of(NULL, "r");
    struct hc_breaker_wait first = {0}, second = {0}, late = {0};
    struct hc_breaker breaker = {0};

    (void)state;
    for (int i = 0; i < HC_BREAKER_FAILURES + 20; i++) /* the late ones say nothing new */
        breaker_fail_repo(&breaker, "r", NOW);
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &first, NOW), HC_BREAKER_WAIT);
    assert_int_equal(first.wait_ms, PAUSE);
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &second, NOW), HC_BREAKER_WAIT);

    assert_int_equal(hc_breaker_acquire(&breaker, &key, &first, NOW + PAUSE),
                     HC_BREAKER_HALF_OPEN);
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &second, NOW + PAUSE),
                     HC_BREAKER_WAIT);
    breaker_fail_trial(&breaker, &key, NOW + PAUSE);
    assert_int_equal(hc_breaker_pauses(&breaker, &key), 2);
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &second, NOW + PAUSE),
                     HC_BREAKER_STILL_OPEN);
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &late, NOW + PAUSE),
                     HC_BREAKER_WAIT);

    assert_int_equal(hc_breaker_acquire(&breaker, &key, &late, NOW + 2 * PAUSE),
                     HC_BREAKER_HALF_OPEN);
    hc_breaker_release_trial(&breaker, &key); /* it was cancelled */
    second = (struct hc_breaker_wait){0};
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &second, NOW + 2 * PAUSE),
                     HC_BREAKER_HALF_OPEN);
    breaker_succeed(&breaker, "r");
    assert_int_equal(hc_breaker_acquire(&breaker, &key, &late, NOW + 2 * PAUSE),
                     HC_BREAKER_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_breaker_is_closed),
        cmocka_unit_test(a_throttle_lasts_as_long_as_the_longest_that_was_asked_for),
        cmocka_unit_test(a_rate_limit_throttles_the_token_that_was_told),
        cmocka_unit_test(an_overload_throttles_the_repo_and_in_an_outage_all),
        cmocka_unit_test(more_throttles_than_there_are_slots_forget_the_shortest),
        cmocka_unit_test(a_response_to_another_request_ends_no_throttle),
        cmocka_unit_test(silence_counts_only_in_a_row),
        cmocka_unit_test(one_broken_repo_opens_its_circuit_only),
        cmocka_unit_test(
            several_repos_that_fail_in_a_row_open_the_circuit_of_the_endpoint),
        cmocka_unit_test(
            connections_that_cannot_be_made_open_the_circuit_of_the_endpoint),
        cmocka_unit_test(more_broken_repos_than_there_are_slots_do_no_harm),
        cmocka_unit_test(one_trial_finds_out_whether_it_is_back),
        cmocka_unit_test(waiting_callers_share_one_pause_and_one_trial),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
