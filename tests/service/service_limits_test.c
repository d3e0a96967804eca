/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: connections that stay idle, in any number, stop neither the listener nor
 * the calls of other clients; a connection without calls is closed after a time, and so
 * is one of a certain age, when its calls are over. Requests have a size and a number of
 * values at most, and those that are never finished cost little. If a listener dies
 * nevertheless, the server ends, for its supervisor to start it again.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <errno.h>
#include <fcntl.h>
#include <hubcache/error.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { DESCRIPTORS = 256, IDLE = 300, PATIENCE_MS = 20000 };

/* Connected to the first listener. */
static int connect_idle(const struct world *world)
{
    const char *port = strrchr(world->address, ':') + 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail_msg("no connection: %s", strerrordesc_np(errno));
    return fd;
}

/* True: the server serves the connection, and sends a byte. False: it has closed it. */
static bool is_served(int fd)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    char byte;

    if (poll(&event, 1, PATIENCE_MS) != 1)
        fail_msg("the connection was neither served nor closed");
    return fd >= 0 && recv(fd, &byte, 1, 0) == 1;
}

static void assert_answers(struct world *world)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call = ask_file(world, &request);

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
}

static void more_connections_than_descriptors_leave_the_server_answering(void **state)
{
    struct world *world = *state;
    int fds[IDLE];
    unsigned served = 0;
    bool is_room;

    world->descriptors = DESCRIPTORS;
    world_serve(world, (const char *const[]){NULL});
    for (size_t i = 0; i < IDLE; i++)
        fds[i] = connect_idle(world);
    for (size_t i = 0; i < IDLE; i++)
        served += is_served(fds[i]);
    assert_answers(world);
    for (size_t i = 0; i < IDLE; i++)
        (void)close(fds[i]);
    do { /* gRPC takes its time to notice that they are closed */
        int late = connect_idle(world);

        is_room = is_served(late);
        (void)close(late);
    } while (!is_room);

    assert_in_range(served, DESCRIPTORS / 2 - 2, DESCRIPTORS - 1);
}

static void the_limit_of_connections_is_an_option_and_a_metric(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *metrics = NULL;
    int fds[3];

    world_serve(world, (const char *const[]){"--client-connections", "3", "--http-listen",
                                             "127.0.0.1:0", NULL});
    assert_answers(world); /* over the first */
    for (size_t i = 0; i < 3; i++)
        fds[i] = connect_idle(world);
    assert_true(is_served(fds[0]));
    assert_true(is_served(fds[1]));
    assert_false(is_served(fds[2]));
    metrics = world_get(world, "/metrics");
    assert_non_null(strstr(metrics, "\nhubcache_client_connections 3\n"));
    assert_non_null(strstr(metrics, "\nhubcache_client_connections_refused_total 1\n"));
    assert_answers(world);
    for (size_t i = 0; i < 3; i++)
        (void)close(fds[i]);
}

/* --- size of requests -----------------------------------------------------------------
 */

enum { REQUEST_MAX = 16 << 20, VALUES_MAX = 16384 };

/* The size of the request's own fields, and of the head of the one that fills it up. */
enum { HEAD_SIZE = 5, FILENAMES = 4 << 3 | 2, FIELD_15 = 15 << 3 | 2 };

/* A request for config.json of `size` bytes, most of them of a field that the
 * contract does not have. */
static unsigned ask_large(struct world *world, size_t size)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    size_t used = protobuf_c_message_get_packed_size(&request.base);
    HC_AUTO_FREE uint8_t *bytes = malloc(size);
    size_t left = size - used - HEAD_SIZE;
    struct rpc_call *call;
    unsigned code;

    assert_non_null(bytes);
    memset(bytes, 'x', size);
    (void)protobuf_c_message_pack(&request.base, bytes);
    bytes[used] = FIELD_15;
    for (unsigned i = 0; i < 4; i++)
        bytes[used + 1 + i] = (uint8_t)((left >> 7 * i & 0x7f) | (i < 3 ? 0x80 : 0));
    call =
        rpc_call_start(world->client, &(struct rpc_request){.path = METHOD("ResolveFile"),
                                                            .bytes = bytes,
                                                            .size = size});
    code = rpc_call_await(call);
    rpc_call_free(call);
    return code;
}

static void
a_request_of_sixteen_mebibytes_is_answered_and_a_larger_one_refused(void **state)
{
    struct world *world = *state;

    assert_answers(world);
    assert_int_equal(ask_large(world, REQUEST_MAX), HC_STATUS_OK);
    assert_int_equal(ask_large(world, REQUEST_MAX - 1), HC_STATUS_OK);
    assert_int_equal(ask_large(world, REQUEST_MAX + 1), HC_STATUS_RESOURCE_EXHAUSTED);
    assert_answers(world);
}

/* Asks for `count` files without a name: two bytes each, and more than 20 in memory. */
static struct rpc_call *ask_values(struct world *world, size_t count)
{
    HC_AUTO_FREE uint8_t *bytes = calloc(count, 2);

    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++)
        bytes[2 * i] = FILENAMES;
    return rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveFiles"),
                                                .bytes = bytes,
                                                .size = 2 * count});
}

static void a_request_of_more_values_than_any_needs_takes_little_memory(void **state)
{
    struct world *world = *state;
    static const struct {
        size_t values;
        const char *reason;
    } requests[] = {{VALUES_MAX, "INVALID_FILENAME"},
                    {VALUES_MAX + 1, "INVALID_OPTIONS"},
                    {REQUEST_MAX / 2, "INVALID_OPTIONS"}};
    unsigned long before = world_process(world, "VmHWM");

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct rpc_call *call = ask_values(world, requests[i].values);

        assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
        assert_string_equal(rpc_call_reason(call), requests[i].reason);
        rpc_call_free(call);
    }
    assert_true(world_process(world, "VmHWM") - before < 128 * 1024); /* KiB */
}

/* --- age and idleness of connections ---------------------------------------------------
 */

enum { HEADERS = 1, DATA = 0, PING = 6, GOAWAY = 7, FRAME_HEADER = 9, END_HEADERS = 4 };

/* A client of HTTP/2 that makes no call: its preface and an empty SETTINGS frame. */
static int connect_http2(const struct world *world)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    int fd = connect_idle(world);

    assert_int_equal(send(fd, preface, sizeof preface - 1, MSG_NOSIGNAL),
                     sizeof preface - 1);
    return fd;
}

/* Reads until the server closes the connection. True: it has sent GOAWAY before. */
static bool await_goodbye(int fd)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    uint8_t bytes[4096];
    size_t size = 0;
    ssize_t got;
    bool is_goodbye = false;

    do {
        if (poll(&event, 1, PATIENCE_MS) != 1)
            fail_msg("the server keeps the connection");
        got = recv(fd, bytes + size, sizeof bytes - size, 0);
        size += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    for (size_t at = 0; at + FRAME_HEADER <= size;
         at += FRAME_HEADER + (size_t)(bytes[at + 1] << 8 | bytes[at + 2]))
        is_goodbye = is_goodbye || bytes[at + 3] == GOAWAY;
    (void)close(fd);
    return is_goodbye;
}

/* Starts a server with that limit, and a call that lasts until the Hub is released. */
static struct rpc_call *start_endless_call(struct world *world, const char *flag,
                                           const char *limit)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("weights.bin");
    struct rpc_call *call;

    world_serve(world, (const char *const[]){flag, limit, NULL});
    test_hub_rule(world->hub,
                  &(struct test_hub_rule){.on_cdn = true, .fault = TEST_HUB_STALL});
    call = start_file(world, &request);
    test_hub_await_stall(world->hub);
    return call;
}

static void an_idle_connection_is_closed_while_one_with_a_call_stays(void **state)
{
    struct world *world = *state;
    struct rpc_call *call = start_endless_call(world, "--max-connection-idle", "300ms");

    assert_true(await_goodbye(connect_http2(world)));
    assert_true(await_goodbye(connect_http2(world)));
    test_hub_release(world->hub);

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
    assert_true(await_goodbye(connect_http2(world))); /* the client's own is gone, too */
    assert_answers(world);
}

static void a_connection_of_age_is_closed_when_its_calls_are_over(void **state)
{
    struct world *world = *state;
    struct rpc_call *call = start_endless_call(world, "--max-connection-age", "500ms");

    assert_true(await_goodbye(connect_http2(world)));
    assert_true(await_goodbye(connect_http2(world)));
    assert_answers(world); /* over a new connection */
    test_hub_release(world->hub);

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
}

static void send_frame(int fd, unsigned type, unsigned flags, unsigned stream,
                       const void *bytes, size_t size)
{
    uint8_t frame[FRAME_HEADER + 256] = {
        0, (uint8_t)(size >> 8),   (uint8_t)size,  (uint8_t)type, (uint8_t)flags, 0,
        0, (uint8_t)(stream >> 8), (uint8_t)stream};

    assert_true(size <= 256);
    memcpy(frame + FRAME_HEADER, bytes, size);
    assert_int_equal(send(fd, frame, FRAME_HEADER + size, MSG_NOSIGNAL),
                     FRAME_HEADER + size);
}

/* True: the server has read all that was sent. False: it says goodbye, or has closed. */
static bool is_ping_answered(int fd)
{
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    uint8_t frame[FRAME_HEADER];
    uint8_t content[16384];

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    send_frame(fd, PING, 0, 0, "12345678", 8);
    while (recv(fd, frame, sizeof frame, MSG_WAITALL) == sizeof frame) {
        size_t size = (size_t)(frame[1] << 8 | frame[2]);

        if (frame[3] == GOAWAY || (size > 0 && recv(fd, content, size, MSG_WAITALL) < 0))
            return false;
        if (frame[3] == PING && (frame[4] & 1))
            return true;
    }
    return false;
}

/* One ping: gRPC closes a connection for more than two within ten seconds. */
static void connections_have_no_age_when_the_limit_is_zero(void **state)
{
    enum { CALLS = 100 };
    struct world *world = *state;
    int fd;

    world_serve(world, (const char *const[]){"--max-connection-age", "0",
                                             "--max-connection-idle", "0", NULL});
    fd = connect_http2(world);
    for (int i = 0; i < CALLS; i++)
        assert_answers(world);
    assert_true(is_ping_answered(fd));
    (void)close(fd);
}

/* --- requests that never end ----------------------------------------------------------
 */

enum { CONNECTIONS = 4, STREAMS = 250 };

/* HPACK (RFC 7541) without its table and Huffman's code, but for the static names. */
static const char unfinished_headers[] =
    "\x83\x86\x04\x21/hubcache.v1.Resolver/ResolveFile"
    "\x01\x01x\x0f\x10\x10"
    "application/grpc"
    "\x00\x02te\x08trailers";

/* The message has a mebibyte, of which a few bytes arrive. */
static void send_unfinished_request(int fd, unsigned stream)
{
    static const char start[] = "\0\0\x10\0\0\x0a\x08org/name";

    send_frame(fd, HEADERS, END_HEADERS, stream, unfinished_headers,
               sizeof unfinished_headers - 1);
    send_frame(fd, DATA, 0, stream, start, sizeof start - 1);
}

static void await_connections(struct world *world, unsigned count)
{
    bool is_there = false;
    char line[64];

    (void)snprintf(line, sizeof line, "\nhubcache_client_connections %u\n", count);
    while (!is_there) { /* gRPC takes its time to notice that they are closed */
        HC_AUTO_FREE char *metrics = world_get(world, "/metrics");

        is_there = strstr(metrics, line);
    }
}

static void a_thousand_unfinished_requests_stop_no_call_and_leave_nothing(void **state)
{
    struct world *world = *state;
    int fds[CONNECTIONS];
    unsigned long before;

    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0",
                                             "--client-connections", "5", NULL});
    assert_answers(world);
    before = world_process(world, "VmRSS");
    print_message("%lu KiB before\n", before);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        fds[i] = connect_http2(world);
        for (unsigned n = 0; n < STREAMS; n++)
            send_unfinished_request(fds[i], 2 * n + 1);
        assert_true(is_ping_answered(fds[i]));
        assert_answers(world);
    }
    await_connections(world, CONNECTIONS + 1);
    assert_false(is_served(connect_idle(world)));
    assert_answers(world);
    print_message("%lu KiB with unfinished requests\n", world_process(world, "VmRSS"));
#ifndef __SANITIZE_THREAD__
    assert_true(world_process(world, "VmRSS") < before + 64 * 1024UL); /* KiB */
#endif

    for (size_t i = 0; i < CONNECTIONS; i++)
        (void)close(fds[i]);
    await_connections(world, 1);
    assert_answers(world);
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
}

static void limit_descriptors(const struct world *world, rlim_t soft)
{
    struct rlimit limit;

    assert_int_equal(prlimit(world->server, RLIMIT_NOFILE, NULL, &limit), 0);
    limit.rlim_cur = soft > 0 ? soft : limit.rlim_max;
    assert_int_equal(prlimit(world->server, RLIMIT_NOFILE, &limit, NULL), 0);
}

static void a_shortage_of_descriptors_pauses_the_listener(void **state)
{
    struct world *world = *state;
    struct pollfd event = {.events = POLLIN};

    limit_descriptors(world, 3);
    event.fd = connect_idle(world);
    assert_int_equal(poll(&event, 1, 300), 0); /* accept() fails meanwhile */
    limit_descriptors(world, 0);

    assert_true(is_served(event.fd));
    assert_answers(world);
    (void)close(event.fd);
}

static void a_dead_listener_ends_the_server(void **state)
{
    struct world *world = *state;
    HC_AUTO_FREE char *path = temp_dir_path(world->dir, "socket");
    HC_AUTO_FREE char *log = NULL;
    char address[256];

    (void)snprintf(address, sizeof address, "unix:%s", path);
    world_serve(world, (const char *const[]){"--listen", address, NULL});
    assert_int_equal(unlink(path), 0);

    assert_int_equal(world_await_end(world), 1);
    log = world_log(world);
    assert_non_null(strstr(log, "a listener is dead"));
    assert_non_null(strstr(log, path));
}

static void a_log_reader_that_stalls_stops_no_call(void **state)
{
    enum { CALLS = 300 }; /* a line each, of 60 bytes and more */
    struct world *world = *state;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
    world->log_fd = ends[1];
    world_serve(world, (const char *const[]){"--log-level", "debug", NULL});
    for (int i = 0; i < CALLS; i++)
        assert_answers(world);
    world_stop_server(world);

    assert_int_equal(world_await_end(world), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* True: the answer to GET arrives within `timeout_ms`. */
static bool is_scraped(const struct world *world, const char *from, int timeout_ms)
{
    HC_AUTO_CLOSE int fd = world_connect_http(world, from);
    struct pollfd event = {.fd = fd, .events = POLLIN};
    char start[9] = "";

    (void)send(fd, "GET /healthz HTTP/1.0\r\n\r\n", 25, MSG_NOSIGNAL);
    return poll(&event, 1, timeout_ms) == 1 && recv(fd, start, 8, 0) == 8 &&
           strncmp(start, "HTTP/1.", 7) == 0;
}

/* Each connection sends a byte more of its header twice a second, until it is closed. */
static void slow_clients_stop_no_other_host_from_reading_metrics(void **state)
{
    enum { SLOW = 64, ROUNDS_MAX = 60 };
    struct world *world = *state;
    int fds[SLOW];
    int open = SLOW, rounds = 0;

    world_serve(world, (const char *const[]){"--http-listen", "127.0.0.1:0", NULL});
    for (int i = 0; i < SLOW; i++) {
        fds[i] = world_connect_http(world, "127.0.0.1");
        (void)send(fds[i], "GET / HTTP/1.1\r\nx: ", 19, MSG_NOSIGNAL);
    }
    assert_true(is_scraped(world, "127.0.0.2", PATIENCE_MS));
    while (open > 0 && rounds++ < ROUNDS_MAX) {
        struct pollfd events[SLOW];

        for (int i = 0; i < SLOW; i++) {
            (void)send(fds[i], "x", 1, MSG_NOSIGNAL);
            events[i] = (struct pollfd){.fd = fds[i], .events = POLLRDHUP};
        }
        (void)poll(NULL, 0, 500); /* the pace of the slow clients */
        (void)poll(events, SLOW, 0);
        open = 0;
        for (int i = 0; i < SLOW; i++)
            open += events[i].revents == 0;
    }
    assert_int_equal(open, 0);
    assert_true(is_scraped(world, "127.0.0.1", PATIENCE_MS));
    for (int i = 0; i < SLOW; i++)
        (void)close(fds[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_EMPTY(name)                                                                 \
    cmocka_unit_test_setup_teardown(name, world_setup_empty, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST_EMPTY(more_connections_than_descriptors_leave_the_server_answering),
        TEST_EMPTY(the_limit_of_connections_is_an_option_and_a_metric),
        TEST(a_request_of_sixteen_mebibytes_is_answered_and_a_larger_one_refused),
        TEST(a_request_of_more_values_than_any_needs_takes_little_memory),
        TEST_EMPTY(an_idle_connection_is_closed_while_one_with_a_call_stays),
        TEST_EMPTY(a_connection_of_age_is_closed_when_its_calls_are_over),
        TEST_EMPTY(connections_have_no_age_when_the_limit_is_zero),
        TEST_EMPTY(a_thousand_unfinished_requests_stop_no_call_and_leave_nothing),
        TEST(a_shortage_of_descriptors_pauses_the_listener),
        TEST_EMPTY(a_log_reader_that_stalls_stops_no_call),
        TEST_EMPTY(slow_clients_stop_no_other_host_from_reading_metrics),
        TEST_EMPTY(a_dead_listener_ends_the_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
