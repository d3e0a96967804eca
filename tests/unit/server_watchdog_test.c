/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the watchdog sends what no server understands, so that one which speaks
 * TLS, and says nothing unasked, ends the connection and counts as alive.
 */
#include <test.h>

#include <base/auto.h>
#include <server/listener.h>
#include <server/watchdog.h>

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { PATIENCE_MS = 60 * 1000 };

static void connection_accepted(void *ctx, int fd, unsigned open)
{
    const int *ends = ctx;

    (void)open;
    assert_int_equal(write(ends[1], &fd, sizeof fd), sizeof fd);
}

static void what_is_sent_is_neither_tls_nor_http2(void **state)
{
    int ends[2];
    struct hc_error err;
    HC_AUTO(hc_listener) *listener = NULL;
    struct hc_watchdog *watchdog;
    struct pollfd event = {.events = POLLIN};
    char address[64], sent[64] = "";

    (void)state;
    assert_int_equal(pipe2(ends, 0), 0);
    listener = hc_listener_new(10, connection_accepted, ends, &err);
    assert_non_null(listener);
    assert_int_equal(hc_listener_add(listener, "127.0.0.1:0", address, sizeof address,
                                     &err),
                     0);
    assert_int_equal(hc_listener_start(listener, &err), 0);
    watchdog = hc_watchdog_open(listener, &err);
    assert_non_null(watchdog);

    assert_int_equal(read(ends[0], &event.fd, sizeof event.fd), sizeof event.fd);
    assert_int_equal(poll(&event, 1, PATIENCE_MS), 1);
    assert_true(recv(event.fd, sent, sizeof sent - 1, 0) > 0);
    assert_int_not_equal(sent[0], 0x16); /* of a ClientHello */
    assert_int_not_equal(strncmp(sent, "PRI ", 4), 0);
    assert_string_equal(hc_watchdog_error(watchdog), "");

    (void)close(event.fd);
    hc_watchdog_close(watchdog);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_neither_tls_nor_http2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
