/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a request is repeated after a failure that may pass, and after no other;
 * pauses are as long as the Hub says, and none outlasts the caller's deadline.
 */
#include "hub_fixture.h"

#include <hub/retry.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- asking again ------------------------------------------------------------------ */

static void failures_that_may_pass_are_asked_again(void **state)
{
    static const struct {
        enum test_hub_fault fault;
        uint64_t number;
    } rows[] = {{TEST_HUB_STATUS, 503}, {TEST_HUB_STATUS, 500}, {TEST_HUB_STATUS, 408},
                {TEST_HUB_STATUS, 429}, {TEST_HUB_CLOSE, 0},    {TEST_HUB_RESET, 0},
                {TEST_HUB_CUT, 9}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_revision revision;

        test_hub_clear_rules(f->server);
        hub_fixture_add_rule(f, (struct test_hub_rule){.times = 3,
                                                       .fault = rows[i].fault,
                                                       .number = rows[i].number});
        assert_int_equal(hc_hub_revision(f->hub, &f->repo, "main", &f->credentials,
                                         &revision, &f->err),
                         0);
        assert_string_equal(revision.commit, f->commit);
    }
}

static void retries_of_the_hub_have_an_end(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f,
                         (struct test_hub_rule){.fault = TEST_HUB_STATUS, .number = 503});
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(f->err.retry_after_ms, HC_RETRY_ADVICE_MS);
    assert_int_equal(test_hub_count(f->server, "HEAD", NULL), 1 + 3);
}

static void what_cannot_pass_is_asked_once(void **state)
{
    static const uint64_t statuses[] = {400, 403, 404, 416, 501};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct hc_metadata metadata;

        test_hub_clear_rules(f->server);
        test_hub_clear_log(f->server);
        hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                       .number = statuses[i]});
        assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
        /* A 404 that does not say what is missing is explained by one more question. */
        assert_int_equal(test_hub_count(f->server, "HEAD", NULL), 1);
        assert_int_equal(test_hub_count(f->server, "GET", NULL), statuses[i] == 404);
    }
}

static void retry_after_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;
    int64_t start = hc_monotonic_ms();

    hub_fixture_add_rule(f, (struct test_hub_rule){.times = 1,
                                                   .fault = TEST_HUB_STATUS,
                                                   .number = 429,
                                                   .retry_after_s = 1});
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), 0);
    assert_true(hc_monotonic_ms() - start >= 1000);
}

static void a_pause_longer_than_the_deadline_is_not_begun(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;
    int64_t start = hc_monotonic_ms();

    f->credentials.cancellation = hc_cancellation_new(start + 20000);
    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                   .number = 429,
                                                   .retry_after_s = 60});
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    hc_cancellation_free(f->credentials.cancellation);

    assert_int_equal(f->err.reason, HC_HUB_RATE_LIMITED);
    assert_int_equal(f->err.retry_after_ms, 60000);
    assert_true(hc_monotonic_ms() - start < 10000);
}

static void without_a_deadline_half_a_minute_is_the_longest_wait(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;

    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                   .number = 503,
                                                   .retry_after_s = 31});
    assert_int_equal(hub_fixture_head_file(f, "config.json", &metadata), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(f->err.retry_after_ms, 31000);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 1);
}

static void pauses_double_up_to_eight_seconds_and_never_agree(void **state)
{
    (void)state;
    assert_in_range(hc_retry_backoff_ms(1000, 0), 750, 1250);
    assert_in_range(hc_retry_backoff_ms(1000, 2), 3000, 5000);
    assert_in_range(hc_retry_backoff_ms(1000, 60), 6000, 10000);
}

/* ---- no server --------------------------------------------------------------------- */

/* A port on loopback that no program listens on, reserved by `*fd`. */
static void retry_deaf_port(int *fd, char endpoint[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        abort();
    assert_int_equal(bind(*fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(endpoint, 64, "http://127.0.0.1:%d", ntohs(address.sin_port));
}

static void a_hub_that_is_not_there_is_named(void **state)
{
    struct fixture *f = *state;
    struct hc_metadata metadata;
    HC_AUTO_CLOSE int fd = -1;
    HC_AUTO(hc_hub) *unreachable = NULL;
    char endpoint[64];

    retry_deaf_port(&fd, endpoint);
    unreachable = hub_fixture_open(endpoint, 1);
    assert_int_equal(hc_hub_head(unreachable,
                                 &(const struct hc_repo_file){&f->repo, "main",
                                                              "config.json"},
                                 &f->credentials, &metadata, &f->err),
                     -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_false(f->err.is_final);
    assert_int_equal(f->err.retry_after_ms, HC_RETRY_ADVICE_MS);
    assert_non_null(strstr(f->err.message, endpoint));
    assert_non_null(strstr(f->err.message, "config.json"));
}

/* Curl looks for proxies in the environment, and no other thread of the test does. */
static void retry_set_proxy(const char *url)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe) */
    assert_int_equal(setenv("https_proxy", url, 1), 0);
}

/* Sends a request to an https hub through the proxy at `url`, once; the failure is in
 * f->err. */
static void retry_ask_through_proxy(struct fixture *f, const char *url)
{
    HC_AUTO(hc_hub) *hub = hub_fixture_open("https://hub.example", 1);
    struct hc_metadata metadata;

    retry_set_proxy(url);
    assert_int_equal(
        hc_hub_head(hub, &(const struct hc_repo_file){&f->repo, "main", "config.json"},
                    &f->credentials, &metadata, &f->err),
        -1);
    retry_set_proxy("");
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
}

static void retry_ask_through_answering_proxy(struct fixture *f, uint64_t status)
{
    char code[16];

    test_hub_clear_rules(f->server);
    test_hub_clear_log(f->server);
    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                   .number = status});
    retry_ask_through_proxy(f, test_hub_endpoint(f->server));
    (void)snprintf(code, sizeof code, "HTTP %d", (int)status);
    assert_non_null(strstr(f->err.message, code));
}

static void a_proxy_that_refuses_is_final_and_a_dead_one_is_not(void **state)
{
    static const uint64_t passing[] = {502, 503, 504};
    static const uint64_t lasting[] = {403, 407};
    struct fixture *f = *state;
    HC_AUTO_CLOSE int fd = -1;
    char dead[64];

    retry_deaf_port(&fd, dead);
    retry_ask_through_proxy(f, dead);
    assert_false(f->err.is_final);

    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        retry_ask_through_answering_proxy(f, passing[i]);
        assert_false(f->err.is_final);
        assert_int_equal(test_hub_count(f->server, "CONNECT", NULL), 2);
    }
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++) {
        retry_ask_through_answering_proxy(f, lasting[i]);
        assert_true(f->err.is_final);
        assert_int_equal(test_hub_count(f->server, "CONNECT", NULL), 1);
    }
}

static void a_proxys_password_is_in_no_message(void **state)
{
    static const char *const rows[] = {"http://user:hush/hush@proxy.example:3128",
                                       "http://user:hush@proxy.example:port",
                                       "ftp://user:hush@proxy.example:3128",
                                       "http://user:x@hush/y@proxy.example:3128",
                                       "user:hush/x@proxy.example:3128",
                                       "http://user:hush@proxy.invalid:3128"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        retry_ask_through_proxy(f, rows[i]);
        assert_null(strstr(f->err.message, "hush"));
        assert_non_null(strstr(f->err.message, "proxy"));
    }
}

static void an_endpoint_that_is_no_url_is_refused(void **state)
{
    static const char *const rows[] = {"",
                                       "huggingface",
                                       "ftp://hub.example",
                                       "https://user:secret@hub.example",
                                       "https://hub.example/?a=b",
                                       "https://hub.example/\n"};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *endpoint = strdup(rows[i]);
        struct hc_settings settings = {.endpoint = endpoint};
        struct hc_error err;

        if (hc_hub_open(&settings, &err))
            fail_msg("accepted: %s", rows[i]);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_string_equal(err.field, "endpoint");
        assert_null(strstr(err.message, "secret"));
        free(endpoint);
    }
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, hub_fixture_set_up, hub_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(failures_that_may_pass_are_asked_again),
        TEST(retries_of_the_hub_have_an_end),
        TEST(what_cannot_pass_is_asked_once),
        TEST(retry_after_is_waited_for),
        TEST(a_pause_longer_than_the_deadline_is_not_begun),
        TEST(without_a_deadline_half_a_minute_is_the_longest_wait),
        cmocka_unit_test(pauses_double_up_to_eight_seconds_and_never_agree),
        TEST(a_hub_that_is_not_there_is_named),
        TEST(a_proxy_that_refuses_is_final_and_a_dead_one_is_not),
        TEST(a_proxys_password_is_in_no_message),
        cmocka_unit_test(an_endpoint_that_is_no_url_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
