/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread connects to each listener in turn, every five seconds, and after a failure
 * every second. The first bytes of an HTTP/2 server, its SETTINGS (RFC 9113, 3.4), which
 * it sends without being asked, prove that the connection was accepted and is served. So
 * does an immediate close: there were too many connections. A failure of this process
 * itself, such as a lack of descriptors, proves nothing and counts as success.
 *
 * Three failures in a row end the thread and set is_dead: only then may another thread
 * read the error.
 */
#include "watchdog.h"

#include <base/error.h>
#include <base/text.h>
#include <hubcache/cancellation.h>

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/un.h>

enum {
    CHECK_EVERY_MS = 5000,
    CHECK_AGAIN_MS = 1000, /* after a failure */
    ANSWER_MS = 5000,
    FAILURES_MAX = 3,
    ADDRESS_TEXT_MAX = 160
};

struct hc_watchdog {
    const struct hc_listener *listener;
    pthread_t thread;
    bool is_started;
    int stop_fd;
    struct hc_error err; /* the thread owns it until is_dead */
    atomic_bool is_dead;
};

/* 1: `fd` has `events`; 0: the watchdog stops; -1: the time is over. */
static int socket_await(const struct hc_watchdog *watchdog, int fd, short events,
                        int timeout_ms)
{
    int64_t deadline_ms = hc_monotonic_ms() + timeout_ms;
    struct pollfd fds[] = {{.fd = watchdog->stop_fd, .events = POLLIN},
                           {.fd = fd, .events = events}};
    int64_t left_ms = timeout_ms;

    while (poll(fds, 2, (int)left_ms) < 0 && errno == EINTR) {
        left_ms = deadline_ms - hc_monotonic_ms();
        left_ms = left_ms > 0 ? left_ms : 0;
    }
    if (fds[0].revents)
        return 0;
    return fds[1].revents ? 1 : -1;
}

/* For the error: the address as the option --listen has it. */
static void socket_write_address(const struct sockaddr_storage *address, socklen_t size,
                                 char text[ADDRESS_TEXT_MAX])
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];

    if (address->ss_family == AF_UNIX)
        (void)hc_format(text, ADDRESS_TEXT_MAX, "unix:%s",
                        ((const struct sockaddr_un *)address)->sun_path);
    else if (getnameinfo((const struct sockaddr *)address, size, host, sizeof host, port,
                         sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        (void)hc_format(text, ADDRESS_TEXT_MAX, "%.100s:%.30s", host, port);
    else
        (void)hc_format(text, ADDRESS_TEXT_MAX, "a listener");
}

/* Neither TLS nor HTTP/2: a server that speaks TLS sends nothing unasked, but ends the
 * connection at this. */
static const char NONSENSE[] = "hubcached looks whether it is served\r\n\r\n";

/* The connection is established, or is being so. 0: it is served; else an errno. */
static int socket_await_answer(const struct hc_watchdog *watchdog, int fd)
{
    char byte;
    int got = socket_await(watchdog, fd, POLLOUT, ANSWER_MS);

    if (got > 0)
        (void)send(fd, NONSENSE, sizeof NONSENSE - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (got > 0)
        got = socket_await(watchdog, fd, POLLIN, ANSWER_MS);
    if (got < 0)
        return ETIMEDOUT;
    if (got == 0 || recv(fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno == ECONNRESET)
        return 0;
    return errno;
}

/* A full backlog is EAGAIN for a Unix socket: nothing accepts. */
static int watchdog_check_address(const struct hc_watchdog *watchdog,
                                  const struct sockaddr_storage *address, socklen_t size)
{
    HC_AUTO_CLOSE int fd =
        socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return 0;
    if (connect(fd, (const struct sockaddr *)address, size) < 0 && errno != EINPROGRESS)
        return errno;
    return socket_await_answer(watchdog, fd);
}

/* Listeners are added before the start only, so their number does not change. */
static int watchdog_check(struct hc_watchdog *watchdog)
{
    struct sockaddr_storage address;
    socklen_t size = hc_listener_address(watchdog->listener, 0, &address);

    for (size_t i = 1; size > 0; i++) {
        int failed = watchdog_check_address(watchdog, &address, size);
        char text[ADDRESS_TEXT_MAX];

        if (failed) {
            socket_write_address(&address, size, text);
            return hc_fail(&watchdog->err, HC_INTERNAL, "%s does not answer: %s", text,
                           strerrordesc_np(failed));
        }
        size = hc_listener_address(watchdog->listener, i, &address);
    }
    return 0;
}

static void *watchdog_run(void *argument)
{
    struct hc_watchdog *watchdog = argument;
    int failures = 0;

    while (failures < FAILURES_MAX &&
           socket_await(watchdog, -1, 0,
                        failures > 0 ? CHECK_AGAIN_MS : CHECK_EVERY_MS) != 0)
        failures = watchdog_check(watchdog) < 0 ? failures + 1 : 0;
    if (failures == FAILURES_MAX)
        atomic_store(&watchdog->is_dead, true);
    return NULL;
}

struct hc_watchdog *hc_watchdog_open(const struct hc_listener *listener,
                                     struct hc_error *err)
{
    HC_AUTO(hc_watchdog) *watchdog = calloc(1, sizeof *watchdog);

    if (!watchdog) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    watchdog->listener = listener;
    watchdog->stop_fd = eventfd(0, EFD_CLOEXEC);
    watchdog->is_started =
        watchdog->stop_fd >= 0 &&
        pthread_create(&watchdog->thread, NULL, watchdog_run, watchdog) == 0;
    if (watchdog->is_started)
        return hc_take(&watchdog);
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to check the listeners");
    return NULL;
}

void hc_watchdog_stop(struct hc_watchdog *watchdog)
{
    if (!watchdog->is_started)
        return;
    (void)eventfd_write(watchdog->stop_fd, 1);
    (void)pthread_join(watchdog->thread, NULL);
    watchdog->is_started = false;
}

void hc_watchdog_close(struct hc_watchdog *watchdog)
{
    if (!watchdog)
        return;
    hc_watchdog_stop(watchdog);
    hc_auto_close(&watchdog->stop_fd);
    free(watchdog);
}

const char *hc_watchdog_error(const struct hc_watchdog *watchdog)
{
    return atomic_load(&watchdog->is_dead) ? watchdog->err.message : "";
}
