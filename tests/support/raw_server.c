/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread serves one connection after the other. It keeps the whole requests, so that
 * they can be counted by their text.
 */
#include "raw_server.h"

#include "base/auto.h"
#include "hub_abort.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MAX = 128 * 1024, REQUESTS_MAX = 4096, ANSWERS_MAX = 64 };

static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                                "Connection: close\r\n\r\n";

struct raw_server {
    int listener;
    pthread_t thread;
    char *url;
    struct {
        pthread_mutex_t lock;
        char *requests[REQUESTS_MAX];
        size_t request_count;
        struct {
            char *text;
            char *bytes;
        } answers[ANSWERS_MAX];
        size_t answer_count;
    } shared;
};

/* Reads up to the empty line; the caller frees. NULL when the peer hangs up before. */
static char *raw_request_read(int connection)
{
    char *request = hub_require(calloc(1, REQUEST_MAX));
    size_t used = 0;

    while (used + 1 < REQUEST_MAX && !strstr(request, "\r\n\r\n")) {
        ssize_t count = recv(connection, request + used, REQUEST_MAX - 1 - used, 0);

        if (count <= 0) {
            free(request);
            return NULL;
        }
        used += (size_t)count;
    }
    return request;
}

/* Keeps the request. Returns a copy of the answer to it; the caller frees. */
static char *raw_server_choose_answer(struct raw_server *server, char *request)
{
    char *bytes = NULL;
    HC_LOCKED(&server->shared.lock);

    if (server->shared.request_count == REQUESTS_MAX)
        hub_abort("raw server", "too many requests");
    server->shared.requests[server->shared.request_count++] = request;
    for (size_t i = server->shared.answer_count; !bytes && i-- > 0;) {
        if (strstr(request, server->shared.answers[i].text))
            bytes = hub_strdup(server->shared.answers[i].bytes);
    }
    return bytes ? bytes : hub_strdup(not_found);
}

/* A peer that hangs up early is no failure: clients may do so. */
static void connection_send(int connection, const char *bytes)
{
    size_t left = strlen(bytes);

    while (left > 0) {
        ssize_t count = send(connection, bytes, left, MSG_NOSIGNAL);

        if (count <= 0)
            return;
        bytes += count;
        left -= (size_t)count;
    }
    (void)shutdown(connection, SHUT_WR);
}

/* Ends when the listener is shut down. */
static void *raw_server_run(void *ctx)
{
    struct raw_server *server = ctx;
    int connection;

    while ((connection = accept(server->listener, NULL, NULL)) >= 0) {
        char *request = raw_request_read(connection);

        if (request) {
            HC_AUTO_FREE char *bytes = raw_server_choose_answer(server, request);

            connection_send(connection, bytes);
        }
        (void)close(connection);
    }
    return NULL;
}

struct raw_server *raw_server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct raw_server *server = hub_require(calloc(1, sizeof *server));

    (void)pthread_mutex_init(&server->shared.lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listener < 0 ||
        bind(server->listener, (struct sockaddr *)&address, size) < 0 ||
        listen(server->listener, SOMAXCONN) < 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) < 0)
        hub_abort("raw server", "cannot listen");
    server->url = hub_format("http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    if (pthread_create(&server->thread, NULL, raw_server_run, server) != 0)
        hub_abort("raw server", "no thread");
    return server;
}

/* A connection that is being served is finished first. */
void raw_server_stop(struct raw_server *server)
{
    (void)shutdown(server->listener, SHUT_RDWR);
    (void)pthread_join(server->thread, NULL);
    (void)close(server->listener);
    for (size_t i = 0; i < server->shared.request_count; i++)
        free(server->shared.requests[i]);
    for (size_t i = 0; i < server->shared.answer_count; i++) {
        free(server->shared.answers[i].text);
        free(server->shared.answers[i].bytes);
    }
    (void)pthread_mutex_destroy(&server->shared.lock);
    free(server->url);
    free(server);
}

const char *raw_server_url(const struct raw_server *server)
{
    return server->url;
}

void raw_server_answer(struct raw_server *server, const char *text, const char *bytes)
{
    HC_LOCKED(&server->shared.lock);

    if (server->shared.answer_count == ANSWERS_MAX)
        hub_abort("raw server", "too many answers");
    server->shared.answers[server->shared.answer_count].text = hub_strdup(text);
    server->shared.answers[server->shared.answer_count++].bytes = hub_strdup(bytes);
}

unsigned raw_server_count(struct raw_server *server, const char *text)
{
    unsigned count = 0;
    HC_LOCKED(&server->shared.lock);

    for (size_t i = 0; i < server->shared.request_count; i++)
        count += strstr(server->shared.requests[i], text) ? 1 : 0;
    return count;
}
