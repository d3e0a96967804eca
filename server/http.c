/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages over libmicrohttpd, which runs one thread of its own; every function up to
 * hc_http_expire() runs there. A page is written into memory and given to the library
 * whole: there are few and small ones, so they need no streaming.
 *
 * A connection has a slot from its first notice to its last one. hc_http_expire(), on the
 * main thread, shuts down connections whose client is too slow; the lock guards the
 * slots.
 */
#include "http.h"

#include "http_login.h"
#include "listener.h"
#include "status_page.h"

#include <base/error.h>
#include <hubcache/cancellation.h>

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    CONNECTIONS_MAX = 64,
    CONNECTIONS_OF_HOST_MAX = 16, /* one host leaves room for others */
    IDLE_S = 10,
    TOTAL_MS = 10 * 1000,
    URL_SIZE = 512
};

struct hc_http {
    struct hc_http_parts parts;
    struct hc_http_login login; /* the library's thread's */
    char page_policy[HC_PAGE_POLICY_SIZE];
    struct MHD_Daemon *daemon;
    atomic_bool is_stopping;
    struct {
        pthread_mutex_t lock;
        /* The open connections. The library's own time-out ends silent ones only. */
        int fds[CONNECTIONS_MAX]; /* -1: a free slot */
        int64_t since_ms[CONNECTIONS_MAX];
    } shared;
};

/* ---- the pages --------------------------------------------------------------------- */

static unsigned page_write_metrics(struct hc_http *http, const struct hc_identity *reader,
                                   FILE *out)
{
    (void)reader;
    hc_metrics_write(http->parts.metrics, &http->parts.gauges, out);
    return MHD_HTTP_OK;
}

/* A detail for people: the old policy holds, so the server is well. It has the file's
 * place of the flaw, which is no secret, and not its content. */
static void write_policy_error(struct hc_policy_file *policy, FILE *out)
{
    struct hc_policy_state state;
    char *rest;

    if (!policy)
        return;
    hc_policy_file_state(policy, &state);
    if (!state.error[0])
        return;
    rest = strstr(state.error, ": ");
    if (rest)
        *rest = '\0';
    (void)fprintf(out,
                  "the newer policy is wrong, and the old one holds: see the log (%s)\n",
                  state.error);
}

/* For probes: a server that stops is not ready, although it still answers calls. */
static unsigned page_write_health(struct hc_http *http, const struct hc_identity *reader,
                                  FILE *out)
{
    bool is_stopping = atomic_load(&http->is_stopping);

    (void)reader;
    (void)fputs(is_stopping ? "stopping\n" : "ok\n", out);
    write_policy_error(http->parts.gauges.policy, out);
    return is_stopping ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
}

/* As gRPC's health of the server as a whole, for probes that do not speak TLS. */
static unsigned page_write_readiness(struct hc_http *http,
                                     const struct hc_identity *reader, FILE *out)
{
    if (hc_metrics_is_volume_usable(http->parts.metrics))
        return page_write_health(http, reader, out);
    (void)fputs("the cache volume is unusable\n", out);
    return MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned page_write_status(struct hc_http *http, const struct hc_identity *reader,
                                  FILE *out)
{
    struct hc_error err;
    HC_AUTO(hc_status_facts) *facts =
        hc_server_status_read(http->parts.status, reader, HC_STATUS_PAGE_REPOS_MAX, &err);

    if (!facts)
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    hc_status_page_write(facts, out);
    return MHD_HTTP_OK;
}

static unsigned page_write_json(struct hc_http *http, const struct hc_identity *reader,
                                FILE *out)
{
    struct hc_error err;
    HC_AUTO(hc_status_facts) *facts =
        hc_server_status_read(http->parts.status, reader, HC_USAGE_REPOS_MAX, &err);

    return facts && hc_status_json_write(facts, out) ? MHD_HTTP_OK
                                                     : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static unsigned page_write_not_found(struct hc_http *http,
                                     const struct hc_identity *reader, FILE *out)
{
    (void)http;
    (void)reader;
    (void)fputs("There are /, /status.json, /healthz, /readyz and /metrics.\n", out);
    return MHD_HTTP_NOT_FOUND;
}

/* To add a page: a row before the last one, which answers all other paths. */
static const struct page {
    const char *path;
    const char *type;
    bool is_guarded; /* for clients that may call */
    /* Returns the status. `reader` NULL: anonymous. */
    unsigned (*write)(struct hc_http *http, const struct hc_identity *reader, FILE *out);
} pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", false, page_write_metrics},
    {"/healthz", "text/plain; charset=utf-8", false, page_write_health},
    {"/readyz", "text/plain; charset=utf-8", false, page_write_readiness},
    {"/", "text/html; charset=utf-8", true, page_write_status},
    {"/status.json", "application/json", true, page_write_json},
    {NULL, "text/plain; charset=utf-8", false, page_write_not_found},
};

/* ---- answers ----------------------------------------------------------------------- */

/* A header is a name and its value; no browser is to guess, keep or embed a page. */
static void add_headers(const struct hc_http *http, struct MHD_Response *response,
                        const char *type)
{
    bool is_html = hc_text_starts(type, "text/html");
    const char *const headers[][2] = {
        {"Content-Type", type},
        {"Content-Security-Policy", is_html ? http->page_policy
                                            : "default-src 'none'; base-uri 'none'; "
                                              "frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
    };

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        (void)MHD_add_response_header(response, headers[i][0], headers[i][1]);
}

/* What a refused client is to do. */
static void add_advice(struct MHD_Response *response, unsigned status)
{
    char seconds[16];

    if (status == MHD_HTTP_UNAUTHORIZED) {
        (void)MHD_add_response_header(response, "WWW-Authenticate",
                                      "Basic realm=\"hubcache\", charset=\"UTF-8\"");
        (void)MHD_add_response_header(response, "WWW-Authenticate",
                                      "Bearer realm=\"hubcache\"");
    } else if (status == MHD_HTTP_TOO_MANY_REQUESTS) {
        (void)hc_format(seconds, sizeof seconds, "%d", HC_LOGIN_PERIOD_MS / 1000);
        (void)MHD_add_response_header(response, "Retry-After", seconds);
    } else if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(response, "Allow", "GET, HEAD");
    }
}

/* The library frees the text and the response when they are sent. */
static enum MHD_Result answer_queue(const struct hc_http *http,
                                    struct MHD_Connection *connection, unsigned status,
                                    const char *type, char *text, size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result result;

    if (!response) {
        free(text);
        return MHD_NO;
    }
    add_headers(http, response, type);
    add_advice(response, status);
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_fail(const struct hc_http *http,
                                   struct MHD_Connection *connection, unsigned status,
                                   const char *message)
{
    char *text = NULL;
    int length = asprintf(&text, "%s\n", message);

    return length < 0 ? MHD_NO
                      : answer_queue(http, connection, status,
                                     "text/plain; charset=utf-8", text, (size_t)length);
}

static enum MHD_Result answer_page(struct hc_http *http,
                                   struct MHD_Connection *connection,
                                   const struct page *page,
                                   const struct hc_caller *reader)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    unsigned status;

    if (!out)
        return MHD_NO;
    status = page->write(http, reader ? &reader->identity : NULL, out);
    (void)fclose(out);
    return answer_queue(http, connection, status, page->type, text, size);
}

static enum MHD_Result answer_if_allowed(struct hc_http *http,
                                         struct MHD_Connection *connection,
                                         const struct page *page)
{
    HC_AUTO(hc_caller) *reader = NULL;
    struct hc_error err;
    const struct hc_login_attempt attempt = {
        .authorization =
            MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization"),
        .peer = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
                    ->client_addr,
        .now_ms = hc_monotonic_ms(),
        .now_s = (int64_t)time(NULL),
    };

    switch (hc_http_login_check(&http->login, &attempt, &reader, &err)) {
    case HC_LOGIN_OK:
        return answer_page(http, connection, page, reader);
    case HC_LOGIN_TOO_MANY:
        return answer_fail(http, connection, MHD_HTTP_TOO_MANY_REQUESTS, err.message);
    default:
        return answer_fail(http, connection, MHD_HTTP_UNAUTHORIZED, err.message);
    }
}

static enum MHD_Result
http_answer(/* NOLINT(readability-function-size): the library's type */
            void *ctx, struct MHD_Connection *connection, const char *url,
            const char *method, const char *version, const char *body, size_t *body_size,
            void **state)
{
    struct hc_http *http = ctx;
    const struct page *page = pages;

    (void)version;
    (void)body;
    (void)state;
    /* The library calls once for the head and again for each part of a body: ignored. */
    if (*body_size > 0) {
        *body_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer_fail(http, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                           "There are only GET and HEAD.");
    while (page->path && strcmp(page->path, url) != 0)
        page++;
    return page->is_guarded ? answer_if_allowed(http, connection, page)
                            : answer_page(http, connection, page, NULL);
}

/* ---- connections ------------------------------------------------------------------- */

/* The lock is held. `fd` -1: a free slot. -1: there is none. */
static int slot_find(const struct hc_http *http, int fd)
{
    for (int slot = 0; slot < CONNECTIONS_MAX; slot++) {
        if (http->shared.fds[slot] == fd)
            return slot;
    }
    return -1;
}

static int connection_descriptor(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
        ->connect_fd;
}

/*
 * The library closes the descriptor after the notice of the end: it identifies the slot.
 */
static void connection_changed(void *ctx, struct MHD_Connection *connection,
                               void **socket_context,
                               enum MHD_ConnectionNotificationCode code)
{
    struct hc_http *http = ctx;
    bool has_begun = code == MHD_CONNECTION_NOTIFY_STARTED;
    int fd = connection_descriptor(connection);
    int slot;
    HC_LOCKED(&http->shared.lock);

    (void)socket_context;
    slot = slot_find(http, has_begun ? -1 : fd);
    if (slot < 0)
        return;
    http->shared.fds[slot] = has_begun ? fd : -1;
    http->shared.since_ms[slot] = hc_monotonic_ms();
}

/* The time for the next request of the connection begins. */
static void request_completed(void *ctx, struct MHD_Connection *connection,
                              void **request_context,
                              enum MHD_RequestTerminationCode code)
{
    struct hc_http *http = ctx;
    int slot;
    HC_LOCKED(&http->shared.lock);

    (void)request_context;
    (void)code;
    slot = slot_find(http, connection_descriptor(connection));
    if (slot >= 0)
        http->shared.since_ms[slot] = hc_monotonic_ms();
}

void hc_http_expire(struct hc_http *http, int64_t now_ms)
{
    HC_LOCKED(&http->shared.lock);

    for (int slot = 0; slot < CONNECTIONS_MAX; slot++) {
        if (http->shared.fds[slot] >= 0 &&
            now_ms - http->shared.since_ms[slot] >= TOTAL_MS)
            (void)shutdown(http->shared.fds[slot], SHUT_RDWR);
    }
}

/* Binds one address: the first that the name has. The library's thread starts here. */
static int http_start_daemon(struct hc_http *http, const char *address,
                             struct hc_strings *bound, struct hc_error *err)
{
    struct addrinfo *found = NULL;
    char host[HC_LISTENER_HOST_MAX];
    char url[URL_SIZE];
    bool is_ipv6;
    int failed;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;

    if (hc_listener_look_up(address, "http-listen", &found, host, err) < 0)
        return -1;
    is_ipv6 = found->ai_family == AF_INET6;
    if (is_ipv6)
        flags |= MHD_USE_IPv6;
    http->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, http_answer, http, MHD_OPTION_SOCK_ADDR,
                         found->ai_addr, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                         (unsigned)CONNECTIONS_OF_HOST_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)IDLE_S, MHD_OPTION_NOTIFY_CONNECTION,
                         connection_changed, http, MHD_OPTION_NOTIFY_COMPLETED,
                         request_completed, http, MHD_OPTION_END);
    failed = errno;
    freeaddrinfo(found);
    if (!http->daemon)
        return hc_fail(err, HC_INTERNAL, "cannot listen on http://%s: %s", address,
                       strerrordesc_np(failed));
    (void)hc_format(url, sizeof url, is_ipv6 ? "http://[%s]:%u" : "http://%s:%u", host,
                    MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    return hc_strings_add(bound, url, err);
}

struct hc_http *hc_http_open(const char *address, const struct hc_http_parts *parts,
                             struct hc_strings *bound, struct hc_error *err)
{
    HC_AUTO(hc_http) *http = calloc(1, sizeof *http);

    if (!http) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    http->parts = *parts;
    http->login.auth = parts->auth;
    (void)pthread_mutex_init(&http->shared.lock, NULL);
    for (int slot = 0; slot < CONNECTIONS_MAX; slot++)
        http->shared.fds[slot] = -1;
    if (hc_status_page_policy(http->page_policy, err) < 0)
        return NULL;
    if (http_start_daemon(http, address, bound, err) < 0)
        return NULL;
    return hc_take(&http);
}

void hc_http_stop(struct hc_http *http)
{
    if (http)
        atomic_store(&http->is_stopping, true);
}

void hc_http_close(struct hc_http *http)
{
    if (!http)
        return;
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    (void)pthread_mutex_destroy(&http->shared.lock);
    free(http);
}
