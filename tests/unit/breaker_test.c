/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: an endpoint is left alone as long as it asked for by the callers that it
 * told so, and counts as down only after it failed several times in a row, for the repo
 * that failed or for all, until one question finds it back. The clock is the test's.
 */
#include "test.h"

#include <hub/breaker.h>

#include <stdio.h>

enum { NOW = 5000, PAUSE = 100 };

static struct hc_breaker_key asker_of(const char *token, const char *repo)
{
    return (struct hc_breaker_key){.token = hc_keyed_hash_of(token),
                                   .repo = hc_keyed_hash_of(repo)};
}

/* A request about the repo that a server had, and did not answer well. */
static void fail_about(struct hc_breaker *health, const char *repo, int64_t now_ms)
{
    const struct hc_breaker_key asker = asker_of(NULL, repo);

    hc_breaker_record_failure(health, &asker,
                              &(const struct hc_breaker_failure){.was_sent = true,
                                                                 .now_ms = now_ms,
                                                                 .pause_ms = PAUSE});
}

/* A connection that could not be made. */
static void fail_to_connect(struct hc_breaker *health, int64_t now_ms)
{
    const struct hc_breaker_key asker = asker_of(NULL, "r");

    hc_breaker_record_failure(health, &asker,
                              &(const struct hc_breaker_failure){.now_ms = now_ms,
                                                                 .pause_ms = PAUSE});
}

static void fail_probe(struct hc_breaker *health, const struct hc_breaker_key *asker,
                       int64_t now_ms)
{
    hc_breaker_record_failure(health, asker,
                              &(const struct hc_breaker_failure){.was_sent = true,
                                                                 .was_trial = true,
                                                                 .now_ms = now_ms,
                                                                 .pause_ms = PAUSE});
}

static int64_t down_ms(struct hc_breaker *health, const char *repo, int64_t now_ms)
{
    const struct hc_breaker_key asker = asker_of(NULL, repo);

    return hc_breaker_open_ms(health, &asker, now_ms);
}

static void rise(struct hc_breaker *health, const char *repo)
{
    const struct hc_breaker_key asker = asker_of(NULL, repo);

    hc_breaker_record_success(health, &asker);
}

static int64_t held_ms(struct hc_breaker *health, const char *token, const char *repo,
                       int64_t now_ms)
{
    const struct hc_breaker_key asker = asker_of(token, repo);
    const struct hc_throttle *pause = hc_breaker_find_throttle(health, &asker, now_ms);

    return pause ? pause->until_ms - now_ms : 0;
}

static void hold(struct hc_breaker *health, const struct hc_breaker_key *asker,
                 enum hc_reason reason, int64_t ms)
{
    hc_breaker_throttle(health, asker,
                        &(const struct hc_throttle){.reason = reason,
                                                    .until_ms = NOW + ms},
                        NOW);
}

static void nothing_is_held_against_a_new_one(void **state)
{
    const struct hc_breaker_key asker = asker_of("t", "r");
    struct hc_breaker_wait seen = {0};
    struct hc_breaker health = {0};

    (void)state;
    assert_null(hc_breaker_find_throttle(&health, &asker, NOW));
    assert_int_equal(hc_breaker_open_ms(&health, &asker, NOW), 0);
    assert_int_equal(hc_breaker_try(&health, &asker, NOW), 0);
    assert_int_equal(hc_breaker_try(&health, &asker, NOW), 0);
    assert_int_equal(hc_breaker_acquire(&health, &asker, &seen, NOW), HC_BREAKER_CLOSED);
}

static void a_hold_lasts_as_long_as_the_longest_that_was_asked_for(void **state)
{
    const struct hc_breaker_key asker = asker_of("t", "r");
    struct hc_breaker health = {0};

    (void)state;
    hold(&health, &asker, HC_HUB_RATE_LIMITED, 2000);
    hold(&health, &asker, HC_HUB_UNREACHABLE, 500);
    assert_int_equal(held_ms(&health, "t", "r", NOW + 1), 1999);
    assert_int_equal(hc_breaker_find_throttle(&health, &asker, NOW)->reason,
                     HC_HUB_RATE_LIMITED);
    assert_int_equal(held_ms(&health, "t", "r", NOW + 2000), 0);
}

static void a_rate_limit_holds_up_the_token_that_was_told(void **state)
{
    struct hc_breaker_key asker = asker_of("one", "r");
    struct hc_breaker health = {0};

    (void)state;
    hold(&health, &asker, HC_HUB_RATE_LIMITED, 2000);
    assert_int_equal(held_ms(&health, "one", "other", NOW), 2000);
    assert_int_equal(held_ms(&health, "two", "r", NOW), 0);
    assert_int_equal(held_ms(&health, NULL, "r", NOW), 0);

    asker.token = hc_keyed_hash_of("");
    hold(&health, &asker, HC_HUB_RATE_LIMITED, 1000);
    assert_int_equal(held_ms(&health, NULL, "other", NOW), 1000);
    assert_int_equal(held_ms(&health, "two", "r", NOW), 0);
}

static void an_overload_holds_up_the_repo_and_in_an_outage_all(void **state)
{
    const struct hc_breaker_key asker = asker_of("t", "r");
    struct hc_breaker health = {0};

    (void)state;
    hold(&health, &asker, HC_HUB_UNREACHABLE, 2000);
    assert_int_equal(held_ms(&health, "other", "r", NOW), 2000);
    assert_int_equal(held_ms(&health, "t", "other", NOW), 0);

    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        fail_to_connect(&health, NOW);
    hold(&health, &asker, HC_HUB_UNREACHABLE, 3000);
    assert_int_equal(held_ms(&health, NULL, "other", NOW), 3000);
}

static void more_pauses_than_there_are_places_forget_the_shortest(void **state)
{
    struct hc_breaker health = {0};
    char token[16];

    (void)state;
    for (int i = 0; i <= HC_BREAKER_THROTTLES; i++) {
        struct hc_breaker_key asker;

        (void)snprintf(token, sizeof token, "%d", i);
        asker = asker_of(token, "r");
        hold(&health, &asker, HC_HUB_RATE_LIMITED, 1000 + i);
    }
    assert_int_equal(held_ms(&health, "0", "r", NOW), 0);
    assert_int_equal(held_ms(&health, "1", "r", NOW), 1001);
    assert_int_equal(held_ms(&health, token, "r", NOW), 1000 + HC_BREAKER_THROTTLES);
}

static void an_answer_to_another_question_ends_no_hold(void **state)
{
    const struct hc_breaker_key asker = asker_of("t", "r");
    struct hc_breaker health = {0};

    (void)state;
    hold(&health, &asker, HC_HUB_RATE_LIMITED, 2000);
    hc_breaker_record_success(&health, &asker);
    assert_int_equal(held_ms(&health, "t", "r", NOW), 2000);
}

static void silence_counts_only_in_a_row(void **state)
{
    struct hc_breaker health = {0};

    (void)state;
    for (int i = 0; i < 10; i++) {
        fail_about(&health, "r", NOW);
        fail_to_connect(&health, NOW);
        assert_int_equal(down_ms(&health, "r", NOW), 0);
        rise(&health, "r");
    }
    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        fail_about(&health, "r", NOW);
    assert_int_equal(down_ms(&health, "r", NOW), HC_BREAKER_OPEN_MS);
}

static void one_broken_repo_is_down_alone(void **state)
{
    struct hc_breaker health = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        fail_about(&health, "broken", NOW + i);
    assert_int_equal(down_ms(&health, "broken", NOW + 99), HC_BREAKER_OPEN_MS);
    assert_int_equal(down_ms(&health, "other", NOW + 99), 0);

    rise(&health, "other"); /* says nothing of the broken one */
    assert_int_equal(down_ms(&health, "broken", NOW + 99), HC_BREAKER_OPEN_MS);
    rise(&health, "broken");
    assert_int_equal(down_ms(&health, "broken", NOW + 99), 0);
}

static void several_repos_that_fail_in_a_row_mean_all_of_them(void **state)
{
    static const char *const repos[] = {"a", "b", "c"};
    struct hc_breaker health = {0};

    (void)state;
    for (int i = 0; i < 2; i++)
        fail_about(&health, repos[i], NOW);
    rise(&health, "good");
    for (int i = 0; i < 2; i++)
        fail_about(&health, repos[i], NOW);
    assert_int_equal(down_ms(&health, "good", NOW), 0);
    fail_about(&health, repos[2], NOW);
    assert_int_equal(down_ms(&health, "good", NOW), HC_BREAKER_OPEN_MS);
}

static void connections_that_cannot_be_made_mean_all_repos(void **state)
{
    struct hc_breaker health = {0};

    (void)state;
    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        fail_to_connect(&health, NOW);
    assert_int_equal(down_ms(&health, "other", NOW), HC_BREAKER_OPEN_MS);
}

static void more_broken_repos_than_there_are_places_do_no_harm(void **state)
{
    struct hc_breaker health = {0};

    (void)state;
    for (int i = 0; i < 3 * HC_BREAKER_REPOS; i++) {
        char repo[16];

        (void)snprintf(repo, sizeof repo, "%d", i);
        fail_about(&health, repo, NOW + i);
        rise(&health, "good");
    }
    assert_int_equal(down_ms(&health, "good", NOW), 0);
}

static void one_question_finds_out_whether_it_is_back(void **state)
{
    const struct hc_breaker_key asker = asker_of(NULL, "r");
    struct hc_breaker health = {0};
    const int64_t later = NOW + HC_BREAKER_OPEN_MS;

    (void)state;
    for (int i = 0; i < HC_BREAKER_FAILURES; i++)
        fail_about(&health, "r", NOW);
    assert_int_equal(hc_breaker_try(&health, &asker, later - 1), 1);
    assert_int_equal(hc_breaker_try(&health, &asker, later), 0);
    assert_int_equal(hc_breaker_try(&health, &asker, later), HC_BREAKER_OPEN_MS);

    fail_about(&health, "r", later + 10);
    assert_int_equal(hc_breaker_try(&health, &asker, later + 10), HC_BREAKER_OPEN_MS);
    rise(&health, "r");
    assert_int_equal(hc_breaker_try(&health, &asker, later + 10), 0);
    assert_int_equal(hc_breaker_try(&health, &asker, later + 10), 0);
}

static void patient_callers_share_one_pause_and_one_probe(void **state)
{
    const struct hc_breaker_key asker = asker_of(NULL, "r");
    struct hc_breaker_wait first = {0}, second = {0}, late = {0};
    struct hc_breaker health = {0};

    (void)state;
    for (int i = 0; i < HC_BREAKER_FAILURES + 20; i++) /* the late ones say nothing new */
        fail_about(&health, "r", NOW);
    assert_int_equal(hc_breaker_acquire(&health, &asker, &first, NOW), HC_BREAKER_WAIT);
    assert_int_equal(first.wait_ms, PAUSE);
    assert_int_equal(hc_breaker_acquire(&health, &asker, &second, NOW), HC_BREAKER_WAIT);

    assert_int_equal(hc_breaker_acquire(&health, &asker, &first, NOW + PAUSE),
                     HC_BREAKER_HALF_OPEN);
    assert_int_equal(hc_breaker_acquire(&health, &asker, &second, NOW + PAUSE),
                     HC_BREAKER_WAIT);
    fail_probe(&health, &asker, NOW + PAUSE);
    assert_int_equal(hc_breaker_pauses(&health, &asker), 2);
    assert_int_equal(hc_breaker_acquire(&health, &asker, &second, NOW + PAUSE),
                     HC_BREAKER_STILL_OPEN);
    assert_int_equal(hc_breaker_acquire(&health, &asker, &late, NOW + PAUSE),
                     HC_BREAKER_WAIT);

    assert_int_equal(hc_breaker_acquire(&health, &asker, &late, NOW + 2 * PAUSE),
                     HC_BREAKER_HALF_OPEN);
    hc_breaker_release_trial(&health, &asker); /* it was cancelled */
    second = (struct hc_breaker_wait){0};
    assert_int_equal(hc_breaker_acquire(&health, &asker, &second, NOW + 2 * PAUSE),
                     HC_BREAKER_HALF_OPEN);
    rise(&health, "r");
    assert_int_equal(hc_breaker_acquire(&health, &asker, &late, NOW + 2 * PAUSE),
                     HC_BREAKER_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_held_against_a_new_one),
        cmocka_unit_test(a_hold_lasts_as_long_as_the_longest_that_was_asked_for),
        cmocka_unit_test(a_rate_limit_holds_up_the_token_that_was_told),
        cmocka_unit_test(an_overload_holds_up_the_repo_and_in_an_outage_all),
        cmocka_unit_test(more_pauses_than_there_are_places_forget_the_shortest),
        cmocka_unit_test(an_answer_to_another_question_ends_no_hold),
        cmocka_unit_test(silence_counts_only_in_a_row),
        cmocka_unit_test(one_broken_repo_is_down_alone),
        cmocka_unit_test(several_repos_that_fail_in_a_row_mean_all_of_them),
        cmocka_unit_test(connections_that_cannot_be_made_mean_all_repos),
        cmocka_unit_test(more_broken_repos_than_there_are_places_do_no_harm),
        cmocka_unit_test(one_question_finds_out_whether_it_is_back),
        cmocka_unit_test(patient_callers_share_one_pause_and_one_probe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
