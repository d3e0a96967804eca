/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread takes one connection after the other. Requests are kept whole, for counting.
 */
#include "raw_site.h"

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

struct raw_site {
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

/* Up to the empty line; the caller frees. NULL when the peer leaves before it. */
static char *read_request(int connection)
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

/* Keeps the request; what to answer it with, a copy. */
static char *take_request(struct raw_site *site, char *request)
{
    char *bytes = NULL;

    (void)pthread_mutex_lock(&site->shared.lock);
    if (site->shared.request_count == REQUESTS_MAX)
        hub_abort("raw site", "too many requests");
    site->shared.requests[site->shared.request_count++] = request;
    for (size_t i = site->shared.answer_count; !bytes && i-- > 0;) {
        if (strstr(request, site->shared.answers[i].text))
            bytes = hub_strdup(site->shared.answers[i].bytes);
    }
    (void)pthread_mutex_unlock(&site->shared.lock);
    return bytes ? bytes : hub_strdup(not_found);
}

/* A peer that leaves in the middle is none of our business. */
static void send_all(int connection, const char *bytes)
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

static void *serve(void *ctx)
{
    struct raw_site *site = ctx;
    int connection;

    while ((connection = accept(site->listener, NULL, NULL)) >= 0) {
        char *request = read_request(connection);

        if (request) {
            HC_AUTO_FREE char *bytes = take_request(site, request);

            send_all(connection, bytes);
        }
        (void)close(connection);
    }
    return NULL;
}

struct raw_site *raw_site_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct raw_site *site = hub_require(calloc(1, sizeof *site));

    (void)pthread_mutex_init(&site->shared.lock, NULL);
    site->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (site->listener < 0 ||
        bind(site->listener, (struct sockaddr *)&address, size) < 0 ||
        listen(site->listener, SOMAXCONN) < 0 ||
        getsockname(site->listener, (struct sockaddr *)&address, &size) < 0)
        hub_abort("raw site", "cannot listen");
    site->url = hub_format("http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    if (pthread_create(&site->thread, NULL, serve, site) != 0)
        hub_abort("raw site", "no thread");
    return site;
}

void raw_site_stop(struct raw_site *site)
{
    (void)shutdown(site->listener, SHUT_RDWR);
    (void)pthread_join(site->thread, NULL);
    (void)close(site->listener);
    for (size_t i = 0; i < site->shared.request_count; i++)
        free(site->shared.requests[i]);
    for (size_t i = 0; i < site->shared.answer_count; i++) {
        free(site->shared.answers[i].text);
        free(site->shared.answers[i].bytes);
    }
    (void)pthread_mutex_destroy(&site->shared.lock);
    free(site->url);
    free(site);
}

const char *raw_site_url(const struct raw_site *site)
{
    return site->url;
}

void raw_site_answer(struct raw_site *site, const char *text, const char *bytes)
{
    (void)pthread_mutex_lock(&site->shared.lock);
    if (site->shared.answer_count == ANSWERS_MAX)
        hub_abort("raw site", "too many answers");
    site->shared.answers[site->shared.answer_count].text = hub_strdup(text);
    site->shared.answers[site->shared.answer_count++].bytes = hub_strdup(bytes);
    (void)pthread_mutex_unlock(&site->shared.lock);
}

unsigned raw_site_count(struct raw_site *site, const char *text)
{
    unsigned count = 0;

    (void)pthread_mutex_lock(&site->shared.lock);
    for (size_t i = 0; i < site->shared.request_count; i++)
        count += strstr(site->shared.requests[i], text) ? 1 : 0;
    (void)pthread_mutex_unlock(&site->shared.lock);
    return count;
}
