/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: every exchange ends. A server that sends a byte, or a header, now and then
 * times out as a silent one does, and so does one that never comes to an end; the time
 * that the caller's own functions take does not count.
 */
#include "hub_fixture.h"

#include <base/error.h>
#include <hub/http_exchange.h>

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_S = 1, PLENTY_MS = 30000, BIG = 8 * 1024 * 1024 };

/* ---- a server that sends one text once, and another one for ever ------------------- */

struct dripper {
    const char *first;
    const char *drop; /* sent again and again, */
    int64_t every_ms; /* as often as this */
    atomic_bool is_over;
    int fd;
    pthread_t thread;
    char url[64];
};

static bool pace_send_text(int fd, const char *text)
{
    size_t length = strlen(text);

    return send(fd, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void *pace_drip(void *ctx)
{
    struct dripper *dripper = ctx;
    struct hc_error err;
    char request[4096];
    int fd = accept(dripper->fd, NULL, NULL);
    bool is_there = fd >= 0 && recv(fd, request, sizeof request, 0) > 0 &&
                    pace_send_text(fd, dripper->first);

    while (is_there && !atomic_load(&dripper->is_over)) {
        if (dripper->every_ms > 0)
            (void)hc_cancellation_sleep(NULL, dripper->every_ms, &err);
        is_there = pace_send_text(fd, dripper->drop);
    }
    (void)close(fd);
    return NULL;
}

static void dripper_start(struct dripper *dripper)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    dripper->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(dripper->fd >= 0);
    assert_int_equal(bind(dripper->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(dripper->fd, 4), 0);
    assert_int_equal(getsockname(dripper->fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(dripper->url, sizeof dripper->url, "http://127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    assert_int_equal(pthread_create(&dripper->thread, NULL, pace_drip, dripper), 0);
}

static void dripper_stop(struct dripper *dripper)
{
    atomic_store(&dripper->is_over, true);
    (void)shutdown(dripper->fd, SHUT_RDWR);
    assert_int_equal(pthread_join(dripper->thread, NULL), 0);
    (void)close(dripper->fd);
}

/* ---- one exchange ------------------------------------------------------------------ */

static int pace_take(void *ctx, const struct hc_hub_response *reply, const void *bytes,
                     size_t count, struct hc_error *err)
{
    (void)reply, (void)bytes, (void)err;
    *(uint64_t *)ctx += count;
    return 0;
}

/* The first bytes take longer to put away than a server may be silent. */
static int pace_take_late(void *ctx, const struct hc_hub_response *reply,
                          const void *bytes, size_t count, struct hc_error *err)
{
    const uint64_t *taken = ctx;

    if (*taken == 0)
        assert_int_equal(hc_cancellation_sleep(NULL, 2 * TIMEOUT_S * 1000 + 500, err), 0);
    return pace_take(ctx, reply, bytes, count, err);
}

struct outcome {
    int result;
    int64_t ms;
    uint64_t taken;
    struct hc_hub_response reply;
    struct hc_error err;
};

/* One exchange, which must end long before a server that never ends does. */
static struct outcome pace_perform(const char *url, struct hc_http_request request)
{
    HC_AUTO(hc_http_pool) *pool = NULL;
    struct outcome outcome = {0};
    int64_t began_ms = hc_monotonic_ms();

    pool = hc_http_pool_open("test", NULL, 0, &outcome.err);
    assert_non_null(pool);
    (void)snprintf(request.url, sizeof request.url, "%s", url);
    request.timeout_s = TIMEOUT_S;
    request.cancellation = hc_cancellation_new(began_ms + PLENTY_MS);
    if (!request.write)
        request.write = pace_take;
    request.ctx = &outcome.taken;
    outcome.result = hc_http_perform(pool, &request, &outcome.reply, &outcome.err);
    outcome.ms = hc_monotonic_ms() - began_ms;
    hc_cancellation_free(request.cancellation);
    return outcome;
}

static void pace_expect_given_up(const struct outcome *outcome, const char *why)
{
    assert_int_equal(outcome->result, -1);
    assert_int_equal(outcome->err.reason, HC_HUB_UNREACHABLE);
    if (!strstr(outcome->err.message, why))
        fail_msg("'%s' does not say '%s'", outcome->err.message, why);
}

static void headers_that_drip_are_given_up(void **state)
{
    struct dripper dripper = {.first = "HTTP/1.1 200 OK\r\n",
                              .drop = "X-More: and more\r\n",
                              .every_ms = 50};
    struct outcome outcome;

    (void)state;
    dripper_start(&dripper);
    outcome = pace_perform(dripper.url, (struct hc_http_request){0});
    dripper_stop(&dripper);
    pace_expect_given_up(&outcome, "no answer began within 2 s");
}

/* A line that does not end is none: that is silence, whatever comes of it. */
static void a_header_that_drips_is_given_up(void **state)
{
    struct dripper dripper = {.first = "HTTP/1.1 200 OK\r\nX-Long: ",
                              .drop = "x",
                              .every_ms = 50};
    struct outcome outcome;

    (void)state;
    dripper_start(&dripper);
    outcome = pace_perform(dripper.url, (struct hc_http_request){0});
    dripper_stop(&dripper);
    pace_expect_given_up(&outcome, "no byte came for 1 s");
}

static void a_body_that_drips_is_given_up(void **state)
{
    static const char *const firsts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 100000\r\n\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        struct dripper dripper = {.first = firsts[i], .drop = "x", .every_ms = 50};
        struct outcome outcome;

        dripper_start(&dripper);
        outcome = pace_perform(dripper.url, (struct hc_http_request){0});
        dripper_stop(&dripper);
        pace_expect_given_up(&outcome, "fewer than 1024 bytes a second came for 1 s");
    }
}

static void an_answer_that_does_not_end_in_time_is_given_up(void **state)
{
    char drop[201] = {0};
    struct dripper dripper = {.first = "HTTP/1.1 200 OK\r\n\r\n",
                              .drop = drop,
                              .every_ms = 50}; /* four times what is too slow */
    struct outcome outcome;

    (void)state;
    memset(drop, 'x', sizeof drop - 1);
    dripper_start(&dripper);
    outcome = pace_perform(dripper.url, (struct hc_http_request){.total_s = 3});
    dripper_stop(&dripper);
    pace_expect_given_up(&outcome, "the answer did not end within 3 s");
    assert_true(outcome.ms >= 3000);
    assert_true(outcome.taken > 0);
}

/* What is kept of it is there; the rest is not waited for. */
static void a_refusal_without_end_is_a_refusal(void **state)
{
    char drop[8193] = {0};
    struct dripper dripper = {.first = "HTTP/1.1 403 Forbidden\r\n\r\n", .drop = drop};
    struct outcome outcome;

    (void)state;
    memset(drop, 'x', sizeof drop - 1);
    dripper_start(&dripper);
    outcome = pace_perform(dripper.url, (struct hc_http_request){0});
    dripper_stop(&dripper);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.reply.status, 403);
    assert_int_equal(outcome.taken, 0);
}

static void the_callers_own_time_is_not_held_against_the_server(void **state)
{
    char drop[8193] = {0};
    struct dripper dripper = {.first =
                                  "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n",
                              .drop = drop};
    struct outcome outcome;

    (void)state;
    memset(drop, 'x', sizeof drop - 1);
    dripper_start(&dripper);
    outcome =
        pace_perform(dripper.url, (struct hc_http_request){.write = pace_take_late});
    dripper_stop(&dripper);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.taken, BIG);
}

/* ---- the same by way of a question ------------------------------------------------- */

static void json_that_drips_is_a_hub_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_hub) *hub = hub_fixture_open(test_hub_endpoint(f->server), 1);
    HC_AUTO(hc_cancellation) *cancellation =
        hc_cancellation_new(hc_monotonic_ms() + PLENTY_MS);
    struct hc_tree *tree;

    f->credentials.cancellation = cancellation;
    hub_fixture_add_rule(f,
                         (struct test_hub_rule){.fault = TEST_HUB_THROTTLE, .number = 1});
    tree = hc_hub_tree(hub, &f->repo, f->commit, &f->credentials, &f->err);
    assert_null(tree);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 2);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, hub_fixture_set_up, hub_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_that_drip_are_given_up),
        cmocka_unit_test(a_header_that_drips_is_given_up),
        cmocka_unit_test(a_body_that_drips_is_given_up),
        cmocka_unit_test(an_answer_that_does_not_end_in_time_is_given_up),
        cmocka_unit_test(a_refusal_without_end_is_a_refusal),
        cmocka_unit_test(the_callers_own_time_is_not_held_against_the_server),
        TEST(json_that_drips_is_a_hub_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
