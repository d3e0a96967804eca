/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the test hub fails at exactly the byte that a rule names, stalls for as
 * long as a test wants, and holds as many connections as the largest test opens.
 */
#include "test_hub_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CROWD = 1000, PATIENCE_S = 20 };

static void add_cdn_fault(const struct fixture *f, enum test_hub_fault fault,
                          uint64_t number)
{
    const struct test_hub_rule rule = {.on_cdn = true,
                                       .fault = fault,
                                       .number = number,
                                       .times = 1};

    test_hub_rule(f->hub, &rule);
}

/* --- faults --------------------------------------------------------------------------
 */

static void a_cut_body_ends_at_exactly_the_byte_of_the_rule(void **state)
{
    static const uint64_t places[] = {0, 1, 65535, 65536, 65537, 100001, 299999};
    const struct fixture *f = *state;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        add_cdn_fault(f, TEST_HUB_CUT, places[i]);
        HC_AUTO_VALUE(response) cut = hub_fixture_get(f, LFS_PATH);

        assert_int_equal(cut.outcome, CURLE_PARTIAL_FILE);
        assert_int_equal(cut.size, places[i]);
    }
}

static void a_reset_comes_after_the_bytes_before_it_arrived(void **state)
{
    static const uint64_t places[] = {0, 1, 65536, 299999};
    const struct fixture *f = *state;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        add_cdn_fault(f, TEST_HUB_CUT_RESET, places[i]);
        HC_AUTO_VALUE(response) cut = hub_fixture_get(f, LFS_PATH);

        assert_int_equal(cut.outcome, CURLE_RECV_ERROR);
        assert_int_equal(cut.size, places[i]);
    }
}

static void a_closed_or_reset_connection_gives_no_answer(void **state)
{
    const struct fixture *f = *state;

    add_cdn_fault(f, TEST_HUB_CLOSE, 0);
    HC_AUTO_VALUE(response) closed = hub_fixture_get(f, LFS_PATH);
    add_cdn_fault(f, TEST_HUB_RESET, 0);
    HC_AUTO_VALUE(response) reset = hub_fixture_get(f, LFS_PATH);

    assert_int_equal(closed.outcome, CURLE_GOT_NOTHING);
    assert_int_equal(reset.outcome, CURLE_RECV_ERROR);
}

static void corrupting_flips_one_byte_and_shortening_takes_bytes_away(void **state)
{
    const struct fixture *f = *state;
    HC_AUTO_VALUE(response) right = hub_fixture_get(f, LFS_PATH);

    add_cdn_fault(f, TEST_HUB_CORRUPT, 131072);
    HC_AUTO_VALUE(response) wrong = hub_fixture_get(f, LFS_PATH);
    add_cdn_fault(f, TEST_HUB_SHORT, 5);
    HC_AUTO_VALUE(response) shortened = hub_fixture_get(f, LFS_PATH);

    assert_int_equal(wrong.size, LFS_SIZE);
    assert_memory_equal(wrong.body, right.body, 131072);
    assert_int_equal((unsigned char)wrong.body[131072],
                     (unsigned char)~(unsigned char)right.body[131072]);
    assert_memory_equal(wrong.body + 131073, right.body + 131073, LFS_SIZE - 131073);
    assert_int_equal(shortened.outcome, CURLE_OK);
    assert_int_equal(shortened.size, LFS_SIZE - 5);
}

static void a_wrong_length_ends_in_a_broken_connection(void **state)
{
    const struct fixture *f = *state;
    const struct test_hub_rule rule = {.on_cdn = true,
                                       .fault = TEST_HUB_HEADER,
                                       .name = "Content-Length",
                                       .text = "300001"};

    test_hub_rule(f->hub, &rule);
    HC_AUTO_VALUE(response) response = hub_fixture_get(f, LFS_PATH);

    assert_int_equal(response.outcome, CURLE_PARTIAL_FILE);
    assert_int_equal(response.size, LFS_SIZE);
}

static void rules_let_requests_pass_act_and_are_used_up(void **state)
{
    const struct fixture *f = *state;
    const struct test_hub_rule busy = {.contains = "config.json",
                                       .skip = 1,
                                       .times = 2,
                                       .fault = TEST_HUB_STATUS,
                                       .number = 503,
                                       .retry_after_s = 7};
    long statuses[5];

    test_hub_rule(f->hub, &busy);
    for (size_t i = 0; i < 5; i++) {
        HC_AUTO_VALUE(response)
        response = hub_fixture_head(f, "/org/name/resolve/main/config.json");

        statuses[i] = response.status;
        if (response.status == 503)
            assert_has(response, "Retry-After: 7\r\n");
    }

    assert_int_equal(statuses[0], 307);
    assert_int_equal(statuses[1], 503);
    assert_int_equal(statuses[2], 503);
    assert_int_equal(statuses[3], 307);
    assert_int_equal(statuses[4], 307);
}

/* --- stalls and many connections -----------------------------------------------------
 */

static int hub_connect(const char *url)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
    if (fd < 0)
        abort();
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends a request and does not read the answer. */
static int hub_send_request(const struct fixture *f, const char *target)
{
    int fd = hub_connect(test_hub_endpoint(f->hub));
    char text[512];
    int length =
        snprintf(text, sizeof text,
                 "GET %s HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n", target);

    assert_int_equal(send(fd, text, (size_t)length, MSG_NOSIGNAL), length);
    return fd;
}

/* Reads until `text` ends with `end`, or to the end of the stream. */
static size_t hub_read_until(int fd, char *text, size_t size, const char *end)
{
    size_t length = 0;
    ssize_t count = 1;

    while (count > 0 && length < size - 1) {
        text[length] = '\0';
        if (end && length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0)
            return length;
        count = recv(fd, text + length, size - 1 - length, 0);
        if (count > 0)
            length += (size_t)count;
    }
    text[length] = '\0';
    return length;
}

static void stall_git_file_at(const struct fixture *f, uint64_t number, char target[128])
{
    const struct test_hub_rule rule = {.fault = TEST_HUB_STALL, .number = number};

    (void)snprintf(target, 128,
                   "/api/resolve-cache/models/org/name/%s/sub/dir/a%%20b.txt", f->commit);
    test_hub_rule(f->hub, &rule);
}

static void a_stalled_body_has_sent_its_bytes_and_continues_when_released(void **state)
{
    const struct fixture *f = *state;
    char target[128], text[2048];
    int fd;

    stall_git_file_at(f, 2, target);
    fd = hub_send_request(f, target);
    (void)hub_read_until(fd, text, sizeof text, "\r\n\r\nde");
    test_hub_await_stall(f->hub);
    test_hub_release(f->hub);
    (void)hub_read_until(fd, text, sizeof text, NULL);

    assert_string_equal(text, "ep");
    (void)close(fd);
}

static void stopping_the_hub_ends_stalled_answers(void **state)
{
    struct fixture *f = *state;
    char target[128], text[2048];
    const struct test_hub_options options = {0};
    int fd;

    stall_git_file_at(f, 1, target);
    fd = hub_send_request(f, target);
    test_hub_await_stall(f->hub);
    test_hub_stop(f->hub);
    f->hub = test_hub_start(&options);

    assert_true(hub_read_until(fd, text, sizeof text, NULL) > 0);
    (void)close(fd);
}

static void a_thousand_connections_are_answered_at_once(void **state)
{
    const struct fixture *f = *state;
    char target[128], text[2048];
    static int crowd[CROWD];

    stall_git_file_at(f, 2, target);
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = hub_send_request(f, target);
    for (size_t i = 0; i < CROWD; i++)
        (void)hub_read_until(crowd[i], text, sizeof text, "\r\n\r\nde");
    test_hub_release(f->hub);
    test_hub_clear_rules(f->hub);
    for (size_t i = 0; i < CROWD; i++) {
        (void)hub_read_until(crowd[i], text, sizeof text, NULL);
        assert_string_equal(text, "ep");
        (void)close(crowd[i]);
    }

    assert_int_equal(test_hub_count(f->hub, "GET", "a%20b.txt"), CROWD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HUB(a_cut_body_ends_at_exactly_the_byte_of_the_rule),
        WITH_HUB(a_reset_comes_after_the_bytes_before_it_arrived),
        WITH_HUB(a_closed_or_reset_connection_gives_no_answer),
        WITH_HUB(corrupting_flips_one_byte_and_shortening_takes_bytes_away),
        WITH_HUB(a_wrong_length_ends_in_a_broken_connection),
        WITH_HUB(rules_let_requests_pass_act_and_are_used_up),
        WITH_HUB(a_stalled_body_has_sent_its_bytes_and_continues_when_released),
        WITH_HUB(stopping_the_hub_ends_stalled_answers),
        WITH_HUB(a_thousand_connections_are_answered_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
