/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread moves the bytes of all connections. It waits for the clients, for the
 * server's bytes where they may pass, and for the event that `shared` has changed.
 */
#include "relay.h"

#include "base/auto.h"
#include "hub_abort.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 32, TRICKLE_MS = 20, BUFFER_SIZE = 65536 };

struct relay_connection {
    int client;
    int server; /* -1: it has closed */
};

struct relay {
    enum relay_fault fault;
    struct sockaddr_in server;
    char *url;
    int listener;
    int filler; /* the client in the queue of a listener that drops; else -1 */
    int changed;
    pthread_t thread;
    struct relay_connection connections[CONNECTIONS_MAX]; /* the thread's own */
    size_t count;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t counted;
        bool is_released, is_over;
        unsigned opened, closed;
    } shared;
};

/* ---- sockets ----------------------------------------------------------------------- */

static int relay_require(int result, const char *what)
{
    if (result < 0)
        hub_abort("relay", what);
    return result;
}

static int socket_connect(const struct sockaddr_in *address)
{
    int fd = relay_require(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

    (void)relay_require(connect(fd, (const struct sockaddr *)address, sizeof *address),
                        "connect");
    return fd;
}

static int socket_listen(int backlog, struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = relay_require(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)relay_require(bind(fd, (struct sockaddr *)address, size), "bind");
    (void)relay_require(listen(fd, backlog), "listen");
    (void)relay_require(getsockname(fd, (struct sockaddr *)address, &size), "address");
    return fd;
}

static void socket_await_readable(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};

    while (poll(&waiting, 1, -1) < 0 && errno == EINTR)
        continue;
}

/* Moves `most` bytes at most; false when there was the end, or the peer has gone. */
static bool socket_copy(int from, int to, size_t most)
{
    char bytes[BUFFER_SIZE];
    ssize_t count = recv(from, bytes, most, MSG_DONTWAIT);

    if (count < 0 && errno == EAGAIN)
        return true;
    for (ssize_t sent = 0; sent < count;) {
        ssize_t more = send(to, bytes + sent, (size_t)(count - sent), MSG_NOSIGNAL);

        if (more < 0)
            return false;
        sent += more;
    }
    return count > 0;
}

/* ---- connections ------------------------------------------------------------------- */

static bool relay_is_faulty(struct relay *relay)
{
    HC_LOCKED(&relay->shared.lock);

    return !relay->shared.is_released;
}

static bool relay_is_over(struct relay *relay)
{
    HC_LOCKED(&relay->shared.lock);

    return relay->shared.is_over;
}

static void relay_count(struct relay *relay, unsigned opened, unsigned closed)
{
    HC_LOCKED(&relay->shared.lock);

    relay->shared.opened += opened;
    relay->shared.closed += closed;
    (void)pthread_cond_broadcast(&relay->shared.counted);
}

static void relay_accept(struct relay *relay)
{
    struct relay_connection *connection = &relay->connections[relay->count];

    if (relay->count == CONNECTIONS_MAX)
        hub_abort("relay", "too many connections");
    connection->client = accept(relay->listener, NULL, NULL);
    if (connection->client < 0)
        return; /* the client has gone */
    connection->server = socket_connect(&relay->server);
    relay->count++;
    relay_count(relay, 1, 0);
}

static void relay_server_closed(struct relay_connection *connection)
{
    (void)shutdown(connection->client, SHUT_WR);
    (void)close(connection->server);
    connection->server = -1;
}

static void relay_drop(struct relay *relay, size_t index)
{
    struct relay_connection *connection = &relay->connections[index];

    (void)close(connection->client);
    if (connection->server >= 0)
        (void)close(connection->server);
    *connection = relay->connections[--relay->count];
}

/* From the client all comes through; false when it has closed, or the server has. */
static bool relay_copy_request(struct relay_connection *connection)
{
    return connection->server >= 0 &&
           socket_copy(connection->client, connection->server, BUFFER_SIZE);
}

static void relay_copy_answer(struct relay_connection *connection, size_t most)
{
    if (connection->server >= 0 &&
        !socket_copy(connection->server, connection->client, most))
        relay_server_closed(connection);
}

/* ---- the thread -------------------------------------------------------------------- */

/* The queue gets room, and the client that filled it leaves. */
static void relay_open_queue(struct relay *relay)
{
    int filler = accept(relay->listener, NULL, NULL);

    (void)close(relay_require(filler, "accept"));
    (void)close(relay->filler);
    relay->filler = -1;
    (void)relay_require(listen(relay->listener, SOMAXCONN), "listen");
}

/* What the thread waits for: the event, the listener, and two sockets per connection. */
static size_t relay_fill_poll(const struct relay *relay, bool is_faulty,
                              struct pollfd waiting[2 + 2 * CONNECTIONS_MAX])
{
    size_t used = 2;

    waiting[0] = (struct pollfd){.fd = relay->changed, .events = POLLIN};
    waiting[1] =
        (struct pollfd){.fd = relay->filler < 0 ? relay->listener : -1, .events = POLLIN};
    for (size_t i = 0; i < relay->count; i++) {
        const struct relay_connection *connection = &relay->connections[i];

        waiting[used++] = (struct pollfd){.fd = connection->client, .events = POLLIN};
        waiting[used++] =
            (struct pollfd){.fd = is_faulty ? -1 : connection->server, .events = POLLIN};
    }
    return used;
}

/* Backwards, since a connection that is dropped leaves its place to the last one. */
static void relay_serve(struct relay *relay, const struct pollfd *waiting,
                        size_t answer_bytes)
{
    for (size_t i = relay->count; i-- > 0;) {
        if (answer_bytes > 0)
            relay_copy_answer(&relay->connections[i], answer_bytes);
        if (waiting[2 + 2 * i].revents && !relay_copy_request(&relay->connections[i])) {
            relay_drop(relay, i);
            relay_count(relay, 0, 1);
        }
    }
}

static void *relay_run(void *ctx)
{
    struct relay *relay = ctx;
    struct pollfd waiting[2 + 2 * CONNECTIONS_MAX];
    eventfd_t unused;

    while (!relay_is_over(relay)) {
        bool is_faulty = relay_is_faulty(relay);
        bool trickles = is_faulty && relay->fault == RELAY_TRICKLES_ANSWERS;
        size_t count = relay_fill_poll(relay, is_faulty, waiting);
        int ready = poll(waiting, count, trickles ? TRICKLE_MS : -1);

        if (!is_faulty)
            relay_serve(relay, waiting, BUFFER_SIZE);
        else
            relay_serve(relay, waiting, trickles && ready == 0 ? 1 : 0);
        if (waiting[0].revents)
            (void)eventfd_read(relay->changed, &unused);
        if (waiting[1].revents)
            relay_accept(relay);
        if (relay->filler >= 0 && !relay_is_faulty(relay))
            relay_open_queue(relay);
    }
    return NULL;
}

/* ---- the relay --------------------------------------------------------------------- */

/* Fills the queue of a listener with room for one, and waits until it is full. */
static void relay_fill_queue(struct relay *relay, const struct sockaddr_in *address)
{
    relay->filler = socket_connect(address);
    socket_await_readable(relay->listener);
}

static void relay_find_server(struct relay *relay, const char *url)
{
    const char *host = strstr(url, "://");
    const char *port = host ? strchr(host + 3, ':') : NULL;

    if (!port)
        hub_abort("relay", "no port in the URL");
    relay->server =
        (struct sockaddr_in){.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

struct relay *relay_start(const char *url, enum relay_fault fault)
{
    struct relay *relay = hub_require(calloc(1, sizeof *relay));
    struct sockaddr_in address;

    relay->fault = fault;
    relay->filler = -1;
    relay_find_server(relay, url);
    relay->listener =
        socket_listen(fault == RELAY_DROPS_CONNECTS ? 0 : SOMAXCONN, &address);
    relay->url = hub_format("%.*s://127.0.0.1:%u", (int)(strchr(url, ':') - url), url,
                            (unsigned)ntohs(address.sin_port));
    relay->changed = relay_require(eventfd(0, EFD_CLOEXEC), "eventfd");
    (void)pthread_mutex_init(&relay->shared.lock, NULL);
    (void)pthread_cond_init(&relay->shared.counted, NULL);
    if (fault == RELAY_DROPS_CONNECTS)
        relay_fill_queue(relay, &address);
    if (pthread_create(&relay->thread, NULL, relay_run, relay) != 0)
        hub_abort("relay", "no thread");
    return relay;
}

static void relay_tell(struct relay *relay, bool *what)
{
    HC_LOCKED(&relay->shared.lock);

    *what = true;
    (void)eventfd_write(relay->changed, 1);
}

void relay_stop(struct relay *relay)
{
    relay_tell(relay, &relay->shared.is_over);
    (void)pthread_join(relay->thread, NULL);
    while (relay->count > 0)
        relay_drop(relay, relay->count - 1);
    (void)close(relay->listener);
    if (relay->filler >= 0)
        (void)close(relay->filler);
    (void)close(relay->changed);
    (void)pthread_cond_destroy(&relay->shared.counted);
    (void)pthread_mutex_destroy(&relay->shared.lock);
    free(relay->url);
    free(relay);
}

const char *relay_url(const struct relay *relay)
{
    return relay->url;
}

void relay_release(struct relay *relay)
{
    relay_tell(relay, &relay->shared.is_released);
}

static void relay_await(struct relay *relay, const unsigned *counter, unsigned count)
{
    HC_LOCKED(&relay->shared.lock);

    while (*counter < count)
        (void)pthread_cond_wait(&relay->shared.counted, &relay->shared.lock);
}

void relay_await_opened(struct relay *relay, unsigned count)
{
    relay_await(relay, &relay->shared.opened, count);
}

void relay_await_closed(struct relay *relay, unsigned count)
{
    relay_await(relay, &relay->shared.closed, count);
}
