/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the number of a descriptor means one peer for the life of the process, so
 * that a call which outlives its connection is not taken for one of another user. Of the
 * connections those are cut, and counted, from which as many bytes wait as the calling
 * function says: their clients see the end, and the server reads nothing of what they
 * have sent. Only loopback addresses and unix sockets pass as local.
 */
#include <test.h>

#include <base/auto.h>
#include <hubcache/cancellation.h>
#include <server/connections.h>
#include <server/listener.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct fixture {
    char *dir;
    struct hc_listener *listener;
    struct sockaddr_un path;
    struct sockaddr_in host;
    int accepted[2]; /* a pipe: numbers of accepted descriptors */
};

static void connection_accepted(void *ctx, int fd, unsigned open)
{
    struct fixture *f = ctx;

    assert_in_range(open, 1, 100);
    assert_int_equal(write(f->accepted[1], &fd, sizeof fd), sizeof fd);
}

static int listener_set_up(void **state)
{
    static struct fixture f;
    struct hc_error err;
    char address[256], bound[256];

    f = (struct fixture){.dir = temp_dir_make(), .path = {.sun_family = AF_UNIX}};
    assert_int_equal(pipe2(f.accepted, 0), 0);
    f.listener = hc_listener_new(100, connection_accepted, &f, &err);
    assert_non_null(f.listener);
    (void)snprintf(f.path.sun_path, sizeof f.path.sun_path, "%s/socket", f.dir);
    (void)snprintf(address, sizeof address, "unix:%s", f.path.sun_path);
    assert_int_equal(hc_listener_add(f.listener, address, bound, sizeof bound, &err), 0);
    assert_int_equal(hc_listener_add(f.listener, "127.0.0.1:0", bound, sizeof bound,
                                     &err),
                     0);
    f.host =
        (struct sockaddr_in){.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(
                                 (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10))};
    assert_int_equal(hc_listener_start(f.listener, &err), 0);
    *state = &f;
    return 0;
}

static int listener_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_listener_close(f->listener);
    (void)close(f->accepted[0]);
    (void)close(f->accepted[1]);
    temp_dir_remove(f->dir);
    return 0;
}

/* The descriptor that the listener has accepted; the test closes it. */
static int connect_with(struct fixture *f, int client)
{
    int domain = AF_UNSPEC, fd = -1;
    socklen_t size = sizeof domain;
    bool is_unix;

    assert_int_equal(getsockopt(client, SOL_SOCKET, SO_DOMAIN, &domain, &size), 0);
    is_unix = domain == AF_UNIX;
    assert_int_equal(connect(client,
                             is_unix ? (const struct sockaddr *)&f->path
                                     : (const struct sockaddr *)&f->host,
                             is_unix ? sizeof f->path : sizeof f->host),
                     0);
    assert_int_equal(read(f->accepted[0], &fd, sizeof fd), sizeof fd);
    return fd;
}

static void a_unix_socket_shows_its_user_and_tcp_none(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_CLOSE int local = socket(AF_UNIX, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int remote = socket(AF_INET, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int local_end = connect_with(f, local);
    HC_AUTO_CLOSE int remote_end = connect_with(f, remote);
    uid_t uid = 12345;

    assert_true(hc_listener_has_path(f->listener));
    assert_true(
        hc_connections_uid(hc_listener_connections(f->listener), local_end, &uid));
    assert_int_equal(uid, geteuid());
    assert_false(
        hc_connections_uid(hc_listener_connections(f->listener), remote_end, &uid));
    assert_false(hc_connections_uid(hc_listener_connections(f->listener), -1, &uid));
    assert_false(
        hc_connections_uid(hc_listener_connections(f->listener), f->accepted[0], &uid));
    assert_false(hc_connections_uid(hc_listener_connections(f->listener), 1 << 20, &uid));
}

/* TLS connections are known to calls by their addresses alone. */
static void a_connection_is_found_by_its_address(void **state)
{
    struct fixture *f = *state;
    struct hc_connections *all = hc_listener_connections(f->listener);
    HC_AUTO_CLOSE int local = socket(AF_UNIX, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int first = socket(AF_INET, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int second = socket(AF_INET, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int local_end = connect_with(f, local);
    HC_AUTO_CLOSE int first_end = connect_with(f, first);
    HC_AUTO_CLOSE int second_end = connect_with(f, second);
    struct sockaddr_in6 from = {.sin6_family = AF_INET6};
    struct sockaddr_in own;
    socklen_t size = sizeof own;

    assert_true(local_end >= 0 && first_end != second_end);
    assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &from.sin6_addr), 1);
    assert_int_equal(getsockname(second, (struct sockaddr *)&own, &size), 0);
    from.sin6_port = own.sin_port;
    assert_int_equal(hc_connections_find(all, &from), second_end);
    size = sizeof own;
    assert_int_equal(getsockname(first, (struct sockaddr *)&own, &size), 0);
    from.sin6_port = own.sin_port;
    assert_int_equal(hc_connections_find(all, &from), first_end);
    from.sin6_port = f->host.sin_port;
    assert_int_equal(hc_connections_find(all, &from), -1);
}

static void only_loopback_and_unix_sockets_are_local(void **state)
{
    static const char *const local[] = {"127.0.0.1:1",  "127.200.3.4:1",
                                        "localhost:1",  "[::1]:1",
                                        "unix:/socket", "[::ffff:127.0.0.1]:1"};
    static const char *const open[] = {
        "0.0.0.0:1",       "[::]:1",      ":1",          "10.0.0.1:1",
        "128.0.0.1:1",     "[fd00::1]:1", "126.0.0.1:1", "[::ffff:10.0.0.1]:1",
        "[fd00::7f00:1]:1"};
    struct hc_error err;

    (void)state;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        assert_int_equal(hc_listener_check_local(local[i], &err), 0);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        assert_int_equal(hc_listener_check_local(open[i], &err), -1);
        assert_int_equal(err.reason, HC_INVALID_OPTIONS);
        assert_non_null(strstr(err.message, "in clear text"));
    }
    assert_int_equal(hc_listener_check_local("nowhere", &err), -1);
}

/* The clients' sockets exist before, so the freed number is the lowest one. */
static void a_number_does_not_pass_from_one_peer_to_another(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_CLOSE int first = socket(AF_INET, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int second = socket(AF_UNIX, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int third = socket(AF_INET, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int third_end = -1;
    int first_end = connect_with(f, first);
    int second_end;
    uid_t uid;

    (void)close(first_end);
    second_end = connect_with(f, second);
    assert_int_not_equal(second_end, first_end);
    assert_false(
        hc_connections_uid(hc_listener_connections(f->listener), first_end, &uid));
    assert_true(
        hc_connections_uid(hc_listener_connections(f->listener), second_end, &uid));

    (void)close(second_end);
    third_end = connect_with(f, third);
    assert_int_equal(third_end, first_end); /* its own number may come again */
    assert_true(
        hc_connections_uid(hc_listener_connections(f->listener), second_end, &uid));
}

enum { UNREAD = 64 * 1024, MANY = 1 << 30 };

static void send_bytes(int client, size_t size)
{
    static const char bytes[UNREAD];

    assert_int_equal(send(client, bytes, size, MSG_DONTWAIT), size);
}

static void a_connection_with_much_to_read_is_cut_and_no_other(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_CLOSE int flooding = socket(AF_UNIX, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int modest = socket(AF_UNIX, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int flooding_end = connect_with(f, flooding);
    HC_AUTO_CLOSE int modest_end = connect_with(f, modest);
    struct hc_connection_counts counts;
    char byte;

    send_bytes(flooding, UNREAD);
    send_bytes(modest, UNREAD - 1);
    assert_int_equal(hc_connections_cut(hc_listener_connections(f->listener), UNREAD, 2,
                                        1),
                     1);

    assert_int_equal(recv(flooding, &byte, 1, 0), 0);
    assert_int_equal(recv(flooding_end, &byte, 1, 0), 0);
    assert_int_equal(recv(modest, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(recv(modest_end, &byte, 1, 0), 1);
    hc_connections_count(hc_listener_connections(f->listener), &counts);
    assert_int_equal(counts.cut, 1);
    assert_int_equal(counts.open, 2);
}

static void a_connection_that_is_closed_is_not_cut(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_CLOSE int client = socket(AF_UNIX, SOCK_STREAM, 0);
    int end = connect_with(f, client);

    send_bytes(client, UNREAD);
    (void)close(end);

    assert_int_equal(hc_connections_cut(hc_listener_connections(f->listener), UNREAD, 2,
                                        1),
                     0);
}

static void a_connection_whose_calls_are_abandoned_is_cut(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_CLOSE int client = socket(AF_UNIX, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int end = connect_with(f, client);
    char byte;

    hc_connections_count_abandoned(hc_listener_connections(f->listener), end, 1);
    hc_connections_count_abandoned(hc_listener_connections(f->listener), end,
                                   2); /* begins anew */
    hc_connections_count_abandoned(hc_listener_connections(f->listener), -1, 2);
    hc_connections_count_abandoned(hc_listener_connections(f->listener), 1 << 20, 2);
    assert_int_equal(hc_connections_cut(hc_listener_connections(f->listener), MANY, 2, 2),
                     0);

    hc_connections_count_abandoned(hc_listener_connections(f->listener), end, 2);
    assert_int_equal(hc_connections_cut(hc_listener_connections(f->listener), MANY, 2, 3),
                     0);
    assert_int_equal(hc_connections_cut(hc_listener_connections(f->listener), MANY, 2, 2),
                     1);
    assert_int_equal(recv(client, &byte, 1, 0), 0);
}

static bool is_closed(int client)
{
    char byte;

    return recv(client, &byte, 1, MSG_DONTWAIT) == 0;
}

/* A client that has said anything whole is left to gRPC. */
static void a_connection_without_a_preface_ends_after_ten_seconds(void **state)
{
    struct fixture *f = *state;
    struct hc_connections *all = hc_listener_connections(f->listener);
    HC_AUTO_CLOSE int local = socket(AF_UNIX, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int speaking = socket(AF_INET, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int slow = socket(AF_INET, SOCK_STREAM, 0);
    HC_AUTO_CLOSE int local_end = connect_with(f, local);
    HC_AUTO_CLOSE int speaking_end = connect_with(f, speaking);
    HC_AUTO_CLOSE int slow_end = connect_with(f, slow);
    int64_t now_ms = hc_monotonic_ms();
    char got[33];

    assert_true(local_end >= 0);
    send_bytes(speaking, 33);
    send_bytes(slow, 32);
    assert_int_equal(recv(speaking_end, got, 33, MSG_WAITALL), 33);
    assert_int_equal(recv(slow_end, got, 32, MSG_WAITALL), 32);
    hc_connections_end_silent(all, now_ms + 9000);
    assert_false(is_closed(slow));
    hc_connections_end_silent(all, now_ms + 10001);
    assert_true(is_closed(slow));
    assert_false(is_closed(speaking));
    assert_false(is_closed(local));
}

int main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, listener_set_up, listener_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_unix_socket_shows_its_user_and_tcp_none),
        TEST(a_number_does_not_pass_from_one_peer_to_another),
        TEST(a_connection_is_found_by_its_address),
        cmocka_unit_test(only_loopback_and_unix_sockets_are_local),
        TEST(a_connection_with_much_to_read_is_cut_and_no_other),
        TEST(a_connection_that_is_closed_is_not_cut),
        TEST(a_connection_whose_calls_are_abandoned_is_cut),
        TEST(a_connection_without_a_preface_ends_after_ten_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
