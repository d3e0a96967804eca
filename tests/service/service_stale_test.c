/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of a server whose Hub fails: stale answers are counted by reason, and an
 * outage is one line of the log. A caller whose own token the Hub refuses gets that
 * refusal. A token is sent without the white space around it.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

static const char *const always_asks[] = {
    "--http-listen",   "127.0.0.1:0", "--log-level", "debug",
    "--max-staleness", "0s",          NULL};

/* Makes a call, which is then over; the caller frees it. */
static struct rpc_call *call_with_token(struct world *world, const char *token)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call =
        rpc_call_start(world->client, &(struct rpc_request){
                                          .path = METHOD("ResolveFile"),
                                          .message = &request.base,
                                          .token = token,
                                      });

    (void)rpc_call_await(call);
    return call;
}

static void expect_code(struct world *world, const char *token, unsigned code)
{
    struct rpc_call *call = call_with_token(world, token);

    assert_int_equal(rpc_call_await(call), code);
    rpc_call_free(call);
}

static unsigned log_count(const char *text, const char *part)
{
    unsigned times = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        times++;
    return times;
}

static void answer_status(struct world *world, unsigned status)
{
    test_hub_clear_rules(world->hub);
    test_hub_rule(world->hub,
                  &(struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = status});
}

static void an_outage_is_one_line_and_every_stale_answer_is_counted(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *metrics = NULL;
    HC_AUTO_FREE char *log = NULL;

    world_serve(world, always_asks);
    expect_code(world, NULL, HC_STATUS_OK);
    answer_status(world, 401);
    expect_code(world, NULL, HC_STATUS_OK);
    answer_status(world, 503);
    for (int i = 0; i < 5; i++)
        expect_code(world, NULL, HC_STATUS_OK);

    metrics = world_get(world, "/metrics");
    assert_non_null(
        strstr(metrics,
               "\nhubcache_stale_answers_total{reason=\"HUB_UNREACHABLE\"} 5\n"));
    assert_non_null(
        strstr(metrics, "\nhubcache_stale_answers_total{reason=\"REPO_NOT_FOUND\"} 1\n"));
    log = world_log(world);
    assert_int_equal(log_count(log,
                               "\"msg\":\"stale answer\",\"reason\":\"HUB_UNREACHABLE\""),
                     1);
    assert_int_equal(log_count(log,
                               "\"msg\":\"stale answer\",\"reason\":\"REPO_NOT_FOUND\""),
                     1);
    assert_int_equal(log_count(log, "\"answers\":1,\"repo\":\"org/name\""), 2);
    assert_int_equal(log_count(log, "\"transfer\",\"repo\":\"org/name\""), 1);
    assert_int_equal(log_count(log,
                               "ResolveFile\",\"repo\":\"org/name\",\"type\":\"model\","
                               "\"revision\":\"main\",\"commit\":\""),
                     7);
}

static void a_caller_whose_own_token_is_refused_gets_the_refusal(void **state)
{
    struct world *world = *state;

    world_serve(world, always_asks);
    expect_code(world, NULL, HC_STATUS_OK);
    answer_status(world, 403);
    expect_code(world, "hf_own", HC_STATUS_UNAUTHENTICATED);
    expect_code(world, NULL, HC_STATUS_OK); /* the server's own falls back */
}

static void white_space_around_a_token_is_not_part_of_it(void **state)
{
    struct world *world = *state;

    test_hub_set_access(world->hub, "models/org/name", TEST_HUB_PRIVATE);
    world_serve(world, always_asks);
    expect_code(world, "  hf_own ", HC_STATUS_OK);
    assert_int_not_equal(test_hub_count_authorized(world->hub, false), 0);
    test_hub_clear_log(world->hub);
    expect_code(world, "   ", HC_STATUS_OK); /* none, so the older answer */
    assert_int_equal(test_hub_count_authorized(world->hub, false), 0);
    expect_code(world, "hf_two words", HC_STATUS_INVALID_ARGUMENT);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_outage_is_one_line_and_every_stale_answer_is_counted),
        TEST(a_caller_whose_own_token_is_refused_gets_the_refusal),
        TEST(white_space_around_a_token_is_not_part_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
